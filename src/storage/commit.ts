/**
 * Group commit: one commit covers everything that segment logs, row logs and tables wrote before it. Each part
 * first writes what it gathered into the page cache, streams before rows and tables; then, with durability `fsync`, all
 * files concerned are synced in parallel. Calls that arrive while a commit runs share the next one. An error is given to
 * everybody who waited for that commit; the parts concerned stay dirty, so the next commit tries again and succeeds once
 * there is room.
 */

import type { Done } from './file-system.ts';
import type { Extent } from './segment/extent.ts';

export type DurabilityLevel = 'fsync' | 'os';

/** One thing to sync; it notes its own success, and stays to be synced after a failure. */
export interface SyncTarget {
  sync(done: Done): void;
  /** Of a stream: what of it is to be synced. */
  readonly extent?: Extent;
  /** Of a stream: how much of the file was. Without end where nobody will miss what was not. */
  readonly syncedBytes?: number;
}

export interface CommitPart {
  /**
   * Written after all others, and not without them: rows and tables remember what was published, and a publisher that
   * sends it again after a kill is answered. So what they tell of has to be in its streams by then.
   */
  readonly isLast?: boolean;
  /** Writes what was gathered and adds what must be synced to `targets`. Throws when the disk refuses. */
  flush(targets: SyncTarget[]): void;
}

export class GroupCommit {
  readonly #level: DurabilityLevel;
  #dirty = new Set<CommitPart>();
  #waiting: Done[] = [];
  #preparations: (() => void)[] = [];
  #afterwards: Done[] = [];
  #running: Done[] | null = null;
  #gate: ((open: () => void) => boolean) | null = null;
  #parts: CommitPart[] = [];
  #targetsLeft = 0;
  #error: Error | null = null;

  constructor(level: DurabilityLevel) {
    this.#level = level;
  }

  get level(): DurabilityLevel {
    return this.#level;
  }

  /** `part` has something that the next commit must cover. Cheap when it is already known. */
  dirty(part: CommitPart): void {
    this.#dirty.add(part);
  }

  forget(part: CommitPart): void {
    this.#dirty.delete(part);
  }

  /** `gate` may hold commits back: it returns false and calls `open` later. It is how a full memory slows writers. */
  holdBack(gate: (open: () => void) => boolean): void {
    this.#gate = gate;
  }

  /** `prepare` is called before anything is written, where that is not done within this call. */
  commit(done: Done, prepare?: () => void): void {
    this.#waiting.push(done);
    if (this.#running === null) this.#start();
    if (this.#waiting.length > 0 && prepare !== undefined) this.#preparations.push(prepare);
  }

  /** `done` hears how the commit that runs now ended, or the next one where none does, before those who asked for it. */
  afterwards(done: Done): void {
    this.#afterwards.push(done);
  }

  readonly #start = (): void => {
    if (this.#running !== null || this.#waiting.length === 0) return;
    if (this.#gate !== null && !this.#gate(this.#start)) return;
    this.#running = this.#waiting;
    this.#waiting = [];
    const preparations = this.#preparations;
    this.#preparations = [];
    for (const prepare of preparations) prepare();
    this.#error = null;
    this.#parts = [...this.#dirty];
    this.#dirty.clear();
    const targets: SyncTarget[] = [];
    for (const part of this.#parts) if (part.isLast !== true) this.#flush(part, targets);
    if (this.#error === null)
      for (const part of this.#parts) if (part.isLast === true) this.#flush(part, targets);
    if (this.#level === 'os' || targets.length === 0) {
      // Never inside the call: the caller has to be able to finish what it is doing first.
      process.nextTick(this.#finish);
      return;
    }
    this.#targetsLeft = targets.length;
    for (const target of targets) target.sync(this.#synced);
  };

  #flush(part: CommitPart, targets: SyncTarget[]): void {
    try {
      part.flush(targets);
    } catch (error) {
      this.#dirty.add(part);
      this.#error ??= error as Error;
    }
  }

  readonly #synced = (error: Error | null): void => {
    if (error !== null) this.#error ??= error;
    if (--this.#targetsLeft === 0) this.#finish();
  };

  readonly #finish = (): void => {
    const callbacks = this.#running as Done[];
    const error = this.#error;
    // Which file failed to sync does not matter: what was already synced costs nothing to sync again.
    if (error !== null) for (const part of this.#parts) this.#dirty.add(part);
    this.#running = null;
    this.#parts = [];
    const afterwards = this.#afterwards;
    this.#afterwards = [];
    for (const done of afterwards) done(error);
    for (const done of callbacks) done(error);
    this.#start();
  };
}
