/**
 * The frames of the journal: one for each commit, holding all changes of row logs and tables since the one before,
 * so that a commit is there as a whole or not at all. With durability `fsync` it also names what the same commit has to
 * put of streams on the device (`segment/extent.ts`). Changes are absolute (this row is there, that key is gone):
 * replaying them twice does no harm. Integers are big-endian.
 *
 * Frame:
 *
 * | at | size | field                               |
 * |----|------|-------------------------------------|
 * |  0 |    4 | bytes of the changes, n; 0: the end |
 * |  4 |    4 | CRC-32C of all that follows         |
 * |  8 |    4 | the file's sequence number, mod 2³² |
 * | 12 |    n | changes, one after another          |
 *
 * Changes:
 *
 * | kind (1)          | then                                                                     |
 * |-------------------|--------------------------------------------------------------------------|
 * | 1 row             | log id (4), offset (6), length (4), bytes                                |
 * | 2 row removed     | log id (4), offset (6)                                                   |
 * | 3 rows cleared    | log id (4), offset before which every row is gone (6)                    |
 * | 4 entry           | table id (4), key length (4), value length (4), key, value               |
 * | 5 entry removed   | table id (4), key length (4), key                                        |
 * | 6 extent          | length of the folder's name (4), base offset of the segment (6), first   |
 * |                   | position (6), end position (6), end offset (6), name of the log's folder |
 */

import { crc32c } from '../crc32c.ts';
import type { Extent } from '../segment/extent.ts';

const FRAME_HEADER_BYTES = 12;
/** Where the checksum begins to count. */
const CHECKED_FROM = 8;
/** A frame has the lower 32 bits of its file's sequence number. */
const SEQUENCES = 2 ** 32;
/** After the last frame: a length of zero. */
export const END_MARK_BYTES = 4;

const ROW = 1;
const ROW_REMOVED = 2;
const ROWS_CLEARED = 3;
const ENTRY = 4;
const ENTRY_REMOVED = 5;
const EXTENT = 6;
const EXTENT_NAME_AT = 29;

const FIRST_BUFFER_BYTES = 64 * 1024;
/** A buffer that one large commit made bigger than this is not kept. */
const KEPT_BUFFER_BYTES_MAX = 1024 * 1024;

/** What the changes of a frame are handed to, in order. */
export interface ChangeSink {
  row(log: number, offset: number, bytes: Buffer): void;
  rowRemoved(log: number, offset: number): void;
  rowsCleared(log: number, before: number): void;
  entry(table: number, key: Buffer, value: Buffer): void;
  entryRemoved(table: number, key: Buffer): void;
  extent(extent: Extent): void;
}

/** Gathers one frame. The buffer is used again for the next one. */
export class FrameWriter {
  #buffer = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
  #at = FRAME_HEADER_BYTES;

  get isEmpty(): boolean {
    return this.#at === FRAME_HEADER_BYTES;
  }

  row(log: number, offset: number, bytes: Uint8Array): void {
    this.#reserve(15 + bytes.length);
    this.#at = this.#writeRow(ROW, log, offset);
    this.#at = this.#buffer.writeUInt32BE(bytes.length, this.#at);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  rowRemoved(log: number, offset: number): void {
    this.#reserve(11);
    this.#at = this.#writeRow(ROW_REMOVED, log, offset);
  }

  rowsCleared(log: number, before: number): void {
    this.#reserve(11);
    this.#at = this.#writeRow(ROWS_CLEARED, log, before);
  }

  #writeRow(kind: number, id: number, offset: number): number {
    this.#buffer[this.#at] = kind;
    this.#buffer.writeUInt32BE(id, this.#at + 1);
    return this.#buffer.writeUIntBE(offset, this.#at + 5, 6);
  }

  entry(table: number, key: string, value: Uint8Array): void {
    const keyBytes = Buffer.byteLength(key);
    this.#reserve(13 + keyBytes + value.length);
    this.#buffer[this.#at] = ENTRY;
    this.#buffer.writeUInt32BE(table, this.#at + 1);
    this.#buffer.writeUInt32BE(keyBytes, this.#at + 5);
    this.#buffer.writeUInt32BE(value.length, this.#at + 9);
    this.#buffer.write(key, this.#at + 13);
    this.#buffer.set(value, this.#at + 13 + keyBytes);
    this.#at += 13 + keyBytes + value.length;
  }

  entryRemoved(table: number, key: string): void {
    const keyBytes = Buffer.byteLength(key);
    this.#reserve(9 + keyBytes);
    this.#buffer[this.#at] = ENTRY_REMOVED;
    this.#buffer.writeUInt32BE(table, this.#at + 1);
    this.#buffer.writeUInt32BE(keyBytes, this.#at + 5);
    this.#buffer.write(key, this.#at + 9);
    this.#at += 9 + keyBytes;
  }

  extent({ folder, baseOffset, from, end, endOffset }: Extent): void {
    const nameBytes = Buffer.byteLength(folder);
    this.#reserve(EXTENT_NAME_AT + nameBytes);
    this.#at = this.#writeRow(EXTENT, nameBytes, baseOffset);
    this.#at = this.#buffer.writeUIntBE(from, this.#at, 6);
    this.#at = this.#buffer.writeUIntBE(end, this.#at, 6);
    this.#at = this.#buffer.writeUIntBE(endOffset, this.#at, 6);
    this.#at += this.#buffer.write(folder, this.#at);
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes + END_MARK_BYTES;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }

  /** The whole frame and an end mark; valid until the next change is added. */
  finish(sequence: number): Buffer {
    const frame = this.#buffer.subarray(0, this.#at + END_MARK_BYTES);
    frame.writeUInt32BE(this.#at - FRAME_HEADER_BYTES, 0);
    frame.writeUInt32BE(sequence % SEQUENCES, CHECKED_FROM);
    frame.writeUInt32BE(crc32c(frame.subarray(CHECKED_FROM, this.#at)), 4);
    frame.writeUInt32BE(0, this.#at);
    return frame;
  }

  clear(): void {
    this.#at = FRAME_HEADER_BYTES;
    if (this.#buffer.length > KEPT_BUFFER_BYTES_MAX)
      this.#buffer = Buffer.allocUnsafeSlow(FIRST_BUFFER_BYTES);
  }
}

/** Whether frames were meant to end here, and not in the middle of one. */
export function hasEndMark(bytes: Buffer, at: number): boolean {
  return bytes.length - at >= END_MARK_BYTES && bytes.readUInt32BE(at) === 0;
}

/** Adds the changes of every whole frame of that file to `frames`; returns where they end. */
export function readFrames(bytes: Buffer, from: number, sequence: number, frames: Buffer[]): number {
  let at = from;
  while (bytes.length - at >= FRAME_HEADER_BYTES) {
    const length = bytes.readUInt32BE(at);
    const end = at + FRAME_HEADER_BYTES + length;
    // A frame is never empty.
    if (length === 0 || end > bytes.length) break;
    if (bytes.readUInt32BE(at + CHECKED_FROM) !== sequence % SEQUENCES) break;
    if (bytes.readUInt32BE(at + 4) !== crc32c(bytes.subarray(at + CHECKED_FROM, end))) break;
    const changes = bytes.subarray(at + FRAME_HEADER_BYTES, end);
    if (!isWellFormed(changes)) break;
    frames.push(changes);
    at = end;
  }
  return at;
}

const IGNORE: ChangeSink = {
  row() {},
  rowRemoved() {},
  rowsCleared() {},
  entry() {},
  entryRemoved() {},
  extent() {},
};

/** What a whole frame names of streams. */
export function extentsIn(changes: Buffer): Extent[] {
  const extents: Extent[] = [];
  walkChanges(changes, { ...IGNORE, extent: (extent) => extents.push(extent) });
  return extents;
}

function isWellFormed(changes: Buffer): boolean {
  try {
    return walkChanges(changes, IGNORE) === changes.length;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** Hands them over; returns where it ended: past the end, or before it, when the changes are malformed. */
export function walkChanges(changes: Buffer, sink: ChangeSink): number {
  let at = 0;
  while (at < changes.length) {
    const kind = changes[at] as number;
    const id = changes.readUInt32BE(at + 1);
    if (kind === ROW) {
      const length = changes.readUInt32BE(at + 11);
      sink.row(id, changes.readUIntBE(at + 5, 6), changes.subarray(at + 15, at + 15 + length));
      at += 15 + length;
    } else if (kind === ROW_REMOVED) {
      sink.rowRemoved(id, changes.readUIntBE(at + 5, 6));
      at += 11;
    } else if (kind === ROWS_CLEARED) {
      sink.rowsCleared(id, changes.readUIntBE(at + 5, 6));
      at += 11;
    } else if (kind === ENTRY) {
      const keyEnd = at + 13 + changes.readUInt32BE(at + 5);
      const valueEnd = keyEnd + changes.readUInt32BE(at + 9);
      sink.entry(id, changes.subarray(at + 13, keyEnd), changes.subarray(keyEnd, valueEnd));
      at = valueEnd;
    } else if (kind === ENTRY_REMOVED) {
      const keyEnd = at + 9 + changes.readUInt32BE(at + 5);
      sink.entryRemoved(id, changes.subarray(at + 9, keyEnd));
      at = keyEnd;
    } else if (kind === EXTENT) {
      const nameAt = at + EXTENT_NAME_AT;
      sink.extent({
        folder: changes.toString('utf8', nameAt, nameAt + id),
        baseOffset: changes.readUIntBE(at + 5, 6),
        from: changes.readUIntBE(at + 11, 6),
        end: changes.readUIntBE(at + 17, 6),
        endOffset: changes.readUIntBE(at + 23, 6),
      });
      at = nameAt + id;
    } else {
      return at;
    }
  }
  return at;
}
