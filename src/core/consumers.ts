/**
 * The consumers of one group: who has credit, whose turn it is, and what each holds. Consumers of the highest
 * priority that has credit take turns; among equals it goes round.
 */

import { strict as assert } from 'node:assert';
import type { Consumer, Subscription } from './delivery.ts';
import type { Entry, EntryOwner } from './entry.ts';

/** One consumer's hold on a group. */
export class Holder implements Subscription {
  readonly consumer: Consumer;
  readonly settled: boolean;
  readonly priority: number;
  /** Milliseconds that it has to settle a delivery; 0 is for ever. */
  readonly timeoutMs: number;
  credit = 0;
  readonly #owner: EntryOwner;
  readonly #consumers: Consumers;
  #oldest: Entry | null = null;
  #newest: Entry | null = null;
  #closed = false;

  constructor(
    owner: EntryOwner,
    consumers: Consumers,
    consumer: Consumer,
    settled: boolean,
    priority: number,
    timeoutMs: number,
  ) {
    this.#owner = owner;
    this.#consumers = consumers;
    this.consumer = consumer;
    this.settled = settled;
    this.priority = priority;
    this.timeoutMs = timeoutMs;
  }

  /** What it has held longest. */
  get oldest(): Entry | null {
    return this.#oldest;
  }

  grant(credit: number): void {
    if (this.#closed) return;
    this.credit += credit;
    this.#consumers.credited = true;
    this.#owner.pump();
  }

  /** What it was given credit for did not need it. */
  giveBackCredit(): void {
    this.credit++;
    this.#consumers.credited = true;
  }

  withdraw(): number {
    const left = this.credit;
    this.credit = 0;
    return left;
  }

  close(keepUnsettled = false): void {
    if (!this.#closed) {
      this.#closed = true;
      this.credit = 0;
      this.#consumers.remove(this);
    }
    if (keepUnsettled) {
      if (this.#oldest !== null) this.#consumers.linger(this);
      return;
    }
    const entries = this.dropAll();
    if (entries.length > 0) this.#owner.released(entries);
  }

  hold(entry: Entry): void {
    assert(entry.holder === null);
    entry.holder = this;
    entry.previous = this.#newest;
    entry.next = null;
    if (this.#newest === null) this.#oldest = entry;
    else this.#newest.next = entry;
    this.#newest = entry;
    this.#consumers.unsettledCount++;
    this.#consumers.byOffset?.set(entry.offset, entry);
  }

  drop(entry: Entry): void {
    assert(entry.holder === this);
    if (entry.previous === null) this.#oldest = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next === null) this.#newest = entry.previous;
    else entry.next.previous = entry.previous;
    entry.holder = null;
    entry.previous = null;
    entry.next = null;
    this.#consumers.unsettledCount--;
    this.#consumers.byOffset?.delete(entry.offset);
    if (this.#closed && this.#oldest === null) this.#consumers.leave(this);
  }

  /** Lets go of everything, oldest first. */
  dropAll(): Entry[] {
    const entries: Entry[] = [];
    for (let entry = this.#oldest; entry !== null; entry = this.#oldest) {
      this.drop(entry);
      entries.push(entry);
    }
    return entries;
  }
}

const NO_HOLDERS: readonly Holder[] = [];

export class Consumers {
  unsettledCount = 0;
  /** What is handed out, where it is settled by its offset; null elsewhere. */
  readonly byOffset: Map<number, Entry> | null;
  #holders: Holder[] = [];
  /** Closed, but with deliveries that may still be settled. */
  #lingering: Set<Holder> | null = null;
  #turn = 0;
  /** Some consumer may have credit: false saves looking at each. */
  credited = false;
  readonly #owner: EntryOwner;
  #prioritised = false;
  #taken: Holder | null = null;

  /** `owner`: the group that takes back what is let go. `findsByOffset`: deliveries are settled by offset too. */
  constructor(owner: EntryOwner, findsByOffset: boolean) {
    this.#owner = owner;
    this.byOffset = findsByOffset ? new Map() : null;
  }

  get count(): number {
    return this.#holders.length;
  }

  /** Holds what was taken one by one, without a consumer. */
  get taken(): Holder {
    this.#taken ??= new Holder(this.#owner, this, NOBODY, false, 0, 0);
    return this.#taken;
  }

  /** Everybody who may hold something, of those that have a time limit. */
  *timed(): Iterable<Holder> {
    for (const holder of this.#holders) if (holder.timeoutMs > 0) yield holder;
    for (const holder of this.#lingering ?? NO_HOLDERS) if (holder.timeoutMs > 0) yield holder;
  }

  add(consumer: Consumer, settled: boolean, priority: number, timeoutMs: number): Holder {
    const holder = new Holder(this.#owner, this, consumer, settled, priority, timeoutMs);
    this.#holders.push(holder);
    this.#prioritised = this.#holders.some((other) => other.priority !== priority);
    return holder;
  }

  remove(holder: Holder): void {
    const at = this.#holders.indexOf(holder);
    if (at < 0) return;
    this.#holders.splice(at, 1);
    if (this.#turn > at) this.#turn--;
  }

  linger(holder: Holder): void {
    this.#lingering ??= new Set();
    this.#lingering.add(holder);
  }

  leave(holder: Holder): void {
    this.#lingering?.delete(holder);
  }

  /** Takes one credit from the consumer whose turn it is, from `avoid` only where it must; null when nobody has any. */
  next(avoid: Holder | null): Holder | null {
    const holders = this.#holders;
    const count = holders.length;
    let found = -1;
    let avoided = -1;
    for (let i = 0; i < count; i++) {
      const at = (this.#turn + i) % count;
      const holder = holders[at] as Holder;
      if (holder.credit <= 0) continue;
      if (holder === avoid) {
        avoided = at;
        continue;
      }
      if (found >= 0 && holder.priority <= (holders[found] as Holder).priority) continue;
      found = at;
      if (!this.#prioritised) break;
    }
    if (found < 0) found = avoided;
    if (found < 0) {
      this.credited = false;
      return null;
    }
    const holder = holders[found] as Holder;
    holder.credit--;
    if (holder.credit <= 0 && count === 1) this.credited = false;
    this.#turn = found + 1 === count ? 0 : found + 1;
    return holder;
  }

  /** Lets go of what `wanted` picks of all that was handed out. Nobody is told. */
  takeOut(wanted: (entry: Entry) => boolean): Entry[] {
    const taken: Entry[] = [];
    for (const holder of [...this.#holders, ...(this.#lingering ?? NO_HOLDERS)]) {
      let next: Entry | null = null;
      for (let entry = holder.oldest; entry !== null; entry = next) {
        next = entry.next;
        if (!wanted(entry)) continue;
        holder.drop(entry);
        taken.push(entry);
      }
    }
    return taken;
  }

  /** Tells all consumers and lets go of everything that was handed out. */
  closeAll(reason: 'deleted' | 'expired' | 'displaced'): Entry[] {
    // One by one: a spread of a hundred thousand arguments does not fit the stack.
    const entries: Entry[] = [];
    const dropAll = (holder: Holder) => {
      for (const entry of holder.dropAll()) entries.push(entry);
    };
    if (this.#taken !== null) dropAll(this.#taken);
    const holders = this.#holders;
    this.#holders = [];
    this.credited = false;
    for (const holder of [...(this.#lingering ?? NO_HOLDERS)]) dropAll(holder);
    for (const holder of holders) {
      dropAll(holder);
      holder.credit = 0;
      holder.consumer.cancelled(reason);
    }
    return entries;
  }
}

const NOBODY: Consumer = { deliver() {}, cancelled() {} };
