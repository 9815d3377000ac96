/** Whatever becomes of what comes in, it is accounted for at every moment, and what was called stored is there. */

import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { TakeAnswer } from '../../../src/outside.ts';
import { bodyOf, messageTo, queueSpec } from '../../support/core.ts';
import { openWorld, sumOf } from './bridge-world.ts';

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('bring' as const),
      addresses: fc.array(fc.constantFrom('site/1', 'site/2', 'drop/x', 'dead/x', 'back/x', 'unknown'), {
        minLength: 1,
        maxLength: 6,
      }),
      reliability: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('turn', 'lose', 'drain', 'fail', 'mend', 'remap') }),
  },
);

it('the counters of a bridge that leads in balance at every moment', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const world = await openWorld();
      const { outside, storage, clock } = world;
      const queue = await world.core.queues.declare(
        queueSpec({ name: 'q', durable: true, overflow: 'reject', messagesMax: 5 }),
      );
      world.core.exchanges.bind({
        exchange: 'amq.topic',
        target: { kind: 'queue', name: 'q' },
        key: 'here/#',
        match: null,
        arguments: [],
      });
      const definition = (version: number) => ({
        direction: 'in',
        inFlightMax: 8,
        mappings: [
          { match: 'site/{x}', topic: 'here/{x}' },
          { match: 'drop/{x}', topic: 'here/{payload.id}', maxTopics: 5, onError: 'drop' },
          { match: 'dead/{x}', topic: 'here/{payload.id}', maxTopics: 5 },
          { match: 'back/{x}', topic: 'here/{payload.id}', maxTopics: 5, onError: 'nack-source' },
          { match: `v${version}` },
        ],
      });
      await world.put(definition(0));
      const commit = storage.commit.bind(storage);
      const check = (): void => {
        const { taken, accounted } = sumOf(world.view());
        expect(accounted).toBe(taken);
      };
      const stored: string[] = [];
      const drained: string[] = [];
      const drain = async (): Promise<void> => {
        for (;;) {
          const delivery = await queue.take(true);
          if (delivery === null) return;
          drained.push(bodyOf(delivery.message));
        }
      };
      const asked: Promise<void>[] = [];
      let number = 0;
      let version = 0;
      for (const each of steps) {
        if (each.kind === 'bring') {
          const { addresses, reliability } = each as Extract<typeof each, { addresses: string[] }>;
          const link = outside.links.at(-1);
          if (link === undefined) continue;
          const messages = addresses.map((address) => messageTo(address, `${number++}`, { reliability }));
          const answers = link.bring(...messages);
          asked.push(
            answers.then((said: readonly TakeAnswer[]) => {
              expect(said).toHaveLength(messages.length);
              said.forEach((answer, index) => {
                if (answer === 'stored' && addresses[index]?.startsWith('site/') === true)
                  stored.push(bodyOf(messages[index]!));
              });
            }),
          );
        } else if (each.kind === 'lose') {
          outside.links.at(-1)?.lose();
          clock.advance(40_000);
        } else if (each.kind === 'drain') await drain();
        else if (each.kind === 'fail') storage.commit = (done) => done(new Error('no space left'));
        else if (each.kind === 'mend') {
          storage.commit = commit;
          clock.advance(1_000);
        } else if (each.kind === 'remap') {
          storage.commit = commit;
          await world.put(definition(++version));
        }
        check();
        // Receipts may still be on their way when the next thing happens.
        if (each.kind !== 'bring') await world.turn();
        check();
      }
      storage.commit = commit;
      clock.advance(1_000);
      await world.turn();
      await Promise.all(asked);
      check();
      expect(world.view().status.lag.messages).toBe(0);
      await drain();
      expect(drained).toEqual(expect.arrayContaining(stored));
      await world.close();
    }),
    { numRuns: 60 },
  );
});
