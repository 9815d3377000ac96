/**
 * Walks a segment file at opening. The last segment of a log is checked batch by batch: length, version, order of
 * offsets and CRC-32C. What follows the last good batch and holds no other is a torn tail, for the caller to cut.
 * A bad place with good batches after it is damage, not a tear: it is noted and kept, because what follows it was
 * acknowledged. A complete segment is only walked by headers, to rebuild its index.
 */

import { BATCH_HEADER_BYTES } from '../../core/record-batch.ts';
import { type FileSystem, readAllSync } from '../file-system.ts';
import { checkHeader, checkSum, maxTimeOf, nextOffsetOf, readOffset } from './batch-check.ts';
import type { Extent } from './extent.ts';
import { SparseIndex } from './sparse-index.ts';

const WINDOW_BYTES = 4 * 1024 * 1024;
const BATCH_VERSION = 2;
const VERSION_AT = 16;
/** The record count is a signed 32-bit number. */
const RECORDS_PER_BATCH_MAX = 2 ** 31;

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

/** Checks everything. Offsets have no gaps, save after damage; the checksum does not cover them. */
export function scanWhole(files: FileSystem, fd: number, baseOffset: number): ScanResult {
  const window = new Window(files, fd);
  const index = new SparseIndex();
  const damages: Damage[] = [];
  let position = 0;
  let nextOffset = baseOffset;
  let offsetMax = baseOffset;
  while (position < window.fileBytes) {
    const length = goodBatch(window, position, nextOffset, offsetMax);
    if (length > 0) {
      const bytes = window.at(position, length);
      index.add(position, readOffset(bytes, 0), maxTimeOf(bytes, 0));
      nextOffset = nextOffsetOf(bytes, 0);
      offsetMax = nextOffset;
      position += length;
      continue;
    }
    const found = findBatch(window, position + 1, nextOffset);
    if (found < 0) break;
    damages.push({ position, bytes: found - position });
    offsetMax = nextOffset + greatestGap(found - position);
    position = found;
  }
  return { index, goodBytes: position, nextOffset, damages };
}

/** More offsets than that many damaged bytes cannot have held. */
function greatestGap(bytes: number): number {
  return Math.ceil(bytes / BATCH_HEADER_BYTES) * RECORDS_PER_BATCH_MAX;
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

/** Whether nothing but good batches is there, without a gap, from one end to the other. */
export function holdsBatches(files: FileSystem, fd: number, extent: Extent): boolean {
  const window = new Window(files, fd);
  let position = extent.from;
  let nextOffset = extent.baseOffset;
  let offsetMax = extent.endOffset;
  while (position < extent.end) {
    const length = position < window.fileBytes ? goodBatch(window, position, nextOffset, offsetMax) : 0;
    if (length === 0) return false;
    nextOffset = nextOffsetOf(window.at(position, length), 0);
    offsetMax = nextOffset;
    position += length;
  }
  return position === extent.end && nextOffset === extent.endOffset;
}

/** Bytes of the good batch at `position` with an offset in the range, 0 when there is none. */
function goodBatch(window: Window, position: number, offsetMin: number, offsetMax: number): number {
  const header = window.at(position, BATCH_HEADER_BYTES);
  const length = checkHeader(header, 0, offsetMin, window.fileBytes - position);
  if (length === 0 || readOffset(header, 0) > offsetMax) return 0;
  return checkSum(window.at(position, length), 0, length) ? length : 0;
}

/** The first position from `from` on where a good batch begins, -1 when there is none. */
function findBatch(window: Window, from: number, offsetMin: number): number {
  let position = from;
  while (position + BATCH_HEADER_BYTES <= window.fileBytes) {
    const bytes = window.at(position, WINDOW_BYTES);
    const last = bytes.length - BATCH_HEADER_BYTES;
    for (let at = 0; at <= last; at++) {
      at = bytes.indexOf(BATCH_VERSION, at + VERSION_AT) - VERSION_AT;
      if (at < 0 || at > last) break;
      const found = position + at;
      if (checkHeader(bytes, at, offsetMin, window.fileBytes - found) === 0) continue;
      if (goodBatch(window, found, offsetMin, offsetMin + greatestGap(found - from + 1)) > 0) return found;
    }
    position += last + 1;
  }
  return -1;
}
