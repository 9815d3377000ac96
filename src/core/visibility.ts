/**
 * How long a consumer may hold a delivery without settling it. One timer for each group, set to the delivery that is
 * due next: what is settled in time only leaves, and the timer finds that there is nothing to do. Used by `group.ts`.
 *
 * Times are kept as small whole numbers (ticks since the group began), because every delivery has one.
 */

import type { Clock, Timer } from './clock.ts';
import type { Consumers, Holder } from './consumers.ts';
import type { Entry } from './entry.ts';

const TICK_MS = 100;

export class Visibility {
  readonly #clock: Clock;
  readonly #consumers: Consumers;
  /** Takes back what is due, oldest first; nothing of it is held any more. */
  readonly #due: (late: readonly (readonly [Holder, Entry])[]) => void;
  readonly #beginMs: number;
  #timer: Timer | null = null;

  constructor(
    clock: Clock,
    consumers: Consumers,
    due: (late: readonly (readonly [Holder, Entry])[]) => void,
  ) {
    this.#clock = clock;
    this.#consumers = consumers;
    this.#due = due;
    this.#beginMs = clock.nowMs();
  }

  /** `holder`, which has a time limit, got this. */
  watch(holder: Holder, entry: Entry): void {
    entry.heldTick = Math.floor((this.#clock.nowMs() - this.#beginMs) / TICK_MS);
    if (this.#timer === null) this.#setTimer(this.#dueMsOf(holder, entry));
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** Rounded up: nobody has less time than was promised. */
  #dueMsOf(holder: Holder, entry: Entry): number {
    return this.#beginMs + (entry.heldTick + 1) * TICK_MS + holder.timeoutMs;
  }

  #setTimer(dueMs: number): void {
    this.#timer = this.#clock.after(Math.max(0, dueMs - this.#clock.nowMs()), () => {
      this.#timer = null;
      this.#collect();
    });
  }

  #collect(): void {
    const nowMs = this.#clock.nowMs();
    const late: [Holder, Entry][] = [];
    for (const holder of [...this.#consumers.timed()]) {
      for (let entry = holder.oldest; entry !== null; entry = holder.oldest) {
        if (this.#dueMsOf(holder, entry) > nowMs) break;
        holder.drop(entry);
        late.push([holder, entry]);
      }
    }
    if (late.length > 0) this.#due(late);
    // What was handed on may have set it anew, but others may be due before that.
    this.#timer?.cancel();
    this.#timer = null;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const holder of this.#consumers.timed()) {
      if (holder.oldest !== null) nextMs = Math.min(nextMs, this.#dueMsOf(holder, holder.oldest));
    }
    if (nextMs !== Number.POSITIVE_INFINITY) this.#setTimer(nextMs);
  }
}
