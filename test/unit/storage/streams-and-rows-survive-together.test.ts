/**
 * Kills and losses of power at any moment, also while a commit syncs, on a disk on which syncs and writes fail now and then:
 * what was committed is there, an entry never without the record of which it tells, and no part of a commit without the rest
 * of its rows and entries.
 */

import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { BatchLog, RowLog, Storage, Table } from '../../../src/core/storage.ts';
import { makeRandom } from '../../crash/seed.ts';
import { PowerlessFileSystem } from './power-loss.ts';
import {
  buildBatch,
  closeForTest,
  commit,
  copyFolder,
  makeFolder,
  openForTest,
  untilCommitted,
} from './storage-fixture.ts';

const COMMITS = 80;
const STREAMS = ['one', 'two', 'three'];
/** Keys of entries that are written with a row begin so. */
const ROW = 'row ';
/** Small, so that streams begin new segments, and drop old ones. */
const LOG = { segmentBytes: 1_500, retentionBytes: 3_000, retentionMs: -1 };

interface Found {
  /** Of each stream: offset after the last record, and what the entry says. */
  readonly ends: ReadonlyMap<string, readonly [inStream: number, told: number]>;
  readonly rows: readonly number[];
  /** Offsets of the rows that have an entry, which is written with them. */
  readonly named: readonly number[];
  readonly warnings: readonly string[];
}

async function look(folder: string): Promise<Found> {
  const { storage, events } = await openForTest(folder, { durability: 'fsync' });
  const seen = await storage.openTable('seen');
  const ends = new Map<string, readonly [number, number]>();
  for (const name of STREAMS) {
    const log = await storage.openBatchLog(name, LOG);
    const told = Number((await seen.get(name)) ?? 0);
    // Without a hole, as far as the entry tells of it.
    for (let offset = log.startOffset; offset < Math.min(told, log.endOffset); offset++)
      await log.read(offset, 1);
    ends.set(name, [log.endOffset, told]);
  }
  const queue = await storage.openRowLog('queue', { durable: true });
  const rows = (await queue.read(0, 10_000, 10_000_000)).map(({ offset }) => offset);
  const named: number[] = [];
  for await (const [key] of seen.scan(ROW)) named.push(Number(key.slice(ROW.length)));
  named.sort((one, other) => one - other);
  await closeForTest(storage);
  rmSync(folder, { recursive: true });
  return { ends, rows, named, warnings: events.map(({ text }) => text) };
}

/** What is published: a record in a stream, and entries and rows that tell of it. */
class Traffic {
  readonly #random: () => number;
  readonly #storage: Storage;
  readonly logs: BatchLog[] = [];
  readonly told = new Map<string, number>(STREAMS.map((name) => [name, 0]));
  readonly rows = new Set<number>();

  constructor(storage: Storage, random: () => number) {
    this.#storage = storage;
    this.#random = random;
  }

  async publish(): Promise<void> {
    const seen = await this.#storage.openTable('seen');
    const queue = await this.#storage.openRowLog('queue', { durable: true });
    for (const [index, name] of STREAMS.entries()) {
      if (this.#random() < 0.5) continue;
      const log = this.logs[index] as BatchLog;
      try {
        log.append(buildBatch({ valueBytes: 10 + Math.floor(this.#random() * 700) }));
      } catch {
        // It waits for room.
        continue;
      }
      if (this.#random() < 0.3) continue;
      this.told.set(name, log.endOffset);
      seen.put(name, Buffer.from(`${log.endOffset}`));
      this.#addRow(queue, seen);
    }
    if (this.#random() < 0.1) this.#addRow(queue, seen);
    for (const log of this.logs) if (this.#random() < 0.2) log.expire(1);
  }

  #addRow(queue: RowLog, seen: Table): void {
    const offset = queue.append(Buffer.alloc(20));
    seen.put(`${ROW}${offset}`, Buffer.alloc(1));
    this.rows.add(offset);
  }
}

let [left, failures] = [0, 0];

it.each([1, 2])('seed %i', { timeout: 30_000 }, async (seed) => {
  const random = makeRandom(seed);
  const folder = makeFolder();
  const files = new PowerlessFileSystem(random);
  const { storage } = await openForTest(folder, { durability: 'fsync', files, checkpointBytes: 1_500 });
  const traffic = new Traffic(storage, random);
  for (const name of STREAMS) traffic.logs.push(await storage.openBatchLog(name, LOG));
  let isBad = false;
  files.isFailing = (call) => isBad && call.startsWith('sync') && random() < 0.1;
  /** Copies with what had been committed when they were made. */
  const copies: { folder: string; told: Map<string, number>; rows: Set<number>; how: string }[] = [];
  const committed = { told: new Map<string, number>(), rows: new Set<number>() };
  const crash = (how: string, chance = 0.12): void => {
    if (random() > chance) return;
    const isKilled = random() < 0.2;
    const copy = isKilled ? copyFolder(folder) : files.powerLost(folder);
    const told = new Map(committed.told);
    copies.push({ folder: copy, told, rows: new Set(committed.rows), how: `${how}, killed: ${isKilled}` });
  };
  const { writev } = files;
  files.writev = (fd, buffers, position) => {
    crash('before a write');
    return writev.call(files, fd, buffers, position);
  };
  files.onSynced = () => crash('after a sync');
  for (let count = 1; count <= COMMITS; count++) {
    isBad = count % 40 > 25;
    files.roomBytes = isBad && random() < 0.1 ? Math.floor(random() * 600) : Number.POSITIVE_INFINITY;
    await traffic.publish();
    const running = commit(storage);
    const told = new Map(traffic.told);
    const rows = [...traffic.rows];
    crash('in a commit');
    const isCommitted = await running.then(
      () => {
        for (const row of rows) committed.rows.add(row);
        for (const [name, end] of told) committed.told.set(name, end);
        return true;
      },
      () => false,
    );
    if (!isCommitted) failures++;
    if (!isCommitted || random() < 0.3) await new Promise((resolve) => setTimeout(resolve, 2));
    crash('between commits', isCommitted ? 0.12 : 0.6);
    for (const copy of copies.splice(0)) {
      const found = await look(copy.folder);
      const what = `seed ${seed}, commit ${count}, ${copy.how}`;
      if (found.warnings.some((text) => text.startsWith('left out the last commits'))) left++;
      for (const [name, [inStream, inTable]] of found.ends) {
        expect(inStream, `${name} lacks what its entry tells, ${what}`).toBeGreaterThanOrEqual(inTable);
        expect(inTable, `lost, ${what}`).toBeGreaterThanOrEqual(copy.told.get(name) ?? 0);
      }
      expect(
        [...copy.rows].filter((row) => !found.rows.includes(row)),
        `lost rows, ${what}`,
      ).toEqual([]);
      expect(found.named, `a commit is there in part, ${what}`).toEqual(found.rows);
    }
  }
  files.isFailing = () => false;
  files.roomBytes = Number.POSITIVE_INFINITY;
  files.onSynced = () => {};
  files.writev = writev;
  await untilCommitted(storage);
  await closeForTest(storage);
  const { ends, rows } = await look(folder);
  for (const [name, [, told]] of ends) expect(told).toBe(traffic.told.get(name));
  expect(rows).toHaveLength(traffic.rows.size);
});

it('did what it was made for', () => {
  expect(failures).toBeGreaterThan(5);
  expect(left).toBeGreaterThan(0);
});
