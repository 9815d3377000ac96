/**
 * The process's one clock: time, one timer wheel and the end of each turn of the event loop. The gateway makes one and
 * gives it to the core, the adapters and the listeners; the core sees it as `Clock`.
 *
 * A turn ends in `setImmediate`, so after every socket that had something to say was read. Then, in this order: the
 * tasks of `afterTurn` (batches are built, a group commit begins), then those of `lastInTurn` (output leaves). What
 * either of them leaves for the end of the turn runs in the same one, a bounded number of rounds, so that bytes written
 * by a task wait for nothing; the rest waits for the next turn, so that tasks cannot starve the sockets. Tasks of
 * `afterNextTurn` join those of `afterTurn` one turn later, when the sockets have been read once more. What one task
 * throws is reported and keeps no other from running.
 */

import type { Clock, Timer } from './core/index.ts';
import { TimerWheel } from './timer-wheel.ts';

const ROUNDS_PER_TURN_MAX = 16;

type Task = () => void;

export class SystemClock implements Clock {
  readonly #failed: (error: unknown) => void;
  readonly #wheel: TimerWheel;
  #tasks: Task[] = [];
  #spareTasks: Task[] = [];
  #nextTasks: Task[] = [];
  #writers: Task[] = [];
  #spareWriters: Task[] = [];
  #nowMs = 0;
  /** `#nowMs` was read in this turn. */
  #isFresh = false;
  #scheduled = false;

  /** `failed` hears of what tasks and timers throw. */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
    this.#wheel = new TimerWheel(failed);
  }

  /** The same all through a turn, so the system is asked once in it however many messages pass. */
  nowMs(): number {
    if (!this.#isFresh) {
      this.#isFresh = true;
      this.#nowMs = Date.now();
      this.#schedule();
    }
    return this.#nowMs;
  }

  after(delayMs: number, task: Task): Timer {
    return this.#wheel.after(delayMs, task);
  }

  afterTurn(task: Task): void {
    this.#tasks.push(task);
    this.#schedule();
  }

  afterNextTurn(task: Task): void {
    this.#nextTasks.push(task);
    this.#schedule();
  }

  /** Runs when all tasks of this turn have: what they wrote leaves with the rest. */
  lastInTurn(task: Task): void {
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
    setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    for (let round = 0; round < ROUNDS_PER_TURN_MAX; round++) {
      if (this.#tasks.length > 0) {
        const tasks = this.#tasks;
        this.#tasks = this.#spareTasks;
        this.#run(tasks);
        this.#spareTasks = tasks;
      } else if (this.#writers.length > 0) {
        const writers = this.#writers;
        this.#writers = this.#spareWriters;
        this.#run(writers);
        this.#spareWriters = writers;
      } else break;
    }
    this.#isFresh = false;
    this.#scheduled = false;
    for (let i = 0; i < this.#nextTasks.length; i++) this.#tasks.push(this.#nextTasks[i] as Task);
    this.#nextTasks.length = 0;
    if (this.#tasks.length > 0 || this.#writers.length > 0) this.#schedule();
  };

  #run(tasks: Task[]): void {
    for (let i = 0; i < tasks.length; i++) {
      try {
        (tasks[i] as Task)();
      } catch (error) {
        this.#failed(error);
      }
    }
    tasks.length = 0;
  }
}
