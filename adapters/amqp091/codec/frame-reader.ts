/**
 * Cuts frames out of the chunks that a socket gives, in place: a frame that lies whole in one chunk is handed on
 * where it is, one that is spread over several is put together in a buffer of its own size, which was checked
 * against the agreed maximum before it was allocated (AMQP 0-9-1 4.2.3). While `stalled`, what arrives waits in
 * order. Owned by one connection.
 */

import { connectionError } from '../errors.ts';
import { FRAME_END, FRAME_HEADER_BYTES, FRAME_OVERHEAD_BYTES } from './method-codec.ts';

/** Where frames go. The payload lies between `start` and `end`; the bytes may be kept and must not be changed. */
export interface FrameSink {
  frame(type: number, channel: number, bytes: Buffer, start: number, end: number): void;
}

export class FrameReader {
  /** Bytes of a whole frame, header and end octet included. */
  frameBytesMax: number;
  readonly #sink: FrameSink;
  /** Set from within `frame`: nothing more is handed on until `resume`. */
  #stalled = false;
  /** Waiting while stalled; the first from `#waitingAt` on. */
  readonly #waiting: Buffer[] = [];
  #waitingAt = 0;
  /** The first bytes of a frame whose header is not complete yet. */
  readonly #head = Buffer.alloc(FRAME_HEADER_BYTES);
  #headBytes = 0;
  /** A frame that is being put together. */
  #partial: Buffer | null = null;
  #partialBytes = 0;

  constructor(sink: FrameSink, frameBytesMax: number) {
    this.#sink = sink;
    this.frameBytesMax = frameBytesMax;
  }

  stall(): void {
    this.#stalled = true;
  }

  /** Hands on what waited. */
  resume(): void {
    this.#stalled = false;
    while (this.#waiting.length > 0 && !this.#stalled) {
      const chunk = this.#waiting.shift() as Buffer;
      const at = this.#waitingAt;
      this.#waitingAt = 0;
      this.#read(chunk, at);
    }
  }

  push(chunk: Buffer): void {
    if (this.#stalled) this.#waiting.push(chunk);
    else this.#read(chunk, 0);
  }

  #read(chunk: Buffer, from: number): void {
    let at = from;
    if (this.#headBytes > 0 || this.#partial !== null) {
      at = this.#complete(chunk, at);
      if (at < 0) return;
    }
    const end = chunk.length;
    while (end - at >= FRAME_HEADER_BYTES) {
      if (this.#stalled) {
        this.#waiting.unshift(chunk);
        this.#waitingAt = at;
        return;
      }
      const payloadBytes = this.#payloadBytes(chunk, at);
      const frameEnd = at + payloadBytes + FRAME_OVERHEAD_BYTES;
      if (frameEnd > end) {
        this.#partial = Buffer.allocUnsafeSlow(payloadBytes + FRAME_OVERHEAD_BYTES);
        this.#partialBytes = chunk.copy(this.#partial, 0, at, end);
        return;
      }
      this.#handOn(chunk, at, frameEnd);
      at = frameEnd;
    }
    if (at < end) {
      if (this.#stalled) {
        this.#waiting.unshift(chunk);
        this.#waitingAt = at;
        return;
      }
      this.#headBytes = chunk.copy(this.#head, 0, at, end);
    }
  }

  /** Adds to the frame that was begun. Returns where the next one begins, or -1 where all was used up. */
  #complete(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#partial === null) {
      at += chunk.copy(this.#head, this.#headBytes, at, at + FRAME_HEADER_BYTES - this.#headBytes);
      this.#headBytes += at - from;
      if (this.#headBytes < FRAME_HEADER_BYTES) return -1;
      this.#headBytes = 0;
      this.#partial = Buffer.allocUnsafeSlow(this.#payloadBytes(this.#head, 0) + FRAME_OVERHEAD_BYTES);
      this.#partialBytes = this.#head.copy(this.#partial);
    }
    const partial = this.#partial;
    const copied = chunk.copy(partial, this.#partialBytes, at);
    this.#partialBytes += copied;
    at += copied;
    if (this.#partialBytes < partial.length) return -1;
    this.#partial = null;
    this.#handOn(partial, 0, partial.length);
    return at;
  }

  #payloadBytes(bytes: Buffer, at: number): number {
    const size =
      (bytes[at + 3] as number) * 0x100_0000 +
      (((bytes[at + 4] as number) << 16) | ((bytes[at + 5] as number) << 8) | (bytes[at + 6] as number));
    if (size + FRAME_OVERHEAD_BYTES > this.frameBytesMax) {
      throw connectionError(
        'frame-error',
        `type ${bytes[at]}, all octets = <<>>: {frame_too_large,${size},${this.frameBytesMax - FRAME_OVERHEAD_BYTES}}`,
      );
    }
    return size;
  }

  #handOn(bytes: Buffer, at: number, frameEnd: number): void {
    if (bytes[frameEnd - 1] !== FRAME_END) {
      throw connectionError('frame-error', `frame does not end with ${FRAME_END}`);
    }
    this.#sink.frame(
      bytes[at] as number,
      ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number),
      bytes,
      at + FRAME_HEADER_BYTES,
      frameEnd - 1,
    );
  }
}
