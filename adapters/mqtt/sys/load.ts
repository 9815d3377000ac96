/**
 * Load averages as Mosquitto tells them: how much of something happened in a minute, averaged over the last 1, 5 and
 * 15 minutes with weights that fall exponentially. Fed by `topics.ts` at every interval with counters that only grow.
 */

export const LOAD_MINUTES = [1, 5, 15] as const;

export class LoadAverage {
  #last: number | null = null;
  readonly #averages: [number, number, number] = [0, 0, 0];

  /** `total` is the counter now; `seconds` have passed since the last call. */
  add(total: number, seconds: number): void {
    const last = this.#last;
    this.#last = total;
    if (last === null || seconds <= 0) return;
    const perMinute = ((total - last) * 60) / seconds;
    for (const [index, minutes] of LOAD_MINUTES.entries()) {
      const kept = Math.exp(-seconds / (60 * minutes));
      this.#averages[index] = perMinute + kept * ((this.#averages[index] as number) - perMinute);
    }
  }

  /** A minute, over the last 1, 5 or 15 minutes by index. */
  at(index: number): number {
    return this.#averages[index] ?? 0;
  }
}
