/**
 * What a member of a shared subscription holds on disk only, after a restart: it goes to the others when they come or
 * when its session ends, at whatever moment the process is killed meanwhile.
 */
import { describe, expect, it } from 'vitest';
import type { Core } from '../../../src/core/index.ts';
import { Pattern } from '../../../src/core/index.ts';
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

/** The member `holder` was sent `count` messages and acknowledged none, `rest` is absent; then the process was killed. */
async function restartHolding(count: number, reliability: 1 | 2 = 1): Promise<TestCore> {
  const world = await openTestCore();
  (await openSession(world.core, 'rest', true)).subscribe(JOBS, sharedBy());
  await openWorker(world.core, 'holder', count, { durable: true });
  const publish = publisherOf(world);
  for (const body of numbers(0, count)) publish(body, reliability);
  await world.clock.turn();
  return openTestCore({ storage: world.storage.afterCrash() });
}

async function turns(world: TestCore): Promise<void> {
  for (let i = 0; i < 8; i++) await world.clock.turn();
}

const ENDINGS: Record<string, (world: TestCore) => unknown> = {
  'is deleted': ({ core }) => core.sessions.end('holder'),
  'begins anew': ({ core }) => core.sessions.open('holder', { clean: true, durable: true }),
  expires: ({ core, clock }) => {
    core.sessions.get('holder')?.attach({ deliver() {}, cancelled() {} });
    core.sessions.get('holder')?.detach(1_000);
    clock.advance(2_000);
  },
};

describe('after a restart, what a member of a shared subscription holds', () => {
  for (const [name, end] of Object.entries(ENDINGS)) {
    it(`goes to another when its session ${name}`, async () => {
      const world = await restartHolding(5);
      await end(world);
      const rest = attachWorker(await openSession(world.core, 'rest', true), 100);
      await turns(world);
      expect(rest.seen.bodies).toEqual(numbers(0, 5));
      for (const delivery of rest.seen.deliveries) delivery.settle('accepted');
      await turns(world);
      const { rowLogs } = world.storage;
      expect([...rowLogs.values()].map(({ rowCount }) => rowCount).filter((count) => count > 0)).toEqual([]);
      expect([...rowLogs.keys()]).not.toContain('session-2');
    });
  }

  it('goes to another that attaches while its session is away', async () => {
    const world = await restartHolding(5);
    const rest = attachWorker(await openSession(world.core, 'rest', true), 100);
    await turns(world);
    expect(rest.seen.bodies).toEqual(numbers(0, 5));
    const holder = attachWorker(await openSession(world.core, 'holder', true), 100);
    await turns(world);
    expect(holder.seen.bodies).toEqual([]);
  });

  it('is given to it when it is the first to return', async () => {
    const world = await restartHolding(5);
    const holder = attachWorker(await openSession(world.core, 'holder', true), 100);
    await turns(world);
    const rest = attachWorker(await openSession(world.core, 'rest', true), 100);
    await turns(world);
    expect(holder.seen.bodies).toEqual(numbers(0, 5));
    expect(rest.seen.bodies).toEqual([]);
  });

  it('is given once when it returns while that is on its way to another', async () => {
    for (let step = 0; step < 12; step++) {
      const world = await restartHolding(2_500);
      const rest = attachWorker(await openSession(world.core, 'rest', true), 10_000);
      for (let i = 0; i < step; i++) await Promise.resolve();
      if (step > 6) await new Promise(setImmediate);
      const holder = attachWorker(await openSession(world.core, 'holder', true), 10_000);
      await turns(world);
      expect(inOrder([...rest.seen.bodies, ...holder.seen.bodies])).toEqual(numbers(0, 2_500));
    }
  });

  it('stays with it when it must arrive once and may have been sent, and ends with it', async () => {
    const world = await restartHolding(2, 2);
    const rest = attachWorker(await openSession(world.core, 'rest', true), 100);
    await turns(world);
    const holder = attachWorker(await openSession(world.core, 'holder', true), 100);
    await turns(world);
    expect(rest.seen.bodies).toEqual([]);
    expect(holder.seen.bodies).toEqual(['0', '1']);
    const other = await restartHolding(2, 2);
    other.core.sessions.end('holder');
    const late = attachWorker(await openSession(other.core, 'rest', true), 100);
    await turns(other);
    expect(late.seen.bodies).toEqual([]);
  });

  it('leaves behind what it holds of its own subscriptions', async () => {
    const before = await openTestCore();
    (await openSession(before.core, 'rest', true)).subscribe(JOBS, sharedBy());
    const { session } = await openWorker(before.core, 'holder', 100, { durable: true });
    session.subscribe(Pattern.of('own'), { reliability: 1, noLocal: false, keepRetain: false, id: 0 });
    const publish = publisherOf(before);
    for (const body of numbers(0, 6)) publish(body, 1, Number(body) % 2 === 0 ? 'jobs' : 'own');
    await before.clock.turn();
    const world = await openTestCore({ storage: before.storage.afterCrash() });
    const rest = attachWorker(await openSession(world.core, 'rest', true), 100);
    await turns(world);
    expect(rest.seen.bodies).toEqual(['0', '2', '4']);
    expect(world.core.sessions.get('holder')?.queuedCount).toBe(3);
    const holder = attachWorker(await openSession(world.core, 'holder', true), 100);
    await turns(world);
    expect(holder.seen.bodies).toEqual(['1', '3', '5']);
  });

  for (const [name, begin] of [
    ['its session ends', (core: Core) => core.sessions.end('holder')],
    ['another attaches', (core: Core) => attachWorker(core.sessions.get('rest') as never, 0)],
  ] as const) {
    it(`survives a kill at any moment after ${name}`, async () => {
      const world = await restartHolding(3_500);
      begin(world.core);
      const kept = new Set<number>();
      let commits = -1;
      for (let i = 0; i < 60; i++) {
        await new Promise(setImmediate);
        if (world.storage.commitCount === commits) continue;
        commits = world.storage.commitCount;
        const storage = world.storage.afterCrash();
        if (storage.rowLogs.size === 0) continue;
        kept.add([...storage.rowLogs].find(([log]) => log.startsWith('shared-'))?.[1].rowCount ?? -1);
        const after = await openTestCore({ storage });
        const rest = attachWorker(await openSession(after.core, 'rest', true), 10_000);
        await turns(after);
        expect(inOrder(rest.seen.bodies)).toEqual(numbers(0, 3_500));
      }
      // It was looked at while part of it was here and part there.
      expect([...kept].some((rows) => rows > 0 && rows < 3_500)).toBe(true);
      expect(kept).toContain(3_500);
    });
  }
});
