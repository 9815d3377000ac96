/**
 * A queue: a destination with one group of competing consumers. Made by `queues.ts`, found by adapters under its
 * name. Its lifetime rules (auto-delete, expiry) are here; the order and settlement of messages are the group's.
 */

import type { Timer } from './clock.ts';
import { CoreError } from './errors.ts';
import { Group, type GroupContext } from './group.ts';
import type { Consumer, Delivery, Queue, QueueSpec, Subscription } from './index.ts';
import type { Message } from './message.ts';
import type { Acceptance, Destination, Route } from './router.ts';
import type { RowLog } from './storage.ts';

/** What a queue asks of the registry that made it. */
export interface QueueHome {
  readonly context: GroupContext;
  readonly memoryBytesMax: number;
  /** It has become useless: delete it. */
  outlived(queue: StoredQueue): void;
  /** A message that nobody consumed; `via` is the exchange that it came by. */
  deadLetter(
    message: Message,
    via: string | null,
    queue: QueueSpec,
    reason: 'rejected' | 'expired' | 'overflow',
  ): void;
}

export class StoredQueue implements Queue, Destination {
  readonly kind = 'queue';
  readonly spec: QueueSpec;
  /** Names its log and its row in the table of queues; 0 for one that does not survive. */
  readonly number: number;
  readonly log: RowLog | null;
  readonly #home: QueueHome;
  readonly #group: Group;
  #exclusive: Consumer | null = null;
  #hadConsumer = false;
  #lastUsedMs: number;
  #expiry: Timer | null = null;
  #closed = false;

  constructor(home: QueueHome, spec: QueueSpec, number: number, log: RowLog | null) {
    this.spec = spec;
    this.number = number;
    this.log = log;
    this.#home = home;
    this.#group = new Group(home.context, {
      log,
      bounds: spec,
      memoryBytesMax: home.memoryBytesMax,
      expiresUnattended: true,
      discarded: (message, options, reason) => home.deadLetter(message, options.via, spec, reason),
    });
    this.#lastUsedMs = home.context.clock.nowMs();
    this.#watchExpiry();
  }

  get name(): string {
    return this.spec.name;
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

  accept(message: Message, route: Route): Acceptance {
    return this.#group.accept(message, route.options);
  }

  consume(
    consumer: Consumer,
    options: { readonly settled: boolean; readonly exclusive: boolean; readonly priority: number },
  ): Subscription {
    if (this.#exclusive !== null || (options.exclusive && this.#group.consumerCount > 0)) {
      throw new CoreError('exclusive', `queue '${this.name}' is consumed exclusively, or cannot be`);
    }
    if (options.exclusive) this.#exclusive = consumer;
    this.#hadConsumer = true;
    this.touch();
    const holder = this.#group.consume(consumer, options.settled, options.priority);
    return {
      grant: (credit) => holder.grant(credit),
      withdraw: () => holder.withdraw(),
      close: (keepUnsettled) => {
        holder.close(keepUnsettled);
        if (this.#exclusive === consumer) this.#exclusive = null;
        this.touch();
        this.#leaveIfUseless();
      },
    };
  }

  take(settled: boolean): Promise<Delivery | null> {
    this.touch();
    return this.#group.take(settled);
  }

  purge(): number {
    return this.#group.purge();
  }

  /** It was used: its expiry starts anew. */
  touch(): void {
    this.#lastUsedMs = this.#home.context.clock.nowMs();
  }

  /** Ends it; the registry removes bindings and rows. */
  close(reason: 'deleted' | 'expired'): void {
    this.#closed = true;
    this.#expiry?.cancel();
    this.#group.close(reason);
  }

  #leaveIfUseless(): void {
    if (this.#closed || !this.spec.autoDelete || !this.#hadConsumer || this.#group.consumerCount > 0) return;
    this.#home.outlived(this);
  }

  #watchExpiry(): void {
    const { expiresMs } = this.spec;
    if (expiresMs < 0) return;
    const { clock } = this.#home.context;
    const dueMs = this.#lastUsedMs + expiresMs;
    this.#expiry = clock.after(Math.max(1, dueMs - clock.nowMs()), () => {
      if (this.#closed) return;
      if (this.#group.consumerCount > 0) this.touch();
      if (this.#lastUsedMs + expiresMs <= clock.nowMs()) this.#home.outlived(this);
      else this.#watchExpiry();
    });
  }
}
