/**
 * A group with a pending list: messages in order, consumers with credit, and four outcomes. Queues and sessions
 * are made of one each. What waits, in memory and beyond it in the log, is in `waiting.ts`; what was handed out
 * hangs on its consumer (`consumers.ts`) until settled and then is gone, or waits again at its old place.
 *
 * Invariants: an entry is in exactly one place (waiting, held by a consumer, or gone). An entry's row, its own or one on
 * loan, is removed exactly when the entry is gone.
 */

import { strict as assert } from 'node:assert';
import { Consumers, type Holder } from './consumers.ts';
import { deadlineOf, FrontTimer } from './deadlines.ts';
import type { Consumer, DeliveryOptions, Outcome } from './delivery.ts';
import { Entry, type EntryOwner, type Loan } from './entry.ts';
import type { DiscardReason, GroupContext, GroupOptions } from './group-context.ts';
import type { Move, Moved } from './log-moves.ts';
import type { Message } from './message.ts';
import type { WaitingMessage, WaitingPlace } from './queueing.ts';
import { type Acceptance, FULL, IGNORED, TAKEN, WRITTEN } from './router.ts';
import type { RowLog } from './storage.ts';
import { Visibility } from './visibility.ts';
import { Waiting } from './waiting.ts';

/** Rows read back from the log at once, and at the start, where many groups only need their front. */
const PAGE_ROWS = 1_000;
const FIRST_PAGE_ROWS = 16;
/** Fewer ready entries than this, and the next page is fetched. */
const PAGE_AHEAD = 200;

export class Group implements EntryOwner {
  readonly #context: GroupContext;
  readonly #options: GroupOptions;
  readonly #log: RowLog | null;
  readonly #consumers: Consumers;
  readonly #waiting: Waiting;
  #visibility: Visibility | null = null;
  #sequence = 0;
  readonly #timer: FrontTimer;
  #closed = false;

  constructor(context: GroupContext, options: GroupOptions) {
    this.#context = context;
    this.#options = options;
    this.#log = options.log;
    this.#consumers = new Consumers(this, options.members !== undefined);
    this.#waiting = new Waiting(
      context,
      options.log,
      options.memoryBytesMax,
      () => this.#keepsAll || options.bounds.keepsAll !== undefined,
      (message, wishes, deadlineMs, row) => {
        const entry = this.#entryOf(message, wishes, deadlineMs);
        entry.row = row;
        entry.failedCount = options.members?.attempts?.countOf(row) ?? 0;
        return entry;
      },
      () => this.#loaded(),
    );
    this.#timer = new FrontTimer(context.clock, () => this.#dropOverdue());
    if (!this.#waiting.isPaged) return;
    this.#watchDeadline(FIRST_PAGE_ROWS);
    // Who refuses has to know how much there is before it takes more; who drops its oldest learns it by then.
    if (options.bounds.overflow === 'reject') this.#weigh();
  }

  get readyCount(): number {
    return this.#waiting.count;
  }

  get waits(): Pick<Waiting, 'bodyBytes' | 'first' | 'hasUnkept'> {
    return this.#waiting;
  }

  get #keepsAll(): boolean {
    return this.#options.members !== undefined || this.#options.bounds.keepsAll === true;
  }

  /** Some of what waits stands only in the log. */
  get isPaged(): boolean {
    return this.#waiting.isPaged;
  }

  get unsettledCount(): number {
    return this.#consumers.unsettledCount;
  }

  get consumerCount(): number {
    return this.#consumers.count;
  }

  /**
   * Takes a message: to a consumer at once when nothing waits before it, else to the end. `sharedOrder`, `loan`: of a
   * message that comes by a shared subscription.
   */
  accept(message: Message, options: DeliveryOptions, sharedOrder = 0, loan: Loan | null = null): Acceptance {
    const nowMs = this.#context.clock.nowMs();
    if (message.expiresAtMs !== 0 && message.expiresAtMs <= nowMs) {
      this.#discard(message, options, 'expired');
      return IGNORED;
    }
    const { bounds } = this.#options;
    const persist = this.#log !== null && (message.durable || this.#keepsAll);
    if (this.#consumers.credited && this.#waiting.isEmpty) {
      const holder = this.#consumers.next(null);
      if (holder !== null) {
        this.#context.counters.delivered++;
        if (holder.settled) {
          holder.consumer.deliver(message, options, null);
          return TAKEN;
        }
        const deadlineMs = deadlineOf(message, bounds, nowMs);
        const row = persist ? this.#append(message, options, deadlineMs) : -1;
        const entry = this.#entryOf(message, options, deadlineMs);
        entry.row = row;
        entry.sharedOrder = sharedOrder;
        entry.loan = loan;
        this.#handOut(holder, entry);
        return persist ? WRITTEN : TAKEN;
      }
    }
    if (bounds.overflow === 'reject' && this.#isFull(message)) return FULL;
    this.#enqueue(message, options, persist, deadlineOf(message, bounds, nowMs), sharedOrder, loan);
    this.trim();
    return persist ? WRITTEN : TAKEN;
  }

  /**
   * Begins with no credit. `settled`: nothing is to be settled, deliveries are forgotten as they leave. `timeoutMs`:
   * what is not settled by then goes to another consumer; 0 is never.
   */
  consume(consumer: Consumer, settled: boolean, priority: number, timeoutMs = 0): Holder {
    return this.#consumers.add(consumer, settled, priority, settled ? 0 : timeoutMs);
  }

  /** Some consumer holds what has this offset. Only in a group with members. */
  isHeldAt(offset: number): boolean {
    return this.#consumers.byOffset?.has(offset) === true;
  }

  /** Settles what some consumer holds at this offset. Only in a group with members. Returns whether there was such. */
  settleAt(offset: number, outcome: Outcome, note: string): boolean {
    const entry = this.#consumers.byOffset?.get(offset);
    const holder = entry?.holder;
    if (entry === undefined || holder === null || holder === undefined) return false;
    holder.drop(entry);
    this.#settle(entry.renewed(), outcome, holder, note);
    holder.consumer.left?.(entry);
    return true;
  }

  /** The oldest waiting entry handed out without a consumer; null when nothing waits. */
  async take(settled: boolean): Promise<Entry | null> {
    for (;;) {
      while (this.#waiting.atHand === 0 && this.#waiting.isPaged) await this.#waiting.load(PAGE_ROWS);
      const entry = this.#shift();
      if (entry === undefined) return null;
      if (this.#dropIfExpired(entry)) continue;
      this.#context.counters.delivered++;
      if (settled) this.#forget(entry);
      else this.#consumers.taken.hold(entry);
      return entry;
    }
  }

  browse(after: WaitingPlace | null, countMax: number, bytesMax: number): Promise<WaitingMessage[]> {
    return this.#waiting.browse(after, countMax, bytesMax, this.#sequence);
  }

  /** What waits at this offset, handed out without a consumer; null where nothing does. */
  async takeAt(offset: number): Promise<Entry | null> {
    const entry = await this.#waiting.takeAt(offset);
    if (entry !== null) this.#consumers.taken.hold(entry);
    return entry;
  }

  /** Hands out what waits to whoever has credit. */
  pump(): void {
    while (this.#consumers.credited && this.#waiting.atHand > 0) {
      const holder = this.#consumers.next(this.#waiting.first()?.avoid ?? null);
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
      } else this.#handOut(holder, entry);
    }
    if (this.#waiting.isPaged && this.#waiting.atHand < PAGE_AHEAD && this.#consumers.credited)
      this.#waiting.loadSoon(PAGE_ROWS);
  }

  /** Called by an entry when its holder settles it. */
  settled(entry: Entry, outcome: Outcome, holder: Holder): void {
    this.#settle(entry, outcome, holder, '');
  }

  /** A consumer has gone: what it held goes back in order. */
  released(entries: Entry[]): void {
    for (const entry of entries) this.#giveBack(entry);
    this.#watchDeadline(PAGE_ROWS);
    this.pump();
  }

  /** Removes all that waits; what is handed out stays with its consumers. */
  purge(): number {
    const count = this.readyCount;
    for (let entry = this.#waiting.shift(); entry !== undefined; entry = this.#waiting.shift())
      this.#forget(entry);
    this.#waiting.dropPaged(this.unsettledCount === 0);
    return count;
  }

  /** Ends it like `close`, but nothing is lost: what it held, oldest first, is for another group to `adopt`. */
  handOver(): Entry[] {
    assert(this.#log === null, 'what stands in a log cannot be handed over');
    this.#closed = true;
    this.#timer.cancel();
    const entries = this.#consumers.closeAll('displaced');
    for (const entry of entries) entry.redelivered = true;
    for (let entry = this.#waiting.shift(); entry !== undefined; entry = this.#waiting.shift())
      entries.push(entry);
    for (const entry of entries) this.#letGo(entry);
    return entries.sort((one, other) => one.sequence - other.sequence);
  }

  /** Takes what another group handed over, as it was there. */
  adopt(entries: readonly Entry[]): void {
    for (const { message, options, deadlineMs, failedCount, redelivered, sharedOrder, loan } of entries) {
      const entry = this.#entryOf(message.kept(), options, deadlineMs);
      entry.failedCount = failedCount;
      entry.redelivered = redelivered;
      entry.sharedOrder = sharedOrder;
      if (this.#log !== null && message.durable) {
        entry.row = this.#append(message, options, deadlineMs);
        loan?.log.remove(loan.row);
      } else entry.loan = loan;
      this.#waiting.push(entry);
    }
    this.#watchDeadline(PAGE_ROWS);
    this.trim();
  }

  /** Writes down a message that passes by, for whoever takes it; null where nothing of it is to survive. */
  lend(message: Message, options: DeliveryOptions): Loan | null {
    if (this.#log === null || !message.durable) return null;
    assert(this.#waiting.isEmpty, 'a row among those that are paged out would be read back');
    return { log: this.#log, row: this.#append(message, options, message.expiresAtMs) };
  }

  /** The order of a message that passes by this group: later than all that waits, earlier than all that will come. */
  drawOrder(): number {
    return ++this.#sequence;
  }

  /** Removes and returns what `wanted` picks of all that is in memory, handed out or waiting, oldest first. */
  takeOut(wanted: (entry: Entry) => boolean): Entry[] {
    const taken = this.#consumers.takeOut(wanted);
    for (const entry of taken) entry.redelivered = true;
    for (const entry of this.#waiting.takeOut(wanted)) taken.push(entry);
    for (const entry of taken) this.#forget(entry);
    return taken.sort((one, other) => one.sequence - other.sequence);
  }

  /** As `takeOut`, of what stands only in the log. */
  moveOut(move: Move): Promise<boolean> {
    return this.#waiting.moveOut(move);
  }

  /** Puts in what another group took out, before all that came later by its `sharedOrder`. */
  putFirst(moved: readonly Moved[]): void {
    for (const { message, options, deadlineMs, sharedOrder, sequence } of moved) {
      // An order that did not survive a restart is older than any that came since.
      const order = sharedOrder > 0 ? sharedOrder : sequence - Number.MAX_SAFE_INTEGER;
      const entry = new Entry(this, message.kept(), options, order, deadlineMs);
      this.#context.congestion.hold(entry.bytes);
      if (this.#log !== null && message.durable) {
        entry.row = this.#append(message, options, deadlineMs);
        this.#waiting.keepApart(entry.row);
      }
      this.#giveBack(entry);
    }
    this.#watchDeadline(PAGE_ROWS);
    this.trim();
  }

  /** Ends it: consumers are told, memory is given back. The log is the caller's to delete. */
  close(reason: 'deleted' | 'expired' | 'displaced'): void {
    this.#closed = true;
    this.#timer.cancel();
    this.#visibility?.close();
    this.#waiting.close();
    for (const entry of this.#consumers.closeAll(reason)) this.#letGo(entry);
    for (let entry = this.#waiting.shift(); entry !== undefined; entry = this.#waiting.shift())
      this.#letGo(entry);
  }

  #handOut(holder: Holder, entry: Entry): void {
    holder.hold(entry);
    if (holder.timeoutMs > 0) {
      this.#visibility ??= new Visibility(this.#context.clock, this.#consumers, (late) =>
        this.#takeBack(late),
      );
      this.#visibility.watch(holder, entry);
    }
    holder.consumer.deliver(entry.message, entry.options, entry);
  }

  #settle(entry: Entry, outcome: Outcome, holder: Holder, note: string): void {
    if (outcome === 'accepted') {
      this.#forget(entry);
      return;
    }
    if (outcome === 'rejected') {
      this.#discard(entry.message, entry.options, 'rejected', note);
      this.#forget(entry);
      return;
    }
    if (outcome === 'modified' && this.#countFailure(entry, holder, note)) return;
    this.#giveBack(entry);
    this.#watchDeadline(PAGE_ROWS);
    this.pump();
  }

  /** Not settled in time. */
  #takeBack(late: readonly (readonly [Holder, Entry])[]): void {
    for (const [holder, entry] of late) {
      const renewed = entry.renewed();
      if (!this.#countFailure(renewed, holder, 'not settled in time')) this.#giveBack(renewed);
    }
    this.#watchDeadline(PAGE_ROWS);
    this.pump();
    for (const [holder, entry] of late) holder.consumer.left?.(entry);
  }

  /** Returns whether that was once too often, and it is gone. */
  #countFailure(entry: Entry, holder: Holder, note: string): boolean {
    entry.failedCount++;
    const { members } = this.#options;
    if (members === undefined) return false;
    if (entry.row >= 0) members.attempts?.failed(entry.row, entry.failedCount);
    entry.avoid = holder;
    if (members.attemptsMax === 0 || entry.failedCount < members.attemptsMax) return false;
    this.#discard(entry.message, entry.options, 'failed', note);
    this.#forget(entry);
    return true;
  }

  #entryOf(message: Message, options: DeliveryOptions, deadlineMs: number): Entry {
    const entry = new Entry(this, message, options, ++this.#sequence, deadlineMs);
    this.#context.congestion.hold(entry.bytes);
    return entry;
  }

  #append(message: Message, options: DeliveryOptions, deadlineMs: number): number {
    assert(this.#log !== null);
    const row = this.#log.append(this.#context.format.encode(message, options, deadlineMs));
    this.#context.durability.written();
    return row;
  }

  #enqueue(
    message: Message,
    options: DeliveryOptions,
    persist: boolean,
    deadlineMs: number,
    sharedOrder: number,
    loan: Loan | null,
  ): void {
    // What has a deadline leaves on time while it is in memory, and from the log when it is read.
    const isUnattended = this.#options.pagesUnattended === true && this.consumerCount === 0;
    if (this.#waiting.mustPage(isUnattended && deadlineMs === 0)) {
      this.#waiting.page(message, options, deadlineMs);
      if (!this.#timer.isSet) this.#watchDeadline(PAGE_ROWS);
      // Where a read failed, nobody else may ask for it again.
      this.pump();
      return;
    }
    const row = persist ? this.#append(message, options, deadlineMs) : -1;
    const entry = this.#entryOf(message.kept(), options, deadlineMs);
    entry.row = row;
    entry.sharedOrder = sharedOrder;
    entry.loan = loan;
    this.#waiting.push(entry);
    if (deadlineMs !== 0 && (!this.#timer.isSet || this.#waiting.atHand === 1))
      this.#watchDeadline(PAGE_ROWS);
  }

  #shift(): Entry | undefined {
    const entry = this.#waiting.shift();
    // Whoever is first now may have a deadline that nobody watches yet.
    if (this.#waiting.isPaged || (this.#waiting.first()?.deadlineMs ?? 0) !== 0)
      this.#watchDeadline(PAGE_ROWS);
    return entry;
  }

  #giveBack(entry: Entry): void {
    if (this.#closed) return;
    entry.redelivered = true;
    this.#waiting.giveBack(entry);
  }

  /** It is gone: from the log and from memory. */
  #forget(entry: Entry): void {
    if (entry.row >= 0 && this.#log !== null) {
      this.#log.remove(entry.row);
      if (entry.failedCount > 0) this.#options.members?.attempts?.forget(entry.row);
      this.#context.durability.written();
    } else if (entry.loan !== null) {
      entry.loan.log.remove(entry.loan.row);
      this.#context.durability.written();
    }
    this.#letGo(entry);
  }

  #letGo(entry: Entry): void {
    this.#context.congestion.release(entry.bytes);
  }

  #discard(message: Message, options: DeliveryOptions, reason: DiscardReason, note = ''): void {
    if (reason === 'expired') this.#context.counters.expired++;
    else if (reason === 'overflow') this.#context.counters.dropped++;
    this.#options.discarded(message, options, reason, note);
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
    return bytesMax >= 0 && this.#waiting.bodyBytes + message.body.length > bytesMax;
  }

  /** Drops the oldest until the bounds hold, unless it refuses instead: that was acknowledged. Called for new bounds too. */
  trim(): void {
    const { messagesMax, bytesMax, overflow } = this.#options.bounds;
    this.#weigh();
    if (overflow === 'reject' || (messagesMax < 0 && bytesMax < 0)) return;
    const waiting = this.#waiting;
    while (
      (messagesMax >= 0 && waiting.count > messagesMax) ||
      (bytesMax >= 0 && waiting.bodyBytes > bytesMax)
    ) {
      const entry = this.#shift();
      if (entry === undefined) {
        // All of it is paged out: read some back, and drop from that.
        this.#waiting.loadSoon(PAGE_ROWS);
        return;
      }
      if (this.#dropIfExpired(entry)) continue;
      this.#discard(entry.message, entry.options, 'overflow');
      this.#forget(entry);
    }
  }

  /** What was there at the start counts towards the bound of bytes too. */
  #weigh(): void {
    if (this.#options.bounds.bytesMax < 0 || !this.#waiting.isUnweighed) return;
    this.#waiting.weigh().then(
      () => this.trim(),
      (error: unknown) => this.#context.readFailed(error),
    );
  }

  #watchDeadline(rowsMax: number): void {
    if (this.#closed) return;
    const first = this.#waiting.first();
    if (first === undefined) {
      if (this.#waiting.isPaged && this.#options.expiresUnattended) this.#waiting.loadSoon(rowsMax);
      return;
    }
    if (first.deadlineMs !== 0) this.#timer.set(first.deadlineMs);
  }

  #dropOverdue(): void {
    for (let entry = this.#waiting.first(); entry !== undefined; entry = this.#waiting.first()) {
      if (entry.deadlineMs === 0 || entry.deadlineMs > this.#context.clock.nowMs()) break;
      this.#waiting.shift();
      this.#dropIfExpired(entry);
    }
    this.#watchDeadline(PAGE_ROWS);
  }

  /** A page was read back. */
  #loaded(): void {
    this.trim();
    this.#watchDeadline(PAGE_ROWS);
    this.pump();
    if (this.#waiting.isEmpty) this.#options.caughtUp?.();
  }
}
