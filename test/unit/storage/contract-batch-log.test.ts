/** The contract of `BatchLog`, over every storage and over log shapes that take different ways through it. */

import { beforeEach, describe, expect, it } from 'vitest';
import type { BatchLog, BatchLogOptions, Storage } from '../../../src/core/storage.ts';
import {
  baseOffsets,
  buildBatch,
  closeForTest,
  commit,
  KEEP_ALL,
  makeFolder,
  openForTest,
  readAllBatches,
} from './storage-fixture.ts';

const IMPLEMENTATIONS = [
  { name: 'one segment, hot tail', options: {}, log: KEEP_ALL },
  { name: 'one segment, read from the file', options: { tailBytesMax: 0 }, log: KEEP_ALL },
  {
    name: 'many segments, read from files',
    options: { tailBytesMax: 0 },
    log: { ...KEEP_ALL, segmentBytes: 500 },
  },
  {
    name: 'many segments, fsync',
    options: { durability: 'fsync' as const },
    log: { ...KEEP_ALL, segmentBytes: 500 },
  },
];

describe.each(IMPLEMENTATIONS)('batch log: $name', ({ options, log: shape }) => {
  let folder: string;
  let storage: Storage;
  let log: BatchLog;

  beforeEach(async () => {
    folder = makeFolder();
    ({ storage } = await openForTest(folder, options));
    log = await storage.openBatchLog('orders', shape);
  });

  async function reopen(changed: BatchLogOptions = shape): Promise<void> {
    await closeForTest(storage);
    ({ storage } = await openForTest(folder, options));
    log = await storage.openBatchLog('orders', changed);
  }

  /** 40 batches of 3 records, times 1000, 1010, 1020, … */
  async function fill(): Promise<Buffer> {
    const all: Buffer[] = [];
    for (let i = 0; i < 40; i++) {
      const batch = buildBatch({ records: 3, timeMs: 1000 + i * 10 });
      expect(log.append(batch)).toBe(i * 3);
      all.push(batch);
    }
    await commit(storage);
    return Buffer.concat(all);
  }

  it('is empty at first', async () => {
    expect([log.startOffset, log.endOffset, log.sizeBytes]).toEqual([0, 0, 0]);
    expect(await log.read(0, 1000)).toHaveLength(0);
    expect(await log.offsetAt(0)).toBeNull();
  });

  it('shows an append at once, before any commit', async () => {
    const batch = buildBatch({ records: 2 });
    log.append(batch);
    expect(log.endOffset).toBe(2);
    expect(log.sizeBytes).toBe(batch.length);
    expect(await log.read(1, 1000)).toEqual(batch);
  });

  it('stamps base offset and leader epoch and leaves the rest of the bytes alone', async () => {
    log.append(buildBatch());
    const batch = buildBatch();
    const before = Buffer.from(batch);
    log.append(batch);
    await commit(storage);
    const stored = await log.read(1, 1000);
    expect(stored.readBigInt64BE(0)).toBe(1n);
    expect(stored.readInt32BE(12)).toBe(0);
    expect(stored.subarray(8, 12)).toEqual(before.subarray(8, 12));
    expect(stored.subarray(16)).toEqual(before.subarray(16));
  });

  it('reads back everything verbatim, in pieces of any size, also after reopening', async () => {
    const all = await fill();
    for (const bytesMax of [1, 150, 301, 4096]) expect(await readAllBatches(log, 0, bytesMax)).toEqual(all);
    await reopen();
    expect(log.endOffset).toBe(120);
    expect(log.sizeBytes).toBe(all.length);
    for (const bytesMax of [1, 150, 301, 4096]) expect(await readAllBatches(log, 0, bytesMax)).toEqual(all);
  });

  it('begins a read with the batch that holds the offset and stays within the bytes asked for', async () => {
    const all = await fill();
    const length = all.length / 40;
    for (let offset = 0; offset < 120; offset++) {
      const bytes = await log.read(offset, length * 2 + 1);
      expect(baseOffsets(bytes)[0]).toBe(Math.floor(offset / 3) * 3);
      expect(bytes.length).toBeLessThanOrEqual(length * 2);
    }
    expect(await log.read(120, 1000)).toHaveLength(0);
  });

  it('refuses reads outside the log', async () => {
    await fill();
    await expect(log.read(121, 1000)).rejects.toMatchObject({ code: 'offset-out-of-range' });
    await expect(log.read(-1, 1000)).rejects.toMatchObject({ code: 'offset-out-of-range' });
    log.truncateBefore(6);
    await expect(log.read(5, 1000)).rejects.toMatchObject({ code: 'offset-out-of-range' });
  });

  it('refuses a batch that is not as long as it says', () => {
    expect(() => log.append(Buffer.concat([buildBatch(), Buffer.alloc(1)]))).toThrow(
      expect.objectContaining({ code: 'corrupt-batch' }),
    );
    expect(log.endOffset).toBe(0);
  });

  it('takes a batch larger than a segment', async () => {
    log.append(buildBatch());
    const large = buildBatch({ valueBytes: 5000 });
    log.append(large);
    log.append(buildBatch());
    await commit(storage);
    expect(await log.read(1, 10)).toEqual(large);
    expect(log.endOffset).toBe(3);
  });

  it('finds the first record that is not older than a time', async () => {
    await fill();
    expect(await log.offsetAt(0)).toEqual({ offset: 0, timeMs: 1000 });
    expect(await log.offsetAt(1001)).toEqual({ offset: 1, timeMs: 1001 });
    expect(await log.offsetAt(1203)).toEqual({ offset: 63, timeMs: 1210 });
    expect(await log.offsetAt(1392)).toEqual({ offset: 119, timeMs: 1392 });
    expect(await log.offsetAt(1393)).toBeNull();
    log.truncateBefore(64);
    expect(await log.offsetAt(0)).toEqual({ offset: 64, timeMs: 1211 });
  });

  it('finds by time also what is not committed', async () => {
    log.append(buildBatch({ timeMs: 5000 }));
    expect(await log.offsetAt(4000)).toEqual({ offset: 0, timeMs: 5000 });
  });

  it('gives all headers from an offset on, with what is not committed', async () => {
    await fill();
    log.append(buildBatch());
    const found: number[] = [];
    for await (const header of log.scanHeaders(31)) {
      expect(header).toHaveLength(61);
      found.push(Number(header.readBigInt64BE(0)));
    }
    expect(found).toEqual([30, ...Array.from({ length: 29 }, (_, i) => 33 + i * 3), 120]);
  });

  it('forgets what is before the start offset, also after reopening', async () => {
    await fill();
    log.truncateBefore(50);
    expect(log.startOffset).toBe(50);
    expect(baseOffsets(await log.read(50, 1))).toEqual([48]);
    log.truncateBefore(10);
    expect(log.startOffset).toBe(50);
    await reopen();
    expect([log.startOffset, log.endOffset]).toEqual([50, 120]);
    log.truncateBefore(1000);
    expect([log.startOffset, log.endOffset]).toEqual([120, 120]);
    await reopen();
    expect([log.startOffset, log.endOffset]).toEqual([120, 120]);
    expect(log.append(buildBatch())).toBe(120);
  });

  it('drops by time what is older than the retention, and goes on with the same offsets', async () => {
    await fill();
    log.configure({ ...shape, retentionMs: 100 });
    log.expire(1300);
    expect(log.startOffset).toBeLessThanOrEqual(60);
    log.expire(1_000_000);
    expect([log.startOffset, log.endOffset, log.sizeBytes]).toEqual([120, 120, 0]);
    expect(log.append(buildBatch())).toBe(120);
    await commit(storage);
    await reopen();
    expect([log.startOffset, log.endOffset]).toEqual([120, 121]);
  });

  it('drops by size no more than it has to', async () => {
    const all = await fill();
    log.configure({ ...shape, retentionBytes: 1000 });
    log.expire(0);
    expect(log.sizeBytes).toBeGreaterThanOrEqual(1000);
    if (shape.segmentBytes < all.length) expect(log.sizeBytes).toBeLessThan(1000 + shape.segmentBytes * 2);
    expect(baseOffsets(await readAllBatches(log, log.startOffset)).at(-1)).toBe(117);
  });

  it('is empty again after deletion', async () => {
    await fill();
    await log.delete();
    log = await storage.openBatchLog('orders', shape);
    expect([log.startOffset, log.endOffset, log.sizeBytes]).toEqual([0, 0, 0]);
    log.append(buildBatch());
    await commit(storage);
    await reopen();
    expect(log.endOffset).toBe(1);
  });

  it('gives the same log for the same name, and another for another', async () => {
    expect(await storage.openBatchLog('orders', shape)).toBe(log);
    const names = [
      'Orders',
      'orders/',
      '../orders',
      'o%72ders',
      '',
      '.',
      'ö',
      'x'.repeat(300),
      `${'x'.repeat(299)}y`,
    ];
    for (const [i, name] of names.entries()) {
      const other = await storage.openBatchLog(name, shape);
      expect(other.endOffset, name).toBe(0);
      for (let n = 0; n <= i; n++) other.append(buildBatch());
    }
    await commit(storage);
    await reopen();
    for (const [i, name] of names.entries()) {
      expect((await storage.openBatchLog(name, shape)).endOffset, name).toBe(i + 1);
    }
  });
});
