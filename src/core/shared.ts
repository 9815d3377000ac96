/**
 * A shared subscription: sessions that take turns at the messages of one pattern. Each message goes to one attached
 * member that has credit, into that member's own session, so that what follows (identifiers, exactly-once, redelivery)
 * is the session's. While no member can take more, messages wait here, in order, on disk where a member is durable.
 * Made by `shared-registry.ts`; told by sessions what their members can take.
 *
 * Invariants: a message is in one place, here or in one session, except that its row stays here while a session that does
 * not survive holds it. A session holds nothing that was not sent to its client, as it only gets what its consumer takes at
 * once. What was handed out is older than all that waits, so
 * what comes back, with the order that it was handed out with, goes before it. A member is in `#ready` or has been
 * found without room since it was last told to have some; so a choice costs as much as the credit that it uses up.
 */

import type { Consumer, Delivery, DeliveryOptions } from './delivery.ts';
import { PLAIN_DELIVERY } from './delivery.ts';
import type { Entry, Loan } from './entry.ts';
import { Group } from './group.ts';
import type { GroupBounds, GroupContext } from './group-context.ts';
import type { Limits } from './limits.ts';
import type { Moved } from './log-moves.ts';
import type { Message } from './message.ts';
import type { Pattern } from './pattern.ts';
import { type Acceptance, type Binding, type Destination, IGNORED, TAKEN, WRITTEN } from './router.ts';
import { chooseLeastLoaded, hashText, type SharingStrategy } from './sharing.ts';
import type { RowLog } from './storage.ts';

/** A session as its shared subscriptions see it. */
export interface SharingSession {
  readonly id: string;
  readonly durable: boolean;
  readonly attached: boolean;
  readonly unsettledCount: number;
  /** Its consumer would get a message at once that must be settled. */
  readonly hasRoom: boolean;
  /** Its consumer may be handed messages of this address. */
  mayHave(address: string): boolean;
  /** `order`: kept with the message, for `takeBack`. `loan`: its row, which goes with it. */
  acceptShared(message: Message, options: DeliveryOptions, order: number, loan: Loan | null): Acceptance;
  /** Gives up what it holds in memory of this shared subscription and may pass on, oldest first. Nobody is attached. */
  takeBack(key: string): Entry[];
  /** Begins to give back what it holds on disk only, of all shared subscriptions. Nobody is attached. */
  returnStored(): void;
}

/** One session's part in a shared subscription. */
export class Member {
  readonly shared: SharedSubscription;
  readonly session: SharingSession;
  /** As granted to this member. Shared by all its messages. */
  options: DeliveryOptions;
  /** Its place among those that may have room, or -1. */
  readyAt = -1;

  constructor(shared: SharedSubscription, session: SharingSession, options: DeliveryOptions) {
    this.shared = shared;
    this.session = session;
    this.options = options;
  }

  /** What it takes without settling never runs out of credit. */
  get hasRoom(): boolean {
    return this.options.reliability === 0 ? this.session.attached : this.session.hasRoom;
  }
}

/** What a shared subscription asks of the registry that made it. */
export interface SharedHome {
  readonly context: GroupContext;
  readonly limits: Limits;
  readonly bounds: GroupBounds;
  readonly strategy: SharingStrategy;
  /** The log of one that begins to be durable. */
  createLog(shared: SharedSubscription): RowLog;
  /** The last member has left. */
  ended(shared: SharedSubscription): void;
}

export class SharedSubscription implements Destination, Consumer {
  readonly kind = 'shared';
  readonly name: string;
  readonly key: string;
  readonly pattern: Pattern;
  readonly binding: Binding;
  readonly #home: SharedHome;
  readonly #members = new Map<SharingSession, Member>();
  #durableCount = 0;
  /** In the order of their coming. */
  readonly #attached: Member[] = [];
  readonly #ready: Member[] = [];
  #turn = 0;
  #favourite: Member | null = null;
  #log: RowLog | null;
  #waiting: Group;
  #hold: ReturnType<Group['consume']>;
  #pumping = false;
  /** The oldest that waits is for members that have no room now, and is on its way back. */
  #blocked = false;
  /** Somebody has got room meanwhile. */
  #roomed = false;
  #closed = false;

  constructor(home: SharedHome, name: string, pattern: Pattern, log: RowLog | null) {
    this.#home = home;
    this.name = name;
    this.pattern = pattern;
    this.key = sharedKey(name, pattern);
    this.binding = { pattern, destination: this, options: null, via: null, match: null, rule: null };
    this.#log = log;
    [this.#waiting, this.#hold] = this.#openWaiting(log);
  }

  get log(): RowLog | null {
    return this.#log;
  }

  get memberCount(): number {
    return this.#members.size;
  }

  get waitingCount(): number {
    return this.#waiting.readyCount;
  }

  accept(message: Message): Acceptance {
    if (message.reliability === 0) {
      // Nobody there: it may be lost. Nobody with room: a member's consumer knows what to do with it.
      const member = this.#choose(message) ?? this.#anyAttached(message.address);
      return member === null ? IGNORED : member.session.acceptShared(message, member.options, 0, null);
    }
    if (this.#waiting.readyCount === 0 && this.#waiting.unsettledCount === 0) {
      const member = this.#choose(message);
      if (member !== null) {
        const loan = this.#keepsFor(member, message) ? this.#waiting.lend(message, PLAIN_DELIVERY) : null;
        const said = member.session.acceptShared(message, member.options, this.#waiting.drawOrder(), loan);
        return loan === null ? said : WRITTEN;
      }
    }
    const said = this.#waiting.accept(message, PLAIN_DELIVERY);
    // Somebody may take what is paged out before it.
    if (said === WRITTEN || said === TAKEN) this.pump();
    return said;
  }

  /** The session becomes a member, or gets other options. */
  join(session: SharingSession, options: DeliveryOptions): Member {
    const known = this.#members.get(session);
    if (known !== undefined) {
      known.options = options;
      this.roomFor(known);
      return known;
    }
    const member = new Member(this, session, options);
    this.#members.set(session, member);
    if (session.durable) {
      this.#durableCount++;
      this.#becomeDurable();
    }
    if (session.attached) this.attach(member);
    return member;
  }

  /** The session is no member any more. What it holds was sent to it, and stays with it until it ends. */
  leave(member: Member): void {
    if (!this.#members.delete(member.session)) return;
    if (member.session.durable) this.#durableCount--;
    this.detach(member);
    if (this.#members.size === 0) this.#home.ended(this);
  }

  /** Its consumer is there. What absent members hold is for it too. */
  attach(member: Member): void {
    if (this.#attached.includes(member)) return;
    this.#attached.push(member);
    for (const other of this.#members.values()) {
      if (other === member || other.session.attached) continue;
      this.#putFirst(other.session.takeBack(this.key));
      other.session.returnStored();
    }
    this.roomFor(member);
  }

  /** Its consumer has gone. */
  detach(member: Member): void {
    const at = this.#attached.indexOf(member);
    if (at >= 0) this.#attached.splice(at, 1);
    this.#unready(member);
    if (this.#favourite === member) this.#favourite = null;
  }

  /** The share of a session that nobody is attached to any more goes to the others, where any is there. */
  reclaim(session: SharingSession): void {
    if (this.#attached.length > 0) this.putBack(session.takeBack(this.key));
  }

  /** What a session gave up, oldest first. */
  putBack(moved: readonly Moved[]): void {
    if (this.#closed) return;
    this.#putFirst(moved);
    this.pump();
  }

  /** The member may have room now. */
  roomFor(member: Member): void {
    if (!member.hasRoom || this.#closed) return;
    if (member.readyAt < 0 && this.#members.get(member.session) === member) {
      member.readyAt = this.#ready.length;
      this.#ready.push(member);
    }
    this.pump();
  }

  /** Hands out what waits while somebody has room. */
  pump(): void {
    if (this.#blocked) this.#roomed = true;
    if (this.#pumping || this.#blocked || this.#closed) return;
    this.#pumping = true;
    try {
      while (!this.#blocked && this.#waiting.readyCount > 0 && this.#hasReady()) {
        const before = this.#waiting.readyCount;
        this.#hold.withdraw();
        this.#hold.grant(1);
        // All that waits stands only in the log: it comes when it is read.
        if (this.#waiting.readyCount === before) return;
      }
      this.#hold.withdraw();
    } finally {
      this.#pumping = false;
    }
  }

  /** The next that waits, from the group. */
  deliver(message: Message, _options: DeliveryOptions, delivery: Delivery | null): void {
    const entry = delivery as Entry;
    const member = this.#choose(message);
    if (member === null) {
      this.#blocked = true;
      this.#roomed = false;
      // Read back later than it was asked for. The group is in the middle of its own work.
      this.#home.context.clock.afterTurn(() => {
        this.#blocked = false;
        entry.settle('released');
        if (this.#roomed) this.pump();
      });
      return;
    }
    const loan = this.#log !== null && this.#keepsFor(member, message) ? entry.lendRow(this.#log) : null;
    member.session.acceptShared(message, member.options, entry.sequence, loan);
    this.#home.context.counters.delivered--;
    entry.settle('accepted');
    if (!this.#pumping) this.#home.context.clock.afterTurn(() => this.pump());
  }

  cancelled(): void {}

  close(): void {
    this.#closed = true;
    this.#waiting.close('deleted');
  }

  /**
   * What a session that does not survive holds is kept here for the others. Not what must arrive once: it may have been
   * sent, and nobody else may get it then.
   */
  #keepsFor(member: Member, message: Message): boolean {
    if (this.#durableCount === 0 || member.session.durable) return false;
    return Math.min(message.reliability, member.options.reliability) === 1;
  }

  #putFirst(moved: readonly Moved[]): void {
    if (moved.length > 0) this.#waiting.putFirst(moved);
  }

  /** One with room that may have the message; null when there is none. What no member may have goes to any of them. */
  #choose(message: Message): Member | null {
    const { address } = message;
    const chosen = this.#chooseFor(message);
    if (chosen === null || chosen.session.mayHave(address)) return chosen;
    const entitled = this.#attached.filter((member) => member.session.mayHave(address));
    if (entitled.length === 0) return chosen;
    return entitled.find((member) => member.hasRoom) ?? null;
  }

  /** The strategy's choice among those with room; null when there is none. */
  #chooseFor(message: Message): Member | null {
    if (!this.#hasReady()) return null;
    const ready = this.#ready;
    switch (this.#home.strategy) {
      case 'random':
        return this.#firstReadyFrom(Math.floor(Math.random() * ready.length));
      case 'sticky': {
        if (this.#favourite === null || !this.#isReady(this.#favourite))
          this.#favourite = this.#firstReadyFrom(0);
        return this.#favourite;
      }
      case 'least-loaded':
        return chooseLeastLoaded(ready, this.#turn++, loadOf) ?? this.#nextInTurn();
      case 'hash-publisher':
        return this.#chosenBy(message.publisherId);
      case 'hash-address':
        return this.#chosenBy(message.address);
      case 'round-robin':
        return this.#nextInTurn();
    }
  }

  #chosenBy(text: string): Member | null {
    const member = this.#attached[hashText(text) % this.#attached.length] as Member;
    return this.#isReady(member) ? member : this.#nextInTurn();
  }

  #nextInTurn(): Member | null {
    const member = this.#firstReadyFrom(this.#turn);
    if (member !== null) this.#turn = member.readyAt + 1;
    return member;
  }

  /** From that place on, round; whoever has no room is struck off. */
  #firstReadyFrom(place: number): Member | null {
    const ready = this.#ready;
    let at = place;
    while (ready.length > 0) {
      if (at >= ready.length) at = 0;
      const member = ready[at] as Member;
      if (member.hasRoom) return member;
      this.#unready(member);
    }
    return null;
  }

  #hasReady(): boolean {
    return this.#firstReadyFrom(this.#turn) !== null;
  }

  #isReady(member: Member): boolean {
    if (member.readyAt < 0) return false;
    if (member.hasRoom) return true;
    this.#unready(member);
    return false;
  }

  #unready(member: Member): void {
    const at = member.readyAt;
    if (at < 0) return;
    member.readyAt = -1;
    const last = this.#ready.pop() as Member;
    if (last === member) return;
    this.#ready[at] = last;
    last.readyAt = at;
  }

  #anyAttached(address: string): Member | null {
    const count = this.#attached.length;
    if (count === 0) return null;
    const next = this.#attached[this.#turn++ % count] as Member;
    if (next.session.mayHave(address)) return next;
    return this.#attached.find((member) => member.session.mayHave(address)) ?? next;
  }

  #becomeDurable(): void {
    if (this.#log !== null) return;
    const log = this.#home.createLog(this);
    const entries = this.#waiting.handOver();
    this.#log = log;
    [this.#waiting, this.#hold] = this.#openWaiting(log);
    this.#waiting.adopt(entries);
  }

  #openWaiting(log: RowLog | null): [Group, ReturnType<Group['consume']>] {
    const { context, bounds, limits } = this.#home;
    const group = new Group(context, {
      log,
      bounds,
      memoryBytesMax: limits.queueMemoryBytesMax,
      expiresUnattended: false,
      discarded: (_message, _options, reason) => {
        if (reason === 'overflow') context.droppedFor(this.key);
      },
    });
    return [group, group.consume(this, false, 0)];
  }
}

function loadOf(member: Member): number {
  return member.hasRoom ? member.session.unsettledCount : Number.POSITIVE_INFINITY;
}

/** Equal only for the same group of the same pattern. No name holds a `/`. */
export function sharedKey(name: string, pattern: Pattern): string {
  return `${name}/${pattern.key}`;
}
