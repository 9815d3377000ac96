/**
 * The file `start` of a batch log: the first offset that is still kept, where that is inside a segment. It is
 * replaced as a whole. A missing file means the beginning of the first segment; so does a damaged one, which keeps
 * records that should be gone rather than losing some that should not.
 *
 * | at | size | field                                |
 * |----|------|--------------------------------------|
 * |  0 |    4 | CRC-32C of the 8 bytes that follow   |
 * |  4 |    8 | start offset, big-endian             |
 */

import { join } from 'node:path';
import { crc32c } from '../crc32c.ts';
import { type FileSystem, readWholeFile, replaceFile } from '../file-system.ts';
import type { Report } from '../report.ts';
import { readOffset, writeOffset } from './batch-check.ts';

const START_BYTES = 12;

export function readStart(files: FileSystem, folder: string, log: string, report: Report): number {
  const bytes = readWholeFile(files, join(folder, 'start'));
  if (bytes === null) return 0;
  const isWhole = bytes.length === START_BYTES && bytes.readUInt32BE(0) === crc32c(bytes.subarray(4));
  const offset = isWhole ? readOffset(bytes, 4) : -1;
  if (offset >= 0) return offset;
  report({
    level: 'warn',
    text: 'the start file of a stream log is damaged and was ignored',
    details: { log },
  });
  return 0;
}

export function writeStart(files: FileSystem, folder: string, offset: number, durable: boolean): void {
  const bytes = Buffer.alloc(START_BYTES);
  writeOffset(bytes, offset, 4);
  bytes.writeUInt32BE(crc32c(bytes.subarray(4)), 0);
  replaceFile(files, join(folder, 'start'), bytes, durable);
}
