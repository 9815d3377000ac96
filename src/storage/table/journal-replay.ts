/**
 * Gathers what a journal says and leaves only its result: rows that were appended and removed again do not reach
 * LMDB, of several values of a key only the last one does. Used once, at opening, before any log or table is open.
 */

import type { Change, Database } from './database.ts';
import type { ChangeSink } from './journal-frame.ts';
import { entryKey, entryValue, rowKey } from './keys.ts';

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
