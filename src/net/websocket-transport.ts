/**
 * A connection over WebSocket, through `ws`: the output of a turn leaves as binary messages, one for what was gathered
 * and one for each large body. Message borders mean nothing: the bytes are one stream, as over TCP. A text message
 * ends the connection, because these protocols are binary.
 */

import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import type { CloseReason, ListenerInfo } from '../host.ts';
import { BufferedTransport } from './buffered-transport.ts';
import type { NetContext } from './context.ts';
import type { Peer } from './peer.ts';

/** RFC 6455 7.4.1 */
const CLOSE_NORMAL = 1000;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_UNSUPPORTED_DATA = 1003;
const CLOSE_POLICY = 1008;
const CLOSE_INTERNAL = 1011;

/** Of a frame with up to 125 bytes from a server. */
const PONG_HEADER_BYTES = 2;
/** As much as one read of a socket brings. */
const CHUNK_BYTES = 65_536;

const CLOSE_CODES: Partial<Record<CloseReason, number>> = {
  'shutting-down': CLOSE_GOING_AWAY,
  'internal-error': CLOSE_INTERNAL,
  'protocol-error': CLOSE_POLICY,
  'not-authorized': CLOSE_POLICY,
  'limit-reached': CLOSE_POLICY,
};

export class WebSocketTransport extends BufferedTransport {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;
  readonly #sent = (): void => {
    this.#unfinished--;
    if (this.#unfinished === 0) this.unblock();
  };
  /** Messages that the kernel has not taken. */
  #unfinished = 0;

  readonly #peer: Peer;
  readonly #unknownBytesMax: number;
  /** Bytes that came and were not given to the handler; counted only until it knows who the client is. */
  #unreadBytes = 0;

  /** `unknownBytesMax`: how many bytes `ws` may gather for a client that nobody knows yet. */
  constructor(
    context: NetContext,
    listener: ListenerInfo,
    webSocket: WebSocket,
    socket: Socket,
    peer: Peer,
    unknownBytesMax = Number.POSITIVE_INFINITY,
  ) {
    super(context, listener, socket, peer);
    this.#peer = peer;
    this.#unknownBytesMax = unknownBytesMax;
    this.#webSocket = webSocket;
    this.#socket = socket;
  }

  /** Begins to read. */
  attach(): void {
    const webSocket = this.#webSocket;
    webSocket.on('error', (error) => this.#failed(error));
    webSocket.on('close', () => this.release());
    webSocket.on('message', (data, isBinary) => this.#received(data, isBinary));
    webSocket.on('ping', (data) => this.#answerPing(data));
    // Ahead of `ws`: what is too much must not be gathered first.
    if (this.#unknownBytesMax < Number.POSITIVE_INFINITY) this.#socket.prependListener('data', this.#count);
  }

  /** A frame has a header of 14 bytes at most, and a chunk may bring several messages before they are read. */
  readonly #count = (chunk: Buffer): void => {
    if (this.handler === null || this.handler.identity !== null) {
      this.#socket.off('data', this.#count);
      return;
    }
    this.#unreadBytes += chunk.length;
    if (this.#unreadBytes <= this.#unknownBytesMax + CHUNK_BYTES) return;
    this.destroy('limit-reached', 'a WebSocket message too large for a client that is not known yet');
  };

  get localAddress(): string {
    return this.#peer.localAddress;
  }

  get localPort(): number {
    return this.#peer.localPort;
  }

  pause(): void {
    if (this.isOpen) this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }

  protected get unsentBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  protected sendPiece(piece: Uint8Array): void {
    this.#unfinished++;
    this.#webSocket.send(piece, { binary: true, compress: false }, this.#sent);
  }

  protected sendPieces(pieces: readonly Uint8Array[]): void {
    this.#socket.cork();
    for (let i = 0; i < pieces.length; i++) this.sendPiece(pieces[i] as Uint8Array);
    this.#socket.uncork();
  }

  /** `#sent` calls `unblock`. */
  protected awaitSent(): void {}

  protected endSocket(reason: CloseReason): void {
    this.#webSocket.close(CLOSE_CODES[reason] ?? CLOSE_NORMAL);
  }

  protected destroySocket(): void {
    this.#webSocket.terminate();
  }

  #received(data: RawData, isBinary: boolean): void {
    if (!isBinary) {
      this.#webSocket.close(CLOSE_UNSUPPORTED_DATA);
      this.close('protocol-error', 'a text message, where only binary ones belong');
    } else {
      this.#unreadBytes = 0;
      this.take(data as Buffer);
    }
  }

  /**
   * RFC 6455 5.5.3 asks for an answer to the last ping only: who does not read them gets no more of them. They alone
   * never stand above the mark, because nobody hears when they are gone.
   */
  #answerPing(data: Buffer): void {
    const pendingBytes = this.unsentBytes + PONG_HEADER_BYTES + data.length;
    if (this.isOpen && pendingBytes <= this.listener.highWaterBytes) this.#webSocket.pong(data);
  }

  /** `ws` has sent the close code that belongs to the error, and ends the connection itself. */
  #failed(error: Error & { readonly code?: string }): void {
    if (error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') {
      this.close('limit-reached', 'a WebSocket message above network.websocketMessageBytesMax');
    } else if (error.code?.startsWith('WS_ERR_')) this.close('protocol-error', error.message);
    else this.lose(error.message);
  }
}
