/**
 * Messages that streams took during this turn and that are not in their logs yet. Each partition gathers its own
 * into one batch; here stands which partitions have some, how many bytes they hold together, and when they are
 * written: when the turn is over, and in any case before the commit that must cover them. Shared by all partitions
 * of a core.
 */

import type { Clock } from './clock.ts';
import type { Durability } from './durability.ts';
import type { CoreCounters, CoreEvent } from './index.ts';

/** A partition, as seen from here. */
export interface Gatherer {
  /** Writes what it gathered; must not throw. */
  flush(): void;
}

export class Gathering {
  readonly #clock: Clock;
  readonly #durability: Durability;
  readonly #counters: CoreCounters;
  readonly #report: (event: CoreEvent) => void;
  #waiting: Gatherer[] = [];
  #scheduled = false;
  #failure: Error | null = null;
  #refusing = false;
  /** Bytes gathered over all partitions. */
  bytes = 0;

  constructor(
    clock: Clock,
    durability: Durability,
    counters: CoreCounters,
    report: (event: CoreEvent) => void,
  ) {
    this.#clock = clock;
    this.#durability = durability;
    this.#counters = counters;
    this.#report = report;
    durability.beforeCommit(() => this.#flushForCommit());
  }

  /** This partition has taken its first message since it was last flushed. */
  began(gatherer: Gatherer): void {
    this.#waiting.push(gatherer);
    this.#durability.written();
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.afterTurn(this.flush);
  }

  /** What was gathered could not be written: everybody who waits for the next commit is refused. */
  failed(error: Error, messages: number): void {
    this.#failure ??= error;
    this.#counters.dropped += messages;
    if (!this.#refusing)
      this.#report({ level: 'error', text: 'a stream cannot be written', details: { cause: error.message } });
    this.#refusing = true;
  }

  succeeded(): void {
    if (!this.#refusing) return;
    this.#refusing = false;
    this.#report({ level: 'info', text: 'streams can be written again', details: {} });
  }

  readonly flush = (): void => {
    this.#scheduled = false;
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const gatherer of waiting) gatherer.flush();
  };

  #flushForCommit(): void {
    this.flush();
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
  }
}
