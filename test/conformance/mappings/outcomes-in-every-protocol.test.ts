/**
 * What a publisher is told, by real clients of every protocol and version: that its message is stored, that nobody wanted
 * it, that it may not publish there, that there is no room. One table of docs/mappings.md (Outcomes) is what is checked.
 * Of AMQP 1.0, which has no listener yet, test/unit/amqp10/outcomes-of-publishes.test.ts shows the mapping.
 */

import { once } from 'node:events';
import amqplib, { type ChannelModel, type ConfirmChannel, type Message, type Options } from 'amqplib';
import { type Admin, Kafka, logLevel, type Producer } from 'kafkajs';
import { connectAsync, type IClientPublishOptions, type MqttClient, type Packet } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

const RULES = [
  { effect: 'deny', actions: ['all'], pattern: 'secret/#' },
  ...['#', '$queue/#', '$group/#'].map((pattern) => ({ effect: 'allow', actions: ['all'], pattern })),
];
const STREAMS_MAX = 3;

let gateway: TestGateway;
let mqtt5: MqttClient;
let model: ChannelModel;
let channel: ConfirmChannel;
let kafka: Kafka;
let producer: Producer;
let admin: Admin;

beforeAll(async () => {
  gateway = await startTestGateway({
    settings: {
      'storage.durability': 'os',
      'kafka.autoCreateUnasked': false,
      'auth.acl.rules': JSON.stringify(RULES),
      'limits.retainedMessagesMax': 1,
      'limits.streamsMax': STREAMS_MAX,
    },
  });
  mqtt5 = await connectMqtt(5);
  model = await amqplib.connect(`amqp://ann:x@127.0.0.1:${gateway.ports.amqp}`);
  channel = await openConfirms();
  kafka = new Kafka({
    brokers: [`127.0.0.1:${gateway.ports.kafka}`],
    sasl: { mechanism: 'plain', username: 'ann', password: 'x' },
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
  });
  producer = kafka.producer();
  admin = kafka.admin();
  await Promise.all([producer.connect(), admin.connect()]);
  await admin.createTopics({ topics: [{ topic: 'nobody.k' }, { topic: 'full.k' }] });
  // A queue that is full from the start, and refuses.
  await channel.assertQueue('full', { arguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } });
  await channel.bindQueue('full', 'amq.topic', 'full.#');
  expect(await confirmOf('amq.topic', 'full.first')).toBe('ack');
  // The one message that an address may remember.
  await mqtt5.publishAsync('kept/first', 'x', { qos: 1, retain: true });
});
afterAll(async () => {
  await Promise.all([producer.disconnect(), admin.disconnect(), mqtt5.endAsync(true), model.close()]);
  await gateway.stop();
});

function connectMqtt(protocolVersion: 4 | 5): Promise<MqttClient> {
  return connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, {
    username: 'ann',
    password: 'x',
    protocolVersion,
    reconnectPeriod: 0,
  });
}

async function openConfirms(): Promise<ConfirmChannel> {
  const opened = await model.createConfirmChannel();
  opened.on('error', () => {});
  return opened;
}

/** Reason code of the first answer to a publish by MQTT 5, and the reason string. */
async function answerOf(topic: string, options: IClientPublishOptions): Promise<[number, string]> {
  const answered = new Promise<[number, string]>((resolve) => {
    const listen = (packet: Packet): void => {
      if (packet.cmd !== 'puback' && packet.cmd !== 'pubrec') return;
      mqtt5.off('packetreceive', listen);
      resolve([packet.reasonCode ?? 0, packet.properties?.reasonString ?? '']);
    };
    mqtt5.on('packetreceive', listen);
  });
  await mqtt5.publishAsync(topic, 'x', options).catch(() => {});
  return answered;
}

/** What a publisher of MQTT 3.1.1 sees, which has no codes. */
async function seenBy311(topic: string, options: IClientPublishOptions): Promise<'acknowledged' | 'closed'> {
  const client = await connectMqtt(4);
  client.on('error', () => {});
  const closed = new Promise<'closed'>((resolve) => client.once('close', () => resolve('closed')));
  const acknowledged = client.publishAsync(topic, 'x', options).then(
    () => 'acknowledged' as const,
    () => closed,
  );
  try {
    return await Promise.race([acknowledged, closed]);
  } finally {
    await client.endAsync(true);
  }
}

/** What a publisher with confirms is told, in order: `return CODE`, then `ack` or `nack`; or the code of the close. */
async function confirmOf(
  exchange: string,
  key: string,
  options: Options.Publish = {},
  on = channel,
): Promise<string> {
  const told: string[] = [];
  const returned = ({ fields }: Message): void => {
    told.push(`return ${(fields as unknown as { replyCode: number }).replyCode}`);
  };
  on.on('return', returned);
  const closed = once(on, 'error').then(([error]) => told.push(`close ${(error as { code: number }).code}`));
  const confirmed = new Promise<void>((resolve) => {
    on.publish(exchange, key, Buffer.from('x'), { persistent: true, ...options }, (error) => {
      told.push(error === null ? 'ack' : 'nack');
      resolve();
    });
  });
  await Promise.race([confirmed, closed]);
  on.off('return', returned);
  // The client itself calls nacked what was open on a channel that the server closed.
  return told.find((each) => each.startsWith('close')) ?? told.join(', ');
}

async function codeOf(work: Promise<unknown>): Promise<number> {
  try {
    await work;
    return 0;
  } catch (error) {
    const { code, cause, errors } = error as { code?: number; cause?: { code?: number }; errors?: never[] };
    return code ?? cause?.code ?? (errors?.[0] as { code?: number } | undefined)?.code ?? Number.NaN;
  }
}

const produce = (topic: string, headers = {}): Promise<number> =>
  codeOf(producer.send({ topic, acks: -1, messages: [{ value: 'x', headers }] }));

describe('what nobody wants', () => {
  test.each([1, 2] as const)('is 0x10 in MQTT 5, QoS %i', async (qos) => {
    expect(await answerOf('nobody/m', { qos })).toEqual([0x10, '']);
  });

  test('is acknowledged in MQTT 3.1.1', async () => {
    expect(await seenBy311('nobody/m', { qos: 1 })).toBe('acknowledged');
    expect(await seenBy311('nobody/m', { qos: 2 })).toBe('acknowledged');
  });

  test('is returned with 312 where AMQP 0-9-1 says mandatory, and confirmed in any case', async () => {
    expect(await confirmOf('nobody', 'a', { mandatory: true })).toBe('return 312, ack');
    expect(await confirmOf('nobody', 'a')).toBe('ack');
    expect(await confirmOf('', 'no-such-queue', { mandatory: true })).toBe('return 312, ack');
  });

  test('is stored in its topic by Kafka; a topic that is not there and may not be made is 3', async () => {
    expect(await produce('nobody.k')).toBe(0);
    const careful = kafka.producer({ allowAutoTopicCreation: false });
    await careful.connect();
    const sent = careful.send({ topic: 'no.such.topic', messages: [{ value: 'x' }] });
    expect(await codeOf(sent)).toBe(3);
    await careful.disconnect();
  });
});

describe('what is not allowed', () => {
  test.each([1, 2] as const)('is 0x87 in MQTT 5, QoS %i', async (qos) => {
    expect(await answerOf('secret/m', { qos })).toEqual([0x87, "may not publish to 'secret/m'"]);
  });

  test('closes the connection in MQTT 3.1.1, which has no code for it', async () => {
    expect(await seenBy311('secret/m', { qos: 1 })).toBe('closed');
  });

  test('closes the channel with 403 in AMQP 0-9-1, with and without confirms', async () => {
    expect(await confirmOf('secret', 'a', { mandatory: true }, await openConfirms())).toBe('close 403');
    const plain = await model.createChannel();
    const closed = once(plain, 'error');
    plain.publish('secret', 'a', Buffer.from('x'));
    expect((await closed)[0]).toMatchObject({ code: 403 });
  });

  test('is 29 in Kafka', async () => {
    expect(await produce('secret.k')).toBe(29);
  });
});

describe('a queue that is full and refuses', () => {
  test.each([1, 2] as const)('is 0x97 in MQTT 5, QoS %i', async (qos) => {
    expect(await answerOf('full/m', { qos })).toEqual([0x97, expect.stringContaining("'full/m' is full")]);
  });

  test('closes the connection in MQTT 3.1.1, where an acknowledgement would be untrue', async () => {
    expect(await seenBy311('full/m', { qos: 1 })).toBe('closed');
  });

  test('is basic.nack in AMQP 0-9-1, mandatory or not, and goes without a word where nobody asked', async () => {
    expect(await confirmOf('amq.topic', 'full.a', { mandatory: true })).toBe('nack');
    expect(await confirmOf('', 'full')).toBe('nack');
    const plain = await model.createChannel();
    plain.publish('amq.topic', 'full.a', Buffer.from('x'));
    expect((await plain.checkQueue('full')).messageCount).toBe(1);
    await plain.close();
  });

  test('is 0 in Kafka, where the record stands in its topic, and counted', async () => {
    const before = gateway.core.counters.dropped;
    expect(await produce('full.k')).toBe(0);
    expect(await admin.fetchTopicOffsets('full.k')).toMatchObject([{ high: '1' }]);
    expect(gateway.core.counters.dropped).toBe(before + 1);
    expect((await channel.checkQueue('full')).messageCount).toBe(1);
  });
});

describe('a mapping that refuses', () => {
  beforeAll(async () => {
    await gateway.core.rules.put('strict', {
      from: { match: 'strict/{x}' },
      to: [{ endpoint: 'core', topic: 'o/{payload.id}', maxTopics: 1 }],
      onError: 'nack-source',
    });
  });

  test('is 0x83 in MQTT 5 with its name, and closes the connection in MQTT 3.1.1', async () => {
    const why = 'mapping strict refuses it: the body is not JSON';
    expect(await answerOf('strict/m', { qos: 1 })).toEqual([0x83, why]);
    expect(await answerOf('strict/m', { qos: 2 })).toEqual([0x83, why]);
    expect(await seenBy311('strict/m', { qos: 1 })).toBe('closed');
  });

  test('is basic.nack in AMQP 0-9-1, and goes without a word where nobody asked', async () => {
    expect(await confirmOf('strict', 'a')).toBe('nack');
    const plain = await model.createChannel();
    plain.publish('strict', 'a', Buffer.from('x'));
    expect((await plain.checkQueue('full')).messageCount).toBe(1);
    await plain.close();
  });
});

describe('a bound of the configuration', () => {
  test('is 0x97 in MQTT 5, basic.nack in AMQP 0-9-1, and for a topic too many 44 in Kafka', async () => {
    expect((await answerOf('kept/m', { qos: 1, retain: true }))[0]).toBe(0x97);
    expect(await seenBy311('kept/m', { qos: 1, retain: true })).toBe('closed');
    expect(await confirmOf('kept', 'a', { headers: { 'x-mqtt-retain': true } })).toBe('nack');
    await admin.createTopics({ topics: [{ topic: 'last.k' }] });
    expect(await codeOf(admin.createTopics({ topics: [{ topic: 'one.too.many' }] }))).toBe(44);
    expect(await produce('one.too.many')).toBe(44);
  });
});
