/**
 * Reads what others wrote: the batches of a buffer one after the other, and the records of a batch, one at a time
 * and only when asked. Bytes may come from any producer, so every length is checked before it is used; whatever
 * is wrong throws CoreError `corrupt-batch`, and nothing beyond the given bytes is read. `checkRecords` walks all
 * records without keeping anything: after it, `RecordReader` cannot fail. The layout of a record stands in
 * `batch-builder.ts`.
 */

import { Buffer } from 'node:buffer';
import { CoreError } from './errors.ts';
import {
  BATCH_HEADER_BYTES,
  BatchField,
  batchBytes,
  type RecordHeader,
  readInt64,
  type StreamRecord,
} from './record-batch.ts';

const NO_HEADERS: readonly RecordHeader[] = Object.freeze([]);
/** Length, attributes, three deltas or lengths, value length, header count: one byte each. */
const RECORD_BYTES_MIN = 7;
/** No timestamp in use comes near; what lies within is exact in a double, sums of two as well. */
export const TIMESTAMP_MAX = 2 ** 52;

export function corruptBatch(reason: string): CoreError {
  return new CoreError('corrupt-batch', `the record batch is corrupt: ${reason}`);
}

/** A record with its place in the stream. */
export interface PlacedRecord extends StreamRecord {
  readonly offset: number;
}

/** Undoes a batch's compression, as given to the core. */
export interface RecordAreaOptions {
  readonly decompress: (codec: number, bytes: Uint8Array, bytesMax: number) => Uint8Array;
  readonly bytesMax: number;
}

/** The batches of a buffer as views, in order; a torn one at the end throws. */
export function* iterateBatches(buffer: Buffer): Generator<Buffer> {
  let at = 0;
  while (at < buffer.length) {
    if (buffer.length - at < BATCH_HEADER_BYTES) throw corruptBatch('its header is cut off');
    const bytes = batchBytes(buffer, at);
    if (bytes < BATCH_HEADER_BYTES || bytes > buffer.length - at) throw corruptBatch('its length is wrong');
    yield buffer.subarray(at, at + bytes);
    at += bytes;
  }
}

/** The bytes of all records of a whole batch, decompressed where they must be. */
export function recordArea(batch: Buffer, options: RecordAreaOptions): Uint8Array {
  const area = batch.subarray(BATCH_HEADER_BYTES);
  const codec = batch.readInt16BE(BatchField.attributes) & 7;
  if (codec === 0) return area;
  try {
    return options.decompress(codec, area, options.bytesMax);
  } catch (error) {
    if (error instanceof CoreError) throw error;
    throw new CoreError('corrupt-batch', `the records cannot be decompressed: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Reads the records of a whole batch from its record area, in order. */
export class RecordReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  readonly #baseOffset: number;
  readonly #lastOffsetDelta: number;
  readonly #baseTimestampMs: number;
  readonly #appendTimeMs: number;
  /** The last name read at each place among the headers. */
  readonly #names: { readonly from: number; readonly bytes: number; readonly text: string }[] = [];
  #at = 0;
  #left: number;

  constructor(batch: Buffer, area: Uint8Array) {
    this.#bytes = asBuffer(area);
    this.#end = area.length;
    this.#baseOffset = readInt64(batch, BatchField.baseOffset);
    this.#lastOffsetDelta = batch.readInt32BE(BatchField.lastOffsetDelta);
    this.#baseTimestampMs = readInt64(batch, BatchField.baseTimestamp);
    const appendTime = (batch.readInt16BE(BatchField.attributes) & 8) !== 0;
    this.#appendTimeMs = appendTime ? readInt64(batch, BatchField.maxTimestamp) : -1;
    this.#left = batch.readInt32BE(BatchField.recordCount);
    if (this.#left < 0 || this.#left > area.length / RECORD_BYTES_MIN)
      throw corruptBatch('it says that it holds more records than it has room for');
  }

  /** Walks to the end and checks everything, keeping nothing. */
  check(): void {
    while (this.#left > 0) this.#read(false);
    if (this.#at !== this.#end) throw corruptBatch('bytes follow its last record');
  }

  /** The next record, or null after the last one. Its bytes are views of the batch. */
  next(): PlacedRecord | null {
    return this.#left === 0 ? null : this.#read(true);
  }

  #read(keep: true): PlacedRecord;
  #read(keep: false): null;
  #read(keep: boolean): PlacedRecord | null {
    const length = this.#varint();
    const end = this.#at + length;
    if (length < RECORD_BYTES_MIN - 1 || end > this.#end) throw corruptBatch('a record has a wrong length');
    this.#at++; // attributes: no bit is in use
    const timestampDelta = this.#varlong();
    if (Math.abs(timestampDelta) > TIMESTAMP_MAX) throw corruptBatch('a timestamp is out of range');
    const offsetDelta = this.#varint();
    if (offsetDelta < 0 || offsetDelta > this.#lastOffsetDelta)
      throw corruptBatch('a record lies outside it');
    const key = this.#bytesField(end, keep);
    const value = this.#bytesField(end, keep);
    const headers = this.#headers(end, keep);
    if (this.#at !== end) throw corruptBatch('a record has a wrong length');
    this.#left--;
    if (!keep) return null;
    const timestampMs = this.#appendTimeMs >= 0 ? this.#appendTimeMs : this.#baseTimestampMs + timestampDelta;
    return { offset: this.#baseOffset + offsetDelta, key, value, headers, timestampMs };
  }

  #headers(end: number, keep: boolean): readonly RecordHeader[] {
    const count = this.#varint();
    if (count === 0) return NO_HEADERS;
    // Each header takes at least two bytes, so that a false count cannot ask for memory that is not there.
    if (count < 0 || count > (end - this.#at) / 2)
      throw corruptBatch('a record has a wrong number of headers');
    const headers: RecordHeader[] = [];
    for (let i = 0; i < count; i++) {
      const nameBytes = this.#varint();
      const from = this.#at;
      if (nameBytes < 0 || nameBytes > end - from) throw corruptBatch('a header has a wrong length');
      const to = from + nameBytes;
      this.#at = to;
      const value = this.#bytesField(end, keep);
      if (keep) headers.push({ name: this.#nameOf(i, from, to), value });
    }
    return headers;
  }

  /** Records of a batch mostly have the same headers, so a name is made into text once and then compared. */
  #nameOf(index: number, from: number, to: number): string {
    const known = this.#names[index];
    const bytes = this.#bytes;
    if (known !== undefined && known.bytes === to - from) {
      let same = 0;
      while (same < known.bytes && bytes[known.from + same] === bytes[from + same]) same++;
      if (same === known.bytes) return known.text;
    }
    const text = bytes.toString('utf8', from, to);
    this.#names[index] = { from, bytes: to - from, text };
    return text;
  }

  #bytesField(end: number, keep: boolean): Buffer | null {
    const length = this.#varint();
    if (length === -1) return null;
    const from = this.#at;
    if (length < 0 || length > end - from) throw corruptBatch('a key or value has a wrong length');
    this.#at = from + length;
    return keep ? this.#bytes.subarray(from, from + length) : null;
  }

  /** At most five bytes; more than 32 bits are refused. */
  #varint(): number {
    const bytes = this.#bytes;
    let zigzag = 0;
    for (let shift = 0; ; shift += 7) {
      if (this.#at >= this.#end) throw corruptBatch('it is cut off');
      const byte = bytes[this.#at++] as number;
      if (shift === 28 && byte > 0x0f) throw corruptBatch('a number is too long');
      zigzag |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (zigzag >>> 1) ^ -(zigzag & 1);
    }
  }

  /** At most ten bytes; beyond 2^53 the result is rounded, and refused by its caller. */
  #varlong(): number {
    const bytes = this.#bytes;
    let low = 0;
    let high = 0;
    for (let index = 0; ; index++) {
      if (this.#at >= this.#end) throw corruptBatch('it is cut off');
      const byte = bytes[this.#at++] as number;
      if (index === 9 && byte > 1) throw corruptBatch('a number is too long');
      const bits = byte & 0x7f;
      if (index < 4) low |= bits << (7 * index);
      else if (index === 4) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (7 * index - 32);
      if (byte < 0x80) break;
    }
    return unzigzag(low >>> 0, high >>> 0);
  }
}

/** All records of a whole batch, checked first. For tests and tools: a partition reads them one at a time. */
export function decodeRecords(batch: Buffer, options: RecordAreaOptions): PlacedRecord[] {
  const area = recordArea(batch, options);
  new RecordReader(batch, area).check();
  const reader = new RecordReader(batch, area);
  const records: PlacedRecord[] = [];
  for (let record = reader.next(); record !== null; record = reader.next()) records.push(record);
  return records;
}

/** The number whose zigzag form has these two halves. */
function unzigzag(low: number, high: number): number {
  const half = (high >>> 1) * 2 ** 32 + (((low >>> 1) | ((high & 1) << 31)) >>> 0);
  return (low & 1) === 0 ? half : -half - 1;
}

function asBuffer(area: Uint8Array): Buffer {
  return Buffer.isBuffer(area) ? area : Buffer.from(area.buffer, area.byteOffset, area.byteLength);
}
