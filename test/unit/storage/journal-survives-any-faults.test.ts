/**
 * A disk on which anything fails now and then, with kills and losses of power in between: what was committed is there,
 * and what was removed by a commit stays away.
 */

import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { RowLog } from '../../../src/core/storage.ts';
import { makeRandom } from '../../crash/seed.ts';
import { PowerlessFileSystem } from './power-loss.ts';
import {
  closeForTest,
  commit,
  copyFolder,
  FaultyFileSystem,
  makeFolder,
  openForTest,
} from './storage-fixture.ts';

const COMMITS = 160;
const ROOM = Number.POSITIVE_INFINITY;

async function offsetsIn(folder: string): Promise<Set<number>> {
  const { storage } = await openForTest(folder);
  const log = await storage.openRowLog('queue', { durable: true });
  const rows = await log.read(0, 10_000, 10_000_000);
  await closeForTest(storage);
  rmSync(folder, { recursive: true });
  return new Set(rows.map(({ offset }) => offset));
}

/** Rows by what the last commit that succeeded said of them. */
class Rows {
  readonly kept = new Set<number>();
  /** Appended or removed since: they may be there or not. */
  readonly open = new Set<number>();
  readonly #appended: number[] = [];
  readonly #log: RowLog;

  constructor(log: RowLog) {
    this.#log = log;
  }

  append(bytes: number): void {
    const offset = this.#log.append(Buffer.alloc(bytes));
    this.#appended.push(offset);
    this.open.add(offset);
  }

  remove(offset: number): void {
    this.#log.remove(offset);
    this.kept.delete(offset);
    this.open.add(offset);
  }

  committed(): void {
    for (const offset of this.#appended.splice(0)) this.kept.add(offset);
    this.open.clear();
  }
}

it.each([
  ['os', 1],
  ['os', 2],
  ['fsync', 3],
  ['fsync', 4],
  ['fsync', 5],
  ['fsync', 6],
  ['fsync', 177],
] as const)('durability %s, seed %i', async (durability, seed) => {
  const random = makeRandom(seed);
  const folder = makeFolder();
  const files = durability === 'os' ? new FaultyFileSystem() : new PowerlessFileSystem(random);
  const { storage } = await openForTest(folder, { durability, files, checkpointBytes: 1_500 });
  const rows = new Rows(await storage.openRowLog('queue', { durable: true }));
  let [isBad, faults] = [false, 0];
  files.isFailing = (_call, path) => isBad && path.includes('journal') && random() < 0.15 && ++faults > 0;
  for (let count = 1; count <= COMMITS; count++) {
    isBad = count % 50 < 25;
    files.isTruncateFailing = isBad && random() < 0.2;
    files.roomBytes = isBad && random() < 0.2 ? Math.floor(random() * 600) : ROOM;
    rows.append(20 + Math.floor(random() * 500));
    const kept = [...rows.kept];
    if (kept.length > 3 && random() < 0.6) rows.remove(kept[Math.floor(random() * kept.length)] as number);
    await commit(storage).then(
      () => rows.committed(),
      () => {},
    );
    if (random() < 0.5) await new Promise((resolve) => setTimeout(resolve, 1));
    if (count % 4 > 0) continue;
    const isPowerLost = files instanceof PowerlessFileSystem && random() < 0.8;
    const found = await offsetsIn(isPowerLost ? files.powerLost(folder) : copyFolder(folder));
    const what = `after ${count} commits and ${isPowerLost ? 'a loss of power' : 'a kill'}`;
    expect(
      [...rows.kept].filter((offset) => !found.has(offset)),
      `lost ${what}`,
    ).toEqual([]);
    expect(
      [...found].filter((offset) => !rows.kept.has(offset) && !rows.open.has(offset)),
      `back ${what}`,
    ).toEqual([]);
  }
  expect(faults).toBeGreaterThan(5);
  files.isFailing = () => false;
  files.isTruncateFailing = false;
  files.roomBytes = ROOM;
  await closeForTest(storage);
  expect(files.paths.size).toBe(0);
});
