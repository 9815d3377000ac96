/** Queues under stress: bounds and deadlines hold on disk as in memory, and no client can make the core walk far. */
import { describe, expect, it } from 'vitest';
import type { Core, Delivery, MessageFields, Queue, QueueSpec } from '../../../src/core/index.ts';
import { bodyOf, collect, messageTo, openTestCore, queueSpec } from '../../support/core.ts';
import { cpuMs } from '../../support/cpu-time.ts';

async function queueOn(core: Core, name: string, spec: Partial<QueueSpec> = {}): Promise<Queue> {
  return core.queues.declare(queueSpec({ name, durable: true, ...spec }));
}

function publish(core: Core, queue: string, body: string, fields: Partial<MessageFields> = {}): void {
  const publisher = core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested: () => {},
  });
  publisher.publish(messageTo(`$queue/${queue}`, body, { reliability: 1, ...fields }), null, 0);
}

const OPEN = { settled: false, exclusive: false, priority: 0 };

describe('queue', () => {
  it('is deleted with any number of unsettled messages', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core, 'q', { durable: false });
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    const message = messageTo('$queue/q', 'x');
    queue.consume(collect(), OPEN).grant(Number.POSITIVE_INFINITY);
    for (let i = 0; i < 200_000; i++) publisher.publish(message, null, 0);
    expect(queue.unsettledCount).toBe(200_000);
    core.queues.delete('q', { ifUnused: false, ifEmpty: false });
  });

  it('takes back many messages one by one in little time', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core, 'q', { durable: false });
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    const count = 20_000;
    for (let i = 0; i < count; i++) publisher.publish(messageTo('$queue/q', `${i}`), null, 0);
    const consumer = collect();
    queue.consume(consumer, OPEN).grant(count);
    const begin = cpuMs();
    for (const delivery of consumer.deliveries) delivery.settle('released');
    expect(cpuMs() - begin).toBeLessThan(500);
    const other = collect();
    queue.consume(other, OPEN).grant(count);
    expect(other.bodies).toEqual(consumer.bodies);
  });

  it('counts what is only on disk towards its bound of bytes, and no more than bodies', async () => {
    const { core, clock } = await openTestCore({ limits: { queueMemoryBytesMax: 5_000 } });
    const queue = await queueOn(core, 'q', { bytesMax: 10_000 });
    for (let i = 0; i < 300; i++) publish(core, 'q', 'x'.repeat(100));
    for (let i = 0; i < 10; i++) await clock.turn();
    expect(queue.readyCount).toBe(100);
    const refusing = await queueOn(core, 'r', { bytesMax: 10_000, overflow: 'reject' });
    for (let i = 0; i < 100; i++) publish(core, 'r', 'x'.repeat(100));
    expect(() => publish(core, 'r', 'x')).toThrow('full');
    expect(refusing.readyCount).toBe(100);
  });

  it('is purged in little time when its log once was long', async () => {
    const first = await openTestCore();
    await queueOn(first.core, 'q');
    for (const log of first.storage.rowLogs.values()) log.endOffset = 10_000_000_000;
    publish(first.core, 'q', 'x');
    await first.clock.turn();
    const second = await openTestCore({
      storage: first.storage.afterCrash(),
      limits: { heldBytesMax: 0 },
    });
    expect(second.core.queues.get('q')?.purge()).toBe(1);
    expect(second.core.queues.get('q')?.readyCount).toBe(0);
  });

  it('lets messages expire on time that a consumer gave back', async () => {
    const { core, clock } = await openTestCore();
    const queue = await queueOn(core, 'q');
    const consumer = collect();
    queue.consume(consumer, OPEN).grant(1);
    publish(core, 'q', 'x', { expiresAtMs: clock.nowMs() + 1_000 });
    consumer.deliveries[0]?.settle('released');
    clock.advance(2_000);
    expect(queue.readyCount).toBe(0);
    expect(core.counters.expired).toBe(1);
  });

  it('watches the earliest deadline at its front, not the first that it saw', async () => {
    const { core, clock } = await openTestCore();
    const queue = await queueOn(core, 'q');
    publish(core, 'q', 'late', { expiresAtMs: clock.nowMs() + 60_000 });
    queue.purge();
    publish(core, 'q', 'soon', { expiresAtMs: clock.nowMs() + 1_000 });
    clock.advance(2_000);
    expect(queue.readyCount).toBe(0);
  });

  it('gives a message its whole time after a restart, and dead-letters it though nobody consumes', async () => {
    const first = await openTestCore();
    await queueOn(first.core, 'q', { messageTtlMs: 60_000, deadLetter: { exchange: '', key: 'dead' } });
    await queueOn(first.core, 'dead');
    // Old when it arrives here, as what is dead-lettered from elsewhere.
    publish(first.core, 'q', 'x', { timestampMs: first.clock.nowMs() - 3_600_000 });
    await first.clock.turn();
    const second = await openTestCore({ storage: first.storage.afterCrash() });
    const [queue, dead] = ['q', 'dead'].map((name) => second.core.queues.get(name) as Queue);
    await second.clock.turn();
    second.clock.advance(50_000);
    await second.clock.turn();
    expect(queue?.readyCount).toBe(1);
    second.clock.advance(20_000);
    await second.clock.turn();
    expect(queue?.readyCount).toBe(0);
    expect(dead?.readyCount).toBe(1);
  });

  it('lets everything expire that is only on disk', async () => {
    const { core, clock } = await openTestCore({ limits: { queueMemoryBytesMax: 5_000 } });
    const queue = await queueOn(core, 'q', { messageTtlMs: 1_000 });
    for (let i = 0; i < 3_000; i++) publish(core, 'q', `${i}`);
    clock.advance(1_001);
    for (let i = 0; i < 10; i++) {
      await clock.turn();
      clock.advance(1);
    }
    expect(queue.readyCount).toBe(0);
    expect(core.counters.expired).toBe(3_000);
  });

  it('ends a take that waits for the disk when it is deleted', async () => {
    const { core, clock } = await openTestCore({ limits: { queueMemoryBytesMax: 1 } });
    const queue = await queueOn(core, 'q');
    for (let i = 0; i < 10; i++) publish(core, 'q', `${i}`);
    const bodies: string[] = [];
    const head = (await queue.take(false)) as Delivery;
    bodies.push(bodyOf(head.message));
    const waiting = queue.take(false);
    core.queues.delete('q', { ifUnused: false, ifEmpty: false });
    await clock.turn();
    expect(['0', '1']).toContain(bodies[0]);
    await waiting;
    expect(queue.readyCount).toBe(0);
  });
});
