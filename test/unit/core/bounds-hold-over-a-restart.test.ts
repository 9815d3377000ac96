/** What waited on the disk at a restart counts towards the bound of bytes of whatever it waits in, before it is read back. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { type Core, type Delivery, MANY, Pattern, type QueueSpec } from '../../../src/core/index.ts';
import type { StoredQueue } from '../../../src/core/queue.ts';
import { collect, messageTo, openTestCore, queueSpec, type TestCore } from '../../support/core.ts';
import type { MemoryRowLog, MemoryStorage } from '../../support/memory-storage.ts';

const BODY = 'x'.repeat(100);
const COUNT = 3_000;
const bytesMax = COUNT * BODY.length;

function publish(core: Core, address: string, body = BODY): void {
  const publisher = core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested: () => {},
  });
  publisher.publish(messageTo(address, body, { reliability: 1 }), null, 0);
}

async function turns({ clock }: TestCore, until: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !until(); i++) await clock.turn();
}

/** A queue that is full, after a restart. */
async function fullQueue(spec: Partial<QueueSpec>): Promise<TestCore> {
  const first = await openTestCore();
  await first.core.queues.declare(queueSpec({ name: 'q', durable: true, bytesMax, ...spec }));
  for (let i = 0; i < COUNT; i++) publish(first.core, '$queue/q');
  await first.clock.turn();
  return openTestCore({ storage: first.storage.afterCrash() });
}

const logOf = (storage: MemoryStorage): MemoryRowLog =>
  [...storage.rowLogs.values()].find(({ rows }) => rows.size > 0) as MemoryRowLog;

function taken(core: Core, address: string, most: number): number {
  for (let i = 0; i < most; i++) {
    try {
      publish(core, address);
    } catch {
      return i;
    }
  }
  return most;
}

describe('a queue that refuses what is beyond its bound of bytes', () => {
  it('refuses after a restart what it refused before', async () => {
    const world = await fullQueue({ overflow: 'reject' });
    for (let i = 0; i < 20; i++) await world.clock.turn();
    expect(taken(world.core, '$queue/q', 10)).toBe(0);
    const queue = world.core.queues.get('q')!;
    for (let i = 0; i < 5; i++) (await queue.take(false))?.settle('accepted');
    expect(taken(world.core, '$queue/q', 10)).toBe(5);
  });

  it('has room for exactly what left, whatever was read back while that was counted', async () => {
    const world = await fullQueue({ overflow: 'reject' });
    const queue = world.core.queues.get('q')!;
    const consumer = collect();
    const subscription = queue.consume(consumer, { settled: false, exclusive: false, priority: 0 });
    subscription.grant(1_500);
    const last = await queue.takeAt(COUNT - 1);
    await turns(world, () => consumer.deliveries.length === 1_500);
    for (let i = 0; i < 20; i++) await world.clock.turn();
    for (const delivery of consumer.deliveries.slice(0, 7)) delivery.settle('accepted');
    last?.settle('accepted');
    // What its consumer holds does not wait; it comes back, and waits again.
    subscription.close(false);
    expect(queue.readyCount).toBe(COUNT - 8);
    expect(taken(world.core, '$queue/q', 20)).toBe(8);
  });

  it('is empty again once it is purged while that is counted', async () => {
    const world = await fullQueue({ overflow: 'reject' });
    expect(world.core.queues.get('q')?.purge()).toBe(COUNT);
    for (let i = 0; i < 20; i++) await world.clock.turn();
    expect(taken(world.core, '$queue/q', COUNT + 1)).toBe(COUNT);
  });

  it('counts in pages, lets others in between, and asks again where the log could not be read', async () => {
    const first = await openTestCore();
    await first.core.queues.declare(queueSpec({ name: 'q', durable: true, bytesMax, overflow: 'reject' }));
    for (let i = 0; i < COUNT; i++) publish(first.core, '$queue/q');
    await first.clock.turn();
    const storage = first.storage.afterCrash();
    const log = logOf(storage);
    const read = vi.spyOn(log, 'read').mockRejectedValue(new Error('not now'));
    const world = await openTestCore({ storage });
    await world.clock.turn();
    expect(world.events).toContainEqual(expect.objectContaining({ text: 'a log could not be read' }));
    read.mockRestore();
    const reads = vi.spyOn(log, 'read');
    publish(world.core, '$queue/q');
    for (let i = 0; i < 20; i++) await world.clock.turn();
    expect(taken(world.core, '$queue/q', 10)).toBe(0);
    for (const [, rowsMax] of reads.mock.calls) expect(rowsMax).toBeLessThanOrEqual(1_000);
  });

  it('stops counting when the core closes', async () => {
    const world = await fullQueue({ overflow: 'reject' });
    const reads = vi.spyOn(logOf(world.storage), 'read');
    await world.core.close();
    const before = reads.mock.calls.length;
    for (let i = 0; i < 20; i++) await world.clock.turn();
    expect(reads.mock.calls.length).toBe(before);
    expect(before).toBeLessThan(3);
  });
});

describe('what drops its oldest beyond its bound of bytes', () => {
  it('as a queue holds no more after a restart than before', async () => {
    const world = await fullQueue({ overflow: 'drop-oldest' });
    const queue = world.core.queues.get('q')!;
    for (let i = 0; i < 10; i++) publish(world.core, '$queue/q');
    await turns(world, () => queue.readyCount === COUNT);
    expect(queue.readyCount).toBe(COUNT);
    expect(world.core.counters.dropped).toBe(10);
  });

  it('as a session holds no more after a restart than before, and reads nothing until something comes', async () => {
    const limits = { sessionQueueBytesMax: bytesMax };
    const first = await openTestCore({ limits });
    const { session } = await first.core.sessions.open('s', { clean: false, durable: true });
    const wish = { reliability: 1, noLocal: false, keepRetain: false, id: 0 } as const;
    session.subscribe(new Pattern(['a', MANY]), wish);
    for (let i = 0; i < COUNT; i++) publish(first.core, 'a/b');
    await first.clock.turn();
    const storage = first.storage.afterCrash();
    const reads = vi.spyOn(logOf(storage), 'read');
    const world = await openTestCore({ storage, limits });
    await world.clock.turn();
    expect(reads).not.toHaveBeenCalled();
    for (let i = 0; i < 10; i++) publish(world.core, 'a/b');
    const restored = world.core.sessions.get('s')!;
    await turns(world, () => restored.queuedCount === COUNT);
    expect(restored.queuedCount).toBe(COUNT);
  });
});

describe('the bytes that wait in a queue', () => {
  type Step = {
    readonly kind: 'publish' | 'take' | 'takeAt' | 'giveBack' | 'turn' | 'purge';
    readonly of: number;
  };
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom('publish' as const, 'take' as const) },
      { weight: 6, arbitrary: fc.constantFrom('takeAt' as const, 'giveBack' as const, 'turn' as const) },
      { weight: 1, arbitrary: fc.constant('purge' as const) },
    ),
    of: fc.nat(1_500),
  });

  it('are those of its bodies, whatever becomes of them while they are counted', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.boolean(), async (steps, isDurable) => {
        const limits = { queueMemoryBytesMax: 1_000 };
        const first = await openTestCore({ limits });
        const spec = queueSpec({ name: 'q', durable: true, bytesMax: 1e9, overflow: 'reject' });
        await first.core.queues.declare(spec);
        const send = (core: Core, size: number, reliability: 0 | 1): void => {
          const principal = { user: '', groups: [], clientId: '' };
          const publisher = core.openPublisher({ principal, congested: () => {} });
          publisher.publish(messageTo('$queue/q', 'x'.repeat(size), { reliability }), null, 0);
        };
        // What need not survive is on the disk too where memory had no room, and goes when it is read back.
        for (let i = 0; i < 1_200; i++) send(first.core, i % 97, isDurable || i % 3 > 0 ? 1 : 0);
        await first.clock.turn();
        const world = await openTestCore({ storage: first.storage.afterCrash(), limits });
        const queue = world.core.queues.get('q') as StoredQueue;
        const held: Delivery[] = [];
        for (const { kind, of } of steps) {
          if (kind === 'publish') send(world.core, of % 50, 1);
          else if (kind === 'turn') await world.clock.turn();
          else if (kind === 'purge') queue.purge();
          else if (kind === 'giveBack') held.pop()?.settle('released');
          else {
            const taken = await (kind === 'take' ? queue.take(false) : queue.takeAt(of));
            if (taken !== null) held.push(taken);
          }
        }
        for (let i = 0; i < 8; i++) await world.clock.turn();
        const counted = queue.waitingBytes;
        const waiting = await queue.browse(null, 5_000, 1e9);
        expect(counted).toBe(waiting.reduce((sum, { message }) => sum + message.body.length, 0));
        expect(waiting).toHaveLength(queue.readyCount);
      }),
      { numRuns: 20, examples: [[[{ kind: 'takeAt', of: 16 }], false]] },
    );
  });
});
