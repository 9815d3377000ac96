import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Confirms } from '../../../adapters/amqp091/state/confirms.ts';
import { Unsettled } from '../../../adapters/amqp091/state/unsettled.ts';
import type { Delivery } from '../../../src/core/index.ts';

const delivery = (offset: number) => ({ offset }) as Delivery;

describe('unsettled deliveries', () => {
  test('behave like a sorted map', () => {
    const command = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant('add' as const), skip: fc.integer({ min: 0, max: 2 }) }),
      },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('take' as const), pick: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('takeUpTo' as const), pick: fc.nat() }) },
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 400 }), (commands) => {
        const ring = new Unsettled();
        const model = new Map<number, number>();
        let settled = 0;
        let tag = 0;
        for (const each of commands) {
          if (each.do === 'add') {
            tag += 1 + each.skip;
            ring.add(tag, delivery(tag), { settledOne: () => settled++ });
            model.set(tag, tag);
            continue;
          }
          const tags = [...model.keys()];
          const picked = tags[each.pick % (tags.length + 1)] ?? tag + 5;
          if (each.do === 'take') {
            expect(ring.has(picked)).toBe(model.has(picked));
            expect(ring.take(picked)?.offset).toBe(model.get(picked));
            model.delete(picked);
          } else {
            for (const known of tags.filter((other) => other <= picked)) {
              expect(ring.takeFirst(picked)?.offset).toBe(known);
              model.delete(known);
            }
            expect(ring.takeFirst(picked)).toBeNull();
          }
          expect(ring.count).toBe(model.size);
          expect(ring.heldCount).toBe(model.size);
        }
        const left = [...model.keys()];
        for (const known of left) expect(ring.takeFirst(Number.POSITIVE_INFINITY)?.offset).toBe(known);
        expect(ring.takeFirst(Number.POSITIVE_INFINITY)).toBeNull();
        expect(settled).toBeGreaterThanOrEqual(left.length);
      }),
      { numRuns: 300 },
    );
  });

  test('one delivery that stays does not make the ring grow', () => {
    const ring = new Unsettled();
    ring.add(1, delivery(1), null);
    for (let tag = 2; tag < 200_000; tag++) {
      ring.add(tag, delivery(tag), null);
      if (ring.take(tag)?.offset !== tag) expect.unreachable(`tag ${tag} was lost`);
    }
    expect(ring.count).toBe(1);
    expect(ring.capacity).toBeLessThanOrEqual(32);
    expect(ring.take(1)?.offset).toBe(1);
  });
});

describe('confirms', () => {
  interface Confirm {
    readonly tag: number;
    readonly multiple: boolean;
    readonly refused: boolean;
  }

  function flush(confirms: Confirms): Confirm[] {
    const written: Confirm[] = [];
    confirms.flush((tag, multiple, refused) => written.push({ tag, multiple, refused }));
    return written;
  }

  test('what needs no disk is acknowledged with one multiple', () => {
    const confirms = new Confirms();
    for (let i = 0; i < 3; i++) {
      confirms.next();
      confirms.decided();
    }
    expect(flush(confirms)).toEqual([{ tag: 3, multiple: true, refused: false }]);
    expect(confirms.due).toBe(false);
  });

  test('nothing is acknowledged before its receipt', () => {
    const confirms = new Confirms();
    confirms.next();
    confirms.pending();
    confirms.next();
    confirms.decided();
    expect(confirms.due).toBe(false);
    confirms.stored(1);
    expect(flush(confirms)).toEqual([{ tag: 2, multiple: true, refused: false }]);
  });

  test('a refusal comes between the acknowledgements of its neighbours', () => {
    const confirms = new Confirms();
    for (let i = 0; i < 4; i++) {
      confirms.next();
      confirms.pending();
    }
    confirms.stored(1);
    confirms.refusedLater(2);
    confirms.stored(3);
    confirms.stored(4);
    expect(flush(confirms)).toEqual([
      { tag: 1, multiple: false, refused: false },
      { tag: 2, multiple: false, refused: true },
      { tag: 4, multiple: true, refused: false },
    ]);
  });

  test('every number is answered once and in order, whatever happens to it', () => {
    const fate = fc.constantFrom('now', 'refused-now', 'stored', 'refused-later', 'flush');
    fc.assert(
      fc.property(fc.array(fate, { maxLength: 60 }), fc.array(fc.nat({ max: 5 })), (fates, delays) => {
        const confirms = new Confirms();
        const waiting: [token: number, refused: boolean][] = [];
        const refusedTags = new Set<number>();
        const written: Confirm[] = [];
        let count = 0;
        let turn = 0;
        const settleSome = (n: number) => {
          for (let i = 0; i < n && waiting.length > 0; i++) {
            const [token, refused] = waiting.shift() as [number, boolean];
            if (refused) confirms.refusedLater(token);
            else confirms.stored(token);
          }
        };
        for (const each of fates) {
          settleSome(delays[turn++ % (delays.length + 1)] ?? 0);
          if (each === 'flush') {
            written.push(...flush(confirms));
            continue;
          }
          const tag = confirms.next();
          count++;
          if (each === 'now') confirms.decided();
          else if (each === 'refused-now') {
            refusedTags.add(tag);
            confirms.refusedNow();
          } else {
            if (each === 'refused-later') refusedTags.add(tag);
            confirms.pending();
            waiting.push([tag, each === 'refused-later']);
          }
        }
        settleSome(waiting.length);
        written.push(...flush(confirms));
        let answered = 0;
        for (const { tag, multiple, refused } of written) {
          expect(tag).toBeGreaterThan(answered);
          if (!multiple) expect(tag).toBe(answered + 1);
          for (let n = answered + 1; n <= tag; n++) expect(refusedTags.has(n)).toBe(refused);
          answered = tag;
        }
        expect(answered).toBe(count);
      }),
      { numRuns: 500 },
    );
  });
});
