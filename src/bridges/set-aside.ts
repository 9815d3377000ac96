/**
 * What a pump keeps of addresses that the other side does not take now, such as a topic that is not there, while it sends
 * to others. Belongs to one `OutPump`. Each such address has a lane: its messages in the order in which they came, and
 * everything newer of that address behind them. After a pause of its own the oldest of a lane is tried, with those of other
 * lanes and nothing else, so that one which brings a channel down takes no others with it; when that is taken, the lane is
 * open and goes before all else until it is empty, and then is none any more.
 *
 * Invariants: bounded in messages and bytes, but for one batch that comes back; a lane of which one message is being
 * tried stays, though it is empty.
 */

import type { Delivery } from '../core/index.ts';
import type { Backoff } from './backoff.ts';

export const ASIDE_MESSAGES_MAX = 10_000;
/** Of bodies. */
export const ASIDE_BYTES_MAX = 8 * 1024 * 1024;

interface Lane {
  readonly address: string;
  readonly backoff: Backoff;
  waiting: Delivery[];
  retryAtMs: number;
  isOpen: boolean;
}

const NO_LANES: readonly Lane[] = [];

export class SetAside {
  readonly #pauses: Backoff;
  readonly #lanes = new Map<string, Lane>();
  readonly #open = new Set<Lane>();
  /** Lanes to be tried with the batch that is being made. */
  #due: Lane[] = [];
  /** Lanes are tried together: not before this. */
  #roundAtMs = 0;
  #count = 0;
  #bytes = 0;

  /** `pauses`: lanes have such pauses too, each its own. */
  constructor(pauses: Backoff) {
    this.#pauses = pauses;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#lanes.size === 0;
  }

  get isOpen(): boolean {
    return this.#open.size > 0;
  }

  get oldestMs(): number | null {
    let oldestMs: number | null = null;
    for (const { waiting } of this.#lanes.values()) {
      const timestampMs = waiting[0]?.message.timestampMs;
      if (timestampMs !== undefined && (oldestMs === null || timestampMs < oldestMs)) oldestMs = timestampMs;
    }
    return oldestMs;
  }

  /** What goes to this address has to wait behind what waits already. */
  has(address: string): boolean {
    return this.#lanes.has(address);
  }

  /** To the end of its lane, which is there. Returns false where there is no room. */
  add(delivery: Delivery): boolean {
    const { address, body } = delivery.message;
    if (this.#count >= ASIDE_MESSAGES_MAX || this.#bytes + body.length > ASIDE_BYTES_MAX) return false;
    this.#lanes.get(address)?.waiting.push(delivery);
    this.#count++;
    this.#bytes += body.length;
    return true;
  }

  /** Not taken: in this order to the front of their lanes, which wait. */
  refused(deliveries: readonly Delivery[], nowMs: number): void {
    const byAddress = new Map<string, Delivery[]>();
    for (const delivery of deliveries) {
      const { address, body } = delivery.message;
      const same = byAddress.get(address);
      if (same === undefined) byAddress.set(address, [delivery]);
      else same.push(delivery);
      this.#count++;
      this.#bytes += body.length;
    }
    for (const [address, back] of byAddress) {
      let lane = this.#lanes.get(address);
      if (lane === undefined) {
        lane = { address, backoff: this.#pauses.another(), waiting: [], retryAtMs: 0, isOpen: false };
        this.#lanes.set(address, lane);
      }
      lane.waiting = [...back, ...lane.waiting];
      lane.retryAtMs = nowMs + lane.backoff.next();
      lane.isOpen = false;
      this.#open.delete(lane);
    }
  }

  /** One to this address was taken, now or for good. */
  taken(address: string): void {
    const lane = this.#lanes.get(address);
    if (lane === undefined || lane.isOpen) return;
    if (lane.waiting.length === 0) this.#lanes.delete(address);
    else {
      lane.isOpen = true;
      this.#open.add(lane);
    }
  }

  /** One that `next` gave need not be sent. */
  left(address: string): void {
    const lane = this.#lanes.get(address);
    if (lane?.waiting.length === 0) this.#lanes.delete(address);
  }

  /** Begins a batch. Returns whether it is for trying lanes, at most `countMax` of them, and for nothing else. */
  begin(nowMs: number, countMax: number): boolean {
    this.#due = [];
    if (nowMs < this.#roundAtMs) return false;
    for (const lane of this.#lanes.values()) {
      if (lane.isOpen || lane.retryAtMs > nowMs || lane.waiting.length === 0) continue;
      // There are more: the next batch takes them.
      if (this.#due.length === countMax) return true;
      this.#due.push(lane);
    }
    if (this.#due.length > 0) this.#roundAtMs = nowMs + this.#pauses.minMs;
    return this.#due.length > 0;
  }

  /** The next of an open lane, or of those to be tried, if it fits by its bytes. Null: nothing more with this batch. */
  next(isTrial: boolean, fits: (bytes: number) => boolean): Delivery | null {
    for (const lane of isTrial ? NO_LANES : this.#open) {
      const delivery = this.#shift(lane, fits);
      if (lane.waiting.length === 0) {
        this.#open.delete(lane);
        this.#lanes.delete(lane.address);
      }
      return delivery;
    }
    const [lane] = isTrial ? this.#due : NO_LANES;
    if (lane === undefined) return null;
    const delivery = this.#shift(lane, fits);
    if (delivery !== null) this.#due.shift();
    return delivery;
  }

  /** Milliseconds until some lane is to be tried; null where none waits. */
  waitMs(nowMs: number): number | null {
    let soonestMs = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes.values())
      if (!lane.isOpen && lane.waiting.length > 0) soonestMs = Math.min(soonestMs, lane.retryAtMs);
    if (soonestMs === Number.POSITIVE_INFINITY) return null;
    return Math.max(0, soonestMs - nowMs, this.#roundAtMs - nowMs);
  }

  /** The other side takes something again after it had taken nothing at all. */
  retryNow(nowMs: number): void {
    for (const lane of this.#lanes.values()) lane.retryAtMs = nowMs;
    this.#roundAtMs = nowMs;
  }

  clear(): void {
    this.#lanes.clear();
    this.#open.clear();
    this.#due = [];
    this.#count = 0;
    this.#bytes = 0;
  }

  #shift(lane: Lane, fits: (bytes: number) => boolean): Delivery | null {
    const [first] = lane.waiting;
    if (first === undefined || !fits(first.message.body.length)) return null;
    lane.waiting.shift();
    this.#count--;
    this.#bytes -= first.message.body.length;
    return first;
  }
}
