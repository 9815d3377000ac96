/**
 * The partition of a key, as the Java client and most others choose it: MurmurHash2 of 32 bits over its bytes, so that records
 * with the same key meet in one partition whoever sends them. Pure.
 */

const SEED = 0x9747b28c;
const M = 0x5bd1e995;

/** The 32 bits as a signed number. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length;
  const whole = length & ~3;
  let hash = SEED ^ length;
  for (let at = 0; at < whole; at += 4) {
    let k =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    k = Math.imul(k, M);
    k ^= k >>> 24;
    k = Math.imul(k, M);
    hash = Math.imul(hash, M) ^ k;
  }
  const rest = length - whole;
  if (rest > 0) {
    if (rest > 2) hash ^= (bytes[whole + 2] as number) << 16;
    if (rest > 1) hash ^= (bytes[whole + 1] as number) << 8;
    hash = Math.imul(hash ^ (bytes[whole] as number), M);
  }
  hash = Math.imul(hash ^ (hash >>> 13), M);
  return hash ^ (hash >>> 15);
}

/** 0 to `partitions` - 1. */
export function partitionOfKey(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fff_ffff) % partitions;
}
