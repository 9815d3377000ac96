/**
 * Shared subscriptions: each message goes to one member, whatever members come, go, are slow or absent.
 */
import { describe, expect, it } from 'vitest';
import { collect, openTestCore } from '../../support/core.ts';
import { JOBS, openSession, openWorker, publisherOf, sharedBy } from '../../support/shared-workers.ts';

describe('a shared subscription', () => {
  it('gives each message to one member, each in turn', async () => {
    const world = await openTestCore();
    const workers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => openWorker(world.core, `w${i}`, 1_000)),
    );
    const publish = publisherOf(world);
    for (let i = 0; i < 5_000; i++) publish(`${i}`, (i % 3) as 0 | 1 | 2);
    for (const { seen } of workers) expect(seen.bodies.length).toBe(100);
    expect(new Set(workers.flatMap(({ seen }) => seen.bodies)).size).toBe(5_000);
  });

  it('passes over a slow member, and keeps what nobody can take for the first that can', async () => {
    const world = await openTestCore();
    const slow = await openWorker(world.core, 'slow', 1);
    const quick = await openWorker(world.core, 'quick', 3);
    const publish = publisherOf(world);
    for (let i = 0; i < 10; i++) publish(`${i}`);
    expect(slow.seen.bodies.length).toBe(1);
    expect(quick.seen.bodies.length).toBe(3);
    quick.subscription.grant(100);
    expect(slow.seen.bodies.length).toBe(1);
    expect([...slow.seen.bodies, ...quick.seen.bodies].map(Number).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 10 }, (_, i) => i),
    );
    expect(quick.seen.bodies.map(Number)).toEqual(quick.seen.bodies.map(Number).sort((a, b) => a - b));
  });

  it('keeps the order of a publisher for one member', async () => {
    const world = await openTestCore();
    const only = await openWorker(world.core, 'only', 2);
    const publish = publisherOf(world);
    for (let i = 0; i < 20; i++) publish(`${i}`);
    only.subscription.grant(100);
    expect(only.seen.bodies).toEqual(Array.from({ length: 20 }, (_, i) => `${i}`));
  });

  it('redelivers what an absent member had not acknowledged to another, in its old order', async () => {
    const world = await openTestCore();
    const first = await openWorker(world.core, 'first', 10);
    const publish = publisherOf(world);
    for (let i = 0; i < 4; i++) publish(`${i}`);
    first.seen.deliveries[1]?.settle('accepted');
    const second = await openWorker(world.core, 'second', 0);
    for (let i = 4; i < 8; i++) publish(`${i}`);
    first.session.detach(60_000);
    second.subscription.grant(100);
    expect(second.seen.bodies).toEqual(['0', '2', '3', '4', '5', '6', '7']);
    expect(first.session.queuedCount).toBe(0);
  });

  it('leaves exactly-once messages that were sent with their session, and drops them with it', async () => {
    const world = await openTestCore();
    const first = await openWorker(world.core, 'first', 10);
    const publish = publisherOf(world);
    publish('once', 2);
    const second = await openWorker(world.core, 'second', 10);
    first.session.detach(60_000);
    expect(second.seen.bodies).toEqual([]);
    expect(first.session.queuedCount).toBe(1);
    world.core.sessions.end('first');
    expect(second.seen.bodies).toEqual([]);
  });

  it('discards what a member rejects', async () => {
    const world = await openTestCore();
    const first = await openWorker(world.core, 'first', 1);
    const second = await openWorker(world.core, 'second', 1);
    publisherOf(world)('bad');
    const { deliveries } = first.seen.bodies.length > 0 ? first.seen : second.seen;
    deliveries[0]?.settle('rejected');
    expect([...first.seen.bodies, ...second.seen.bodies]).toEqual(['bad']);
  });

  it('keeps messages for durable members that are all absent, over a restart, once', async () => {
    const world = await openTestCore();
    const session = await openSession(world.core, 'worker', true);
    session.subscribe(JOBS, sharedBy());
    const publish = publisherOf(world);
    for (let i = 0; i < 30; i++) publish(`${i}`);
    publish('lost', 0);
    await world.clock.turn();
    const again = await openTestCore({ storage: world.storage.afterCrash() });
    const back = await openSession(again.core, 'worker', true);
    const seen = collect();
    const subscription = back.attach(seen);
    for (let i = 0; i < 31; i++) {
      subscription.grant(1);
      await again.clock.turn();
    }
    for (const delivery of seen.deliveries) delivery.settle('accepted');
    await again.clock.turn();
    expect(seen.bodies).toEqual(Array.from({ length: 30 }, (_, i) => `${i}`));
    const third = await openTestCore({ storage: again.storage.afterCrash() });
    const rest = collect();
    (await openSession(third.core, 'worker', true)).attach(rest).grant(100);
    await third.clock.turn();
    expect(rest.bodies).toEqual([]);
  });

  it('ends with its last member, and what waited ends with it', async () => {
    const world = await openTestCore();
    const session = await openSession(world.core, 'worker');
    session.subscribe(JOBS, sharedBy());
    publisherOf(world)('old');
    expect(session.unsubscribe(JOBS)).toBe(false);
    expect(session.unsubscribe(JOBS, 'g')).toBe(true);
    session.subscribe(JOBS, sharedBy());
    const seen = collect();
    session.attach(seen).grant(10);
    publisherOf(world)('new');
    expect(seen.bodies).toEqual(['new']);
  });

  it('counts for itself beside other groups and a plain subscription', async () => {
    const world = await openTestCore();
    const { session, seen } = await openWorker(world.core, 'w', 100, { id: 1 });
    session.subscribe(JOBS, sharedBy({ group: 'h', id: 2 }));
    session.subscribe(JOBS, { reliability: 1, noLocal: false, keepRetain: false, id: 3 });
    publisherOf(world)('m');
    expect(seen.deliveries.map(({ options }) => options.subscriptionIds[0]).sort()).toEqual([1, 2, 3]);
  });

  for (const strategy of ['random', 'sticky', 'least-loaded', 'hash-publisher', 'hash-address'] as const) {
    it(`chooses members ${strategy}`, async () => {
      const world = await openTestCore();
      world.core.sessions.shareBy(strategy);
      const workers = await Promise.all([0, 1, 2].map((i) => openWorker(world.core, `w${i}`, 100)));
      const publish = publisherOf(world);
      for (let i = 0; i < 99; i++) publish(`${i}`);
      const counts = workers.map(({ seen }) => seen.bodies.length).sort((a, b) => a - b);
      expect(counts.reduce((a, b) => a + b)).toBe(99);
      if (strategy === 'least-loaded') expect(counts).toEqual([33, 33, 33]);
      else if (strategy === 'random') expect(counts[0]).toBeGreaterThan(10);
      else expect(counts).toEqual([0, 0, 99]);
    });
  }
});
