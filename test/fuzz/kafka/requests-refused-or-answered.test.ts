/**
 * Requests under mutation: whatever comes, the codec either reads it or throws `MalformedRequest`, quickly and without
 * asking for more memory than the input could fill; and a connection either answers or closes with a reason that
 * tells of the protocol, never of a failure of ours. `ROSETTAMQ_FUZZ_COUNT` sets how many inputs, `ROSETTAMQ_FUZZ_SEED`
 * repeats a failure.
 */

import { crc32c } from '@node-rs/crc32';
import { expect, it } from 'vitest';
import { decodeRequest, encodeRequest } from '../../../adapters/kafka/codec/compile.ts';
import { decodeProduceRequest } from '../../../adapters/kafka/codec/produce-request.ts';
import { MalformedRequest, Reader } from '../../../adapters/kafka/codec/reader.ts';
import type { Api } from '../../../adapters/kafka/codec/schema.ts';
import { Writer } from '../../../adapters/kafka/codec/writer.ts';
import { recordCodec } from '../../../mappings/kafka.ts';
import { encodeBatch } from '../../../src/core/batch-builder.ts';
import { openTestCore } from '../../support/core.ts';
import { ALL_APIS } from '../../unit/kafka/all-apis.ts';
import { openConnection } from '../../unit/kafka/connection-in-process.ts';
import { SampleMaker, versionsOf } from '../../unit/kafka/samples.ts';

const INPUTS = Number(process.env.ROSETTAMQ_FUZZ_COUNT ?? 50_000);
const SEED = Number(process.env.ROSETTAMQ_FUZZ_SEED ?? Date.now() % 2 ** 31);
/** One in so many inputs goes through a whole connection as well. */
const CONNECTION_EVERY = 25;
const PRODUCE_KEY = 0;

function randomSource(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface Seed {
  readonly api: Api;
  readonly version: number;
  readonly body: Buffer;
}

const seeds: Seed[] = ALL_APIS.flatMap((api) =>
  versionsOf(api).map((version) => {
    const writer = new Writer();
    encodeRequest(api, version, writer, sampleOf(api, version));
    return { api, version, body: Buffer.from(writer.cut()) };
  }),
);

/** Samples that get further than the first check: real batches, and names that are taken. */
function sampleOf(api: Api, version: number): object {
  const sample = new SampleMaker().fields(api.request, version);
  if (api.name !== 'Produce') return sample;
  const record = { key: null, value: Buffer.from('value'), headers: [], timestampMs: 1_700_000_000_000 };
  const records = encodeBatch([record, record], (bytes) => crc32c(bytes as Buffer));
  return {
    ...sample,
    transactionalId: null,
    acks: 1,
    topicData: [{ name: 'fuzzed', partitionData: [{ index: 0, records }] }],
  };
}

const TELLING = [0, 1, 2, 3, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff];

function mutate(bytes: Buffer, random: (below: number) => number): Buffer {
  let mutated = Buffer.from(bytes);
  for (let times = random(4); times >= 0; times--) {
    const at = random(Math.max(1, mutated.length));
    const kind = random(7);
    if (kind < 2) mutated[at] = random(256);
    else if (kind < 4) mutated[at] = TELLING[random(TELLING.length)] as number;
    else if (kind === 4) mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + random(5))]);
    else if (kind === 5) mutated = mutated.subarray(0, at);
    else {
      const inserted = Buffer.from(Array.from({ length: 1 + random(4) }, () => random(256)));
      mutated = Buffer.concat([mutated.subarray(0, at), inserted, mutated.subarray(at)]);
    }
  }
  return mutated;
}

it(`reads or refuses ${INPUTS} mutated requests (seed ${SEED})`, { timeout: 600_000 }, () => {
  const random = randomSource(SEED);
  let refused = 0;
  let slowestMs = 0;
  for (let i = 0; i < INPUTS; i++) {
    const { api, version, body } = seeds[random(seeds.length)] as Seed;
    const input = mutate(body, random);
    const begun = performance.now();
    try {
      decodeRequest(api, version, new Reader(input));
      if (api.key === PRODUCE_KEY) decodeProduceRequest(version, new Reader(input));
    } catch (error) {
      if (!(error instanceof MalformedRequest)) {
        throw new Error(`${api.name} ${version} ${input.toString('hex')}`, { cause: error });
      }
      refused++;
    }
    slowestMs = Math.max(slowestMs, performance.now() - begun);
  }
  expect(refused).toBeGreaterThan(INPUTS / 20);
  expect(refused).toBeLessThan(INPUTS);
  expect(slowestMs).toBeLessThan(1_000);
});

it(`answers or closes on mutated requests (seed ${SEED})`, { timeout: 600_000 }, async () => {
  const random = randomSource(SEED + 1);
  const test = await openTestCore({
    core: { records: recordCodec, crc32c: (bytes) => crc32c(bytes as Buffer) },
  });
  await test.core.streams.declare({
    name: 'fuzzed',
    partitions: 2,
    captures: [],
    log: { segmentBytes: 1 << 20, retentionBytes: -1, retentionMs: -1 },
    settings: {},
  });
  const reasons = new Map<string, number>();
  let answered = 0;
  let connection = openConnection(test.core, test.clock);
  for (let i = 0; i < INPUTS / CONNECTION_EVERY; i++) {
    const { api, version, body } = seeds[random(seeds.length)] as Seed;
    connection.send(api, version, mutate(body, random));
    // Waiting fetches and joins end by themselves.
    test.clock.advance(400_000);
    await test.clock.turn();
    answered += connection.takeAnswers();
    if (connection.closedFor === null) continue;
    reasons.set(connection.closedFor, (reasons.get(connection.closedFor) ?? 0) + 1);
    expect(connection.closedFor, `${api.name} ${version}: ${connection.closedDetail}`).toBe('protocol-error');
    connection = openConnection(test.core, test.clock);
  }
  expect(answered).toBeGreaterThan(INPUTS / CONNECTION_EVERY / 20);
  expect(reasons.get('protocol-error') ?? 0).toBeGreaterThan(0);
  await test.core.close();
});
