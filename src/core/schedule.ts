/**
 * Messages that are to be published later. Those that must not be lost stand in a row log until they are, so that they
 * are published after a restart as well; what fell due meanwhile comes at the start. Order is that of the due times,
 * and of arrival where these are equal. A message is taken out of the log in the same commit that makes durable what
 * it was published to. Rights are judged when it is handed in.
 */

import type { Access, Principal } from './access.ts';
import type { Clock, Timer } from './clock.ts';
import { PLAIN_DELIVERY } from './delivery.ts';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import {
  type CoreCounters,
  PENDING,
  type PublishResult,
  type ReceiptSink,
  type Schedule,
  STORED,
} from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import type { MessageFormat } from './message-format.ts';
import { isReplyAddress } from './reply-address.ts';
import type { RowLog, Storage } from './storage.ts';

export interface ScheduleOptions {
  readonly storage: Storage;
  readonly durability: Durability;
  readonly format: MessageFormat;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly access: Access;
  readonly counters: CoreCounters;
  /** Publishes it now, for nobody in particular, and makes again the queue that it is for. Throws CoreError. */
  readonly publish: (message: Message) => void;
  /** Makes the queue of this address where there is none, for somebody who has to have the right to. Throws CoreError. */
  readonly provideQueue: (address: string, principal: Principal) => void;
  /** A message that waits could not be read. */
  readonly readFailed: (error: unknown) => void;
}

interface Scheduled {
  readonly dueMs: number;
  readonly sequence: number;
  readonly message: Message;
  /** Where it stands in the log, -1 where nowhere. */
  readonly row: number;
}

const ROWS_AT_ONCE = 1_000;
const BYTES_AT_ONCE = 4 * 1024 * 1024;
/** Published in one turn; the others follow in the next. */
const PUBLISHED_AT_ONCE = 1_000;
/** A timer set for longer looks again in between. */
const WAIT_MS_MAX = 3_600_000;
/** What the disk refuses is tried again so much later. */
const RETRY_MS = 1_000;
/** What one message costs in memory beside its body and address. */
const OVERHEAD_BYTES = 256;

export class StoredSchedule implements Schedule {
  readonly #options: ScheduleOptions;
  readonly #log: RowLog;
  /** A binary heap: the next one first. */
  readonly #heap: Scheduled[] = [];
  #bytes = 0;
  #sequence = 0;
  #timer: Timer | null = null;

  private constructor(options: ScheduleOptions, log: RowLog) {
    this.#options = options;
    this.#log = log;
  }

  static async load(options: ScheduleOptions): Promise<StoredSchedule> {
    const log = await options.storage.openRowLog('schedule', { durable: true });
    const schedule = new StoredSchedule(options, log);
    for (let from = 0; from < log.endOffset; ) {
      const rows = await log.read(from, ROWS_AT_ONCE, BYTES_AT_ONCE);
      if (rows.length === 0) break;
      for (const { offset, bytes } of rows) {
        from = offset + 1;
        try {
          const { message, deadlineMs } = options.format.decode(bytes);
          schedule.#push(message.kept(), deadlineMs, offset);
        } catch (error) {
          // It stays on the disk for a version that can read it.
          options.readFailed(error);
        }
      }
    }
    return schedule;
  }

  /** Everything that is published to is there. */
  start(): void {
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  get count(): number {
    return this.#heap.length;
  }

  add(
    message: Message,
    dueMs: number,
    principal: Principal,
    sink: ReceiptSink | null,
    token: number,
  ): PublishResult {
    const { durability, format, provideQueue } = this.#options;
    this.#check(message, principal);
    provideQueue(message.address, principal);
    const row = message.durable ? this.#log.append(format.encode(message, PLAIN_DELIVERY, dueMs)) : -1;
    this.#push(message.kept(), dueMs, row);
    this.#arm();
    if (row < 0) return STORED;
    durability.written();
    if (sink === null) return STORED;
    durability.wait(sink, token);
    return PENDING;
  }

  #check(message: Message, principal: Principal): void {
    const { access, counters, limits, durability } = this.#options;
    let refusal: CoreError | null = null;
    if (isReplyAddress(message.address)) {
      refusal = new CoreError('access-refused', 'an answer cannot be held back');
    } else if (!access.unrestricted && !access.may(principal, 'publish', message.address)) {
      refusal = new CoreError('access-refused', `may not publish to '${message.address}'`);
    } else if (message.body.length > limits.messageBytesMax) {
      refusal = new CoreError(
        'message-too-large',
        `${message.body.length} bytes are more than messageBytesMax`,
      );
    } else if (this.#heap.length >= limits.scheduledMessagesMax) {
      refusal = new CoreError('limit-reached', `${this.#heap.length} messages wait (scheduledMessagesMax)`);
    } else if (this.#bytes + bytesOf(message) > limits.scheduledBytesMax) {
      refusal = new CoreError('limit-reached', `messages of ${this.#bytes} bytes wait (scheduledBytesMax)`);
    } else if (message.durable) refusal = durability.refusal;
    if (refusal === null) return;
    counters.refused++;
    throw refusal;
  }

  /** One timer, for the first of them. */
  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined) return;
    const { clock } = this.#options;
    const waitMs = Math.min(Math.max(0, first.dueMs - clock.nowMs()), WAIT_MS_MAX);
    if (this.#timer !== null && this.#timer.dueMs <= clock.nowMs() + waitMs) return;
    this.#wakeAfter(waitMs);
  }

  #wakeAfter(waitMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(waitMs, () => {
      this.#timer = null;
      this.#publishDue();
    });
  }

  #publishDue(): void {
    const { clock, durability, counters, publish } = this.#options;
    const nowMs = clock.nowMs();
    for (let left = PUBLISHED_AT_ONCE; left > 0; left--) {
      const first = this.#heap[0];
      if (first === undefined || first.dueMs > nowMs) break;
      try {
        publish(first.message);
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        if (error.code === 'storage-failed') {
          this.#wakeAfter(RETRY_MS);
          return;
        }
        counters.dropped++;
      }
      this.#shift();
      if (first.row < 0) continue;
      this.#log.remove(first.row);
      durability.written();
    }
    this.#arm();
  }

  #push(message: Message, dueMs: number, row: number): void {
    const heap = this.#heap;
    const entry: Scheduled = { dueMs, sequence: this.#sequence++, message, row };
    this.#bytes += bytesOf(message);
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above] as Scheduled;
      if (!isBefore(entry, parent)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  #shift(): void {
    const heap = this.#heap;
    this.#bytes -= bytesOf((heap[0] as Scheduled).message);
    const last = heap.pop() as Scheduled;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      const right = heap[below + 1];
      if (right !== undefined && isBefore(right, heap[below] as Scheduled)) below++;
      const child = heap[below] as Scheduled;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }
}

function isBefore(one: Scheduled, other: Scheduled): boolean {
  return one.dueMs < other.dueMs || (one.dueMs === other.dueMs && one.sequence < other.sequence);
}

function bytesOf(message: Message): number {
  return OVERHEAD_BYTES + message.address.length + message.body.length + (message.native?.length ?? 0);
}
