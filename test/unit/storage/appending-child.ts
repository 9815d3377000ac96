/**
 * A process for `kill.test.ts` to kill: appends to a batch log, a row log and a table, and after each commit writes
 * the number of the last committed round to its standard output. Arguments: data folder, durability.
 */

import { writeSync } from 'node:fs';
import { openStorage } from '../../../src/storage/index.ts';
import { buildBatch, KEEP_ALL } from './batches.ts';

const [folder, durability] = process.argv.slice(2) as [string, 'os' | 'fsync'];
const storage = await openStorage({ folder, durability, checkpointBytes: 20_000 });
const log = await storage.openBatchLog('log', { ...KEEP_ALL, segmentBytes: 5000 });
const rows = await storage.openRowLog('rows', { durable: true });
const table = await storage.openTable('table');

let round = 0;
function runRound(): void {
  const current = round++;
  log.append(buildBatch({ records: 2, timeMs: current }));
  const offset = rows.append(Buffer.from(`row ${current}`));
  if (current % 3 === 0) rows.remove(offset - 1);
  table.put(`key ${current % 50}`, Buffer.from(String(current)));
  storage.commit((error) => {
    if (error !== null) throw error;
    writeSync(1, `${current}\n`);
    setImmediate(runRound);
  });
}
runRound();
