/** With `fsync` the journal uses its files again: what they held before never comes back, whatever a crash leaves. */

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Storage } from '../../../src/core/storage.ts';
import {
  closeForTest,
  commit,
  copyFolder,
  FaultyFileSystem,
  makeFolder,
  openForTest,
} from './storage-fixture.ts';

const OPTIONS = { durability: 'fsync', checkpointBytes: 2_000 } as const;

const journalOf = (folder: string): string[] =>
  readdirSync(join(folder, 'journal'))
    .filter((name) => name.endsWith('.journal'))
    .sort();

async function rowsIn(folder: string): Promise<{ readonly offsets: number[]; readonly warned: string[] }> {
  const { storage, events } = await openForTest(folder, OPTIONS);
  const log = await storage.openRowLog('queue', { durable: true });
  const rows = await log.read(0, 10_000, 10_000_000);
  await closeForTest(storage);
  return { offsets: rows.map(({ offset }) => offset), warned: events.map(({ text }) => text) };
}

/** Appends and removes so that many files are begun; returns what has to be there. */
async function fill(storage: Storage, rounds: number): Promise<number[]> {
  const log = await storage.openRowLog('queue', { durable: true });
  const kept: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const row = Buffer.alloc(50 + ((round * 37) % 400), round);
    kept.push(log.append(row), log.append(row));
    if (round % 5 !== 0) {
      for (const gone of kept.splice(0, 2)) log.remove(gone);
    }
    await commit(storage);
    // The checkpoint runs beside it.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return kept;
}

it('frames of the file that it was before are not read again', async () => {
  const folder = makeFolder();
  const { storage } = await openForTest(folder, OPTIONS);
  const inodes = new Set<number>();
  let kept: number[] = [];
  for (let step = 0; step < 25; step++) {
    kept = [...kept, ...(await fill(storage, 7))];
    for (const name of journalOf(folder)) inodes.add(statSync(join(folder, 'journal', name)).ino);
    expect(await rowsIn(copyFolder(folder))).toEqual({ offsets: kept, warned: [] });
  }
  // Far more were begun.
  expect(Number(journalOf(folder).at(-1)?.slice(0, -'.journal'.length))).toBeGreaterThan(20);
  expect(inodes.size).toBeLessThan(6);
  await closeForTest(storage);
  expect(readdirSync(join(folder, 'journal'))).toEqual([]);
});

it('a file that was begun again, and whose beginning was lost, has nothing to say', async () => {
  const folder = makeFolder();
  const { storage } = await openForTest(folder, OPTIONS);
  const kept = await fill(storage, 60);
  const copy = copyFolder(folder);
  const [newest] = journalOf(copy).slice(-1) as [string];
  const next = String(Number(newest.slice(0, 20)) + 1).padStart(20, '0');
  writeFileSync(join(copy, 'journal', `${next}.journal`), readFileSync(join(copy, 'journal', newest)));
  expect(await rowsIn(copy)).toEqual({ offsets: kept, warned: [] });
});

it('a file after one that lost its end is left out, and the log says so', async () => {
  const folder = makeFolder();
  const { storage } = await openForTest(folder, { ...OPTIONS, checkpointBytes: 20_000 });
  await fill(storage, 300);
  const copy = copyFolder(folder);
  const [older] = journalOf(copy) as [string];
  expect(journalOf(copy).length).toBeGreaterThan(1);
  const path = join(copy, 'journal', older);
  const content = readFileSync(path);
  // Zeros where the last frames were, as after a loss of power before they were written.
  const firstFrameBytes = 12 + content.readUInt32BE(24);
  content.fill(0, 24 + firstFrameBytes);
  writeFileSync(path, content);
  // One line for each file behind it, of which a slow disk leaves more.
  const { warned } = await rowsIn(copy);
  expect([...new Set(warned)]).toEqual(['left out a journal file that follows a torn one']);
});

it('an incomplete frame over the frames of another file is cut, and the log says so', async () => {
  const folder = makeFolder();
  const { storage } = await openForTest(folder, OPTIONS);
  const kept = await fill(storage, 60);
  const log = await storage.openRowLog('queue', { durable: true });
  let [before, after, name, extra] = ['', '', '', -1];
  do {
    if (extra >= 0) kept.push(extra);
    before = copyFolder(folder);
    extra = log.append(Buffer.alloc(300, 1));
    await commit(storage);
    after = copyFolder(folder);
    name = journalOf(after).at(-1) as string;
    // Unless the commit filled its file.
  } while (journalOf(before).at(-1) !== name);
  const old = readFileSync(join(before, 'journal', name));
  const content = readFileSync(join(after, 'journal', name));
  const at = content.findIndex((byte, index) => byte !== old[index]);
  // Its first half only.
  old.copy(content, at + 150, at + 150);
  writeFileSync(join(after, 'journal', name), content);
  const { offsets, warned } = await rowsIn(after);
  expect(offsets).toEqual(kept);
  expect(offsets).not.toContain(extra);
  expect(warned).toEqual(['cut an incomplete end of the journal: a write there had not finished']);
});

it('a whole frame of another file behind the last one is none of this file', async () => {
  const folder = makeFolder();
  const { storage } = await openForTest(folder, OPTIONS);
  const kept = await fill(storage, 64);
  const copy = copyFolder(folder);
  const [older, newest] = journalOf(copy).slice(-2) as [string, string];
  const stale = readFileSync(join(copy, 'journal', older));
  const content = readFileSync(join(copy, 'journal', newest));
  let end = 24;
  while (content.readUInt32BE(end) > 0) end += 12 + content.readUInt32BE(end);
  const staleBytes = 12 + stale.readUInt32BE(24);
  stale.copy(content, end, 24, 24 + staleBytes);
  content.writeUInt32BE(0, end + staleBytes);
  writeFileSync(join(copy, 'journal', newest), content);
  expect(await rowsIn(copy)).toEqual({
    offsets: kept,
    warned: ['cut an incomplete end of the journal: a write there had not finished'],
  });
});

it('where there is no room ahead of the frames, they are written all the same', async () => {
  const folder = makeFolder();
  const files = new FaultyFileSystem();
  const { writev } = files;
  let isNearlyFull = false;
  files.writev = (fd, buffers, position) => {
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    if (!isNearlyFull || bytes < 500_000) return writev.call(files, fd, buffers, position);
    // A part of it fits.
    writev.call(files, fd, [Buffer.alloc(200_000)], position);
    throw new Error('no room');
  };
  const { storage } = await openForTest(folder, { durability: 'fsync', files });
  const log = await storage.openRowLog('queue', { durable: true });
  const kept: number[] = [];
  for (let round = 0; round < 30; round++) {
    kept.push(log.append(Buffer.alloc(100_000, round)));
    isNearlyFull = round > 5 && round < 20;
    await commit(storage);
  }
  expect(await rowsIn(copyFolder(folder))).toEqual({ offsets: kept, warned: [] });
});
