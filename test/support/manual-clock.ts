/**
 * A clock that a test turns by hand. By default the end of a turn comes with the next macrotask, as in a real
 * process; `advance` moves time and runs what falls due.
 */

import type { Clock, Timer } from '../../src/core/clock.ts';

interface PendingTimer extends Timer {
  readonly task: () => void;
}

export class ManualClock implements Clock {
  #nowMs: number;
  #timers = new Set<PendingTimer>();
  #tasks: (() => void)[] = [];
  #writers: (() => void)[] = [];

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, task: () => void): Timer {
    const timer: PendingTimer = {
      dueMs: this.#nowMs + delayMs,
      task,
      cancel: () => this.#timers.delete(timer),
    };
    this.#timers.add(timer);
    return timer;
  }

  afterTurn(task: () => void): void {
    this.#tasks.push(task);
    if (this.#tasks.length === 1) setImmediate(() => this.endTurn());
  }

  /** Turns of a test bring nothing that could be waited for. */
  afterNextTurn(task: () => void): void {
    this.afterTurn(task);
  }

  /** As the process's own clock: after the tasks of the turn. */
  lastInTurn(task: () => void): void {
    this.#writers.push(task);
    if (this.#writers.length === 1) setImmediate(() => this.endTurn());
  }

  /** Ends the turn now. */
  endTurn(): void {
    while (this.#tasks.length > 0) {
      const tasks = this.#tasks;
      this.#tasks = [];
      for (const task of tasks) task();
    }
    const writers = this.#writers;
    this.#writers = [];
    for (const task of writers) task();
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  advance(ms: number): void {
    const until = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.dueMs <= until);
      due.sort((a, b) => a.dueMs - b.dueMs);
      const next = due[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.task();
    }
    this.#nowMs = until;
  }
}
