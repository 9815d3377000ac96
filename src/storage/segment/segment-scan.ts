/**
 * Walks a segment file at opening. The last segment of a log is checked batch by batch: length, version, order of
 * offsets and CRC-32C. What follows the last good batch and holds no other is a torn tail, for the caller to cut.
 * A bad place with good batches after it is damage, not a tear: it is noted and kept, because what follows it was
 * acknowledged. A complete segment is only walked by headers, to rebuild its index.
 */

import { BATCH_HEADER_BYTES } from '../../core/record-batch.ts';
import { type FileSystem, readAllSync } from '../file-system.ts';
import { checkHeader, checkSum, maxTimeOf, nextOffsetOf, readOffset } from './batch-check.ts';
import { SparseIndex } from './sparse-index.ts';

const WINDOW_BYTES = 4 * 1024 * 1024;
const BATCH_VERSION = 2;
const VERSION_AT = 16;

export interface Damage {
  readonly position: number;
  readonly bytes: number;
}

export interface ScanResult {
  readonly index: SparseIndex;
  /** Bytes up to the end of the last good batch. */
  readonly goodBytes: number;
  readonly nextOffset: number;
  readonly damages: readonly Damage[];
}

/** A view on the file that moves forward; `at` gives bytes at a position, at least `bytes` of them where they exist. */
class Window {
  readonly #files: FileSystem;
  readonly #fd: number;
  readonly fileBytes: number;
  #buffer = Buffer.allocUnsafe(0);
  #position = 0;

  constructor(files: FileSystem, fd: number) {
    this.#files = files;
    this.#fd = fd;
    this.fileBytes = files.size(fd);
  }

  at(position: number, bytes: number): Buffer {
    const wanted = Math.min(bytes, this.fileBytes - position);
    const from = position - this.#position;
    if (from < 0 || from + wanted > this.#buffer.length) {
      const size = Math.min(Math.max(wanted, WINDOW_BYTES), this.fileBytes - position);
      const buffer = Buffer.allocUnsafe(size);
      this.#buffer = buffer.subarray(0, readAllSync(this.#files, this.#fd, buffer, size, position));
      this.#position = position;
      return this.#buffer;
    }
    return this.#buffer.subarray(from);
  }
}

/** Checks everything. */
export function scanWhole(files: FileSystem, fd: number, baseOffset: number): ScanResult {
  const window = new Window(files, fd);
  const index = new SparseIndex();
  const damages: Damage[] = [];
  let position = 0;
  let nextOffset = baseOffset;
  while (position < window.fileBytes) {
    const length = goodBatch(window, position, nextOffset);
    if (length > 0) {
      const bytes = window.at(position, length);
      index.add(position, readOffset(bytes, 0), maxTimeOf(bytes, 0));
      nextOffset = nextOffsetOf(bytes, 0);
      position += length;
      continue;
    }
    const found = findBatch(window, position + 1, nextOffset);
    if (found < 0) break;
    damages.push({ position, bytes: found - position });
    position = found;
  }
  return { index, goodBytes: position, nextOffset, damages };
}

/** Trusts the bodies and follows the headers; stops where they stop making sense. */
export function scanHeaders(files: FileSystem, fd: number, baseOffset: number): ScanResult {
  const window = new Window(files, fd);
  const index = new SparseIndex();
  let position = 0;
  let nextOffset = baseOffset;
  while (position < window.fileBytes) {
    const bytes = window.at(position, BATCH_HEADER_BYTES);
    const length = checkHeader(bytes, 0, nextOffset, window.fileBytes - position);
    if (length === 0) break;
    index.add(position, readOffset(bytes, 0), maxTimeOf(bytes, 0));
    nextOffset = nextOffsetOf(bytes, 0);
    position += length;
  }
  return { index, goodBytes: position, nextOffset, damages: [] };
}

/** Bytes of the good batch at `position`, 0 when there is none. */
function goodBatch(window: Window, position: number, offsetMin: number): number {
  const header = window.at(position, BATCH_HEADER_BYTES);
  const length = checkHeader(header, 0, offsetMin, window.fileBytes - position);
  if (length === 0) return 0;
  return checkSum(window.at(position, length), 0, length) ? length : 0;
}

/** The first position from `from` on where a good batch begins, -1 when there is none. */
function findBatch(window: Window, from: number, offsetMin: number): number {
  let position = from;
  while (position + BATCH_HEADER_BYTES <= window.fileBytes) {
    const bytes = window.at(position, WINDOW_BYTES);
    const step = bytes.length - BATCH_HEADER_BYTES;
    if (step < 0) return -1;
    let at = bytes.indexOf(BATCH_VERSION, VERSION_AT);
    while (at >= 0 && at - VERSION_AT <= step) {
      const start = at - VERSION_AT;
      if (
        checkHeader(bytes, start, offsetMin, window.fileBytes - position - start) > 0 &&
        goodBatch(window, position + start, offsetMin) > 0
      ) {
        return position + start;
      }
      at = bytes.indexOf(BATCH_VERSION, at + 1);
    }
    position += step + 1;
  }
  return -1;
}
