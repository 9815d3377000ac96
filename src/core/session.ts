/**
 * A session: subscriptions and what they gathered, under a name that outlives connections. What may be lost goes
 * straight to the attached consumer and nowhere else; what may not waits in a group under the consumer's credit,
 * on disk for a durable session. Made by `sessions.ts`.
 */

import { checkPattern } from './address-bounds.ts';
import type { Timer } from './clock.ts';
import type { Holder } from './consumers.ts';
import type { Consumer, DeliveryOptions, Subscription } from './delivery.ts';
import type { Entry } from './entry.ts';
import { CoreError } from './errors.ts';
import { Group } from './group.ts';
import type { GroupBounds, GroupContext } from './group-context.ts';
import type { Session, SubscriptionOptions } from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import type { Pattern } from './pattern.ts';
import {
  type Acceptance,
  type Binding,
  type Destination,
  IGNORED,
  optionsOf,
  type Route,
  type Router,
  TAKEN,
} from './router.ts';
import type { Member, SharedSubscription, SharingSession } from './shared.ts';
import { sharedKey } from './shared.ts';
import type { RowLog } from './storage.ts';

/** What a session asks of the registry that made it. */
export interface SessionHome {
  readonly context: GroupContext;
  readonly router: Router;
  readonly limits: Limits;
  readonly bounds: GroupBounds;
  saveSubscription(session: StoredSession, entry: SubscriptionEntry): void;
  forgetSubscription(session: StoredSession, entry: SubscriptionEntry): void;
  saveState(session: StoredSession, key: string, value: Uint8Array | null): void;
  /** `expiresAtMs`: 0 while attached, Infinity for never. */
  saveExpiry(session: StoredSession, expiresAtMs: number): void;
  ended(session: StoredSession): void;
  /** The shared subscription of this name and pattern, made where there is none. */
  openShared(name: string, pattern: Pattern): SharedSubscription;
  shared(key: string): SharedSubscription | undefined;
}

export interface SubscriptionEntry {
  readonly pattern: Pattern;
  readonly options: SubscriptionOptions;
  /** Null for a shared one. */
  readonly binding: Binding | null;
  /** Null for one of its own. */
  readonly member: Member | null;
  /** Names its row. */
  readonly number: number;
}

const NO_STATE: ReadonlyMap<string, Uint8Array> = new Map();

export class StoredSession implements Session, Destination, SharingSession {
  readonly kind = 'session';
  readonly id: string;
  readonly durable: boolean;
  /** Names its rows and its log; 0 for one that does not survive. */
  readonly number: number;
  readonly log: RowLog | null;
  readonly #home: SessionHome;
  readonly #subscriptions = new Map<string, SubscriptionEntry>();
  /** Null while there is none, as of nearly all that end with their connection. */
  #state: Map<string, Uint8Array> | null = null;
  readonly #group: Group;
  #consumer: Consumer | null = null;
  #holder: Holder | null = null;
  /** Shared subscriptions that it is a member of. */
  #members: Member[] = [];
  /** Something of a shared subscription may be here. */
  #hasShared: boolean;
  #expiry: Timer | null = null;
  #nextEntry = 1;
  #hasNoLocal = false;
  #closed = false;

  constructor(home: SessionHome, id: string, number: number, log: RowLog | null) {
    this.#home = home;
    this.id = id;
    this.durable = log !== null;
    this.number = number;
    this.log = log;
    this.#hasShared = log !== null && log.rowCount > 0;
    this.#group = new Group(home.context, {
      log,
      bounds: home.bounds,
      memoryBytesMax: home.limits.queueMemoryBytesMax,
      expiresUnattended: false,
      discarded: () => {},
    });
  }

  get name(): string {
    return this.id;
  }

  get attached(): boolean {
    return this.#consumer !== null;
  }

  get queuedCount(): number {
    return this.#group.readyCount;
  }

  get unsettledCount(): number {
    return this.#group.unsettledCount;
  }

  get subscriptions(): ReadonlyMap<string, SubscriptionEntry> {
    return this.#subscriptions;
  }

  get state(): ReadonlyMap<string, Uint8Array> {
    return this.#state ?? NO_STATE;
  }

  get hasRoom(): boolean {
    return this.#holder !== null && this.#holder.credit > 0 && this.#group.readyCount === 0;
  }

  acceptShared(message: Message, options: DeliveryOptions, order: number): Acceptance {
    this.#hasShared = true;
    return this.#take(message, options, order);
  }

  takeBack(key: string, ended: boolean): Entry[] {
    if (!this.#hasShared) return [];
    const entries = this.#group.takeOut((entry) => {
      if (entry.options.sharedBy !== key) return false;
      // What may be with the client already, and must be there once, is for nobody else.
      return ended || !entry.redelivered || reliabilityOf(entry) < 2;
    });
    return ended ? entries.filter((entry) => !entry.redelivered || reliabilityOf(entry) < 2) : entries;
  }

  accept(message: Message, route: Route): Acceptance {
    let options: DeliveryOptions = route.options;
    if (this.#hasNoLocal && message.publisherId === this.id) {
      const bindings = route.bindings.filter((binding) => binding.options?.noLocal !== true);
      if (bindings.length === 0) return IGNORED;
      options = optionsOf(bindings);
    }
    return this.#take(message, options, 0);
  }

  offer(message: Message, options: DeliveryOptions): void {
    this.#take(message, options, 0);
  }

  putState(key: string, value: Uint8Array): void {
    this.#state ??= new Map();
    this.#state.set(key, value);
    this.#home.saveState(this, key, value);
  }

  removeState(key: string): void {
    if (this.#state?.delete(key) === true) this.#home.saveState(this, key, null);
  }

  subscribe(pattern: Pattern, options: SubscriptionOptions): boolean {
    checkPattern(pattern, this.#home.limits.addressLevelsMax);
    const { group } = options;
    if (group !== undefined && (group === '' || group.includes('/')))
      throw new CoreError('invalid-name', 'the name of a shared subscription is empty or holds a /');
    const known = this.#subscriptions.get(keyOf(pattern, group));
    if (known === undefined && this.#subscriptions.size >= this.#home.limits.subscriptionsPerSessionMax) {
      throw new CoreError(
        'limit-reached',
        `${this.#subscriptions.size} subscriptions already (subscriptionsPerSessionMax)`,
      );
    }
    const entry = this.#bind(pattern, options, known?.number ?? this.#nextEntry++);
    // The new binding stands before the old one goes: no message falls between.
    if (known !== undefined && known.binding !== null) this.#home.router.remove(known.binding);
    this.#home.saveSubscription(this, entry);
    return known === undefined;
  }

  unsubscribe(pattern: Pattern, group?: string): boolean {
    const key = keyOf(pattern, group);
    const entry = this.#subscriptions.get(key);
    if (entry === undefined) return false;
    this.#subscriptions.delete(key);
    this.#unbind(entry);
    this.#home.forgetSubscription(this, entry);
    return true;
  }

  attach(consumer: Consumer): Subscription {
    this.#expiry?.cancel();
    this.#expiry = null;
    const displaced = this.#consumer;
    this.#holder?.close();
    this.#consumer = consumer;
    displaced?.cancelled('displaced');
    this.#home.saveExpiry(this, 0);
    this.#holder = this.#group.consume(consumer, false, 0);
    for (const member of this.#members) member.shared.attach(member);
    return new Attachment(this, this.#holder);
  }

  detach(expiryMs: number): void {
    this.#holder?.close();
    this.#holder = null;
    this.#consumer = null;
    for (const member of this.#members) member.shared.detach(member);
    if (expiryMs <= 0) {
      this.#home.ended(this);
      return;
    }
    if (this.#hasShared) for (const member of this.#members) member.shared.reclaim(this, false);
    const expiresAtMs = this.#home.context.clock.nowMs() + expiryMs;
    this.#home.saveExpiry(this, expiresAtMs);
    this.expireAt(expiresAtMs);
  }

  /** Ends it at that time unless somebody attaches before. */
  expireAt(expiresAtMs: number): void {
    this.#expiry?.cancel();
    this.#expiry = null;
    if (expiresAtMs === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#home.context;
    this.#expiry = clock.after(Math.max(0, expiresAtMs - clock.nowMs()), () => this.#home.ended(this));
  }

  /** Its consumer has got credit: what waits in shared subscriptions is for it too. */
  roomMade(): void {
    if (this.#members.length === 0 || !this.hasRoom) return;
    for (const member of this.#members) member.shared.roomFor(member);
  }

  /** Puts back what the tables hold. */
  restore(pattern: Pattern, options: SubscriptionOptions, number: number): void {
    this.#nextEntry = Math.max(this.#nextEntry, number + 1);
    this.#bind(pattern, options, number);
  }

  restoreState(key: string, value: Uint8Array): void {
    this.#state ??= new Map();
    this.#state.set(key, value);
  }

  close(): void {
    if (this.#closed) return;
    const members = this.#members;
    this.#leave();
    if (this.#hasShared) for (const { shared } of members) shared.reclaim(this, true);
    this.#group.close('deleted');
  }

  /** Becomes what `earlier` was, which ends: subscriptions, state, and all that waits or is unsettled, in its order. */
  succeed(earlier: StoredSession): void {
    // Bound here before they are unbound there: no message falls between.
    for (const { pattern, options } of earlier.#subscriptions.values()) this.subscribe(pattern, options);
    for (const [key, value] of earlier.state) this.putState(key, value);
    earlier.#leave();
    this.#group.adopt(earlier.#group.handOver());
  }

  #leave(): void {
    this.#closed = true;
    this.#expiry?.cancel();
    this.#consumer = null;
    this.#holder = null;
    for (const entry of this.#subscriptions.values()) this.#unbind(entry);
  }

  #take(message: Message, options: DeliveryOptions, sharedOrder: number): Acceptance {
    if (message.reliability === 0 || options.reliability === 0) {
      if (this.#consumer === null) return IGNORED;
      this.#home.context.counters.delivered++;
      this.#consumer.deliver(message, options, null);
      return TAKEN;
    }
    return this.#group.accept(message, options, sharedOrder);
  }

  #bind(pattern: Pattern, options: SubscriptionOptions, number: number): SubscriptionEntry {
    const { group } = options;
    if (group !== undefined) {
      const shared = this.#home.openShared(group, pattern);
      const member = shared.join(this, {
        reliability: options.reliability,
        subscriptionIds: options.id === 0 ? [] : [options.id],
        retained: false,
        keepRetain: options.keepRetain,
        via: null,
        sharedBy: shared.key,
      });
      if (!this.#members.includes(member)) this.#members.push(member);
      const entry: SubscriptionEntry = { pattern, options, binding: null, member, number };
      this.#subscriptions.set(shared.key, entry);
      return entry;
    }
    const binding: Binding = { pattern, destination: this, options, via: null, match: null, rule: null };
    const entry: SubscriptionEntry = { pattern, options, binding, member: null, number };
    this.#subscriptions.set(pattern.key, entry);
    this.#hasNoLocal ||= options.noLocal;
    this.#home.router.add(binding);
    return entry;
  }

  #unbind({ binding, member }: SubscriptionEntry): void {
    if (binding !== null) this.#home.router.remove(binding);
    if (member === null) return;
    this.#members = this.#members.filter((other) => other !== member);
    member.shared.leave(member);
  }
}

/** A consumer's hold on a session: its shared subscriptions hear of the credit. */
class Attachment implements Subscription {
  readonly #session: StoredSession;
  readonly #holder: Holder;

  constructor(session: StoredSession, holder: Holder) {
    this.#session = session;
    this.#holder = holder;
  }

  grant(credit: number): void {
    this.#holder.grant(credit);
    this.#session.roomMade();
  }

  withdraw(): number {
    return this.#holder.withdraw();
  }

  close(keepUnsettled?: boolean): void {
    this.#holder.close(keepUnsettled);
  }
}

function keyOf(pattern: Pattern, group: string | undefined): string {
  return group === undefined ? pattern.key : sharedKey(group, pattern);
}

/** The lower of what the publisher asked and what was granted. */
function reliabilityOf({ message, options }: Entry): number {
  return Math.min(message.reliability, options.reliability);
}
