/** A full or failing disk: everybody who waits is told, nothing half is left, and it works again when there is room. */

import { describe, expect, it } from 'vitest';
import type { BatchLog, RowLog, Storage, Table } from '../../../src/core/storage.ts';
import {
  baseOffsets,
  buildBatch,
  commit,
  copyFolder,
  FaultyFileSystem,
  KEEP_ALL,
  makeFolder,
  openForTest,
  readAllBatches,
} from './storage-fixture.ts';

const ROOM = Number.POSITIVE_INFINITY;

interface Setup {
  readonly folder: string;
  readonly files: FaultyFileSystem;
  readonly storage: Storage;
  readonly log: BatchLog;
  readonly rows: RowLog;
  readonly table: Table;
}

async function setUp(durability: 'os' | 'fsync', segmentBytes = 1 << 30): Promise<Setup> {
  const folder = makeFolder();
  const files = new FaultyFileSystem();
  const { storage } = await openForTest(folder, { durability, files, tailBytesMax: 0 });
  const log = await storage.openBatchLog('log', { ...KEEP_ALL, segmentBytes });
  const rows = await storage.openRowLog('rows', { durable: true });
  const table = await storage.openTable('table');
  await commit(storage);
  return { folder, files, storage, log, rows, table };
}

async function expectStored(folder: string, batches: number, rows: readonly number[]): Promise<void> {
  const { storage, events } = await openForTest(copyFolder(folder));
  const log = await storage.openBatchLog('log', KEEP_ALL);
  expect(baseOffsets(await readAllBatches(log, 0))).toEqual(Array.from({ length: batches }, (_, i) => i));
  const found = await (await storage.openRowLog('rows', { durable: true })).read(0, 1000, 1e6);
  expect(found.map((row) => row.offset)).toEqual(rows);
  expect(events).toEqual([]);
}

describe.each(['os', 'fsync'] as const)('durability %s', (durability) => {
  it('tells all that wait for a commit, and the next one works', async () => {
    const { folder, files, storage, log, rows } = await setUp(durability);
    log.append(buildBatch());
    rows.append(Buffer.from('a'));
    files.roomBytes = 0;
    const results = await Promise.allSettled([commit(storage), commit(storage), commit(storage)]);
    for (const result of results) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'storage-failed' } });
    }
    files.roomBytes = ROOM;
    await commit(storage);
    log.append(buildBatch());
    await commit(storage);
    await expectStored(folder, 2, [0]);
  });

  it('leaves no half batch or frame, wherever the room ends', async () => {
    const { folder, files, storage, log, rows } = await setUp(durability, 200);
    let count = 0;
    for (let room = 0; room < 260; room += 13) {
      log.append(buildBatch());
      log.append(buildBatch());
      count += 2;
      rows.append(Buffer.from('row'));
      files.roomBytes = room;
      await commit(storage).catch(() => {});
      await expect(openForTest(copyFolder(folder)), `room ${room}`).resolves.toMatchObject({ events: [] });
      files.roomBytes = ROOM;
      await commit(storage);
    }
    await expectStored(
      folder,
      count,
      Array.from({ length: count / 2 }, (_, i) => i),
    );
  });

  it('cuts what a failed write left as soon as it can', async () => {
    const { folder, files, storage, log, rows } = await setUp(durability);
    log.append(buildBatch());
    rows.append(Buffer.from('row'));
    files.roomBytes = 30;
    files.isTruncateFailing = true;
    await expect(commit(storage)).rejects.toThrow();
    await expect(commit(storage)).rejects.toThrow();
    files.roomBytes = ROOM;
    await expect(commit(storage)).rejects.toThrow();
    files.isTruncateFailing = false;
    await commit(storage);
    await expectStored(folder, 1, [0]);
  });

  it('refuses appends while the disk is full, and readers go on', async () => {
    const { files, storage, log } = await setUp(durability);
    const stored = buildBatch();
    log.append(stored);
    await commit(storage);
    files.roomBytes = 0;
    log.append(buildBatch());
    await expect(commit(storage)).rejects.toThrow();
    expect(() => log.append(buildBatch())).toThrow(expect.objectContaining({ code: 'storage-failed' }));
    expect(log.endOffset).toBe(2);
    expect(await log.read(0, 1)).toEqual(stored);
    files.roomBytes = ROOM;
    expect(log.append(buildBatch())).toBe(2);
    await commit(storage);
  });
});

it('a failed sync is told, and what it covered is written anew before anything is promised again', async () => {
  const { folder, files, storage, log, rows, table } = await setUp('fsync');
  log.append(buildBatch());
  rows.append(Buffer.from('a'));
  table.put('key', Buffer.from('value'));
  files.isSyncFailing = true;
  await expect(commit(storage)).rejects.toThrow();
  files.isSyncFailing = false;
  // What happens between the failure and its repair is in neither of the two files yet.
  table.put('late key', Buffer.from('value'));
  rows.remove(rows.append(Buffer.from('never wanted')));
  const late = rows.append(Buffer.from('late'));
  for (let tries = 0; ; tries++) {
    try {
      await commit(storage);
      break;
    } catch (error) {
      if (tries === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  rows.remove(late);
  rows.append(Buffer.from('b'));
  await commit(storage);
  await expectStored(folder, 1, [0, 3]);
  const { storage: after } = await openForTest(copyFolder(folder));
  const found = await after.openTable('table');
  expect(await found.get('key')).toBeDefined();
  expect(await found.get('late key')).toBeDefined();
});

it('calls that arrive during a commit share one next commit', async () => {
  const { files, storage, rows } = await setUp('fsync');
  files.syncs = 0;
  rows.append(Buffer.from('a'));
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    storage.commit(() => order.push('first'));
    for (let i = 0; i < 10; i++) {
      rows.append(Buffer.from('b'));
      storage.commit(() => {
        order.push('next');
        if (order.length === 11) resolve();
      });
    }
  });
  expect(order).toEqual(['first', ...Array(10).fill('next')]);
  expect(files.syncs).toBe(2);
});
