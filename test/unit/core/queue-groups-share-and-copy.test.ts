/** Named groups of a queue: copies for every group, one member for each message, time limits, attempts, hand-over. */
import { describe, expect, it } from 'vitest';
import type { Core, Delivery, QueueGroup, Token } from '../../../src/core/index.ts';
import { DEFAULT_LIMITS, MANY, NO_ROUTE, ONE } from '../../../src/core/index.ts';
import {
  bodyOf,
  type Collector,
  collect,
  messageTo,
  openTestCore,
  queueSpec,
  type TestCore,
} from '../../support/core.ts';
import { accessOf } from '../../support/doors.ts';

const EVERYTHING: readonly Token[] = [MANY];

function publisherOn(core: Core, providesQueues = true) {
  const publisher = core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    providesQueues,
    congested: () => {},
  });
  return (address: string, body: string, reliability: 0 | 1 = 1) =>
    publisher.publish(messageTo(address, body, { reliability }), null, 0);
}

function join(group: QueueGroup, consumer: Collector, credit = 100) {
  const subscription = group.consume(consumer, { settled: false, priority: 0, timely: true });
  subscription.grant(credit);
  return subscription;
}

const attemptsOf = (consumer: Collector): number[] =>
  consumer.deliveries.map((delivery) => delivery.failedCount + 1);

async function restart({ storage, core }: TestCore): Promise<TestCore> {
  await core.close();
  return openTestCore({ storage: storage.afterCrash() });
}

describe('named groups', () => {
  it('give each group a copy and each message to one member', async () => {
    const { core } = await openTestCore();
    const queue = core.queues.provide('orders');
    const [one, two, audit] = [collect(), collect(), collect()];
    join(queue.group('workers', EVERYTHING), one);
    join(queue.group('workers', EVERYTHING), two);
    join(queue.group('audit', EVERYTHING), audit);
    const publish = publisherOn(core);
    for (let i = 0; i < 6; i++) publish('$queue/orders', String(i));
    expect(audit.bodies).toEqual(['0', '1', '2', '3', '4', '5']);
    expect(one.bodies).toEqual(['0', '2', '4']);
    expect(two.bodies).toEqual(['1', '3', '5']);
  });

  it('take by a filter relative to the queue, also what came through an exchange', async () => {
    const { core } = await openTestCore();
    const queue = core.queues.provide('orders');
    core.exchanges.bind({
      exchange: 'shop',
      target: { kind: 'queue', name: 'orders' },
      key: '#',
      match: null,
      arguments: [],
    });
    await core.exchanges.declare({
      name: 'shop',
      type: 'topic',
      durable: true,
      autoDelete: false,
      internal: false,
      alternate: null,
      arguments: [],
    });
    const [eu, images] = [collect(), collect()];
    const euGroup = queue.group('workers', ['eu', MANY]);
    join(euGroup, eu);
    join(queue.group('workers', [ONE, 'images', MANY]), images);
    expect([...queue.groups].map((group) => group.id)).toEqual(['workers@eu/#', 'workers@+/images/#']);
    const publish = publisherOn(core);
    publish('$queue/orders/eu/images/resize', 'both');
    publish('$queue/orders/us/images', 'images');
    publish('$queue/orders/eu', 'eu');
    publish('$queue/orders', 'neither');
    publish('shop/eu/new', 'exchange');
    expect(eu.bodies).toEqual(['both', 'eu', 'exchange']);
    expect(images.bodies).toEqual(['both', 'images']);
  });

  it('are handed what was gathered before the first of them, in order, with what comes meanwhile', async () => {
    const { core, clock } = await openTestCore();
    const publish = publisherOn(core);
    for (let i = 0; i < 5; i++) publish('$queue/orders/eu', String(i), i % 2 === 0 ? 1 : 0);
    publish('$queue/orders/us', 'us');
    const queue = core.queues.get('orders')!;
    expect(queue.readyCount).toBe(6);
    const eu = collect();
    join(queue.group('workers', ['eu', MANY]), eu);
    publish('$queue/orders/eu', '5');
    await clock.turn();
    expect(eu.bodies).toEqual(['0', '1', '2', '3', '4', '5']);
    // What that group did not want waits for one that does.
    expect(queue.readyCount).toBe(1);
    const all = collect();
    join(queue.group('all', EVERYTHING), all);
    await clock.turn();
    publish('$queue/orders/asia', 'asia');
    expect(all.bodies).toEqual(['us', 'asia']);
    expect(queue.readyCount).toBe(0);
    expect(queue.unsettledCount).toBe(0);
  });

  it('are handed a backlog that is not in memory, and what comes while it is read, in order', async () => {
    const { core, clock } = await openTestCore({ limits: { queueMemoryBytesMax: 10_000 } });
    const publish = publisherOn(core);
    for (let i = 0; i < 5_000; i++) publish('$queue/orders', String(i));
    await clock.turn();
    const worker = collect((delivery) => delivery.settle('accepted'));
    const queue = core.queues.get('orders')!;
    join(queue.group('workers', EVERYTHING), worker, Number.POSITIVE_INFINITY);
    for (let i = 5_000; i < 5_100; i++) {
      publish('$queue/orders', String(i));
      if (i % 10 === 0) await clock.turn();
    }
    for (let turns = 0; turns < 100 && worker.bodies.length < 5_100; turns++) await clock.turn();
    expect(worker.bodies).toEqual(Array.from({ length: 5_100 }, (_, i) => String(i)));
    await clock.turn();
    expect([queue.readyCount, queue.unsettledCount]).toEqual([0, 0]);
  });

  it('leave a copy to those who use the queue under its own name', async () => {
    const { core, clock } = await openTestCore();
    const publish = publisherOn(core);
    publish('$queue/orders', 'before');
    const queue = core.queues.get('orders')!;
    const plain = collect();
    queue.consume(plain, { settled: true, exclusive: false, priority: 0 }).grant(10);
    const worker = collect();
    join(queue.group('workers', EVERYTHING), worker);
    publish('$queue/orders', 'after');
    await clock.turn();
    expect(plain.bodies).toEqual(['before', 'after']);
    expect(worker.bodies).toEqual(['after']);
  });

  it('give back to the queue what they did not want when it is consumed under its own name', async () => {
    const { core, clock } = await openTestCore();
    const publish = publisherOn(core);
    const queue = core.queues.provide('orders');
    const eu = collect();
    join(queue.group('workers', ['eu']), eu);
    for (const key of ['us', 'eu', 'asia']) publish(`$queue/orders/${key}`, key);
    await clock.turn();
    const plain = collect();
    queue.consume(plain, { settled: true, exclusive: false, priority: 0 }).grant(10);
    expect([plain.bodies, eu.bodies]).toEqual([['us', 'asia'], ['eu']]);
  });

  it('hand on at once what a member gave back or left behind, to another member first', async () => {
    const { core } = await openTestCore();
    const queue = core.queues.provide('orders');
    const group = queue.group('workers', EVERYTHING);
    const [one, two] = [collect(), collect()];
    const first = join(group, one);
    publisherOn(core)('$queue/orders', 'x');
    join(group, two);
    const { offset } = one.deliveries[0] as Delivery;
    expect(queue.settle('workers', offset, 'modified', '')).toBe(true);
    expect(two.bodies).toEqual(['x']);
    expect(attemptsOf(two)).toEqual([2]);
    // The late answer of the first member settles nothing that the second one has.
    one.deliveries[0]?.settle('accepted');
    expect(group.unsettledCount).toBe(1);
    two.deliveries[0]?.settle('released');
    expect(one.bodies.length + two.bodies.length).toBe(3);
    first.close();
    expect(group.unsettledCount).toBe(1);
    expect(two.bodies.at(-1)).toBe('x');
    expect(queue.settle('workers', offset, 'accepted', '')).toBe(true);
    expect(queue.settle('workers', offset, 'accepted', '')).toBe(false);
    expect(group.readyCount + group.unsettledCount).toBe(0);
  });

  it('hand on what a member does not settle in time, and tell it', async () => {
    const { core, clock } = await openTestCore();
    const queue = core.queues.provide('orders');
    const group = queue.group('workers', EVERYTHING);
    const left: Delivery[] = [];
    const one = Object.assign(collect(), { left: (delivery: Delivery) => void left.push(delivery) });
    const two = collect();
    join(group, one);
    const publish = publisherOn(core);
    publish('$queue/orders', 'a');
    clock.advance(10_000);
    publish('$queue/orders', 'b');
    join(group, two);
    clock.advance(19_999);
    expect(two.bodies).toEqual([]);
    clock.advance(101);
    expect(two.bodies).toEqual(['a']);
    expect(left).toEqual([one.deliveries[0]]);
    expect(attemptsOf(two)).toEqual([2]);
    two.deliveries[0]?.settle('accepted');
    clock.advance(10_000);
    expect(two.bodies).toEqual(['a', 'b']);
    two.deliveries[1]?.settle('accepted');
    clock.advance(100_000);
    expect(group.readyCount + group.unsettledCount).toBe(0);
    expect(one.bodies).toEqual(['a', 'b']);
  });

  it('keep what was rejected, or failed too often, as dead letters with their history', async () => {
    const { core, clock } = await openTestCore({ limits: { deliveryAttemptsMax: 3 } });
    const queue = core.queues.provide('orders');
    const worker = collect((delivery) => {
      if (bodyOf(delivery.message) === 'bad') delivery.settle('modified');
    });
    join(queue.group('workers', EVERYTHING), worker);
    const publish = publisherOn(core);
    publish('$queue/orders/eu', 'wrong', 0);
    publish('$queue/orders', 'bad');
    expect(queue.settle('', (worker.deliveries[0] as Delivery).offset, 'rejected', 'no such article')).toBe(
      true,
    );
    await clock.turn();
    expect(worker.bodies).toEqual(['wrong', 'bad', 'bad', 'bad']);
    const dead = core.queues.get('$dlq/orders')!;
    const found: Delivery[] = [];
    for (let next = await dead.take(true); next !== null; next = await dead.take(true)) found.push(next);
    const shown = found.map(({ message }) => {
      const history = message.properties.headers.find(({ name }) => name === 'x-death')?.value;
      const death =
        history?.kind === 'list' && history.value[0]?.kind === 'map' ? history.value[0].value : [];
      const text = (name: string) => {
        const value = death.find((header) => header.name === name)?.value;
        return value?.kind === 'string' ? value.value : undefined;
      };
      return [message.address, bodyOf(message), text('queue'), text('reason'), text('detail')];
    });
    expect(shown.sort()).toEqual([
      ['$dlq/orders', 'bad', 'orders', 'delivery_limit', undefined],
      ['$dlq/orders/eu', 'wrong', 'orders', 'rejected', 'no such article'],
    ]);
    // Dead letters have no dead letters of their own.
    join(dead.group('undertakers', EVERYTHING), worker);
    publish('$queue/orders', 'more');
    expect(core.queues.get('$dlq/$dlq/orders')).toBeUndefined();
  });

  it('find the group of a bare name only where one of that name holds the offset', async () => {
    const { core } = await openTestCore();
    const queue = core.queues.provide('orders');
    const [eu, us] = [collect(), collect()];
    join(queue.group('workers', ['eu']), eu);
    join(queue.group('workers', ['us']), us);
    const publish = publisherOn(core);
    publish('$queue/orders/eu', '1');
    publish('$queue/orders/eu', '2');
    publish('$queue/orders/us', '3');
    expect(queue.settle('workers', 0, 'accepted', '')).toBe(false);
    expect(queue.settle('workers', 1, 'accepted', '')).toBe(true);
    expect(queue.settle('workers@us', 0, 'accepted', '')).toBe(true);
    expect(queue.settle('workers', 0, 'accepted', '')).toBe(true);
  });

  it('survive a restart with everything that was not settled, whatever its publisher asked', async () => {
    const before = await openTestCore();
    const queue = before.core.queues.provide('orders');
    const worker = collect();
    join(queue.group('workers', EVERYTHING), worker, 2);
    queue.group('audit', ['eu', MANY]);
    const publish = publisherOn(before.core);
    for (let i = 0; i < 4; i++) publish('$queue/orders/eu', String(i), i === 1 ? 0 : 1);
    publish('$queue/orders', '4', 0);
    worker.deliveries[0]?.settle('accepted');
    await before.clock.turn();
    const { core, clock } = await restart(before);
    const found = core.queues.get('orders')!;
    expect([...found.groups].map((group) => [group.id, group.readyCount])).toEqual([
      ['workers', 4],
      ['audit@eu/#', 4],
    ]);
    const again = collect();
    join(found.group('workers', EVERYTHING), again);
    await clock.turn();
    expect(again.bodies).toEqual(['1', '2', '3', '4']);
    // Nobody claimed it: it keeps nothing for those who name no group.
    expect(found.readyCount).toBe(0);
  });

  it('go with their queue, when they are removed, and when nobody came for long', async () => {
    const { core, clock, storage } = await openTestCore();
    const queue = core.queues.provide('orders');
    queue.group('idle', EVERYTHING);
    const worker = collect();
    const subscription = join(queue.group('workers', EVERYTHING), worker);
    clock.advance(DEFAULT_LIMITS.groupIdleMs + 1);
    expect([...queue.groups].map((group) => group.id)).toEqual(['workers']);
    expect(queue.removeGroup('workers')).toBe(true);
    expect(worker.cancellations).toEqual(['deleted']);
    subscription.close();
    queue.group('late', EVERYTHING);
    core.queues.delete('orders', { ifUnused: true, ifEmpty: true });
    await clock.turn();
    expect([...storage.rowLogs.keys()].filter((name) => name.startsWith('queue'))).toEqual([]);
    expect(storage.tables.get('queue-groups')?.entries.size).toBe(0);
  });

  it('are bounded in number', async () => {
    const { core } = await openTestCore({ limits: { groupsPerQueueMax: 2 } });
    const queue = core.queues.provide('orders');
    queue.group('a', EVERYTHING);
    queue.group('b', EVERYTHING);
    expect(() => queue.group('c', EVERYTHING)).toThrow(/groupsPerQueueMax/);
    expect(queue.group('a', EVERYTHING).id).toBe('a');
    for (const name of ['', 'a@b']) expect(() => queue.group(name, EVERYTHING)).toThrow(/a group has a name/);
  });
});

describe('publishing below a queue that is not there', () => {
  it('makes it, where the publisher may and asks for it', async () => {
    const refused = new Set<string>();
    const { core } = await openTestCore({
      core: {
        access: accessOf((_principal, action, target) => !(action === 'configure' && refused.has(target))),
      },
    });
    expect(publisherOn(core, false)('$queue/orders/x', 'lost')).toBe(NO_ROUTE);
    expect(publisherOn(core)('$queue/orders/x', 'kept')).not.toBe(NO_ROUTE);
    expect(core.queues.get('orders')?.readyCount).toBe(1);
    refused.add('$queue/others');
    expect(() => publisherOn(core)('$queue/others', 'x')).toThrow(/may not be made/);
    // Names of queues that come and go with a connection are never made.
    expect(publisherOn(core)('$queue/amq.gen-abc', 'x')).toBe(NO_ROUTE);
    expect(publisherOn(core)('$queue/$ack', 'x')).toBe(NO_ROUTE);
  });

  it('reaches a declared queue under every key, once', async () => {
    const { core } = await openTestCore();
    const queue = await core.queues.declare(queueSpec({ name: 'a/b' }));
    const publish = publisherOn(core);
    publish('$queue/a%2Fb', '1');
    publish('$queue/a%2Fb/k', '2');
    publish('$queue/a', 'other');
    expect(queue.readyCount).toBe(2);
  });
});
