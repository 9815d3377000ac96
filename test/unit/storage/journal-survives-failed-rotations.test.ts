/**
 * What was committed is there after a kill or a loss of power, though a journal file could not be begun, renamed,
 * removed or synced when it was its turn.
 */

import {
  constants,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RowLog, Storage } from '../../../src/core/storage.ts';
import type { StorageEvent } from '../../../src/storage/index.ts';
import { PowerlessFileSystem } from './power-loss.ts';
import {
  closeForTest,
  commit,
  copyFolder,
  type FaultyCall,
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

const nameOf = (sequence: number): string => `${String(sequence).padStart(20, '0')}.journal`;
const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2));

class World {
  readonly folder = makeFolder();
  readonly files: FaultyFileSystem;
  events: StorageEvent[] = [];
  /** Offsets of all rows whose commit succeeded. */
  readonly kept: number[] = [];
  storage!: Storage;
  log!: RowLog;

  constructor(files = new FaultyFileSystem()) {
    this.files = files;
  }

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
    world.files.isFailing = (call) => (call === 'begin' || call === 'remove') && ++failed > 0;
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

describe('after a loss of power', () => {
  /** Every write has reached the device and no name has, since its folder was synced last. */
  const noNameReaches = (): PowerlessFileSystem => new PowerlessFileSystem(() => 0);

  async function untilOneWaits(world: World): Promise<void> {
    await world.addUntil(
      () => sequenceOf(world.newest) > 4 && readdirSync(join(world.folder, 'journal')).includes('spare'),
    );
  }

  it('a file that was begun anew, and whose new name could not be given or taken away, hides no other', async () => {
    const files = noNameReaches();
    const world = await new World(files).open('fsync');
    await untilOneWaits(world);
    let [failed, kept, begun] = [0, 0, 0];
    files.isFailing = (call, path) =>
      (call === 'sync folder' && path.endsWith('journal') && ++failed > 0) ||
      (call === 'remove' && path.endsWith('.journal') && kept++ === 0) ||
      (call === 'begin' && failed > 0 && ++begun > 0);
    await world.addUntil(() => begun > 0);
    await world.expectKept(files.powerLost(world.folder));
  });

  it('nor does one that could not be begun anew', async () => {
    const files = noNameReaches();
    const world = await new World(files).open('fsync');
    await untilOneWaits(world);
    let failed = 0;
    files.isFailing = (call) => call === 'begin' && ++failed > 0;
    await world.addUntil(() => failed > 0);
    await world.expectKept(files.powerLost(world.folder));
  });

  it('a file whose beginning anew is on the disk, but under its old name, hides no other', async () => {
    const world = await new World().open('fsync');
    await world.addUntil(
      () => sequenceOf(world.newest) > 4 && readdirSync(join(world.folder, 'journal')).includes('spare'),
    );
    const lost = copyFolder(world.folder);
    const [older, newest] = journalOf(lost).map(sequenceOf) as [number, number];
    expect(newest).toBe(older + 1);
    const journal = join(lost, 'journal');
    // It was the one before `older`, then `spare`, then the next: the first page has been written, no name has.
    const path = join(journal, nameOf(older - 1));
    renameSync(join(journal, 'spare'), path);
    const content = readFileSync(path);
    content.writeBigUInt64BE(BigInt(newest + 1), 8);
    content.writeBigUInt64BE(2_345n, 16);
    writeFileSync(path, content);
    await world.expectKept(lost);
  });

  it('files that come back, though they were removed at opening, do not undo what came later', async () => {
    const world = await new World().open('os');
    const table = await world.storage.openTable('table');
    table.put('key', Buffer.from('old'));
    await world.addUntil(() => sequenceOf(world.newest) > 1);
    const folder = copyFolder(world.folder);
    const files = new FaultyFileSystem();
    let isSynced = false;
    files.isFailing = (call, path) => {
      if (call === 'sync folder' && path.endsWith('journal')) isSynced = true;
      return false;
    };
    const { storage } = await openForTest(folder, { files });
    // Before anything new is written there.
    expect(isSynced).toBe(true);
    const later = await storage.openTable('table');
    later.put('key', Buffer.from('new'));
    await commit(storage);
    const lost = copyFolder(folder);
    for (const name of journalOf(world.folder)) {
      copyFileSync(join(world.folder, 'journal', name), join(lost, 'journal', name), constants.COPYFILE_EXCL);
    }
    const { storage: again } = await openForTest(lost);
    expect(String(await (await again.openTable('table')).get('key'))).toBe('new');
  });
});

describe('after a failed sync', () => {
  const isOfJournal = (path: string): boolean => path.endsWith('.journal');

  it('of the commit that filled its file, what it covered is written anew', async () => {
    const world = await new World().open('fsync');
    for (let count = 0; count < 12; count++) await world.add();
    let before = '';
    let doubtful = '';
    world.files.isFailing = (call, path) => {
      if (call !== 'sync' || !isOfJournal(path) || doubtful !== '' || basename(path) === world.newest)
        return false;
      doubtful = basename(path);
      return true;
    };
    while (doubtful === '') {
      before = copyFolder(world.folder);
      await world.addAtLast();
      await pause();
    }
    await world.add();
    const lost = copyFolder(world.folder);
    // The device never got what that sync was for.
    const path = join(lost, 'journal', doubtful);
    if (existsSync(path)) copyFileSync(join(before, 'journal', doubtful), path);
    await world.expectKept(lost);
  });

  /** One sync fails, then rows are committed; returns the folder as a loss of power leaves it, and the refused attempts. */
  async function repaired(
    world: World,
    isRepairFailing: (call: FaultyCall, path: string) => boolean = () => false,
  ) {
    for (let count = 0; count < 5; count++) await world.add();
    const before = copyFolder(world.folder);
    let hasFailed = false;
    /** Names that are gone, but not on the disk. */
    const removed = new Set<string>();
    world.files.isFailing = (call, path) => {
      if (call === 'sync' && isOfJournal(path) && !hasFailed) {
        hasFailed = true;
        return true;
      }
      if (hasFailed && isRepairFailing(call, path)) return true;
      if (call === 'remove' && isOfJournal(path)) removed.add(basename(path));
      if (call === 'sync folder' && path.endsWith('journal')) removed.clear();
      return false;
    };
    const refused = await world.addAtLast();
    const lost = copyFolder(world.folder);
    for (const name of removed) copyFileSync(join(before, 'journal', name), join(lost, 'journal', name));
    return { lost, refused };
  }

  it('the file in doubt is gone for good before a commit succeeds', async () => {
    const world = await new World().open('fsync', 200_000);
    const { lost } = await repaired(world);
    await world.expectKept(lost);
    for (let count = 0; count < 5; count++) await world.add();
    await world.expectKept();
  });

  it('no commit succeeds while its folder cannot be synced', async () => {
    const world = await new World().open('fsync', 200_000);
    let isRemoved = false;
    let failures = 0;
    const { lost, refused } = await repaired(world, (call, path) => {
      if (call === 'remove' && isOfJournal(path)) isRemoved = true;
      return isRemoved && call === 'sync folder' && ++failures <= 3;
    });
    expect(refused).toBeGreaterThan(3);
    await world.expectKept(lost);
    await world.add();
    await world.expectKept();
  });

  it('nor while that file cannot be removed', async () => {
    const world = await new World().open('fsync', 200_000);
    let failures = 0;
    const { lost, refused } = await repaired(world, (call) => call === 'remove' && ++failures <= 3);
    expect(refused).toBeGreaterThan(3);
    await world.expectKept(lost);
    await world.add();
    await world.expectKept();
    // The attempts began no files of their own.
    expect(sequenceOf(world.newest)).toBe(2);
    expect(world.events.map(({ text }) => text)).toEqual([
      'files of the journal that are not needed any more cannot be removed',
    ]);
  });

  it('a full disk keeps the repair waiting and costs nothing', async () => {
    const world = await new World().open('fsync', 200_000);
    let failures = 0;
    // Each attempt makes two: to fill the file, and to write its header.
    const { lost, refused } = await repaired(world, (call) => call === 'begin' && ++failures <= 8);
    expect(refused).toBeGreaterThan(4);
    await world.expectKept(lost);
    for (let count = 0; count < 5; count++) await world.add();
    await world.expectKept();
  });
});

describe.each(['os', 'fsync'] as const)('durability %s', (durability) => {
  it('files that can neither be renamed nor removed are removed when they can', async () => {
    const world = await new World().open(durability);
    world.files.isFailing = (call) => call === 'rename' || call === 'remove';
    await world.addUntil(() => sequenceOf(world.newest) > 5);
    expect(journalOf(world.folder).length).toBeGreaterThan(4);
    await world.expectKept();
    world.files.isFailing = () => false;
    const before = sequenceOf(world.newest);
    await world.addUntil(() => sequenceOf(world.newest) > before + 1);
    await expect.poll(() => journalOf(world.folder).length).toBeLessThan(3);
    await world.expectKept();
    expect(world.events.map(({ text }) => text)).toEqual([
      'files of the journal that are not needed any more cannot be removed',
    ]);
    expect(world.descriptors).toBeLessThan(4);
  });

  it.each([1, 2, 3])(
    'an end at which nothing can be removed from the file %i on closes everything once',
    async (which) => {
      const world = await new World().open(durability);
      await world.addUntil(() => sequenceOf(world.newest) > 4);
      let removals = 0;
      world.files.isFailing = (call) => call === 'remove' && ++removals >= which;
      await closeForTest(world.storage);
      expect(world.descriptors).toBe(0);
      // The lock is free.
      await world.expectKept(world.folder);
    },
  );
});
