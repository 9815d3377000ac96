/** What waits in a queue can be looked at, taken from the middle and put back, and a queue's bounds can be changed. */
import { describe, expect, it } from 'vitest';
import type { Core, Queue, QueueSpec, WaitingMessage } from '../../../src/core/index.ts';
import { PLAIN_DELIVERY } from '../../../src/core/index.ts';
import { bodyOf, collect, messageTo, openTestCore, queueSpec } from '../../support/core.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';

const PRINCIPAL = { user: '', groups: [], clientId: '' };
const BYTES = 1_000_000;
const OPEN = { settled: false, exclusive: false, priority: 0 };

async function fill(core: Core, count: number, spec: Partial<QueueSpec> = {}): Promise<Queue> {
  const queue = await core.queues.declare(queueSpec({ name: 'q', durable: true, ...spec }));
  const publisher = core.openPublisher({ principal: PRINCIPAL, congested: () => {} });
  for (let i = 0; i < count; i++) {
    // Every third need not survive.
    publisher.publish(messageTo('$queue/q', `${i}`, { reliability: i % 3 === 0 ? 0 : 1 }), null, 0);
  }
  return queue;
}

const bodies = (found: readonly WaitingMessage[]): string[] => found.map(({ message }) => bodyOf(message));

async function walk(queue: Queue, step: number): Promise<string[]> {
  const seen: string[] = [];
  let last: WaitingMessage | undefined;
  do {
    const page = await queue.browse(last ?? null, step, BYTES);
    seen.push(...bodies(page));
    last = page.at(-1);
  } while (last !== undefined);
  return seen;
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);

describe.each([
  { where: 'in memory', limits: {} },
  { where: 'mostly on disk', limits: { queueMemoryBytesMax: 2_000 } },
])('a queue $where', ({ limits }) => {
  it('shows what waits in pages of any size, and takes nothing', async () => {
    const { core } = await openTestCore({ limits });
    const queue = await fill(core, 50);
    for (const step of [1, 7, 50, 100]) expect(await walk(queue, step)).toEqual(numbers(50));
    expect(queue).toMatchObject({ readyCount: 50, unsettledCount: 0 });
  });

  it('shows no more than was asked for in bytes, but one at least', async () => {
    const { core } = await openTestCore({ limits });
    const queue = await fill(core, 20);
    expect(bodies(await queue.browse(null, 100, 4))).toEqual(['0', '1', '2', '3']);
    expect(bodies(await queue.browse(null, 100, 1))).toEqual(['0']);
  });

  it('gives one message away from wherever it stands, and takes it back to its place', async () => {
    const { core, clock } = await openTestCore({ limits });
    const queue = await fill(core, 30);
    const all = await queue.browse(null, 100, BYTES);
    for (const at of [0, 13, 29]) {
      const delivery = await queue.takeAt(all[at]!.offset);
      expect(bodyOf(delivery!.message)).toBe(`${at}`);
      expect(queue).toMatchObject({ readyCount: 29, unsettledCount: 1 });
      expect(await queue.takeAt(all[at]!.offset)).toBeNull();
      delivery!.settle('released');
    }
    (await queue.takeAt(all[14]!.offset))!.settle('accepted');
    expect(queue).toMatchObject({ readyCount: 29, unsettledCount: 0 });
    const consumer = collect((delivery) => delivery.settle('accepted'));
    queue.consume(consumer, OPEN).grant(Number.POSITIVE_INFINITY);
    for (let i = 0; i < 20; i++) await clock.turn();
    expect([...consumer.bodies].sort()).toEqual(
      numbers(30)
        .filter((body) => body !== '14')
        .sort(),
    );
  });

  it('takes an edited message at its end, though nobody routed it there', async () => {
    const { core } = await openTestCore({ limits });
    const queue = await fill(core, 3);
    expect(queue.offer(messageTo('elsewhere/entirely', 'x', { reliability: 1 }), PLAIN_DELIVERY)).toBe(true);
    expect(bodies(await queue.browse(null, 10, BYTES))).toEqual(['0', '1', '2', 'x']);
  });
});

it('a message that goes to another queue is in one of the two whenever the process is killed', async () => {
  const storage = new MemoryStorage();
  const { core, clock } = await openTestCore({ storage });
  const queue = await fill(core, 2);
  const other = await core.queues.declare(queueSpec({ name: 'other', durable: true }));
  await clock.turn();
  const [, durable] = await queue.browse(null, 10, BYTES);
  const countsAfterCrash = async (): Promise<number[]> => {
    const found = await openTestCore({ storage: storage.afterCrash() });
    return ['q', 'other'].map((name) => found.core.queues.get(name)!.readyCount);
  };
  storage.holdCommits = true;
  const delivery = await queue.takeAt(durable!.offset);
  expect(other.offer(delivery!.message, PLAIN_DELIVERY)).toBe(true);
  delivery!.settle('accepted');
  await clock.turn();
  expect(await countsAfterCrash()).toEqual([1, 0]);
  storage.finishCommits();
  await clock.turn();
  expect(await countsAfterCrash()).toEqual([0, 1]);
});

describe('a queue that is changed', () => {
  it('drops what is over its new bounds, and refuses when it is full if that is the new way', async () => {
    const { core } = await openTestCore();
    const queue = await fill(core, 10);
    core.queues.change('q', { messagesMax: 4 });
    expect(bodies(await queue.browse(null, 10, BYTES))).toEqual(['6', '7', '8', '9']);
    core.queues.change('q', { overflow: 'reject' });
    expect(queue.offer(messageTo('a', 'x'), PLAIN_DELIVERY)).toBe(false);
    expect(queue.spec).toMatchObject({ messagesMax: 4, overflow: 'reject' });
  });

  it('sends its dead letters where it is told now', async () => {
    const { core, clock } = await openTestCore();
    const queue = await fill(core, 1);
    const dead = await core.queues.declare(queueSpec({ name: 'dead' }));
    core.queues.change('q', { deadLetter: { exchange: '', key: 'dead' } });
    (await queue.take(false))!.settle('rejected');
    await clock.turn();
    expect(dead.readyCount).toBe(1);
  });

  it('goes when it was unused for as long as it is told now', async () => {
    const { core, clock } = await openTestCore();
    await fill(core, 0);
    core.queues.change('q', { expiresMs: 1_000 });
    clock.advance(900);
    expect(core.queues.get('q')).toBeDefined();
    clock.advance(200);
    expect(core.queues.get('q')).toBeUndefined();
  });

  it('is still so after a restart', async () => {
    const storage = new MemoryStorage();
    const first = await openTestCore({ storage });
    await fill(first.core, 1);
    first.core.queues.change('q', { messageTtlMs: 5_000 });
    await first.clock.turn();
    await first.core.close();
    const { core } = await openTestCore({ storage });
    expect(core.queues.get('q')!.spec.messageTtlMs).toBe(5_000);
  });
});
