/** A process is killed while it writes; whatever it had said to be committed is there. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { baseOffsets, KEEP_ALL, makeFolder, openForTest, readAllBatches } from './storage-fixture.ts';

const CHILD = join(import.meta.dirname, 'appending-child.ts');

const ROUNDS_MIN = 10;

/** Returns the last round that the child said was committed. */
async function killAfter(folder: string, durability: string, delayMs: number): Promise<number> {
  const child = spawn(process.execPath, [CHILD, folder, durability], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
    output += chunk;
  });
  await once(child.stdout, 'data');
  await new Promise((resolve) => setTimeout(resolve, delayMs));
  const lastRound = (): number => Number(output.slice(0, output.lastIndexOf('\n')).split('\n').at(-1));
  // A busy machine may need longer for enough rounds to look at.
  while (lastRound() <= ROUNDS_MIN) await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'close');
  return lastRound();
}

it.each([
  ['os', 60],
  ['os', 177],
  ['fsync', 120],
] as const)('durability %s, killed after %i ms', async (durability, delayMs) => {
  const folder = makeFolder();
  const last = await killAfter(folder, durability, delayMs);
  const { storage } = await openForTest(folder, { durability });

  const log = await storage.openBatchLog('log', { ...KEEP_ALL, segmentBytes: 5000 });
  expect(log.endOffset).toBeGreaterThanOrEqual((last + 1) * 2);
  const offsets = baseOffsets(await readAllBatches(log, 0));
  expect(offsets).toEqual(Array.from({ length: log.endOffset / 2 }, (_, i) => i * 2));

  const rows = await storage.openRowLog('rows', { durable: true });
  expect(rows.endOffset).toBeGreaterThan(last);
  const found = (await rows.read(0, 1e6, 1e9)).map((row) => [row.offset, Buffer.from(row.bytes).toString()]);
  const kept = Array.from({ length: last + 1 }, (_, i) => i).filter((i) => i % 3 !== 2);
  // The last row that would be removed by the next round may still be there, or the next one be there already.
  expect(found.filter(([offset]) => (offset as number) < last)).toEqual(
    kept.filter((i) => i < last).map((i) => [i, `row ${i}`]),
  );

  const table = await storage.openTable('table');
  for (let round = Math.max(0, last - 49); round <= last; round++) {
    const value = Number(Buffer.from((await table.get(`key ${round % 50}`)) as Uint8Array).toString());
    expect(value, `round ${round}`).toBeGreaterThanOrEqual(round);
  }
});
