/** kafkajs against a whole gateway: produce and consume, groups that rebalance, committed offsets, administration. */

import { CompressionTypes, ConfigResourceTypes, type Consumer } from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { fresh, kafkajsOn, until } from './clients.ts';

let gateway: TestGateway;
const running: Consumer[] = [];

beforeAll(async () => {
  gateway = await startTestGateway({ settings: { 'kafka.groupInitialDelayMs': 10 } });
});

afterEach(async () => {
  for (const consumer of running.splice(0)) await consumer.disconnect();
});

afterAll(() => gateway.stop());

interface Seen {
  readonly partition: number;
  readonly offset: string;
  readonly value: string;
}

async function consume(
  groupId: string,
  topic: string,
  clientId = 'consumer',
): Promise<{ consumer: Consumer; seen: Seen[] }> {
  const consumer = kafkajsOn(gateway.ports.kafka, clientId).consumer({
    groupId,
    sessionTimeout: 6_000,
    heartbeatInterval: 100,
    maxWaitTimeInMs: 100,
  });
  running.push(consumer);
  const seen: Seen[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      seen.push({ partition, offset: message.offset, value: message.value?.toString() ?? '' });
    },
  });
  return { consumer, seen };
}

async function produce(
  topic: string,
  values: readonly string[],
  compression = CompressionTypes.None,
): Promise<void> {
  const producer = kafkajsOn(gateway.ports.kafka).producer();
  await producer.connect();
  await producer.send({ topic, compression, messages: values.map((value, i) => ({ key: `k${i}`, value })) });
  await producer.disconnect();
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `message ${i}`);

describe('producing and consuming', () => {
  it('keeps key, value, headers and timestamp, on a topic that nobody created', async () => {
    const topic = fresh('new');
    const producer = kafkajsOn(gateway.ports.kafka).producer();
    await producer.connect();
    const [told] = await producer.send({
      topic,
      acks: -1,
      messages: [
        { key: 'k', value: 'v', headers: { a: '1', b: Buffer.from([0xff]) }, timestamp: '1700000000123' },
      ],
    });
    expect(told).toMatchObject({ errorCode: 0, baseOffset: '0', topicName: topic });
    await producer.disconnect();
    const consumer = kafkajsOn(gateway.ports.kafka).consumer({ groupId: fresh('g'), maxWaitTimeInMs: 100 });
    running.push(consumer);
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    const got: unknown[] = [];
    await consumer.run({
      eachMessage: async ({ message }) => {
        got.push({ ...message });
      },
    });
    await until('the record', () => got.length === 1);
    expect(got[0]).toMatchObject({
      key: Buffer.from('k'),
      value: Buffer.from('v'),
      headers: { a: Buffer.from('1'), b: Buffer.from([0xff]) },
      timestamp: '1700000000123',
      offset: '0',
    });
  });

  it('takes compressed batches and gives them back', async () => {
    const topic = fresh('zipped');
    await produce(topic, numbered(100), CompressionTypes.GZIP);
    const { seen } = await consume(fresh('g'), topic);
    await until('all records', () => seen.length === 100);
    expect(seen.map(({ value }) => value)).toEqual(numbered(100));
  });

  it.each([0, 1, -1])('with acks=%d', async (acks) => {
    const topic = fresh('acks');
    const producer = kafkajsOn(gateway.ports.kafka).producer({ idempotent: false });
    await producer.connect();
    for (const value of numbered(20)) await producer.send({ topic, acks, messages: [{ value }] });
    await until('all appended', () => gateway.core.streams.get(topic)?.partitions[0]?.endOffset === 20);
    await producer.disconnect();
  });

  it('from an idempotent producer, in order', async () => {
    const topic = fresh('idempotent');
    const producer = kafkajsOn(gateway.ports.kafka).producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    for (const value of numbered(20)) await producer.send({ topic, messages: [{ value }] });
    await producer.disconnect();
    const { seen } = await consume(fresh('g'), topic);
    await until('all records', () => seen.length === 20);
    expect(seen.map(({ offset }) => Number(offset))).toEqual(numbered(20).map((_, i) => i));
  });
});

describe('groups', () => {
  it('share partitions, and share again when members come and go', { timeout: 30_000 }, async () => {
    const topic = fresh('shared');
    const groupId = fresh('g');
    const admin = kafkajsOn(gateway.ports.kafka).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic, numPartitions: 4 }] });
    const first = await consume(groupId, topic, 'one');
    const membersOf = async (): Promise<number> =>
      (await admin.describeGroups([groupId])).groups[0]?.members.filter(
        ({ memberAssignment }) => memberAssignment.length > 0,
      ).length ?? 0;
    const stateOf = async (): Promise<string | undefined> =>
      (await admin.describeGroups([groupId])).groups[0]?.state;
    await until('one member', async () => (await membersOf()) === 1);
    const second = await consume(groupId, topic, 'two');
    await until('two members', async () => (await membersOf()) === 2 && (await stateOf()) === 'Stable');
    await produce(topic, numbered(200));
    await until('all records', () => first.seen.length + second.seen.length === 200);
    const partitionsOf = (seen: readonly Seen[]): number[] => [
      ...new Set(seen.map(({ partition }) => partition)),
    ];
    expect(partitionsOf(first.seen)).toHaveLength(2);
    expect(partitionsOf(second.seen)).toHaveLength(2);
    running.splice(running.indexOf(second.consumer), 1);
    await second.consumer.disconnect();
    await until('one member again', async () => (await membersOf()) === 1 && (await stateOf()) === 'Stable');
    await produce(topic, numbered(200));
    await until('all records', () => first.seen.length + second.seen.length === 400);
    await admin.disconnect();
  });

  it('go on where they were', async () => {
    const topic = fresh('resumed');
    const groupId = fresh('g');
    await produce(topic, numbered(50));
    const first = await consume(groupId, topic);
    await until('all records', () => first.seen.length === 50);
    running.splice(0);
    await first.consumer.disconnect();
    await produce(topic, ['after']);
    const second = await consume(groupId, topic);
    await until('the new record', () => second.seen.length > 0);
    expect(second.seen.map(({ value }) => value)).toEqual(['after']);
  });
});

describe('administration', () => {
  it('creates, grows, describes and deletes topics', async () => {
    const admin = kafkajsOn(gateway.ports.kafka).admin();
    await admin.connect();
    const topic = fresh('made');
    const configEntries = [{ name: 'retention.ms', value: '60000' }];
    expect(await admin.createTopics({ topics: [{ topic, numPartitions: 2, configEntries }] })).toBe(true);
    expect(await admin.createTopics({ topics: [{ topic }] })).toBe(false);
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] });
    const described = await admin.fetchTopicMetadata({ topics: [topic] });
    expect(described.topics[0]?.partitions).toHaveLength(5);
    expect(await admin.listTopics()).toContain(topic);
    const { resources } = await admin.describeConfigs({
      includeSynonyms: true,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
    });
    const entries = new Map(
      resources[0]?.configEntries.map(({ configName, configValue }) => [configName, configValue]),
    );
    expect(entries.get('retention.ms')).toBe('60000');
    expect(entries.get('cleanup.policy')).toBe('delete');
    expect(entries.size).toBeGreaterThan(30);
    await admin.alterConfigs({
      validateOnly: false,
      resources: [
        {
          type: ConfigResourceTypes.TOPIC,
          name: topic,
          configEntries: [{ name: 'retention.bytes', value: '5000' }],
        },
      ],
    });
    expect(gateway.core.streams.get(topic)?.spec).toMatchObject({
      log: { retentionBytes: 5_000, retentionMs: 604_800_000 },
      settings: { 'retention.bytes': '5000' },
    });
    await admin.deleteTopics({ topics: [topic] });
    expect(await admin.listTopics()).not.toContain(topic);
    await admin.disconnect();
  });

  it('finds offsets by time, deletes records, lists and deletes groups', async () => {
    const admin = kafkajsOn(gateway.ports.kafka).admin();
    await admin.connect();
    const topic = fresh('offsets');
    const groupId = fresh('g');
    const producer = kafkajsOn(gateway.ports.kafka).producer();
    await producer.connect();
    for (let i = 0; i < 5; i++) {
      await producer.send({
        topic,
        messages: [{ value: `${i}`, timestamp: String(1_700_000_000_000 + i * 1_000) }],
      });
    }
    await producer.disconnect();
    const [byTime] = await admin.fetchTopicOffsetsByTimestamp(topic, 1_700_000_002_500);
    expect(byTime?.offset).toBe('3');
    const { consumer, seen } = await consume(groupId, topic);
    await until('all records', () => seen.length === 5);
    running.splice(0);
    await consumer.disconnect();
    expect((await admin.fetchOffsets({ groupId, topics: [topic] }))[0]?.partitions[0]?.offset).toBe('5');
    expect((await admin.listGroups()).groups.map((group) => group.groupId)).toContain(groupId);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] });
    expect((await admin.fetchTopicOffsets(topic))[0]).toMatchObject({ low: '4', high: '5' });
    expect((await admin.deleteGroups([groupId]))[0]?.errorCode).toBe(0);
    expect((await admin.listGroups()).groups.map((group) => group.groupId)).not.toContain(groupId);
    await admin.disconnect();
  });
});
