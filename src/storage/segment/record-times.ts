/**
 * Finds the first record of a batch that is not older than a given time. Only `offsetAt` needs to look inside a
 * batch; it decodes as little as it can. Records after byte 61, compressed as one block where a codec is set:
 *
 * | field                    | form                     |
 * |--------------------------|--------------------------|
 * | length of what follows   | zigzag varint            |
 * | attributes               | 1 byte                   |
 * | timestamp delta, ms      | zigzag varint            |
 * | offset delta             | zigzag varint            |
 * | key, value, headers      | skipped                  |
 */

import { BATCH_HEADER_BYTES, BatchField } from '../../core/record-batch.ts';
import { decompress } from '../compression.ts';
import { readOffset } from './batch-check.ts';

const CODEC_MASK = 0b111;
const APPEND_TIME = 0b1000;
/** A batch that unfolds to more than this is answered with its first offset. */
const UNCOMPRESSED_BYTES_MAX = 64 * 1024 * 1024;

export interface OffsetTime {
  readonly offset: number;
  readonly timeMs: number;
}

/** Null when no record from `offsetMin` on is that new. An undecodable batch counts as one record. */
export function timeInBatch(batch: Buffer, timeMs: number, offsetMin: number): OffsetTime | null {
  const base = readOffset(batch, BatchField.baseOffset);
  const maxTimeMs = readOffset(batch, BatchField.maxTimestamp);
  if (maxTimeMs < timeMs) return null;
  const attributes = batch.readInt16BE(BatchField.attributes);
  const coarse: OffsetTime = { offset: Math.max(base, offsetMin), timeMs: maxTimeMs };
  if ((attributes & APPEND_TIME) !== 0) return coarse;
  const baseTimeMs = readOffset(batch, BatchField.baseTimestamp);
  try {
    const stored = batch.subarray(BATCH_HEADER_BYTES);
    const codec = attributes & CODEC_MASK;
    const reader = new VarintReader(codec === 0 ? stored : decompress(codec, stored, UNCOMPRESSED_BYTES_MAX));
    const count = batch.readInt32BE(BatchField.recordCount);
    for (let i = 0; i < count; i++) {
      const length = reader.next();
      const end = reader.at + length;
      reader.at += 1;
      const recordTimeMs = baseTimeMs + reader.next();
      const offset = base + reader.next();
      if (recordTimeMs >= timeMs && offset >= offsetMin) return { offset, timeMs: recordTimeMs };
      if (length < 0) return coarse;
      reader.at = end;
    }
    return null;
  } catch {
    return coarse;
  }
}

class VarintReader {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Zigzag, up to 64 bits; exact below 2^53. Throws RangeError past the end. */
  next(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) throw new RangeError('the record ends early');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      scale *= 0x80;
    }
    throw new RangeError('a number of more than 64 bits');
  }
}
