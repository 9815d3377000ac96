/**
 * A named group of a queue: members that share the messages which match its filter, each message going to one of
 * them. Every group of a queue gets its own copy. What it gathers is kept in a log of its own, also while nobody is
 * there, until it was without a member for too long. Made by `queue-groups.ts`.
 */

import type { Attempts } from './attempts.ts';
import type { Timer } from './clock.ts';
import type { Consumer, DeliveryOptions, Outcome, Subscription } from './delivery.ts';
import { Group } from './group.ts';
import type { GroupContext } from './group-context.ts';
import type { QueueGroup, QueueSpec } from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import { MANY, type Pattern } from './pattern.ts';
import type { Acceptance } from './router.ts';
import type { RowLog } from './storage.ts';

export interface NamedGroupOptions {
  readonly context: GroupContext;
  readonly limits: Limits;
  readonly spec: QueueSpec;
  readonly name: string;
  readonly id: string;
  /** Of whole addresses: it begins with the queue's own. */
  readonly pattern: Pattern;
  /** Names its row and its log within the queue. */
  readonly number: number;
  readonly log: RowLog | null;
  /** Null where it has no log. */
  readonly attempts: Attempts | null;
  discarded(message: Message, options: DeliveryOptions, reason: DeadReason, note: string): void;
  /** A member has gone. */
  left(): void;
  /** Nobody has used it for so long that it goes. */
  outlived(group: NamedGroup): void;
}

type DeadReason = 'rejected' | 'expired' | 'overflow' | 'failed';

export class NamedGroup implements QueueGroup {
  readonly name: string;
  readonly id: string;
  readonly pattern: Pattern;
  readonly number: number;
  readonly log: RowLog | null;
  readonly #options: NamedGroupOptions;
  readonly #group: Group;
  readonly #takesAll: boolean;
  #idle: Timer | null = null;
  #closed = false;

  constructor(options: NamedGroupOptions) {
    const { context, limits, log, spec, pattern } = options;
    this.name = options.name;
    this.id = options.id;
    this.pattern = pattern;
    this.number = options.number;
    this.log = log;
    this.#options = options;
    // The queue's own two levels come first.
    this.#takesAll = pattern.tokens.length === 3 && pattern.tokens[2] === MANY;
    this.#group = new Group(context, {
      log,
      bounds: spec,
      memoryBytesMax: limits.queueMemoryBytesMax,
      expiresUnattended: true,
      members: { attemptsMax: limits.deliveryAttemptsMax, attempts: options.attempts },
      discarded: options.discarded,
    });
    this.#watchIdle();
  }

  get readyCount(): number {
    return this.#group.readyCount;
  }

  get unsettledCount(): number {
    return this.#group.unsettledCount;
  }

  get consumerCount(): number {
    return this.#group.consumerCount;
  }

  /** The queue's bounds have changed. */
  trim(): void {
    this.#group.trim();
  }

  wants(address: string): boolean {
    return this.#takesAll || this.pattern.matches(address);
  }

  accept(message: Message, options: DeliveryOptions): Acceptance {
    return this.#group.accept(message, options);
  }

  consume(
    consumer: Consumer,
    options: { readonly settled: boolean; readonly priority: number; readonly timely: boolean },
  ): Subscription {
    this.#idle?.cancel();
    this.#idle = null;
    const timeoutMs = options.timely ? this.#options.limits.visibilityTimeoutMs : 0;
    const holder = this.#group.consume(consumer, options.settled, options.priority, timeoutMs);
    return {
      grant: (credit) => holder.grant(credit),
      withdraw: () => holder.withdraw(),
      close: (keepUnsettled) => {
        holder.close(keepUnsettled);
        this.#watchIdle();
        if (!this.#closed) this.#options.left();
      },
    };
  }

  /** It is over, and nothing of it to be kept. */
  clearAttempts(): void {
    this.#options.attempts?.clear();
  }

  /** Some member has the message of this offset. */
  holds(offset: number): boolean {
    return this.#group.isHeldAt(offset);
  }

  settle(offset: number, outcome: Outcome, note: string): boolean {
    return this.#group.settleAt(offset, outcome, note);
  }

  close(reason: 'deleted' | 'expired'): void {
    this.#closed = true;
    this.#idle?.cancel();
    this.#group.close(reason);
  }

  #watchIdle(): void {
    const { limits, context } = this.#options;
    if (this.#closed || this.consumerCount > 0 || limits.groupIdleMs === 0 || this.#idle !== null) return;
    this.#idle = context.clock.after(limits.groupIdleMs, () => {
      this.#idle = null;
      if (!this.#closed && this.consumerCount === 0) this.#options.outlived(this);
    });
  }
}
