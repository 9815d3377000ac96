/**
 * The writing side of a connection, whatever carries it: bytes are gathered in a slab borrowed from the pool and leave
 * in one write when the turn is over, when a chunk of input has brought 32 KiB, or early, in the middle of a chunk of
 * many packets. Bodies of 8 KiB and more are not copied: they stand between pieces of the slab and all leave in one
 * vectored write, in order. Nor are parts of a chunk that are passed on, which are one piece where they follow each other.
 * While the kernel has not taken the last write, nothing more is given to the socket: new output gathers here, in buffers
 * that grow from 4 KiB, and leaves in one write afterwards.
 *
 * Life: open, then closing (what is left is sent, input is dropped), then closed. `finish` makes the first step and
 * sets the one reason; the handler is told when the turn is over. A handler that throws costs its connection only.
 * Nothing is allocated for an idle connection beyond this object and the counters of its `WriteGathering`. Subclasses:
 * `tcp-transport.ts`, `websocket-transport.ts`.
 */

import type { Socket } from 'node:net';
import type { Timer } from '../core/index.ts';
import type { ClientCertificate, CloseReason, ConnectionHandler, ListenerInfo, Transport } from '../host.ts';
import type { NetContext } from './context.ts';
import { type Peer, plainAddress } from './peer.ts';
import { SLAB_BYTES } from './slab-pool.ts';
import { WriteGathering } from './write-gathering.ts';

/** From this size on bytes are not copied into the slab. */
export const UNCOPIED_BYTES_MIN = 8_192;
/** Output that leaves with its chunk, without waiting for more. */
const LARGE_BYTES_MIN = 32_768;
const BLOCKED_BUFFER_BYTES_MIN = 4_096;

const NO_BUFFER = Buffer.alloc(0);

const OPEN = 0;
const CLOSING = 1;
const CLOSED = 2;

export abstract class BufferedTransport implements Transport {
  readonly id: number;
  readonly listener: ListenerInfo;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly certificate: ClientCertificate | null;
  readonly connectedAtMs: number;
  /** Set right after construction, before the first byte arrives. */
  handler: ConnectionHandler | null = null;
  buffer: Buffer = NO_BUFFER;
  /** What is not sent of `buffer`. */
  #start = 0;
  #end = 0;
  /** What goes before that, and how much it is. */
  #pieces: Uint8Array[] | null = null;
  #piecesBytes = 0;
  /** Full slabs that `#pieces` points into, and those that the kernel is still reading. */
  #slabs: Buffer[] | null = null;
  /** The chunk of which a part goes after all that, and which part. */
  #passing: Buffer | null = null;
  #passedFrom = 0;
  #passedTo = 0;
  #dirty = false;
  /** In the list of those that may have much to send, which alone sets it. */
  isGrowing = false;
  /** The kernel did not take all of the last write. */
  #blocked = false;
  #wasAboveHighWater = false;
  #state: typeof OPEN | typeof CLOSING | typeof CLOSED = OPEN;
  #reason: CloseReason | null = null;
  readonly #gathering = new WriteGathering();
  /** Runs from the first attempt to send what is left on. */
  #linger: Timer | null = null;
  #endSent = false;
  protected readonly context: NetContext;

  /** `peer`: null where the socket itself says who is there. */
  constructor(context: NetContext, listener: ListenerInfo, socket: Socket, peer: Peer | null) {
    this.context = context;
    this.id = context.nextId();
    this.listener = listener;
    this.remoteAddress = peer?.remoteAddress ?? plainAddress(socket.remoteAddress);
    this.remotePort = peer?.remotePort ?? socket.remotePort ?? 0;
    this.certificate = peer?.certificate ?? null;
    this.connectedAtMs = context.clock.nowMs();
  }

  abstract get localAddress(): string;
  abstract get localPort(): number;
  abstract pause(): void;
  abstract resume(): void;

  /** Gives one piece to the socket. */
  protected abstract sendPiece(piece: Uint8Array): void;
  /** Gives all to the socket, in order, as one vectored write where it can. */
  protected abstract sendPieces(pieces: readonly Uint8Array[]): void;
  /** What the socket has and the kernel has not. */
  protected abstract readonly unsentBytes: number;
  /** Calls `unblock` once the kernel has everything that was sent so far. */
  protected abstract awaitSent(): void;
  /** Ends the writing side after everything sent, and reads on without looking until the peer ends too. */
  protected abstract endSocket(reason: CloseReason): void;
  protected abstract destroySocket(): void;

  get isOpen(): boolean {
    return this.#state === OPEN;
  }

  get pendingBytes(): number {
    return this.#measurePending();
  }

  reserve(bytes: number): number {
    if (this.#passing !== null) this.#endPassing();
    let at = this.#end;
    if (at + bytes > this.buffer.length) {
      this.#turnPage(bytes);
      at = 0;
    }
    this.#end = at + bytes;
    if (!this.#dirty) this.#markDirty();
    if (this.#piecesBytes + this.#end >= LARGE_BYTES_MIN) this.context.output.addGrowing(this);
    return at;
  }

  pass(chunk: Buffer, start: number, end: number): void {
    if (chunk === this.#passing && start === this.#passedTo) this.#passedTo = end;
    else this.#beginPassing(chunk, start, end);
  }

  /** Apart from `pass`, which V8 puts into its callers. */
  #beginPassing(chunk: Buffer, start: number, end: number): void {
    if (this.#passing !== null) this.#endPassing();
    this.#passing = chunk;
    this.#passedFrom = start;
    this.#passedTo = end;
    if (!this.#dirty) this.#markDirty();
    this.context.output.addGrowing(this);
  }

  /** Copied where it is small, and where it would for long keep a chunk that is mostly something else. */
  #endPassing(): void {
    const chunk = this.#passing as Buffer;
    const part = chunk.subarray(this.#passedFrom, this.#passedTo);
    this.#passing = null;
    this.#passedFrom = 0;
    this.#passedTo = 0;
    if (this.#blocked && 2 * part.length < chunk.buffer.byteLength) this.#copy(part);
    else this.write(part);
  }

  write(bytes: Uint8Array): void {
    if (this.#passing !== null) this.#endPassing();
    const length = bytes.length;
    if (length >= UNCOPIED_BYTES_MIN) {
      this.#cutPiece();
      this.#pushPiece(bytes);
      if (!this.#dirty) this.#markDirty();
      this.context.output.addGrowing(this);
    } else if (length > 0) this.#copy(bytes);
  }

  #copy(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.buffer.set(bytes, at);
  }

  close(reason: CloseReason, detail?: string): void {
    if (!this.finish(reason, detail)) return;
    if (!this.#dirty) this.#markDirty();
    this.resume();
  }

  destroy(reason: CloseReason, detail?: string): void {
    if (this.finish(reason, detail) || this.#state === CLOSING) this.#drop();
  }

  /** Input from the socket. */
  protected take(chunk: Buffer): void {
    if (this.#state !== OPEN || this.handler === null) return;
    this.#gathering.peerSpoke();
    try {
      this.handler.received(chunk);
    } catch (error) {
      this.fail(error);
    }
    this.context.output.chunkDone();
  }

  /** Something inside the gateway went wrong for this connection. */
  fail(error: unknown): void {
    this.context.logger.error({ ...this.context.describe(this), err: error }, 'a connection failed');
    this.destroy('internal-error', error instanceof Error ? error.message : String(error));
  }

  /** Gives everything that was written to the socket, or waits for more. Called by `TurnOutput`. */
  flush(): void {
    if (this.#passing !== null) this.#endPassing();
    this.#dirty = false;
    if (this.#state === CLOSED) {
      this.#releaseBuffers();
      return;
    }
    // What is written after the end comes too late.
    if (this.#endSent) {
      this.#releaseBuffers();
      return;
    }
    this.#measurePending();
    if (this.#state === CLOSING && this.#linger === null) this.#watchEnd();
    if (this.#blocked) return;
    const bytes = this.#gatheredBytes();
    if (this.#state === OPEN && !this.#wasAboveHighWater && bytes > 0) {
      if (this.#gathering.waits(bytes, this.context.clock, this.context.output, this)) return;
    }
    this.#sendOut();
  }

  flushEarly(): void {
    if (this.#dirty) this.context.output.flushEarly();
  }

  /** Sends what is worth a write of its own before the turn is over, so that the client has something to do meanwhile. */
  flushLarge(): void {
    if (this.#state !== OPEN || this.#blocked || this.#gatheredBytes() < LARGE_BYTES_MIN) return;
    this.#measurePending();
    this.#sendOut();
  }

  /** It has waited for more long enough. */
  gathered(): void {
    this.#gathering.over();
    // It may all have left with a turn that brought more.
    if (!this.#blocked && this.#state === OPEN && this.#gatheredBytes() > 0) this.#sendOut();
  }

  #sendOut(): void {
    if (this.#passing !== null) this.#endPassing();
    const isGiven = this.#gatheredBytes() > 0;
    this.#send();
    // What the socket has where nothing was given to it, such as a pong, is not waited for: nobody says when it is gone.
    if (isGiven && this.unsentBytes > 0) {
      this.#keepSlab();
      this.#blocked = true;
      this.awaitSent();
    } else {
      this.#giveBuffer();
      this.#giveSlabs();
    }
    if (this.#wasAboveHighWater) this.#tellDrained();
    if (this.#state === CLOSING && !this.#blocked) this.#endOutput();
  }

  /** The kernel has everything that was sent so far. */
  protected unblock(): void {
    if (!this.#blocked || this.#state === CLOSED) return;
    this.#blocked = false;
    this.#giveSlabs();
    if (this.#wasAboveHighWater) this.#tellDrained();
    // In the list again also when nothing is left but the end to be told.
    if (!this.#dirty) this.#markDirty();
  }

  /** The peer ended its side, or the socket failed. */
  protected lose(detail?: string): void {
    this.close('connection-lost', detail);
  }

  /** The socket is gone; nothing more will come of it. */
  protected release(detail?: string): void {
    this.finish('connection-lost', detail);
    this.#state = CLOSED;
    this.#linger?.cancel();
    this.#linger = null;
    this.#releaseBuffers();
    this.context.remove(this);
  }

  /** Takes the first reason; false where there was one. From here on no input reaches the handler. */
  protected finish(reason: CloseReason, detail: string | undefined): boolean {
    if (this.#state !== OPEN) return false;
    this.#state = CLOSING;
    this.#reason = reason;
    this.context.logClose(this, reason, detail);
    this.context.output.addEnded(this);
    return true;
  }

  /** Tells the handler that the connection is over: once, when the turn in which it ended is. */
  tellEnded(): void {
    const handler = this.handler;
    this.handler = null;
    try {
      handler?.closed(this.#reason ?? 'internal-error');
    } catch (error) {
      this.context.logger.error({ ...this.context.describe(this), err: error }, 'a connection failed to end');
    }
  }

  /** What was written and not given to the socket. */
  #gatheredBytes(): number {
    return this.#piecesBytes + this.#end - this.#start + this.#passedTo - this.#passedFrom;
  }

  /** Whoever has seen it above the mark waits to hear that it fell, even if it falls before the turn is over. */
  #measurePending(): number {
    const bytes = this.#gatheredBytes() + this.unsentBytes;
    if (bytes > this.listener.highWaterBytes) this.#wasAboveHighWater = true;
    return bytes;
  }

  #markDirty(): void {
    this.#dirty = true;
    this.context.output.add(this);
  }

  /** Makes room for `bytes` in a fresh buffer; what is in the old one goes before it. */
  #turnPage(bytes: number): void {
    this.#cutPiece();
    // What is gathered while blocked is no slab of the pool, and its pieces keep it.
    if (!this.#blocked) this.#keepSlab();
    if (bytes > SLAB_BYTES) this.buffer = Buffer.allocUnsafeSlow(bytes);
    else if (!this.#blocked) this.buffer = this.context.pool.take();
    else this.buffer = Buffer.allocUnsafeSlow(this.#blockedBufferBytes(bytes));
    this.#start = 0;
    this.#end = 0;
  }

  /** As much as gathered already, so that few buffers hold much and a little is held by a little. */
  #blockedBufferBytes(bytes: number): number {
    return Math.max(bytes, Math.min(SLAB_BYTES, Math.max(BLOCKED_BUFFER_BYTES_MIN, this.#piecesBytes)));
  }

  #cutPiece(): void {
    if (this.#end === this.#start) return;
    this.#pushPiece(this.buffer.subarray(this.#start, this.#end));
    this.#start = this.#end;
  }

  #pushPiece(piece: Uint8Array): void {
    this.#piecesBytes += piece.length;
    if (this.#pieces === null) this.#pieces = [piece];
    else this.#pieces.push(piece);
  }

  /** Keeps the current buffer until it is sent, to give it back to the pool then. */
  #keepSlab(): void {
    if (this.buffer.length === SLAB_BYTES) {
      if (this.#slabs === null) this.#slabs = [this.buffer];
      else this.#slabs.push(this.buffer);
    }
    this.buffer = NO_BUFFER;
  }

  #send(): void {
    if (this.#pieces === null) {
      if (this.#end > this.#start) this.sendPiece(this.buffer.subarray(this.#start, this.#end));
    } else {
      this.#cutPiece();
      const pieces = this.#pieces;
      this.#pieces = null;
      this.#piecesBytes = 0;
      if (pieces.length === 1) this.sendPiece(pieces[0] as Uint8Array);
      else this.sendPieces(pieces);
    }
    this.#start = 0;
    this.#end = 0;
  }

  /** Nobody reads the current buffer any more. */
  #giveBuffer(): void {
    if (this.buffer.length === SLAB_BYTES) this.context.pool.give(this.buffer);
    this.buffer = NO_BUFFER;
  }

  #giveSlabs(): void {
    const slabs = this.#slabs;
    if (slabs === null) return;
    this.#slabs = null;
    for (let i = 0; i < slabs.length; i++) this.context.pool.give(slabs[i] as Buffer);
  }

  #tellDrained(): void {
    const isLeft = this.#blocked || this.#gatheredBytes() > 0;
    if (isLeft && this.pendingBytes * 2 >= this.listener.highWaterBytes) return;
    this.#wasAboveHighWater = false;
    if (this.#state !== OPEN || this.handler === null) return;
    try {
      this.handler.drained();
    } catch (error) {
      this.fail(error);
    }
  }

  #endOutput(): void {
    this.#endSent = true;
    this.endSocket(this.#reason ?? 'internal-error');
  }

  /** A peer that takes nothing more, or does not end too, must not keep its connection. */
  #watchEnd(): void {
    const leftBytes = this.#measurePending();
    this.#linger = this.context.clock.after(this.context.settings.closeLingerMs, () => {
      if (!this.#endSent && this.#measurePending() < leftBytes) this.#watchEnd();
      else this.#drop();
    });
  }

  #drop(): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    this.destroySocket();
    this.#releaseBuffers();
  }

  /**
   * Forgets what is not sent. Slabs that the kernel was given go to the garbage collector and not to the pool, because
   * a write that was begun may still read them.
   */
  #releaseBuffers(): void {
    this.#giveBuffer();
    this.#slabs = null;
    this.#pieces = null;
    this.#piecesBytes = 0;
    this.#start = 0;
    this.#end = 0;
    this.#passing = null;
    this.#passedFrom = 0;
    this.#passedTo = 0;
  }
}
