/**
 * The named groups of one queue: each message that reaches the queue is given to every group whose filter it matches.
 * A queue that nobody claimed under its own name keeps for later groups what no group wanted; what it gathered before
 * there was a group is handed to the first that wants it, in its order. Belongs to one queue.
 *
 * A filter is relative to the queue: what was published to the queue's own address matches by the levels below it,
 * what came through an exchange by its key there.
 */

import { originOf, queueAddress, queueLevels } from './address.ts';
import { checkPattern } from './address-bounds.ts';
import type { Attempts } from './attempts.ts';
import type { Consumer, Delivery, DeliveryOptions, Outcome, Subscription } from './delivery.ts';
import { CoreError } from './errors.ts';
import type { Group } from './group.ts';
import type { GroupContext } from './group-context.ts';
import type { QueueSpec } from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import { MANY, ONE, Pattern, type Token } from './pattern.ts';
import { NamedGroup, type NamedGroupOptions } from './queue-group.ts';
import { type Acceptance, FULL, IGNORED } from './router.ts';
import type { RowLog } from './storage.ts';

/** What stands in the table for one group. */
export interface GroupRecord {
  readonly name: string;
  /** `Pattern.key`. */
  readonly pattern: string;
}

export interface QueueGroupsOptions {
  readonly context: GroupContext;
  readonly limits: Limits;
  readonly spec: QueueSpec;
  /** The group of those who consume the queue without naming one. */
  readonly unnamed: Group;
  /** The log of a new group; null where the queue has none. */
  createLog(number: number): RowLog | null;
  /** Of a group that has a log. */
  attemptsOf(number: number): Attempts;
  save(number: number, record: GroupRecord): void;
  forget(group: NamedGroup): void;
  /** A member has gone. */
  left(): void;
  readonly discarded: NamedGroupOptions['discarded'];
}

/** Messages that no group wanted are held by the hand-over up to so many; more wait where they are. */
const KEPT_MAX = 10_000;
/** Handed over at once; a long queue leaves time to others in between. */
const HAND_OVER_STEP = 1_000;
/** Characters of a group's name. */
const NAME_LENGTH_MAX = 512;

export class QueueGroups {
  readonly #options: QueueGroupsOptions;
  readonly #address: string;
  readonly #groups = new Map<string, NamedGroup>();
  /** While nobody claimed the queue. */
  #handOver: HandOver | null;
  #nextNumber = 1;

  constructor(options: QueueGroupsOptions, claimed: boolean) {
    this.#options = options;
    this.#address = queueAddress(options.spec.name);
    this.#handOver = claimed ? null : new HandOver(this, options.unnamed, options.context);
  }

  get size(): number {
    return this.#groups.size;
  }

  values(): Iterable<NamedGroup> {
    return this.#groups.values();
  }

  get consumerCount(): number {
    let count = 0;
    for (const group of this.#groups.values()) count += group.consumerCount;
    return count;
  }

  /** What the hand-over holds, which is still the queue's. */
  get keptCount(): number {
    return this.#handOver?.keptCount ?? 0;
  }

  /** Counted by the group of the unnamed, and no consumer. */
  get handOverCount(): number {
    return this.#handOver?.isOpen === true ? 1 : 0;
  }

  accept(message: Message, options: DeliveryOptions): Acceptance {
    const { unnamed } = this.#options;
    if (this.#groups.size === 0) return unnamed.accept(message, options);
    const handOver = this.#handOver;
    // What waits there goes first.
    if (handOver?.isBehind === true) return unnamed.accept(message, options);
    const address = this.#addressOf(message, options);
    let result: Acceptance = IGNORED;
    let isWanted = false;
    for (const group of this.#groups.values()) {
      if (!group.wants(address)) continue;
      isWanted = true;
      const said = group.accept(message, options);
      if (said > result) result = said;
    }
    if (isWanted && handOver !== null) return result;
    const said = unnamed.accept(message, options);
    return said > result ? said : result;
  }

  /** Gives the message to the groups that want it; `only`: to that one. Returns whether any did. */
  offer(message: Message, options: DeliveryOptions, only: NamedGroup | null): boolean {
    const address = this.#addressOf(message, options);
    let isWanted = false;
    for (const group of only === null ? this.#groups.values() : [only]) {
      if (!group.wants(address)) continue;
      isWanted = group.accept(message, options) !== FULL || isWanted;
    }
    return isWanted;
  }

  /** The group of this name and filter, made where there is none. */
  open(name: string, filter: readonly Token[]): NamedGroup {
    const pattern = new Pattern([...queueLevels(this.#options.spec.name), ...filter]);
    const id = groupId(name, filter);
    const known = this.#groups.get(id);
    if (known !== undefined) return known;
    if (name === '' || name.length > NAME_LENGTH_MAX || name.includes('@')) {
      throw new CoreError(
        'invalid-name',
        `a group has a name of 1 to ${NAME_LENGTH_MAX} characters without @`,
      );
    }
    const { limits } = this.#options;
    checkPattern(pattern, limits.addressLevelsMax);
    if (this.#groups.size >= limits.groupsPerQueueMax) {
      throw new CoreError('limit-reached', `the queue has ${this.#groups.size} groups (groupsPerQueueMax)`);
    }
    const number = this.#nextNumber++;
    const group = this.#add(name, id, pattern, number, this.#options.createLog(number));
    this.#options.save(number, { name, pattern: pattern.key });
    this.#handOver?.begin(group);
    return group;
  }

  /** Puts back what the table holds. */
  restore(number: number, record: GroupRecord, log: RowLog): void {
    const pattern = Pattern.parse(record.pattern);
    this.#nextNumber = Math.max(this.#nextNumber, number + 1);
    this.#add(record.name, groupId(record.name, pattern.tokens.slice(2)), pattern, number, log);
  }

  /** All are restored: what waited to be handed over goes to each of them. */
  restored(): void {
    this.#handOver?.begin(null);
  }

  /** Returns false where no group has that id. */
  remove(id: string, reason: 'deleted' | 'expired'): boolean {
    const group = this.#groups.get(id);
    if (group === undefined) return false;
    this.#groups.delete(id);
    group.close(reason);
    this.#options.forget(group);
    return true;
  }

  /**
   * Settles what a member holds at this offset. `id` is a group's id, or its name alone where only one group of that
   * name holds the offset; empty where only one group of all does.
   */
  settle(id: string, offset: number, outcome: Outcome, note: string): boolean {
    const exact = this.#groups.get(id);
    if (exact?.holds(offset) === true) return exact.settle(offset, outcome, note);
    let found: NamedGroup | null = null;
    for (const group of this.#groups.values()) {
      if ((id !== '' && group.name !== id) || !group.holds(offset)) continue;
      if (found !== null) return false;
      found = group;
    }
    return found?.settle(offset, outcome, note) ?? false;
  }

  /** Drops what no group wanted. Returns how many. */
  purge(): number {
    return this.#handOver?.purge() ?? 0;
  }

  /** The queue is used under its own name: from now on it keeps its own copy of everything. */
  claim(): void {
    this.#handOver?.close();
    this.#handOver = null;
  }

  close(reason: 'deleted' | 'expired'): void {
    this.#handOver?.close();
    this.#handOver = null;
    for (const group of this.#groups.values()) {
      group.close(reason);
      this.#options.forget(group);
    }
    this.#groups.clear();
  }

  #add(name: string, id: string, pattern: Pattern, number: number, log: RowLog | null): NamedGroup {
    const { context, limits, spec, discarded, left } = this.#options;
    const group = new NamedGroup({
      context,
      limits,
      spec,
      name,
      id,
      pattern,
      number,
      log,
      attempts: log === null ? null : this.#options.attemptsOf(number),
      discarded,
      left,
      outlived: (idle) => this.remove(idle.id, 'expired'),
    });
    this.#groups.set(id, group);
    return group;
  }

  #addressOf(message: Message, options: DeliveryOptions): string {
    const { address } = message;
    const own = this.#address;
    if (address.startsWith(own) && (address.length === own.length || address[own.length] === '/'))
      return address;
    const { key } = originOf(address, options.via);
    return key === '' ? own : `${own}/${key}`;
  }
}

/** `name` for the group of all messages, `name@filter` for others. */
function groupId(name: string, filter: readonly Token[]): string {
  if (filter.length === 1 && filter[0] === MANY) return name;
  const text = filter.map((token) => (token === ONE ? '+' : token === MANY ? '#' : token)).join('/');
  return `${name}@${text}`;
}

/**
 * Takes what the unnamed group gathered and offers it to the named ones, as a consumer of it. What nobody wants it
 * holds, unsettled, for groups to come. Unlike other consumers it settles from inside a delivery, so that a message is
 * out of one log in the commit that has it in the others: nothing is doubled by a crash.
 */
class HandOver implements Consumer {
  readonly #groups: QueueGroups;
  readonly #unnamed: Group;
  readonly #context: GroupContext;
  #subscription: Subscription | null = null;
  #kept: Delivery[] = [];
  /** Credit that the unnamed group has. */
  #granted = 0;
  #isDue = false;

  constructor(groups: QueueGroups, unnamed: Group, context: GroupContext) {
    this.#groups = groups;
    this.#unnamed = unnamed;
    this.#context = context;
  }

  get isOpen(): boolean {
    return this.#subscription !== null;
  }

  get keptCount(): number {
    return this.#kept.length;
  }

  /** Older messages than any that come now wait to be handed over. */
  get isBehind(): boolean {
    return this.#subscription !== null && this.#unnamed.readyCount > 0 && this.#kept.length < KEPT_MAX;
  }

  /** There are groups now, `added` among them. */
  begin(added: NamedGroup | null): void {
    if (added !== null && this.#kept.length > 0) {
      const kept = this.#kept;
      this.#kept = [];
      for (const delivery of kept) {
        if (this.#groups.offer(delivery.message, delivery.options, added)) delivery.settle('accepted');
        else this.#kept.push(delivery);
      }
      this.#topUpLater();
    }
    if (this.#subscription !== null) return;
    this.#subscription = this.#unnamed.consume(this, false, 0);
    this.#topUp();
  }

  deliver(message: Message, options: DeliveryOptions, delivery: Delivery | null): void {
    this.#granted--;
    if (delivery === null) return;
    if (this.#groups.offer(message, options, null)) delivery.settle('accepted');
    else this.#kept.push(delivery);
    this.#topUpLater();
  }

  cancelled(): void {
    this.#subscription = null;
    this.#kept = [];
  }

  /** Drops what it holds. Returns how many. */
  purge(): number {
    const kept = this.#kept;
    this.#kept = [];
    for (const delivery of kept) delivery.settle('accepted');
    this.#topUpLater();
    return kept.length;
  }

  /** What was not handed over goes back in its order. */
  close(): void {
    this.#subscription?.close();
    this.#subscription = null;
    this.#kept = [];
  }

  /** Not from inside a delivery: what is granted is delivered at once. */
  #topUpLater(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#context.clock.afterTurn(() => {
      this.#isDue = false;
      this.#topUp();
    });
  }

  #topUp(): void {
    const credit = Math.min(HAND_OVER_STEP, KEPT_MAX - this.#kept.length) - this.#granted;
    if (this.#subscription === null || credit <= 0) return;
    this.#granted += credit;
    this.#subscription.grant(credit);
  }
}
