/** Record batches for tests and for the processes that tests start. */

import type { BatchLogOptions } from '../../../src/core/storage.ts';
import { crc32c } from '../../../src/storage/index.ts';

export const KEEP_ALL: BatchLogOptions = { segmentBytes: 1 << 30, retentionBytes: -1, retentionMs: -1 };

export interface BatchShape {
  readonly records?: number;
  /** The first record's time; each further one is 1 ms later. */
  readonly timeMs?: number;
  readonly valueBytes?: number;
}

/** A well-formed record batch of version 2 with true records and checksum. */
export function buildBatch(shape: BatchShape = {}): Buffer {
  const { records = 1, timeMs = 1000, valueBytes = 10 } = shape;
  const parts: Buffer[] = [];
  for (let i = 0; i < records; i++) {
    const body = Buffer.concat([
      Buffer.from([0]),
      zigzag(i),
      zigzag(i),
      zigzag(-1),
      zigzag(valueBytes),
      Buffer.alloc(valueBytes, 97 + (i % 26)),
      zigzag(0),
    ]);
    parts.push(zigzag(body.length), body);
  }
  const body = Buffer.concat(parts);
  const batch = Buffer.alloc(61 + body.length);
  batch.writeInt32BE(batch.length - 12, 8);
  batch[16] = 2;
  batch.writeInt32BE(records - 1, 23);
  batch.writeBigInt64BE(BigInt(timeMs), 27);
  batch.writeBigInt64BE(BigInt(timeMs + records - 1), 35);
  batch.writeBigInt64BE(-1n, 43);
  batch.writeInt16BE(-1, 51);
  batch.writeInt32BE(-1, 53);
  batch.writeInt32BE(records, 57);
  body.copy(batch, 61);
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

function zigzag(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value >= 0 ? value * 2 : -value * 2 - 1;
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
