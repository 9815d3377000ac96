/**
 * An idempotent producer that is killed together with the gateway sends its batch again, and is told that the stream has it
 * already: what was led elsewhere of it must not be missing then. So a commit writes rows before what stands in streams.
 */

import { expect, it } from 'vitest';
import {
  buildBatch,
  commit,
  copyFolder,
  FaultyFileSystem,
  KEEP_ALL,
  makeFolder,
  openForTest,
} from './storage-fixture.ts';

it.each(['os', 'fsync'] as const)(
  'durability %s: a kill never leaves a batch without its rows',
  async (durability) => {
    const folder = makeFolder();
    const files = new FaultyFileSystem();
    const { storage } = await openForTest(folder, { durability, files });
    const stream = await storage.openBatchLog('stream', KEEP_ALL);
    const rows = await storage.openRowLog('session', { durable: true });
    await commit(storage);
    const killed: string[] = [];
    const { writev } = files;
    files.writev = (fd, buffers, position) => {
      killed.push(copyFolder(folder));
      return writev.call(files, fd, buffers, position);
    };
    for (let count = 0; count < 3; count++) {
      // In this order, as a producer's batch is taken first and led on then.
      stream.append(buildBatch({ records: 1 }));
      rows.append(Buffer.from(`${count}`));
      await commit(storage);
    }
    killed.push(copyFolder(folder));
    const found: (readonly [inStream: number, rows: number])[] = [];
    for (const copy of killed) {
      const { storage: again } = await openForTest(copy, { durability });
      const there = await again.openBatchLog('stream', KEEP_ALL);
      found.push([there.endOffset, (await again.openRowLog('session', { durable: true })).rowCount]);
    }
    expect(found.length).toBeGreaterThan(5);
    expect(found.filter(([inStream, inRows]) => inStream > inRows)).toEqual([]);
    expect(found.at(-1)).toEqual([3, 3]);
  },
);
