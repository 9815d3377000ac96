/**
 * All row logs and tables of a storage: the journal, LMDB behind it, and the checkpoints that move one into the
 * other. A commit writes one frame (a single sequential write, and one sync with durability `fsync`). When the
 * journal file has grown, a new one begins, and in the background what the file before it holds is put into LMDB. A
 * checkpoint that fails, on a full disk, is tried again; until it succeeds nothing is lost, because the journal has
 * it all. Opened by `storage/index.ts`.
 */

import { join } from 'node:path';
import { CoreError } from '../../core/errors.ts';
import type { CommitPart, GroupCommit, SyncTarget } from '../commit.ts';
import type { FileSystem } from '../file-system.ts';
import type { Report } from '../report.ts';
import { type Extent, extentOfNothing, isThere, syncExtent } from '../segment/extent.ts';
import { type Change, Database } from './database.ts';
import { Journal, replayJournal } from './journal.ts';
import { FrameWriter } from './journal-frame.ts';
import { JournalReplay } from './journal-replay.ts';
import type { Part, RowLogHome } from './part.ts';
import { DurableRowLog } from './row-log.ts';
import { DurableTable } from './table.ts';

/** Journal size at which a checkpoint begins. */
export const CHECKPOINT_JOURNAL_BYTES = 32 * 1024 * 1024;
/** So many times that size, commits wait for the checkpoint that runs, or fail when it cannot succeed. */
const JOURNALS_MAX = 4;
const RETRY_MS = 1000;

/** The table that remembers which id belongs to which name. */
const REGISTRY_ID = 0;
const ROW_LOG_PREFIX = 'rows/';
const TABLE_PREFIX = 'table/';

export interface TableStoreOptions {
  readonly folder: string;
  /** Of all streams, whose logs are opened later. */
  readonly streams: string;
  readonly files: FileSystem;
  readonly commit: GroupCommit;
  readonly report: Report;
  /** For tests: how much journal before a checkpoint. */
  readonly checkpointBytes?: number;
}

export class TableStore implements CommitPart, RowLogHome {
  readonly isLast = true;
  readonly database: Database;
  readonly #options: TableStoreOptions;
  readonly #checkpointBytes: number;
  readonly #journal: Journal;
  readonly #frame = new FrameWriter();
  readonly #registry: DurableTable;
  readonly #rowLogs = new Map<string, DurableRowLog>();
  readonly #tables = new Map<string, DurableTable>();
  #nextId = 1;
  #changed = new Set<Part>();
  #toMove = new Set<Part>();
  /** The checkpoint that runs. */
  #moving: Promise<void> | null = null;
  #moveFailure: Error | null = null;
  /** What the last frame named of streams: nothing of it may be in LMDB before the device has that. */
  #owed: readonly Owed[] = [];
  /** The checkpoint waits for it; and why commits wait for the checkpoint no longer, though it does. */
  #isWaiting = false;
  #unsynced: Error | null = null;
  /** Folders of deleted logs that no commit has told of yet. */
  readonly #deleted = new Set<string>();
  #retryNow: (() => void) | null = null;
  #heldBack: (() => void) | null = null;
  #needsRepair = false;
  #isRemovalFailing = false;
  #closing = false;

  private constructor(
    options: TableStoreOptions,
    database: Database,
    journal: Journal,
    checkpointBytes: number,
  ) {
    this.#options = options;
    this.#checkpointBytes = checkpointBytes;
    this.database = database;
    this.#journal = journal;
    this.#registry = new DurableTable(this, REGISTRY_ID);
    options.commit.holdBack(this.#gate);
  }

  static async open(options: TableStoreOptions): Promise<TableStore> {
    const { files, folder, streams, report } = options;
    const journalFolder = join(folder, 'journal');
    files.makeFolder(journalFolder);
    const database = new Database(join(folder, 'state.mdb'));
    try {
      const replay = new JournalReplay(database);
      const { nextSequence, forget } = replayJournal(
        files,
        journalFolder,
        replay,
        {
          isThere: (extent) => isThere(files, streams, extent),
          sync: (extent) => syncExtent(files, streams, extent),
        },
        report,
      );
      // The system may have frames that the device has not.
      await database.applyAtOnce(replay.changes());
      forget();
      const durable = options.commit.level === 'fsync';
      const checkpointBytes = options.checkpointBytes ?? CHECKPOINT_JOURNAL_BYTES;
      const journal = new Journal(files, journalFolder, durable, checkpointBytes, nextSequence);
      const store = new TableStore(options, database, journal, checkpointBytes);
      await store.#readRegistry();
      return store;
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  async #readRegistry(): Promise<void> {
    for await (const [, value] of this.#registry.scan('')) {
      const id = Buffer.from(value).readUInt32BE(0);
      if (id >= this.#nextId) this.#nextId = id + 1;
    }
  }

  // -------------------------------------------------------------------------------------- opening

  openRowLog(name: string): DurableRowLog {
    const known = this.#rowLogs.get(name);
    if (known !== undefined) return known;
    const entry = this.#registry.getSync(ROW_LOG_PREFIX + name);
    const id = entry === undefined ? this.#nextId++ : Buffer.from(entry).readUInt32BE(0);
    const reservedEnd = entry === undefined ? 0 : Buffer.from(entry).readUIntBE(4, 6);
    const storedCount = entry === undefined ? 0 : this.database.countRows(id);
    const storedEnd = storedCount === 0 ? 0 : this.database.lastRowOffset(id) + 1;
    const endOffset = Math.max(reservedEnd, storedEnd);
    const log = new DurableRowLog(this, name, id, { endOffset, reservedEnd, storedCount });
    this.#rowLogs.set(name, log);
    if (entry === undefined) this.registerRowLog(name, id, 0);
    return log;
  }

  openTable(name: string): DurableTable {
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    const entry = this.#registry.getSync(TABLE_PREFIX + name);
    const id = entry === undefined ? this.#nextId++ : Buffer.from(entry).readUInt32BE(0);
    const table = new DurableTable(this, id);
    this.#tables.set(name, table);
    if (entry === undefined) {
      const value = Buffer.alloc(4);
      value.writeUInt32BE(id);
      this.#registry.put(TABLE_PREFIX + name, value);
    }
    return table;
  }

  registerRowLog(name: string, id: number, reservedEnd: number): void {
    const value = Buffer.alloc(10);
    value.writeUInt32BE(id, 0);
    value.writeUIntBE(reservedEnd, 4, 6);
    this.#registry.put(ROW_LOG_PREFIX + name, value);
  }

  forgetRowLog(name: string, id: number): void {
    if (this.#rowLogs.get(name)?.id !== id) return;
    this.#rowLogs.delete(name);
    this.#registry.remove(ROW_LOG_PREFIX + name);
  }

  // -------------------------------------------------------------------------------------- committing

  changed(part: Part): void {
    this.#changed.add(part);
    this.#options.commit.dirty(this);
  }

  toMove(part: Part): void {
    this.#toMove.add(part);
  }

  flush(targets: SyncTarget[]): void {
    const stall = this.#moveFailure ?? this.#unsynced;
    if (stall !== null && this.#journal.bytes > JOURNALS_MAX * this.#checkpointBytes) throw refusal(stall);
    try {
      this.#repairDoubtful(targets);
      targets.push(this.#appendFrame(targets));
    } catch (error) {
      this.#frame.clear();
      throw error instanceof CoreError ? error : refusal(error as Error);
    }
    if (this.#journal.bytes >= this.#checkpointBytes) this.#beginCheckpoint();
  }

  /** `targets`: what of streams is synced in the same commit. */
  #appendFrame(targets: readonly SyncTarget[]): SyncTarget {
    this.#frame.clear();
    for (const part of this.#changed) {
      // The registry comes last: the others still write to it here.
      if (part !== this.#registry) part.writeChanges(this.#frame);
    }
    this.#registry.writeChanges(this.#frame);
    const told = [...this.#deleted];
    for (const folder of told) this.#frame.extent(extentOfNothing(folder));
    const owed = this.#options.commit.level === 'os' ? [] : owedBy(targets);
    if (!this.#frame.isEmpty) for (const { extent } of owed) this.#frame.extent(extent);
    const target = this.#journal.append(
      this.#frame.isEmpty ? null : this.#frame.finish(this.#journal.sequence),
    );
    for (const part of this.#changed) part.framed();
    this.#changed = new Set();
    this.#owed = owed;
    if (told.length > 0) {
      this.#options.commit.afterwards((error) => {
        if (error === null) for (const folder of told) this.#deleted.delete(folder);
      });
    }
    return target;
  }

  /** A log was deleted. Before there is another of its name a commit has to tell that what was named of it is not missed. */
  logDeleted(folder: string): void {
    const { commit } = this.#options;
    if (commit.level === 'os') return;
    this.#deleted.add(folder);
    commit.dirty(this);
  }

  /** Rejects where that cannot be committed. */
  async logMayBegin(folder: string): Promise<void> {
    while (this.#deleted.has(folder)) {
      await new Promise<void>((resolve, reject) => {
        this.#options.commit.commit((error) => (error === null ? resolve() : reject(error)));
      });
    }
  }

  /**
   * After a failed sync nobody knows what the device has of the journal file. All of it is still in memory: it goes
   * into LMDB, and until it is there no commit can promise anything.
   */
  #repairDoubtful(targets: readonly SyncTarget[]): void {
    if (this.#journal.isDoubtful && !this.#needsRepair) {
      // A checkpoint that already runs would remove the doubtful file without having moved all of it.
      if (this.#moving !== null) throw new Error('a sync failed; what it covered is being written anew');
      this.#journal.rotate();
      this.#needsRepair = true;
    }
    if (!this.#needsRepair) return;
    if (this.#moving === null) {
      this.#appendFrame(targets);
      this.#moving = this.#checkpoint(true);
    }
    throw new Error('a sync failed; what it covered is being written anew');
  }

  readonly #gate = (open: () => void): boolean => {
    const isHeld =
      this.#moving !== null &&
      this.#moveFailure === null &&
      !this.#isWaiting &&
      this.#journal.bytes > JOURNALS_MAX * this.#checkpointBytes;
    if (isHeld) this.#heldBack = open;
    return !isHeld;
  };

  // -------------------------------------------------------------------------------------- checkpoints

  #beginCheckpoint(): void {
    if (this.#moving !== null || this.#closing) return;
    try {
      this.#journal.rotate();
    } catch {
      // The disk is full: the journal grows on in its old file, and the next commit tries again.
      return;
    }
    this.#moving = this.#checkpoint(false);
  }

  /** Begins while a commit runs. Never rejects. */
  async #checkpoint(everything: boolean): Promise<void> {
    const parts = [...this.#toMove];
    this.#toMove = new Set();
    for (const part of parts) part.beginMove(everything);
    if (!(await this.#mayMove(everything))) {
      for (const part of parts) part.cancelMove();
      this.#moving = null;
      this.#letGo();
      return;
    }
    while (!(await this.#move(parts, everything))) {
      if (this.#closing) return;
      await new Promise<void>((resolve) => {
        this.#retryNow = resolve;
        setTimeout(resolve, RETRY_MS).unref();
      });
    }
    for (const part of parts) part.endMove();
    const isGone = this.#removeOld(everything);
    this.#moving = null;
    // While a file in doubt could come back, a replay could end in it: commits are refused, and the repair tried again.
    if (everything && isGone) this.#needsRepair = false;
    this.#letGo();
  }

  /** The commit that the gate held back, if it did. */
  #letGo(): void {
    const open = this.#heldBack;
    this.#heldBack = null;
    open?.();
  }

  /**
   * LMDB is synced on its own. So that no part of a commit is in it without the rest, what is moved has to be on the device
   * before, in the journal and in streams. The commit that runs has to be over for that, and where it failed a later one, as far
   * as streams are concerned: a repair goes on while commits fail. None is held back meanwhile. False where the storage
   * closes before, or the journal is in doubt: then the next commit begins the repair, which moves all of it at once.
   */
  async #mayMove(isRepair: boolean): Promise<boolean> {
    const owed = this.#owed;
    this.#isWaiting = true;
    for (;;) {
      await new Promise<void>((resolve) => {
        this.#retryNow = resolve;
        this.#options.commit.afterwards(() => resolve());
      });
      const isMissing = owed.some(({ target, extent }) => (target.syncedBytes as number) < extent.end);
      const isInDoubt = !isRepair && this.#journal.isDoubtful;
      // Not where the repair comes: it begins with a commit, which must not be refused for this then.
      const isStalled = isMissing && !isInDoubt;
      this.#unsynced = isStalled ? new Error('what was written to a stream cannot be synced') : null;
      if (!isMissing || isInDoubt || this.#closing) {
        this.#isWaiting = false;
        return !isMissing && !isInDoubt;
      }
    }
  }

  /** Whether the files are gone; those that are not go with a later checkpoint. */
  #removeOld(everything: boolean): boolean {
    try {
      this.#journal.removeOld(everything);
      this.#isRemovalFailing = false;
      return true;
    } catch (error) {
      if (!this.#isRemovalFailing) {
        const details = { cause: (error as Error).message };
        const text = 'files of the journal that are not needed any more cannot be removed';
        this.#options.report({ level: 'error', text, details });
      }
      this.#isRemovalFailing = true;
      return false;
    }
  }

  /** Nothing but LMDB may have what a repair moves. */
  async #move(parts: readonly Part[], isRepair: boolean): Promise<boolean> {
    try {
      const changes = changesOf(parts);
      await (isRepair ? this.database.applyAtOnce(changes) : this.database.apply(changes));
      this.#moveFailure = null;
      return true;
    } catch (error) {
      if (this.#moveFailure === null) {
        const details = { cause: (error as Error).message };
        const text = 'the state database refuses to be written; the journal keeps its changes until it does';
        this.#options.report({ level: 'error', text, details });
      }
      this.#moveFailure = error as Error;
      this.#letGo();
      return false;
    }
  }

  /**
   * Leaves an empty journal, so that the next start has nothing to replay. But not where streams lack something: then nothing
   * is written here either that was not committed. `whatLacks` is asked right before.
   */
  async close(whatLacks: () => Error | null): Promise<void> {
    try {
      this.#closing = true;
      this.#retryNow?.();
      if (this.#moving !== null) await this.#moving;
      const lacking = whatLacks();
      if (lacking !== null) throw lacking;
      // From here until LMDB is asked nothing else can happen, so it gets nothing that was not looked at.
      for (const log of this.#rowLogs.values()) log.releaseReserved();
      if (this.#changed.size > 0) this.#appendFrame([]);
      if (this.#moveFailure !== null) throw this.#moveFailure;
      const parts = [...this.#toMove];
      for (const part of parts) part.beginMove(true);
      // Of the last frame the journal's file was not synced.
      await this.database.applyAtOnce(changesOf(parts));
      this.#journal.closeEmpty();
    } catch (error) {
      this.#journal.close();
      const details = { cause: (error as Error).message };
      this.#options.report({
        level: 'warn',
        text: 'the journal stays for the next start to replay',
        details,
      });
    }
    await this.database.close();
  }
}

interface Owed {
  readonly target: SyncTarget;
  readonly extent: Extent;
}

function owedBy(targets: readonly SyncTarget[]): Owed[] {
  const owed: Owed[] = [];
  for (const target of targets) {
    const { extent } = target;
    if (extent !== undefined) owed.push({ target, extent });
  }
  return owed;
}

function* changesOf(parts: readonly Part[]): Iterable<Change> {
  for (const part of parts) yield* part.changesToMove();
}

function refusal(cause: Error): CoreError {
  return new CoreError('storage-failed', `the disk refused: ${cause.message}`, { cause });
}
