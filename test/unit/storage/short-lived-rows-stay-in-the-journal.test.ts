/** What a checkpoint puts into LMDB: rows that have outlived a whole journal file, and none that went before. */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { RowLog, Storage } from '../../../src/core/storage.ts';
import { type Change, Database } from '../../../src/storage/table/database.ts';
import { offsetFromRowKey } from '../../../src/storage/table/keys.ts';
import { closeForTest, commit, copyFolder, makeFolder, openForTest } from './storage-fixture.ts';

const EVERY_COMMIT = { checkpointBytes: 1 };
/** A row's key is 11 bytes long, an entry's is of another form. */
const ROW_KEY_BYTES = 11;

let folder: string;
let storage: Storage;
let log: RowLog;
let stored: number[];
let moved: Promise<void>;
let moves = 0;

beforeEach(async () => {
  stored = [];
  const { apply } = Database.prototype;
  vi.spyOn(Database.prototype, 'apply').mockImplementation(function (this: Database, changes) {
    const all = [...changes];
    stored.push(...all.filter(isRow).map(({ key }) => offsetFromRowKey(key)));
    moved = apply.call(this, all);
    moves++;
    return moved;
  });
  folder = makeFolder();
  ({ storage } = await openForTest(folder, EVERY_COMMIT));
  log = await storage.openRowLog('queue', { durable: true });
  await commitAndMove();
});

afterEach(() => vi.restoreAllMocks());

const isRow = ({ key, value }: Change): boolean => value !== null && key.length === ROW_KEY_BYTES;

/** The commit begins a journal file, and what is left of the one before the last is moved. */
async function commitAndMove(): Promise<void> {
  const count = moves;
  await commit(storage);
  // It begins when the commit is over.
  await expect.poll(() => moves, { interval: 1 }).toBe(count + 1);
  await moved;
  await new Promise((resolve) => setImmediate(resolve));
  expect(readdirSync(join(folder, 'journal'))).toHaveLength(2);
}

async function beginNextFile(): Promise<void> {
  const table = await storage.openTable('other');
  table.put('key', Buffer.from(String(Math.random())));
  await commitAndMove();
}

it('a row that is removed in the time of two files is never stored', async () => {
  const row = log.append(Buffer.from('a'));
  await commitAndMove();
  log.remove(row);
  await commitAndMove();
  await beginNextFile();
  await beginNextFile();
  expect(stored).toEqual([]);
});

it('a row that stays is stored once, though nothing of its log changes any more', async () => {
  const row = log.append(Buffer.from('a'));
  await commitAndMove();
  expect(stored).toEqual([]);
  await beginNextFile();
  await beginNextFile();
  await beginNextFile();
  expect(stored).toEqual([row]);
  expect((await log.read(0, 10, 1_000)).map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(['a']);
});

it('a process that ends anywhere leaves every row that was committed, and none that was removed', async () => {
  const kept: number[] = [];
  for (let round = 0; round < 12; round++) {
    const [stays, goes] = [log.append(Buffer.from('s')), log.append(Buffer.from('g'))];
    kept.push(stays);
    if (round % 3 === 2) log.remove(kept.shift() as number);
    await commit(storage);
    log.remove(goes);
    await commit(storage);
    const copy = await openForTest(copyFolder(folder), EVERY_COMMIT);
    const found = await (await copy.storage.openRowLog('queue', { durable: true })).read(0, 1_000, 1_000_000);
    expect(found.map(({ offset }) => offset)).toEqual(kept);
    await closeForTest(copy.storage);
  }
});
