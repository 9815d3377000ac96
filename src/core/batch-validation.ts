/**
 * What must be true of a producer's batch before it may enter a log: checked here without looking into its
 * records, so that a batch of any size costs one checksum. Called by `partition.ts` for each batch that arrives
 * whole. The header's layout is the table in `record-batch.ts`.
 */

import type { Buffer } from 'node:buffer';
import { corruptBatch, TIMESTAMP_MAX } from './batch-records.ts';
import { CoreError } from './errors.ts';
import { BATCH_HEADER_BYTES, BatchField, batchBytes, readInt64 } from './record-batch.ts';

/** The greatest codec number that the format knows. */
const CODEC_MAX = 4;
const CONTROL_BIT = 0x20;
const VERSION = 2;

/** Throws CoreError `corrupt-batch`, or `message-too-large` above `bytesMax`. */
export function validateBatch(batch: Buffer, bytesMax: number, crc32c: (bytes: Uint8Array) => number): void {
  if (batch.length < BATCH_HEADER_BYTES) throw corruptBatch('its header is cut off');
  if (batch[BatchField.version] !== VERSION) throw corruptBatch('it is not of version 2');
  if (batchBytes(batch) !== batch.length) throw corruptBatch('its length is wrong');
  if (batch.length > bytesMax) {
    throw new CoreError(
      'message-too-large',
      `a batch of ${batch.length} bytes; at most ${bytesMax} are taken`,
    );
  }
  if (batch.readUInt32BE(BatchField.crc) !== crc32c(batch.subarray(BatchField.attributes)) >>> 0)
    throw corruptBatch('its checksum is wrong');
  const attributes = batch.readInt16BE(BatchField.attributes);
  if ((attributes & 7) > CODEC_MAX) throw corruptBatch('its codec is unknown');
  if ((attributes & CONTROL_BIT) !== 0) throw corruptBatch('only the gateway writes control batches');
  const count = batch.readInt32BE(BatchField.recordCount);
  if (count <= 0) throw corruptBatch('it holds no record');
  if (batch.readInt32BE(BatchField.lastOffsetDelta) !== count - 1)
    throw corruptBatch('its record count and last offset do not agree');
  checkTimestamp(readInt64(batch, BatchField.baseTimestamp));
  checkTimestamp(readInt64(batch, BatchField.maxTimestamp));
  if (batch.readInt32BE(BatchField.producerId) < 0) return;
  if (batch.readInt16BE(BatchField.producerEpoch) < 0) throw corruptBatch('its producer has no epoch');
  if (batch.readInt32BE(BatchField.baseSequence) < 0) throw corruptBatch('its producer gave no sequence');
}

function checkTimestamp(timestamp: number): void {
  if (Math.abs(timestamp) > TIMESTAMP_MAX) throw corruptBatch('a timestamp is out of range');
}
