/**
 * An idempotent producer that is killed together with the gateway sends its batches again, and is told that the stream has
 * them already. What was led elsewhere of them has to be there then: in the real storage, killed between any two writes, or
 * with its power lost at any time, and killed again while the batches come once more.
 */

import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { addressFromKafka, kafkaRecordCodec, recordCodec } from '../../../mappings/kafka.ts';
import { decodeRecords, iterateBatches } from '../../../src/core/batch-records.ts';
import { type Core, Pattern } from '../../../src/core/index.ts';
import type { Storage } from '../../../src/core/storage.ts';
import { crc32c, type DurabilityLevel, decompress, openStorage } from '../../../src/storage/index.ts';
import { makeRandom } from '../../crash/seed.ts';
import { collect, openTestCore, queueSpec } from '../../support/core.ts';
import { PowerlessFileSystem } from '../storage/power-loss.ts';
import { copyFolder, FaultyFileSystem, makeFolder } from '../storage/storage-fixture.ts';
import { producerBatch, Receipts, restamp, spec } from './stream-world.ts';

const STREAM = 'alerts.fire';
/** Each producer sends so many batches of two records; one waits for the disk, the other sends on. */
const BATCHES = 3;
const RECORDS = 2;
const FIRST_SEQUENCES = new Map([
  [3n, 0],
  [4n, 100],
]);
const ALL = [0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 105].map(String);

interface Gateway {
  readonly core: Core;
  readonly storage: Storage;
}

const gateways: Gateway[] = [];

/** `killed` gets a copy of the folder before each write from now on. */
async function start(
  folder: string,
  durability: DurabilityLevel,
  killed: string[] = [],
  files = new FaultyFileSystem(),
): Promise<Gateway> {
  const storage = await openStorage({ folder, durability, files, checkpointBytes: 2_000 });
  const { core } = await openTestCore({
    core: {
      storage,
      records: recordCodec,
      codecs: [kafkaRecordCodec],
      crc32c,
      decompress,
      addressFromStream: addressFromKafka,
      randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    },
  });
  const { writev } = files;
  files.writev = (fd, buffers, position) => {
    killed.push(copyFolder(folder));
    return writev.call(files, fd, buffers, position);
  };
  const gateway = { core, storage };
  gateways.push(gateway);
  return gateway;
}

afterEach(async () => {
  for (const gateway of [...gateways]) await stop(gateway);
});

async function declare(gateway: Gateway, copies: boolean): Promise<void> {
  const { core } = gateway;
  await bindQueue(gateway);
  await core.streams.declare(spec(STREAM, { captures: [] }));
  if (copies) await core.streams.declare(spec('copy', { captures: [Pattern.of('alerts/fire')] }));
  await new Promise<void>((resolve) => core.whenStored(() => resolve()));
}

async function bindQueue({ core }: Gateway): Promise<void> {
  await core.queues.declare(queueSpec({ name: 'q', durable: true }));
  const target = { kind: 'queue', name: 'q' } as const;
  core.exchanges.bind({ exchange: 'alerts', target, key: 'fire', match: null, arguments: [] });
}

async function stop({ core, storage }: Gateway): Promise<void> {
  gateways.splice(
    gateways.findIndex((gateway) => gateway.core === core),
    1,
  );
  await core.close();
  await storage.close();
}

/** One batch; resolves when it is stored. */
async function send({ core }: Gateway, producer: bigint, sequence: number): Promise<boolean | undefined> {
  const receipts = new Receipts();
  const batch = producerBatch(producer, 0, sequence, RECORDS);
  const appended = core.streams.get(STREAM)?.partitions[0]?.appendBatch(batch, receipts, 1);
  await expect.poll(() => receipts.storedTokens, { interval: 1 }).toEqual([1]);
  return appended?.duplicate;
}

/** Everything from the first batch on, as producers do that heard nothing; returns which the stream had. */
async function sendAll({ core }: Gateway): Promise<number> {
  const receipts = new Receipts();
  let duplicates = 0;
  for (let batch = 0; batch < BATCHES; batch++) {
    for (const [producer, first] of FIRST_SEQUENCES) {
      const bytes = producerBatch(producer, 0, first + batch * RECORDS, RECORDS);
      if (core.streams.get(STREAM)?.partitions[0]?.appendBatch(bytes, receipts, batch).duplicate)
        duplicates++;
    }
    await expect.poll(() => receipts.storedTokens.length, { interval: 1 }).toBe(2 * (batch + 1));
  }
  return duplicates;
}

async function queued({ core }: Gateway): Promise<string[]> {
  const consumer = collect();
  core.queues.get('q')?.consume(consumer, { settled: true, exclusive: false, priority: 0 }).grant(1_000);
  await expect.poll(() => core.queues.get('q')?.readyCount, { interval: 1 }).toBe(0);
  return consumer.bodies.sort((one, other) => Number(one) - Number(other));
}

async function inStream({ core }: Gateway, name: string): Promise<string[]> {
  const bytes = await core.streams.get(name)?.partitions[0]?.read(0, 1 << 20);
  const records = [...iterateBatches(bytes ?? Buffer.alloc(0))].flatMap((batch) =>
    decodeRecords(batch, { decompress, bytesMax: 1 << 20 }),
  );
  return records.map(({ value }) => String(value)).sort((one, other) => Number(one) - Number(other));
}

it.each(['os', 'fsync'] as const)(
  'durability %s: what was led to a queue is there once',
  { timeout: 20_000 },
  async (durability) => {
    const killed: string[] = [];
    const folder = makeFolder();
    const gateway = await start(folder, durability);
    await declare(gateway, false);
    await stop(gateway);
    await sendAll(await start(folder, durability, killed));
    expect(killed.length).toBeGreaterThanOrEqual(2 * BATCHES);
    let duplicates = 0;
    for (const [index, copy] of killed.entries()) {
      const killedAgain: string[] = [];
      const again = await start(copy, durability, index % 2 === 1 ? killedAgain : []);
      duplicates += await sendAll(again);
      expect(await queued(again), `killed before write ${index}`).toEqual(ALL);
      expect(await inStream(again, STREAM), `killed before write ${index}`).toEqual(ALL);
      for (const [second, other] of killedAgain.slice(0, 4).entries()) {
        const last = await start(other, durability);
        duplicates += await sendAll(last);
        expect(await queued(last), `killed before write ${index}, then ${second}`).toEqual(ALL);
      }
    }
    expect(duplicates).toBeGreaterThan(BATCHES);
  },
);

it('what was led to a queue and into another stream is there, and nothing is led on twice but what one commit held', {
  timeout: 20_000,
}, async () => {
  const killed: string[] = [];
  const folder = makeFolder();
  const gateway = await start(folder, 'os', killed);
  await declare(gateway, true);
  killed.length = 0;
  await sendAll(gateway);
  for (const [index, copy] of killed.entries()) {
    const again = await start(copy, 'os');
    await sendAll(again);
    const copied = await inStream(again, 'copy');
    expect([...new Set(copied)], `killed before write ${index}`).toEqual(ALL);
    expect(copied.length).toBeLessThanOrEqual(ALL.length + 2 * RECORDS);
    expect(await queued(again), `killed before write ${index}`).toEqual(ALL);
  }
});

it.each([1, 2])('a loss of power leaves nothing out that is sent again, seed %i', async (seed) => {
  const folder = makeFolder();
  const files = new PowerlessFileSystem(makeRandom(seed));
  const gateway = await start(folder, 'fsync', [], files);
  await declare(gateway, true);
  const left: string[] = [];
  const losePower = () => void left.push(files.powerLost(folder));
  const { writev } = files;
  files.writev = (fd, buffers, position) => {
    losePower();
    return writev.call(files, fd, buffers, position);
  };
  files.onSynced = losePower;
  await sendAll(gateway);
  let duplicates = 0;
  for (const [index, copy] of left.entries()) {
    const again = await start(copy, 'fsync');
    duplicates += await sendAll(again);
    const copied = await inStream(again, 'copy');
    expect([...new Set(copied)], `lost at ${index}`).toEqual(ALL);
    expect(await queued(again), `lost at ${index}`).toEqual(ALL);
    await stop(again);
  }
  expect(duplicates).toBeGreaterThan(BATCHES);
});

it('a batch that is sent again without a crash in between is led on once', async () => {
  const folder = makeFolder();
  const gateway = await start(folder, 'os');
  await declare(gateway, true);
  await sendAll(gateway);
  expect(await sendAll(gateway)).toBe(2 * BATCHES);
  await stop(gateway);
  const again = await start(folder, 'os');
  expect(await sendAll(again)).toBe(2 * BATCHES);
  expect(await queued(again)).toEqual(ALL);
  expect(await inStream(again, 'copy')).toEqual(ALL);
});

it('a batch that comes again only after a second crash is led on, though others were before', async () => {
  const killed: string[] = [];
  const folder = makeFolder();
  const first = await start(folder, 'os', killed);
  await declare(first, false);
  killed.length = 0;
  await sendAll(first);
  const second = await start(killed[1] as string, 'os');
  expect(await inStream(second, STREAM)).toEqual(['0', '1', '100', '101']);
  expect(await send(second, 3n, 0)).toBe(true);
  expect(await send(second, 3n, 2)).toBe(false);
  const third = await start(copyFolder(killed[1] as string), 'os');
  expect(await send(third, 4n, 100)).toBe(true);
  expect(await queued(third)).toEqual(['0', '1', '2', '3', '100', '101']);
});

it('what the disk has lost of a stream is not taken for led once the stream has grown again', async () => {
  const folder = makeFolder();
  const first = await start(folder, 'os');
  await declare(first, false);
  await sendAll(first);
  await queued(first);
  await stop(first);
  const [log] = readdirSync(join(folder, 'streams'));
  truncateSync(join(folder, 'streams', log as string, '00000000000000000000.log'), 0);
  const killed: string[] = [];
  const second = await start(folder, 'os', killed);
  await sendAll(second);
  expect(await queued(second)).toEqual(ALL);
  for (const [index, copy] of killed.entries()) {
    const again = await start(copy, 'os');
    await sendAll(again);
    expect(await queued(again), `killed before write ${index}`).toEqual(ALL);
  }
});

it('what many producers had acknowledged is not led on again, though each left a batch in doubt', async () => {
  const producers = 40;
  const killed: string[] = [];
  const folder = makeFolder();
  const first = await start(folder, 'os', killed);
  await declare(first, false);
  const sendRound = async ({ core }: Gateway, sequence: number): Promise<void> => {
    const receipts = new Receipts();
    const partition = core.streams.get(STREAM)?.partitions[0];
    for (let id = 1; id <= producers; id++)
      partition?.appendBatch(producerBatch(BigInt(id), 0, sequence, RECORDS), receipts, id);
    await expect.poll(() => receipts.storedTokens.length, { interval: 1 }).toBe(producers);
  };
  await sendRound(first, 0);
  await sendRound(first, RECORDS);
  // After its stream, before its rows.
  const again = await start(killed.at(-1) as string, 'os');
  expect(await inStream(again, STREAM)).toHaveLength(2 * producers * RECORDS);
  await sendRound(again, 0);
  await sendRound(again, RECORDS);
  expect(await queued(again)).toHaveLength(2 * producers * RECORDS);
});

it('a batch that was taken unread and cannot be read is known all the same', async () => {
  const folder = makeFolder();
  const first = await start(folder, 'os');
  await first.core.streams.declare(spec(STREAM, { captures: [] }));
  const unreadable = (): Buffer => {
    const batch = producerBatch(3n, 0, 0);
    // Its record says that it is longer than the batch.
    batch[61] = 0x7e;
    return restamp(batch);
  };
  const append = async ({ core }: Gateway): Promise<boolean | undefined> => {
    const receipts = new Receipts();
    const appended = core.streams.get(STREAM)?.partitions[0]?.appendBatch(unreadable(), receipts, 1);
    await expect.poll(() => receipts.storedTokens, { interval: 1 }).toEqual([1]);
    return appended?.duplicate;
  };
  expect(await append(first)).toBe(false);
  const again = await start(copyFolder(folder), 'os');
  await bindQueue(again);
  expect(await append(again)).toBe(true);
  expect(await send(again, 3n, 1)).toBe(false);
  expect(await queued(again)).toEqual(['1', '2']);
});
