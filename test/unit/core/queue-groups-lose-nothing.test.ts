/** Where a message in a queue with groups could be lost or doubled: restarts, deletions, other bindings, delays. */
import { expect, it } from 'vitest';
import { type Core, MANY, type QueueGroup, type Token } from '../../../src/core/index.ts';
import { type Collector, collect, messageTo, openTestCore, queueSpec } from '../../support/core.ts';
import { accessOf } from '../../support/doors.ts';

const EVERYTHING: readonly Token[] = [MANY];
const ALICE = { user: 'alice', groups: [], clientId: 'a' };

function publisherOn(core: Core) {
  const publisher = core.openPublisher({ principal: ALICE, providesQueues: true, congested: () => {} });
  return (address: string, body: string) =>
    publisher.publish(messageTo(address, body, { reliability: 1 }), null, 0);
}

function join(group: QueueGroup, consumer: Collector) {
  const subscription = group.consume(consumer, { settled: false, priority: 0, timely: true });
  subscription.grant(1_000);
  return subscription;
}

const ready = (core: Core, name = 'orders'): [id: string, readyCount: number][] =>
  [...core.queues.get(name)!.groups].map(({ id, readyCount }) => [id, readyCount]);

it('what waited to be handed over at a crash reaches every group after it', async () => {
  const waiting = await openTestCore();
  const publish = publisherOn(waiting.core);
  for (let i = 0; i < 50; i++) publish('$queue/orders', String(i));
  await waiting.clock.turn();
  const grouped = await openTestCore();
  const queue = grouped.core.queues.provide('orders');
  for (const name of ['a', 'b', 'c']) queue.group(name, EVERYTHING);
  await grouped.clock.turn();
  // The groups were made, and the process ended before anything was read back for them.
  const storage = grouped.storage.afterCrash();
  const log = storage.createRowLog('queue-1');
  for (const row of waiting.storage.rowLogs.get('queue-1')!.rows.values()) log.append(row);
  const { core, clock } = await openTestCore({ storage });
  await clock.turn();
  expect(ready(core)).toEqual([
    ['a', 50],
    ['b', 50],
    ['c', 50],
  ]);
});

it('a crash while messages are handed over to a group doubles none', async () => {
  const { core, clock, storage } = await openTestCore({ limits: { queueMemoryBytesMax: 1_000 } });
  const publish = publisherOn(core);
  for (let i = 0; i < 500; i++) publish('$queue/orders', String(i));
  await clock.turn();
  const states: number[] = [];
  const count = async (): Promise<void> => {
    const crashed = await openTestCore({ storage: storage.afterCrash() });
    await crashed.clock.turn();
    states.push(...ready(crashed.core).map(([, readyCount]) => readyCount));
  };
  core.queues.get('orders')!.group('workers', EVERYTHING);
  for (let i = 0; i < 30; i++) {
    // Something else keeps commits going.
    publish('$queue/others', 'x');
    clock.endTurn();
    await Promise.resolve();
    await count();
  }
  expect(new Set(states)).toEqual(new Set([500]));
});

it('what a group failed with is counted on after a restart, and not kept for longer than the message', async () => {
  const limits = { deliveryAttemptsMax: 3 };
  let { core, clock, storage } = await openTestCore({ limits });
  const fail = () => core.queues.get('orders')!.settle('workers', 0, 'modified', '');
  join(core.queues.provide('orders').group('workers', EVERYTHING), collect());
  publisherOn(core)('$queue/orders', 'poison');
  for (const attempts of [1, 2]) {
    expect(fail()).toBe(true);
    await clock.turn();
    ({ core, clock, storage } = await openTestCore({ storage: storage.afterCrash(), limits }));
    const worker = collect();
    join(core.queues.get('orders')!.group('workers', EVERYTHING), worker);
    await clock.turn();
    expect(worker.deliveries.map(({ failedCount }) => failedCount)).toEqual([attempts]);
  }
  fail();
  await clock.turn();
  expect(core.queues.get('$dlq/orders')?.readyCount).toBe(1);
  const rows = storage.tables.get('queue-attempts')!.entries;
  expect(rows.size).toBe(0);
  publisherOn(core)('$queue/orders', 'other');
  core.queues.get('orders')!.settle('workers', 1, 'modified', '');
  expect(rows.size).toBe(1);
  core.queues.get('orders')!.removeGroup('workers');
  expect(rows.size).toBe(0);
});

it('purging a queue that only groups use drops what waits for groups to come, and gathers nothing from then on', async () => {
  const { core, clock } = await openTestCore();
  const publish = publisherOn(core);
  const queue = core.queues.provide('orders');
  queue.group('eu', ['eu']);
  for (const key of ['us', 'eu', 'asia']) publish(`$queue/orders/${key}`, key);
  await clock.turn();
  expect(queue.purge()).toBe(2);
  expect(queue.readyCount).toBe(0);
  publish('$queue/orders/eu', 'eu');
  expect([queue.readyCount, ready(core)]).toEqual([0, [['eu@eu', 2]]]);
});

it('a queue is not empty while a group has something waiting', async () => {
  const { core } = await openTestCore();
  const queue = core.queues.provide('orders');
  queue.group('workers', EVERYTHING);
  publisherOn(core)('$queue/orders', 'x');
  expect(queue.readyCount).toBe(0);
  expect(() => core.queues.delete('orders', { ifUnused: false, ifEmpty: true })).toThrow(/not empty/);
});

it('a queue that goes with its last consumer, or when it is not used, counts members of groups', async () => {
  const { core, clock } = await openTestCore();
  const going = await core.queues.declare(queueSpec({ name: 'going', autoDelete: true }));
  const member = join(going.group('workers', EVERYTHING), collect());
  const plain = going.consume(collect(), { settled: true, exclusive: false, priority: 0 });
  plain.close();
  expect(core.queues.get('going')).toBe(going);
  member.close();
  expect(core.queues.get('going')).toBeUndefined();

  const expiring = await core.queues.declare(queueSpec({ name: 'expiring', expiresMs: 60_000 }));
  const late = join(expiring.group('workers', EVERYTHING), collect());
  clock.advance(119_000);
  late.close();
  clock.advance(30_000);
  expect(core.queues.get('expiring')).toBe(expiring);
  clock.advance(31_000);
  expect(core.queues.get('expiring')).toBeUndefined();
});

it('a queue is made though something else is bound to its address', async () => {
  const { core } = await openTestCore();
  await core.queues.declare(queueSpec({ name: 'spy' }));
  core.exchanges.bind({
    exchange: 'amq.topic',
    target: { kind: 'queue', name: 'spy' },
    key: '$queue/orders/#',
    match: null,
    arguments: [],
  });
  publisherOn(core)('$queue/orders/eu', 'x');
  expect(core.queues.get('spy')?.readyCount).toBe(1);
  expect(core.queues.get('orders')?.readyCount).toBe(1);
});

it('a message held back for a queue that is not there makes it, where its sender may', async () => {
  let mayMake = true;
  const { core, clock } = await openTestCore({
    core: { access: accessOf((_, action) => action !== 'configure' || mayMake) },
  });
  const hold = (address: string) =>
    core.schedule.add(messageTo(address, 'x', { reliability: 1 }), clock.nowMs() + 1_000, ALICE, null, 0);
  hold('$queue/orders/eu');
  mayMake = false;
  expect(() => hold('$queue/others')).toThrow(/may not be made/);
  expect(core.schedule.count).toBe(1);
  clock.advance(2_000);
  expect(core.queues.get('orders')?.readyCount).toBe(1);
});

it('a held-back message that cannot be read keeps nothing from starting, and no other back', async () => {
  const before = await openTestCore();
  const hold = (body: string) =>
    before.core.schedule.add(
      messageTo('a/b', body, { reliability: 1 }),
      before.clock.nowMs() + 1_000,
      ALICE,
      null,
      0,
    );
  hold('one');
  hold('two');
  await before.clock.turn();
  const storage = before.storage.afterCrash();
  storage.rowLogs.get('schedule')!.rows.get(0)![0] = 99;
  const { core, events } = await openTestCore({ storage });
  expect(core.schedule.count).toBe(1);
  expect(events.length).toBe(1);
});
