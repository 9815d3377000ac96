/**
 * Finds out to how many bytes an lz4 frame unfolds, by walking its sequences without copying anything, so that the
 * decoder is never asked for more than the bound. All numbers little-endian; the specification is the LZ4 frame
 * format 1.6. Several frames may follow each other; skippable frames count nothing.
 *
 * | at | size    | field                                                                                  |
 * |----|---------|----------------------------------------------------------------------------------------|
 * |  0 |       4 | magic 0x184D2204                                                                       |
 * |  4 |       1 | flags: bits 6-7 version 1, 4 block checksum, 3 content size, 2 content checksum, 0 dictionary |
 * |  5 |       1 | bits 4-6 greatest block size: 4 = 64 KiB, 5 = 256 KiB, 6 = 1 MiB, 7 = 4 MiB            |
 * |  6 | 0 or 8  | content size                                                                           |
 * |    | 0 or 4  | dictionary id                                                                          |
 * |    |       1 | header checksum                                                                        |
 * |    |         | blocks: size (4, top bit: stored as it is; 0: end), data, checksum (0 or 4)            |
 * |    | 0 or 4  | content checksum                                                                       |
 */

const MAGIC = 0x184d2204;
const SKIPPABLE_MAGIC = 0x184d2a50;
const STORED = 0x8000_0000;
const MATCH_BYTES_MIN = 4;

/** Uncompressed bytes, null when malformed. May stop counting above `bytesMax`. */
export function lz4FrameBytes(input: Buffer, bytesMax: number): number | null {
  let total = 0;
  let at = 0;
  if (input.length === 0) return null;
  while (at < input.length) {
    if (input.length - at < 8) return null;
    const magic = input.readUInt32LE(at);
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      at += 8 + input.readUInt32LE(at + 4);
      continue;
    }
    if (magic !== MAGIC) return null;
    const flags = input[at + 4] as number;
    if (flags >> 6 !== 1 || (flags & 1) !== 0) return null;
    at += 6 + (flags & 0b1000 ? 8 : 0) + 1;
    const checksumBytes = flags & 0b1_0000 ? 4 : 0;
    for (;;) {
      if (input.length - at < 4) return null;
      const size = input.readUInt32LE(at);
      at += 4;
      if (size === 0) break;
      const length = size % STORED;
      if (length + checksumBytes > input.length - at) return null;
      total += size >= STORED ? length : blockBytes(input, at, at + length);
      if (Number.isNaN(total)) return null;
      if (total > bytesMax) return total;
      at += length + checksumBytes;
    }
    at += flags & 0b100 ? 4 : 0;
  }
  return at === input.length ? total : null;
}

/** Uncompressed bytes of one block in [`from`, `end`); NaN when its sequences run past its end. */
function blockBytes(input: Buffer, from: number, end: number): number {
  let total = 0;
  let at = from;
  while (at < end) {
    const token = input[at++] as number;
    let literals = token >> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= end) return Number.NaN;
        more = input[at++] as number;
        literals += more;
      }
    }
    at += literals;
    total += literals;
    if (at > end) return Number.NaN;
    if (at === end) return total;
    at += 2;
    let match = token & 15;
    if (match === 15) {
      let more = 255;
      while (more === 255) {
        if (at >= end) return Number.NaN;
        more = input[at++] as number;
        match += more;
      }
    }
    if (at > end) return Number.NaN;
    total += match + MATCH_BYTES_MIN;
  }
  return Number.NaN;
}
