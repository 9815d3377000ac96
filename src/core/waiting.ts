/**
 * What waits in one group, in order: what came back, then what is ready in memory, then what stands only in the
 * log. Messages stay in memory up to a bound; beyond it they are paged out and read back, a page at a time, when
 * the front has room. Belongs to one group, which decides when to read and what to do with what comes.
 *
 * Invariants: everything returned is older than everything ready, which is older than everything paged out. From
 * `#pagedFrom` on every row of the log is paged out, except those in `#apart`, and before it none is; where it is -1, none
 * is at all.
 */

import { strict as assert } from 'node:assert';
import type { DeliveryOptions } from './delivery.ts';
import { Deque } from './deque.ts';
import type { Entry } from './entry.ts';
import { EntryHeap } from './entry-heap.ts';
import type { GroupContext } from './group-context.ts';
import { type Move, moveRows } from './log-moves.ts';
import type { Message } from './message.ts';
import { bodyBytesOf, type StoredMessage } from './message-format.ts';
import type { WaitingMessage, WaitingPlace } from './queueing.ts';
import type { RowLog } from './storage.ts';

/** Bytes read back from the log at once. */
const PAGE_BYTES = 1024 * 1024;
/** Rows weighed at once: about a millisecond of the event loop. */
const WEIGHED_ROWS = 500;

/** Of the memory, for messages that nobody is there to take: while the client gets these the others are read. */
const UNATTENDED_SHARE = 1 / 64;
/** After a read that failed. */
const READ_RETRY_MS = 10_000;

export class Waiting {
  readonly #context: GroupContext;
  readonly #log: RowLog | null;
  readonly #memoryBytesMax: number;
  /** Also what need not survive is kept when it was read back after a restart. */
  readonly #keepsAll: () => boolean;
  /** Makes an entry of what was read back, the next in order. */
  readonly #entryOf: (message: Message, options: DeliveryOptions, deadlineMs: number, row: number) => Entry;
  readonly #loaded: () => void;
  readonly #returned = new EntryHeap();
  readonly #ready = new Deque<Entry>();
  /** Held in memory, with what surrounds each body. */
  #heldBytes = 0;
  /** The first offset that is only in the log; -1 when all that waits is in memory. */
  #pagedFrom = -1;
  #pagedCount = 0;
  /** Rows from `#pagedFrom` on of what is in memory: it came back to this group while others were paged out. */
  readonly #apart = new Set<number>();
  #pagedBodyBytes = 0;
  /** Rows below it were there at the start: those of messages that need not survive are dropped when read. */
  readonly #recoveredBelow: number;
  /** From here on they are not in `#pagedBodyBytes` yet. */
  #unweighedFrom: number;
  #isWeighing = false;
  /** Somebody reads the log. */
  #loading: Promise<void> | null = null;
  /** A page is read, and the group hears of it. */
  #page: Promise<void> | null = null;
  #epoch = 0;
  #closed = false;
  /** Bytes of the bodies in memory. */
  #bodyBytes = 0;

  constructor(
    context: GroupContext,
    log: RowLog | null,
    memoryBytesMax: number,
    keepsAll: () => boolean,
    entryOf: (message: Message, options: DeliveryOptions, deadlineMs: number, row: number) => Entry,
    loaded: () => void,
  ) {
    this.#context = context;
    this.#log = log;
    this.#memoryBytesMax = memoryBytesMax;
    this.#keepsAll = keepsAll;
    this.#entryOf = entryOf;
    this.#loaded = loaded;
    this.#recoveredBelow = log?.endOffset ?? 0;
    this.#unweighedFrom = this.#recoveredBelow;
    if (log !== null && log.rowCount > 0) {
      this.#unweighedFrom = 0;
      this.#pagedFrom = 0;
      this.#pagedCount = log.rowCount;
    }
  }

  get count(): number {
    return this.#returned.length + this.#ready.length + this.#pagedCount;
  }

  /** Bytes of all bodies; those of rows that were there at the start count from when they are weighed, or read back. */
  get bodyBytes(): number {
    return this.#bodyBytes + this.#pagedBodyBytes;
  }

  /** `bodyBytes` lacks some of what was there at the start, and nobody is about to count it. */
  get isUnweighed(): boolean {
    return this.#unweighedFrom < this.#recoveredBelow && !this.#isWeighing && !this.#context.weighing.closed;
  }

  /** Some of it is in memory alone, and would not survive. */
  get hasUnkept(): boolean {
    for (const entries of [this.#returned.sorted(), this.#ready])
      for (const { row } of entries) if (row < 0) return true;
    return false;
  }

  /** In memory, so that it can be handed out now. */
  get atHand(): number {
    return this.#returned.length + this.#ready.length;
  }

  /** Some of it stands only in the log. */
  get isPaged(): boolean {
    return this.#pagedFrom >= 0;
  }

  get isEmpty(): boolean {
    return this.#pagedFrom < 0 && this.#ready.length === 0 && this.#returned.length === 0;
  }

  /** Whether the next message has to go to the log alone. `isUnattended`: nobody is there to take it. */
  mustPage(isUnattended: boolean): boolean {
    if (this.#log === null) return false;
    const bytesMax = isUnattended ? this.#memoryBytesMax * UNATTENDED_SHARE : this.#memoryBytesMax;
    return this.#pagedFrom >= 0 || this.#heldBytes > bytesMax || this.#context.congestion.pressing;
  }

  /** The oldest at hand. */
  first(): Entry | undefined {
    return this.#returned.length > 0 ? this.#returned.first() : this.#ready.first();
  }

  shift(): Entry | undefined {
    const entry = this.#returned.length > 0 ? this.#returned.shift() : this.#ready.shift();
    if (entry !== undefined) {
      this.#heldBytes -= entry.bytes;
      this.#bodyBytes -= entry.message.body.length;
    }
    return entry;
  }

  push(entry: Entry): void {
    this.#ready.push(entry);
    this.#count(entry);
  }

  /** To the front again, at its old place. */
  giveBack(entry: Entry): void {
    this.#returned.push(entry);
    this.#count(entry);
  }

  /** The row was appended for what is in memory. */
  keepApart(row: number): void {
    if (this.#pagedFrom >= 0) this.#apart.add(row);
  }

  /** Removes and returns what `wanted` picks of what is at hand. */
  takeOut(wanted: (entry: Entry) => boolean): Entry[] {
    const taken: Entry[] = [];
    const returned: Entry[] = [];
    for (let left = this.atHand; left > 0; left--) {
      const isReturned = this.#returned.length > 0;
      const entry = this.shift() as Entry;
      if (wanted(entry)) taken.push(entry);
      else if (isReturned) returned.push(entry);
      else this.push(entry);
    }
    for (const entry of returned) this.giveBack(entry);
    return taken;
  }

  /**
   * What waits, oldest first and only what comes behind `after`, until there are `countMax` messages or `bytesMax` bytes of
   * them; nothing is taken or read into memory. `newest`: the order of the newest entry. Rejects where the log cannot be
   * read.
   */
  async browse(
    after: WaitingPlace | null,
    countMax: number,
    bytesMax: number,
    newest: number,
  ): Promise<WaitingMessage[]> {
    const found: WaitingMessage[] = [];
    let bytes = 0;
    const isEnough = (): boolean => found.length >= countMax || bytes >= bytesMax;
    for (const entries of [this.#returned.sorted(), this.#ready]) {
      for (const entry of entries) {
        if (after !== null && !isBehind(entry, after)) continue;
        if (isEnough()) return found;
        found.push(entry);
        bytes += entry.message.body.length;
      }
    }
    const log = this.#log;
    let next = Math.max(this.#pagedFrom, (after?.offset ?? -1) + 1);
    while (log !== null && this.#pagedFrom >= 0 && !isEnough()) {
      const rows = await log.read(next, countMax - found.length, Math.min(PAGE_BYTES, bytesMax - bytes));
      if (rows.length === 0) break;
      for (const { offset, bytes: row } of rows) {
        next = offset + 1;
        // It may have been read back meanwhile, and then is shown the next time.
        if (this.#pagedFrom < 0 || offset < this.#pagedFrom || this.#apart.has(offset)) continue;
        const stored = this.#decode(row);
        if (stored === null) continue;
        const { message, options } = stored;
        found.push({
          message,
          options,
          offset,
          sequence: newest,
          redelivered: offset < this.#recoveredBelow,
        });
        bytes += message.body.length;
      }
    }
    return found;
  }

  /** Removes and returns what waits at this offset, wherever it stands. Rejects where the log cannot be read. */
  async takeAt(offset: number): Promise<Entry | null> {
    for (;;) {
      // The oldest is what is asked for most, and need not be searched.
      if (this.first()?.offset === offset) return this.shift() as Entry;
      const [entry] = this.takeOut((each) => each.offset === offset);
      if (entry !== undefined) return entry;
      if (this.#loading === null) break;
      await this.#loading;
    }
    return this.#readAlone(this.#takePaged(offset));
  }

  /** Appends to the log and keeps nothing in memory. `deadlineMs`: as of the row. */
  page(message: Message, options: DeliveryOptions, deadlineMs: number): void {
    const log = this.#log;
    assert(log !== null);
    const row = log.append(this.#context.format.encode(message, options, deadlineMs));
    if (this.#pagedFrom < 0) this.#pagedFrom = row;
    this.#pagedCount++;
    this.#pagedBodyBytes += message.body.length;
    this.#context.durability.written();
  }

  /**
   * Reads the next page back and tells the group; one read at a time, shared by all who ask. Rejects where the log cannot be
   * read.
   */
  load(rowsMax: number): Promise<void> {
    this.#page ??= this.#read(rowsMax)
      .finally(() => {
        this.#page = null;
      })
      .then(() => {
        if (!this.#closed) this.#loaded();
      });
    return this.#page;
  }

  /** As `load`, for whoever cannot wait: that the log cannot be read is told, and it is tried again a little later. */
  loadSoon(rowsMax: number): void {
    if (this.#page !== null) return;
    this.load(rowsMax).catch((error: unknown) => {
      this.#context.readFailed(error);
      // Whoever has credit and holds nothing does not ask again.
      this.#context.clock.after(READ_RETRY_MS, () => {
        if (!this.#closed) this.#loaded();
      });
    });
  }

  #read(rowsMax: number): Promise<void> {
    this.#loading ??= this.#loadPage(rowsMax).finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  /**
   * Moves what stands only in the log elsewhere. Nothing is read back meanwhile. Returns whether it went through to the
   * end; rejects where the log cannot be read.
   */
  async moveOut(move: Move): Promise<boolean> {
    while (this.#loading !== null) await this.#loading;
    return this.#readAlone(this.#moveOut(move));
  }

  /**
   * Counts the bytes of what was there at the start and is not read back, a page at a time in everybody else's midst. It is
   * done when somebody needs to know: reading a long log costs more than all the rest of a start. Rejects where the log
   * cannot be read: then it is unweighed again.
   */
  async weigh(): Promise<void> {
    const { clock, weighing } = this.#context;
    this.#isWeighing = true;
    try {
      await weighing.run(async () => {
        do {
          await new Promise<void>((resolve) => clock.afterTurn(resolve));
          while (this.#loading !== null) await this.#loading;
        } while (!weighing.closed && (await this.#readAlone(this.#weighPage())));
      });
    } finally {
      this.#isWeighing = false;
    }
  }

  /** Drops all that is paged out. `alone`: no other row of the log is in use. */
  dropPaged(alone: boolean): void {
    const log = this.#log;
    if (log !== null && this.#pagedFrom >= 0) {
      // A log that once was long has far more offsets than rows, so they are not walked where that can be helped.
      if (alone) log.clear();
      else {
        for (let offset = this.#pagedFrom; offset < log.endOffset; offset++)
          if (!this.#apart.has(offset)) log.remove(offset);
      }
      this.#context.durability.written();
    }
    this.#allRead();
    this.#epoch++;
  }

  /** Nothing is read back any more. The rows stay as they are. */
  close(): void {
    this.#closed = true;
    this.#allRead();
    this.#epoch++;
  }

  #count(entry: Entry): void {
    this.#heldBytes += entry.bytes;
    this.#bodyBytes += entry.message.body.length;
  }

  #allRead(): void {
    this.#pagedFrom = -1;
    this.#pagedCount = 0;
    this.#apart.clear();
    this.#pagedBodyBytes = 0;
    this.#unweighedFrom = this.#recoveredBelow;
  }

  /** Nobody else reads the log until `reading` is done, which has just begun. */
  #readAlone<Result>(reading: Promise<Result>): Promise<Result> {
    const over = (): void => {
      this.#loading = null;
    };
    this.#loading = reading.then(over, over);
    return reading;
  }

  #isWeighed(offset: number): boolean {
    return offset < this.#unweighedFrom || offset >= this.#recoveredBelow;
  }

  /** Returns whether there is more. */
  async #weighPage(): Promise<boolean> {
    const log = this.#log;
    if (this.#closed || log === null || this.#unweighedFrom >= this.#recoveredBelow) return false;
    const epoch = this.#epoch;
    const rows = await log.read(Math.max(this.#unweighedFrom, this.#pagedFrom), WEIGHED_ROWS, PAGE_BYTES);
    if (epoch !== this.#epoch) return false;
    for (const { offset, bytes } of rows) {
      if (offset >= this.#recoveredBelow) break;
      if (offset >= this.#pagedFrom && !this.#apart.has(offset)) this.#pagedBodyBytes += bodyBytesOf(bytes);
    }
    this.#unweighedFrom = Math.min(this.#recoveredBelow, (rows.at(-1)?.offset ?? this.#recoveredBelow) + 1);
    return this.#unweighedFrom < this.#recoveredBelow;
  }

  /** A row that is paged out leaves that. */
  #unpage(offset: number, bodyBytes: number): void {
    this.#pagedCount--;
    if (this.#isWeighed(offset)) this.#pagedBodyBytes -= bodyBytes;
  }

  async #loadPage(rowsMax: number): Promise<void> {
    const log = this.#log;
    if (this.#closed || log === null || this.#pagedFrom < 0) return;
    const epoch = this.#epoch;
    const end = log.endOffset;
    const rows = await log.read(this.#pagedFrom, rowsMax, PAGE_BYTES);
    if (epoch !== this.#epoch) return;
    for (const row of rows) {
      this.#pagedFrom = row.offset + 1;
      if (this.#apart.has(row.offset)) continue;
      const stored = this.#decode(row.bytes);
      this.#unpage(row.offset, stored === null ? bodyBytesOf(row.bytes) : stored.message.body.length);
      const entry = stored === null ? null : this.#restored(log, row.offset, stored);
      if (entry !== null) this.push(entry);
    }
    // What was paged out since it was read is still to be read.
    if (rows.length === 0) this.#pagedFrom = end;
    if (this.#pagedCount === 0 || this.#pagedFrom >= log.endOffset) this.#allRead();
    for (const row of this.#apart) {
      if (row >= this.#pagedFrom) break;
      this.#apart.delete(row);
    }
  }

  async #moveOut(move: Move): Promise<boolean> {
    const log = this.#log;
    if (this.#closed || log === null || this.#pagedFrom < 0) return true;
    const epoch = this.#epoch;
    const whole = await moveRows(this.#context, log, this.#pagedFrom, {
      goesOn: () => epoch === this.#epoch && this.#pagedFrom >= 0 && move.goesOn(),
      wants: (message, options, offset) =>
        offset >= this.#pagedFrom && !this.#apart.has(offset) && move.wants(message, options, offset),
      put: (moved) => {
        move.put(moved);
        this.#pagedCount -= moved.length;
        for (const { message, sequence } of moved)
          if (this.#isWeighed(sequence)) this.#pagedBodyBytes -= message.body.length;
        if (this.#pagedCount === 0) this.#allRead();
      },
    });
    return whole || this.#pagedFrom < 0;
  }

  async #takePaged(offset: number): Promise<Entry | null> {
    const log = this.#log;
    const isPaged = (): boolean =>
      this.#pagedFrom >= 0 && offset >= this.#pagedFrom && !this.#apart.has(offset);
    if (this.#closed || log === null || !isPaged()) return null;
    const epoch = this.#epoch;
    const [row] = await log.read(offset, 1, 1);
    if (epoch !== this.#epoch || row?.offset !== offset || !isPaged()) return null;
    const stored = this.#decode(row.bytes);
    if (stored === null) return null;
    this.#unpage(offset, stored.message.body.length);
    this.#apart.add(offset);
    if (this.#pagedCount === 0) this.#allRead();
    return this.#restored(log, offset, stored);
  }

  /** Null for what need not survive: that is dropped. */
  #restored(log: RowLog, offset: number, stored: StoredMessage): Entry | null {
    const { message, options, deadlineMs } = stored;
    const recovered = offset < this.#recoveredBelow;
    if (recovered && !message.durable && !this.#keepsAll()) {
      log.remove(offset);
      this.#context.durability.written();
      return null;
    }
    const entry = this.#entryOf(message, options, deadlineMs, offset);
    entry.redelivered = recovered;
    return entry;
  }

  /** Null for what cannot be read: it stays on the disk for a version that can; those behind it do not wait for that. */
  #decode(bytes: Uint8Array) {
    try {
      return this.#context.format.decode(bytes);
    } catch (error) {
      this.#context.readFailed(error);
      return null;
    }
  }
}

function isBehind({ offset, sequence }: Entry, after: WaitingPlace): boolean {
  return offset >= 0 && after.offset >= 0 ? offset > after.offset : sequence > after.sequence;
}
