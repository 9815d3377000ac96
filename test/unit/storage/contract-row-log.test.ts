/** The contract of `RowLog`, over every implementation: in memory, durable, and durable with everything moved to LMDB. */

import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { RowLog, Storage } from '../../../src/core/storage.ts';
import { closeForTest, commit, makeFolder, openForTest } from './storage-fixture.ts';

const IMPLEMENTATIONS = [
  { name: 'memory', durable: false, options: {} },
  { name: 'durable, rows in the journal', durable: true, options: {} },
  { name: 'durable, rows moved at every commit', durable: true, options: { checkpointBytes: 1 } },
  { name: 'durable, fsync', durable: true, options: { durability: 'fsync' as const } },
];

const text = (rows: readonly { readonly offset: number; readonly bytes: Uint8Array }[]): [number, string][] =>
  rows.map((row) => [row.offset, Buffer.from(row.bytes).toString()]);

describe.each(IMPLEMENTATIONS)('row log: $name', ({ durable, options }) => {
  let folder: string;
  let storage: Storage;
  let log: RowLog;

  beforeEach(async () => {
    folder = makeFolder();
    ({ storage } = await openForTest(folder, options));
    log = await storage.openRowLog('queue', { durable });
  });

  async function reopen(): Promise<void> {
    await closeForTest(storage);
    ({ storage } = await openForTest(folder, options));
    log = await storage.openRowLog('queue', { durable });
  }

  it('gives rows back in order, before and after the commit', async () => {
    expect(log.append(Buffer.from('a'))).toBe(0);
    expect(log.append(Buffer.from('b'))).toBe(1);
    expect(text(await log.read(0, 10, 1000))).toEqual([
      [0, 'a'],
      [1, 'b'],
    ]);
    await commit(storage);
    log.append(Buffer.from('c'));
    expect(text(await log.read(1, 10, 1000))).toEqual([
      [1, 'b'],
      [2, 'c'],
    ]);
    expect([log.endOffset, log.rowCount]).toEqual([3, 3]);
  });

  it('keeps within rows and bytes, but gives at least one row', async () => {
    for (let i = 0; i < 10; i++) log.append(Buffer.alloc(100, 65 + i));
    await commit(storage);
    for (let i = 0; i < 10; i++) log.append(Buffer.alloc(100, 75 + i));
    expect(await log.read(0, 3, 10_000)).toHaveLength(3);
    expect(await log.read(0, 100, 350)).toHaveLength(3);
    expect(await log.read(8, 100, 400)).toHaveLength(4);
    expect(await log.read(0, 100, 1)).toHaveLength(1);
    expect(await log.read(20, 100, 1)).toHaveLength(0);
    expect((await log.read(5, 1, 1))[0]?.offset).toBe(5);
  });

  it('removes rows idempotently', async () => {
    for (let i = 0; i < 5; i++) log.append(Buffer.from(String(i)));
    await commit(storage);
    log.remove(1);
    log.remove(1);
    log.remove(3);
    expect(log.rowCount).toBe(3);
    await commit(storage);
    log.remove(1);
    log.remove(99);
    log.remove(-1);
    await commit(storage);
    expect(log.rowCount).toBe(3);
    expect(text(await log.read(0, 10, 1000)).map(([offset]) => offset)).toEqual([0, 2, 4]);
  });

  it('clears all rows and goes on with new offsets', async () => {
    log.append(Buffer.from('a'));
    await commit(storage);
    log.append(Buffer.from('b'));
    log.clear();
    expect(log.rowCount).toBe(0);
    expect(await log.read(0, 10, 1000)).toHaveLength(0);
    expect(log.append(Buffer.from('c'))).toBe(2);
    await commit(storage);
    expect(text(await log.read(0, 10, 1000))).toEqual([[2, 'c']]);
  });

  it('is empty after deletion', async () => {
    log.append(Buffer.from('a'));
    await commit(storage);
    await log.delete();
    log = await storage.openRowLog('queue', { durable });
    expect([log.endOffset, log.rowCount]).toEqual([0, 0]);
    log.append(Buffer.from('b'));
    await commit(storage);
    expect(text(await log.read(0, 10, 1000))).toEqual([[0, 'b']]);
  });

  it('keeps logs of different names apart', async () => {
    const other = await storage.openRowLog('other', { durable });
    log.append(Buffer.from('a'));
    other.append(Buffer.from('b'));
    await commit(storage);
    expect(text(await log.read(0, 10, 1000))).toEqual([[0, 'a']]);
    expect(text(await other.read(0, 10, 1000))).toEqual([[0, 'b']]);
    expect(await storage.openRowLog('queue', { durable })).toBe(log);
  });

  it('takes empty and large rows', async () => {
    log.append(Buffer.alloc(0));
    log.append(Buffer.alloc(300_000, 7));
    await commit(storage);
    if (durable) await reopen();
    expect((await log.read(0, 10, 1_000_000)).map((row) => row.bytes.length)).toEqual([0, 300_000]);
  });

  it.runIf(durable)('keeps rows and the end offset over a restart', async () => {
    for (let i = 0; i < 4; i++) log.append(Buffer.from(String(i)));
    await commit(storage);
    log.remove(0);
    log.remove(3);
    await reopen();
    expect([log.endOffset, log.rowCount]).toEqual([4, 2]);
    expect(text(await log.read(0, 10, 1000))).toEqual([
      [1, '1'],
      [2, '2'],
    ]);
    log.clear();
    await reopen();
    expect([log.endOffset, log.rowCount]).toEqual([4, 0]);
  });

  it.runIf(durable)('never gives an offset twice, also when no row was ever written', async () => {
    for (let i = 0; i < 10; i++) log.remove(log.append(Buffer.from('x')));
    await reopen();
    expect(log.endOffset).toBeGreaterThanOrEqual(10);
  });

  it('behaves like a simple list, whatever is done in whatever order', async () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: fc.record({ do: fc.constant('append' as const), n: fc.nat(5) }) },
        { weight: 6, arbitrary: fc.record({ do: fc.constant('remove' as const), n: fc.nat(40) }) },
        { weight: 3, arbitrary: fc.record({ do: fc.constant('commit' as const), n: fc.nat(1) }) },
        { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), n: fc.nat(3) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const), n: fc.constant(0) }) },
        {
          weight: durable ? 1 : 0,
          arbitrary: fc.record({ do: fc.constant('reopen' as const), n: fc.constant(0) }),
        },
      ),
      { maxLength: 40 },
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        const name = `model ${run++}`;
        let tested = await storage.openRowLog(name, { durable });
        const model = new Map<number, string>();
        let end = 0;
        for (const step of list) {
          if (step.do === 'append') {
            for (let i = 0; i < step.n; i++) {
              expect(tested.append(Buffer.from(`row ${end}`))).toBe(end);
              model.set(end, `row ${end}`);
              end++;
            }
          } else if (step.do === 'remove') {
            tested.remove(step.n);
            model.delete(step.n);
          } else if (step.do === 'clear') {
            tested.clear();
            model.clear();
          } else if (step.do === 'commit') {
            await commit(storage);
          } else if (step.do === 'wait') {
            await new Promise((resolve) => setTimeout(resolve, step.n));
          } else {
            await reopen();
            tested = await storage.openRowLog(name, { durable });
          }
          expect(tested.endOffset).toBe(end);
          expect(tested.rowCount).toBe(model.size);
          expect(text(await tested.read(0, 1000, 1e6))).toEqual(
            [...model].sort(([one], [other]) => one - other),
          );
        }
      }),
      { numRuns: 30 },
    );
  });
});
