/**
 * The variable-length numbers of a record: zigzag (so that small negatives stay short), then seven bits a byte,
 * lowest first, the high bit says that more follow. Sizes and writing serve `batch-builder.ts`; reading stands in
 * `batch-records.ts`, beside its bounds. Numbers here are integers within ±2^52: what fits 31 bits takes the
 * short way, and only timestamps ever need the other.
 */

/** 1 to 5 bytes for a number in the range of a signed 32-bit integer, up to 8 beyond it. */
export function varintBytes(value: number): number {
  if (value === (value | 0)) {
    const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
    if (zigzag < 0x80) return 1;
    if (zigzag < 0x4000) return 2;
    if (zigzag < 0x20_0000) return 3;
    return zigzag < 0x1000_0000 ? 4 : 5;
  }
  let rest = value < 0 ? -2 * value - 1 : 2 * value;
  let bytes = 1;
  for (; rest >= 0x80; bytes++) rest = Math.floor(rest / 0x80);
  return bytes;
}

/** Returns the place after what it wrote. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let place = at;
  if (value === (value | 0)) {
    let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
    while (zigzag >= 0x80) {
      target[place++] = (zigzag & 0x7f) | 0x80;
      zigzag >>>= 7;
    }
    target[place++] = zigzag;
    return place;
  }
  let rest = value < 0 ? -2 * value - 1 : 2 * value;
  while (rest >= 0x80) {
    target[place++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  target[place++] = rest;
  return place;
}
