/**
 * A storage for unit tests of the core: everything in arrays and maps, commits finish when the test says so or one
 * microtask later, and any of it can be told to fail. `afterCrash` gives what a restarted process would find: the
 * state of the last commit that finished. Not a model of speed or of files; `src/storage` has the real ones.
 */

import { CoreError } from '../../src/core/errors.ts';
import { batchBaseOffset, batchMaxTimestampMs, batchNextOffset } from '../../src/core/record-batch.ts';
import type { BatchLog, BatchLogOptions, Row, RowLog, Storage, Table } from '../../src/core/storage.ts';

export class MemoryStorage implements Storage {
  /** Appends throw `storage-failed`. */
  failAppends = false;
  /** Commits end with an error. */
  failCommits = false;
  /** Commits wait for `finishCommits`. */
  holdCommits = false;
  commitCount = 0;
  readonly batchLogs = new Map<string, MemoryBatchLog>();
  readonly rowLogs = new Map<string, MemoryRowLog>();
  readonly tables = new Map<string, MemoryTable>();
  #held: (() => void)[] = [];
  #committed: MemoryStorage | null = null;

  async openBatchLog(name: string, options: BatchLogOptions): Promise<MemoryBatchLog> {
    let log = this.batchLogs.get(name);
    if (log === undefined) {
      log = new MemoryBatchLog(this, name);
      this.batchLogs.set(name, log);
    }
    log.configure(options);
    return log;
  }

  async openRowLog(name: string, options: { readonly durable: boolean }): Promise<MemoryRowLog> {
    return this.#rowLog(name, options.durable);
  }

  createRowLog(name: string): MemoryRowLog {
    return this.#rowLog(name, true);
  }

  #rowLog(name: string, durable: boolean): MemoryRowLog {
    let log = this.rowLogs.get(name);
    if (log === undefined) {
      log = new MemoryRowLog(this, name, durable);
      this.rowLogs.set(name, log);
    }
    return log;
  }

  async openTable(name: string): Promise<MemoryTable> {
    let table = this.tables.get(name);
    if (table === undefined) {
      table = new MemoryTable();
      this.tables.set(name, table);
    }
    return table;
  }

  commit(done: (error: Error | null) => void): void {
    this.commitCount++;
    const state = this.#copy();
    const finish = () => {
      if (this.failCommits) {
        done(new CoreError('storage-failed', 'commits fail in this test'));
        return;
      }
      this.#committed = state;
      done(null);
    };
    if (this.holdCommits) this.#held.push(finish);
    else queueMicrotask(finish);
  }

  finishCommits(): void {
    const held = this.#held;
    this.#held = [];
    for (const finish of held) finish();
  }

  /** What the last finished commit left; empty where there was none. */
  afterCrash(): MemoryStorage {
    return this.#committed === null ? new MemoryStorage() : this.#committed.#copy();
  }

  async close(): Promise<void> {}

  #copy(): MemoryStorage {
    const copy = new MemoryStorage();
    for (const [name, log] of this.batchLogs) copy.batchLogs.set(name, log.copy(copy));
    for (const [name, log] of this.rowLogs) if (log.durable) copy.rowLogs.set(name, log.copy(copy));
    for (const [name, table] of this.tables) copy.tables.set(name, table.copy());
    return copy;
  }
}

export class MemoryBatchLog implements BatchLog {
  readonly #storage: MemoryStorage;
  readonly #name: string;
  batches: Buffer[] = [];
  options: BatchLogOptions | null = null;
  /** Batches whose header a scan gave out. */
  scannedCount = 0;
  expiredAtMs: number | null = null;
  startOffset = 0;
  endOffset = 0;

  constructor(storage: MemoryStorage, name: string) {
    this.#storage = storage;
    this.#name = name;
  }

  get sizeBytes(): number {
    return this.batches.reduce((sum, batch) => sum + batch.length, 0);
  }

  append(batch: Buffer): number {
    if (this.#storage.failAppends) throw new CoreError('storage-failed', 'appends fail in this test');
    const baseOffset = this.endOffset;
    batch.writeBigInt64BE(BigInt(baseOffset), 0);
    batch.writeInt32BE(0, 12);
    this.batches.push(batch);
    this.endOffset = batchNextOffset(batch);
    return baseOffset;
  }

  async read(offset: number, bytesMax: number): Promise<Buffer> {
    if (offset < this.startOffset || offset > this.endOffset)
      throw new CoreError('offset-out-of-range', `${offset}`);
    const found: Buffer[] = [];
    let bytes = 0;
    for (const batch of this.batches) {
      if (batchNextOffset(batch) <= offset) continue;
      if (found.length > 0 && bytes + batch.length > bytesMax) break;
      found.push(batch);
      bytes += batch.length;
    }
    return Buffer.concat(found);
  }

  async offsetAt(timeMs: number): Promise<{ offset: number; timeMs: number } | null> {
    for (const batch of this.batches) {
      if (batchMaxTimestampMs(batch) >= timeMs)
        return { offset: batchBaseOffset(batch), timeMs: batchMaxTimestampMs(batch) };
    }
    return null;
  }

  async *scanHeaders(offset: number): AsyncIterable<Buffer> {
    for (const batch of this.batches) {
      if (batchNextOffset(batch) <= offset) continue;
      this.scannedCount++;
      yield batch.subarray(0, 61);
    }
  }

  truncateBefore(offset: number): void {
    this.startOffset = Math.max(this.startOffset, offset);
    this.batches = this.batches.filter((batch) => batchNextOffset(batch) > offset);
  }

  configure(options: BatchLogOptions): void {
    this.options = options;
  }

  expire(nowMs: number): void {
    this.expiredAtMs = nowMs;
  }

  async delete(): Promise<void> {
    this.#storage.batchLogs.delete(this.#name);
  }

  copy(storage: MemoryStorage): MemoryBatchLog {
    const copy = new MemoryBatchLog(storage, this.#name);
    copy.batches = [...this.batches];
    copy.options = this.options;
    copy.startOffset = this.startOffset;
    copy.endOffset = this.endOffset;
    return copy;
  }
}

export class MemoryRowLog implements RowLog {
  readonly #storage: MemoryStorage;
  readonly #name: string;
  readonly durable: boolean;
  readonly rows = new Map<number, Uint8Array>();
  endOffset = 0;

  constructor(storage: MemoryStorage, name: string, durable: boolean) {
    this.#storage = storage;
    this.#name = name;
    this.durable = durable;
  }

  get rowCount(): number {
    return this.rows.size;
  }

  append(row: Uint8Array): number {
    if (this.#storage.failAppends) throw new CoreError('storage-failed', 'appends fail in this test');
    this.rows.set(this.endOffset, row);
    return this.endOffset++;
  }

  remove(offset: number): void {
    this.rows.delete(offset);
  }

  async read(offset: number, rowsMax: number, bytesMax: number): Promise<Row[]> {
    const found: Row[] = [];
    let bytesLeft = bytesMax;
    for (const [at, bytes] of this.rows) {
      if (at < offset) continue;
      if (found.length > 0 && (found.length >= rowsMax || bytes.length > bytesLeft)) break;
      found.push({ offset: at, bytes });
      bytesLeft -= bytes.length;
    }
    return found;
  }

  clear(): void {
    this.rows.clear();
  }

  async delete(): Promise<void> {
    this.#storage.rowLogs.delete(this.#name);
  }

  copy(storage: MemoryStorage): MemoryRowLog {
    const copy = new MemoryRowLog(storage, this.#name, this.durable);
    for (const [offset, row] of this.rows) copy.rows.set(offset, row);
    copy.endOffset = this.endOffset;
    return copy;
  }
}

export class MemoryTable implements Table {
  readonly entries = new Map<string, Uint8Array>();

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.entries.get(key);
  }

  put(key: string, value: Uint8Array): void {
    this.entries.set(key, value);
  }

  remove(key: string): void {
    this.entries.delete(key);
  }

  async *scan(prefix: string): AsyncIterable<readonly [key: string, value: Uint8Array]> {
    const keys = [...this.entries.keys()].filter((key) => key.startsWith(prefix)).sort();
    for (const key of keys) yield [key, this.entries.get(key) as Uint8Array];
  }

  copy(): MemoryTable {
    const copy = new MemoryTable();
    for (const [key, value] of this.entries) copy.entries.set(key, value);
    return copy;
  }
}
