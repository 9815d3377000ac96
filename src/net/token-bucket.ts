/**
 * So many a second, and so many at once after a quiet time. The time is given by the caller. Used for connections by
 * `admission.ts` and for handshakes by `tls-stage.ts`.
 */

export class TokenBucket {
  readonly #perSecond: number;
  readonly #tokensMax: number;
  #tokens: number;
  #atMs = Number.NEGATIVE_INFINITY;

  /** `atOnceMax`: how many may come at once after a quiet time; one at least. */
  constructor(perSecond: number, atOnceMax = perSecond) {
    this.#perSecond = perSecond;
    this.#tokensMax = Math.max(1, atOnceMax);
    this.#tokens = this.#tokensMax;
  }

  take(nowMs: number): boolean {
    // A clock that was set back gives nothing and takes nothing.
    const passedMs = this.#atMs === Number.NEGATIVE_INFINITY ? 0 : Math.max(0, nowMs - this.#atMs);
    this.#atMs = nowMs;
    this.#tokens = Math.min(this.#tokensMax, this.#tokens + (passedMs * this.#perSecond) / 1000);
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
