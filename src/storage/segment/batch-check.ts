/**
 * Reads whether bytes are a record batch, without trusting any of them. Used by recovery, by index rebuilding and by
 * readers that walk from batch to batch. A batch here has the layout of `core/record-batch.ts`.
 */

import { BATCH_HEADER_BYTES, BATCH_LENGTH_PREFIX_BYTES, BatchField } from '../../core/record-batch.ts';
import { crc32c } from '../crc32c.ts';

const BATCH_VERSION = 2;

/** 64-bit fields as numbers; exact below 2^53, which no offset or time reaches. */
export function readOffset(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}

export function writeOffset(bytes: Buffer, offset: number, at: number): void {
  const high = Math.floor(offset / 0x1_0000_0000);
  bytes.writeInt32BE(high, at);
  bytes.writeUInt32BE(offset - high * 0x1_0000_0000, at + 4);
}

/**
 * Bytes of the batch whose header is at `at`, or 0 when these 61 bytes cannot be a header of a batch that is at
 * least at `offsetMin` and at most `bytesMax` long. The checksum is not looked at.
 */
export function checkHeader(bytes: Buffer, at: number, offsetMin: number, bytesMax: number): number {
  if (bytes.length - at < BATCH_HEADER_BYTES) return 0;
  if (bytes[at + BatchField.version] !== BATCH_VERSION) return 0;
  const length = BATCH_LENGTH_PREFIX_BYTES + bytes.readInt32BE(at + BatchField.length);
  if (length < BATCH_HEADER_BYTES || length > bytesMax) return 0;
  if (bytes.readInt32BE(at + BatchField.lastOffsetDelta) < 0) return 0;
  const offset = readOffset(bytes, at + BatchField.baseOffset);
  if (!(offset >= offsetMin && offset <= Number.MAX_SAFE_INTEGER)) return 0;
  return length;
}

/** Whether the whole batch of `length` bytes at `at` has the checksum that it says. */
export function checkSum(bytes: Buffer, at: number, length: number): boolean {
  return (
    crc32c(bytes.subarray(at + BatchField.attributes, at + length)) ===
    bytes.readUInt32BE(at + BatchField.crc)
  );
}

/** The offset after the last record of the batch whose header is at `at`. */
export function nextOffsetOf(bytes: Buffer, at: number): number {
  return (
    readOffset(bytes, at + BatchField.baseOffset) + bytes.readInt32BE(at + BatchField.lastOffsetDelta) + 1
  );
}

export function maxTimeOf(bytes: Buffer, at: number): number {
  return readOffset(bytes, at + BatchField.maxTimestamp);
}
