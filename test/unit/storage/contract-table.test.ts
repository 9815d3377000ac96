/** The contract of `Table`, with entries in memory and journal, and with everything moved to LMDB. */

import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Storage, Table } from '../../../src/core/storage.ts';
import { closeForTest, commit, makeFolder, openForTest } from './storage-fixture.ts';

const IMPLEMENTATIONS = [
  { name: 'entries in the journal', options: {} },
  { name: 'entries moved at every commit', options: { checkpointBytes: 1 } },
  { name: 'fsync', options: { durability: 'fsync' as const } },
];

const byUtf8 = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other));

async function list(table: Table, prefix: string): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for await (const [key, value] of table.scan(prefix)) found.push([key, Buffer.from(value).toString()]);
  return found;
}

describe.each(IMPLEMENTATIONS)('table: $name', ({ options }) => {
  let folder: string;
  let storage: Storage;
  let table: Table;

  beforeEach(async () => {
    folder = makeFolder();
    ({ storage } = await openForTest(folder, options));
    table = await storage.openTable('sessions');
  });

  async function reopen(): Promise<void> {
    await closeForTest(storage);
    ({ storage } = await openForTest(folder, options));
    table = await storage.openTable('sessions');
  }

  it('gives back what was put, before and after commit and restart', async () => {
    table.put('a', Buffer.from('1'));
    expect(Buffer.from((await table.get('a')) as Uint8Array).toString()).toBe('1');
    await commit(storage);
    table.put('a', Buffer.from('2'));
    await reopen();
    expect(Buffer.from((await table.get('a')) as Uint8Array).toString()).toBe('2');
    expect(await table.get('b')).toBeUndefined();
  });

  it('removes', async () => {
    table.put('a', Buffer.from('1'));
    table.put('b', Buffer.from('1'));
    await commit(storage);
    table.remove('a');
    table.remove('never there');
    expect(await table.get('a')).toBeUndefined();
    await reopen();
    expect(await list(table, '')).toEqual([['b', '1']]);
  });

  it('scans a prefix in key order', async () => {
    for (const key of ['a/2', 'b', 'a/10', 'a', 'a/1', 'a0']) table.put(key, Buffer.from(key));
    await commit(storage);
    table.put('a/3', Buffer.from('a/3'));
    table.remove('a/2');
    expect((await list(table, 'a/')).map(([key]) => key)).toEqual(['a/1', 'a/10', 'a/3']);
    expect(await list(table, 'z')).toEqual([]);
  });

  it('scans more entries than are read at a time, while they change', async () => {
    for (let i = 0; i < 1000; i++) table.put(`k/${String(i).padStart(4, '0')}`, Buffer.from(String(i)));
    await commit(storage);
    await reopen();
    let count = 0;
    for await (const [key] of table.scan('k/')) {
      table.remove(key);
      if (++count % 100 === 0) await commit(storage);
    }
    expect(count).toBe(1000);
    expect(await list(table, '')).toEqual([]);
  });

  it('keeps tables apart', async () => {
    const other = await storage.openTable('queues');
    table.put('a', Buffer.from('1'));
    expect(await other.get('a')).toBeUndefined();
    await reopen();
    expect(await list(await storage.openTable('queues'), '')).toEqual([]);
    expect(await list(table, '')).toEqual([['a', '1']]);
  });

  it('takes empty keys and values, and values of megabytes', async () => {
    table.put('', Buffer.alloc(0));
    table.put('large', Buffer.alloc(3_000_000, 1));
    await reopen();
    expect((await table.get(''))?.length).toBe(0);
    expect((await table.get('large'))?.length).toBe(3_000_000);
  });

  it('takes keys of any length and orders them by their whole text', async () => {
    const long = 'k'.repeat(1000);
    const keys = [long, `${long}b`, `${long}a`, `${long}c/1`, `${long}c/2`, 'l'.repeat(60_000), 'k'];
    for (const key of keys) table.put(key, Buffer.from(String(key.length)));
    await reopen();
    expect((await list(table, '')).map(([key]) => key)).toEqual([...keys].sort(byUtf8));
    expect((await list(table, `${long}c/`)).map(([key]) => key)).toEqual([`${long}c/1`, `${long}c/2`]);
    table.remove(`${long}a`);
    await commit(storage);
    expect(await table.get(`${long}a`)).toBeUndefined();
    expect(Buffer.from((await table.get(`${long}b`)) as Uint8Array).toString()).toBe('1001');
  });

  it('behaves like a sorted map, whatever is done in whatever order', async () => {
    const key = fc.oneof(
      fc.string({ maxLength: 3, unit: fc.constantFrom('a', 'b', '/', 'é', '\uffff', '😀') }),
      fc.constantFrom('x'.repeat(1001), 'x'.repeat(1002), `${'x'.repeat(1001)}é`),
    );
    const steps = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: fc.record({ do: fc.constant('put' as const), key }) },
        { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), key }) },
        { weight: 2, arbitrary: fc.record({ do: fc.constant('commit' as const), key }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const), key }) },
      ),
      { maxLength: 30 },
    );
    let run = 0;
    await fc.assert(
      fc.asyncProperty(steps, async (list_) => {
        const name = `model ${run++}`;
        let tested = await storage.openTable(name);
        const model = new Map<string, string>();
        let counter = 0;
        for (const step of list_) {
          if (step.do === 'put') {
            model.set(step.key, String(counter));
            tested.put(step.key, Buffer.from(String(counter++)));
          } else if (step.do === 'remove') {
            model.delete(step.key);
            tested.remove(step.key);
          } else if (step.do === 'commit') {
            await commit(storage);
          } else {
            await reopen();
            tested = await storage.openTable(name);
          }
          const wanted = [...model].sort(([one], [other]) => byUtf8(one, other));
          expect(await list(tested, '')).toEqual(wanted);
          expect(await list(tested, step.key)).toEqual(wanted.filter(([k]) => k.startsWith(step.key)));
          const value = await tested.get(step.key);
          expect(value === undefined ? undefined : Buffer.from(value).toString()).toBe(model.get(step.key));
        }
      }),
      { numRuns: 30 },
    );
  });
});
