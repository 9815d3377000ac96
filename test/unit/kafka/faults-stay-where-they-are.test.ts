/** What goes wrong with one request, connection or group, and what everything else notices of it: nothing. */

import { crc32c } from '@node-rs/crc32';
import { beforeEach, describe, expect, it } from 'vitest';
import { describeConfigsApi, incrementalAlterConfigsApi } from '../../../adapters/kafka/codec/config-apis.ts';
import {
  fetchApi,
  initProducerIdApi,
  listOffsetsApi,
  produceApi,
} from '../../../adapters/kafka/codec/data-apis.ts';
import {
  apiVersionsApi,
  metadataApi,
  saslAuthenticateApi,
  saslHandshakeApi,
} from '../../../adapters/kafka/codec/discovery-apis.ts';
import { deleteGroupsApi } from '../../../adapters/kafka/codec/group-admin-apis.ts';
import { joinGroupApi, offsetCommitApi, offsetFetchApi } from '../../../adapters/kafka/codec/group-apis.ts';
import { createTopicsApi } from '../../../adapters/kafka/codec/topic-apis.ts';
import { ERRORS, type ErrorName } from '../../../adapters/kafka/errors.ts';
import { recordCodec } from '../../../mappings/kafka.ts';
import { encodeBatch } from '../../../src/core/batch-builder.ts';
import { CoreError } from '../../../src/core/index.ts';
import { openTestCore, type TestCore } from '../../support/core.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { frameOf, openConnection, type TestConnection } from './connection-in-process.ts';

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
    partitions: 1,
    captures: [],
    log: { segmentBytes: 1 << 20, retentionBytes: -1, retentionMs: 5_000 },
    settings: {},
  });
});

function batchAt(timestampMs: number): Buffer {
  return encodeBatch([{ key: null, value: Buffer.from('v'), headers: [], timestampMs }], crc, {
    id: -1n,
    epoch: -1,
    baseSequence: -1,
  });
}

function produce(topic: string, acks: number): number {
  const partitionData = [{ index: 0, records: batchAt(1) }];
  const topicData = [{ name: topic, partitionData }];
  return connection.ask(produceApi, 9, { acks, timeoutMs: 1_000, topicData });
}

function fetch(topics: readonly string[]): number {
  return connection.ask(fetchApi, 11, {
    maxWaitMs: 60_000,
    minBytes: 1,
    maxBytes: 1_000,
    sessionEpoch: -1,
    topics: topics.map((topic) => ({ topic, partitions: [{ partition: 0, partitionMaxBytes: 1_000 }] })),
  });
}

describe('a connection', () => {
  it('begins nothing that came behind a request that cannot be read', async () => {
    const broken = frameOf({ ...metadataApi, key: 999 }, 0, 1, Buffer.alloc(0));
    connection.receive(Buffer.concat([broken, frameOf(apiVersionsApi, 0, 2, Buffer.alloc(0))]));
    await test.clock.turn();
    expect(connection.closedFor).toBe('protocol-error');
    expect(connection.takeAnswers()).toBe(0);
  });

  it('counts requests that wait for an earlier one among the unfinished', async () => {
    connection = openConnection(test.core, test.clock, { unfinishedBytesMax: 2_000 });
    const large = frameOf(metadataApi, 1, 9, Buffer.alloc(1_500));
    const sendInParts = (): void => {
      connection.receive(large.subarray(0, 100));
      connection.receive(large.subarray(100));
    };
    fetch([TOPIC]);
    sendInParts();
    expect(connection.closedFor).toBeNull();
    sendInParts();
    expect(connection.closedFor).toBe('protocol-error');
    expect(connection.closedDetail).toContain('unfinishedBytesMax');
  });

  it('is closed where its client does not read what it asked for', () => {
    connection = openConnection(test.core, test.clock, { idleTimeoutMs: 1_000 });
    connection.pendingBytes = 1 << 30;
    connection.ask(apiVersionsApi, 0, {});
    test.clock.advance(2_100);
    expect(connection.closedFor).toBe('keep-alive-timeout');
  });

  it('takes one guess of the credentials, and no second identity', async () => {
    const authenticator = authenticatorOf(
      async (credentials: { readonly kind: string; readonly user?: string }) =>
        credentials.user === 'alice' ? { user: 'alice', groups: [], clientId: '' } : null,
    );
    const authenticate = async (user: string): Promise<number | undefined> => {
      const handshake = connection.ask(saslHandshakeApi, 1, { mechanism: 'PLAIN' });
      const answer = connection.answer(saslHandshakeApi, 1, handshake);
      if (answer?.errorCode !== 0) return answer?.errorCode;
      const id = connection.ask(saslAuthenticateApi, 2, { authBytes: Buffer.from(`\0${user}\0x`) });
      await test.clock.turn();
      return connection.answer(saslAuthenticateApi, 2, id)?.errorCode;
    };
    connection = openConnection(test.core, test.clock, {}, authenticator);
    expect(await authenticate('bob')).toBe(code('SASL_AUTHENTICATION_FAILED'));
    expect(connection.closedFor).toBe('not-authorized');
    connection = openConnection(test.core, test.clock, {}, authenticator);
    expect(await authenticate('alice')).toBe(0);
    expect(await authenticate('alice')).toBe(code('ILLEGAL_SASL_STATE'));
  });

  it('ends where a batch is refused and acks=0 leaves no other way to tell', async () => {
    produce(TOPIC, 0);
    await test.clock.turn();
    expect(connection.closedFor).toBeNull();
    produce('gone', 0);
    expect(connection.closedFor).toBe('protocol-error');
  });
});

describe('a connection that must go', () => {
  const isDone = (): boolean => connection.closedFor !== null;

  it('is told first what became of its batches', async () => {
    produce(TOPIC, -1);
    connection.disconnect();
    connection.ask(apiVersionsApi, 0, {});
    expect(isDone()).toBe(false);
    await test.clock.turn();
    expect(connection.takeAnswers()).toBe(1);
    expect(connection.closedFor).toBe('shutting-down');
  });

  it('says of batches that come meanwhile that it does not take them', async () => {
    let isSettled = false;
    connection.settle(() => {
      isSettled = true;
    });
    const id = produce(TOPIC, -1);
    await test.clock.turn();
    const answer = connection.answer(produceApi, 9, id);
    expect(answer?.responses[0]?.partitionResponses[0]).toMatchObject({ errorCode: 6, baseOffset: -1 });
    expect(isSettled).toBe(false);
    await test.clock.advance(1_000);
    expect(isSettled).toBe(true);
  });

  it('takes batches of who would not hear of it', async () => {
    connection.settle(() => {});
    produce(TOPIC, 0);
    await test.clock.turn();
    expect(connection.closedFor).toBeNull();
    expect(test.core.streams.get(TOPIC)?.partitions[0]?.endOffset).toBe(1);
  });

  it('does not hold up anybody with a long poll', () => {
    fetch([TOPIC]);
    connection.disconnect();
    expect(connection.closedFor).toBe('shutting-down');
  });
});

describe('a fetch', () => {
  it('of nothing is answered at once', async () => {
    const id = fetch([]);
    await test.clock.turn();
    expect(connection.answer(fetchApi, 11, id)?.responses).toEqual([]);
  });

  it('that waits is told when its topic is deleted', async () => {
    const id = fetch([TOPIC]);
    await test.clock.turn();
    expect(connection.answer(fetchApi, 11, id)).toBeNull();
    await test.core.streams.delete(TOPIC);
    await test.clock.turn();
    expect(connection.answer(fetchApi, 11, id)?.responses[0]?.partitions[0]?.errorCode).toBe(
      code('UNKNOWN_TOPIC_OR_PARTITION'),
    );
  });

  it('leaves nothing behind when its client goes while it reads', async () => {
    const timers = test.clock.timerCount;
    connection = openConnection(test.core, test.clock);
    fetch([TOPIC]);
    connection.end();
    await test.clock.turn();
    expect(test.clock.timerCount).toBe(timers);
  });
});

describe('topics', () => {
  it('are looked for among all streams now and then only, however many ids are made up', async () => {
    let walks = 0;
    const { streams } = test.core;
    const list = streams.list.bind(streams);
    streams.list = () => {
      walks++;
      return list();
    };
    const topics = Array.from({ length: 1_000 }, (_, i) => ({
      name: null,
      topicId: i.toString(16).padStart(32, 'f'),
    }));
    const id = connection.ask(metadataApi, 12, { topics });
    await test.clock.turn();
    const told = connection.answer(metadataApi, 12, id)?.topics;
    expect(new Set(told?.map(({ errorCode }) => errorCode))).toEqual(new Set([code('UNKNOWN_TOPIC_ID')]));
    expect(walks).toBeLessThan(3);
    // One that was made since is known as soon as anybody was told of it.
    const named = connection.ask(metadataApi, 12, { topics: [{ name: 'new', topicId: '0'.repeat(32) }] });
    await test.clock.turn();
    const topicId = connection.answer(metadataApi, 12, named)?.topics[0]?.topicId as string;
    const found = connection.ask(metadataApi, 12, { topics: [{ name: null, topicId }] });
    await test.clock.turn();
    expect(connection.answer(metadataApi, 12, found)?.topics[0]?.name).toBe('new');
  });

  it('are made once, though two ask at the same time', async () => {
    const other = openConnection(test.core, test.clock);
    const wanted = (numPartitions: number) => ({
      topics: [{ name: 'both', numPartitions, replicationFactor: 1 }],
      timeoutMs: 1_000,
    });
    const first = connection.ask(createTopicsApi, 4, wanted(2));
    const second = other.ask(createTopicsApi, 4, wanted(3));
    await test.clock.turn();
    await test.clock.turn();
    expect(connection.answer(createTopicsApi, 4, first)?.topics[0]?.errorCode).toBe(0);
    expect(other.answer(createTopicsApi, 4, second)?.topics[0]?.errorCode).toBe(code('TOPIC_ALREADY_EXISTS'));
  });

  it('tell the retention that they were made with', () => {
    const resources = [{ resourceType: 2, resourceName: TOPIC, configurationKeys: ['retention.ms'] }];
    const id = connection.ask(describeConfigsApi, 2, { resources });
    expect(connection.answer(describeConfigsApi, 2, id)?.results[0]?.configs[0]?.value).toBe('5000');
  });

  it('tell the record with the greatest time after few looks', async () => {
    const partition = test.core.streams.get(TOPIC)?.partitions[0];
    for (const at of [5, 900, 40_000, 39_999, 7]) partition?.appendBatch(batchAt(at), null, 0);
    const partitions = [{ partitionIndex: 0, timestamp: -3 }];
    const id = connection.ask(listOffsetsApi, 7, { topics: [{ name: TOPIC, partitions }] });
    for (let i = 0; i < 10; i++) await test.clock.turn();
    expect(connection.answer(listOffsetsApi, 7, id)?.topics[0]?.partitions[0]).toMatchObject({
      offset: 2,
      timestamp: 40_000,
    });
  });
});

it('settings of a topic that two change at a time are both changed', async () => {
  const other = connection.openAnother();
  const setting = (name: string, value: string) => ({
    resources: [{ resourceType: 2, resourceName: TOPIC, configs: [{ name, configOperation: 0, value }] }],
  });
  connection.ask(incrementalAlterConfigsApi, 0, setting('retention.ms', '7'));
  other.ask(incrementalAlterConfigsApi, 0, setting('max.message.bytes', '8'));
  for (let i = 0; i < 3; i++) await test.clock.turn();
  expect(test.core.streams.get(TOPIC)?.spec.settings).toEqual({
    'retention.ms': '7',
    'max.message.bytes': '8',
  });
});

describe('a group', () => {
  const commit = async (groupId: string, committedOffset: number) => {
    const partitions = [{ partitionIndex: 0, committedOffset }];
    const id = connection.ask(offsetCommitApi, 8, { groupId, topics: [{ name: TOPIC, partitions }] });
    await test.clock.turn();
    return connection.answer(offsetCommitApi, 8, id)?.topics[0]?.partitions[0]?.errorCode;
  };

  it('has an id under which offsets can be kept', async () => {
    const groupId = 'é'.repeat(128);
    const id = connection.ask(joinGroupApi, 2, {
      groupId,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: Buffer.alloc(0) }],
    });
    expect(connection.answer(joinGroupApi, 2, id)?.errorCode).toBe(code('INVALID_GROUP_ID'));
    expect(await commit(groupId, 1)).toBe(code('INVALID_GROUP_ID'));
  });

  it('keeps no offset that no partition can have', async () => {
    expect(await commit('g', 2 ** 63)).toBe(code('OFFSET_OUT_OF_RANGE'));
    expect(connection.closedFor).toBeNull();
    const topics = [{ name: TOPIC, partitionIndexes: [0] }];
    const id = connection.ask(offsetFetchApi, 5, { groupId: 'g', topics });
    expect(connection.answer(offsetFetchApi, 5, id)?.topics[0]?.partitions[0]?.committedOffset).toBe(-1);
  });

  it('is told where the disk refuses to forget it', async () => {
    expect(await commit('g', 1)).toBe(0);
    test.storage.failCommits = true;
    const id = connection.ask(deleteGroupsApi, 1, { groupsNames: ['g', 'none'] });
    await test.clock.turn();
    expect(connection.answer(deleteGroupsApi, 1, id)?.results.map(({ errorCode }) => errorCode)).toEqual([
      code('KAFKA_STORAGE_ERROR'),
      code('GROUP_ID_NOT_FOUND'),
    ]);
  });
});

it('a producer is told where no id is left for it', () => {
  test.core.streams.newProducerId = () => {
    throw new CoreError('storage-failed', 'no id is left');
  };
  const id = connection.ask(initProducerIdApi, 4, { transactionalId: null });
  expect(connection.answer(initProducerIdApi, 4, id)?.errorCode).toBe(code('KAFKA_STORAGE_ERROR'));
});
