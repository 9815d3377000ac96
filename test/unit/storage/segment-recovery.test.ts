/** What opening a batch log makes of files that a crash, a bad disk or a person left behind. */

import { appendFileSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BatchLog, BatchLogOptions } from '../../../src/core/storage.ts';
import {
  baseOffsets,
  buildBatch,
  closeForTest,
  commit,
  copyFolder,
  filesOf,
  flipBits,
  KEEP_ALL,
  makeFolder,
  type Opened,
  openForTest,
  readAllBatches,
} from './storage-fixture.ts';

const NO_TAIL = { tailBytesMax: 0 };

/** A closed data folder with one log of these batches. */
async function makeLog(batches: readonly Buffer[], options: BatchLogOptions = KEEP_ALL): Promise<string> {
  const folder = makeFolder();
  const { storage } = await openForTest(folder);
  const log = await storage.openBatchLog('log', options);
  for (const batch of batches) log.append(batch);
  await commit(storage);
  await closeForTest(storage);
  return folder;
}

async function openLog(
  folder: string,
  options: BatchLogOptions = KEEP_ALL,
): Promise<Opened & { log: BatchLog }> {
  const opened = await openForTest(folder, NO_TAIL);
  return { ...opened, log: await opened.storage.openBatchLog('log', options) };
}

const fiveBatches = (): Buffer[] =>
  Array.from({ length: 5 }, (_, i) => buildBatch({ records: 2, timeMs: i * 10 }));

describe('a torn tail', () => {
  it('is cut at every byte of the last batch, and appending goes on in its place', async () => {
    const batches = fiveBatches();
    const folder = await makeLog(batches);
    const whole = readFileSync(filesOf(folder, '.log')[0] as string);
    const kept = Buffer.concat(batches.slice(0, 4));
    for (let bytes = kept.length; bytes < whole.length; bytes++) {
      const path = filesOf(folder, '.log')[0] as string;
      writeFileSync(path, whole.subarray(0, bytes));
      const { storage, events, log } = await openLog(folder);
      expect(log.endOffset).toBe(8);
      expect(events).toHaveLength(bytes === kept.length ? 0 : 1);
      if (bytes > kept.length) expect(events[0]?.details.cutBytes).toBe(bytes - kept.length);
      const next = buildBatch();
      expect(log.append(next)).toBe(8);
      await commit(storage);
      await closeForTest(storage);
      expect(readFileSync(path)).toEqual(Buffer.concat([kept, next]));
    }
  });

  it('of zeros or of garbage is cut', async () => {
    for (const garbage of [Buffer.alloc(5000), Buffer.alloc(300, 2), Buffer.from('x')]) {
      const folder = await makeLog(fiveBatches());
      appendFileSync(filesOf(folder, '.log')[0] as string, garbage);
      const { events, log } = await openLog(folder);
      expect(log.endOffset).toBe(10);
      expect(events[0]?.details.cutBytes).toBe(garbage.length);
    }
  });

  it('with a wrong checksum in the last batch is cut', async () => {
    const folder = await makeLog(fiveBatches());
    const path = filesOf(folder, '.log')[0] as string;
    const bytes = readFileSync(path);
    flipBits(bytes, -1, 1);
    writeFileSync(path, bytes);
    const { events, log } = await openLog(folder);
    expect(log.endOffset).toBe(8);
    expect(events).toHaveLength(1);
  });
});

describe('damage in the middle of the last segment', () => {
  it('is reported; the log is readable up to it and after it, and nothing is cut', async () => {
    const batches = fiveBatches();
    const folder = await makeLog(batches);
    const path = filesOf(folder, '.log')[0] as string;
    const bytes = readFileSync(path);
    const length = (batches[0] as Buffer).length;
    for (const place of [length * 2 + 30, length * 2 + 9, length * 2 + 16, length * 2]) {
      const damaged = Buffer.from(bytes);
      flipBits(damaged, place, 0x41);
      writeFileSync(path, damaged);
      const { storage, events, log } = await openLog(folder);
      expect(events.map((event) => event.level)).toEqual(['error']);
      expect(log.endOffset).toBe(10);
      expect(baseOffsets(await log.read(0, 100_000))).toEqual([0, 2]);
      await expect(log.read(4, 1000)).rejects.toMatchObject({ code: 'corrupt-batch' });
      expect(baseOffsets(await log.read(6, 100_000))).toEqual([6, 8]);
      await closeForTest(storage);
      expect(statSync(path).size).toBe(bytes.length);
    }
  });

  it('in a complete segment leaves the rest of the log readable', async () => {
    const batches = Array.from({ length: 20 }, () => buildBatch({ records: 2 }));
    const small = { ...KEEP_ALL, segmentBytes: (batches[0] as Buffer).length * 5 };
    const folder = await makeLog(batches, small);
    const path = filesOf(folder, '.log')[1] as string;
    const bytes = readFileSync(path);
    bytes.fill(0xff, (batches[0] as Buffer).length, (batches[0] as Buffer).length + 20);
    writeFileSync(path, bytes);
    const { log } = await openLog(folder, small);
    expect(log.endOffset).toBe(40);
    expect(baseOffsets(await log.read(10, 100_000))).toEqual([10]);
    await expect(log.read(12, 1000)).rejects.toMatchObject({ code: 'corrupt-batch' });
    expect(baseOffsets(await log.read(14, 100_000))).toEqual([14, 16, 18]);
    expect(baseOffsets(await log.read(20, 100_000))).toEqual([20, 22, 24, 26, 28]);
  });
});

describe('the index', () => {
  const small = { ...KEEP_ALL, segmentBytes: 200_000 };
  const manyBatches = (): Buffer[] =>
    Array.from({ length: 600 }, (_, i) => buildBatch({ timeMs: i, valueBytes: 1000 }));

  async function checkAll(folder: string): Promise<void> {
    const { storage, log } = await openLog(folder, small);
    expect(log.endOffset).toBe(600);
    for (let offset = 0; offset < 600; offset += 7)
      expect(baseOffsets(await log.read(offset, 1))).toEqual([offset]);
    for (let time = 0; time < 600; time += 31)
      expect(await log.offsetAt(time)).toEqual({ offset: time, timeMs: time });
    await closeForTest(storage);
  }

  it('is rebuilt when it is lost, and written again', async () => {
    const folder = await makeLog(manyBatches(), small);
    const indexes = filesOf(folder, '.index');
    expect(indexes.length).toBeGreaterThan(1);
    for (const path of indexes) rmSync(path);
    await checkAll(folder);
    expect(filesOf(folder, '.index')).toEqual(indexes);
  });

  it('is rebuilt when it is damaged, cut or of another segment', async () => {
    const folder = await makeLog(manyBatches(), small);
    const [first, second] = filesOf(folder, '.index') as [string, string];
    const bytes = readFileSync(first);
    flipBits(bytes, -1, 1);
    writeFileSync(first, bytes);
    await checkAll(folder);
    truncateSync(first, 20);
    await checkAll(folder);
    writeFileSync(first, readFileSync(second));
    await checkAll(folder);
  });
});

it('a killed process loses nothing that was committed', async () => {
  const folder = makeFolder();
  const { storage } = await openForTest(folder);
  const log = await storage.openBatchLog('log', { ...KEEP_ALL, segmentBytes: 300 });
  const rows = await storage.openRowLog('rows', { durable: true });
  const table = await storage.openTable('table');
  for (let i = 0; i < 50; i++) {
    log.append(buildBatch());
    rows.append(Buffer.from(`row ${i}`));
    if (i % 2 === 0) rows.remove(i);
    table.put(`key ${i}`, Buffer.from('x'));
    await commit(storage);
    if (i % 10 !== 9) continue;
    const { storage: after } = await openForTest(copyFolder(folder));
    expect((await after.openBatchLog('log', KEEP_ALL)).endOffset).toBe(i + 1);
    const left = await (await after.openRowLog('rows', { durable: true })).read(0, 1000, 1e6);
    expect(left.map((row) => row.offset)).toEqual(Array.from({ length: (i + 1) / 2 }, (_, n) => n * 2 + 1));
    expect(await (await after.openTable('table')).get(`key ${i}`)).toBeDefined();
    await closeForTest(after);
  }
});

it('a crash after the name of a deleted log went leaves nothing behind', async () => {
  const folder = await makeLog(fiveBatches());
  const log = filesOf(folder, '.log')[0] as string;
  const { mkdirSync, existsSync } = await import('node:fs');
  const doomed = join(folder, 'streams', 'other~deleted');
  mkdirSync(doomed);
  writeFileSync(join(doomed, '00000000000000000000.log'), readFileSync(log));
  await openForTest(folder);
  expect(existsSync(doomed)).toBe(false);
  expect(existsSync(log)).toBe(true);
});

it('a batch is found again after its start offset was moved into the middle of a segment and the file was lost', async () => {
  const folder = await makeLog(fiveBatches());
  const { storage, log } = await openLog(folder);
  log.truncateBefore(5);
  await commit(storage);
  await closeForTest(storage);
  const again = await openLog(folder);
  expect(again.log.startOffset).toBe(5);
  await closeForTest(again.storage);
  const start = join(filesOf(folder, '.log')[0] as string, '..', 'start');
  writeFileSync(start, Buffer.alloc(12, 9));
  const { events, log: last } = await openLog(folder);
  expect(last.startOffset).toBe(0);
  expect(events).toHaveLength(1);
  expect(baseOffsets(await readAllBatches(last, 0))).toEqual([0, 2, 4, 6, 8]);
});
