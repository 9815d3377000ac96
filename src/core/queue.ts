/**
 * A queue: a destination with one group of competing consumers for all who name none, and further groups by name
 * (`queue-groups.ts`). Made by `queues.ts`, found by adapters under its name. Its lifetime rules (auto-delete, expiry)
 * are here; the order and settlement of messages are the group's.
 */

import type { Attempts } from './attempts.ts';
import type { Timer } from './clock.ts';
import { CoreError } from './errors.ts';
import { Group } from './group.ts';
import type { DiscardReason, GroupContext } from './group-context.ts';
import type {
  Consumer,
  Delivery,
  DeliveryOptions,
  Outcome,
  Queue,
  QueueChanges,
  QueueSpec,
  Subscription,
  WaitingMessage,
  WaitingPlace,
} from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import type { Token } from './pattern.ts';
import type { NamedGroup } from './queue-group.ts';
import { type GroupRecord, QueueGroups } from './queue-groups.ts';
import { type Acceptance, type Destination, FULL, type Route } from './router.ts';
import type { RowLog } from './storage.ts';

/** What a queue asks of the registry that made it. */
export interface QueueHome {
  readonly context: GroupContext;
  readonly limits: Limits;
  /** It has become useless: delete it. */
  outlived(queue: StoredQueue): void;
  /** Somebody uses it under its own name. */
  claimed(queue: StoredQueue): void;
  createGroupLog(queue: StoredQueue, group: number): RowLog;
  attemptsOf(queue: StoredQueue, group: number): Attempts;
  saveGroup(queue: StoredQueue, group: number, record: GroupRecord): void;
  /** The group is over, its log to be deleted. */
  forgetGroup(queue: StoredQueue, group: NamedGroup): void;
  /** A message that nobody consumed. `grouped`: a member of a named group had it. */
  deadLetter(message: Message, options: DeliveryOptions, queue: QueueSpec, death: QueueDeath): void;
}

export interface QueueDeath {
  readonly reason: DiscardReason;
  /** What a consumer said of it. */
  readonly note: string;
  readonly grouped: boolean;
}

export class StoredQueue implements Queue, Destination {
  readonly kind = 'queue';
  /** One object, shared with its groups: `change` changes it in place. */
  readonly spec: QueueSpec;
  /** Names its log and its row in the table of queues; 0 for one that does not survive. */
  readonly number: number;
  readonly log: RowLog | null;
  readonly #home: QueueHome;
  readonly #group: Group;
  /** Null until there is a named one. */
  #groups: QueueGroups | null = null;
  #isClaimed: boolean;
  #exclusive: Consumer | null = null;
  #hadConsumer = false;
  #lastUsedMs: number;
  #expiry: Timer | null = null;
  #closed = false;

  /** `isClaimed`: it was declared or used under its own name, and not only made for messages or groups. */
  constructor(home: QueueHome, spec: QueueSpec, number: number, log: RowLog | null, isClaimed: boolean) {
    this.#isClaimed = isClaimed;
    this.spec = { ...spec };
    this.number = number;
    this.log = log;
    this.#home = home;
    this.#group = new Group(home.context, {
      log,
      bounds: this.spec,
      memoryBytesMax: home.limits.queueMemoryBytesMax,
      expiresUnattended: true,
      discarded: (message, options, reason, note) =>
        home.deadLetter(message, options, this.spec, { reason, note, grouped: false }),
    });
    this.#lastUsedMs = home.context.clock.nowMs();
    this.#watchExpiry();
  }

  get name(): string {
    return this.spec.name;
  }

  get readyCount(): number {
    return this.#group.readyCount + (this.#groups?.keptCount ?? 0);
  }

  get unsettledCount(): number {
    return this.#group.unsettledCount - (this.#groups?.keptCount ?? 0);
  }

  get consumerCount(): number {
    const groups = this.#groups;
    if (groups === null) return this.#group.consumerCount;
    return this.#group.consumerCount - groups.handOverCount + groups.consumerCount;
  }

  /** Bytes of the bodies of what waits for consumers who name no group. */
  get waitingBytes(): number {
    return this.#group.waits.bodyBytes;
  }

  /** Some of it is in memory alone. */
  get hasUnkept(): boolean {
    return this.#group.waits.hasUnkept;
  }

  /** The oldest of it, where that is in memory. */
  get oldest(): Message | undefined {
    return this.#group.waits.first()?.message;
  }

  get isClaimed(): boolean {
    return this.#isClaimed;
  }

  get groups(): Iterable<NamedGroup> {
    return this.#groups?.values() ?? [];
  }

  accept(message: Message, route: Route): Acceptance {
    return this.#groups === null
      ? this.#group.accept(message, route.options)
      : this.#groups.accept(message, route.options);
  }

  group(name: string, filter: readonly Token[]): NamedGroup {
    this.touch();
    this.#hadConsumer = true;
    return this.#namedGroups().open(name, filter);
  }

  removeGroup(id: string): boolean {
    return this.#groups?.remove(id, 'deleted') ?? false;
  }

  settle(group: string, offset: number, outcome: Outcome, note: string): boolean {
    return this.#groups?.settle(group, offset, outcome, note) ?? false;
  }

  restoreGroup(number: number, record: GroupRecord, log: RowLog): void {
    this.#namedGroups().restore(number, record, log);
  }

  /** It has all its groups again. */
  restored(): void {
    this.#groups?.restored();
  }

  /** It is used under its own name from now on. */
  claim(): void {
    if (this.#isClaimed) return;
    this.#isClaimed = true;
    this.#groups?.claim();
    this.#home.claimed(this);
  }

  consume(
    consumer: Consumer,
    options: { readonly settled: boolean; readonly exclusive: boolean; readonly priority: number },
  ): Subscription {
    if (this.#exclusive !== null || (options.exclusive && this.consumerCount > 0)) {
      throw new CoreError('exclusive', `queue '${this.name}' is consumed exclusively, or cannot be`);
    }
    this.claim();
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
        this.#wasLeft();
      },
    };
  }

  take(settled: boolean): Promise<Delivery | null> {
    this.claim();
    this.touch();
    return this.#group.take(settled);
  }

  browse(after: WaitingPlace | null, countMax: number, bytesMax: number): Promise<WaitingMessage[]> {
    return this.#group.browse(after, countMax, bytesMax);
  }

  takeAt(offset: number): Promise<Delivery | null> {
    this.touch();
    return this.#group.takeAt(offset);
  }

  offer(message: Message, options: DeliveryOptions): boolean {
    if (this.#closed) return false;
    const { expiresAtMs } = message;
    const { clock } = this.#home.context;
    if (expiresAtMs !== 0 && expiresAtMs <= clock.nowMs()) return true;
    const taken =
      this.#groups === null ? this.#group.accept(message, options) : this.#groups.accept(message, options);
    return taken !== FULL;
  }

  change(changes: QueueChanges): void {
    Object.assign(this.spec, changes);
    this.#group.trim();
    for (const group of this.groups) group.trim();
    this.touch();
    this.#expiry?.cancel();
    this.#watchExpiry();
  }

  purge(): number {
    return (this.#groups?.purge() ?? 0) + this.#group.purge();
  }

  /** Nothing waits, in its groups neither. */
  get isEmpty(): boolean {
    if (this.readyCount > 0) return false;
    for (const group of this.groups) if (group.readyCount > 0) return false;
    return true;
  }

  /** It was used: its expiry starts anew. */
  touch(): void {
    this.#lastUsedMs = this.#home.context.clock.nowMs();
  }

  /** Ends it; the registry removes bindings and rows. */
  close(reason: 'deleted' | 'expired'): void {
    this.#closed = true;
    this.#expiry?.cancel();
    this.#groups?.close(reason);
    this.#group.close(reason);
  }

  #namedGroups(): QueueGroups {
    const home = this.#home;
    this.#groups ??= new QueueGroups(
      {
        context: home.context,
        limits: home.limits,
        spec: this.spec,
        unnamed: this.#group,
        createLog: (number) => (this.log === null ? null : home.createGroupLog(this, number)),
        attemptsOf: (number) => home.attemptsOf(this, number),
        save: (number, record) => home.saveGroup(this, number, record),
        forget: (group) => home.forgetGroup(this, group),
        left: () => this.#wasLeft(),
        discarded: (message, options, reason, note) =>
          home.deadLetter(message, options, this.spec, { reason, note, grouped: true }),
      },
      this.#isClaimed,
    );
    return this.#groups;
  }

  /** A consumer, or a member of a group, has gone. */
  #wasLeft(): void {
    this.touch();
    if (this.#closed || !this.spec.autoDelete || !this.#hadConsumer || this.consumerCount > 0) return;
    this.#home.outlived(this);
  }

  #watchExpiry(): void {
    const { expiresMs } = this.spec;
    if (expiresMs < 0) return;
    const { clock } = this.#home.context;
    const dueMs = this.#lastUsedMs + expiresMs;
    this.#expiry = clock.after(Math.max(1, dueMs - clock.nowMs()), () => {
      if (this.#closed) return;
      if (this.consumerCount > 0) this.touch();
      if (this.#lastUsedMs + expiresMs <= clock.nowMs()) this.#home.outlived(this);
      else this.#watchExpiry();
    });
  }
}
