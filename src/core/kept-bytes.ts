/**
 * Memory for bytes that stay, apart from those that come and go: small ones stand close together in blocks that only
 * bytes of the same kind are taken from. `Buffer`'s own pool is no place for them: one that stays would hold a piece
 * of 64 KiB for good that everybody took parts of. Used by whatever keeps bytes beyond the turn in which they came.
 */

import { Buffer } from 'node:buffer';

/** The most that a small one holds when all its neighbours are gone. */
export const KEPT_BLOCK_BYTES = 4 * 1024;
/** Larger ones are memory of their own. */
const SMALL_BYTES_MAX = KEPT_BLOCK_BYTES / 4;
const NOTHING = Buffer.alloc(0);

/** The blocks of one kind of bytes, so that those that stay long do not stand among those that go soon. */
export class KeptBytes {
  #block = NOTHING;
  #used = 0;

  /** Memory of this length, with whatever was in it. */
  allocate(length: number): Buffer {
    if (length === 0) return NOTHING;
    if (length > SMALL_BYTES_MAX) return Buffer.allocUnsafeSlow(length);
    const end = this.#used + length;
    if (end <= this.#block.length) {
      const bytes = this.#block.subarray(this.#used, end);
      this.#used = end;
      return bytes;
    }
    this.#block = Buffer.allocUnsafeSlow(KEPT_BLOCK_BYTES);
    this.#used = length;
    return this.#block.subarray(0, length);
  }

  copy(bytes: Uint8Array): Buffer {
    const copy = this.allocate(bytes.length);
    copy.set(bytes);
    return copy;
  }

  /** The same bytes, copied where keeping them would hold on to much more memory than they take. */
  keep<T extends Uint8Array>(bytes: T): T | Buffer {
    return isPartOfMore(bytes, bytes.length) ? this.copy(bytes) : bytes;
  }
}

/** Whether keeping them would hold on to much more than the `used` bytes of their memory that are kept in all. */
export function isPartOfMore(bytes: Uint8Array, used: number): boolean {
  const { byteLength } = bytes.buffer;
  return byteLength > 2 * used && byteLength > KEPT_BLOCK_BYTES;
}
