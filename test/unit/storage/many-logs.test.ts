/** Very many logs of which most are empty cost neither files nor much time. */

import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { buildBatch, closeForTest, commit, KEEP_ALL, makeFolder, openForTest } from './storage-fixture.ts';

it('twenty thousand row logs, one in a hundred with rows, come back after a restart', async () => {
  const folder = makeFolder();
  const { storage } = await openForTest(folder);
  for (let i = 0; i < 20_000; i++) {
    const log = await storage.openRowLog(`session/${i}`, { durable: true });
    if (i % 100 === 0) log.append(Buffer.from(String(i)));
  }
  await commit(storage);
  expect(readdirSync(folder).sort()).toEqual([
    'format',
    'journal',
    'lock',
    'state.mdb',
    'state.mdb-lock',
    'streams',
  ]);
  expect(readdirSync(`${folder}/journal`)).toHaveLength(1);
  await closeForTest(storage);

  const { storage: after } = await openForTest(folder);
  let rows = 0;
  for (let i = 0; i < 20_000; i++) {
    const log = await after.openRowLog(`session/${i}`, { durable: true });
    rows += log.rowCount;
    expect(log.endOffset).toBe(i % 100 === 0 ? 1 : 0);
  }
  expect(rows).toBe(200);
});

it('hundreds of batch logs share one commit and one budget of memory', async () => {
  const { storage } = await openForTest(makeFolder(), { durability: 'fsync', tailBytesMax: 20_000 });
  const logs = [];
  for (let i = 0; i < 300; i++) logs.push(await storage.openBatchLog(`stream ${i}`, KEEP_ALL));
  for (let round = 0; round < 3; round++) {
    for (const log of logs) log.append(buildBatch({ valueBytes: 100 }));
    await commit(storage);
  }
  for (const log of logs) {
    expect(log.endOffset).toBe(3);
    expect((await log.read(0, 10_000)).length).toBe(log.sizeBytes);
  }
  for (const log of logs.slice(0, 50)) await log.delete();
  for (const log of logs.slice(50)) log.append(buildBatch({ valueBytes: 100 }));
  await commit(storage);
  expect((await (logs[299] as (typeof logs)[0]).read(3, 10_000)).length).toBeGreaterThan(0);
});
