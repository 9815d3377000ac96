/**
 * What a publisher sent twice is known by tables, such as the packet identifiers of a durable session: sent again after a
 * kill, it is answered and goes nowhere. It must not be missing in a stream then. So a commit writes streams first.
 */

import { expect, it } from 'vitest';
import type { Storage } from '../../../src/core/storage.ts';
import { PENDING_BYTES_MAX } from '../../../src/storage/segment/log.ts';
import {
  buildBatch,
  commit,
  copyFolder,
  FaultyFileSystem,
  KEEP_ALL,
  makeFolder,
  openForTest,
} from './storage-fixture.ts';

async function keysIn(storage: Storage): Promise<string[]> {
  const keys: string[] = [];
  for await (const [key] of (await storage.openTable('seen')).scan('')) keys.push(key);
  return keys;
}

it.each([
  ['os', 10],
  ['fsync', 10],
  ['os', PENDING_BYTES_MAX - 100],
] as const)(
  'durability %s, %i bytes: a kill never leaves rows and entries without the batch that was appended before',
  { timeout: 20_000 },
  async (durability, valueBytes) => {
    const folder = makeFolder();
    const files = new FaultyFileSystem();
    const { storage } = await openForTest(folder, { durability, files, checkpointBytes: 500 });
    const stream = await storage.openBatchLog('stream', KEEP_ALL);
    const rows = await storage.openRowLog('session', { durable: true });
    const seen = await storage.openTable('seen');
    await commit(storage);
    const killed: string[] = [];
    const { writev } = files;
    files.writev = (fd, buffers, position) => {
      killed.push(copyFolder(folder));
      return writev.call(files, fd, buffers, position);
    };
    for (let count = 0; count < 3; count++) {
      seen.put(`${count}`, Buffer.alloc(200));
      rows.append(Buffer.from(`${count}`));
      stream.append(buildBatch({ valueBytes }));
      await commit(storage);
    }
    killed.push(copyFolder(folder));
    const found: (readonly [inStream: number, rows: number, entries: number])[] = [];
    for (const copy of killed) {
      const { storage: again } = await openForTest(copy, { durability });
      const there = await again.openBatchLog('stream', KEEP_ALL);
      const { rowCount } = await again.openRowLog('session', { durable: true });
      const entries = await keysIn(again);
      found.push([there.endOffset, rowCount, entries.length]);
    }
    expect(found.length).toBeGreaterThan(5);
    expect(found.filter(([inStream, inRows, entries]) => inStream < inRows || inRows !== entries)).toEqual(
      [],
    );
    expect(found.some(([inStream, inRows]) => inStream > inRows)).toBe(true);
    expect(found.at(-1)).toEqual([3, 3, 3]);
  },
);

it('a stream that cannot be written holds back the rows of its commit, also when the storage closes', async () => {
  const folder = makeFolder();
  const files = new FaultyFileSystem();
  const { storage, events } = await openForTest(folder, { files });
  const stream = await storage.openBatchLog('stream', KEEP_ALL);
  const seen = await storage.openTable('seen');
  seen.put('before', Buffer.alloc(1));
  await commit(storage);
  const { writev } = files;
  files.writev = (fd, buffers, position) => {
    if (files.paths.get(fd)?.endsWith('.log')) throw new Error('made by the test');
    return writev.call(files, fd, buffers, position);
  };
  stream.append(buildBatch());
  seen.put('with the batch', Buffer.alloc(1));
  await expect(commit(storage)).rejects.toThrow('made by the test');
  const copies = [copyFolder(folder)];
  await storage.close();
  expect(events.map(({ text }) => text)).toContain('the journal stays for the next start to replay');
  copies.push(copyFolder(folder));
  for (const copy of copies) {
    const { storage: again } = await openForTest(copy);
    expect((await again.openBatchLog('stream', KEEP_ALL)).endOffset).toBe(0);
    expect(await keysIn(again)).toEqual(['before']);
  }
});
