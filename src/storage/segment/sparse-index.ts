/**
 * The sparse index of one segment: for about every 32 KiB of it, where a batch begins, its offset, and the greatest
 * timestamp of all batches before it. It lives in memory; a segment that is complete also keeps it in a file beside
 * it, which is a cache: a missing, damaged or wrong file is rebuilt from the segment and never trusted.
 *
 * Index file, big-endian:
 *
 * | at     | size | field                                                             |
 * |--------|------|-------------------------------------------------------------------|
 * |  0     |    4 | magic "RMQI"                                                      |
 * |  4     |    4 | CRC-32C of everything from byte 8 on                              |
 * |  8     |    8 | bytes of the segment that it belongs to                           |
 * | 16     |    8 | offset after the segment's last record                            |
 * | 24     |    8 | greatest timestamp of the segment, ms                             |
 * | 32     |    4 | entry count n                                                     |
 * | 36     | 24 n | entries: position, offset, greatest timestamp before it (8 each)  |
 */

import { crc32c } from '../crc32c.ts';
import { readOffset, writeOffset } from './batch-check.ts';

/** Bytes of segment between two entries: what a read may have to skip over. */
export const INDEX_INTERVAL_BYTES = 32 * 1024;

const MAGIC = 0x524d5149;
const HEADER_BYTES = 36;
const ENTRY_BYTES = 24;
const NO_TIME_MS = -1;

export class SparseIndex {
  #positions: number[] = [];
  #offsets: number[] = [];
  #times: number[] = [];
  maxTimeMs = NO_TIME_MS;

  /** A batch of the segment, in order. */
  add(position: number, offset: number, timeMs: number): void {
    const last = this.#positions.at(-1);
    if (last === undefined || position - last >= INDEX_INTERVAL_BYTES) {
      this.#positions.push(position);
      this.#offsets.push(offset);
      this.#times.push(this.maxTimeMs);
    }
    if (timeMs > this.maxTimeMs) this.maxTimeMs = timeMs;
  }

  /** A position at or before the batch that holds `offset`. */
  positionOf(offset: number): number {
    return this.#positions[lastAtMost(this.#offsets, offset)] ?? 0;
  }

  /** A position at or before the first batch that has a record not older than `timeMs`. */
  positionOfTime(timeMs: number): number {
    return this.#positions[lastAtMost(this.#times, timeMs - 1)] ?? 0;
  }

  encode(segmentBytes: number, nextOffset: number): Buffer {
    const bytes = Buffer.alloc(HEADER_BYTES + this.#positions.length * ENTRY_BYTES);
    bytes.writeUInt32BE(MAGIC, 0);
    writeOffset(bytes, segmentBytes, 8);
    writeOffset(bytes, nextOffset, 16);
    writeOffset(bytes, this.maxTimeMs, 24);
    bytes.writeUInt32BE(this.#positions.length, 32);
    for (let i = 0, at = HEADER_BYTES; i < this.#positions.length; i++, at += ENTRY_BYTES) {
      writeOffset(bytes, this.#positions[i] as number, at);
      writeOffset(bytes, this.#offsets[i] as number, at + 8);
      writeOffset(bytes, this.#times[i] as number, at + 16);
    }
    bytes.writeUInt32BE(crc32c(bytes.subarray(8)), 4);
    return bytes;
  }

  /** Null when the file is damaged or belongs to another state of the segment. */
  static decode(bytes: Buffer, segmentBytes: number, nextOffset: number): SparseIndex | null {
    if (bytes.length < HEADER_BYTES || bytes.readUInt32BE(0) !== MAGIC) return null;
    if (bytes.readUInt32BE(4) !== crc32c(bytes.subarray(8))) return null;
    if (readOffset(bytes, 8) !== segmentBytes || readOffset(bytes, 16) !== nextOffset) return null;
    const count = bytes.readUInt32BE(32);
    if (bytes.length !== HEADER_BYTES + count * ENTRY_BYTES) return null;
    const index = new SparseIndex();
    index.maxTimeMs = readOffset(bytes, 24);
    for (let i = 0, at = HEADER_BYTES; i < count; i++, at += ENTRY_BYTES) {
      index.#positions.push(readOffset(bytes, at));
      index.#offsets.push(readOffset(bytes, at + 8));
      index.#times.push(readOffset(bytes, at + 16));
    }
    return index;
  }
}

/** Index of the last element that is not greater than `value`, in an ascending list; -1 when all are greater. */
function lastAtMost(list: readonly number[], value: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((list[middle] as number) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
