/**
 * The journal: files of frames in front of LMDB. A commit appends one frame to the newest file and, with durability
 * `fsync`, syncs it: one sequential write, whatever was changed. When a file is full enough, a new one begins, and what
 * is left of the changes of the file before is put into LMDB, so that it can go. Rows that were removed in the time of
 * two files never reach LMDB. At opening the files are replayed. Used by `table-store.ts`.
 *
 * Files are named `<sequence number, 20 digits>.journal`; `spare` is one that waits to be used again. What is in them is
 * told in `journal-file.ts`.
 */

import { join } from 'node:path';
import type { SyncTarget } from '../commit.ts';
import { type FileSystem, readWholeFile, syncFolderSync } from '../file-system.ts';
import type { Report } from '../report.ts';
import {
  FILE_HEADER_BYTES,
  FILL_BYTES,
  type FileHeader,
  isBlank,
  JournalFile,
  readFileHeader,
} from './journal-file.ts';
import { type ChangeSink, hasEndMark, readFrames, walkChanges } from './journal-frame.ts';
import { countFinished, type Extents } from './journal-replay.ts';

const SUFFIX = '.journal';
const SPARE = 'spare';
const SEQUENCE_DIGITS = 20;

export class Journal {
  readonly #files: FileSystem;
  readonly #folder: string;
  readonly #durable: boolean;
  #sequence: number;
  #file: JournalFile;
  /** Files that are not written to any more, oldest first. */
  #old: JournalFile[] = [];
  #spare: JournalFile | null = null;
  readonly #spareBytesMax: number;

  /**
   * `replayJournal` comes before, and says `sequence`, the number of the first file. `fileBytes`: what a file normally
   * grows to; one that is far longer is not used again. Throws the system's error.
   */
  constructor(files: FileSystem, folder: string, durable: boolean, fileBytes: number, sequence: number) {
    this.#files = files;
    this.#folder = folder;
    this.#durable = durable;
    this.#spareBytesMax = 2 * fileBytes + FILL_BYTES;
    this.#sequence = sequence;
    files.remove(join(folder, SPARE));
    this.#file = this.#create(this.#sequence, 0);
  }

  /** Throws the system's error; then nothing of that number is left that would say anything. */
  #create(sequence: number, previousEnd: number): JournalFile {
    const path = join(this.#folder, fileNameOf(sequence));
    const header = { sequence, previousEnd };
    const file = this.#reuseSpare(path, header) ?? new JournalFile(this.#files, path, header, this.#durable);
    try {
      // A file that was used before must not be found under its old name when there are new frames in it.
      if (this.#durable) syncFolderSync(this.#files, this.#folder);
    } catch (error) {
      file.discard();
      throw error;
    }
    return file;
  }

  #reuseSpare(path: string, header: FileHeader): JournalFile | null {
    const spare = this.#spare;
    this.#spare = null;
    try {
      spare?.reuse(path, header);
    } catch {
      spare?.discard();
      return null;
    }
    return spare;
  }

  /** Of the file that the next frame goes to, which it has to carry. */
  get sequence(): number {
    return this.#sequence;
  }

  get bytes(): number {
    return this.#file.bytes;
  }

  /** A sync failed: nobody knows what the device has of the newest file, or of one before it. */
  get isDoubtful(): boolean {
    return this.#file.isDoubtful || this.#old.some(({ isDoubtful }) => isDoubtful);
  }

  /** `frame`: null where there is nothing to add. Throws the system's error. */
  append(frame: Buffer | null): SyncTarget {
    if (frame !== null) this.#file.append(frame);
    return this.#file;
  }

  /** The next frames go to a new file. Throws the system's error, and then goes on with the old one. */
  rotate(): void {
    this.#file.cut();
    // The next attempt takes the same number: frames carry that of their file, and no file may be left out between two.
    const next = this.#create(this.#sequence + 1, this.#file.bytes);
    this.#sequence++;
    this.#old.push(this.#file);
    this.#file = next;
  }

  /**
   * What the files before the last `rotate` hold is safe in LMDB; but for the newest of them, unless `everything`.
   * With `everything` they are gone for good. Throws the system's error; what is left goes with the next call.
   */
  removeOld(everything: boolean): void {
    const kept = everything ? 0 : 1;
    // In their order: a newer one must not be gone while an older one could still be replayed.
    while (this.#old.length > kept) {
      this.#letGo(this.#old[0] as JournalFile);
      this.#old.shift();
    }
    if (everything && this.#durable) syncFolderSync(this.#files, this.#folder);
  }

  #letGo(file: JournalFile): void {
    const isOfUse = this.#durable && this.#spare === null && !file.isDoubtful && !file.isClosed;
    if (isOfUse && file.length <= this.#spareBytesMax) {
      try {
        file.setAside(join(this.#folder, SPARE));
        this.#spare = file;
        return;
      } catch {
        // It goes like the others.
      }
    }
    file.delete();
  }

  close(): void {
    for (const file of [...this.#old, this.#file]) file.close();
    this.#spare?.discard();
  }

  /** Everything is in LMDB: nothing is left to replay. Throws the system's error; `close` has to follow then. */
  closeEmpty(): void {
    for (const file of [...this.#old, this.#file]) file.delete();
    this.#spare?.discard();
    if (this.#durable) syncFolderSync(this.#files, this.#folder);
  }
}

/**
 * Hands the changes of all files to `sink`, oldest first, but for those of commits that had not finished as far as `extents`
 * shows. `forget` removes the files once they are elsewhere;
 * `nextSequence` is the number that the next file has to have.
 */
export function replayJournal(
  files: FileSystem,
  folder: string,
  sink: ChangeSink,
  extents: Extents,
  report: Report,
): { readonly nextSequence: number; readonly forget: () => void } {
  const sequences = sequencesIn(files, folder);
  const found = sequences.map((sequence) => {
    const path = join(folder, fileNameOf(sequence));
    return { sequence, path, header: readFileHeader(files, path) };
  });
  // Files from before an opening may come back with a loss of power, some of them only: LMDB has had them.
  const first = found.findLastIndex(({ sequence, header }) => isFirst(sequence, header));
  const frames: Buffer[] = [];
  let isTorn = false;
  /** Where the frames of the file before ended; -1 where that is not known. */
  let previousEnd = -1;
  for (const { sequence, path, header } of found.slice(Math.max(first, 0))) {
    if (header !== null && header.sequence > sequence) {
      // LMDB has what it held: it was begun again, and its new name was lost.
      previousEnd = -1;
      continue;
    }
    const content = readWholeFile(files, path) ?? Buffer.alloc(0);
    if (header === null ? isBlank(content) : header.sequence < sequence) {
      // Its header is on the disk as soon as one frame counts: it was begun, or begun again, and no more.
      previousEnd = FILE_HEADER_BYTES;
      continue;
    }
    if (header !== null && previousEnd >= 0 && header.previousEnd !== previousEnd) isTorn = true;
    if (isTorn) {
      const text = 'left out a journal file that follows a torn one';
      report({ level: 'warn', text, details: { path, bytes: content.length } });
      continue;
    }
    const end = header === null ? 0 : readFrames(content, FILE_HEADER_BYTES, sequence, frames);
    previousEnd = end;
    if (end < content.length && !hasEndMark(content, end)) {
      isTorn = true;
      const text = 'cut an incomplete end of the journal: a write there had not finished';
      report({ level: 'warn', text, details: { path, cutBytes: content.length - end } });
    }
  }
  const count = countFinished(frames, extents);
  if (count < frames.length) {
    const text = 'left out the last commits: a loss of power has not left all that they wrote to streams';
    report({ level: 'warn', text, details: { commits: frames.length - count } });
  }
  for (const frame of frames.slice(0, count)) walkChanges(frame, sink);
  return {
    // Not 1 again: where the removal is lost with the power, the new files must come after the old ones.
    nextSequence: (sequences.at(-1) ?? 0) + 1,
    forget: () => {
      for (const { path } of found) files.remove(path);
      // Also those that were removed at the last end: from here on numbers may be given anew.
      syncFolderSync(files, folder);
    },
  };
}

/** Whether a storage was opened with this file, when LMDB had everything. */
const isFirst = (sequence: number, header: FileHeader | null): boolean =>
  header?.sequence === sequence && header.previousEnd === 0;

const fileNameOf = (sequence: number): string => String(sequence).padStart(SEQUENCE_DIGITS, '0') + SUFFIX;

function sequencesIn(files: FileSystem, folder: string): number[] {
  return files
    .list(folder)
    .filter((file) => file.endsWith(SUFFIX))
    .map((file) => Number(file.slice(0, -SUFFIX.length)))
    .filter((sequence) => Number.isSafeInteger(sequence))
    .sort((one, other) => one - other);
}
