/** Whatever bytes stand in a segment, an index or the journal: opening and reading give data or a typed error. */

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CoreError } from '../../../src/core/errors.ts';
import type { Storage } from '../../../src/core/storage.ts';
import { openStorage } from '../../../src/storage/index.ts';
import { buildBatch, KEEP_ALL } from '../../unit/storage/batches.ts';

const LOG = { ...KEEP_ALL, segmentBytes: 1000 };
let folder: string;
let originals: Map<string, Buffer>;

const commit = (storage: Storage): Promise<void> =>
  new Promise((resolve, reject) => {
    storage.commit((error) => (error === null ? resolve() : reject(error)));
  });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rosettamq-fuzz-'));
  const storage = await openStorage({ folder, durability: 'os' });
  const log = await storage.openBatchLog('log', LOG);
  for (let i = 0; i < 30; i++) log.append(buildBatch({ records: 3, timeMs: i }));
  log.truncateBefore(4);
  const rows = await storage.openRowLog('rows', { durable: true });
  const table = await storage.openTable('table');
  for (let i = 0; i < 20; i++) {
    rows.append(Buffer.from(`row ${i}`));
    table.put(`key ${i}`, Buffer.from('value'));
    if (i % 4 === 3) rows.remove(i - 2);
    await commit(storage);
  }
  originals = new Map();
  for (const sub of ['streams/log', 'journal']) {
    for (const file of readdirSync(join(folder, sub))) {
      originals.set(join(sub, file), readFileSync(join(folder, sub, file)));
    }
  }
  await storage.close();
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Mutation {
  readonly kind: 'flip' | 'cut' | 'insert' | 'swap' | 'zero';
  readonly file: number;
  readonly at: number;
  readonly length: number;
  readonly bytes: Uint8Array;
}

const mutation = fc.record<Mutation>({
  kind: fc.constantFrom('flip', 'cut', 'insert', 'swap', 'zero'),
  file: fc.nat(100),
  at: fc.nat(2000),
  length: fc.nat(100),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 80 }),
});

function mutate(bytes: Buffer, change: Mutation): Buffer {
  if (bytes.length === 0) return Buffer.from(change.bytes);
  const at = change.at % bytes.length;
  const head = bytes.subarray(0, at);
  if (change.kind === 'cut') return Buffer.from(head);
  if (change.kind === 'insert') return Buffer.concat([head, change.bytes, bytes.subarray(at)]);
  if (change.kind === 'swap') return Buffer.concat([bytes.subarray(at), head]);
  const copy = Buffer.from(bytes);
  if (change.kind === 'zero') copy.fill(0, at, Math.min(at + change.length, copy.length));
  else
    for (let i = 0; i < change.bytes.length && at + i < copy.length; i++)
      copy[at + i] = change.bytes[i] as number;
  return copy;
}

async function expectTyped<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    expect(error).toBeInstanceOf(CoreError);
    return null;
  }
}

it('mutated files never give an untyped error, nor a batch that was never written', async () => {
  const written = new Set<string>();
  for (const [path, bytes] of originals) {
    if (!path.endsWith('.log')) continue;
    for (let at = 0; at < bytes.length; at += 12 + bytes.readInt32BE(at + 8)) {
      written.add(bytes.toString('latin1', at + 21, at + 12 + bytes.readInt32BE(at + 8)));
    }
  }
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (changes) => {
      for (const sub of ['streams/log', 'journal']) {
        for (const file of readdirSync(join(folder, sub))) rmSync(join(folder, sub, file));
      }
      const paths = [...originals.keys()];
      const mutated = new Map(originals);
      for (const change of changes) {
        const path = paths[change.file % paths.length] as string;
        mutated.set(path, mutate(mutated.get(path) as Buffer, change));
      }
      for (const [path, bytes] of mutated) writeFileSync(join(folder, path), bytes);

      const storage = await openStorage({ folder, durability: 'os', tailBytesMax: 0 });
      const log = await storage.openBatchLog('log', LOG);
      const lastFile = paths.filter((path) => path.endsWith('.log')).at(-1) as string;
      const lastBase = Number(lastFile.slice(-24, -4));
      // After damage the end may be far away.
      for (let offset = log.startOffset; offset < Math.min(log.endOffset, 200); offset++) {
        const bytes = await expectTyped(() => log.read(offset, 1));
        // The last segment was checked whole.
        if (bytes === null || offset < lastBase) continue;
        expect(written.has(bytes.toString('latin1', 21))).toBe(true);
      }
      await expectTyped(() => log.offsetAt(15));
      await expectTyped(async () => {
        for await (const header of log.scanHeaders(log.startOffset)) expect(header).toHaveLength(61);
      });
      const end = log.endOffset;
      expect(log.append(buildBatch())).toBe(end);
      await (await storage.openRowLog('rows', { durable: true })).read(0, 100, 1e6);
      for await (const _ of (await storage.openTable('table')).scan(''));
      await storage.close();
    }),
    { numRuns: 80 },
  );
}, 60_000);
