/**
 * Lets no more attempts be under way for a key (an address, a user) than it has guesses left; the others wait for one of
 * them to end. Without it a crowd of guesses that come at once would all be looked at before the first is counted. Used by
 * `login-limits.ts`. Invariants: each attempt that began ends, and every end wakes one that waits for it; whoever was woken
 * and does not begin wakes the next.
 */

import type { Clock } from '../core/index.ts';

interface Place {
  running: number;
  readonly waiting: (() => void)[];
}

export interface AttemptGateOptions {
  readonly waitingMax: number;
  readonly waitMsMax: number;
  /** How many attempts may be under way for this key now; at least 1. */
  roomFor(key: string): number;
}

export class AttemptGate {
  readonly #clock: Clock;
  readonly #options: AttemptGateOptions;
  readonly #places = new Map<string, Place>();
  #waiting = 0;

  constructor(clock: Clock, options: AttemptGateOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Attempts that are under way or wait. */
  get size(): number {
    return this.#places.size;
  }

  /** The key that has no room now; undefined: all have. */
  fullOf(keys: readonly string[]): string | undefined {
    return keys.find((key) => (this.#places.get(key)?.running ?? 0) >= this.#options.roomFor(key));
  }

  begin(keys: readonly string[]): void {
    for (const key of keys) this.#placeOf(key).running++;
    // There may be more room than there was when they began to wait.
    for (const key of keys) if (this.fullOf([key]) === undefined) this.wake(key);
  }

  end(keys: readonly string[]): void {
    for (const key of keys) {
      const place = this.#places.get(key);
      if (place === undefined) continue;
      place.running--;
      this.wake(key);
    }
  }

  /** Resolves when an attempt of this key has ended. Throws where too many wait, or where it took too long. */
  async waitFor(key: string): Promise<void> {
    const { waitingMax, waitMsMax } = this.#options;
    if (this.#waiting >= waitingMax) throw new Error(`${this.#waiting} logins wait already`);
    const sinceMs = this.#clock.nowMs();
    this.#waiting++;
    await new Promise<void>((resolve) => this.#placeOf(key).waiting.push(resolve));
    this.#waiting--;
    if (this.#clock.nowMs() - sinceMs <= waitMsMax) return;
    this.wake(key);
    throw new Error('its turn did not come in time');
  }

  wake(key: string): void {
    const place = this.#places.get(key);
    if (place === undefined) return;
    const next = place.waiting.shift();
    if (next !== undefined) next();
    else if (place.running === 0) this.#places.delete(key);
  }

  #placeOf(key: string): Place {
    let place = this.#places.get(key);
    if (place === undefined) {
      place = { running: 0, waiting: [] };
      this.#places.set(key, place);
    }
    return place;
  }
}
