import fc from 'fast-check';
import { expect, it } from 'vitest';
import { CoreError, type Cursor } from '../../../src/core/index.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import { openWorld, settle } from './stream-world.ts';

const cursor: Cursor = { offset: 42, leaderEpoch: -1, metadata: '', committedAtMs: 1_700_000_000_000 };

function codeOf(task: () => unknown): string {
  try {
    task();
    return 'accepted';
  } catch (error) {
    return error instanceof CoreError ? error.code : `untyped: ${error}`;
  }
}

it('positions of any group and stream, however they are called, come back and stay apart', async () => {
  const name = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 30 }),
    fc.string({ unit: fc.constantFrom('/', '%', '2', '5', 'F', '\0', 'a'), maxLength: 6 }),
  );
  const entry = fc.record({
    group: name,
    stream: name,
    partition: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    cursor: fc.record({
      offset: fc.maxSafeNat(),
      leaderEpoch: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
      metadata: fc.string({ unit: 'grapheme', maxLength: 50 }),
      committedAtMs: fc.maxSafeNat(),
    }),
  });
  const key = (e: { group: string; stream: string; partition: number }) =>
    JSON.stringify([e.group, e.stream, e.partition]);
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 20 }), async (entries) => {
      const storage = new MemoryStorage();
      const before = await openWorld(storage);
      const expected = new Map<string, Cursor>();
      for (const e of entries) {
        before.cursors.commit(e.group, e.stream, e.partition, e.cursor);
        expected.set(key(e), e.cursor);
      }
      const after = await openWorld(storage);
      for (const cursors of [before.cursors, after.cursors]) {
        const found = new Map<string, Cursor>();
        for (const group of cursors.groups()) {
          for (const [stream, partition, value] of cursors.list(group)) {
            found.set(key({ group, stream, partition }), value);
            expect(cursors.get(group, stream, partition)).toEqual(value);
          }
        }
        expect(found).toEqual(expected);
      }
    }),
    { numRuns: 60 },
  );
});

it('a committed position is durable when whenStored says so, and not before', async () => {
  const { storage, cursors, durability } = await openWorld();
  storage.holdCommits = true;
  cursors.commit('g', 't', 0, cursor);
  let stored = false;
  durability.whenStored(() => {
    stored = true;
  });
  await settle();
  expect(stored).toBe(false);
  storage.finishCommits();
  expect(stored).toBe(true);
  expect((await openWorld(storage.afterCrash())).cursors.get('g', 't', 0)).toEqual(cursor);
});

it('positions are removed one by one, by stream, or all of a group, for good', async () => {
  const { storage, cursors } = await openWorld();
  for (const stream of ['t', 'u']) {
    for (const partition of [0, 1]) cursors.commit('g', stream, partition, cursor);
  }
  cursors.commit('other', 't', 0, cursor);
  cursors.remove('g', 't', 1);
  cursors.remove('g', 't', 9);
  cursors.remove('nobody', null, null);
  expect([...cursors.list('g')].map(([stream, partition]) => `${stream}${partition}`)).toEqual([
    't0',
    'u0',
    'u1',
  ]);
  cursors.remove('g', 'u', null);
  expect([...cursors.list('g')]).toHaveLength(1);
  cursors.remove('g', null, null);
  expect([...cursors.groups()]).toEqual(['other']);
  await settle();
  expect([...(await openWorld(storage.afterCrash())).cursors.groups()]).toEqual(['other']);
});

it('what passes a bound is refused, what is there may still move', async () => {
  const { cursors } = await openWorld(undefined, { cursorsMax: 2 });
  cursors.commit('g', 't', 0, cursor);
  cursors.commit('g', 't', 1, cursor);
  expect(codeOf(() => cursors.commit('g', 't', 2, cursor))).toBe('limit-reached');
  expect(codeOf(() => cursors.commit('g', 't', 1, { ...cursor, offset: 43 }))).toBe('accepted');
  cursors.remove('g', 't', 0);
  expect(codeOf(() => cursors.commit('g', 't', 2, cursor))).toBe('accepted');
  expect(codeOf(() => cursors.commit('x'.repeat(256), 't', 0, cursor))).toBe('invalid-name');
  expect(codeOf(() => cursors.commit('g', 't', 2, { ...cursor, metadata: 'x'.repeat(4_097) }))).toBe(
    'invalid-argument',
  );
});
