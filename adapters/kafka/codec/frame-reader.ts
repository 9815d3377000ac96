/**
 * Cuts what a socket gives into requests: four bytes of length, big-endian, and as many bytes. A request that lies
 * whole in one chunk is a view of it; a larger one is assembled once, in a buffer of its own. The length is held
 * against the bound of its API before anything is kept, so that nobody makes the server hold what it will refuse.
 */

import { MalformedRequest } from './reader.ts';

/** API key, version, correlation id. */
const REQUEST_BYTES_MIN = 8;
const LENGTH_BYTES = 4;
/** Length and API key: what must be known before a request is assembled. */
const PREFIX_BYTES = 6;
const PRODUCE_KEY = 0;
const EMPTY = Buffer.alloc(0);

export interface FrameLimits {
  readonly produceBytesMax: number;
  readonly requestBytesMax: number;
  /** Asked before memory is taken for an unfinished request, and told when it is finished. */
  reserve(bytes: number): void;
  release(bytes: number): void;
}

export class FrameReader {
  readonly #limits: FrameLimits;
  /** Fewer bytes than a prefix. */
  #prefix: Buffer = EMPTY;
  #frame: Buffer | null = null;
  #filled = 0;

  constructor(limits: FrameLimits) {
    this.#limits = limits;
  }

  /** Adds the requests that `chunk` completes to `frames`. Throws `MalformedRequest`. */
  push(chunk: Buffer, frames: Buffer[]): void {
    let rest = chunk;
    if (this.#frame !== null) rest = this.#fill(this.#frame, rest, frames);
    else if (this.#prefix.length > 0) {
      rest = Buffer.concat([this.#prefix, rest]);
      this.#prefix = EMPTY;
    }
    let at = 0;
    while (rest.length - at >= PREFIX_BYTES) {
      const length = this.#checkedLength(rest, at);
      const begin = at + LENGTH_BYTES;
      at = begin + length;
      if (at <= rest.length) frames.push(rest.subarray(begin, at));
      else {
        this.#begin(length, rest, begin);
        return;
      }
    }
    // A copy: a few bytes must not hold on to the whole chunk.
    if (at < rest.length) this.#prefix = Buffer.from(rest.subarray(at));
  }

  /** Forgets what is unfinished. */
  close(): void {
    if (this.#frame !== null) this.#limits.release(this.#frame.length);
    this.#frame = null;
    this.#prefix = EMPTY;
  }

  #checkedLength(bytes: Buffer, at: number): number {
    const length = bytes.readInt32BE(at);
    const produce = bytes.readInt16BE(at + LENGTH_BYTES) === PRODUCE_KEY;
    const bytesMax = produce ? this.#limits.produceBytesMax : this.#limits.requestBytesMax;
    if (length < REQUEST_BYTES_MIN) throw new MalformedRequest(`a request of ${length} bytes cannot be`);
    if (length > bytesMax) {
      throw new MalformedRequest(
        `a request of ${length} bytes is over ${bytesMax} (${produce ? 'produceBytesMax' : 'requestBytesMax'})`,
      );
    }
    return length;
  }

  #begin(length: number, bytes: Buffer, from: number): void {
    this.#limits.reserve(length);
    this.#frame = Buffer.allocUnsafeSlow(length);
    this.#filled = bytes.copy(this.#frame, 0, from);
  }

  /** Returns what follows the frame. */
  #fill(frame: Buffer, chunk: Buffer, frames: Buffer[]): Buffer {
    const copied = chunk.copy(frame, this.#filled);
    this.#filled += copied;
    if (this.#filled < frame.length) return EMPTY;
    this.#limits.release(frame.length);
    this.#frame = null;
    frames.push(frame);
    return chunk.subarray(copied);
  }
}
