/**
 * With durability `fsync` a frame of the journal counts only where all is there that its commit wrote to streams. So no
 * checkpoint may be ahead of that, and nothing that was acknowledged may look like something that was not.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BatchLog, Storage, Table } from '../../../src/core/storage.ts';
import { Database } from '../../../src/storage/table/database.ts';
import { PowerlessFileSystem } from './power-loss.ts';
import {
  buildBatch,
  closeForTest,
  commit,
  copyFolder,
  FaultyFileSystem,
  filesOf,
  flipBits,
  KEEP_ALL,
  makeFolder,
  openForTest,
  untilCommitted,
} from './storage-fixture.ts';

const LEFT_OUT = 'left out the last commits: a loss of power has not left all that they wrote to streams';
const isStream = (path: string | undefined): boolean => path?.endsWith('.log') === true;

/** Whatever was not synced is gone with the power, but for names. */
class StrictFileSystem extends PowerlessFileSystem {
  #held: (() => void)[] | null = null;

  constructor() {
    super(() => 0.99);
  }

  /** From now on syncs of streams wait. */
  hold(): void {
    this.#held = [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const sync of held) sync();
  }

  override sync(fd: number, done: (error: Error | null) => void): void {
    if (this.#held !== null && isStream(this.paths.get(fd))) this.#held.push(() => super.sync(fd, done));
    else super.sync(fd, done);
  }
}

let folder: string;
let files: StrictFileSystem;
let storage: Storage;
let log: BatchLog;
let seen: Table;

async function open(checkpointBytes: number): Promise<void> {
  folder = makeFolder();
  files = new StrictFileSystem();
  ({ storage } = await openForTest(folder, { durability: 'fsync', files, checkpointBytes }));
  seen = await storage.openTable('seen');
  log = await storage.openBatchLog('stream', KEEP_ALL);
  await commit(storage);
}

/** What the next start finds in `at`. */
async function look(at: string): Promise<{ keys: string[]; end: number; warnings: string[] }> {
  const { storage: again, events } = await openForTest(at, { durability: 'fsync' });
  const keys: string[] = [];
  for await (const [key] of (await again.openTable('seen')).scan('')) keys.push(key);
  const end = (await again.openBatchLog('stream', KEEP_ALL)).endOffset;
  await closeForTest(again);
  return { keys, end, warnings: events.map(({ text }) => text) };
}

async function passTime(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
}

afterEach(() => {
  vi.restoreAllMocks();
  files.isFailing = () => false;
  files.release();
});

describe('a checkpoint', () => {
  it('waits until the device has what its commit wrote to streams', async () => {
    await open(1);
    await passTime();
    const apply = vi.spyOn(Database.prototype, 'apply');
    files.hold();
    seen.put('key', Buffer.alloc(1));
    log.append(buildBatch());
    const running = commit(storage);
    await passTime();
    expect(apply).not.toHaveBeenCalled();
    const lost = await look(files.powerLost(folder));
    expect(lost).toMatchObject({ keys: [], end: 0 });
    expect(lost.warnings).toContain(LEFT_OUT);
    apply.mockClear();
    files.release();
    await running;
    await expect.poll(() => apply.mock.calls.length, { interval: 1 }).toBe(1);
    expect(await look(files.powerLost(folder))).toEqual({ keys: ['key'], end: 1, warnings: [] });
  });

  it.each([false, true])(
    'goes on when streams can be synced again, and commits with it; the journal fails as well: %s',
    async (both) => {
      await open(1);
      files.isFailing = (call, path) => call === 'sync' && (both || isStream(path));
      for (let count = 0; count < 6; count++) {
        seen.put(`${count}`, Buffer.alloc(1));
        log.append(buildBatch());
        await expect(commit(storage)).rejects.toThrow();
        await passTime();
        expect((await look(files.powerLost(folder))).keys).toEqual([]);
      }
      files.isFailing = () => false;
      await untilCommitted(storage);
      expect(await look(files.powerLost(folder))).toMatchObject({
        keys: ['0', '1', '2', '3', '4', '5'],
        end: 6,
      });
    },
  );

  it('of a log that is deleted meanwhile goes on', async () => {
    await open(1);
    files.isFailing = (call, path) => call === 'sync' && isStream(path);
    seen.put('key', Buffer.alloc(1));
    log.append(buildBatch());
    await expect(commit(storage)).rejects.toThrow();
    await log.delete();
    await untilCommitted(storage);
    expect((await look(files.powerLost(folder))).keys).toEqual(['key']);
  });
});

it('a storage that closes while a stream cannot be synced keeps the journal, and LMDB as it is', async () => {
  await open(1);
  await passTime();
  files.isFailing = (call, path) => call === 'sync' && isStream(path);
  seen.put('key', Buffer.alloc(1));
  log.append(buildBatch());
  await expect(commit(storage)).rejects.toThrow();
  await closeForTest(storage);
  expect((await look(files.powerLost(folder))).keys).toEqual([]);
  expect(await look(copyFolder(folder))).toMatchObject({ keys: ['key'], end: 1 });
});

it('what a killed process left unsynced is on the device before LMDB has what tells of it', async () => {
  await open(1 << 20);
  files.hold();
  seen.put('key', Buffer.alloc(1));
  log.append(buildBatch());
  const running = commit(storage);
  const killed = copyFolder(folder);
  files.release();
  await running;
  const broken = new FaultyFileSystem();
  broken.isFailing = (call, path) => call === 'sync folder' && isStream(path);
  const apply = vi.spyOn(Database.prototype, 'apply');
  await expect(openForTest(killed, { durability: 'fsync', files: broken })).rejects.toThrow('EIO');
  expect(apply).not.toHaveBeenCalled();
  expect(await look(killed)).toEqual({ keys: ['key'], end: 1, warnings: [] });
});

describe('what was acknowledged is there after a loss of power and after a kill', () => {
  beforeEach(() => open(1 << 20));

  async function published(): Promise<void> {
    log.append(buildBatch({ records: 3 }));
    seen.put('key', Buffer.alloc(1));
    await commit(storage);
  }

  async function expectKept(): Promise<void> {
    for (const copy of [copyFolder(folder), files.powerLost(folder)]) {
      const { keys, warnings } = await look(copy);
      expect(keys).toEqual(['key']);
      expect(warnings).not.toContain(LEFT_OUT);
    }
  }

  it('though its stream was deleted', async () => {
    await published();
    await log.delete();
    await expectKept();
  });

  it('though its stream was deleted and made again', async () => {
    await published();
    await log.delete();
    log = await storage.openBatchLog('stream', KEEP_ALL);
    await expectKept();
    log.append(buildBatch());
    await commit(storage);
    await expectKept();
  });

  it('though its segment has expired', async () => {
    log.configure({ segmentBytes: 1, retentionBytes: -1, retentionMs: 0 });
    await published();
    log.expire(10_000);
    expect(log.startOffset).toBe(3);
    await expectKept();
  });

  it('though batches followed without rows, in the same segment and in another', async () => {
    await published();
    log.append(buildBatch());
    await commit(storage);
    log.configure({ ...KEEP_ALL, segmentBytes: 1 });
    log.append(buildBatch());
    await commit(storage);
    await expectKept();
  });

  it('though the next batch was torn', async () => {
    await published();
    files.hold();
    log.append(buildBatch({ valueBytes: 2_000 }));
    const running = commit(storage);
    await expectKept();
    const torn = copyFolder(folder);
    const [segment] = filesOf(torn, '.log');
    const bytes = readFileSync(segment as string);
    writeFileSync(segment as string, bytes.subarray(0, bytes.length - 10));
    expect(await look(torn)).toMatchObject({ keys: ['key'], end: 3 });
    files.release();
    await running;
  });

  it('though its stream has been damaged since long before', async () => {
    for (let count = 0; count < 3; count++) {
      log.append(buildBatch());
      await commit(storage);
    }
    await closeForTest(storage);
    const [segment] = filesOf(folder, '.log');
    const bytes = readFileSync(segment as string);
    flipBits(bytes, 70, 1);
    writeFileSync(segment as string, bytes);
    ({ storage } = await openForTest(folder, { durability: 'fsync' }));
    log = await storage.openBatchLog('stream', KEEP_ALL);
    seen = await storage.openTable('seen');
    await published();
    const found = await look(copyFolder(folder));
    expect(found.keys).toEqual(['key']);
    expect(found.warnings).not.toContain(LEFT_OUT);
  });
});

it('a frame is left out where a batch in the middle of what its commit wrote is missing', async () => {
  await open(1 << 20);
  log.append(buildBatch());
  seen.put('before', Buffer.alloc(1));
  await commit(storage);
  for (let count = 0; count < 3; count++) log.append(buildBatch());
  seen.put('key', Buffer.alloc(1));
  await commit(storage);
  const [segment] = filesOf(folder, '.log');
  const bytes = readFileSync(segment as string);
  const length = bytes.length / 4;
  const copy = copyFolder(folder);
  bytes.fill(0, 2 * length, 3 * length);
  writeFileSync(filesOf(copy, '.log')[0] as string, bytes);
  const found = await look(copy);
  expect(found.keys).toEqual(['before']);
  expect(found.warnings).toContain(LEFT_OUT);
});
