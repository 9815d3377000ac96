/** Queues: credit, the four outcomes, order after redelivery, bounds, expiry, dead letters, paging and restarts. */
import { describe, expect, it } from 'vitest';
import type { Core, Delivery, Queue, QueueSpec } from '../../../src/core/index.ts';
import { NO_ROUTE, PENDING, STORED } from '../../../src/core/index.ts';
import { bodyOf, collect, messageTo, openTestCore, queueSpec, ReceiptLog } from '../../support/core.ts';

async function queueOn(core: Core, spec: Partial<QueueSpec> = {}): Promise<Queue> {
  const queue = await core.queues.declare(queueSpec({ name: 'q', ...spec }));
  core.exchanges.bind({
    exchange: 'x',
    target: { kind: 'queue', name: queue.spec.name },
    key: 'k',
    match: null,
    arguments: [],
  });
  return queue;
}

function publish(core: Core, ...bodies: string[]): void {
  const publisher = core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested: () => {},
  });
  for (const body of bodies) publisher.publish(messageTo('x/k', body), null, 0);
}

describe('queue', () => {
  it('delivers in order, under credit only', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core);
    publish(core, '1', '2', '3');
    expect(queue.readyCount).toBe(3);
    const consumer = collect();
    const subscription = queue.consume(consumer, { settled: false, exclusive: false, priority: 0 });
    expect(consumer.bodies).toEqual([]);
    subscription.grant(2);
    expect(consumer.bodies).toEqual(['1', '2']);
    publish(core, '4');
    subscription.grant(5);
    expect(consumer.bodies).toEqual(['1', '2', '3', '4']);
    expect(queue.unsettledCount).toBe(4);
    for (const delivery of consumer.deliveries) delivery.settle('accepted');
    expect(queue.unsettledCount).toBe(0);
    expect(queue.readyCount).toBe(0);
  });

  it('puts back what is released in its old order, before what never was delivered', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core);
    publish(core, '1', '2', '3', '4', '5');
    const first = collect();
    const subscription = queue.consume(first, { settled: false, exclusive: false, priority: 0 });
    subscription.grant(3);
    first.deliveries[2]?.settle('modified');
    first.deliveries[0]?.settle('released');
    subscription.close();
    const second = collect();
    queue.consume(second, { settled: false, exclusive: false, priority: 0 }).grant(10);
    expect(second.bodies).toEqual(['1', '2', '3', '4', '5']);
    expect(second.deliveries.map((d) => d.redelivered)).toEqual([true, true, true, false, false]);
    expect(second.deliveries.map((d) => d.failedCount)).toEqual([0, 0, 1, 0, 0]);
  });

  it('shares between consumers by turns and skips those without credit', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core);
    const [a, b] = [collect(), collect()];
    queue.consume(a, { settled: false, exclusive: false, priority: 0 }).grant(2);
    queue.consume(b, { settled: false, exclusive: false, priority: 0 }).grant(10);
    publish(core, '1', '2', '3', '4', '5', '6');
    expect(a.bodies).toEqual(['1', '3']);
    expect(b.bodies).toEqual(['2', '4', '5', '6']);
  });

  it('serves a consumer of higher priority first while it has credit', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core);
    const [low, high] = [collect(), collect()];
    queue.consume(low, { settled: false, exclusive: false, priority: 0 }).grant(10);
    queue.consume(high, { settled: false, exclusive: false, priority: 5 }).grant(2);
    publish(core, '1', '2', '3');
    expect(high.bodies).toEqual(['1', '2']);
    expect(low.bodies).toEqual(['3']);
  });

  it('lets a closed consumer keep what it holds until that is settled or let go', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core);
    publish(core, '1', '2');
    const consumer = collect();
    const subscription = queue.consume(consumer, { settled: false, exclusive: false, priority: 0 });
    subscription.grant(2);
    subscription.close(true);
    expect(queue.consumerCount).toBe(0);
    expect(queue.unsettledCount).toBe(2);
    consumer.deliveries[0]?.settle('accepted');
    expect(queue.unsettledCount).toBe(1);
    subscription.close();
    expect(queue.unsettledCount).toBe(0);
    expect(queue.readyCount).toBe(1);
  });

  it('refuses a second consumer where one has it exclusively', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core);
    const only = queue.consume(collect(), { settled: false, exclusive: true, priority: 0 });
    expect(() => queue.consume(collect(), { settled: false, exclusive: false, priority: 0 })).toThrow(
      /exclusive/,
    );
    only.close();
    queue.consume(collect(), { settled: false, exclusive: false, priority: 0 });
    expect(() => queue.consume(collect(), { settled: false, exclusive: true, priority: 0 })).toThrow(
      /exclusive/,
    );
  });

  it('takes single messages, settled or not', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core);
    publish(core, '1', '2');
    const one = (await queue.take(false)) as Delivery;
    expect(bodyOf(one.message)).toBe('1');
    one.settle('released');
    expect(bodyOf(((await queue.take(true)) as Delivery).message)).toBe('1');
    expect(bodyOf(((await queue.take(true)) as Delivery).message)).toBe('2');
    expect(await queue.take(true)).toBeNull();
  });

  it('drops the oldest, or refuses, beyond its bound', async () => {
    const { core } = await openTestCore();
    const dropping = await queueOn(core, { name: 'dropping', messagesMax: 2 });
    publish(core, '1', '2', '3');
    expect(dropping.readyCount).toBe(2);
    expect(bodyOf(((await dropping.take(true)) as Delivery).message)).toBe('2');
    core.queues.delete('dropping', { ifUnused: false, ifEmpty: false });
    await queueOn(core, { name: 'refusing', messagesMax: 1, overflow: 'reject' });
    publish(core, '1');
    expect(() => publish(core, '2')).toThrow(/full/);
  });

  it('goes when its last consumer goes, if it should, and tells consumers when it is deleted', async () => {
    const { core } = await openTestCore();
    const queue = await queueOn(core, { autoDelete: true });
    queue.consume(collect(), { settled: true, exclusive: false, priority: 0 }).close();
    expect(core.queues.get('q')).toBeUndefined();
    const again = await queueOn(core);
    const consumer = collect();
    again.consume(consumer, { settled: true, exclusive: false, priority: 0 });
    expect(() => core.queues.delete('q', { ifUnused: true, ifEmpty: false })).toThrow(/in use/);
    core.queues.delete('q', { ifUnused: false, ifEmpty: false });
    expect(consumer.cancellations).toEqual(['deleted']);
    expect([...core.exchanges.bindings()]).toEqual([]);
  });

  it('expires messages by their own time or the queue, whichever is sooner, and itself when unused', async () => {
    const { core, clock } = await openTestCore();
    const queue = await queueOn(core, { messageTtlMs: 1_000, expiresMs: 60_000 });
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    publisher.publish(messageTo('x/k', 'short', { expiresAtMs: clock.nowMs() + 300 }), null, 0);
    publisher.publish(messageTo('x/k', 'long'), null, 0);
    expect(queue.readyCount).toBe(2);
    clock.advance(500);
    expect(queue.readyCount).toBe(1);
    clock.advance(600);
    expect(queue.readyCount).toBe(0);
    clock.advance(60_000);
    expect(core.queues.get('q')).toBeUndefined();
  });

  it('expires what was behind a message without a deadline once that is gone', async () => {
    const { core, clock } = await openTestCore();
    const queue = await queueOn(core);
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    publisher.publish(messageTo('x/k', 'first'), null, 0);
    publisher.publish(messageTo('x/k', 'expiring', { expiresAtMs: clock.nowMs() + 300 }), null, 0);
    expect(await queue.take(true)).not.toBeNull();
    clock.advance(400);
    expect(queue.readyCount).toBe(0);
    expect(core.counters.expired).toBe(1);
  });

  it('sends what is rejected to its dead-letter exchange with its history', async () => {
    const { core, clock } = await openTestCore();
    const dead = await core.queues.declare(queueSpec({ name: 'dead' }));
    const queue = await queueOn(core, { deadLetter: { exchange: '', key: 'dead' } });
    publish(core, 'bad');
    ((await queue.take(false)) as Delivery).settle('rejected');
    await clock.turn();
    const letter = (await dead.take(false)) as Delivery;
    expect(bodyOf(letter.message)).toBe('bad');
    const death = letter.message.properties.headers.find((header) => header.name === 'x-death')?.value;
    expect(JSON.stringify(death, (_, v: unknown) => (typeof v === 'bigint' ? Number(v) : v))).toContain(
      '"rejected"',
    );
  });

  it('acknowledges a durable message only when it is stored, others at once', async () => {
    const { core, clock } = await openTestCore();
    await queueOn(core, { durable: true });
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    const receipts = new ReceiptLog();
    expect(publisher.publish(messageTo('nowhere', 'x', { reliability: 1 }), receipts, 1)).toBe(NO_ROUTE);
    expect(publisher.publish(messageTo('x/k', 'transient'), receipts, 2)).toBe(STORED);
    expect(publisher.publish(messageTo('x/k', 'durable', { reliability: 1 }), receipts, 3)).toBe(PENDING);
    expect(receipts.tokensStored).toEqual([]);
    await clock.turn();
    expect(receipts.tokensStored).toEqual([3]);
  });

  it('refuses what the disk did not take, and takes it again when there is room', async () => {
    const { core, clock, storage } = await openTestCore();
    await queueOn(core, { durable: true });
    await clock.turn();
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    const receipts = new ReceiptLog();
    storage.failCommits = true;
    expect(publisher.publish(messageTo('x/k', 'a', { reliability: 1 }), receipts, 1)).toBe(PENDING);
    await clock.turn();
    expect(receipts.refusals).toEqual([[1, 'storage-failed']]);
    storage.failCommits = false;
    clock.advance(1_000);
    await clock.turn();
    publisher.publish(messageTo('x/k', 'b', { reliability: 1 }), receipts, 2);
    await clock.turn();
    expect(receipts.tokensStored).toEqual([2]);
  });

  it('comes back from a restart with its durable messages, bindings and nothing that was settled', async () => {
    const first = await openTestCore();
    const queue = await queueOn(first.core, { durable: true });
    const publisher = first.core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    for (const body of ['1', '2', '3']) {
      publisher.publish(messageTo('x/k', body, { reliability: 1 }), new ReceiptLog(), 0);
    }
    publisher.publish(messageTo('x/k', 'transient'), null, 0);
    ((await queue.take(false)) as Delivery).settle('accepted');
    await first.clock.turn();
    const second = await openTestCore({ storage: first.storage.afterCrash() });
    const restored = second.core.queues.get('q') as Queue;
    expect(restored.readyCount).toBe(2);
    publish(second.core, '4');
    const consumer = collect();
    restored.consume(consumer, { settled: false, exclusive: false, priority: 0 }).grant(10);
    await second.clock.turn();
    expect(consumer.bodies).toEqual(['2', '3', '4']);
    expect(consumer.deliveries.map((d) => d.redelivered)).toEqual([true, true, false]);
  });

  it('keeps only on disk what does not fit in memory, and gives it out in order', async () => {
    const { core, clock } = await openTestCore({ limits: { queueMemoryBytesMax: 10_000 } });
    const queue = await queueOn(core, { durable: true });
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    const bodies = Array.from({ length: 3_000 }, (_, i) => `${i}`);
    for (const body of bodies) publisher.publish(messageTo('x/k', body, { reliability: 1 }), null, 0);
    await clock.turn();
    expect(queue.readyCount).toBe(3_000);
    const consumer = collect((delivery) => delivery.settle('accepted'));
    const subscription = queue.consume(consumer, { settled: false, exclusive: false, priority: 0 });
    subscription.grant(Number.POSITIVE_INFINITY);
    for (let i = 0; i < 20; i++) await clock.turn();
    expect(consumer.bodies).toEqual(bodies);
  });

  it('purges what waits in memory and on disk', async () => {
    const { core, clock } = await openTestCore({ limits: { queueMemoryBytesMax: 10_000 } });
    const queue = await queueOn(core, { durable: true });
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    for (let i = 0; i < 500; i++) publisher.publish(messageTo('x/k', `${i}`, { reliability: 1 }), null, 0);
    expect(queue.purge()).toBe(500);
    expect(queue.readyCount).toBe(0);
    publish(core, 'after');
    await clock.turn();
    expect(bodyOf(((await queue.take(true)) as Delivery).message)).toBe('after');
  });

  it('holds publishers back while too much waits in memory', async () => {
    const { core } = await openTestCore({ limits: { heldBytesMax: 10_000 } });
    const queue = await queueOn(core);
    const said: boolean[] = [];
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: (yes) => said.push(yes),
    });
    for (let i = 0; i < 30; i++) publisher.publish(messageTo('x/k', 'x'.repeat(100)), null, 0);
    expect(said).toEqual([true]);
    queue.purge();
    expect(said).toEqual([true, false]);
  });
});
