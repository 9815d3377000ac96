/** Waiting for what may never answer: bridges are driven by libraries and brokers that hang. */

import type { Clock } from '../core/index.ts';

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
