/**
 * A mapping rule on a whole gateway with real clients: MQTT messages become keyed records for Kafka consumers, in
 * order for each device; records of Kafka producers arrive at their devices' addresses for MQTT and AMQP.
 */

import amqplib from 'amqplib';
import { type Consumer, Kafka, logLevel, Partitioners } from 'kafkajs';
import mqtt from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GatewayInProcess } from '../admin/gateway-in-process.ts';

const DEVICES = 40;
const MESSAGES_EACH = 10;

let gateway: GatewayInProcess;
let kafka: Kafka;
beforeAll(async () => {
  gateway = await GatewayInProcess.start();
  const broker = `127.0.0.1:${gateway.port('kafka')}`;
  kafka = new Kafka({ clientId: 'test', brokers: [broker], logLevel: logLevel.NOTHING });
  expect(
    await gateway.put('/v1/mappings/telemetry', {
      match: 'devices/{device}/telemetry',
      stream: 'telemetry',
      key: '{device}',
      partitions: 6,
    }),
  ).toBe(201);
});
afterAll(() => gateway.remove());

interface Seen {
  readonly partition: number;
  readonly key: string;
  readonly value: string;
  readonly address: string | undefined;
}

async function consume(consumer: Consumer, topic: string, count: number): Promise<Seen[]> {
  const seen: Seen[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise<void>((resolve, reject) => {
    consumer
      .run({
        eachMessage: async ({ partition, message }) => {
          const address = message.headers?.['x-gw-address']?.toString();
          seen.push({ partition, key: `${message.key}`, value: `${message.value}`, address });
          if (seen.length === count) resolve();
        },
      })
      .catch(reject);
  });
  return seen;
}

test('devices become keys: each device in one partition, in its order, and one topic for all', async () => {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`);
  for (let n = 0; n < MESSAGES_EACH; n++) {
    await Promise.all(
      Array.from({ length: DEVICES }, (_, device) =>
        client.publishAsync(`devices/d${device}/telemetry`, `${n}`, { qos: 1 }),
      ),
    );
  }
  await client.endAsync();
  const consumer = kafka.consumer({ groupId: 'readers', minBytes: 1, maxWaitTimeInMs: 100 });
  const seen = await consume(consumer, 'telemetry', DEVICES * MESSAGES_EACH);
  await consumer.disconnect();
  for (let device = 0; device < DEVICES; device++) {
    const own = seen.filter((each) => each.key === `d${device}`);
    expect(own.map(({ value }) => Number(value))).toEqual(Array.from({ length: MESSAGES_EACH }, (_, n) => n));
    expect(new Set(own.map(({ partition }) => partition)).size).toBe(1);
    expect(own[0]?.address).toBe(`devices/d${device}/telemetry`);
  }
  expect(new Set(seen.map(({ partition }) => partition)).size).toBe(6);
  const admin = kafka.admin();
  await admin.connect();
  expect((await admin.listTopics()).filter((topic) => topic.startsWith('devices'))).toEqual([]);
  await admin.disconnect();
});

test('a record with key d7 arrives at devices/d7/telemetry, for MQTT and AMQP, and once in the topic', async () => {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`);
  await client.subscribeAsync('devices/+/telemetry', { qos: 1 });
  const arrived = new Promise<string>((resolve) => {
    client.on('message', (topic, payload) => resolve(`${topic} ${payload}`));
  });
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${gateway.port('amqp091')}`);
  const channel = await connection.createChannel();
  await channel.assertQueue('d7', { exclusive: true });
  await channel.bindQueue('d7', 'amq.topic', 'devices.d7.*');
  const delivered = new Promise<amqplib.ConsumeMessage>((resolve) => {
    void channel.consume('d7', (message) => resolve(message!), { noAck: true });
  });
  const before = await countRecords();
  // The partitioner of Kafka's Java clients, which the gateway's own choice must agree with.
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  await producer.send({
    topic: 'telemetry',
    messages: [{ key: 'd7', value: 'from kafka', headers: { unit: 'C' } }],
  });
  await producer.disconnect();
  expect(await arrived).toBe('devices/d7/telemetry from kafka');
  const { content, fields, properties } = await delivered;
  expect(`${fields.exchange} ${fields.routingKey} ${content}`).toBe(
    'amq.topic devices.d7.telemetry from kafka',
  );
  expect(properties.headers).toMatchObject({ unit: 'C' });
  expect((await countRecords()) - before).toBe(1);
  await client.endAsync();
  await connection.close();
});

test('a device has the same partition whether Kafka or MQTT writes for it', async () => {
  const consumer = kafka.consumer({ groupId: 'compare', minBytes: 1, maxWaitTimeInMs: 100 });
  const seen = await consume(consumer, 'telemetry', DEVICES * MESSAGES_EACH + 1);
  await consumer.disconnect();
  const partitions = seen.filter(({ key }) => key === 'd7').map(({ partition }) => partition);
  expect(partitions).toHaveLength(MESSAGES_EACH + 1);
  expect(new Set(partitions).size).toBe(1);
});

test('another rule takes the place of the first while messages flow: none is lost, none is twice', async () => {
  const rule = { match: 'swap/{n}', stream: 'swap', key: '{n}' };
  await gateway.put('/v1/mappings/swap', rule);
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`);
  const changing = (async () => {
    for (let n = 0; n < 20; n++) {
      expect(
        await gateway.put('/v1/mappings/swap', { ...rule, key: n % 2 === 0 ? '{address}' : '{n}' }),
      ).toBe(200);
    }
  })();
  for (let n = 0; n < 300; n++) await client.publishAsync(`swap/${n}`, `${n}`, { qos: 1 });
  await changing;
  await client.endAsync();
  expect(await countRecords('swap')).toBe(300);
});

async function countRecords(stream = 'telemetry'): Promise<number> {
  const { partitions }: { partitions: { endOffset: number }[] } = (await gateway.get(`/v1/streams/${stream}`))
    .body;
  return partitions.reduce((sum, { endOffset }) => sum + endOffset, 0);
}
