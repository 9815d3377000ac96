/**
 * Real clients that know nothing of the gateway, on one gateway: what one of them says arrives at the others, and comes
 * back unchanged when they pass on what they received.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { fresh } from '../kafka/clients.ts';
import { Clients, first, textHeaders } from './clients.ts';

let gateway: TestGateway;
let clients: Clients;

beforeAll(async () => {
  gateway = await startTestGateway({
    settings: { 'storage.durability': 'os', 'kafka.groupInitialDelayMs': 10 },
  });
  clients = await Clients.on(gateway);
});
afterAll(async () => {
  await clients.end();
  await gateway.stop();
});

/** Every field type that amqplib writes. */
const HEADERS = {
  text: 'x',
  bool: true,
  byte: { '!': 'byte', value: -1 },
  short: { '!': 'short', value: 300 },
  int: { '!': 'int', value: 100_000 },
  long: { '!': 'long', value: 2 ** 40 },
  float: { '!': 'float', value: 0.5 },
  double: 1.25,
  decimal: { '!': 'decimal', value: { places: 2, digits: 1250 } },
  timestamp: { '!': 'timestamp', value: 1_600_000_000 },
  none: null,
  bytes: Buffer.from([0, 255]),
  text_bytes: Buffer.from('text'),
  list: [1, 'a', { deep: [true, Buffer.from([1])] }],
  map: { inner: { n: 1 } },
};

const PROPERTIES = {
  contentType: 'text/plain',
  contentEncoding: 'identity',
  headers: HEADERS,
  deliveryMode: 2,
  priority: 3,
  correlationId: 'c',
  replyTo: 'answers',
  expiration: '60000',
  messageId: 'm',
  timestamp: 1_700_000_000,
  type: 't',
  userId: 'guest',
  appId: 'a',
};

test('between two MQTT 5 clients nothing is lost, changed or added, and the expiry counts down', async () => {
  const properties = {
    payloadFormatIndicator: true,
    contentType: 'text/plain',
    responseTopic: 'answers/1',
    correlationData: Buffer.from([0, 1, 255]),
    userProperties: { b: ['2', '1', '2'], a: '', 'content-encoding': 'none' },
  };
  await clients.publishMqtt('same/mqtt', 'caf\u00e9', {
    retain: true,
    properties: { ...properties, messageExpiryInterval: 100 },
  });
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const packet = await first(await clients.subscribeMqtt('same/mqtt'), 'the message');
  const { messageExpiryInterval, userProperties, ...others } = packet.properties ?? {};
  const { userProperties: expected, ...fields } = properties;
  expect(messageExpiryInterval).toBe(99);
  expect(others).toEqual(fields);
  expect({ ...userProperties }).toEqual(expected);
});

describe('properties and headers of every type from an AMQP 0-9-1 client', () => {
  test('are unchanged when an MQTT 5 client passes the message on', async () => {
    const packets = await clients.subscribeMqtt('full/mqtt');
    const direct = await clients.bindQueue('full', 'mqtt');
    const returned = await clients.bindQueue('full', 'back.mqtt');
    await clients.publishAmqp('full', 'mqtt', Buffer.from('body'), PROPERTIES);
    const packet = await first(packets, 'the message at MQTT');
    expect(packet.properties).toMatchObject({
      contentType: 'text/plain',
      correlationData: Buffer.from('c'),
      responseTopic: expect.stringMatching(/^\$reply\//),
      userProperties: { text: 'x', int: '100000', bytes: 'AP8=', 'x-gw-user': 'guest' },
    });
    const { messageExpiryInterval: _, ...properties } = packet.properties ?? {};
    await clients.publishMqtt('full/back/mqtt', packet.payload as Buffer, {
      properties: properties as object,
    });
    // The reply address that an MQTT client was shown stands for the queue, also where the message goes on.
    await expectSame(direct, returned, { replyTo: expect.stringMatching(/^amq\.gw\.reply\./) });
  });

  test('are unchanged when a Kafka client passes the message on', async () => {
    const topic = fresh('full');
    await clients.ensureTopic(topic);
    await clients.ensureTopic(`${topic}.back`);
    const records = await clients.readTopic(topic);
    const direct = await clients.bindQueue('amq.topic', topic);
    const returned = await clients.bindQueue('amq.topic', `${topic}.back`);
    // kafkajs reads record headers without a value, but cannot write them.
    const { none: _none, ...written } = HEADERS;
    const sent = { ...PROPERTIES, headers: written };
    await clients.publishAmqp('amq.topic', topic, Buffer.from('body'), sent);
    const record = await first(records, 'the record');
    const { 'x-gw-expires-at': _, ...headers } = record.headers ?? {};
    await clients.produce(`${topic}.back`, { ...record, headers });
    await expectSame(direct, returned);
  });

  /** But for what another hop may change: the time that is left, and who it was that published. */
  async function expectSame(directQueue: string, returnedQueue: string, changed: object = {}): Promise<void> {
    const [direct, returned] = [await clients.get(directQueue), await clients.get(returnedQueue)];
    const { expiration, userId, ...expected } = direct.properties;
    expect([expiration, userId]).toEqual(['60000', 'guest']);
    expect(expected.headers).toMatchObject({ text: 'x', bool: true, byte: -1, int: 100_000 });
    expect(returned.properties).toEqual({
      ...expected,
      expiration: undefined,
      userId: undefined,
      ...changed,
    });
    expect(returned.content).toEqual(direct.content);
  }
});

test('an integer of an AMQP client is digits for a Kafka consumer, and an integer again for AMQP', async () => {
  const topic = fresh('digits');
  await clients.ensureTopic(topic);
  const records = await clients.readTopic(topic);
  const queue = await clients.bindQueue('amq.topic', `${topic}.back`);
  await clients.publishAmqp('amq.topic', topic, Buffer.from('x'), { headers: { count: 42 } });
  const record = await first(records, 'the record');
  expect(textHeaders(record.headers)).toMatchObject({ count: '42' });
  await clients.produce(`${topic}.back`, { value: record.value, headers: record.headers ?? {} });
  expect((await clients.get(queue)).properties.headers?.count).toBe(42);
});

describe('a body', () => {
  test('that is empty is empty for every client, whoever sent it', async () => {
    const topic = fresh('empty');
    await clients.ensureTopic(topic);
    const [packets, records] = [
      await clients.subscribeMqtt(topic.replaceAll('.', '/')),
      await clients.readTopic(topic),
    ];
    const messages = await clients.consume(await clients.bindQueue('amq.topic', topic));
    const address = topic.replaceAll('.', '/');
    await clients.publishMqtt(address, '');
    await clients.publishAmqp('amq.topic', topic, Buffer.alloc(0));
    await clients.produce(topic, { value: '' });
    await expect.poll(() => [packets.length, messages.length, records.length]).toEqual([3, 3, 3]);
    expect(packets.map(({ payload }) => payload.length)).toEqual([0, 0, 0]);
    expect(messages.map(({ content }) => content.length)).toEqual([0, 0, 0]);
    expect(records.map(({ value }) => value?.length)).toEqual([0, 0, 0]);
  });

  test('that a record does not have is no body again after MQTT and AMQP clients passed it on', async () => {
    const topic = fresh('none');
    const address = topic.replaceAll('.', '/');
    for (const each of [topic, `${topic}.mqtt`, `${topic}.amqp`]) await clients.ensureTopic(each);
    const packets = await clients.subscribeMqtt(address);
    const queue = await clients.bindQueue('amq.topic', topic);
    const returned = [await clients.readTopic(`${topic}.mqtt`), await clients.readTopic(`${topic}.amqp`)];
    await clients.produce(topic, { key: 'k', value: null });
    const packet = await first(packets, 'the message at MQTT');
    const { userProperties } = packet.properties ?? {};
    expect(userProperties).toMatchObject({ 'x-gw-null': '1', 'x-gw-key': 'k' });
    await clients.publishMqtt(`${address}/mqtt`, '', {
      properties: { userProperties: userProperties ?? {} },
    });
    const { properties } = await clients.get(queue);
    await clients.publishAmqp('amq.topic', `${topic}.amqp`, Buffer.alloc(0), { headers: properties.headers });
    for (const records of returned) {
      const record = await first(records, 'the record');
      expect([String(record.key), record.value]).toEqual(['k', null]);
    }
  });
});

describe('expiry', () => {
  test('of less than a second is not told to MQTT as none, and that of MQTT ends for AMQP too', async () => {
    const packets = await clients.subscribeMqtt('expiry/amqp');
    await clients.publishAmqp('expiry', 'amqp', Buffer.from('soon'), { expiration: '400' });
    const packet = await first(packets, 'the message at MQTT');
    expect(packet.properties?.messageExpiryInterval).toBe(1);

    const queue = await clients.bindQueue('expiry', 'mqtt');
    const early = await clients.bindQueue('expiry', 'mqtt');
    await clients.publishMqtt('expiry/mqtt', 'late', { properties: { messageExpiryInterval: 2 } });
    const left = Number((await clients.get(early)).properties.expiration);
    expect(left).toBeGreaterThan(1_000);
    expect(left).toBeLessThanOrEqual(2_000);
    await new Promise((resolve) => setTimeout(resolve, 2_600));
    expect(await clients.amqp.get(queue, { noAck: true })).toBe(false);
  });
});

test('a CloudEvent of an MQTT client is one for AMQP and Kafka, with its trace', async () => {
  const topic = fresh('events');
  const address = topic.replaceAll('.', '/');
  await clients.ensureTopic(topic);
  const records = await clients.readTopic(topic);
  const queue = await clients.bindQueue('amq.topic', topic);
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const event = { specversion: '1.0', type: 'com.example.order', source: '/orders', id: '4711' };
  await clients.publishMqtt(address, '{}', {
    properties: { contentType: 'application/json', userProperties: { ...event, traceparent } },
  });
  expect((await clients.get(queue)).properties).toMatchObject({
    contentType: 'application/json',
    headers: {
      'cloudEvents:specversion': '1.0',
      'cloudEvents:type': 'com.example.order',
      'cloudEvents:source': '/orders',
      'cloudEvents:id': '4711',
      traceparent,
    },
  });
  expect(textHeaders((await first(records, 'the record')).headers)).toEqual({
    'content-type': 'application/json',
    ce_specversion: '1.0',
    ce_type: 'com.example.order',
    ce_source: '/orders',
    ce_id: '4711',
    traceparent,
  });
  const packets = await clients.subscribeMqtt(`${address}/kafka`);
  await clients.produce(`${topic}.kafka`, {
    value: '{}',
    headers: {
      'content-type': 'application/json',
      ce_specversion: '1.0',
      ce_type: 't',
      ce_source: '/',
      ce_id: '1',
    },
  });
  expect({ ...(await first(packets, 'the event at MQTT')).properties?.userProperties }).toMatchObject({
    specversion: '1.0',
    type: 't',
    source: '/',
    id: '1',
  });
});

test('nobody can say by a header who he is, to clients of any protocol', async () => {
  const topic = fresh('claims');
  const address = topic.replaceAll('.', '/');
  const claims = { 'x-gw-user': 'root', 'X-GW-Client-Id': 'other', mine: 'yes' };
  await clients.ensureTopic(topic);
  const packets = await clients.subscribeMqtt(address);
  const records = await clients.readTopic(topic);
  const messages = await clients.consume(await clients.bindQueue('amq.topic', topic));
  await clients.publishMqtt(address, 'mqtt', { properties: { userProperties: claims } });
  await clients.publishAmqp('amq.topic', topic, Buffer.from('amqp'), { headers: claims });
  await expect.poll(() => [packets.length, messages.length, records.length]).toEqual([2, 2, 2]);
  for (const packet of packets) expect({ ...packet.properties?.userProperties }).toEqual({ mine: 'yes' });
  for (const { properties } of messages) expect(properties.headers).toEqual({ mine: 'yes' });
  for (const { headers } of records) expect(textHeaders(headers)).toEqual({ mine: 'yes' });
});
