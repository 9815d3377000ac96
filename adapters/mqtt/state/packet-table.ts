/**
 * Deliveries by packet identifier: a table that is looked up by the low bits of the identifier. Identifiers follow
 * each other, so those under way at one time hardly ever meet in a slot; where two do, the table doubles. Nothing is
 * allocated before the first delivery.
 */

import type { Delivery } from '../../../src/core/index.ts';

const SLOTS_MIN = 16;
/** Shared by all empty tables. */
const NO_DELIVERIES: (Delivery | null)[] = [];
const NO_IDS = new Uint16Array(0);

export class PacketTable {
  #deliveries = NO_DELIVERIES;
  #ids = NO_IDS;
  #mask = -1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Delivery | null {
    const slot = id & this.#mask;
    if (this.#mask < 0 || this.#ids[slot] !== id) return null;
    return this.#deliveries[slot] as Delivery | null;
  }

  /** The identifier is not in use. */
  add(id: number, delivery: Delivery): void {
    if (this.#mask < 0) this.#resize(SLOTS_MIN);
    let slot = id & this.#mask;
    while (this.#deliveries[slot] !== null) {
      this.#resize(2 * this.#deliveries.length);
      slot = id & this.#mask;
    }
    this.#deliveries[slot] = delivery;
    this.#ids[slot] = id;
    this.#size++;
  }

  /** The identifier is in use. */
  remove(id: number): void {
    const slot = id & this.#mask;
    this.#deliveries[slot] = null;
    this.#ids[slot] = 0;
    this.#size--;
  }

  clear(): void {
    this.#deliveries = NO_DELIVERIES;
    this.#ids = NO_IDS;
    this.#mask = -1;
    this.#size = 0;
  }

  /** Two that are apart stay apart in a larger table. With 65,536 slots every identifier has its own. */
  #resize(slots: number): void {
    const deliveries: (Delivery | null)[] = new Array(slots).fill(null);
    const ids = new Uint16Array(slots);
    for (const [slot, delivery] of this.#deliveries.entries()) {
      if (delivery === null) continue;
      const id = this.#ids[slot] as number;
      deliveries[id & (slots - 1)] = delivery;
      ids[id & (slots - 1)] = id;
    }
    this.#deliveries = deliveries;
    this.#ids = ids;
    this.#mask = slots - 1;
  }
}
