/**
 * The buffers that output is gathered in. A connection borrows one while it has something to send and gives it back as
 * soon as the kernel has the bytes, so a hundred thousand idle connections hold none. The pool keeps as many as the
 * last busy time needed, up to a bound, and lets go of those that stayed unused. Called by
 * `buffered-transport.ts` alone.
 */

import type { Clock } from '../core/index.ts';

export const SLAB_BYTES = 65_536;
const TRIM_MS = 5_000;
const KEPT_WHEN_IDLE = 16;

export class SlabPool {
  readonly #clock: Clock;
  readonly #slabsMax: number;
  readonly #free: Buffer[] = [];
  /** The fewest that were free since the last look: what nobody needed. */
  #unusedCount = 0;
  #trimming = false;

  constructor(clock: Clock, bytesMax: number) {
    this.#clock = clock;
    this.#slabsMax = Math.floor(bytesMax / SLAB_BYTES);
  }

  get freeCount(): number {
    return this.#free.length;
  }

  take(): Buffer {
    const slab = this.#free.pop();
    if (this.#free.length < this.#unusedCount) this.#unusedCount = this.#free.length;
    return slab ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
  }

  /** `slab` came from `take` and nobody writes to it or reads it any more. */
  give(slab: Buffer): void {
    if (this.#free.length >= this.#slabsMax) return;
    this.#free.push(slab);
    if (this.#free.length > KEPT_WHEN_IDLE && !this.#trimming) {
      this.#trimming = true;
      this.#clock.after(TRIM_MS, this.#trim);
    }
  }

  readonly #trim = (): void => {
    const dropped = Math.min(this.#unusedCount, this.#free.length - KEPT_WHEN_IDLE);
    if (dropped > 0) this.#free.length -= dropped;
    this.#unusedCount = this.#free.length;
    this.#trimming = this.#free.length > KEPT_WHEN_IDLE;
    if (this.#trimming) this.#clock.after(TRIM_MS, this.#trim);
  };
}
