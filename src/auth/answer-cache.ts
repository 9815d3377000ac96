/**
 * Answers remembered for a time, at most so many; the one that was used longest ago goes first. Keys are digests, so
 * that no password is kept. Used by `user-verifier.ts` and `http-callout.ts`.
 */

import type { Clock } from '../core/index.ts';

export class AnswerCache<Answer> {
  readonly #clock: Clock;
  readonly #entriesMax: number;
  /** In the order of use. */
  readonly #entries = new Map<string, { readonly answer: Answer; readonly untilMs: number }>();

  constructor(clock: Clock, entriesMax: number) {
    this.#clock = clock;
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Answer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.untilMs <= this.#clock.nowMs()) return undefined;
    this.#entries.set(key, entry);
    return entry.answer;
  }

  /** Remembers nothing where `ms` is not above 0. */
  put(key: string, answer: Answer, ms: number): void {
    this.#entries.delete(key);
    if (!(ms > 0)) return;
    if (this.#entries.size >= this.#entriesMax) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
    this.#entries.set(key, { answer, untilMs: this.#clock.nowMs() + ms });
  }
}
