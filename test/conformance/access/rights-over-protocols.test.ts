/** The same rules over MQTT, AMQP 0-9-1 and Kafka, with real clients, each refused in its protocol's own words. */

import { type Channel, type ChannelModel, connect as connectAmqp } from 'amqplib';
import { Kafka, logLevel } from 'kafkajs';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

const RULES = [
  { effect: 'allow', user: 'ann', actions: ['readwrite'], pattern: 'lab/#' },
  { effect: 'allow', user: 'ann', actions: ['all'], pattern: 'home/%u/#' },
  { effect: 'deny', actions: ['all'], pattern: 'lab/secret/#' },
  { effect: 'allow', user: 'wide', actions: ['subscribe'], pattern: '#' },
  { effect: 'allow', user: 'wide', actions: ['read'], pattern: 'lab/open' },
  { effect: 'allow', user: 'root', actions: ['all'], pattern: '#' },
  { effect: 'allow', user: 'root', actions: ['all'], pattern: '$queue/#' },
  { effect: 'allow', user: 'root', actions: ['all'], pattern: '$group/#' },
  { effect: 'allow', user: 'clerk', actions: ['all'], pattern: '$queue/desk' },
  { effect: 'allow', user: 'clerk', actions: ['read'], pattern: 'letters/#' },
  { effect: 'allow', user: 'reader', actions: ['read'], pattern: 'records' },
  { effect: 'allow', user: 'reader', actions: ['read'], pattern: '$group/readers' },
  { effect: 'allow', user: 'writer', actions: ['write'], pattern: 'records' },
];

let gateway: TestGateway;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  gateway = await startTestGateway({
    settings: { 'auth.acl.rules': JSON.stringify(RULES), 'kafka.groupInitialDelayMs': 10 },
  });
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close().catch(() => {});
});
afterAll(() => gateway.stop());

async function mqtt(username: string, clientId = username): Promise<MqttClient> {
  const client = await connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, {
    username,
    password: 'x',
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  closers.push(() => client.endAsync(true));
  return client;
}

async function amqp(user: string): Promise<{ model: ChannelModel; channel: Channel }> {
  const model = await connectAmqp(`amqp://${user}:x@127.0.0.1:${gateway.ports.amqp}`);
  model.on('error', () => {});
  closers.push(() => model.close());
  return { model, channel: await openChannel(model) };
}

async function openChannel(model: ChannelModel): Promise<Channel> {
  const channel = await model.createChannel();
  channel.on('error', () => {});
  return channel;
}

function kafka(username: string): Kafka {
  return new Kafka({
    clientId: username,
    brokers: [`127.0.0.1:${gateway.ports.kafka}`],
    sasl: { mechanism: 'plain', username, password: 'x' },
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
  });
}

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return 'allowed';
  } catch (error) {
    const { code, type, cause } = error as { code?: unknown; type?: unknown; cause?: { type?: unknown } };
    return type ?? cause?.type ?? code ?? error;
  }
}

async function pause(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 60));
}

describe('MQTT', () => {
  it('answers a publish that is not allowed with 0x87, for QoS 1 and QoS 2', async () => {
    const ann = await mqtt('ann');
    expect(await codeOf(ann.publishAsync('lab/a', 'x', { qos: 1 }))).toBe('allowed');
    expect(await codeOf(ann.publishAsync('lab/secret/a', 'x', { qos: 1 }))).toBe(0x87);
    expect(await codeOf(ann.publishAsync('other', 'x', { qos: 2 }))).toBe(0x87);
    expect(await codeOf(ann.publishAsync('home/ann/a', 'x', { qos: 2 }))).toBe('allowed');
    expect(await codeOf(ann.publishAsync('home/bob/a', 'x', { qos: 2 }))).toBe(0x87);
  });

  it('a user whose name is a wildcard gets nothing of another', async () => {
    const plus = await mqtt('+', 'plus');
    expect(await codeOf(plus.publishAsync('home/ann/a', 'x', { qos: 1 }))).toBe(0x87);
    await expect(plus.subscribeAsync('home/+/#')).rejects.toThrow('Not authorized');
  });

  it('drops and counts a QoS 0 publish', async () => {
    const before = gateway.core.counters.refused;
    const [ann, root] = [await mqtt('ann'), await mqtt('root')];
    const seen: string[] = [];
    root.on('message', (topic) => seen.push(topic));
    await root.subscribeAsync('#');
    await ann.publishAsync('elsewhere', 'x', { qos: 0 });
    await ann.publishAsync('lab/a', 'x', { qos: 1 });
    await expect.poll(() => seen).toContain('lab/a');
    expect(seen).not.toContain('elsewhere');
    expect(gateway.core.counters.refused).toBeGreaterThan(before);
  });

  it('refuses a filter that is not covered with 0x87', async () => {
    const ann = await mqtt('ann');
    const granted = await ann.subscribeAsync(['lab/#', 'lab/+/x']);
    expect(granted.map(({ qos }) => qos)).toEqual([0, 0]);
    for (const filter of ['#', '+/a', 'lab/secret/#', '$share/g/#']) {
      await expect(ann.subscribeAsync(filter), filter).rejects.toThrow('Not authorized');
    }
  });

  it('delivers only what may be read, also of what was retained, and settles the rest', async () => {
    const [wide, root] = [await mqtt('wide'), await mqtt('root')];
    await root.publishAsync('lab/open', 'kept', { qos: 1, retain: true });
    await root.publishAsync('lab/closed', 'kept', { qos: 1, retain: true });
    const seen: string[] = [];
    wide.on('message', (topic, body) => seen.push(`${topic} ${body}`));
    await wide.subscribeAsync('#', { qos: 1 });
    for (let i = 0; i < 100; i++) await root.publishAsync('lab/closed', `${i}`, { qos: 1 });
    await root.publishAsync('lab/open', 'last', { qos: 1 });
    await expect.poll(() => seen).toEqual(['lab/open kept', 'lab/open last']);
    await expect.poll(() => gateway.core.sessions.get('wide')?.unsettledCount).toBe(0);
  });

  it('asks for a will’s rights when it is sent', async () => {
    const root = await mqtt('root');
    const seen: string[] = [];
    root.on('message', (topic) => seen.push(topic));
    await root.subscribeAsync('#');
    for (const topic of ['other/will', 'lab/will']) {
      const client = await connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, {
        username: 'ann',
        password: 'x',
        clientId: `will-${topic}`,
        will: { topic, payload: Buffer.from('gone'), qos: 1 as const },
        reconnectPeriod: 0,
      });
      client.on('error', () => {});
      client.stream.destroy();
    }
    await expect.poll(() => seen).toContain('lab/will');
    expect(seen).not.toContain('other/will');
  });

  it('applies changed rules to clients that are connected, and leaves them connected', async () => {
    const { accessRules } = gateway.gateway;
    const [guest, root] = [await mqtt('guest'), await mqtt('root')];
    const seen: string[] = [];
    guest.on('message', (_, body) => seen.push(`${body}`));
    expect(await codeOf(guest.publishAsync('new/a', 'x', { qos: 1 }))).toBe(0x87);
    await accessRules.put('guest', {
      effect: 'allow',
      user: 'guest',
      actions: ['readwrite'],
      pattern: 'new/#',
    });
    expect(await codeOf(guest.publishAsync('new/a', 'x', { qos: 1 }))).toBe('allowed');
    await guest.subscribeAsync('new/#', { qos: 1 });
    await root.publishAsync('new/a', 'before', { qos: 1 });
    await expect.poll(() => seen).toEqual(['before']);
    expect(await accessRules.remove('guest')).toBe(true);
    await root.publishAsync('new/a', 'after', { qos: 1 });
    expect(await codeOf(guest.publishAsync('new/a', 'x', { qos: 1 }))).toBe(0x87);
    await pause();
    expect(seen).toEqual(['before']);
    expect(guest.connected).toBe(true);
  });
});

describe('AMQP 0-9-1', () => {
  it('refuses what is not allowed with 403, each on its channel', async () => {
    const root = await amqp('root');
    await root.channel.assertExchange('letters', 'topic', { durable: false });
    await root.channel.assertQueue('vault', { durable: false });
    const { model, channel } = await amqp('clerk');
    await channel.assertQueue('desk', { durable: false });
    await channel.bindQueue('desk', 'letters', 'a.*');
    channel.publish('', 'desk', Buffer.from('to me'));
    await expect.poll(() => channel.get('desk', { noAck: true })).toBeTruthy();
    const refused: Record<string, (on: Channel) => Promise<unknown>> = {
      'declare a queue': (on) => on.assertQueue('other'),
      'declare an exchange': (on) => on.assertExchange('other', 'topic'),
      'bind from what may not be read': (on) => on.bindQueue('desk', 'secrets', '#'),
      'bind from everything': (on) => on.bindQueue('desk', 'amq.topic', '#'),
      'bind to another queue': (on) => on.bindQueue('vault', 'letters', 'a'),
      get: (on) => on.get('vault'),
      consume: (on) => on.consume('vault', () => {}),
      purge: (on) => on.purgeQueue('vault'),
      delete: (on) => on.deleteQueue('vault'),
      'dead letters to where it may not write': (on) =>
        on.assertQueue('desk', { durable: false, deadLetterExchange: 'letters' }),
    };
    for (const [what, work] of Object.entries(refused)) {
      expect(await codeOf(work(await openChannel(model))), what).toBe(403);
    }
    const publishing = await openChannel(model);
    const closed = new Promise<{ code: number }>((resolve) => publishing.once('error', resolve));
    publishing.publish('letters', 'a', Buffer.from('x'));
    expect((await closed).code).toBe(403);
    const own = await openChannel(model);
    const { queue } = await own.assertQueue('', { exclusive: true });
    await own.bindQueue(queue, 'letters', '#');
    await own.consume(queue, () => {});
  });

  it('nobody publishes under $SYS', async () => {
    const { channel } = await amqp('root');
    const closed = new Promise<{ code: number }>((resolve) => channel.once('error', resolve));
    channel.publish('$SYS', 'broker.uptime', Buffer.from('x'));
    expect((await closed).code).toBe(403);
  });

  it('cancels a consumer whose queue may not be read any more, and keeps its message', async () => {
    const { accessRules } = gateway.gateway;
    const rule = { effect: 'allow', user: 'temp', actions: ['all'], pattern: '$queue/shelf' };
    await accessRules.put('temp', rule);
    const { channel, model } = await amqp('temp');
    const root = await amqp('root');
    await channel.assertQueue('shelf', { durable: false });
    const seen: (string | null)[] = [];
    await channel.consume('shelf', (message) => {
      seen.push(message === null ? null : message.content.toString());
      if (message !== null) channel.ack(message);
    });
    root.channel.sendToQueue('shelf', Buffer.from('one'));
    await expect.poll(() => seen).toEqual(['one']);
    await accessRules.remove('temp');
    root.channel.sendToQueue('shelf', Buffer.from('two'));
    await expect.poll(() => seen).toEqual(['one', null]);
    await expect.poll(() => gateway.core.queues.get('shelf')?.readyCount).toBe(1);
    expect(await codeOf((await openChannel(model)).get('shelf'))).toBe(403);
  });
});

describe('Kafka', () => {
  it('refuses topics, groups and their making in its own words', async () => {
    const admin = kafka('root').admin();
    closers.push(() => admin.disconnect());
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'records' }, { topic: 'hidden' }] });
    const writer = kafka('writer').producer();
    closers.push(() => writer.disconnect());
    await writer.connect();
    const messages = [{ value: 'x' }];
    expect(await codeOf(writer.send({ topic: 'records', messages }))).toBe('allowed');
    for (const topic of ['hidden', 'made.up']) {
      expect(await codeOf(writer.send({ topic, messages })), topic).toBe('TOPIC_AUTHORIZATION_FAILED');
    }
    const tools = kafka('reader').admin();
    closers.push(() => tools.disconnect());
    await tools.connect();
    expect(await tools.listTopics()).toEqual(['records']);
    expect(await codeOf(tools.deleteTopics({ topics: ['records'] }))).toBe('TOPIC_AUTHORIZATION_FAILED');
    expect(await codeOf(tools.fetchOffsets({ groupId: 'others', topics: ['records'] }))).toBe(
      'GROUP_AUTHORIZATION_FAILED',
    );
    const reader = kafka('reader').consumer({ groupId: 'readers', maxWaitTimeInMs: 100 });
    closers.push(() => reader.disconnect());
    await reader.connect();
    await reader.subscribe({ topic: 'records', fromBeginning: true });
    const seen: string[] = [];
    await reader.run({ eachMessage: async ({ message }) => void seen.push(`${message.value}`) });
    await expect.poll(() => seen, { timeout: 5_000 }).toEqual(['x']);
  });
});
