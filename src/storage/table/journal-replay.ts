/**
 * Gathers what a journal says and leaves only its result: rows that were appended and removed again do not reach
 * LMDB, of several values of a key only the last one does. And says which frames at the end do not count, because of
 * what their commits had to write besides not all is there. Used once, at opening, before any log or table is open.
 */

import type { Extent } from '../segment/extent.ts';
import type { Change, Database } from './database.ts';
import { type ChangeSink, extentsIn } from './journal-frame.ts';
import { entryKey, entryValue, rowKey } from './keys.ts';

/** What is there of streams, without opening one. */
export interface Extents {
  isThere(extent: Extent): boolean;
  sync(extent: Extent): void;
}

const PAGE_ROWS = 1000;

interface LogChanges {
  readonly rows: Map<number, Buffer | null>;
  clearedBefore: number;
}

export class JournalReplay implements ChangeSink {
  readonly #database: Database;
  readonly #logs = new Map<number, LogChanges>();
  /** Keys as they are in LMDB, in latin1, so that equal bytes are equal strings. */
  readonly #entries = new Map<string, Uint8Array | null>();

  constructor(database: Database) {
    this.#database = database;
  }

  row(log: number, offset: number, bytes: Buffer): void {
    this.#logOf(log).rows.set(offset, bytes);
  }

  rowRemoved(log: number, offset: number): void {
    this.#logOf(log).rows.set(offset, null);
  }

  rowsCleared(log: number, before: number): void {
    const changes = this.#logOf(log);
    changes.clearedBefore = Math.max(changes.clearedBefore, before);
    for (const offset of changes.rows.keys()) if (offset < before) changes.rows.delete(offset);
  }

  entry(table: number, key: Buffer, value: Buffer): void {
    this.#entries.set(entryKey(table, key).toString('latin1'), entryValue(key, value));
  }

  entryRemoved(table: number, key: Buffer): void {
    this.#entries.set(entryKey(table, key).toString('latin1'), null);
  }

  /** It has been asked about before. */
  extent(): void {}

  #logOf(log: number): LogChanges {
    let changes = this.#logs.get(log);
    if (changes === undefined) {
      changes = { rows: new Map(), clearedBefore: 0 };
      this.#logs.set(log, changes);
    }
    return changes;
  }

  *changes(): Iterable<Change> {
    for (const [log, { rows, clearedBefore }] of this.#logs) {
      let from = 0;
      while (from < clearedBefore) {
        const offsets = this.#database.rowOffsets(log, from, clearedBefore, PAGE_ROWS);
        for (const offset of offsets) yield { key: rowKey(log, offset), value: null };
        from = (offsets.at(-1) ?? clearedBefore) + 1;
      }
      for (const [offset, value] of rows) yield { key: rowKey(log, offset), value };
    }
    for (const [key, value] of this.#entries) yield { key: Buffer.from(key, 'latin1'), value };
  }
}

/**
 * How many of these frames count, from the first one on. With durability `fsync` a frame's commit had finished when the
 * commit after it began, unless it failed; then the next frame names again what failed. So it is enough to go back
 * until a frame is met whose extents are there, or that names none: what follows it was never acknowledged. What the last
 * one that counts names may be with the system alone, if the process was killed: the device gets it first, because LMDB
 * gets the frame for good now. Throws the system's error.
 */
export function countFinished(frames: readonly Buffer[], extents: Extents): number {
  for (let count = frames.length; count > 0; count--) {
    const named = extentsIn(frames[count - 1] as Buffer);
    if (!named.every((extent) => extents.isThere(extent))) continue;
    for (const extent of named) extents.sync(extent);
    return count;
  }
  return 0;
}
