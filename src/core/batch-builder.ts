/**
 * Builds one uncompressed record batch from many records. Each record is measured as it is added, so that the
 * batch is then written in one pass into one buffer of exactly its size. Used by a partition for the messages
 * that it gathers during a turn; one builder serves one batch after the other. Header fields: `record-batch.ts`.
 * A record, all numbers zigzag varints unless a size is given:
 *
 * | field            | content                                                        |
 * |------------------|----------------------------------------------------------------|
 * | length           | bytes of all that follows                                      |
 * | attributes       | 1 byte, 0                                                      |
 * | timestamp delta  | to the batch's base timestamp, ms                              |
 * | offset delta     | to the batch's base offset                                     |
 * | key length, key  | -1 for no key                                                  |
 * | value length, value | -1 for no value                                             |
 * | header count     |                                                                |
 * | for each header  | name length, name in UTF-8, value length (-1 for none), value  |
 */

import { Buffer } from 'node:buffer';
import { varintBytes, writeVarint } from './batch-varint.ts';
import {
  BATCH_HEADER_BYTES,
  BATCH_LENGTH_PREFIX_BYTES,
  BatchField,
  type StreamRecord,
} from './record-batch.ts';

/** Copies below this length are faster byte by byte than by a call. */
const SHORT_COPY_BYTES = 24;

/** Some ten thousand years from now. */
const TIMESTAMP_MS_MAX = 2 ** 48;

/** Who wrote a batch, for the sequence check of idempotent producers. */
export interface BatchProducer {
  readonly id: bigint;
  readonly epoch: number;
  readonly baseSequence: number;
}

const NO_PRODUCER: BatchProducer = { id: -1n, epoch: -1, baseSequence: -1 };

export class BatchBuilder {
  #records: StreamRecord[] = [];
  /** The length field's value of each record. */
  #lengths: number[] = [];
  #bytes = BATCH_HEADER_BYTES;
  #baseTimestampMs = 0;
  #maxTimestampMs = 0;

  get count(): number {
    return this.#records.length;
  }

  /** Size of the batch as it stands. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps the record until `build`; returns how many bytes it adds. */
  add(record: StreamRecord): number {
    const timestampMs = clampTimestamp(record.timestampMs);
    if (this.#records.length === 0) {
      this.#baseTimestampMs = timestampMs;
      this.#maxTimestampMs = timestampMs;
    } else if (timestampMs > this.#maxTimestampMs) this.#maxTimestampMs = timestampMs;
    const length = measureRecord(record, this.#records.length, timestampMs - this.#baseTimestampMs);
    const added = varintBytes(length) + length;
    this.#records.push(record);
    this.#lengths.push(length);
    this.#bytes += added;
    return added;
  }

  /** The batch of all records added since the last call, at least one; its base offset is yet to be stamped. */
  build(crc32c: (bytes: Uint8Array) => number, producer: BatchProducer = NO_PRODUCER): Buffer {
    const records = this.#records;
    const lengths = this.#lengths;
    const base = this.#baseTimestampMs;
    const batch = Buffer.allocUnsafe(this.#bytes);
    let at = BATCH_HEADER_BYTES;
    for (let i = 0; i < records.length; i++) {
      at = writeRecord(batch, at, records[i] as StreamRecord, lengths[i] as number, i, base);
    }
    const last = records.length - 1;
    write64(batch, BatchField.baseOffset, 0);
    write32(batch, BatchField.length, batch.length - BATCH_LENGTH_PREFIX_BYTES);
    write32(batch, BatchField.leaderEpoch, 0);
    batch[BatchField.version] = 2;
    write16(batch, BatchField.attributes, 0);
    write32(batch, BatchField.lastOffsetDelta, last);
    write64(batch, BatchField.baseTimestamp, base);
    write64(batch, BatchField.maxTimestamp, this.#maxTimestampMs);
    if (producer === NO_PRODUCER) write64(batch, BatchField.producerId, -1);
    else batch.writeBigInt64BE(producer.id, BatchField.producerId);
    write16(batch, BatchField.producerEpoch, producer.epoch);
    write32(batch, BatchField.baseSequence, producer.baseSequence);
    write32(batch, BatchField.recordCount, last + 1);
    write32(batch, BatchField.crc, crc32c(batch.subarray(BatchField.attributes)));
    this.clear();
    return batch;
  }

  /** Forgets what was added; returns how many bytes of records that was. */
  clear(): number {
    const bytes = this.#bytes - BATCH_HEADER_BYTES;
    this.#records = [];
    this.#lengths = [];
    this.#bytes = BATCH_HEADER_BYTES;
    return bytes;
  }
}

/** One batch of these records; at least one. */
export function encodeBatch(
  records: Iterable<StreamRecord>,
  crc32c: (bytes: Uint8Array) => number,
  producer: BatchProducer = NO_PRODUCER,
): Buffer {
  const builder = new BatchBuilder();
  for (const record of records) builder.add(record);
  return builder.build(crc32c, producer);
}

/** A number that every reader takes: whole, and within what records can say. */
function clampTimestamp(timestampMs: number): number {
  if (timestampMs >= -1 && timestampMs <= TIMESTAMP_MS_MAX) return Math.floor(timestampMs);
  return timestampMs > TIMESTAMP_MS_MAX ? TIMESTAMP_MS_MAX : -1;
}

function measureRecord(record: StreamRecord, offsetDelta: number, timestampDelta: number): number {
  const { key, value, headers } = record;
  const keyBytes = key === null ? 1 : varintBytes(key.length) + key.length;
  const valueBytes = value === null ? 1 : varintBytes(value.length) + value.length;
  let length = 1 + varintBytes(timestampDelta) + varintBytes(offsetDelta) + keyBytes + valueBytes;
  length += varintBytes(headers.length);
  for (const header of headers) {
    const nameBytes = utf8Bytes(header.name);
    length += varintBytes(nameBytes) + nameBytes;
    length += header.value === null ? 1 : varintBytes(header.value.length) + header.value.length;
  }
  return length;
}

function writeRecord(
  batch: Buffer,
  start: number,
  record: StreamRecord,
  length: number,
  offsetDelta: number,
  baseTimestampMs: number,
): number {
  let at = writeVarint(batch, start, length);
  batch[at++] = 0;
  at = writeVarint(batch, at, clampTimestamp(record.timestampMs) - baseTimestampMs);
  at = writeVarint(batch, at, offsetDelta);
  at = writeBytes(batch, at, record.key);
  at = writeBytes(batch, at, record.value);
  const { headers } = record;
  at = writeVarint(batch, at, headers.length);
  for (const header of headers) {
    at = writeName(batch, at, header.name);
    at = writeBytes(batch, at, header.value);
  }
  return at;
}

function writeBytes(batch: Buffer, start: number, bytes: Uint8Array | null): number {
  if (bytes === null) {
    batch[start] = 1; // -1 in zigzag
    return start + 1;
  }
  const count = bytes.length;
  const at = writeVarint(batch, start, count);
  if (count > SHORT_COPY_BYTES) batch.set(bytes, at);
  else for (let i = 0; i < count; i++) batch[at + i] = bytes[i] as number;
  return at + count;
}

function writeName(batch: Buffer, start: number, name: string): number {
  const bytes = utf8Bytes(name);
  let at = writeVarint(batch, start, bytes);
  if (bytes === name.length && bytes <= SHORT_COPY_BYTES) {
    for (let i = 0; i < bytes; i++) batch[at++] = name.charCodeAt(i);
    return at;
  }
  batch.write(name, at, bytes, 'utf8');
  return at + bytes;
}

// The header's numbers are written byte by byte: for a batch of one record, calls would cost more than the record.

function write16(batch: Buffer, at: number, value: number): void {
  batch[at] = value >> 8;
  batch[at + 1] = value;
}

function write32(batch: Buffer, at: number, value: number): void {
  batch[at] = value >> 24;
  batch[at + 1] = value >> 16;
  batch[at + 2] = value >> 8;
  batch[at + 3] = value;
}

/** A safe integer. */
function write64(batch: Buffer, at: number, value: number): void {
  write32(batch, at, Math.floor(value / 2 ** 32));
  write32(batch, at + 4, value % 2 ** 32);
}

/** Header names are short and nearly always ASCII: those are counted without a call. */
function utf8Bytes(text: string): number {
  if (text.length > SHORT_COPY_BYTES) return Buffer.byteLength(text, 'utf8');
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) >= 0x80) return Buffer.byteLength(text, 'utf8');
  }
  return text.length;
}
