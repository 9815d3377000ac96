/**
 * The LMDB environment `state.mdb`: one database with binary keys and values. Written only in the background, in
 * transactions that LMDB itself makes durable (full sync, whatever the storage's durability level, so that a loss of
 * power never damages it). Changes are absolute, so several transactions of bounded size for one checkpoint are safe:
 * until the last one is done the journal can repeat them all. Where it may not be able to, all go in one. Used by
 * `table-store.ts` and its logs and tables.
 */

import { chmodSync } from 'node:fs';
import { open, type RootDatabase } from 'lmdb';
import { FILE_MODE } from '../file-system.ts';
import { entryPrefix, keyAfterPrefix, offsetFromRowKey, rowKey } from './keys.ts';

/** Changes in one transaction: about a millisecond of the event loop. */
const CHANGES_PER_TRANSACTION = 1000;
const OFFSET_MAX = 2 ** 48 - 1;

export interface StoredEntry {
  readonly key: Uint8Array;
  readonly value: Buffer;
}

/** One absolute change; `value` null removes. */
export interface Change {
  readonly key: Buffer;
  readonly value: Uint8Array | null;
}

export class Database {
  readonly #root: RootDatabase<Uint8Array, Uint8Array>;

  constructor(path: string) {
    this.#root = open<Uint8Array, Uint8Array>({
      path,
      noSubdir: true,
      keyEncoding: 'binary',
      encoding: 'binary',
      cache: false,
      compression: false,
      eventTurnBatching: false,
      overlappingSync: false,
    });
    for (const file of [path, `${path}-lock`]) chmodSync(file, FILE_MODE);
  }

  get(key: Buffer): Buffer | undefined {
    const value = this.#root.get(key);
    return value === undefined ? undefined : Buffer.from(value);
  }

  has(key: Buffer): boolean {
    return this.#root.doesExist(key);
  }

  countRows(log: number): number {
    return this.#root.getKeysCount({ start: rowKey(log, 0), end: rowKey(log, OFFSET_MAX) });
  }

  /** The offset of the log's last row, -1 when there is none. */
  lastRowOffset(log: number): number {
    const range = {
      start: rowKey(log, OFFSET_MAX),
      end: rowKey(log, 0),
      reverse: true,
      limit: 1,
      inclusiveEnd: true,
    };
    for (const key of this.#root.getKeys(range)) return offsetFromRowKey(key);
    return -1;
  }

  /** Rows in [`from`, `end`) in order, until `take` returns false. */
  eachRow(log: number, from: number, end: number, take: (offset: number, bytes: Buffer) => boolean): void {
    if (from >= end) return;
    for (const { key, value } of this.#root.getRange({ start: rowKey(log, from), end: rowKey(log, end) })) {
      if (!take(offsetFromRowKey(key), Buffer.from(value))) return;
    }
  }

  rowOffsets(log: number, from: number, end: number, countMax: number): number[] {
    const range = { start: rowKey(log, from), end: rowKey(log, end), limit: countMax };
    return [...this.#root.getKeys(range).map(offsetFromRowKey)];
  }

  /** Up to `countMax` entries after `after`, or from `start` on, that are before `end`. */
  entries(start: Buffer, isAfter: boolean, end: Buffer, countMax: number): StoredEntry[] {
    const range = { start, exclusiveStart: isAfter, end, limit: countMax };
    const entries: StoredEntry[] = [];
    for (const { key, value } of this.#root.getRange(range)) {
      entries.push({ key: Buffer.from(key), value: Buffer.from(value) });
    }
    return entries;
  }

  /** The first key after all entries of a table. */
  static endOfTable(table: number): Buffer {
    return keyAfterPrefix(entryPrefix(table)) as Buffer;
  }

  /** Applies all of them, durably. Rejects with the first error; then some may be applied and some not. */
  async apply(changes: Iterable<Change>): Promise<void> {
    let batch: Change[] = [];
    for (const change of changes) {
      batch.push(change);
      if (batch.length < CHANGES_PER_TRANSACTION) continue;
      await this.#applyOne(batch);
      batch = [];
    }
    if (batch.length > 0) await this.#applyOne(batch);
  }

  /**
   * Applies all of them, durably, or none. For what the device may not have in a journal, which it would then find in
   * part after a loss of power. Takes about as many microseconds of the event loop as there are changes.
   */
  async applyAtOnce(changes: Iterable<Change>): Promise<void> {
    const all = [...changes];
    if (all.length > 0) await this.#applyOne(all);
  }

  async #applyOne(changes: readonly Change[]): Promise<void> {
    try {
      await this.#root.batch(() => {
        for (const { key, value } of changes) {
          if (value === null) void this.#root.remove(key);
          else void this.#root.put(key, value);
        }
      });
    } catch (error) {
      throw await findCause(error as Error);
    } finally {
      this.#root.resetReadTxn();
    }
  }

  close(): Promise<void> {
    return this.#root.close();
  }
}

/**
 * lmdb rejects a failed transaction at once with a general error, and says why in a second promise, its
 * `commitError`, which must be caught: an uncaught rejection ends the process.
 */
async function findCause(error: Error): Promise<Error> {
  const commitError = (error as { commitError?: Promise<never> }).commitError;
  if (commitError === undefined) return error;
  const cause = commitError.catch((one: Error) => one);
  return Promise.race([cause, new Promise<Error>((resolve) => setImmediate(resolve, error))]);
}
