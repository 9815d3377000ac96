/**
 * From the buffer of a bridge to an open link. One for each link: made when it is open, stopped when it is of no use.
 * One batch is on its way at a time; while it is, the next gathers. Nothing leaves the buffer before the other side has
 * answered for it, except where delivery is at most once. What has no answer when the pump stops goes back to its
 * place in the buffer, in order.
 *
 * What is refused for now is set aside with all that has the same address, and others pass it (`set-aside.ts`); the pump
 * pauses only where nothing is taken at all. Exactly once nothing passes anything, because what the other side remembers
 * is how far it came.
 */

import {
  type Clock,
  type Core,
  CoreError,
  type Delivery,
  type Message,
  type Outlet,
  PLAIN_DELIVERY,
  type Subscription,
  type Timer,
  undeliverable,
} from '../core/index.ts';
import {
  type BridgeDelivery,
  type BridgeLink,
  LinkError,
  type OutsideMessage,
  type SendAnswer,
} from '../outside.ts';
import type { Backoff } from './backoff.ts';
import { Patience } from './deadline.ts';
import { BRIDGE_DEAD_LETTERS } from './index.ts';
import type { Offsets } from './offsets.ts';
import { stamped } from './path-stamp.ts';
import { ASIDE_MESSAGES_MAX, SetAside } from './set-aside.ts';
import type { Tally } from './tally.ts';

/** Between two answers to one batch. */
const SEND_MS_MAX = 60_000;

export interface OutPumpParts {
  readonly name: string;
  readonly core: Core;
  readonly clock: Clock;
  readonly gatewayId: string;
  readonly link: BridgeLink;
  readonly outlet: Outlet;
  readonly delivery: BridgeDelivery;
  readonly batch: { readonly messagesMax: number; readonly bytesMax: number };
  readonly offsets: Offsets;
  readonly backoff: Backoff;
  readonly tally: Tally;
  readonly sent: SentSoFar;
  /** It came from the other side, and would be there once more what it was. */
  isBack(message: Message): boolean;
  /** Why what it sends is not taken; null: it is again. */
  degraded(reason: string | null): void;
  /** What became of a batch is unclear. */
  failed(error: unknown): void;
}

/** Over all pumps of the bridge. */
export interface SentSoFar {
  /** The highest offset that was sent: what is not above it is sent again. */
  offset: number;
  /** Offsets below that which were set aside before they were ever sent. */
  readonly passed: Set<number>;
  /** Messages sent at most once, which need not be on the disk and have offsets from that. */
  count: number;
}

interface Outgoing {
  readonly delivery: Delivery;
  readonly message: Message;
  /** It had been set aside. */
  readonly isRetried: boolean;
}

interface Refusal {
  /** Why some are to be sent again; null where none are. */
  readonly reason: string | null;
  readonly isAnyTaken: boolean;
  /** Nothing else is to be sent meanwhile. */
  readonly mustPause: boolean;
}

export class OutPump {
  readonly #parts: OutPumpParts;
  readonly #messagesHeldMax: number;
  /** As it was when the link was opened: what is refused on this link and tried again is not there, though others are. */
  readonly #sentOffset: number | null;
  #subscription: Subscription | null = null;
  /** Handed over by the buffer and not on its way, oldest first. */
  #gathered: Delivery[] = [];
  #gatheredBytes = 0;
  #sending: readonly Delivery[] = [];
  #sendingBytes = 0;
  readonly #aside: SetAside;
  /** The oldest that gathered belongs aside, where there is no room. */
  #isBlocked = false;
  /** Nothing at all was taken of the last batch. */
  #isHeldUp = false;
  /** The next batch is as the last one, of which not all could be sent. */
  #isAgain = false;
  #patience: Patience | null = null;
  /** For what is aside. */
  #retry: Timer | null = null;
  #credit = 0;
  /** Settled as it was sent, without an answer yet: at most once. */
  #unanswered = 0;
  #isScheduled = false;
  #running: Promise<void> | null = null;
  #isStopped = false;
  #isFinishing = false;
  #wake: () => void = () => {};

  constructor(parts: OutPumpParts) {
    this.#parts = parts;
    this.#messagesHeldMax = 2 * parts.batch.messagesMax;
    this.#aside = new SetAside(parts.backoff);
    this.#sentOffset = parts.delivery === 'exactly-once' ? parts.link.sentOffset : null;
  }

  /** Sent and not answered, and not in the buffer any more. */
  get unanswered(): number {
    return this.#unanswered;
  }

  get heldBytes(): number {
    return this.#gatheredBytes + this.#sendingBytes + this.#aside.bytes;
  }

  /** When the oldest that it holds was published; null where it holds nothing. */
  get oldestMs(): number | null {
    const first = (this.#sending[0] ?? this.#gathered[0])?.message.timestampMs ?? null;
    const aside = this.#aside.oldestMs;
    return first === null || aside === null ? (first ?? aside) : Math.min(first, aside);
  }

  /** Some of what it holds is in memory alone. */
  get holdsUnkept(): boolean {
    return this.#gathered.some(({ offset }) => offset < 0);
  }

  /** The other side has answered some of what is on its way. */
  answered(): void {
    this.#patience?.heard();
  }

  start(): void {
    this.#subscription = this.#parts.outlet.consume({
      deliver: (_message, _options, delivery) => {
        if (delivery !== null) this.#gather(delivery);
      },
      cancelled: () => this.stop(),
    });
    this.#grant();
  }

  /** Nothing more is sent. Resolves when what is on its way has its answers; null where nothing is. */
  finish(): Promise<void> | null {
    this.#isFinishing = true;
    this.#wake();
    return this.#sending.length === 0 && this.#unanswered === 0 ? null : this.#running;
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#parts.tally.dropped.lost += this.#unanswered;
    this.#unanswered = 0;
    this.#gathered = [];
    this.#sending = [];
    this.#gatheredBytes = 0;
    this.#sendingBytes = 0;
    this.#aside.clear();
    this.#retry?.cancel();
    this.#subscription?.close();
    this.#wake();
  }

  get #isEnding(): boolean {
    return this.#isStopped || this.#isFinishing;
  }

  /** As much credit as keeps the next batch coming, and no more bytes than two of them have. */
  #grant(): void {
    if (this.#isEnding || this.#gatheredBytes >= this.#parts.batch.bytesMax) return;
    const room = this.#messagesHeldMax - this.#gathered.length - this.#sending.length - this.#credit;
    if (room <= 0) return;
    this.#credit += room;
    this.#subscription?.grant(room);
  }

  #gather(delivery: Delivery): void {
    this.#credit--;
    this.#gathered.push(delivery);
    this.#gatheredBytes += delivery.message.body.length;
    if (this.#gatheredBytes >= this.#parts.batch.bytesMax) {
      const left = this.#subscription?.withdraw() ?? 0;
      this.#credit -= left;
    }
    if (this.#isScheduled || this.#running !== null) return;
    this.#isScheduled = true;
    // Behind all that is published in this turn.
    this.#parts.clock.afterTurn(() => {
      this.#isScheduled = false;
      this.#goOn();
    });
  }

  /** Some of what it holds can be sent now. */
  get #hasWork(): boolean {
    if (this.#aside.isOpen || (this.#gathered.length > 0 && !this.#isBlocked)) return true;
    return this.#aside.waitMs(this.#parts.clock.nowMs()) === 0;
  }

  #goOn(): void {
    if (this.#running !== null || this.#isEnding) return;
    if (this.#hasWork) {
      this.#running = this.#run();
      return;
    }
    const { clock } = this.#parts;
    const waitMs = this.#aside.waitMs(clock.nowMs());
    this.#retry?.cancel();
    this.#retry = waitMs === null ? null : clock.after(waitMs, () => this.#goOn());
  }

  async #run(): Promise<void> {
    try {
      while (!this.#isEnding && this.#hasWork) await this.#sendBatch();
    } catch (error) {
      if (!this.#isStopped) this.#parts.failed(error);
      return;
    } finally {
      this.#running = null;
    }
    this.#goOn();
  }

  async #sendBatch(): Promise<void> {
    const { core, link, delivery: mode, offsets, tally, sent } = this.#parts;
    const outgoing = this.#nextBatch();
    this.#grant();
    if (outgoing.length === 0) return;
    // Its offset may be given again to another message, should the process end before it is on the disk.
    if (mode === 'exactly-once') {
      const fault = await this.#storedFault(core);
      if (this.#isStopped) return;
      if (fault !== null) {
        this.#putBack(this.#sending);
        await this.#pause(fault);
        return;
      }
    }
    if (mode === 'at-most-once') {
      this.#forget(outgoing);
      if (!(await this.#areForgotten(outgoing))) return;
    }
    const batch: OutsideMessage[] = outgoing.map(({ delivery, message }) => ({
      offset: mode === 'at-most-once' ? ++sent.count : offsets.of(delivery.offset),
      message,
    }));
    for (const { delivery } of outgoing) {
      if (delivery.offset < 0) continue;
      if (delivery.offset > sent.offset) sent.offset = delivery.offset;
      else if (!sent.passed.has(delivery.offset)) tally.repeated++;
      sent.passed.delete(delivery.offset);
    }
    const answers = await this.#answersTo(link.send(batch));
    if (answers === null) return;
    if (answers.length !== batch.length)
      throw new LinkError('protocol', `${answers.length} answers to ${batch.length} messages`);
    const refusal = this.#settle(outgoing, answers);
    this.#grant();
    await this.#judge(refusal);
  }

  /** What becomes of the pump after a batch. */
  async #judge({ reason, isAnyTaken, mustPause }: Refusal): Promise<void> {
    const { backoff, clock, degraded } = this.#parts;
    if (isAnyTaken) {
      backoff.reset();
      // What is aside was perhaps refused only because everything was.
      if (this.#isHeldUp) this.#aside.retryNow(clock.nowMs());
      this.#isHeldUp = false;
    }
    if (reason !== null && mustPause) {
      this.#isHeldUp ||= !isAnyTaken;
      await this.#pause(reason);
    } else if (reason !== null) degraded(reason);
    else if (this.#aside.isEmpty) degraded(null);
  }

  /** Takes what is to be sent next; what is not to be sent at all is settled here. */
  #nextBatch(): readonly Outgoing[] {
    const { batch, clock, sent } = this.#parts;
    const outgoing: Outgoing[] = [];
    const nowMs = clock.nowMs();
    const aside = this.#aside;
    let bytes = 0;
    const fits = (length: number): boolean =>
      outgoing.length < batch.messagesMax && (outgoing.length === 0 || bytes + length <= batch.bytesMax);
    const take = (delivery: Delivery, isRetried: boolean): boolean => {
      const message = this.#leaving(delivery, nowMs);
      if (message === null) return false;
      outgoing.push({ delivery, message, isRetried });
      bytes += delivery.message.body.length;
      return true;
    };
    const isAgain = this.#isAgain;
    this.#isAgain = false;
    const isTrial = !isAgain && aside.begin(nowMs, batch.messagesMax);
    const nextAside = () => (isAgain ? null : aside.next(isTrial, fits));
    for (let next = nextAside(); next !== null; next = nextAside())
      if (!take(next, true)) aside.left(next.message.address);
    this.#isBlocked = false;
    let at = 0;
    for (; at < this.#gathered.length && !isTrial; at++) {
      const delivery = this.#gathered[at] as Delivery;
      const { offset, message } = delivery;
      if (aside.has(message.address)) {
        this.#isBlocked = !aside.add(delivery);
        if (this.#isBlocked) break;
        if (offset > sent.offset && sent.passed.size < ASIDE_MESSAGES_MAX) sent.passed.add(offset);
        continue;
      }
      if (!fits(message.body.length)) break;
      take(delivery, false);
    }
    for (const { message } of this.#gathered.splice(0, at)) this.#gatheredBytes -= message.body.length;
    this.#sending = outgoing.map(({ delivery }) => delivery);
    this.#sendingBytes = bytes;
    return outgoing;
  }

  /** As it leaves; null where it need not or must not, and then it is settled. */
  #leaving(delivery: Delivery, nowMs: number): Message | null {
    const { gatewayId, isBack, link, offsets, tally } = this.#parts;
    const { message } = delivery;
    const sentOffset = this.#sentOffset;
    let leaving: Message | null = null;
    if (sentOffset !== null && offsets.of(delivery.offset) <= sentOffset) {
      tally.done++;
      tally.doneBytes += message.body.length;
    } else if (message.expiresAtMs !== 0 && message.expiresAtMs <= nowMs) tally.dropped.expired++;
    else {
      leaving = isBack(message) ? null : stamped(message, gatewayId, link.peer);
      if (leaving === null) tally.dropped.loop++;
    }
    if (leaving === null) delivery.settle('accepted');
    return leaving;
  }

  /** At most once: whatever happens now, it is not sent again. */
  #forget(outgoing: readonly Outgoing[]): void {
    this.#unanswered = outgoing.length;
    for (const { delivery } of outgoing) delivery.settle('accepted');
  }

  /**
   * Waits until they are gone from the disk too, or a crash would bring them back to be sent again. False where the pump
   * ends before that.
   */
  async #areForgotten(outgoing: readonly Outgoing[]): Promise<boolean> {
    if (outgoing.every(({ delivery }) => delivery.offset < 0)) return true;
    for (;;) {
      const fault = await this.#storedFault(this.#parts.core);
      if (this.#isStopped) return false;
      if (fault === null) return true;
      if (this.#isFinishing) return false;
      await this.#pause(fault);
    }
  }

  /** Null where the pump was stopped meanwhile. */
  async #answersTo(sending: Promise<readonly SendAnswer[]>): Promise<readonly SendAnswer[] | null> {
    const late = new Promise<never>((_, reject) => {
      const text = `no answer to what was sent within ${SEND_MS_MAX / 1_000} seconds`;
      this.#patience = new Patience(this.#parts.clock, SEND_MS_MAX, () =>
        reject(new LinkError('timeout', text)),
      );
    });
    try {
      const answers = await Promise.race([sending, this.#untilStopped(), late]);
      return this.#isStopped ? null : answers;
    } catch (error) {
      if (this.#isStopped) return null;
      throw error;
    } finally {
      this.#patience?.end();
    }
  }

  #untilStopped(): Promise<null> {
    return new Promise((resolve) => {
      this.#wake = () => {
        if (this.#isStopped) resolve(null);
      };
    });
  }

  #settle(outgoing: readonly Outgoing[], answers: readonly SendAnswer[]): Refusal {
    const { clock, tally, delivery: mode } = this.#parts;
    const aside = mode === 'at-least-once' ? this.#aside : null;
    const refused: Outgoing[] = [];
    /** Addresses of which some are to be set aside. */
    const guilty = new Set<string>();
    let reason: string | null = null;
    let isAnyTaken = false;
    let isAnyNew = false;
    for (let i = 0; i < outgoing.length; i++) {
      const { delivery, isRetried } = outgoing[i] as Outgoing;
      const { message } = delivery;
      const answer = answers[i] as SendAnswer;
      if (mode === 'at-most-once') this.#unanswered--;
      if (answer === null) {
        tally.done++;
        tally.doneBytes += message.body.length;
        delivery.settle('accepted');
      } else if (answer.permanent && this.#bury(message, answer.reason)) {
        // In the turn of its arrival there, so in one commit with it.
        tally.deadLettered++;
        delivery.settle('accepted');
      } else if (mode === 'at-most-once') tally.dropped.lost++;
      else {
        refused.push(outgoing[i] as Outgoing);
        if (answer.general !== true) guilty.add(message.address);
        isAnyNew ||= !isRetried;
        reason ??= answer.permanent ? `no room in ${BRIDGE_DEAD_LETTERS}: ${answer.reason}` : answer.reason;
        continue;
      }
      isAnyTaken = true;
      aside?.taken(message.address);
    }
    const goesAside = ({ delivery: { message }, isRetried }: Outgoing): boolean =>
      aside !== null && (isRetried || guilty.has(message.address));
    const back = refused.filter((each) => !goesAside(each));
    this.#putBack(back.map(({ delivery }) => delivery));
    this.#isAgain = back.length > 0;
    aside?.refused(
      refused.filter(goesAside).map(({ delivery }) => delivery),
      clock.nowMs(),
    );
    return { reason, isAnyTaken, mustPause: back.length > 0 || (isAnyNew && !isAnyTaken) };
  }

  /** Nothing is on its way any more, and these are first in order again. */
  #putBack(kept: readonly Delivery[]): void {
    this.#sending = [];
    this.#sendingBytes = 0;
    this.#gathered = [...kept, ...this.#gathered];
    for (const { message } of kept) this.#gatheredBytes += message.body.length;
  }

  /** Returns whether it is among the dead letters. */
  #bury(message: Message, reason: string): boolean {
    const { core, clock, name } = this.#parts;
    const by = { kind: 'bridge', name } as const;
    try {
      const queue = core.queues.provide(BRIDGE_DEAD_LETTERS);
      const isTaken = queue.offer(
        undeliverable(message, by, 'rejected', reason, clock.nowMs()),
        PLAIN_DELIVERY,
      );
      if (isTaken) core.counters.deadLettered++;
      return isTaken;
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      return false;
    }
  }

  async #pause(reason: string): Promise<void> {
    const { backoff, clock, degraded } = this.#parts;
    degraded(reason);
    await new Promise<void>((resolve) => {
      const timer = clock.after(backoff.next(), resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
      if (this.#isEnding) this.#wake();
    });
  }

  /** Resolves when what was written so far is on the disk: null, or why it is not. */
  #storedFault(core: Core): Promise<string | null> {
    return new Promise((resolve) => {
      core.whenStored((error) => resolve(error === null ? null : error.message));
    });
  }
}
