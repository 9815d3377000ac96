/**
 * Time for the whole process: one wheel for every delay, and the end of each turn of the event loop. A turn is
 * what one round of socket reads and callbacks does; when it is over, first the tasks run that others left for it
 * (batches are built, commits begin), then everything that was written to sockets leaves, in the same turn. What
 * one task throws is reported and keeps no other from running. Made once by the gateway.
 */

import type { Clock, Timer } from './core/index.ts';
import { TimerWheel } from './timer-wheel.ts';

export class SystemClock implements Clock {
  readonly #failed: (error: unknown) => void;
  readonly #wheel = new TimerWheel();
  #tasks: (() => void)[] = [];
  #writers: (() => void)[] = [];
  #scheduled = false;

  /** `failed` hears of what tasks throw. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  nowMs(): number {
    return Date.now();
  }

  after(delayMs: number, task: () => void): Timer {
    return this.#wheel.after(delayMs, () => this.#run(task));
  }

  afterTurn(task: () => void): void {
    this.#tasks.push(task);
    this.#schedule();
  }

  /** Runs after all tasks of this turn: what they wrote leaves with the rest. */
  lastInTurn(task: () => void): void {
    this.#writers.push(task);
    this.#schedule();
  }

  /** Forgets every delay. */
  stop(): void {
    this.#wheel.stop();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Comes right after the reads of this round, before the loop waits for more.
    setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#scheduled = false;
    // Tasks may leave further tasks for the same end; writers come when there are none left.
    while (this.#tasks.length > 0) {
      const tasks = this.#tasks;
      this.#tasks = [];
      for (const task of tasks) this.#run(task);
    }
    const writers = this.#writers;
    this.#writers = [];
    for (const write of writers) this.#run(write);
  };

  #run(task: () => void): void {
    try {
      task();
    } catch (error) {
      this.#failed(error);
    }
  }
}
