/**
 * What a channel was handed and has not settled, by delivery tag. Tags only grow, so entries stand in a ring in
 * the order of their tags and are found by arithmetic; no map and no object for each message. Settled entries
 * leave holes that go when the head passes them, or by closing up when the ring is full of them. Owned by one
 * channel, bounded by its consumers' credit.
 */

import assert from 'node:assert';
import type { Delivery } from '../../../src/core/index.ts';

/** Who gets the credit back; null for what was taken by basic.get. */
export interface CreditHolder {
  settledOne(): void;
}

const ENTRIES_MIN = 16;

export class Unsettled {
  #tags: number[];
  #deliveries: (Delivery | null)[];
  #holders: (CreditHolder | null)[];
  #mask = ENTRIES_MIN - 1;
  /** Positions grow for ever and are masked on use: the first entry, and after the last. */
  #head = 0;
  #tail = 0;
  #count = 0;
  #heldCount = 0;

  constructor() {
    this.#tags = new Array(ENTRIES_MIN).fill(0);
    this.#deliveries = new Array(ENTRIES_MIN).fill(null);
    this.#holders = new Array(ENTRIES_MIN).fill(null);
  }

  /** Unsettled deliveries, without holes. */
  get count(): number {
    return this.#count;
  }

  /** Those that a consumer was handed: what basic.get took needs no credit. */
  get heldCount(): number {
    return this.#heldCount;
  }

  /** Places, taken or not: what it costs in memory. */
  get capacity(): number {
    return this.#mask + 1;
  }

  /** `tag` must be greater than all before. */
  add(tag: number, delivery: Delivery, holder: CreditHolder | null): void {
    if (this.#tail - this.#head > this.#mask) this.#makeRoom();
    const slot = this.#tail++ & this.#mask;
    this.#tags[slot] = tag;
    this.#deliveries[slot] = delivery;
    this.#holders[slot] = holder;
    this.#count++;
    if (holder !== null) this.#heldCount++;
  }

  /** Removes one entry; null where there is none with this tag. */
  take(tag: number): Delivery | null {
    const position = this.#find(tag);
    return position < 0 ? null : this.#remove(position);
  }

  /** Whether the tag is unsettled. */
  has(tag: number): boolean {
    const position = this.#find(tag);
    return position >= 0 && this.#deliveries[position & this.#mask] !== null;
  }

  /** Removes the entry with the smallest tag that is not above `tag`; null when there is none left. */
  takeFirst(tag: number): Delivery | null {
    while (this.#head < this.#tail) {
      const slot = this.#head & this.#mask;
      if ((this.#tags[slot] as number) > tag) return null;
      if (this.#deliveries[slot] !== null) return this.#remove(this.#head);
      this.#head++;
    }
    return null;
  }

  #remove(position: number): Delivery | null {
    const slot = position & this.#mask;
    const delivery = this.#deliveries[slot] as Delivery | null;
    if (delivery === null) return null;
    const holder = this.#holders[slot] as CreditHolder | null;
    this.#deliveries[slot] = null;
    this.#holders[slot] = null;
    this.#count--;
    if (position === this.#head) this.#head++;
    if (this.#count === 0) this.#head = this.#tail;
    if (holder !== null) {
      this.#heldCount--;
      holder.settledOne();
    }
    return delivery;
  }

  #find(tag: number): number {
    if (this.#head === this.#tail) return -1;
    // Without holes in the numbering, and that is nearly always, the difference of tags is that of places.
    const guess = this.#head + (tag - (this.#tags[this.#head & this.#mask] as number));
    if (guess >= this.#head && guess < this.#tail && this.#tags[guess & this.#mask] === tag) return guess;
    let low = this.#head;
    let high = this.#tail - 1;
    while (low <= high) {
      const middle = Math.floor((low + high) / 2);
      const found = this.#tags[middle & this.#mask] as number;
      if (found === tag) return middle;
      if (found < tag) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** Closes up holes where they are at least half, else doubles. */
  #makeRoom(): void {
    const size = this.#mask + 1;
    const capacity = this.#count * 2 <= size ? size : size * 2;
    const tags: number[] = new Array(capacity).fill(0);
    const deliveries: (Delivery | null)[] = new Array(capacity).fill(null);
    const holders: (CreditHolder | null)[] = new Array(capacity).fill(null);
    let kept = 0;
    for (let position = this.#head; position < this.#tail; position++) {
      const slot = position & this.#mask;
      if (this.#deliveries[slot] === null) continue;
      tags[kept] = this.#tags[slot] as number;
      deliveries[kept] = this.#deliveries[slot] as Delivery;
      holders[kept] = this.#holders[slot] as CreditHolder | null;
      kept++;
    }
    assert(kept === this.#count, 'the ring counts what it holds');
    this.#tags = tags;
    this.#deliveries = deliveries;
    this.#holders = holders;
    this.#mask = capacity - 1;
    this.#head = 0;
    this.#tail = kept;
  }
}
