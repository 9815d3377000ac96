/**
 * A group with a pending list: messages in order, consumers with credit, and four outcomes. Queues and sessions
 * are made of one each. What waits stands in memory up to a bound and beyond it only in the log, from where it is
 * read back in order; what was handed out hangs on its consumer until settled; what comes back goes to the front
 * again, in its old order.
 *
 * Invariants: an entry is in exactly one place (returned, ready, held by a consumer, or gone). Everything returned
 * is older than everything ready, which is older than everything paged out. An entry with a row is removed from
 * the log exactly when it is gone.
 */

import { strict as assert } from 'node:assert';
import type { Clock, Timer } from './clock.ts';
import type { Congestion } from './congestion.ts';
import { Consumers, type Holder } from './consumers.ts';
import type { Consumer, DeliveryOptions } from './delivery.ts';
import { Deque } from './deque.ts';
import type { Durability } from './durability.ts';
import { Entry, type EntryOwner } from './entry.ts';
import type { CoreCounters } from './index.ts';
import type { Message } from './message.ts';
import type { MessageFormat } from './message-format.ts';
import { type Acceptance, FULL, IGNORED, TAKEN, WRITTEN } from './router.ts';
import type { RowLog } from './storage.ts';

/** Why a message left without being consumed. */
export type DiscardReason = 'rejected' | 'expired' | 'overflow';

export interface GroupBounds {
  /** -1: no bound. */
  readonly messagesMax: number;
  readonly bytesMax: number;
  readonly overflow: 'drop-oldest' | 'reject';
  /** -1: as long as the message itself allows. */
  readonly messageTtlMs: number;
}

export interface GroupOptions {
  /** Null: nothing survives a restart and nothing can be paged out. */
  readonly log: RowLog | null;
  readonly bounds: GroupBounds;
  /** Bytes of waiting messages kept in memory when there is a log. */
  readonly memoryBytesMax: number;
  /** A message leaves without being consumed. Called before its row is removed; must not touch the group. */
  discarded(message: Message, options: DeliveryOptions, reason: DiscardReason): void;
}

/** What all groups of a core share. */
export interface GroupContext {
  readonly clock: Clock;
  readonly durability: Durability;
  readonly congestion: Congestion;
  readonly format: MessageFormat;
  readonly counters: CoreCounters;
  /** A log could not be read back. */
  readFailed(error: unknown): void;
}

/** Rows and bytes read back from the log at once. */
const PAGE_ROWS = 1_000;
const PAGE_BYTES = 1024 * 1024;
/** Fewer ready entries than this, and the next page is fetched. */
const PAGE_AHEAD = 200;

export class Group implements EntryOwner {
  readonly #context: GroupContext;
  readonly #options: GroupOptions;
  readonly #log: RowLog | null;
  readonly #consumers: Consumers;
  readonly #ready = new Deque<Entry>();
  /** Oldest last, so that the next one is popped. */
  #returned: Entry[] = [];
  #readyBytes = 0;
  /** The first offset that is only in the log; -1 when all that waits is in memory. */
  #pagedFrom = -1;
  #pagedCount = 0;
  /** Rows below it were there at the start: those of messages that need not survive are dropped when read. */
  readonly #recoveredBelow: number;
  #loading: Promise<void> | null = null;
  #epoch = 0;
  #sequence = 0;
  #timer: Timer | null = null;
  #closed = false;

  constructor(context: GroupContext, options: GroupOptions) {
    this.#context = context;
    this.#options = options;
    this.#log = options.log;
    this.#consumers = new Consumers(this);
    this.#recoveredBelow = options.log?.endOffset ?? 0;
    if (options.log !== null && options.log.rowCount > 0) {
      this.#pagedFrom = 0;
      this.#pagedCount = options.log.rowCount;
    }
  }

  get readyCount(): number {
    return this.#returned.length + this.#ready.length + this.#pagedCount;
  }

  get unsettledCount(): number {
    return this.#consumers.unsettledCount;
  }

  get consumerCount(): number {
    return this.#consumers.count;
  }

  /** Takes a message: to a consumer at once when nothing waits before it, else to the end. */
  accept(message: Message, options: DeliveryOptions): Acceptance {
    if (message.expiresAtMs !== 0 && message.expiresAtMs <= this.#context.clock.nowMs()) {
      this.#discard(message, options, 'expired');
      return IGNORED;
    }
    const { bounds } = this.#options;
    const persist = this.#log !== null && message.durable;
    const idle = this.#returned.length === 0 && this.#ready.length === 0 && this.#pagedFrom < 0;
    if (idle && this.#consumers.credited) {
      const holder = this.#consumers.next();
      if (holder !== null) {
        this.#context.counters.delivered++;
        if (holder.settled) {
          holder.consumer.deliver(message, options, null);
          return TAKEN;
        }
        const entry = this.#entryOf(message, options);
        if (persist) this.#append(entry);
        holder.hold(entry);
        holder.consumer.deliver(message, options, entry);
        return persist ? WRITTEN : TAKEN;
      }
    }
    if (bounds.overflow === 'reject' && this.#isFull(message)) return FULL;
    const written = this.#enqueue(message.kept(), options, persist);
    this.#trim();
    return written;
  }

  /** Begins with no credit. `settled`: nothing is to be settled, deliveries are forgotten as they leave. */
  consume(consumer: Consumer, settled: boolean, priority: number): Holder {
    return this.#consumers.add(consumer, settled, priority);
  }

  /** The oldest waiting entry handed out without a consumer; null when nothing waits. */
  async take(settled: boolean): Promise<Entry | null> {
    for (;;) {
      while (this.#returned.length === 0 && this.#ready.length === 0 && this.#pagedFrom >= 0)
        await this.#load();
      const entry = this.#shift();
      if (entry === undefined) return null;
      if (this.#dropIfExpired(entry)) continue;
      this.#context.counters.delivered++;
      if (settled) this.#forget(entry);
      else this.#consumers.taken.hold(entry);
      return entry;
    }
  }

  /** Hands out what waits to whoever has credit. */
  pump(): void {
    while (this.#consumers.credited) {
      if (this.#returned.length === 0 && this.#ready.length === 0) break;
      const holder = this.#consumers.next();
      if (holder === null) break;
      const entry = this.#shift() as Entry;
      if (this.#dropIfExpired(entry)) {
        holder.giveBackCredit();
        continue;
      }
      this.#context.counters.delivered++;
      if (holder.settled) {
        this.#forget(entry);
        holder.consumer.deliver(entry.message, entry.options, null);
      } else {
        holder.hold(entry);
        holder.consumer.deliver(entry.message, entry.options, entry);
      }
    }
    if (this.#pagedFrom >= 0 && this.#ready.length < PAGE_AHEAD && this.#consumers.credited) {
      this.#load().catch((error: unknown) => this.#context.readFailed(error));
    }
  }

  /** Called by an entry when its holder settles it. */
  settled(entry: Entry, outcome: 'accepted' | 'released' | 'rejected' | 'modified'): void {
    if (outcome === 'accepted') {
      this.#forget(entry);
      return;
    }
    if (outcome === 'rejected') {
      this.#discard(entry.message, entry.options, 'rejected');
      this.#forget(entry);
      return;
    }
    if (outcome === 'modified') entry.failedCount++;
    entry.redelivered = true;
    this.#giveBack([entry]);
    this.pump();
  }

  /** A consumer has gone: what it held goes back in order. */
  released(entries: Entry[]): void {
    for (const entry of entries) entry.redelivered = true;
    this.#giveBack(entries);
    this.pump();
  }

  /** Removes all that waits; what is handed out stays with its consumers. */
  purge(): number {
    const count = this.readyCount;
    for (let entry = this.#shift(); entry !== undefined; entry = this.#shift()) this.#forget(entry);
    if (this.#pagedFrom >= 0 && this.#log !== null) {
      for (let offset = this.#pagedFrom; offset < this.#log.endOffset; offset++) this.#log.remove(offset);
      this.#context.durability.written();
    }
    this.#pagedFrom = -1;
    this.#pagedCount = 0;
    this.#epoch++;
    return count;
  }

  /** Ends it: consumers are told, memory is given back. The log is the caller's to delete. */
  close(reason: 'deleted' | 'expired' | 'displaced'): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#epoch++;
    for (const entry of this.#consumers.closeAll(reason)) this.#letGo(entry);
    for (let entry = this.#shift(); entry !== undefined; entry = this.#shift()) this.#letGo(entry);
  }

  #entryOf(message: Message, options: DeliveryOptions): Entry {
    const entry = new Entry(this, message, options, ++this.#sequence);
    this.#context.congestion.hold(entry.bytes);
    return entry;
  }

  #append(entry: Entry): void {
    const log = this.#log;
    assert(log !== null);
    entry.row = log.append(this.#context.format.encode(entry.message, entry.options));
    this.#context.durability.written();
  }

  #enqueue(message: Message, options: DeliveryOptions, persist: boolean): Acceptance {
    const log = this.#log;
    const outOfMemory = this.#readyBytes > this.#options.memoryBytesMax || this.#context.congestion.pressing;
    if (log !== null && (this.#pagedFrom >= 0 || outOfMemory)) {
      const row = log.append(this.#context.format.encode(message, options));
      if (this.#pagedFrom < 0) this.#pagedFrom = row;
      this.#pagedCount++;
      this.#context.durability.written();
      return persist ? WRITTEN : TAKEN;
    }
    const entry = this.#entryOf(message, options);
    entry.deadlineMs = this.#deadlineOf(message, this.#context.clock.nowMs());
    if (persist) this.#append(entry);
    this.#ready.push(entry);
    this.#readyBytes += entry.bytes;
    if (entry.deadlineMs !== 0 && this.#timer === null) this.#watchDeadline();
    return persist ? WRITTEN : TAKEN;
  }

  #deadlineOf(message: Message, arrivedMs: number): number {
    const { messageTtlMs } = this.#options.bounds;
    if (messageTtlMs < 0) return message.expiresAtMs;
    const own = arrivedMs + messageTtlMs;
    return message.expiresAtMs === 0 ? own : Math.min(own, message.expiresAtMs);
  }

  #first(): Entry | undefined {
    return this.#returned.length > 0 ? this.#returned[this.#returned.length - 1] : this.#ready.first();
  }

  #shift(): Entry | undefined {
    const entry = this.#returned.length > 0 ? this.#returned.pop() : this.#ready.shift();
    if (entry !== undefined) this.#readyBytes -= entry.bytes;
    // Whoever is first now may have a deadline that nobody watches yet.
    if (this.#timer === null && (this.#first()?.deadlineMs ?? 0) !== 0) this.#watchDeadline();
    return entry;
  }

  #giveBack(entries: Entry[]): void {
    if (this.#closed) return;
    for (const entry of entries) this.#readyBytes += entry.bytes;
    const last = this.#returned[this.#returned.length - 1];
    if (entries.length === 1 && (last === undefined || last.sequence > (entries[0] as Entry).sequence)) {
      this.#returned.push(entries[0] as Entry);
    } else {
      this.#returned = this.#returned.concat(entries).sort((a, b) => b.sequence - a.sequence);
    }
    if (this.#timer === null) this.#watchDeadline();
  }

  /** It is gone: from the log and from memory. */
  #forget(entry: Entry): void {
    if (entry.row >= 0 && this.#log !== null) {
      this.#log.remove(entry.row);
      this.#context.durability.written();
    }
    this.#letGo(entry);
  }

  #letGo(entry: Entry): void {
    this.#context.congestion.release(entry.bytes);
  }

  #discard(message: Message, options: DeliveryOptions, reason: DiscardReason): void {
    if (reason === 'expired') this.#context.counters.expired++;
    else if (reason === 'overflow') this.#context.counters.dropped++;
    this.#options.discarded(message, options, reason);
  }

  #dropIfExpired(entry: Entry): boolean {
    if (entry.deadlineMs === 0 || entry.deadlineMs > this.#context.clock.nowMs()) return false;
    this.#discard(entry.message, entry.options, 'expired');
    this.#forget(entry);
    return true;
  }

  #isFull(message: Message): boolean {
    const { messagesMax, bytesMax } = this.#options.bounds;
    if (messagesMax >= 0 && this.readyCount >= messagesMax) return true;
    return bytesMax >= 0 && this.#readyBytes + message.body.length > bytesMax;
  }

  /** Drops the oldest until the bounds hold again. */
  #trim(): void {
    const { messagesMax, bytesMax } = this.#options.bounds;
    if (messagesMax < 0 && bytesMax < 0) return;
    while (
      (messagesMax >= 0 && this.readyCount > messagesMax) ||
      (bytesMax >= 0 && this.#readyBytes > bytesMax && this.#returned.length + this.#ready.length > 0)
    ) {
      const entry = this.#shift();
      if (entry === undefined) {
        // All of it is paged out: read some back, and drop from that.
        this.#load().then(
          () => this.#trim(),
          (error: unknown) => this.#context.readFailed(error),
        );
        return;
      }
      this.#discard(entry.message, entry.options, 'overflow');
      this.#forget(entry);
    }
  }

  /** One timer for the oldest entry: as in other brokers, what expires behind it waits until it is first. */
  #watchDeadline(): void {
    const first = this.#first();
    if (first === undefined || first.deadlineMs === 0 || this.#closed) return;
    const { clock } = this.#context;
    this.#timer = clock.after(Math.max(0, first.deadlineMs - clock.nowMs()), () => {
      this.#timer = null;
      for (let entry = this.#first(); entry !== undefined; entry = this.#first()) {
        if (entry.deadlineMs === 0 || entry.deadlineMs > clock.nowMs()) break;
        this.#shift();
        this.#dropIfExpired(entry);
      }
      this.#watchDeadline();
    });
  }

  #load(): Promise<void> {
    this.#loading ??= this.#loadPage().then(
      () => {
        this.#loading = null;
        this.pump();
      },
      (error: unknown) => {
        // Asked again at the next occasion, not at once: the disk may need a person.
        this.#loading = null;
        throw error;
      },
    );
    return this.#loading;
  }

  async #loadPage(): Promise<void> {
    const log = this.#log;
    assert(log !== null && this.#pagedFrom >= 0);
    const epoch = this.#epoch;
    const rows = await log.read(this.#pagedFrom, PAGE_ROWS, PAGE_BYTES);
    if (epoch !== this.#epoch) return;
    for (const row of rows) {
      this.#pagedFrom = row.offset + 1;
      this.#pagedCount--;
      const { message, options } = this.#context.format.decode(row.bytes);
      if (row.offset < this.#recoveredBelow && !message.durable) {
        log.remove(row.offset);
        continue;
      }
      const entry = this.#entryOf(message, options);
      entry.row = row.offset;
      entry.redelivered = row.offset < this.#recoveredBelow;
      entry.deadlineMs = this.#deadlineOf(message, message.timestampMs);
      this.#ready.push(entry);
      this.#readyBytes += entry.bytes;
    }
    if (rows.length === 0 || this.#pagedFrom >= log.endOffset) {
      this.#pagedFrom = -1;
      this.#pagedCount = 0;
    }
    if (this.#timer === null) this.#watchDeadline();
  }
}
