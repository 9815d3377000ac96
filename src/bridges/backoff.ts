/**
 * Pauses between tries with decorrelated jitter: each is chosen at random between the shortest and three times the one
 * before, so that bridges which lost the same broker do not come back together.
 */

export class Backoff {
  readonly #random: () => number;
  #minMs: number;
  #maxMs: number;
  #lastMs = 0;

  constructor(bounds: { readonly minMs: number; readonly maxMs: number }, random: () => number) {
    this.#minMs = bounds.minMs;
    this.#maxMs = bounds.maxMs;
    this.#random = random;
  }

  get minMs(): number {
    return this.#minMs;
  }

  /** One that begins anew, with the same bounds. */
  another(): Backoff {
    return new Backoff({ minMs: this.#minMs, maxMs: this.#maxMs }, this.#random);
  }

  change(bounds: { readonly minMs: number; readonly maxMs: number }): void {
    this.#minMs = bounds.minMs;
    this.#maxMs = bounds.maxMs;
  }

  /** Milliseconds until the next try. */
  next(): number {
    const most = Math.max(this.#minMs, this.#lastMs * 3);
    const ms = Math.round(this.#minMs + this.#random() * (most - this.#minMs));
    this.#lastMs = Math.min(this.#maxMs, Math.max(this.#minMs, ms));
    return this.#lastMs;
  }

  reset(): void {
    this.#lastMs = 0;
  }
}
