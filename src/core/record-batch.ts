/**
 * Record batch, version 2: the unit of a stream, the same bytes on disk and on the wire. Big-endian:
 *
 * | at | size | field                                                                          |
 * |----|------|--------------------------------------------------------------------------------|
 * |  0 |    8 | base offset (stamped at append, outside the checksum)                          |
 * |  8 |    4 | length of all that follows                                                     |
 * | 12 |    4 | leader epoch (stamped at append, outside the checksum)                         |
 * | 16 |    1 | version, 2                                                                     |
 * | 17 |    4 | CRC-32C of everything from byte 21 on                                          |
 * | 21 |    2 | attributes: bits 0-2 codec, 3 append time, 4 transactional, 5 control          |
 * | 23 |    4 | last offset delta                                                              |
 * | 27 |    8 | base timestamp, ms                                                             |
 * | 35 |    8 | greatest timestamp, ms                                                         |
 * | 43 |    8 | producer id, -1 for none                                                       |
 * | 51 |    2 | producer epoch                                                                 |
 * | 53 |    4 | base sequence                                                                  |
 * | 57 |    4 | record count                                                                   |
 * | 61 |      | records, compressed as one block where a codec is set                          |
 */

export const BATCH_HEADER_BYTES = 61;
/** Bytes before the length field's own count begins. */
export const BATCH_LENGTH_PREFIX_BYTES = 12;

export const BatchField = {
  baseOffset: 0,
  length: 8,
  leaderEpoch: 12,
  version: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordCount: 57,
} as const;

/** Bytes of the whole batch that begins at `at`. */
export function batchBytes(buffer: Buffer, at = 0): number {
  return BATCH_LENGTH_PREFIX_BYTES + buffer.readInt32BE(at + BatchField.length);
}

export function batchBaseOffset(buffer: Buffer, at = 0): number {
  return readInt64(buffer, at + BatchField.baseOffset);
}

/** Stamps a batch that stands in its log with where it stands there. */
export function placeBatch(batch: Buffer, baseOffset: number): void {
  batch.writeBigInt64BE(BigInt(baseOffset), BatchField.baseOffset);
}

/** The offset after the batch's last record. */
export function batchNextOffset(buffer: Buffer, at = 0): number {
  return batchBaseOffset(buffer, at) + buffer.readInt32BE(at + BatchField.lastOffsetDelta) + 1;
}

export function batchMaxTimestampMs(buffer: Buffer, at = 0): number {
  return readInt64(buffer, at + BatchField.maxTimestamp);
}

/** A 64-bit field as a number: exact within 2^53, without the cost of a big integer. */
export function readInt64(buffer: Buffer, at: number): number {
  return buffer.readInt32BE(at) * 2 ** 32 + buffer.readUInt32BE(at + 4);
}

/** One record of a stream: what a message is once its address is the stream's. */
export interface StreamRecord {
  readonly key: Uint8Array | null;
  /** null is "no value", which deletes a key where a stream is compacted. */
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
  readonly timestampMs: number;
}

export interface RecordHeader {
  readonly name: string;
  readonly value: Uint8Array | null;
}
