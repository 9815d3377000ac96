/** What a restart of the gateway must not change for Kafka clients: records, offsets, ids, settings, sequences. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { fresh, kafkajsOn, until } from './clients.ts';

let folder: string;
let gateway: TestGateway;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kafka-restart-'));
});

afterAll(async () => {
  await gateway.stop();
  rmSync(folder, { recursive: true, force: true });
});

const start = async (): Promise<void> => {
  gateway = await startTestGateway({ folder, settings: { 'kafka.groupInitialDelayMs': 10 } });
};

async function consumeFrom(groupId: string, topic: string, count: number): Promise<string[]> {
  const consumer = kafkajsOn(gateway.ports.kafka).consumer({ groupId, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen: string[] = [];
  await consumer.run({ eachMessage: async ({ message }) => void seen.push(message.value?.toString() ?? '') });
  await until(`${count} records`, () => seen.length >= count);
  await consumer.disconnect();
  return seen;
}

it('keeps records, committed offsets, topic ids and settings', { timeout: 30_000 }, async () => {
  await start();
  const topic = fresh('kept');
  const groupId = fresh('g');
  const admin = kafkajsOn(gateway.ports.kafka).admin();
  await admin.connect();
  const configEntries = [{ name: 'retention.ms', value: '123456' }];
  await admin.createTopics({ topics: [{ topic, numPartitions: 1, configEntries }] });
  await admin.disconnect();
  const id = Buffer.from(gateway.core.streams.get(topic)?.id ?? []).toString('hex');
  const producerId = gateway.core.streams.newProducerId();
  const producer = kafkajsOn(gateway.ports.kafka).producer();
  await producer.connect();
  await producer.send({ topic, messages: ['a', 'b', 'c'].map((value) => ({ value })) });
  await producer.disconnect();
  expect(await consumeFrom(groupId, topic, 3)).toEqual(['a', 'b', 'c']);
  await gateway.stop();

  await start();
  const stream = gateway.core.streams.get(topic);
  expect(Buffer.from(stream?.id ?? []).toString('hex')).toBe(id);
  expect(stream?.spec).toMatchObject({
    log: { retentionMs: 123_456 },
    settings: { 'retention.ms': '123456' },
  });
  expect(gateway.core.streams.newProducerId()).toBeGreaterThan(producerId);
  const again = kafkajsOn(gateway.ports.kafka).producer();
  await again.connect();
  const [told] = await again.send({ topic, messages: [{ value: 'd' }] });
  expect(told?.baseOffset).toBe('3');
  await again.disconnect();
  expect(await consumeFrom(groupId, topic, 1)).toEqual(['d']);
  expect(await consumeFrom(fresh('g'), topic, 4)).toEqual(['a', 'b', 'c', 'd']);
});
