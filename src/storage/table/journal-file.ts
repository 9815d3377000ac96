/**
 * One file of the journal. Used by `journal.ts`, which says what it holds and when it goes.
 *
 * A sync of a file that grows must write its length and the place of its new blocks as well, which takes twice as long
 * as a sync of bytes that are there already. So a file is filled with zeros some way ahead of its frames, and one that
 * is not needed any more is used again for the next sequence number instead of being removed: its frames are then
 * those of another file by their sequence number, and every frame is followed by a length of zero, where reading ends.
 *
 * | at | size | field                                                                             |
 * |----|------|-----------------------------------------------------------------------------------|
 * |  0 |    4 | magic "RMQJ"                                                                      |
 * |  4 |    4 | version, 3                                                                        |
 * |  8 |    8 | sequence number, the same as in the file's name                                   |
 * | 16 |    8 | where the frames of the file before it end; 0: all before it is in LMDB           |
 * | 24 |      | frames, see `journal-frame.ts`; after the last one 4 bytes 0, then anything        |
 */

import type { SyncTarget } from '../commit.ts';
import { type Done, type FileSystem, readAllSync, writeAll } from '../file-system.ts';
import { END_MARK_BYTES } from './journal-frame.ts';

const MAGIC = 0x524d514a;
const VERSION = 3;
export const FILE_HEADER_BYTES = 24;
/** Written at once, where the file ends, when a frame would make it longer. */
export const FILL_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(FILL_BYTES);

export interface FileHeader {
  readonly sequence: number;
  readonly previousEnd: number;
}

/** Null where none was written yet, or it is none that this version reads. */
export function readFileHeader(files: FileSystem, path: string): FileHeader | null {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  const fd = files.open(path, 'r');
  try {
    if (readAllSync(files, fd, header, FILE_HEADER_BYTES, 0) < FILE_HEADER_BYTES) return null;
  } finally {
    files.close(fd);
  }
  if (header.readUInt32BE(0) !== MAGIC || header.readUInt32BE(4) !== VERSION) return null;
  return { sequence: Number(header.readBigUInt64BE(8)), previousEnd: Number(header.readBigUInt64BE(16)) };
}

/** Whether no header reached the disk, so that there are no frames that count either. */
export function isBlank(content: Buffer): boolean {
  return content.length < FILE_HEADER_BYTES || content.readUInt32BE(0) === 0;
}

export class JournalFile implements SyncTarget {
  readonly #files: FileSystem;
  readonly #fd: number;
  readonly #fillsAhead: boolean;
  #path: string;
  /** Where the frames end. */
  bytes = 0;
  /** As far as the file reaches. */
  #length = 0;
  #ragged = false;
  #syncsRunning = 0;
  #isDone = false;
  /** After a failed sync this file's content is in doubt; its changes must reach LMDB instead. */
  isDoubtful = false;

  /** Throws the system's error. */
  constructor(files: FileSystem, path: string, header: FileHeader, fillsAhead: boolean) {
    this.#files = files;
    this.#path = path;
    this.#fillsAhead = fillsAhead;
    // Not emptied: what is left there may have been used again, and have its old name on the device.
    if (files.exists(path)) files.remove(path);
    this.#fd = files.open(path, 'w+');
    try {
      this.#begin(header);
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  get isClosed(): boolean {
    return this.#isDone;
  }

  get length(): number {
    return this.#length;
  }

  /** Nothing of it is needed any more: it waits under `path` until it is used again. Throws the system's error. */
  setAside(path: string): void {
    this.#files.rename(this.#path, path);
    this.#path = path;
  }

  /** Begins again under another name. Throws the system's error, and then it can only be deleted. */
  reuse(path: string, header: FileHeader): void {
    this.#begin(header);
    this.#files.rename(this.#path, path);
    this.#path = path;
  }

  #begin({ sequence, previousEnd }: FileHeader): void {
    const header = Buffer.alloc(FILE_HEADER_BYTES + END_MARK_BYTES);
    header.writeUInt32BE(MAGIC, 0);
    header.writeUInt32BE(VERSION, 4);
    header.writeBigUInt64BE(BigInt(sequence), 8);
    header.writeBigUInt64BE(BigInt(previousEnd), 16);
    this.bytes = 0;
    this.isDoubtful = false;
    if (this.#fillsAhead && header.length > this.#length) this.#fill(header.length);
    // Not cut where it fails: under the name that a loss of power brings back, an emptied file would say that none
    // of its frames had counted, and the files behind it would be left out.
    writeAll(this.#files, this.#fd, [header], 0);
    this.bytes = FILE_HEADER_BYTES;
    this.#length = Math.max(this.#length, header.length);
  }

  /** `bytes` end in an end mark, which the next ones overwrite. Throws the system's error; then the file ends where it ended before. */
  append(bytes: Buffer): void {
    this.cut();
    const end = this.bytes + bytes.length;
    if (this.#fillsAhead && end > this.#length) this.#fill(end);
    this.#ragged = true;
    try {
      writeAll(this.#files, this.#fd, [bytes], this.bytes);
    } catch (error) {
      try {
        this.cut();
      } catch {
        // It stays ragged, and the next append begins with cutting it.
      }
      throw error;
    }
    this.#ragged = false;
    this.bytes = end - END_MARK_BYTES;
    if (end > this.#length) this.#length = end;
  }

  /** On a disk that is nearly full the frame itself may still have room. */
  #fill(end: number): void {
    try {
      while (this.#length < end) this.#length += writeAll(this.#files, this.#fd, [ZEROS], this.#length);
    } catch {
      this.#ragged = true;
      this.cut();
    }
  }

  /** Takes away what a failed write left behind the frames. Throws the system's error. */
  cut(): void {
    if (!this.#ragged) return;
    this.#files.truncate(this.#fd, this.bytes);
    this.#length = this.bytes;
    this.#ragged = false;
  }

  sync(done: Done): void {
    this.#syncsRunning++;
    this.#files.sync(this.#fd, (error) => {
      this.#syncsRunning--;
      if (error !== null) this.isDoubtful = true;
      this.#closeWhenDone();
      done(error);
    });
  }

  /** Throws the system's error when the name stays; it is closed all the same, and can be deleted again. */
  delete(): void {
    this.close();
    this.#files.remove(this.#path);
  }

  /** Nothing counts that is in it, also where its name stays. */
  discard(): void {
    try {
      this.delete();
    } catch {
      // Before a new file of that name it is removed; at opening it says nothing.
    }
  }

  close(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#closeWhenDone();
  }

  #closeWhenDone(): void {
    if (this.#isDone && this.#syncsRunning === 0) this.#files.closeLater(this.#fd);
  }
}
