/**
 * Memory for bytes that stay, apart from those that come and go: small ones stand close together in blocks that nothing
 * else is taken from. `Buffer`'s own pool is no place for them, as one that stays would hold a piece of it for good that
 * everybody took parts of. Used by whatever keeps bytes beyond the turn in which they came.
 */

import { Buffer } from 'node:buffer';

/** One that stays holds no more than this for those of its neighbours that are gone. */
const KEPT_BLOCK_BYTES = 8 * 1024;
/** Larger ones are memory of their own. */
const SMALL_BYTES_MAX = KEPT_BLOCK_BYTES / 4;

let block = Buffer.alloc(0);
let used = 0;

/** A copy that only itself and its neighbours hold on to. */
export function copyToKeep(bytes: Uint8Array): Buffer {
  const { length } = bytes;
  if (length > SMALL_BYTES_MAX) {
    const own = Buffer.allocUnsafeSlow(length);
    own.set(bytes);
    return own;
  }
  if (used + length > block.length) {
    block = Buffer.allocUnsafeSlow(KEPT_BLOCK_BYTES);
    used = 0;
  }
  const copy = block.subarray(used, used + length);
  copy.set(bytes);
  used += length;
  return copy;
}

/** Whether keeping so many bytes would hold on to much more than them. */
export function isPartOfMore(bytes: Uint8Array, used: number): boolean {
  const { byteLength } = bytes.buffer;
  return byteLength > KEPT_BLOCK_BYTES && byteLength > 2 * used;
}

/** The same bytes, copied where they would hold on to more. */
export function toKeep<T extends Uint8Array>(bytes: T): T | Buffer {
  return isPartOfMore(bytes, bytes.length) ? copyToKeep(bytes) : bytes;
}
