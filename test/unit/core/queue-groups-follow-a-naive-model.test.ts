/**
 * Random days in the life of a queue with groups, against a model that only counts: every group that wants a message has
 * it accepted or dead-lettered exactly once, whatever members, timeouts and restarts do in between.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Delivery, MANY, type Outcome, type QueueGroup, type Token } from '../../../src/core/index.ts';
import { bodyOf, collect, messageTo, openTestCore, type TestCore } from '../../support/core.ts';

const ALICE = { user: 'alice', groups: [], clientId: 'a' };
/** Whether a group wants a message of this key. */
const GROUPS: readonly (readonly [
  name: string,
  filter: readonly Token[],
  wants: (key: string) => boolean,
])[] = [
  ['all', [MANY], () => true],
  ['eu', ['eu', MANY], (key) => key.startsWith('eu')],
  ['new', [MANY, 'new'], (key) => key.endsWith('new')],
  ['more', [MANY], () => true],
];
const KEYS = ['eu', 'eu/new', 'us', 'us/new'];
const OUTCOMES: readonly Outcome[] = ['accepted', 'modified', 'rejected', 'released'];

const pick = fc.nat({ max: 1_000 });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('publish' as const), pick }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('join' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), pick }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('settle' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('turn' as const), pick }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), pick }) },
);

const LIMITS = { deliveryAttemptsMax: 3, queueMemoryBytesMax: 2_000 };

class Day {
  world!: TestCore;
  #sent = 0;
  /** By group, the messages that are its own. */
  readonly owed = new Map<string, Set<string>>();
  /** Wanted by no group so far, with their keys. */
  #unwanted: [body: string, key: string][] = [];
  /** `group body`, each time that it was accepted. */
  readonly accepted: string[] = [];
  #members: { readonly id: string; readonly held: Delivery[]; leave(): void }[] = [];

  async open(world: TestCore): Promise<void> {
    this.world = world;
    this.#members = [];
  }

  get #queue() {
    return this.world.core.queues.provide('orders');
  }

  publish(chosen: number): void {
    const key = KEYS[chosen % KEYS.length] as string;
    const body = String(this.#sent++);
    const wanting = GROUPS.filter(([, , wants]) => wants(key)).filter((group) => this.owed.has(group[0]));
    for (const [name] of wanting) this.owed.get(name)?.add(body);
    if (wanting.length === 0) this.#unwanted.push([body, key]);
    const publisher = this.world.core.openPublisher({
      principal: ALICE,
      providesQueues: true,
      congested: () => {},
    });
    // What no group keeps yet survives only where its publisher asks for that.
    const reliability = wanting.length > 0 && chosen % 3 === 0 ? 0 : 1;
    const address = (chosen >> 3) % 2 === 0 ? `$queue/orders/${key}` : `shop/${key}`;
    publisher.publish(messageTo(address, body, { reliability }), null, 0);
    publisher.close();
  }

  /** A group's first member brings it what nobody wanted so far. */
  async join(chosen: number): Promise<void> {
    const [name, filter, wants] = GROUPS[chosen % GROUPS.length] as (typeof GROUPS)[number];
    if (!this.owed.has(name)) {
      // A group that is made while another one is still handed what waited may get some of it as well.
      await this.settled();
      this.owed.set(name, new Set(this.#unwanted.filter(([, key]) => wants(key)).map(([body]) => body)));
      this.#unwanted = this.#unwanted.filter(([, key]) => !wants(key));
    }
    this.#enter(this.#queue.group(name, filter), 1 + (chosen % 5));
    await this.settled();
  }

  #enter(group: QueueGroup, credit: number): void {
    const held: Delivery[] = [];
    const consumer = Object.assign(collect(), {
      deliver: (_message: unknown, _options: unknown, delivery: Delivery | null) => {
        if (delivery !== null) held.push(delivery);
      },
      left: (delivery: Delivery) => void held.splice(held.indexOf(delivery), 1),
    });
    const subscription = group.consume(consumer, { settled: false, priority: 0, timely: true });
    subscription.grant(credit);
    this.#members.push({ id: group.id, held, leave: () => subscription.close() });
  }

  leave(chosen: number): void {
    const [member] = this.#members.splice(chosen % (this.#members.length || 1), 1);
    member?.leave();
  }

  settle(chosen: number): void {
    const member = this.#members[chosen % (this.#members.length || 1)];
    const delivery = member?.held[chosen % (member.held.length || 1)];
    if (member === undefined || delivery === undefined) return;
    const outcome = OUTCOMES[chosen % OUTCOMES.length] as Outcome;
    if (outcome === 'accepted') this.accepted.push(`${nameOf(member.id)} ${bodyOf(delivery.message)}`);
    if ((chosen >> 4) % 2 === 0) {
      expect(this.#queue.settle(member.id, delivery.offset, outcome, '')).toBe(true);
    } else {
      member.held.splice(member.held.indexOf(delivery), 1);
      delivery.settle(outcome);
    }
  }

  async settled(): Promise<void> {
    for (let i = 0; i < 3; i++) await this.world.clock.turn();
  }

  /** Everybody deals with everything. */
  async finish(): Promise<Map<string, number>> {
    while (this.#members.length > 0) this.leave(0);
    for (const group of this.#queue.groups) {
      for (let round = 0; round < 100 && group.readyCount > 0; round++) {
        this.#enter(group, 1_000);
        await this.settled();
        const member = this.#members.pop();
        for (const delivery of [...(member?.held ?? [])]) {
          this.accepted.push(`${nameOf(group.id)} ${bodyOf(delivery.message)}`);
          delivery.settle('accepted');
        }
        member?.leave();
      }
      expect(group.readyCount + group.unsettledCount).toBe(0);
    }
    const dead = new Map<string, number>();
    const queue = this.world.core.queues.get('$dlq/orders');
    for (let next = await queue?.take(true); next; next = await queue?.take(true)) {
      const body = bodyOf(next.message);
      dead.set(body, (dead.get(body) ?? 0) + 1);
    }
    expect(this.#queue.readyCount).toBe(this.#unwanted.length);
    return dead;
  }
}

const nameOf = (id: string): string => id.split('@')[0] as string;

async function liveDay(steps: readonly { readonly do: string; readonly pick: number }[]): Promise<void> {
  const day = new Day();
  await day.open(await openTestCore({ limits: LIMITS }));
  const { core } = day.world;
  core.queues.provide('orders');
  await core.exchanges.declare({
    name: 'shop',
    type: 'topic',
    durable: true,
    autoDelete: false,
    internal: false,
    alternate: null,
    arguments: [],
  });
  core.exchanges.bind({
    exchange: 'shop',
    target: { kind: 'queue', name: 'orders' },
    key: '#',
    match: null,
    arguments: [],
  });
  for (const { do: what, pick: chosen } of steps) {
    if (what === 'publish') day.publish(chosen);
    else if (what === 'join') await day.join(chosen);
    else if (what === 'leave') day.leave(chosen);
    else if (what === 'settle') day.settle(chosen);
    else if (what === 'wait') day.world.clock.advance(5_000 + chosen * 50);
    else {
      await day.settled();
      if (what !== 'restart') continue;
      const { storage, clock } = day.world;
      await day.open(
        await openTestCore({ storage: storage.afterCrash(), nowMs: clock.nowMs(), limits: LIMITS }),
      );
      await day.settled();
    }
  }
  await day.settled();
  const dead = await day.finish();
  expect(new Set(day.accepted).size).toBe(day.accepted.length);
  const owedTimes = new Map<string, number>();
  for (const [name, bodies] of day.owed) {
    for (const body of bodies) owedTimes.set(body, (owedTimes.get(body) ?? 0) + 1);
    for (const entry of day.accepted) {
      const [group, body] = entry.split(' ') as [string, string];
      if (group === name) expect(bodies.has(body), entry).toBe(true);
    }
  }
  const done = new Map(dead);
  for (const entry of day.accepted) {
    const body = entry.split(' ')[1] as string;
    done.set(body, (done.get(body) ?? 0) + 1);
  }
  expect(Object.fromEntries(done)).toEqual(Object.fromEntries(owedTimes));
}

it('every group has each of its messages accepted or dead-lettered exactly once', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), liveDay), {
    numRuns: 120,
  });
}, 30_000);
