/**
 * What the core asks of a disk: logs, tables and one group commit for all of them. Implemented in `src/storage`
 * (segment files, LMDB, memory) and by nothing else. Writes take effect in the order of the calls and are
 * visible to reads at once; they are durable when a `commit` that began after them has finished. Reads may be
 * asynchronous: a log need not be local.
 */

export interface Storage {
  /** Batches of records with an index by offset and time: streams. Opens or creates. */
  openBatchLog(name: string, options: BatchLogOptions): Promise<BatchLog>;
  /** Single rows that may be removed one by one: queues and sessions. `durable: false` keeps them in memory. */
  openRowLog(name: string, options: { readonly durable: boolean }): Promise<RowLog>;
  /** As `openRowLog` with `durable`, for a name that never had a log: nothing is to be read, so nothing is waited for. */
  createRowLog(name: string): RowLog;
  /** Small keyed state: definitions, sessions, retained messages, cursors. Opens or creates. */
  openTable(name: string): Promise<Table>;
  /**
   * Makes everything written before the call durable and then calls `done` once. Calls while one is running
   * share the next commit. An error means that none of it may be acknowledged. Rows and tables are never there after a
   * crash without the batches that were appended before; of a storage that does not sync, that holds where the process ends,
   * and not where the power goes. Where the commit begins later than in this call, `prepare` is called right before: for who
   * has messages that are in neither yet.
   */
  commit(done: (error: Error | null) => void, prepare?: () => void): void;
  close(): Promise<void>;
}

export interface BatchLogOptions {
  /** Bytes after which a new segment begins. */
  readonly segmentBytes: number;
  /** Oldest data is dropped above this size; -1 keeps everything. */
  readonly retentionBytes: number;
  /** Data older than this is dropped; -1 keeps everything. */
  readonly retentionMs: number;
}

export interface BatchLog {
  readonly startOffset: number;
  /** The offset that the next record gets. */
  readonly endOffset: number;
  readonly sizeBytes: number;
  /**
   * Appends one record batch (version 2 layout of `record-batch.ts`, already validated). Its base offset and
   * leader epoch are overwritten in place; the batch must not be changed afterwards. Returns the base offset.
   * Throws CoreError `storage-failed` when the disk refuses.
   */
  append(batch: Buffer): number;
  /**
   * Whole batches from the one that holds `offset` on, contiguous, at most `bytesMax` bytes but at least one
   * batch; empty at the end of the log. Throws CoreError `offset-out-of-range` outside the log.
   */
  read(offset: number, bytesMax: number): Promise<Buffer>;
  /** The first offset whose record is not older than `timeMs`, with that record's time; null when there is none. */
  offsetAt(timeMs: number): Promise<{ readonly offset: number; readonly timeMs: number } | null>;
  /** Headers (61 bytes each) of all batches from `offset` on, in order: to rebuild state after a restart. */
  scanHeaders(offset: number): AsyncIterable<Buffer>;
  /** Forgets everything before `offset`; whole segments go from the disk. */
  truncateBefore(offset: number): void;
  /** Changes retention or segment size from now on. */
  configure(options: BatchLogOptions): void;
  /** Drops what retention no longer keeps at `nowMs`. Called from time to time. */
  expire(nowMs: number): void;
  delete(): Promise<void>;
}

export interface Row {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface RowLog {
  /** The offset that the next row gets; offsets are never used twice, also not after a restart. */
  readonly endOffset: number;
  /** Rows that were not removed. */
  readonly rowCount: number;
  /** A disk that refuses shows at the commit, not here. */
  append(row: Uint8Array): number;
  /** Idempotent. A row removed before its commit is never written. */
  remove(offset: number): void;
  /** Rows in order from `offset` on: at most `rowsMax` rows and about `bytesMax` bytes, at least one if any is left. */
  read(offset: number, rowsMax: number, bytesMax: number): Promise<Row[]>;
  /** Removes all rows. */
  clear(): void;
  delete(): Promise<void>;
}

export interface Table {
  get(key: string): Promise<Uint8Array | undefined>;
  put(key: string, value: Uint8Array): void;
  remove(key: string): void;
  /** All entries whose key begins with `prefix`, in key order. */
  scan(prefix: string): AsyncIterable<readonly [key: string, value: Uint8Array]>;
}
