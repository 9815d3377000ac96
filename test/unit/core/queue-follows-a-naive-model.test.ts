/**
 * A durable queue against a naive model under random use: publish, grant, settle, close a consumer, take, purge, and
 * restart from what the last commit left, with and without paging. Nothing is lost, nothing is there twice, and the
 * order of arrival holds for what is handed out for the first time and for what waits again.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Delivery, Outcome, Queue, Subscription } from '../../../src/core/index.ts';
import { bodyOf, type Collector, collect, messageTo, openTestCore, queueSpec } from '../../support/core.ts';
import type { MemoryStorage } from '../../support/memory-storage.ts';

type Step =
  | { readonly kind: 'publish'; readonly durable: boolean }
  | { readonly kind: 'consume' | 'take' | 'purge' | 'restart' | 'turn' }
  | { readonly kind: 'grant'; readonly credit: number; readonly at: number }
  | { readonly kind: 'settle'; readonly at: number; readonly outcome: Outcome }
  | { readonly kind: 'close'; readonly at: number; readonly keep: boolean };

const at = fc.nat(1_000);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('publish' as const), durable: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('consume' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant('grant' as const), credit: fc.integer({ min: 1, max: 5 }), at }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      at,
      outcome: fc.constantFrom<Outcome>('accepted', 'released', 'rejected', 'modified'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('close' as const), at, keep: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('take' as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('turn' as const) }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ kind: 'purge' }, { kind: 'restart' }) },
);

/** One life of a core on a storage, and the consumers in it. */
async function open(storage: MemoryStorage | undefined, memoryBytesMax: number) {
  const options = { limits: { queueMemoryBytesMax: memoryBytesMax } };
  const world = await openTestCore(storage === undefined ? options : { ...options, storage });
  const queue = (await world.core.queues.declare(queueSpec({ name: 'q', durable: true }))) as Queue;
  const publisher = world.core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested: () => {},
  });
  await world.clock.turn();
  return { ...world, queue, publisher };
}

/** What the model knows of each message: where it must be. */
type Place = 'waiting' | 'held' | 'gone';

describe('a durable queue', () => {
  it('does what a naive one does', { timeout: 30_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 80 }),
        fc.constantFrom(1, 1_500, 1_000_000),
        async (steps, memoryBytesMax) => {
          let life = await open(undefined, memoryBytesMax);
          const places = new Map<number, Place>();
          const durable = new Set<number>();
          let consumers: { collector: Collector; subscription: Subscription; seen: number }[] = [];
          let held: Delivery[] = [];
          // Who has it now: the same delivery comes again after it was given back, to whoever is next.
          const holders = new Map<Delivery, Collector | null>();
          let next = 0;
          let newest = -1;
          let restarted = false;
          const numberOf = (delivery: Delivery) => Number(bodyOf(delivery.message));
          const waiting = () => [...places].filter(([, place]) => place === 'waiting').map(([n]) => n);

          /** Moves what was delivered since the last look: something that waited, and the oldest first. */
          const look = () => {
            for (const consumer of consumers) {
              for (const delivery of consumer.collector.deliveries.slice(consumer.seen))
                hold(delivery, consumer.collector);
              consumer.seen = consumer.collector.deliveries.length;
            }
          };
          const hold = (delivery: Delivery, holder: Collector | null) => {
            const number = numberOf(delivery);
            holders.set(delivery, holder);
            expect(places.get(number)).toBe('waiting');
            // Rows of messages that need not survive are dropped only as they are read.
            if (!delivery.redelivered) expect(number).toBeGreaterThan(newest);
            if (!delivery.redelivered) newest = number;
            places.set(number, 'held');
            held.push(delivery);
          };
          const check = () => {
            expect(life.queue.unsettledCount).toBe(held.length);
            if (!restarted) expect(life.queue.readyCount).toBe(waiting().length);
          };

          for (const action of steps) {
            switch (action.kind) {
              case 'publish': {
                const number = next++;
                places.set(number, 'waiting');
                if (action.durable) durable.add(number);
                const reliability = action.durable ? 1 : 0;
                life.publisher.publish(messageTo('$queue/q', `${number}`, { reliability }), null, 0);
                break;
              }
              case 'consume': {
                const collector = collect();
                const options = { settled: false, exclusive: false, priority: 0 };
                consumers.push({ collector, subscription: life.queue.consume(collector, options), seen: 0 });
                break;
              }
              case 'grant':
                consumers[action.at % Math.max(1, consumers.length)]?.subscription.grant(action.credit);
                break;
              case 'settle': {
                const delivery = held[action.at % Math.max(1, held.length)];
                if (delivery === undefined) break;
                held = held.filter((other) => other !== delivery);
                const ends = action.outcome === 'accepted' || action.outcome === 'rejected';
                places.set(numberOf(delivery), ends ? 'gone' : 'waiting');
                delivery.settle(action.outcome);
                break;
              }
              case 'close': {
                const consumer = consumers[action.at % Math.max(1, consumers.length)];
                if (consumer === undefined) break;
                consumers = consumers.filter((other) => other !== consumer);
                if (!action.keep) {
                  const own = held.filter((delivery) => holders.get(delivery) === consumer.collector);
                  for (const delivery of own) places.set(numberOf(delivery), 'waiting');
                  held = held.filter((delivery) => !own.includes(delivery));
                }
                consumer.subscription.close(action.keep);
                break;
              }
              case 'take': {
                const delivery = await life.queue.take(false);
                if (delivery !== null) hold(delivery, null);
                break;
              }
              case 'purge':
                life.queue.purge();
                for (const number of waiting()) places.set(number, 'gone');
                break;
              case 'turn':
                await life.clock.turn();
                break;
              case 'restart': {
                life = await open(life.storage.afterCrash(), memoryBytesMax);
                consumers = [];
                held = [];
                for (const [number, place] of places) {
                  if (place !== 'gone') places.set(number, durable.has(number) ? 'waiting' : 'gone');
                }
                restarted = true;
              }
            }
            await life.clock.turn();
            look();
            check();
          }

          // Everything that is not gone comes out, in order, once.
          for (const consumer of consumers) consumer.subscription.close();
          for (const delivery of held) delivery.settle('released');
          const expected = [...places].filter(([, place]) => place !== 'gone').map(([number]) => number);
          const last = collect((delivery) => delivery.settle('accepted'));
          const options = { settled: false, exclusive: false, priority: 0 };
          life.queue.consume(last, options).grant(Number.POSITIVE_INFINITY);
          for (let i = 0; i < 4; i++) await life.clock.turn();
          expect(last.bodies.map(Number)).toEqual(expected);
          expect(life.queue.readyCount).toBe(0);
          const after = await open(life.storage.afterCrash(), memoryBytesMax);
          expect(await after.queue.take(true)).toBe(null);
        },
      ),
      { numRuns: 300 },
    );
  });
});
