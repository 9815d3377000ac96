/**
 * LMDB never has a part of a commit that the device has not all of elsewhere: what failed to be synced is moved at once, by
 * a repair, and what comes while the storage closes not at all.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { BatchLog, RowLog, Storage, Table } from '../../../src/core/storage.ts';
import { PowerlessFileSystem } from './power-loss.ts';
import {
  buildBatch,
  closeForTest,
  commit,
  copyFolder,
  KEEP_ALL,
  makeFolder,
  openForTest,
  untilCommitted,
} from './storage-fixture.ts';

const isJournal = (path: string): boolean => path.endsWith('.journal');

let folder: string;
let files: PowerlessFileSystem;
let storage: Storage;
let seen: Table;
let queue: RowLog;
let log: BatchLog;

async function open(checkpointBytes: number): Promise<void> {
  folder = makeFolder();
  // Whatever was not synced is gone with the power, but for names.
  files = new PowerlessFileSystem(() => 0.99);
  ({ storage } = await openForTest(folder, { durability: 'fsync', files, checkpointBytes }));
  seen = await storage.openTable('seen');
  queue = await storage.openRowLog('queue', { durable: true });
  log = await storage.openBatchLog('stream', KEEP_ALL);
  await commit(storage);
  await passTime();
}

/** What the next start finds in `at`. */
async function look(at: string): Promise<{ entries: Record<string, string>; rows: number[]; end: number }> {
  const { storage: again } = await openForTest(at, { durability: 'fsync' });
  const entries: Record<string, string> = {};
  for await (const [key, value] of (await again.openTable('seen')).scan(''))
    entries[key] = Buffer.from(value).toString();
  const found = await (await again.openRowLog('queue', { durable: true })).read(0, 10_000, 10_000_000);
  const end = (await again.openBatchLog('stream', KEEP_ALL)).endOffset;
  await closeForTest(again);
  return { entries, rows: found.map(({ offset }) => offset), end };
}

async function passTime(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
}

function failSyncs(): void {
  files.isFailing = (call, path) => call === 'sync' && isJournal(path);
}

function failOneSync(): void {
  let failures = 0;
  files.isFailing = (call, path) => call === 'sync' && isJournal(path) && failures++ === 0;
}

describe('a checkpoint begins with a commit whose frame cannot be synced', () => {
  beforeEach(() => open(1));

  it('and nothing of that is there when the power goes, but all of it when commits succeed again', async () => {
    failSyncs();
    log.append(buildBatch());
    queue.append(Buffer.from('row'));
    seen.put('key', Buffer.from('1'));
    await expect(commit(storage)).rejects.toThrow();
    await passTime();
    expect(await look(files.powerLost(folder))).toEqual({ entries: {}, rows: [], end: 1 });
    files.isFailing = () => false;
    await untilCommitted(storage);
    const all = { entries: { key: '1' }, rows: [0], end: 1 };
    expect(await look(files.powerLost(folder))).toEqual(all);
    expect(await look(copyFolder(folder))).toEqual(all);
  });

  it('and what was changed meanwhile counts', async () => {
    for (const name of ['stored', 'removed', 'removed later']) seen.put(name, Buffer.from('old'));
    for (let count = 0; count < 4; count++) queue.append(Buffer.from('row'));
    // Moved to LMDB, most of them.
    for (let count = 0; count < 3; count++) {
      seen.put('count', Buffer.from(`${count}`));
      await commit(storage);
      await passTime();
    }
    queue.append(Buffer.from('row'));
    failOneSync();
    seen.put('stored', Buffer.from('new'));
    seen.remove('removed');
    queue.remove(0);
    const running = commit(storage);
    seen.put('stored', Buffer.from('newest'));
    seen.remove('removed later');
    queue.remove(1);
    queue.remove(4);
    queue.append(Buffer.from('row'));
    await expect(running).rejects.toThrow();
    expect((await queue.read(0, 10, 1_000)).map(({ offset }) => offset)).toEqual([2, 3, 5]);
    await untilCommitted(storage);
    const all = { entries: { count: '2', stored: 'newest' }, rows: [2, 3, 5], end: 0 };
    expect(await look(files.powerLost(folder))).toEqual(all);
    expect(queue.rowCount).toBe(3);
    await closeForTest(storage);
    expect(await look(copyFolder(folder))).toEqual(all);
  });

  it('again and again: commits fail, none waits for ever, and the first that succeeds has everything', async () => {
    failSyncs();
    for (let count = 0; count < 20; count++) {
      queue.append(Buffer.from('row'));
      seen.put(`${count}`, Buffer.from('1'));
      await expect(commit(storage)).rejects.toThrow();
      // Those that ask right after, and those that come when all is quiet.
      if (count % 3 === 0) await passTime();
      if (count % 5 > 0) continue;
      const { entries, rows } = await look(files.powerLost(folder));
      expect(Object.keys(entries)).toHaveLength(rows.length);
    }
    files.isFailing = () => false;
    await untilCommitted(storage);
    const { entries, rows } = await look(files.powerLost(folder));
    expect([Object.keys(entries).length, rows.length]).toEqual([20, 20]);
  });

  it('and the storage closes right after', async () => {
    failSyncs();
    log.append(buildBatch());
    queue.append(Buffer.from('row'));
    seen.put('key', Buffer.from('1'));
    const running = commit(storage);
    await Promise.all([expect(running).rejects.toThrow(), closeForTest(storage)]);
    expect(await look(files.powerLost(folder))).toEqual({ entries: { key: '1' }, rows: [0], end: 1 });
  });
});

it('a repair moves many changes at once', async () => {
  await open(1 << 20);
  failOneSync();
  for (let count = 0; count < 2_500; count++) {
    queue.append(Buffer.from('row'));
    seen.put(`${count}`, Buffer.from('1'));
  }
  await expect(commit(storage)).rejects.toThrow();
  const lost = [files.powerLost(folder)];
  const isInDoubt = (): boolean => existsSync(join(folder, 'journal', '00000000000000000001.journal'));
  expect(isInDoubt()).toBe(true);
  await expect(commit(storage)).rejects.toThrow();
  while (isInDoubt()) {
    lost.push(files.powerLost(folder));
    await new Promise((resolve) => setImmediate(resolve));
  }
  lost.push(files.powerLost(folder));
  const found = new Set<string>();
  for (const copy of lost) {
    const { entries, rows } = await look(copy);
    found.add(`${Object.keys(entries).length} entries, ${rows.length} rows`);
  }
  expect([...found].sort()).toEqual(['0 entries, 0 rows', '2500 entries, 2500 rows']);
});

describe('while a storage closes', () => {
  beforeEach(() => open(1 << 20));

  it('what is appended to a stream is dropped with what tells of it', async () => {
    seen.put('before', Buffer.from('1'));
    const closing = closeForTest(storage);
    log.append(buildBatch());
    seen.put('tells of the batch', Buffer.from('1'));
    await closing;
    expect(await look(copyFolder(folder))).toEqual({ entries: { before: '1' }, rows: [], end: 0 });
  });

  it('no commit is begun, and who closes it as well waits for the same end', async () => {
    const closing = closeForTest(storage);
    seen.put('late', Buffer.from('1'));
    await expect(commit(storage)).rejects.toThrow('the storage is closed');
    await storage.close();
    expect(existsSync(join(folder, 'lock'))).toBe(false);
    await closing;
    // Nothing lacks for it, so it is kept, though nobody was told.
    expect(await look(copyFolder(folder))).toEqual({ entries: { late: '1' }, rows: [], end: 0 });
  });
});
