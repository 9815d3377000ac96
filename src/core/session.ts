/**
 * A session: subscriptions and what they gathered, under a name that outlives connections. What may be lost goes
 * straight to the attached consumer and nowhere else; what may not waits in a group under the consumer's credit,
 * on disk for a durable session. Made by `sessions.ts`.
 */

import { checkPattern } from './address-bounds.ts';
import type { Timer } from './clock.ts';
import type { Consumer, DeliveryOptions, Subscription } from './delivery.ts';
import { CoreError } from './errors.ts';
import { Group, type GroupBounds, type GroupContext } from './group.ts';
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
}

export interface SubscriptionEntry {
  readonly pattern: Pattern;
  readonly options: SubscriptionOptions;
  readonly binding: Binding;
  /** Names its row. */
  readonly number: number;
}

export class StoredSession implements Session, Destination {
  readonly kind = 'session';
  readonly id: string;
  readonly durable: boolean;
  /** Names its rows and its log; 0 for one that does not survive. */
  readonly number: number;
  readonly log: RowLog | null;
  readonly #home: SessionHome;
  readonly #subscriptions = new Map<string, SubscriptionEntry>();
  readonly #state = new Map<string, Uint8Array>();
  readonly #group: Group;
  #consumer: Consumer | null = null;
  #subscription: Subscription | null = null;
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
    return this.#state;
  }

  accept(message: Message, route: Route): Acceptance {
    let options: DeliveryOptions = route.options;
    if (this.#hasNoLocal && message.publisherId === this.id) {
      const bindings = route.bindings.filter((binding) => binding.options?.noLocal !== true);
      if (bindings.length === 0) return IGNORED;
      options = optionsOf(bindings);
    }
    return this.#take(message, options);
  }

  offer(message: Message, options: DeliveryOptions): void {
    this.#take(message, options);
  }

  putState(key: string, value: Uint8Array): void {
    this.#state.set(key, value);
    this.#home.saveState(this, key, value);
  }

  removeState(key: string): void {
    if (this.#state.delete(key)) this.#home.saveState(this, key, null);
  }

  subscribe(pattern: Pattern, options: SubscriptionOptions): boolean {
    checkPattern(pattern, this.#home.limits.addressLevelsMax);
    const known = this.#subscriptions.get(pattern.key);
    if (known === undefined && this.#subscriptions.size >= this.#home.limits.subscriptionsPerSessionMax) {
      throw new CoreError(
        'limit-reached',
        `${this.#subscriptions.size} subscriptions already (subscriptionsPerSessionMax)`,
      );
    }
    const entry = this.#bind(pattern, options, known?.number ?? this.#nextEntry++);
    // The new binding stands before the old one goes: no message falls between.
    if (known !== undefined) this.#home.router.remove(known.binding);
    this.#home.saveSubscription(this, entry);
    return known === undefined;
  }

  unsubscribe(pattern: Pattern): boolean {
    const entry = this.#subscriptions.get(pattern.key);
    if (entry === undefined) return false;
    this.#subscriptions.delete(pattern.key);
    this.#home.router.remove(entry.binding);
    this.#home.forgetSubscription(this, entry);
    return true;
  }

  attach(consumer: Consumer): Subscription {
    this.#expiry?.cancel();
    this.#expiry = null;
    const displaced = this.#consumer;
    this.#subscription?.close();
    this.#consumer = consumer;
    displaced?.cancelled('displaced');
    this.#home.saveExpiry(this, 0);
    this.#subscription = this.#group.consume(consumer, false, 0);
    return this.#subscription;
  }

  detach(expiryMs: number): void {
    this.#subscription?.close();
    this.#subscription = null;
    this.#consumer = null;
    if (expiryMs <= 0) {
      this.#home.ended(this);
      return;
    }
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

  /** Puts back what the tables hold. */
  restore(pattern: Pattern, options: SubscriptionOptions, number: number): void {
    this.#nextEntry = Math.max(this.#nextEntry, number + 1);
    this.#bind(pattern, options, number);
  }

  restoreState(key: string, value: Uint8Array): void {
    this.#state.set(key, value);
  }

  close(): void {
    if (this.#closed) return;
    this.#leave();
    this.#group.close('deleted');
  }

  /** Becomes what `earlier` was, which ends: subscriptions, state, and all that waits or is unsettled, in its order. */
  succeed(earlier: StoredSession): void {
    // Bound here before they are unbound there: no message falls between.
    for (const { pattern, options } of earlier.#subscriptions.values()) this.subscribe(pattern, options);
    for (const [key, value] of earlier.#state) this.putState(key, value);
    earlier.#leave();
    this.#group.adopt(earlier.#group.handOver());
  }

  #leave(): void {
    this.#closed = true;
    this.#expiry?.cancel();
    for (const { binding } of this.#subscriptions.values()) this.#home.router.remove(binding);
    this.#consumer = null;
    this.#subscription = null;
  }

  #take(message: Message, options: DeliveryOptions): Acceptance {
    if (message.reliability === 0 || options.reliability === 0) {
      if (this.#consumer === null) return IGNORED;
      this.#home.context.counters.delivered++;
      this.#consumer.deliver(message, options, null);
      return TAKEN;
    }
    return this.#group.accept(message, options);
  }

  #bind(pattern: Pattern, options: SubscriptionOptions, number: number): SubscriptionEntry {
    const binding: Binding = { pattern, destination: this, options, via: null, match: null, rule: null };
    const entry: SubscriptionEntry = { pattern, options, binding, number };
    this.#subscriptions.set(pattern.key, entry);
    this.#hasNoLocal ||= options.noLocal;
    this.#home.router.add(binding);
    return entry;
  }
}
