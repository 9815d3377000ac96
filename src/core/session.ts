/**
 * A session: subscriptions and what they gathered, under a name that outlives connections. What may be lost goes
 * straight to the attached consumer and nowhere else; what may not waits in a group under the consumer's credit,
 * on disk for a durable session. Made by `sessions.ts`.
 */

import { checkPattern } from './address-bounds.ts';
import type { Timer } from './clock.ts';
import type { Holder } from './consumers.ts';
import type { Consumer, DeliveryOptions, Subscription } from './delivery.ts';
import type { Entry, Loan } from './entry.ts';
import { CoreError } from './errors.ts';
import { Group } from './group.ts';
import type { GroupBounds, GroupContext } from './group-context.ts';
import type { Session, SubscriptionOptions } from './index.ts';
import { KeptBytes } from './kept-bytes.ts';
import type { Limits } from './limits.ts';
import { type Move, type Moved, moveRows } from './log-moves.ts';
import type { LogTurns } from './log-turns.ts';
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
  readonly sharedCount: number;
  /** What goes back to shared subscriptions from logs takes turns here. */
  readonly moves: LogTurns;
}

const keptState = new KeptBytes();

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
  /** Something of one may be among what stands only in the log. */
  #hasStoredShared: boolean;
  /** Rows below it were there at the start: they were sent before. */
  readonly #recoveredBelow: number;
  #isReturning = false;
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
    this.#hasStoredShared = this.#hasShared;
    this.#recoveredBelow = log?.endOffset ?? 0;
    this.#group = new Group(home.context, {
      log,
      bounds: home.bounds,
      memoryBytesMax: home.limits.queueMemoryBytesMax,
      expiresUnattended: false,
      pagesUnattended: true,
      ...(log === null ? {} : { caughtUp: () => this.roomMade() }),
      discarded: (_message, _options, reason) => {
        if (reason === 'overflow') home.context.droppedFor(id);
      },
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

  mayHave(address: string): boolean {
    return this.#consumer?.mayHave?.(address) ?? true;
  }

  acceptShared(message: Message, options: DeliveryOptions, order: number, loan: Loan | null): Acceptance {
    this.#hasShared = true;
    return this.#take(message, options, order, loan);
  }

  takeBack(key: string): Entry[] {
    if (!this.#hasShared) return [];
    // What may be with the client already, and must be there once, is for nobody else.
    return this.#group.takeOut((entry) => entry.options.sharedBy === key && mayPassOn(entry));
  }

  returnStored(): void {
    if (!this.#hasStoredShared || !this.#group.isPaged || this.#isReturning) return;
    this.#isReturning = true;
    const { context, moves } = this.#home;
    moves
      .run(() => this.#group.moveOut(this.#moveUntil(() => this.#consumer !== null || this.#closed)))
      .then((whole) => {
        this.#isReturning = false;
        if (whole) this.#hasStoredShared = false;
      })
      .catch((error: unknown) => {
        this.#isReturning = false;
        context.readFailed(error);
      });
  }

  accept(message: Message, route: Route): Acceptance {
    let options: DeliveryOptions = route.options;
    if (this.#hasNoLocal && message.publisherId === this.id) {
      const bindings = route.bindings.filter((binding) => binding.options?.noLocal !== true);
      if (bindings.length === 0) return IGNORED;
      options = optionsOf(bindings);
    }
    return this.#take(message, options, 0, null);
  }

  offer(message: Message, options: DeliveryOptions): void {
    this.#take(message, options, 0, null);
  }

  putState(key: string, value: Uint8Array): void {
    this.#state ??= new Map();
    const kept = keptState.keep(value);
    this.#state.set(key, kept);
    this.#home.saveState(this, key, kept);
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
    if (this.#hasShared) for (const member of this.#members) member.shared.reclaim(this);
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
    this.#state.set(key, keptState.keep(value));
  }

  /**
   * Ends it; what it holds of shared subscriptions goes back to them. Null where that is done at once; otherwise its log
   * has to stay until the promise says that nothing in it is wanted any more: false where the process ends before.
   */
  close(): Promise<boolean> | null {
    if (this.#closed) return null;
    this.#leave();
    if (this.#hasShared) this.#returnAtHand();
    const { log } = this;
    const isReturning = this.#hasStoredShared && this.#group.isPaged && this.#home.sharedCount > 0;
    this.#group.close('deleted');
    if (!isReturning || log === null) return null;
    const { context, moves } = this.#home;
    const move = this.#moveUntil(() => false);
    return moves.run(() => moveRows(context, log, 0, move));
  }

  /** Becomes what `earlier` was, which ends: subscriptions, state, and all that waits or is unsettled, in its order. */
  succeed(earlier: StoredSession): void {
    // Bound here before they are unbound there: no message falls between.
    for (const { pattern, options } of earlier.#subscriptions.values()) this.subscribe(pattern, options);
    for (const [key, value] of earlier.state) this.putState(key, value);
    earlier.#leave();
    this.#hasShared ||= earlier.#hasShared;
    this.#group.adopt(earlier.#group.handOver());
  }

  #leave(): void {
    this.#closed = true;
    this.#expiry?.cancel();
    this.#consumer = null;
    this.#holder = null;
    for (const entry of this.#subscriptions.values()) this.#unbind(entry);
  }

  /** Gives what is in memory back to the shared subscriptions that are still there. */
  #returnAtHand(): void {
    const all = this.#group.takeOut((entry) => entry.options.sharedBy !== undefined);
    this.#putBack(all.filter(mayPassOn));
  }

  /** Of what stands only in the log, to the shared subscriptions that are still there. */
  #moveUntil(isOver: () => boolean): Move {
    const { moves } = this.#home;
    return {
      goesOn: () => !moves.closed && !isOver(),
      wants: (message, options, offset) => {
        if (options.sharedBy === undefined || this.#home.shared(options.sharedBy) === undefined) return false;
        return offset >= this.#recoveredBelow || reliabilityOf(message, options) < 2;
      },
      put: (moved) => this.#putBack(moved),
    };
  }

  #putBack(moved: readonly Moved[]): void {
    const byKey = new Map<string, Moved[]>();
    for (const one of moved) {
      const { sharedBy = '' } = one.options;
      const others = byKey.get(sharedBy);
      if (others === undefined) byKey.set(sharedBy, [one]);
      else others.push(one);
    }
    for (const [key, those] of byKey) this.#home.shared(key)?.putBack(those);
  }

  #take(message: Message, options: DeliveryOptions, sharedOrder: number, loan: Loan | null): Acceptance {
    if (message.reliability === 0 || options.reliability === 0) {
      if (this.#consumer === null) return IGNORED;
      this.#home.context.counters.delivered++;
      this.#consumer.deliver(message, options, null);
      return TAKEN;
    }
    return this.#group.accept(message, options, sharedOrder, loan);
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
function reliabilityOf(message: Message, options: DeliveryOptions): number {
  return Math.min(message.reliability, options.reliability);
}

function mayPassOn({ message, options, redelivered }: Entry): boolean {
  return !redelivered || reliabilityOf(message, options) < 2;
}
