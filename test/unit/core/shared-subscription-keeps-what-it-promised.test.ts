/**
 * Shared subscriptions at their edges: members that unsubscribe, members that do not survive beside members that do,
 * members that become durable, and lists that are longer than memory or than their bound.
 */
import { describe, expect, it } from 'vitest';
import { openTestCore, type TestCore } from '../../support/core.ts';
import {
  attachWorker,
  inOrder,
  JOBS,
  numbers,
  openSession,
  openWorker,
  publisherOf,
  sharedBy,
} from '../../support/shared-workers.ts';

async function crash(world: TestCore): Promise<TestCore> {
  await world.clock.turn();
  return openTestCore({ storage: world.storage.afterCrash() });
}

/** What a durable member gets that comes now. */
async function restOf(world: TestCore, id: string): Promise<string[]> {
  const { seen } = attachWorker(await openSession(world.core, id, true), 100_000);
  for (let i = 0; i < 8; i++) await world.clock.turn();
  return seen.bodies;
}

function storedRows({ storage }: TestCore): number {
  return [...storage.rowLogs.values()].reduce((sum, { rowCount }) => sum + rowCount, 0);
}

describe('a member that unsubscribes', () => {
  for (const durable of [false, true]) {
    it(`keeps what it was sent until it acknowledges, and leaves it when it ends, durable ${durable}`, async () => {
      const world = await openTestCore();
      const first = await openWorker(world.core, 'first', 3, { durable });
      const publish = publisherOf(world);
      for (const body of numbers(0, 5)) publish(body);
      const second = await openWorker(world.core, 'second', 0);
      first.session.unsubscribe(JOBS, 'g');
      second.subscription.grant(100);
      expect(second.seen.bodies).toEqual(['3', '4']);
      first.seen.deliveries[0]?.settle('accepted');
      first.session.detach(60_000);
      expect(second.seen.bodies).toEqual(['3', '4']);
      const back = attachWorker(first.session, 1);
      expect(back.seen.bodies).toEqual(['1']);
      world.core.sessions.end('first');
      expect(second.seen.bodies).toEqual(['3', '4', '1', '2']);
    });
  }

  it('leaves it when its session ends after a restart', async () => {
    const before = await openTestCore();
    (await openSession(before.core, 'rest', true)).subscribe(JOBS, sharedBy());
    const first = await openWorker(before.core, 'first', 3, { durable: true });
    const publish = publisherOf(before);
    for (const body of numbers(0, 3)) publish(body);
    first.session.unsubscribe(JOBS, 'g');
    const world = await crash(before);
    world.core.sessions.end('first');
    expect(await restOf(world, 'rest')).toEqual(numbers(0, 3));
  });

  it('gets what it was sent though no member is left', async () => {
    const world = await openTestCore();
    const { session } = await openWorker(world.core, 'only', 1);
    publisherOf(world)('0');
    session.unsubscribe(JOBS, 'g');
    session.detach(60_000);
    const back = attachWorker(session, 10);
    expect(back.seen.bodies).toEqual(['0']);
    world.core.sessions.end('only');
  });
});

describe('with durable members, a message given to a member that does not survive', () => {
  async function openMixed(): Promise<TestCore> {
    const world = await openTestCore();
    (await openSession(world.core, 'durable', true)).subscribe(JOBS, sharedBy());
    return world;
  }

  for (const waits of [false, true]) {
    it(`survives a crash${waits ? ' when it waited first' : ''}`, async () => {
      const world = await openMixed();
      const publish = publisherOf(world);
      if (waits) for (const body of numbers(0, 3)) publish(body);
      const clean = await openWorker(world.core, 'clean', 10);
      if (!waits) for (const body of numbers(0, 3)) publish(body);
      expect(clean.seen.bodies).toEqual(numbers(0, 3));
      clean.seen.deliveries[1]?.settle('accepted');
      expect(await restOf(await crash(world), 'durable')).toEqual(['0', '2']);
    });
  }

  it('is acknowledged to its publisher only when it is on the disk', async () => {
    const world = await openMixed();
    await openWorker(world.core, 'clean', 10);
    await world.clock.turn();
    const before = world.storage.commitCount;
    publisherOf(world)('0');
    await world.clock.turn();
    expect(world.storage.commitCount).toBeGreaterThan(before);
    expect(storedRows(world)).toBe(1);
  });

  it('leaves nothing behind when it is acknowledged, rejected or expired', async () => {
    const world = await openMixed();
    const clean = await openWorker(world.core, 'clean', 10);
    const publish = publisherOf(world);
    for (const body of numbers(0, 4)) publish(body);
    clean.seen.deliveries[0]?.settle('rejected');
    for (const delivery of clean.seen.deliveries.slice(1)) delivery.settle('accepted');
    await world.clock.turn();
    expect(storedRows(world)).toBe(0);
    expect(await restOf(await crash(world), 'durable')).toEqual([]);
  });

  it('is with the next member once when that one ends', async () => {
    const world = await openMixed();
    const clean = await openWorker(world.core, 'clean', 10);
    const publish = publisherOf(world);
    for (const body of numbers(0, 3)) publish(body);
    clean.session.detach(0);
    await world.clock.turn();
    expect(storedRows(world)).toBe(3);
    const other = await openWorker(world.core, 'other', 10);
    expect(other.seen.bodies).toEqual(numbers(0, 3));
    expect(await restOf(await crash(world), 'durable')).toEqual(numbers(0, 3));
  });

  it('goes to nobody else when it had to arrive once', async () => {
    const world = await openMixed();
    await openWorker(world.core, 'clean', 10);
    publisherOf(world)('0', 2);
    expect(await restOf(await crash(world), 'durable')).toEqual([]);
  });

  it('is not read back among what was paged out later', async () => {
    const world = await openTestCore({ limits: { queueMemoryBytesMax: 1_000 } });
    (await openSession(world.core, 'durable', true)).subscribe(JOBS, sharedBy());
    const clean = await openWorker(world.core, 'clean', 5);
    const publish = publisherOf(world);
    for (const body of numbers(0, 50)) publish(body);
    const rest = await restOf(world, 'durable');
    expect(clean.seen.bodies).toEqual(numbers(0, 5));
    expect(rest).toEqual(numbers(5, 50));
    clean.session.detach(0);
    await world.clock.turn();
    expect(rest).toEqual([...numbers(5, 50), ...numbers(0, 5)]);
  });
});

describe('a member that becomes durable', () => {
  for (const others of [[], ['durable']]) {
    it(`takes along what it holds and what waits, beside ${others.length} durable`, async () => {
      const world = await openTestCore();
      for (const id of others) (await openSession(world.core, id, true)).subscribe(JOBS, sharedBy());
      const first = await openWorker(world.core, 'first', 2);
      const publish = publisherOf(world);
      for (const body of numbers(0, 6)) publish(body);
      const { session, present } = await world.core.sessions.open('first', { clean: false, durable: true });
      expect(present).toBe(true);
      expect(first.seen.cancellations).toEqual(['displaced']);
      const back = attachWorker(session, 3);
      expect(back.seen.bodies).toEqual(numbers(0, 3));
      await world.clock.turn();
      expect(storedRows(world)).toBe(6);
      const after = await crash(world);
      expect(await restOf(after, 'first')).toEqual(numbers(0, 6));
    });
  }

  it('gives back what it held before to another when it goes away', async () => {
    const world = await openTestCore();
    await openWorker(world.core, 'first', 2);
    const second = await openWorker(world.core, 'second', 0);
    const publish = publisherOf(world);
    for (const body of numbers(0, 4)) publish(body);
    const { session } = await world.core.sessions.open('first', { clean: false, durable: true });
    session.attach({ deliver() {}, cancelled() {} });
    session.detach(60_000);
    second.subscription.grant(10);
    expect(second.seen.bodies).toEqual(numbers(0, 4));
  });
});

describe('a list that is longer than memory', () => {
  for (const restarts of [false, true]) {
    it(`is given out in order, each message once${restarts ? ', after a restart' : ''}`, async () => {
      const limits = { queueMemoryBytesMax: 2_000 };
      let world = await openTestCore({ limits });
      for (const id of ['a', 'b']) (await openSession(world.core, id, true)).subscribe(JOBS, sharedBy());
      const publish = publisherOf(world);
      for (const body of numbers(0, 3_000)) publish(body);
      await world.clock.turn();
      if (restarts) world = await openTestCore({ limits, storage: world.storage.afterCrash() });
      const workers = [];
      for (const id of ['a', 'b']) workers.push(attachWorker(await openSession(world.core, id, true), 0));
      for (let round = 0; round < 310; round++) {
        for (const { subscription, seen } of workers) {
          for (const delivery of seen.deliveries.splice(0)) delivery.settle('accepted');
          subscription.grant(5);
        }
        if (round % 10 === 0) await world.clock.turn();
        if (round === 100) for (const body of numbers(3_000, 3_050)) publisherOf(world)(body);
      }
      for (const { subscription } of workers) subscription.grant(1_000);
      for (let i = 0; i < 8; i++) await world.clock.turn();
      const [a, b] = workers.map(({ seen }) => seen.bodies) as [string[], string[]];
      expect(inOrder([...a, ...b])).toEqual(numbers(0, 3_050));
      expect(a).toEqual(inOrder(a));
      expect(b).toEqual(inOrder(b));
      expect(a.length).toBeGreaterThan(1_000);
    });
  }

  it('takes what a member leaves before what it has paged out', async () => {
    const world = await openTestCore({ limits: { queueMemoryBytesMax: 1_000 } });
    const first = await openWorker(world.core, 'first', 3, { durable: true });
    const publish = publisherOf(world);
    for (const body of numbers(0, 40)) publish(body);
    const second = await openWorker(world.core, 'second', 0, { durable: true });
    first.session.detach(60_000);
    second.subscription.grant(100);
    for (let i = 0; i < 4; i++) await world.clock.turn();
    expect(second.seen.bodies).toEqual(numbers(0, 40));
  });
});

it('what came back has newer rows than what is paged out, and is not read back with that', async () => {
  const world = await openTestCore({ limits: { queueMemoryBytesMax: 1_000 } });
  const first = await openWorker(world.core, 'first', 3, { durable: true });
  const publish = publisherOf(world);
  for (const body of numbers(0, 40)) publish(body);
  const second = await openWorker(world.core, 'second', 0);
  first.session.detach(60_000);
  for (const credit of [3, 10, 100]) {
    second.subscription.grant(credit);
    await world.clock.turn();
  }
  expect(second.seen.bodies).toEqual(numbers(0, 40));
});

describe('a list that reaches its bound', () => {
  for (const [name, queueMemoryBytesMax, durable] of [
    ['in memory', 1_000_000, false],
    ['in memory and on disk', 1_000_000, true],
    ['paged out', 1_000, true],
  ] as const) {
    it(`drops its oldest, and counts them, ${name}`, async () => {
      const world = await openTestCore({ limits: { queueMemoryBytesMax, sessionQueueMessagesMax: 10 } });
      (await openSession(world.core, 'worker', durable)).subscribe(JOBS, sharedBy());
      const publish = publisherOf(world);
      for (const body of numbers(0, 25)) publish(body);
      for (let i = 0; i < 4; i++) await world.clock.turn();
      expect(world.core.counters.dropped).toBe(15);
      const { seen } = attachWorker(await openSession(world.core, 'worker', durable), 100);
      for (let i = 0; i < 4; i++) await world.clock.turn();
      expect(seen.bodies).toEqual(numbers(15, 25));
      if (durable) expect(storedRows(world)).toBe(10);
    });
  }
});

describe('the least loaded of many members', () => {
  it('is found though most have no room', async () => {
    const world = await openTestCore();
    world.core.sessions.shareBy('least-loaded');
    const workers = await Promise.all(numbers(0, 60).map((i) => openWorker(world.core, `w${i}`, 100)));
    const publish = publisherOf(world);
    for (const body of numbers(0, 95)) publish(body);
    const [first, ...others] = workers;
    for (const { subscription } of others) subscription.withdraw();
    const before = first?.seen.bodies.length ?? 0;
    for (const body of numbers(95, 105)) publish(body);
    expect(first?.seen.bodies.length).toBe(before + 10);
  });
});
