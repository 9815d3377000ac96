/** A disk that refuses: publishers hear it at once, memory stays bounded, and what was dead-lettered is not lost. */
import { describe, expect, it } from 'vitest';
import type { Core, CoreError, Delivery, Queue } from '../../../src/core/index.ts';
import { collect, messageTo, openTestCore, queueSpec, ReceiptLog } from '../../support/core.ts';

const OPEN = { settled: false, exclusive: false, priority: 0 };

function open(core: Core) {
  return core.openPublisher({ principal: { user: '', groups: [], clientId: '' }, congested: () => {} });
}

function codeOf(task: () => unknown): string {
  try {
    task();
    return 'taken';
  } catch (error) {
    return (error as CoreError).code;
  }
}

describe('while the disk refuses', () => {
  it('durable messages are refused outright, consumers are served, and all is well once there is room', async () => {
    const { core, clock, storage } = await openTestCore();
    const queue = await core.queues.declare(queueSpec({ name: 'q', durable: true }));
    await core.queues.declare(queueSpec({ name: 'volatile' }));
    const publisher = open(core);
    const receipts = new ReceiptLog();
    const send = (token: number) =>
      publisher.publish(messageTo('$queue/q', `${token}`, { reliability: 1 }), receipts, token);
    send(1);
    await clock.turn();
    storage.failCommits = true;
    send(2);
    await clock.turn();
    expect(receipts.refusals).toEqual([[2, 'storage-failed']]);
    expect(core.storageRefusal()?.code).toBe('storage-failed');
    const before = queue.readyCount;
    for (let i = 0; i < 100; i++) expect(codeOf(() => send(3))).toBe('storage-failed');
    expect(queue.readyCount).toBe(before);
    expect(codeOf(() => publisher.publish(messageTo('$queue/volatile', 'x'), null, 0))).toBe('taken');
    const consumer = collect();
    queue.consume(consumer, OPEN).grant(1);
    expect(consumer.bodies).toEqual(['1']);
    storage.failCommits = false;
    clock.advance(1_000);
    await clock.turn();
    expect(core.storageRefusal()).toBeNull();
    send(4);
    await clock.turn();
    expect(receipts.tokensStored).toEqual([1, 4]);
  });

  it('a dead letter waits until it can be written', async () => {
    const { core, clock, storage } = await openTestCore();
    const source = await core.queues.declare(
      queueSpec({ name: 'q', durable: true, deadLetter: { exchange: '', key: 'dead' } }),
    );
    const dead = (await core.queues.declare(queueSpec({ name: 'dead', durable: true }))) as Queue;
    const publisher = open(core);
    for (const body of ['1', '2'])
      publisher.publish(messageTo('$queue/q', body, { reliability: 1 }), null, 0);
    await clock.turn();
    const deliveries = [await source.take(false), await source.take(false)] as Delivery[];
    storage.failAppends = true;
    for (const delivery of deliveries) delivery.settle('rejected');
    await clock.turn();
    expect(dead.readyCount).toBe(0);
    storage.failAppends = false;
    clock.advance(1_000);
    await clock.turn();
    expect(dead.readyCount).toBe(2);
  });
});

describe('dead letters', () => {
  it('of a long chain of queues reach its end without another message', async () => {
    const { core, clock } = await openTestCore();
    const length = 40;
    for (let i = 0; i < length; i++) {
      await core.queues.declare(
        queueSpec({ name: `q${i}`, messagesMax: 0, deadLetter: { exchange: '', key: `q${i + 1}` } }),
      );
    }
    const last = await core.queues.declare(queueSpec({ name: `q${length}` }));
    open(core).publish(messageTo('$queue/q0', 'x'), null, 0);
    for (let i = 0; i < 10; i++) await clock.turn();
    expect(last.readyCount).toBe(1);
  });

  it('with an address that is too long are counted as dropped, and do not stop the others', async () => {
    const { core, clock } = await openTestCore({ limits: { addressBytesMax: 100 } });
    const long = 'x'.repeat(200);
    await core.queues.declare(
      queueSpec({ name: 'long', messagesMax: 0, deadLetter: { exchange: long, key: long } }),
    );
    await core.queues.declare(
      queueSpec({ name: 'short', messagesMax: 0, deadLetter: { exchange: '', key: 'dead' } }),
    );
    const dead = await core.queues.declare(queueSpec({ name: 'dead' }));
    const publisher = open(core);
    const receipts = new ReceiptLog();
    publisher.publish(messageTo('$queue/long', '1'), null, 0);
    publisher.publish(messageTo('$queue/short', '2'), null, 0);
    await clock.turn();
    expect(dead.readyCount).toBe(1);
    expect(receipts.refusals).toEqual([]);
  });
});
