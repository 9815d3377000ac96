/**
 * The storage: opens a data folder and gives the core its logs and tables (`core/storage.ts`). One group commit
 * covers them all. Called by the gateway; nothing else imports this folder.
 *
 * Data folder, mode 0700 (bytes of every file: `docs/storage-format.md`):
 *
 * | name                  | what                                            |
 * |-----------------------|-------------------------------------------------|
 * | `lock`                | the process that owns the folder                |
 * | `format`              | version of everything below                     |
 * | `streams/<log>/`      | segment files of one batch log                  |
 * | `journal/`            | the newest changes of row logs and tables       |
 * | `state.mdb`           | row logs and tables, LMDB                       |
 */

import { join } from 'node:path';
import { CoreError } from '../core/errors.ts';
import type { BatchLog, BatchLogOptions, RowLog, Storage, Table } from '../core/storage.ts';
import { type DurabilityLevel, GroupCommit } from './commit.ts';
import { type FileSystem, NODE_FILE_SYSTEM, syncFolderSync } from './file-system.ts';
import { checkFormat } from './folder-format.ts';
import { lockFolder } from './folder-lock.ts';
import { MemoryRowLog } from './memory/row-log.ts';
import type { Report } from './report.ts';
import { folderFromLogName } from './segment/folder-name.ts';
import { SegmentLog } from './segment/log.ts';
import { TailBudget } from './segment/tail-cache.ts';
import { TableStore } from './table/table-store.ts';

export type { DurabilityLevel } from './commit.ts';
export { CompressionError, compress, decompress } from './compression.ts';
export { crc32c } from './crc32c.ts';
export type { Report, StorageEvent } from './report.ts';

/** Bytes of newest batches that all logs together keep in memory. */
const TAIL_BYTES_MAX = 64 * 1024 * 1024;
const DELETED_SUFFIX = '~deleted';

export interface StorageOptions {
  /** The data folder; made, with its parents, when it is not there. */
  readonly folder: string;
  /**
   * `fsync`: a commit is done when the device has it, so that nothing acknowledged is lost with the power.
   * `os`: when the operating system has it; the end of the process loses nothing, a loss of power may lose the last seconds.
   */
  readonly durability: DurabilityLevel;
  /** What recovery did, and what goes wrong later. */
  readonly report?: Report;
  /** Bytes of newest batches to keep in memory. */
  readonly tailBytesMax?: number;
  /** Bytes of journal after which its changes are put into the state database. */
  readonly checkpointBytes?: number;
  /** Another file system, for tests. */
  readonly files?: FileSystem;
}

/** Throws when the folder belongs to another process, has an unknown format or cannot be written. */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const files = options.files ?? NODE_FILE_SYSTEM;
  files.makeFolder(options.folder);
  const unlock = lockFolder(options.folder);
  try {
    checkFormat(files, options.folder);
    return await FolderStorage.open(options, files, unlock);
  } catch (error) {
    unlock();
    throw error;
  }
}

class FolderStorage implements Storage {
  readonly #options: StorageOptions;
  readonly #files: FileSystem;
  readonly #report: Report;
  readonly #commit: GroupCommit;
  readonly #budget: TailBudget;
  readonly #store: TableStore;
  readonly #unlock: () => void;
  readonly #streamsFolder: string;
  readonly #batchLogs = new Map<string, SegmentLog>();
  readonly #memoryLogs = new Map<string, MemoryRowLog>();
  #closed = false;
  #closing: Promise<void> | null = null;

  private constructor(
    options: StorageOptions,
    files: FileSystem,
    commit: GroupCommit,
    store: TableStore,
    unlock: () => void,
  ) {
    this.#options = options;
    this.#files = files;
    this.#report = options.report ?? (() => {});
    this.#commit = commit;
    this.#budget = new TailBudget(options.tailBytesMax ?? TAIL_BYTES_MAX);
    this.#store = store;
    this.#unlock = unlock;
    this.#streamsFolder = join(options.folder, 'streams');
  }

  static async open(options: StorageOptions, files: FileSystem, unlock: () => void): Promise<FolderStorage> {
    const commit = new GroupCommit(options.durability);
    const streams = join(options.folder, 'streams');
    files.makeFolder(streams);
    for (const name of files.list(streams)) {
      if (name.endsWith(DELETED_SUFFIX)) files.removeFolder(join(streams, name));
    }
    const store = await TableStore.open({
      folder: options.folder,
      streams,
      files,
      commit,
      report: options.report ?? (() => {}),
      ...(options.checkpointBytes === undefined ? {} : { checkpointBytes: options.checkpointBytes }),
    });
    if (options.durability === 'fsync') syncFolderSync(files, options.folder);
    return new FolderStorage(options, files, commit, store, unlock);
  }

  async openBatchLog(name: string, options: BatchLogOptions): Promise<BatchLog> {
    this.#assertOpen();
    const folder = folderFromLogName(name);
    await this.#store.logMayBegin(folder);
    this.#assertOpen();
    const known = this.#batchLogs.get(name);
    if (known !== undefined) {
      known.configure(options);
      return known;
    }
    try {
      const log = this.#makeBatchLog(name, folder, options);
      this.#batchLogs.set(name, log);
      return log;
    } catch (error) {
      const cause = error as Error;
      throw new CoreError('storage-failed', `the disk refused to open ${name}: ${cause.message}`, { cause });
    }
  }

  #makeBatchLog(name: string, folderName: string, options: BatchLogOptions): SegmentLog {
    const folder = join(this.#streamsFolder, folderName);
    if (!this.#files.exists(folder)) {
      this.#files.makeFolder(folder);
      if (this.#options.durability === 'fsync') syncFolderSync(this.#files, this.#streamsFolder);
    }
    const context = { files: this.#files, commit: this.#commit, budget: this.#budget, report: this.#report };
    return new SegmentLog(name, folder, options, context, () => {
      this.#batchLogs.delete(name);
      this.#store.logDeleted(folderName);
    });
  }

  async openRowLog(name: string, options: { readonly durable: boolean }): Promise<RowLog> {
    this.#assertOpen();
    if (options.durable) return this.#store.openRowLog(name);
    let log = this.#memoryLogs.get(name);
    if (log === undefined) {
      log = new MemoryRowLog(() => this.#memoryLogs.delete(name));
      this.#memoryLogs.set(name, log);
    }
    return log;
  }

  createRowLog(name: string): RowLog {
    this.#assertOpen();
    return this.#store.openRowLog(name);
  }

  async openTable(name: string): Promise<Table> {
    this.#assertOpen();
    return this.#store.openTable(name);
  }

  commit(done: (error: Error | null) => void, prepare?: () => void): void {
    if (this.#closed) process.nextTick(done, new CoreError('storage-failed', 'the storage is closed'));
    else this.#commit.commit(done, prepare);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // So that no commit follows this one: none may run when the store closes.
    this.#closed = true;
    const failure = await new Promise<Error | null>((resolve) => this.#commit.commit(resolve));
    if (failure !== null) {
      const details = { cause: failure.message };
      this.#report({ level: 'error', text: 'the last commit failed at closing', details });
    }
    const logs = [...this.#batchLogs.values()];
    await this.#store.close(() => {
      if (logs.every(({ isCommitted }) => isCommitted)) return null;
      return failure ?? new Error('batches were appended to a stream while the storage closed');
    });
    for (const log of logs) log.close();
    this.#unlock();
  }

  #assertOpen(): void {
    if (this.#closed) throw new CoreError('storage-failed', 'the storage is closed');
  }
}
