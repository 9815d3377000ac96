/**
 * Which partition a key belongs to. The hash is MurmurHash2 with the seed and the sign rule that stream clients
 * use by default, so that a client which partitions by itself and the gateway put one key in one place.
 */

import { Buffer } from 'node:buffer';

const SEED = 0x9747b28c;
const MIX = 0x5bd1e995;

/** MurmurHash2, 32 bits, little-endian words, as a signed integer. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length;
  let hash = SEED ^ length;
  const words = length & ~3;
  for (let i = 0; i < words; i += 4) {
    let word =
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24);
    word = Math.imul(word, MIX);
    word = Math.imul(word ^ (word >>> 24), MIX);
    hash = Math.imul(hash, MIX) ^ word;
  }
  const rest = length & 3;
  if (rest > 0) {
    if (rest === 3) hash ^= (bytes[words + 2] as number) << 16;
    if (rest >= 2) hash ^= (bytes[words + 1] as number) << 8;
    hash = Math.imul(hash ^ (bytes[words] as number), MIX);
  }
  hash = Math.imul(hash ^ (hash >>> 13), MIX);
  return hash ^ (hash >>> 15);
}

/** The partition of a key, or, where a record has none, of its address. */
export function partitionOf(key: Uint8Array | string, partitions: number): number {
  if (partitions === 1) return 0;
  return (murmur2(typeof key === 'string' ? Buffer.from(key, 'utf8') : key) & 0x7fff_ffff) % partitions;
}
