/**
 * How fast one client publishes: a bucket of messages and one of bytes, each filled by what a second allows and never
 * fuller than that. Made only where an operator set a rate; asked for each PUBLISH by its handler. Time is the coarse
 * clock, so a bucket is filled once per turn.
 */

import type { Clock } from '../../../src/core/index.ts';

export class MessageRate {
  readonly #clock: Clock;
  readonly #messagesPerSecond: number;
  readonly #bytesPerSecond: number;
  #messages: number;
  #bytes: number;
  #filledAtMs: number;

  /** Infinity: no bound. */
  constructor(clock: Clock, messagesPerSecond: number, bytesPerSecond: number) {
    this.#clock = clock;
    this.#messagesPerSecond = messagesPerSecond;
    this.#bytesPerSecond = bytesPerSecond;
    this.#messages = messagesPerSecond;
    this.#bytes = bytesPerSecond;
    this.#filledAtMs = clock.nowMs();
  }

  /** Counts one message; returns after how many milliseconds the next one may come. */
  spend(bytes: number): number {
    const nowMs = this.#clock.nowMs();
    if (nowMs !== this.#filledAtMs) this.#fill(nowMs);
    this.#messages--;
    this.#bytes -= bytes;
    if (this.#messages >= 0 && this.#bytes >= 0) return 0;
    const messageSeconds = this.#messages < 0 ? -this.#messages / this.#messagesPerSecond : 0;
    const byteSeconds = this.#bytes < 0 ? -this.#bytes / this.#bytesPerSecond : 0;
    return Math.ceil(1000 * Math.max(messageSeconds, byteSeconds));
  }

  #fill(nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.#filledAtMs) / 1000;
    this.#filledAtMs = nowMs;
    this.#messages = Math.min(this.#messagesPerSecond, this.#messages + seconds * this.#messagesPerSecond);
    this.#bytes = Math.min(this.#bytesPerSecond, this.#bytes + seconds * this.#bytesPerSecond);
  }
}

/** Null where the operator set no rate; 0 is none. */
export function messageRateFrom(
  clock: Clock,
  limits: { readonly messagesPerSecondMax: number; readonly bytesPerSecondMax: number },
): MessageRate | null {
  const { messagesPerSecondMax, bytesPerSecondMax } = limits;
  if (messagesPerSecondMax === 0 && bytesPerSecondMax === 0) return null;
  return new MessageRate(
    clock,
    messagesPerSecondMax === 0 ? Number.POSITIVE_INFINITY : messagesPerSecondMax,
    bytesPerSecondMax === 0 ? Number.POSITIVE_INFINITY : bytesPerSecondMax,
  );
}
