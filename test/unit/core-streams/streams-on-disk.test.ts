/**
 * The stream half with everything real beside it: the core as it is put together, files on a disk, the record
 * codec, the rules' compiler and the codecs of compression.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { addressFromKafka, recordCodec } from '../../../mappings/kafka.ts';
import { compileRule } from '../../../mappings/rules.ts';
import { decodeRecords, iterateBatches } from '../../../src/core/batch-records.ts';
import type { Core, Stream } from '../../../src/core/index.ts';
import { ANONYMOUS, Message } from '../../../src/core/index.ts';
import type { Storage } from '../../../src/core/storage.ts';
import { crc32c, decompress, openStorage } from '../../../src/storage/index.ts';
import { collect, openTestCore, queueSpec, type TestClock } from '../../support/core.ts';
import { batchOf, producerBatch, Receipts, restamp, spec } from './stream-world.ts';

let folder: string;
let storage: Storage;
let core: Core;
let clock: TestClock;

async function open(): Promise<void> {
  storage = await openStorage({ folder, durability: 'os' });
  const opened = await openTestCore({
    core: {
      storage,
      records: recordCodec,
      compileRule,
      crc32c,
      decompress,
      addressFromStream: addressFromKafka,
      randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    },
  });
  core = opened.core;
  clock = opened.clock;
}

async function restart(): Promise<void> {
  await core.close();
  await storage.close();
  await open();
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'streams-on-disk-'));
  await open();
});

afterEach(async () => {
  await core.close();
  await storage.close();
  rmSync(folder, { recursive: true });
});

async function recordsOf(stream: Stream): Promise<string[]> {
  const found: string[] = [];
  for (const partition of stream.partitions) {
    for (let offset = partition.startOffset; offset < partition.endOffset; ) {
      const bytes = await partition.read(offset, 1_000);
      for (const batch of iterateBatches(bytes)) {
        for (const record of decodeRecords(batch, { decompress, bytesMax: 1 << 20 })) {
          found.push(`${partition.index} ${record.offset} ${record.key} ${record.value}`);
          offset = record.offset + 1;
        }
      }
    }
  }
  return found;
}

it('messages of a rule are there after a restart under key and offset, and new ones follow', async () => {
  const definition = {
    match: 'devices/{device}/telemetry',
    stream: 'telemetry',
    key: '{device}',
    partitions: 1,
  };
  await core.rules.put('r', definition);
  const receipts = new Receipts();
  let publisher = core.openPublisher({ principal: ANONYMOUS, congested: () => undefined });
  const publish = (device: string, body: string, token: number) =>
    publisher.publish(
      new Message({ address: `devices/${device}/telemetry`, body: Buffer.from(body), reliability: 1 }),
      receipts,
      token,
    );
  publish('d1', 'a', 1);
  publish('d2', 'b', 2);
  await expect.poll(() => receipts.storedTokens).toEqual([1, 2]);
  await restart();
  publisher = core.openPublisher({ principal: ANONYMOUS, congested: () => undefined });
  publish('d1', 'c', 3);
  await expect.poll(() => receipts.storedTokens).toEqual([1, 2, 3]);
  const stream = core.streams.get('telemetry') as Stream;
  expect(await recordsOf(stream)).toEqual(['0 0 d1 a', '0 1 d2 b', '0 2 d1 c']);
  expect([...core.rules.list()].map(([name, entry]) => [name, entry.definition])).toEqual([
    ['r', definition],
  ]);
});

it('a compressed batch reaches a queue record by record and is read back as it came', async () => {
  const queue = await core.queues.declare(queueSpec({ name: 'q' }));
  const exchange = core.exchanges;
  exchange.bind({
    exchange: 'alerts',
    target: { kind: 'queue', name: 'q' },
    key: 'fire',
    match: null,
    arguments: [],
  });
  const stream = await core.streams.declare(spec('alerts.fire', { captures: [] }));
  const plain = batchOf(['one', 'two'], 'k');
  const header = Buffer.from(plain.subarray(0, 61));
  header.writeInt16BE(1, 21);
  const batch = Buffer.concat([header, gzipSync(plain.subarray(61))]);
  batch.writeInt32BE(batch.length - 12, 8);
  const sent = Buffer.from(restamp(batch));
  stream.partitions[0]?.appendBatch(batch, null, 0);
  const consumer = collect();
  queue.consume(consumer, { settled: true, exclusive: false, priority: 0 }).grant(10);
  await clock.turn();
  expect(consumer.bodies).toEqual(['one', 'two']);
  expect((await stream.partitions[0]?.read(0, 1))?.subarray(12)).toEqual(sent.subarray(12));
});

it('idempotent producers are known again after a restart, from a snapshot and from headers', async () => {
  const stream = await core.streams.declare(spec('t'));
  for (let i = 0; i < 5; i++) stream.partitions[0]?.appendBatch(producerBatch(3n, 0, i), null, 0);
  await restart();
  const again = core.streams.get('t')?.partitions[0];
  expect(again?.endOffset).toBe(5);
  expect(again?.appendBatch(producerBatch(3n, 0, 4), null, 0)).toEqual({ baseOffset: 4, duplicate: true });
  expect(again?.appendBatch(producerBatch(3n, 0, 5), null, 0)).toEqual({ baseOffset: 5, duplicate: false });
});

it('a deleted stream leaves no file, and one of the same name begins empty', async () => {
  const stream = await core.streams.declare(spec('t', { partitions: 3 }));
  for (const partition of stream.partitions) partition.appendBatch(batchOf(['x']), null, 0);
  await core.streams.delete('t');
  await restart();
  expect(core.streams.get('t')).toBeUndefined();
  const again = await core.streams.declare(spec('t', { partitions: 3 }));
  expect(again.partitions.map(({ endOffset }) => endOffset)).toEqual([0, 0, 0]);
});

it('committed positions and producer ids go on after a restart', async () => {
  const cursor = { offset: 7, leaderEpoch: 0, metadata: 'here', committedAtMs: 5 };
  core.cursors.commit('group/with%odd', 'a.b', 2, cursor);
  const before = core.streams.newProducerId();
  await restart();
  expect(core.cursors.get('group/with%odd', 'a.b', 2)).toEqual(cursor);
  expect(core.streams.newProducerId()).toBeGreaterThan(before);
});
