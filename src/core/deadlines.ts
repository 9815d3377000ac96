/**
 * When what waits in a group is over: the deadline that a message gets as it comes, and the one timer that a group has for
 * its oldest. As in other brokers, what expires behind that one waits until it is first.
 */

import type { Clock, Timer } from './clock.ts';
import type { GroupBounds } from './group-context.ts';
import type { Message } from './message.ts';

/** Milliseconds since 1970, 0 never. */
export function deadlineOf(message: Message, { messageTtlMs }: GroupBounds, nowMs: number): number {
  if (messageTtlMs < 0) return message.expiresAtMs;
  const own = nowMs + messageTtlMs;
  return message.expiresAtMs === 0 ? own : Math.min(own, message.expiresAtMs);
}

export class FrontTimer {
  readonly #clock: Clock;
  readonly #due: () => void;
  #timer: Timer | null = null;

  constructor(clock: Clock, due: () => void) {
    this.#clock = clock;
    this.#due = due;
  }

  get isSet(): boolean {
    return this.#timer !== null;
  }

  /** At the latest then: one that is due earlier stays. */
  set(deadlineMs: number): void {
    const nowMs = this.#clock.nowMs();
    if (this.#timer !== null) {
      if (this.#timer.dueMs <= Math.max(deadlineMs, nowMs)) return;
      this.#timer.cancel();
    }
    this.#timer = this.#clock.after(Math.max(0, deadlineMs - nowMs), () => {
      this.#timer = null;
      this.#due();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
  }
}
