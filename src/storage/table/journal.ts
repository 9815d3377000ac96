/**
 * The journal: files of frames in front of LMDB. A commit appends one frame to the newest file and, with durability
 * `fsync`, syncs it: one sequential write, whatever was changed. When a file is full enough, a new one begins, and what
 * is left of the changes of the file before is put into LMDB, so that it can go. Rows that were removed in the time of
 * two files never reach LMDB. At opening the files are replayed. Used by `table-store.ts`.
 *
 * File `<sequence number, 20 digits>.journal`:
 *
 * | at | size | field                         |
 * |----|------|-------------------------------|
 * |  0 |    4 | magic "RMQJ"                  |
 * |  4 |    4 | version, 1                    |
 * |  8 |      | frames, see `journal-frame.ts` |
 */

import { join } from 'node:path';
import type { SyncTarget } from '../commit.ts';
import { type Done, type FileSystem, readWholeFile, syncFolderSync, writeAll } from '../file-system.ts';
import type { Report } from '../report.ts';
import { type ChangeSink, readFrames } from './journal-frame.ts';

const MAGIC = 0x524d514a;
const VERSION = 1;
const FILE_HEADER_BYTES = 8;
const SUFFIX = '.journal';
const SEQUENCE_DIGITS = 20;

class JournalFile implements SyncTarget {
  readonly path: string;
  readonly #files: FileSystem;
  readonly #fd: number;
  /** Bytes of whole frames. */
  bytes = 0;
  #ragged = false;
  #syncsRunning = 0;
  #isDone = false;
  /** After a failed sync this file's content is in doubt; its changes must reach LMDB instead. */
  isDoubtful = false;

  constructor(files: FileSystem, path: string) {
    this.#files = files;
    this.path = path;
    this.#fd = files.open(path, 'w+');
    const header = Buffer.alloc(FILE_HEADER_BYTES);
    header.writeUInt32BE(MAGIC, 0);
    header.writeUInt32BE(VERSION, 4);
    try {
      this.append(header);
    } catch (error) {
      files.close(this.#fd);
      throw error;
    }
  }

  /** Throws the system's error; then the file ends where it ended before. */
  append(bytes: Buffer): void {
    this.#cut();
    this.#ragged = true;
    try {
      writeAll(this.#files, this.#fd, [bytes], this.bytes);
    } catch (error) {
      try {
        this.#cut();
      } catch {
        // It stays ragged, and the next append begins with cutting it.
      }
      throw error;
    }
    this.#ragged = false;
    this.bytes += bytes.length;
  }

  #cut(): void {
    if (!this.#ragged) return;
    this.#files.truncate(this.#fd, this.bytes);
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

  delete(): void {
    this.#files.remove(this.path);
    this.close();
  }

  close(): void {
    this.#isDone = true;
    this.#closeWhenDone();
  }

  #closeWhenDone(): void {
    if (this.#isDone && this.#syncsRunning === 0) this.#files.closeLater(this.#fd);
  }
}

export class Journal {
  readonly #files: FileSystem;
  readonly #folder: string;
  readonly #durable: boolean;
  #sequence: number;
  #file: JournalFile;
  /** Files that are not written to any more, oldest first. */
  #old: JournalFile[] = [];

  /** `replay` has to be done before. */
  constructor(files: FileSystem, folder: string, durable: boolean) {
    this.#files = files;
    this.#folder = folder;
    this.#durable = durable;
    this.#sequence = (sequencesIn(files, folder).at(-1) ?? 0) + 1;
    this.#file = this.#create();
  }

  #create(): JournalFile {
    const file = new JournalFile(
      this.#files,
      join(this.#folder, String(this.#sequence).padStart(SEQUENCE_DIGITS, '0') + SUFFIX),
    );
    if (this.#durable) syncFolderSync(this.#files, this.#folder);
    return file;
  }

  get bytes(): number {
    return this.#file.bytes;
  }

  get isDoubtful(): boolean {
    return this.#file.isDoubtful;
  }

  append(frame: Buffer): SyncTarget {
    this.#file.append(frame);
    return this.#file;
  }

  /** The next frames go to a new file. Throws the system's error, and then goes on with the old one. */
  rotate(): void {
    this.#sequence++;
    const next = this.#create();
    this.#old.push(this.#file);
    this.#file = next;
  }

  /** What the files before the last `rotate` hold is safe in LMDB; but for the newest of them, unless `everything`. */
  removeOld(everything: boolean): void {
    for (const file of this.#old.splice(0, this.#old.length - (everything ? 0 : 1))) file.delete();
  }

  close(): void {
    for (const file of [...this.#old, this.#file]) file.close();
  }

  /** Everything is in LMDB: nothing is left to replay. */
  closeEmpty(): void {
    for (const file of [...this.#old, this.#file]) file.delete();
  }
}

/** Hands all changes of all files to `sink`, oldest first. `forget` removes the files once they are elsewhere. */
export function replayJournal(
  files: FileSystem,
  folder: string,
  sink: ChangeSink,
  report: Report,
): { readonly bytes: number; readonly forget: () => void } {
  const paths = sequencesIn(files, folder).map((sequence) =>
    join(folder, String(sequence).padStart(SEQUENCE_DIGITS, '0') + SUFFIX),
  );
  let bytes = 0;
  let isTorn = false;
  for (const path of paths) {
    const content = readWholeFile(files, path) ?? Buffer.alloc(0);
    if (isTorn) {
      const text = 'left out a journal file that follows a torn one';
      report({ level: 'warn', text, details: { path, bytes: content.length } });
      continue;
    }
    const isOurs =
      content.length >= FILE_HEADER_BYTES &&
      content.readUInt32BE(0) === MAGIC &&
      content.readUInt32BE(4) === VERSION;
    const end = isOurs ? readFrames(content, FILE_HEADER_BYTES, sink) : 0;
    bytes += end;
    if (end < content.length) {
      isTorn = true;
      const text = 'cut an incomplete end of the journal: a write there had not finished';
      report({ level: 'warn', text, details: { path, cutBytes: content.length - end } });
    }
  }
  return {
    bytes,
    forget: () => {
      for (const path of paths) files.remove(path);
    },
  };
}

function sequencesIn(files: FileSystem, folder: string): number[] {
  return files
    .list(folder)
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => Number(file.slice(0, -SUFFIX.length)))
    .filter((sequence) => Number.isSafeInteger(sequence))
    .sort((one, other) => one - other);
}
