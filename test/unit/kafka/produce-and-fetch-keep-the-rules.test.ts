/** Produce and Fetch on one connection: order, acknowledgements, refusals, long polls and fetch sessions. */

import { crc32c } from '@node-rs/crc32';
import { beforeEach, describe, expect, it } from 'vitest';
import { fetchApi, initProducerIdApi, produceApi } from '../../../adapters/kafka/codec/data-apis.ts';
import {
  apiVersionsApi,
  metadataApi,
  saslAuthenticateApi,
  saslHandshakeApi,
} from '../../../adapters/kafka/codec/discovery-apis.ts';
import { ERRORS, type ErrorName } from '../../../adapters/kafka/errors.ts';
import { recordCodec } from '../../../mappings/kafka.ts';
import { encodeBatch } from '../../../src/core/batch-builder.ts';
import { openTestCore, type TestCore } from '../../support/core.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { openConnection, type TestConnection } from './connection-in-process.ts';

const crc = (bytes: Uint8Array): number => crc32c(bytes as Buffer);
const code = (name: ErrorName): number => ERRORS[name].code;
const TOPIC = 't';

let test: TestCore;
let connection: TestConnection;

beforeEach(async () => {
  test = await openTestCore({ core: { records: recordCodec, crc32c: crc } });
  connection = openConnection(test.core, test.clock);
  await test.core.streams.declare({
    name: TOPIC,
    partitions: 2,
    captures: [],
    log: { segmentBytes: 1 << 20, retentionBytes: -1, retentionMs: -1 },
    settings: {},
  });
});

function batch(count = 1, producer = { id: -1n, epoch: -1, baseSequence: -1 }, bytes = 5): Buffer {
  const record = { key: null, value: Buffer.alloc(bytes, 'v'), headers: [], timestampMs: 1_700_000_000_000 };
  return encodeBatch(
    Array.from({ length: count }, () => record),
    crc,
    producer,
  );
}

interface Production {
  readonly acks?: number;
  readonly version?: number;
  readonly topic?: string;
  readonly index?: number;
  readonly transactionalId?: string | null;
}

function produce(records: Buffer | null, options: Production = {}): number {
  const { acks = -1, version = 9, topic = TOPIC, index = 0, transactionalId = null } = options;
  const topicData = [{ name: topic, partitionData: [{ index, records }] }];
  return connection.ask(produceApi, version, { transactionalId, acks, timeoutMs: 1_000, topicData });
}

async function produced(records: Buffer | null, options: Production = {}) {
  const id = produce(records, options);
  await test.clock.turn();
  return connection.answer(produceApi, options.version ?? 9, id)?.responses[0]?.partitionResponses[0];
}

describe('produce', () => {
  it('tells the offset of each batch', async () => {
    expect(await produced(batch(3))).toMatchObject({ errorCode: 0, baseOffset: 0, logStartOffset: 0 });
    expect(await produced(batch(1), { acks: 1 })).toMatchObject({ errorCode: 0, baseOffset: 3 });
    expect(await produced(batch(1), { index: 1 })).toMatchObject({ errorCode: 0, baseOffset: 0 });
  });

  it('answers acks=all when the disk has it, acks=1 at once and acks=0 never', async () => {
    const all = produce(batch());
    expect(connection.answer(produceApi, 9, all)).toBeNull();
    await test.clock.turn();
    expect(connection.answer(produceApi, 9, all)).not.toBeNull();
    const one = produce(batch(), { acks: 1 });
    expect(connection.answer(produceApi, 9, one)).not.toBeNull();
    produce(batch(), { acks: 0 });
    await test.clock.turn();
    expect(connection.takeAnswers()).toBe(0);
    expect(test.core.streams.get(TOPIC)?.partitions[0]?.endOffset).toBe(3);
  });

  it('says so where the disk refuses', async () => {
    test.storage.failCommits = true;
    expect(await produced(batch())).toMatchObject({ errorCode: code('KAFKA_STORAGE_ERROR'), baseOffset: -1 });
    test.storage.failCommits = false;
    expect(await produced(batch())).toMatchObject({ errorCode: 0 });
  });

  it('answers in the order of the requests, whatever each waits for', async () => {
    const ids = [produce(batch()), produce(batch(), { acks: 1 }), produce(batch())];
    const metadata = connection.ask(metadataApi, 1, { topics: [{ name: TOPIC }] });
    expect(connection.paused).toBe(true);
    await test.clock.turn();
    await test.clock.turn();
    for (const id of ids) expect(connection.answer(produceApi, 9, id)).not.toBeNull();
    expect(connection.answer(metadataApi, 1, metadata)?.topics[0]?.name).toBe(TOPIC);
    expect(connection.paused).toBe(false);
  });

  it('reads no further than so many unanswered requests', async () => {
    connection = openConnection(test.core, test.clock, { producesInFlightMax: 2 });
    for (let i = 0; i < 3; i++) produce(batch());
    expect(test.core.streams.get(TOPIC)?.partitions[0]?.endOffset).toBe(2);
    expect(connection.paused).toBe(true);
    await test.clock.turn();
    await test.clock.turn();
    expect(test.core.streams.get(TOPIC)?.partitions[0]?.endOffset).toBe(3);
    expect(connection.paused).toBe(false);
  });

  it('refuses what is no single whole batch of format 2', async () => {
    const bad = batch();
    bad[70] = (bad[70] as number) ^ 1;
    const old = batch();
    old[16] = 1;
    const zstd = batch();
    zstd.writeInt16BE(4, 21);
    zstd.writeUInt32BE(crc(zstd.subarray(21)) >>> 0, 17);
    const transactional = batch();
    transactional.writeInt16BE(0x10, 21);
    const cases: readonly [Buffer | null, Production, ErrorName][] = [
      [bad, {}, 'CORRUPT_MESSAGE'],
      [batch().subarray(0, 40), {}, 'CORRUPT_MESSAGE'],
      [batch().subarray(0, -1), {}, 'CORRUPT_MESSAGE'],
      [Buffer.concat([batch(), batch()]), {}, 'INVALID_RECORD'],
      [null, {}, 'INVALID_RECORD'],
      [old, {}, 'UNSUPPORTED_FOR_MESSAGE_FORMAT'],
      [batch(), { version: 2 }, 'UNSUPPORTED_FOR_MESSAGE_FORMAT'],
      [zstd, { version: 3 }, 'UNSUPPORTED_COMPRESSION_TYPE'],
      [batch(1, undefined, 1_048_588), {}, 'MESSAGE_TOO_LARGE'],
      [transactional, {}, 'INVALID_TXN_STATE'],
      [batch(), { transactionalId: 'x' }, 'INVALID_TXN_STATE'],
      [batch(), { acks: 2 }, 'INVALID_REQUIRED_ACKS'],
      [batch(), { index: 2 }, 'UNKNOWN_TOPIC_OR_PARTITION'],
      [batch(), { topic: 'never.made' }, 'UNKNOWN_TOPIC_OR_PARTITION'],
    ];
    for (const [records, options, name] of cases) {
      expect((await produced(records, options))?.errorCode, name).toBe(code(name));
    }
    expect(test.core.streams.get(TOPIC)?.partitions[0]?.endOffset).toBe(0);
  });

  it('stores a batch of an idempotent producer once, and sees gaps', async () => {
    const id = connection.ask(initProducerIdApi, 4, { transactionalId: null });
    const { producerId, producerEpoch } = connection.answer(initProducerIdApi, 4, id) ?? {
      producerId: -1,
      producerEpoch: -1,
    };
    const numbered = (baseSequence: number): Buffer =>
      batch(2, { id: BigInt(producerId), epoch: producerEpoch, baseSequence });
    expect(await produced(numbered(0))).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect(await produced(numbered(0))).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect(await produced(numbered(4))).toMatchObject({ errorCode: code('OUT_OF_ORDER_SEQUENCE_NUMBER') });
    expect(await produced(numbered(2))).toMatchObject({ errorCode: 0, baseOffset: 2 });
    const transactional = connection.ask(initProducerIdApi, 4, { transactionalId: 'x' });
    expect(connection.answer(initProducerIdApi, 4, transactional)?.errorCode).toBe(
      code('UNSUPPORTED_VERSION'),
    );
  });

  it('survives its client', async () => {
    produce(batch());
    connection.end();
    await test.clock.turn();
    expect(test.core.streams.get(TOPIC)?.partitions[0]?.endOffset).toBe(1);
  });
});

interface Fetching {
  readonly offset?: number;
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly partitionBytes?: number;
  readonly session?: readonly [id: number, epoch: number];
  readonly partitions?: readonly number[];
  readonly forget?: readonly number[];
  readonly topic?: string;
}

const VERSION = 11;

function fetch(options: Fetching = {}): number {
  const { offset = 0, maxWaitMs = 0, minBytes = 1, maxBytes = 1 << 20, partitionBytes = 1 << 20 } = options;
  const { session = [0, -1], partitions = [0], forget = [], topic = TOPIC } = options;
  return connection.ask(fetchApi, VERSION, {
    maxWaitMs,
    minBytes,
    maxBytes,
    sessionId: session[0],
    sessionEpoch: session[1],
    topics:
      partitions.length === 0
        ? []
        : [
            {
              topic,
              partitions: partitions.map((partition) => ({
                partition,
                fetchOffset: offset,
                partitionMaxBytes: partitionBytes,
              })),
            },
          ],
    forgottenTopicsData: forget.length === 0 ? [] : [{ topic, partitions: forget }],
  });
}

async function fetched(options: Fetching = {}) {
  const id = fetch(options);
  await test.clock.turn();
  return connection.answer(fetchApi, VERSION, id);
}

const partitionsOf = (response: Awaited<ReturnType<typeof fetched>>) =>
  response?.responses.flatMap(({ partitions }) => partitions) ?? [];

describe('fetch', () => {
  it('gives stored batches as they are, from the one that holds the offset', async () => {
    await produced(batch(3));
    await produced(batch(2));
    const [all] = partitionsOf(await fetched());
    expect(all).toMatchObject({ errorCode: 0, highWatermark: 5, lastStableOffset: 5, logStartOffset: 0 });
    expect(all?.records?.length).toBe(batch(3).length + batch(2).length);
    const [second] = partitionsOf(await fetched({ offset: 4 }));
    expect(second?.records?.length).toBe(batch(2).length);
    expect(Number(second?.records?.readBigInt64BE(0))).toBe(3);
  });

  it('gives the first batch however large, and no more than was asked for', async () => {
    for (let i = 0; i < 4; i++) await produced(batch(1, undefined, 1_000));
    for (let i = 0; i < 4; i++) await produced(batch(1, undefined, 1_000), { index: 1 });
    const size = batch(1, undefined, 1_000).length;
    expect(partitionsOf(await fetched({ maxBytes: 10 }))[0]?.records?.length).toBe(size);
    expect(partitionsOf(await fetched({ partitionBytes: 10 }))[0]?.records?.length).toBe(size);
    const both = partitionsOf(await fetched({ partitions: [0, 1], maxBytes: 5 * size }));
    expect(both.map(({ records }) => records?.length)).toEqual([4 * size, size]);
    const tight = partitionsOf(await fetched({ partitions: [0, 1], maxBytes: 4 * size + 10 }));
    expect(tight.map(({ records }) => records?.length)).toEqual([4 * size, 0]);
  });

  it('waits for the least bytes or the end of its time', async () => {
    const id = fetch({ maxWaitMs: 500 });
    await test.clock.turn();
    expect(connection.answer(fetchApi, VERSION, id)).toBeNull();
    const other = openConnection(test.core, test.clock);
    connection = other;
    await produced(batch());
    await test.clock.turn();
    const timed = fetch({ offset: 1, maxWaitMs: 500, minBytes: 10_000 });
    await test.clock.turn();
    test.clock.advance(499);
    await test.clock.turn();
    expect(connection.answer(fetchApi, VERSION, timed)).toBeNull();
    test.clock.advance(2);
    await test.clock.turn();
    expect(partitionsOf(connection.answer(fetchApi, VERSION, timed))).toMatchObject([
      { errorCode: 0, highWatermark: 1 },
    ]);
  });

  it('wakes when a record comes', async () => {
    const reading = connection;
    const id = fetch({ maxWaitMs: 60_000 });
    await test.clock.turn();
    connection = openConnection(test.core, test.clock);
    await produced(batch());
    await test.clock.turn();
    const [woken] = partitionsOf(reading.answer(fetchApi, VERSION, id));
    expect(woken?.records?.length).toBe(batch().length);
  });

  it('leaves nothing behind when its client goes', async () => {
    const timers = test.clock.timerCount;
    connection = openConnection(test.core, test.clock);
    fetch({ maxWaitMs: 60_000 });
    await test.clock.turn();
    expect(test.clock.timerCount).toBe(timers + 2);
    connection.end();
    await test.clock.turn();
    expect(test.clock.timerCount).toBe(timers);
  });

  it('tells of offsets outside and of topics that are not there', async () => {
    await produced(batch());
    expect(partitionsOf(await fetched({ offset: 2 }))[0]?.errorCode).toBe(code('OFFSET_OUT_OF_RANGE'));
    expect(partitionsOf(await fetched({ offset: -5 }))[0]?.errorCode).toBe(code('OFFSET_OUT_OF_RANGE'));
    expect(partitionsOf(await fetched({ topic: 'no' }))[0]?.errorCode).toBe(
      code('UNKNOWN_TOPIC_OR_PARTITION'),
    );
    expect(partitionsOf(await fetched({ partitions: [7] }))[0]?.errorCode).toBe(
      code('UNKNOWN_TOPIC_OR_PARTITION'),
    );
  });
});

describe('a fetch session', () => {
  it('tells everything first and then only news', async () => {
    await produced(batch());
    const full = await fetched({ session: [0, 0], partitions: [0, 1] });
    const id = full?.sessionId ?? 0;
    expect(id).toBeGreaterThan(0);
    expect(partitionsOf(full)).toHaveLength(2);
    // The offset of partition 0 moves on; partition 1 is not named and remembered.
    const quiet = await fetched({ session: [id, 1], offset: 1, partitions: [0] });
    expect(quiet).toMatchObject({ errorCode: 0, sessionId: id, responses: [] });
    await produced(batch(), { index: 1 });
    const news = await fetched({ session: [id, 2], partitions: [] });
    expect(partitionsOf(news).map(({ partitionIndex }) => partitionIndex)).toEqual([1]);
    const again = await fetched({ session: [id, 3], partitions: [], forget: [1] });
    expect(partitionsOf(again)).toEqual([]);
  });

  it('refuses an epoch out of turn, an unknown id, and starts anew', async () => {
    const id = (await fetched({ session: [0, 0] }))?.sessionId ?? 0;
    expect((await fetched({ session: [id, 5] }))?.errorCode).toBe(code('INVALID_FETCH_SESSION_EPOCH'));
    expect((await fetched({ session: [id + 1, 1] }))?.errorCode).toBe(code('FETCH_SESSION_ID_NOT_FOUND'));
    const renewed = (await fetched({ session: [id, 0] }))?.sessionId ?? 0;
    expect(renewed).not.toBe(id);
    expect((await fetched({ session: [id, 1] }))?.errorCode).toBe(code('FETCH_SESSION_ID_NOT_FOUND'));
    expect((await fetched({ session: [renewed, -1] }))?.sessionId).toBe(0);
    expect((await fetched({ session: [renewed, 1] }))?.errorCode).toBe(code('FETCH_SESSION_ID_NOT_FOUND'));
  });

  it('is not given to a client that fetches more partitions than are remembered', async () => {
    connection = openConnection(test.core, test.clock, { fetchSessionPartitionsMax: 1 });
    const response = await fetched({ session: [0, 0], partitions: [0, 1] });
    expect(response?.sessionId).toBe(0);
    expect(partitionsOf(response)).toHaveLength(2);
  });
});

describe('a connection', () => {
  it('answers an unknown version of ApiVersions with what it knows, in the layout of version 0', () => {
    connection.send({ ...apiVersionsApi, flexibleFrom: 3 }, 99, Buffer.from('???'));
    const response = connection.answer(apiVersionsApi, 0, 1);
    expect(response?.errorCode).toBe(code('UNSUPPORTED_VERSION'));
    const offered = new Map(
      response?.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, [minVersion, maxVersion]]),
    );
    expect(offered.get(18)).toEqual([0, 4]);
    // Old clients look for version 0 of these.
    for (const key of [0, 11, 12, 13, 14]) expect(offered.get(key)?.[0]).toBe(0);
    expect(connection.closedFor).toBeNull();
  });

  it('closes on what it cannot read', () => {
    connection.send(metadataApi, 99, Buffer.alloc(0));
    expect(connection.closedFor).toBe('protocol-error');
    connection = openConnection(test.core, test.clock);
    connection.send({ ...metadataApi, key: 999 }, 0, Buffer.alloc(0));
    expect(connection.closedFor).toBe('protocol-error');
  });

  it('names the feature by which gateways know each other, from version 3 on', () => {
    for (const version of [3, 4]) {
      const software = { clientSoftwareName: 'x', clientSoftwareVersion: '1' };
      const answer = connection.answer(
        apiVersionsApi,
        version,
        connection.ask(apiVersionsApi, version, software),
      );
      expect(answer?.supportedFeatures).toEqual([
        { name: 'rosettamq.gateway', minVersion: 1, maxVersion: 1 },
      ]);
    }
  });

  it('closes when it was idle for long', async () => {
    connection = openConnection(test.core, test.clock, { idleTimeoutMs: 1_000 });
    test.clock.advance(900);
    connection.ask(apiVersionsApi, 0, {});
    test.clock.advance(900);
    expect(connection.closedFor).toBeNull();
    test.clock.advance(200);
    expect(connection.closedFor).toBe('keep-alive-timeout');
  });

  it('takes credentials where they are asked for', async () => {
    const authenticator = authenticatorOf(
      async (credentials: {
        readonly kind: string;
        readonly user?: string;
        readonly password?: Uint8Array;
      }) =>
        credentials.kind === 'password' && Buffer.from(credentials.password ?? []).toString() === 'right'
          ? { user: credentials.user ?? '', groups: [], clientId: '' }
          : null,
    );
    const authenticate = async (password: string) => {
      const handshake = connection.ask(saslHandshakeApi, 1, { mechanism: 'PLAIN' });
      expect(connection.answer(saslHandshakeApi, 1, handshake)?.errorCode).toBe(0);
      const id = connection.ask(saslAuthenticateApi, 2, { authBytes: Buffer.from(`\0alice\0${password}`) });
      await test.clock.turn();
      return connection.answer(saslAuthenticateApi, 2, id)?.errorCode;
    };
    connection = openConnection(test.core, test.clock, {}, authenticator);
    expect(await authenticate('wrong')).toBe(code('SASL_AUTHENTICATION_FAILED'));
    connection = openConnection(test.core, test.clock, {}, authenticator);
    expect(await authenticate('right')).toBe(0);
    const metadata = connection.ask(metadataApi, 1, { topics: [] });
    await test.clock.turn();
    expect(connection.answer(metadataApi, 1, metadata)?.topics).toEqual([]);
    connection = openConnection(test.core, test.clock, {}, authenticator);
    connection.ask(metadataApi, 1, { topics: [] });
    await test.clock.turn();
    expect(connection.closedFor).toBe('not-authorized');
  });
});
