/**
 * What was committed is there after a kill or a loss of power, though a journal file could not be begun, renamed,
 * removed or synced when it was its turn.
 */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RowLog, Storage } from '../../../src/core/storage.ts';
import type { StorageEvent } from '../../../src/storage/index.ts';
import {
  closeForTest,
  commit,
  copyFolder,
  FaultyFileSystem,
  makeFolder,
  openForTest,
} from './storage-fixture.ts';

const CHECKPOINT_BYTES = 2_000;

const journalOf = (folder: string): string[] =>
  readdirSync(join(folder, 'journal'))
    .filter((name) => name.endsWith('.journal'))
    .sort();

const sequenceOf = (name: string): number => Number(name.slice(0, -'.journal'.length));

const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2));

class World {
  readonly folder = makeFolder();
  readonly files = new FaultyFileSystem();
  events: StorageEvent[] = [];
  /** Offsets of all rows whose commit succeeded. */
  readonly kept: number[] = [];
  storage!: Storage;
  log!: RowLog;

  async open(durability: 'os' | 'fsync', checkpointBytes = CHECKPOINT_BYTES): Promise<this> {
    const { files } = this;
    const { storage, events } = await openForTest(this.folder, { durability, files, checkpointBytes });
    this.storage = storage;
    this.events = events;
    this.log = await storage.openRowLog('queue', { durable: true });
    return this;
  }

  /** Commits one more row, and lets what that begins come to its end. */
  async add(): Promise<void> {
    const offset = this.log.append(Buffer.alloc(400, this.kept.length));
    await commit(this.storage);
    this.kept.push(offset);
    await pause();
  }

  /** The same, however often it is refused meanwhile; returns how often. */
  async addAtLast(refused: (times: number) => void = () => {}): Promise<number> {
    const offset = this.log.append(Buffer.alloc(400, this.kept.length));
    for (let times = 0; ; times++) {
      try {
        await commit(this.storage);
        this.kept.push(offset);
        return times;
      } catch (error) {
        if (times === 100) throw error;
        refused(times + 1);
        await pause();
      }
    }
  }

  async addUntil(isEnough: () => boolean): Promise<void> {
    for (let count = 0; !isEnough(); count++) {
      expect(count).toBeLessThan(200);
      await this.add();
    }
  }

  /** How many of the journal's files are open. */
  get descriptors(): number {
    return [...this.files.paths.values()].filter((path) => path.includes('journal')).length;
  }

  get newest(): string {
    return journalOf(this.folder).at(-1) as string;
  }

  /** All that was committed is in `folder`, a copy, and there is nothing to warn of. */
  async expectKept(folder = copyFolder(this.folder), warned: string[] = []): Promise<void> {
    const { storage, events } = await openForTest(folder);
    const rows = await (await storage.openRowLog('queue', { durable: true })).read(0, 10_000, 10_000_000);
    const offsets = rows.map(({ offset }) => offset);
    expect(this.kept.filter((offset) => !offsets.includes(offset))).toEqual([]);
    expect(events.map(({ text }) => text)).toEqual(warned);
    await closeForTest(storage);
  }
}

describe.each(['os', 'fsync'] as const)('durability %s', (durability) => {
  it('one file that cannot be begun costs nothing of the file before', async () => {
    const world = await new World().open(durability);
    let failed = 0;
    world.files.isFailing = (call) => call === 'begin' && ++failed > 0;
    await world.addUntil(() => failed > 0);
    await world.add();
    await world.expectKept();
    // Nothing of it is left.
    expect(journalOf(world.folder)).toHaveLength(1);
  });

  it('neither do many, nor what is written when it works again', async () => {
    const world = await new World().open(durability);
    let failed = 0;
    world.files.isFailing = (call) => call === 'begin' && ++failed > 0;
    await world.addUntil(() => failed > 5);
    world.files.isFailing = () => false;
    const before = world.newest;
    await world.addUntil(() => world.newest !== before);
    expect(sequenceOf(world.newest)).toBe(sequenceOf(before) + 1);
    await world.add();
    await world.expectKept();
  });

  it('nor one that can neither be begun nor removed', async () => {
    const world = await new World().open(durability);
    let failed = 0;
    world.files.isFailing = (call) => (call === 'begin' && ++failed > 0) || call === 'remove';
    await world.addUntil(() => failed > 3);
    await world.expectKept();
    world.files.isFailing = () => false;
    await world.add();
    await world.add();
    await world.expectKept();
  });

  it('what a failed write left is cut before the next file begins', async () => {
    const world = await new World().open(durability);
    let failed = 0;
    world.files.isFailing = (call) => call === 'begin' && ++failed > 0;
    await world.addUntil(() => failed > 0);
    const unwanted = world.log.append(Buffer.alloc(1_000));
    world.files.roomBytes = 500;
    world.files.isTruncateFailing = true;
    await expect(commit(world.storage)).rejects.toThrow();
    world.files.roomBytes = Number.POSITIVE_INFINITY;
    world.files.isTruncateFailing = false;
    world.files.isFailing = () => false;
    // So that the next commit has nothing to write.
    world.log.remove(unwanted);
    const before = world.newest;
    await commit(world.storage);
    expect(world.newest).not.toBe(before);
    await world.add();
    await world.expectKept();
  });
});

it('a file that was used again and whose folder cannot be synced is begun anew', async () => {
  const world = await new World().open('fsync');
  await world.addUntil(() => sequenceOf(world.newest) > 4);
  const descriptors = world.descriptors;
  let failed = 0;
  world.files.isFailing = (call) => call === 'sync folder' && failed++ < 2;
  await world.addUntil(() => failed > 2);
  await world.add();
  await world.expectKept();
  await world.addUntil(() => failed > 8);
  await world.expectKept();
  // Its descriptor is not kept for ever.
  expect(world.descriptors).toBeLessThanOrEqual(descriptors);
});
