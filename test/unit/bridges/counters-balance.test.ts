/** Whatever the other side does, what a bridge took is accounted for at every moment, and nothing is lost or out of order. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LinkError, type OutsideMessage } from '../../../src/outside.ts';
import { openWorld, sumOf, waitFor } from './bridge-world.ts';

type Step =
  | { readonly kind: 'publish'; readonly count: number; readonly reliability: 0 | 1; readonly ttl: number }
  | { readonly kind: 'answer'; readonly with: 'taken' | 'busy' | 'missing' | 'bad' | 'unclear' }
  | { readonly kind: 'hold' | 'lose' | 'turn' | 'reset' | 'pause' | 'resume' | 'remap' }
  | { readonly kind: 'pass'; readonly ms: number };

/**
 * Less than a send has: one that begins while time passes is answered in the turn after it, and had no answer in time otherwise
 * though the outside took it.
 */
const PASS_MS_MAX = 59_000;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      count: fc.integer({ min: 1, max: 12 }),
      reliability: fc.constantFrom<0 | 1>(0, 1),
      ttl: fc.constantFrom(0, 0, 0, 2_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      with: fc.constantFrom<'taken' | 'busy' | 'missing' | 'bad' | 'unclear'>(
        'taken',
        'busy',
        'missing',
        'bad',
        'unclear',
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom<'hold' | 'lose' | 'turn' | 'reset' | 'pause' | 'resume' | 'remap'>(
        'hold',
        'lose',
        'turn',
        'turn',
        'pause',
        'resume',
        'remap',
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      ms: fc.integer({ min: 1, max: PASS_MS_MAX }),
    }),
  },
);

const delivery = fc.constantFrom('at-least-once', 'at-most-once', 'exactly-once');
const overflow = fc.constantFrom('block', 'drop-oldest', 'drop-new');

function isAscending({ offset }: OutsideMessage, index: number, all: readonly OutsideMessage[]): boolean {
  return index === 0 || offset > (all[index - 1] as OutsideMessage).offset;
}

describe('the counters of a bridge', () => {
  it('balance at every moment', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), delivery, overflow, async (steps, mode, policy) => {
        const world = await openWorld();
        const { outside } = world;
        const definition = {
          delivery: mode,
          buffer: { messagesMax: 6, overflow: policy },
          batch: { messagesMax: 4 },
          retry: { minMs: 100, maxMs: 1_000 },
        };
        if (mode === 'exactly-once') outside.sentOffset = -1;
        await world.put(definition);
        const check = (): void => {
          const { taken, accounted } = sumOf(world.view());
          expect(accounted).toBe(taken);
        };
        let mapping = 0;
        let number = 0;
        const published: number[] = [];
        const addresses = new Map<number, number>();
        for (const each of steps) {
          if (each.kind === 'publish') {
            for (let i = 0; i < each.count; i++) {
              const expiresAtMs = each.ttl === 0 ? 0 : world.clock.nowMs() + each.ttl;
              try {
                world.publish(`a/${i % 3}`, `${number}`, { reliability: each.reliability, expiresAtMs });
                published.push(number);
                addresses.set(number, i % 3);
              } catch (error) {
                expect(error).toMatchObject({ code: 'overflow' });
              }
              number++;
              check();
            }
          } else if (each.kind === 'answer') {
            outside.isHeld = false;
            outside.answer = ({ message }) => {
              check();
              if (each.with === 'unclear') throw new LinkError('closed', 'who knows');
              if (each.with === 'taken') return null;
              // Exactly once nothing passes what has to wait.
              if (each.with === 'missing' && mode !== 'exactly-once' && message.address !== 'a/1')
                return null;
              return { reason: each.with, permanent: each.with === 'bad' };
            };
            outside.letGo();
          } else if (each.kind === 'hold') outside.isHeld = true;
          else if (each.kind === 'lose') outside.links.at(-1)?.lose();
          else if (each.kind === 'pause') await world.bridges.pause('b');
          else if (each.kind === 'resume') await world.bridges.resume('b');
          else if (each.kind === 'remap')
            await world.put({
              ...definition,
              mappings: [{ match: `never/${mapping++}` }, { match: 'a/{rest...}' }],
              paused: world.view().definition.paused,
            });
          else if (each.kind === 'pass') world.clock.advance(each.ms);
          check();
          await world.turn();
          check();
        }
        outside.isHeld = false;
        outside.answer = () => null;
        outside.letGo();
        await world.bridges.resume('b');
        for (let i = 0; i < 50 && world.view().status.lag.messages > 0; i++) {
          world.clock.advance(2_000);
          await world.turn();
        }
        const { status } = world.view();
        check();
        expect(status.lag.messages).toBe(0);
        expect(status.lag.bytes).toBe(0);
        const got = outside.bodies.map(Number);
        const { counters } = status;
        expect(counters.done).toBe(got.length);
        // As often as one is sent again, it is before all that came later; at least once, of the same address.
        const firsts = [...new Set(got)];
        for (const address of mode === 'at-least-once' ? [0, 1, 2] : [null]) {
          const same = firsts.filter((number) => address === null || addresses.get(number) === address);
          expect(same).toEqual([...same].sort((a, b) => a - b));
        }
        if (mode !== 'at-least-once') expect(outside.got.every(isAscending)).toBe(true);
        if (mode === 'at-most-once') expect(new Set(got).size).toBe(got.length);
        if (mode === 'at-least-once') {
          const lost = published.length - new Set(got).size;
          const { deadLettered, dropped } = counters;
          expect(lost).toBeLessThanOrEqual(deadLettered + dropped.expired + dropped.overflow);
        }
        await world.close();
      }),
      { numRuns: 60 },
    );
  });

  it('are of nothing while nothing happened', async () => {
    const world = await openWorld();
    await world.put();
    expect(world.view().status.counters).toEqual({
      taken: 0,
      done: 0,
      doneBytes: 0,
      repeated: 0,
      deadLettered: 0,
      refused: 0,
      dropped: { overflow: 0, expired: 0, loop: 0, unmapped: 0, mapping: 0, lost: 0 },
    });
    await waitFor(world, () => world.view().status.state === 'connected');
  });
});
