/** Waiting for what may never answer: bridges are driven by libraries and brokers that hang. */

import type { Clock, Timer } from '../core/index.ts';

/** A time within which something has to be heard, again and again. */
export class Patience {
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #ms: number;
  readonly #over: () => void;
  #heardMs: number;
  #timer: Timer;

  constructor(clock: Pick<Clock, 'after' | 'nowMs'>, ms: number, over: () => void) {
    this.#clock = clock;
    this.#ms = ms;
    this.#over = over;
    this.#heardMs = clock.nowMs();
    this.#timer = this.#wait(ms);
  }

  heard(): void {
    this.#heardMs = this.#clock.nowMs();
  }

  end(): void {
    this.#timer.cancel();
  }

  #wait(ms: number): Timer {
    return this.#clock.after(ms, () => {
      const leftMs = this.#heardMs + this.#ms - this.#clock.nowMs();
      if (leftMs > 0) this.#timer = this.#wait(leftMs);
      else this.#over();
    });
  }
}

/** As `promise`, or rejects with what `late` makes when the time is over. What comes after that is ignored. */
export function within<Value>(
  clock: Pick<Clock, 'after'>,
  ms: number,
  promise: Promise<Value>,
  late: () => Error,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => reject(late()));
    promise.then(
      (value) => {
        timer.cancel();
        resolve(value);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}

/** Resolves when `promise` is settled, or when the time is over. */
export function settledWithin(
  clock: Pick<Clock, 'after'>,
  ms: number,
  promise: Promise<unknown>,
): Promise<void> {
  return within(clock, ms, promise, () => new Error('late')).then(
    () => undefined,
    () => undefined,
  );
}
