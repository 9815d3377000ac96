/** @platformatic/kafka against a whole gateway: its versions are the flexible ones, which kafkajs does not know. */

import {
  Admin,
  Consumer,
  type MessagesStream,
  Producer,
  stringDeserializers,
  stringSerializers,
} from '@platformatic/kafka';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { fresh, until } from './clients.ts';

let gateway: TestGateway;
const base = () => ({
  clientId: 'conformance',
  bootstrapBrokers: [`127.0.0.1:${gateway.ports.kafka}`],
  retries: 3,
});

beforeAll(async () => {
  gateway = await startTestGateway({ settings: { 'kafka.groupInitialDelayMs': 10 } });
});

afterAll(() => gateway.stop());

type Texts = MessagesStream<string, string, string, string>;

async function openStream(
  groupId: string,
  topic: string,
): Promise<{ consumer: Consumer<string, string, string, string>; stream: Texts; seen: string[] }> {
  const consumer = new Consumer({
    ...base(),
    groupId,
    deserializers: stringDeserializers,
    sessionTimeout: 6_000,
    heartbeatInterval: 200,
    maxWaitTime: 100,
  });
  const stream = await consumer.consume({
    topics: [topic],
    mode: 'committed',
    fallbackMode: 'earliest',
    autocommit: 50,
  });
  const seen: string[] = [];
  stream.on('data', (message) => seen.push(`${message.partition}:${message.key}=${message.value}`));
  return { consumer, stream, seen };
}

async function send(topic: string, from: number, to: number): Promise<void> {
  const producer = new Producer({ ...base(), serializers: stringSerializers, autocreateTopics: true });
  const messages = [];
  for (let i = from; i < to; i++) messages.push({ topic, key: `k${i}`, value: `v${i}`, headers: { h: 'x' } });
  await producer.send({ messages, acks: -1 });
  await producer.close();
}

it('produces, consumes in a group and goes on from committed offsets', { timeout: 30_000 }, async () => {
  const topic = fresh('plt');
  const groupId = fresh('g');
  await send(topic, 0, 50);
  const first = await openStream(groupId, topic);
  await until('all records', () => first.seen.length === 50);
  expect(first.seen[0]).toBe('0:k0=v0');
  await until('a commit', () => gateway.core.cursors.get(groupId, topic, 0)?.offset === 50);
  await first.stream.close();
  await first.consumer.close(true);
  await send(topic, 50, 60);
  const second = await openStream(groupId, topic);
  await until('the new records', () => second.seen.length === 10);
  expect(second.seen[0]).toBe('0:k50=v50');
  await second.stream.close();
  await second.consumer.close(true);
});

it('shares partitions between two members', { timeout: 30_000 }, async () => {
  const topic = fresh('plt');
  const groupId = fresh('g');
  const admin = new Admin(base());
  await admin.createTopics({ topics: [topic], partitions: 4, replicas: 1 });
  const first = await openStream(groupId, topic);
  const second = await openStream(groupId, topic);
  const shared = async (): Promise<boolean> => {
    const group = (await admin.describeGroups({ groups: [groupId] })).get(groupId);
    return group !== undefined && String(group.state).toUpperCase() === 'STABLE' && group.members.size === 2;
  };
  await until('two members', shared);
  await send(topic, 0, 200);
  await until('all records', () => first.seen.length + second.seen.length >= 200);
  expect(first.seen.length).toBeGreaterThan(0);
  expect(second.seen.length).toBeGreaterThan(0);
  for (const each of [first, second]) {
    await each.stream.close();
    await each.consumer.close(true);
  }
  await admin.close();
});

it('administers topics and groups', async () => {
  const topic = fresh('plt');
  const admin = new Admin(base());
  const [created] = await admin.createTopics({ topics: [topic], partitions: 3, replicas: 1 });
  expect(created).toMatchObject({ name: topic, partitions: 3 });
  const metadata = await admin.metadata({ topics: [topic] });
  expect(metadata.topics.get(topic)?.partitions).toHaveLength(3);
  expect(await admin.listTopics()).toContain(topic);
  await admin.deleteTopics({ topics: [topic] });
  expect(await admin.listTopics()).not.toContain(topic);
  await admin.close();
});
