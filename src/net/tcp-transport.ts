/**
 * A connection over TCP. `node:net` is used by its public interface only; one set of listeners, shared by all sockets,
 * finds the transport through a property of the socket, so a connection costs no closures.
 *
 * Sockets are half-open on purpose: when the peer ends its side, what was written for it still leaves before ours ends.
 */

import type { Socket } from 'node:net';
import type { ListenerInfo } from '../host.ts';
import { BufferedTransport } from './buffered-transport.ts';
import type { NetContext } from './context.ts';
import { type Peer, plainAddress } from './peer.ts';

const NOTHING = Buffer.alloc(0);
const transportKey: unique symbol = Symbol('transport');

interface AttachedSocket extends Socket {
  [transportKey]: TcpTransport;
}

export class TcpTransport extends BufferedTransport {
  readonly #socket: AttachedSocket;

  readonly #peer: Peer | null;

  /** `peer`: null where the socket itself says who is there. */
  constructor(context: NetContext, listener: ListenerInfo, socket: Socket, peer: Peer | null) {
    super(context, listener, socket, peer);
    this.#peer = peer;
    this.#socket = socket as AttachedSocket;
    this.#socket[transportKey] = this;
  }

  /** Begins to read. The handler is set. */
  attach(): void {
    const socket = this.#socket;
    socket.on('error', onError);
    socket.on('close', onClose);
    socket.on('end', onEnd);
    socket.on('data', onData);
    // What had to be read before may have left it paused.
    if (socket.isPaused()) socket.resume();
  }

  get localAddress(): string {
    return this.#peer?.localAddress ?? plainAddress(this.#socket.localAddress);
  }

  get localPort(): number {
    return this.#peer?.localPort ?? this.#socket.localPort ?? 0;
  }

  pause(): void {
    if (this.isOpen) this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  protected get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  protected sendPiece(piece: Uint8Array): void {
    this.#socket.write(piece);
  }

  protected sendPieces(pieces: readonly Uint8Array[]): void {
    const socket = this.#socket;
    socket.cork();
    for (let i = 0; i < pieces.length; i++) socket.write(pieces[i] as Uint8Array);
    socket.uncork();
  }

  /** An empty write is done when all before it are; only a blocked connection pays for the closure. */
  protected awaitSent(): void {
    this.#socket.write(NOTHING, () => this.unblock());
  }

  protected endSocket(): void {
    this.#socket.end();
  }

  protected destroySocket(): void {
    this.#socket.destroy();
  }

  received(chunk: Buffer): void {
    this.take(chunk);
  }

  ended(detail?: string): void {
    this.lose(detail);
  }

  gone(): void {
    this.release();
  }
}

function onData(this: Socket, chunk: Buffer): void {
  (this as AttachedSocket)[transportKey].received(chunk);
}

function onEnd(this: Socket): void {
  (this as AttachedSocket)[transportKey].ended();
}

function onError(this: Socket, error: NodeJS.ErrnoException): void {
  (this as AttachedSocket)[transportKey].ended(error.code ?? error.message);
}

function onClose(this: Socket): void {
  (this as AttachedSocket)[transportKey].gone();
}
