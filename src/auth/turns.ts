/**
 * Turns for tasks of which only so many may run at once, and only so many wait. Whoever waited too long is turned away
 * instead of being served when nobody wants the result any more. Used by `user-verifier.ts` and `http-callout.ts`.
 */

import type { Clock } from '../core/index.ts';

interface Waiting {
  readonly sinceMs: number;
  start(): void;
  refuse(error: Error): void;
}

export class Turns {
  readonly #clock: Clock;
  readonly #runningMax: number;
  readonly #waitingMax: number;
  readonly #waitMsMax: number;
  #waiting: Waiting[] = [];
  #running = 0;

  constructor(clock: Clock, bounds: { runningMax: number; waitingMax: number; waitMsMax: number }) {
    this.#clock = clock;
    this.#runningMax = bounds.runningMax;
    this.#waitingMax = bounds.waitingMax;
    this.#waitMsMax = bounds.waitMsMax;
  }

  /** Throws where too many wait already, or where its turn did not come in time. */
  async run<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#running < this.#runningMax) this.#running++;
    else await this.#waitForTurn();
    try {
      return await task();
    } finally {
      this.#passOn();
    }
  }

  #waitForTurn(): Promise<void> {
    if (this.#waiting.length >= this.#waitingMax) {
      return Promise.reject(new Error(`${this.#waiting.length} questions wait already`));
    }
    return new Promise((start, refuse) => {
      this.#waiting.push({ sinceMs: this.#clock.nowMs(), start, refuse });
    });
  }

  /** The turn goes to the first that is not too late; it keeps counting as running. */
  #passOn(): void {
    const lateMs = this.#clock.nowMs() - this.#waitMsMax;
    const firstInTime = this.#waiting.findIndex(({ sinceMs }) => sinceMs >= lateMs);
    const late = this.#waiting.splice(0, firstInTime < 0 ? this.#waiting.length : firstInTime);
    for (const { refuse } of late) refuse(new Error('its turn did not come in time'));
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next.start();
  }
}
