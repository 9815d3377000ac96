/**
 * One gate between "appended" and "acknowledged". Everything that is written during a turn and the one after it is
 * committed together: a client that fills its window does so in several writes, and what stands in the socket already
 * costs no commit of its own. Receipts wait here in the order of publishing and are given out in one go when the disk
 * says so. A commit that runs is joined by nobody: what is written meanwhile takes the next one. When a commit
 * fails, everything that waited for it is refused; until one succeeds, which is tried again and again, whoever
 * would write more can see that the disk refuses.
 */

import type { Clock } from './clock.ts';
import { CoreError } from './errors.ts';
import type { CoreCounters, ReceiptSink } from './index.ts';
import type { Storage } from './storage.ts';

/** After a failed commit the next one is tried so soon, though nobody asks. */
const RETRY_MS = 200;

export class Durability {
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #counters: CoreCounters;
  readonly #flushers: (() => void)[] = [];
  #sinks: ReceiptSink[] = [];
  #tokens: number[] = [];
  #callbacks: ((error: CoreError | null) => void)[] = [];
  #dirty = false;
  #again = false;
  #refusal: CoreError | null = null;
  /** Of what was gathered after a commit was asked for and before it began: the next one tells. */
  #lateFailure: Error | null = null;
  #scheduled = false;
  #committing = false;

  constructor(storage: Storage, clock: Clock, counters: CoreCounters) {
    this.#storage = storage;
    this.#clock = clock;
    this.#counters = counters;
  }

  /** Why the last commit failed; null when it did not. */
  get refusal(): CoreError | null {
    return this.#refusal;
  }

  /** `task` runs before each commit and writes what its owner gathered during the turn. It may throw CoreError. */
  beforeCommit(task: () => void): void {
    this.#flushers.push(task);
  }

  /** Something was written, or gathered to be written, that a commit must cover. */
  written(): void {
    this.#dirty = true;
    this.#schedule();
  }

  /** Called by a task before a commit: it has more, for the commit after this one. */
  again(): void {
    this.#again = true;
  }

  /** Something could not be written: a commit is tried a little later. */
  retry(): void {
    this.#clock.after(RETRY_MS, () => this.written());
  }

  /** The sink hears of `token` when everything written so far is durable. */
  wait(sink: ReceiptSink, token: number): void {
    this.#sinks.push(sink);
    this.#tokens.push(token);
    this.#schedule();
  }

  whenStored(done: (error: CoreError | null) => void): void {
    const isIdle = !this.#dirty && !this.#committing && this.#sinks.length === 0;
    // Whoever waits already is told before: deliveries leave in this order.
    if (isIdle && this.#callbacks.length === 0) {
      done(null);
      return;
    }
    this.#callbacks.push(done);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#committing) return;
    this.#scheduled = true;
    this.#clock.afterNextTurn(this.#commit);
  }

  readonly #commit = (): void => {
    this.#scheduled = false;
    if (this.#committing) return;
    this.#committing = true;
    const failure = this.#flush() ?? this.#lateFailure;
    this.#lateFailure = null;
    const sinks = this.#sinks;
    const tokens = this.#tokens;
    const callbacks = this.#callbacks;
    this.#sinks = [];
    this.#tokens = [];
    this.#callbacks = [];
    // What the tasks wrote is in this commit.
    this.#dirty = this.#again;
    this.#again = false;
    this.#counters.commits++;
    this.#storage.commit((error) => {
      this.#committing = false;
      const cause = error ?? failure;
      const refusal = cause === null ? null : asStorageError(cause);
      this.#refusal = error === null ? null : refusal;
      if (error !== null) this.retry();
      // Not at once: the next commit begins when the turn after this one is over, so that it covers what clients send
      // in answer to the receipts that go out now.
      if (this.#dirty || this.#sinks.length > 0 || this.#callbacks.length > 0) this.#schedule();
      giveOut(sinks, tokens, refusal);
      for (const done of callbacks) done(refusal);
    }, this.#flushLate);
  };

  /** The commit takes along what was written since it was asked for, so it must not miss what was only gathered. */
  readonly #flushLate = (): void => {
    this.#lateFailure ??= this.#flush();
    this.#dirty = true;
  };

  #flush(): Error | null {
    let failure: Error | null = null;
    for (const task of this.#flushers) {
      try {
        task();
      } catch (error) {
        failure ??= error as Error;
      }
    }
    return failure;
  }
}

function giveOut(sinks: readonly ReceiptSink[], tokens: readonly number[], refusal: CoreError | null): void {
  for (let i = 0; i < sinks.length; i++) {
    const sink = sinks[i] as ReceiptSink;
    const token = tokens[i] as number;
    if (refusal === null) sink.stored(token);
    else sink.refused(token, refusal);
  }
}

function asStorageError(cause: Error): CoreError {
  if (cause instanceof CoreError) return cause;
  return new CoreError('storage-failed', `the disk refused: ${cause.message}`, { cause });
}
