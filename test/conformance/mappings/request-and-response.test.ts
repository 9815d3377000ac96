/**
 * Requests of one protocol answered by servers of another, with clients that know nothing of it: mqtt.js, amqplib and
 * kafkajs, each as its own documentation shows requests and answers.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Channel, type ChannelModel, type ConsumeMessage, connect as connectAmqp } from 'amqplib';
import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { connectAsync, type IPublishPacket, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Pattern } from '../../../src/core/index.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

const RULES = [
  { effect: 'allow', user: 'ann', actions: ['all'], pattern: 'home/ann/#' },
  { effect: 'allow', user: 'ann', actions: ['write'], pattern: '$queue/desk' },
  { effect: 'allow', user: 'ann', actions: ['write'], pattern: 'ask/#' },
  { effect: 'allow', user: 'shy', actions: ['subscribe', 'read'], pattern: 'home/shy/#' },
  { effect: 'allow', user: 'shy', actions: ['write'], pattern: '$queue/desk' },
  { effect: 'allow', user: 'clerk', actions: ['all'], pattern: '$queue/desk' },
  { effect: 'allow', user: 'device', actions: ['subscribe', 'read'], pattern: 'ask/#' },
];

let gateway: TestGateway;
let guarded: TestGateway;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  gateway = await startTestGateway({ settings: { 'kafka.groupInitialDelayMs': 10 } });
  guarded = await startTestGateway({ settings: { 'auth.acl.rules': JSON.stringify(RULES) } });
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close().catch(() => {});
});
afterAll(async () => {
  await gateway.stop();
  await guarded.stop();
});

interface Heard {
  readonly topic: string;
  readonly body: string;
  readonly properties: NonNullable<IPublishPacket['properties']>;
}

interface Listener {
  readonly client: MqttClient;
  readonly heard: Heard[];
}

async function mqtt(at: TestGateway, username: string, ...filters: string[]): Promise<Listener> {
  const client = await connectAsync(`mqtt://127.0.0.1:${at.ports.mqtt}`, {
    username,
    password: 'x',
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  closers.push(() => client.endAsync(true));
  const heard: Heard[] = [];
  client.on('message', (topic, payload, packet) =>
    heard.push({ topic, body: payload.toString(), properties: packet.properties ?? {} }),
  );
  if (filters.length > 0) await client.subscribeAsync(filters, { qos: 1 });
  return { client, heard };
}

async function amqp(at: TestGateway, user: string): Promise<{ model: ChannelModel; channel: Channel }> {
  const model = await connectAmqp(`amqp://${user}:x@127.0.0.1:${at.ports.amqp}`);
  model.on('error', () => {});
  closers.push(() => model.close());
  const channel = await model.createChannel();
  channel.on('error', () => {});
  return { model, channel };
}

/** The server of RabbitMQ's tutorial six, as amqplib has it. */
async function serveRpc(at: TestGateway, user: string, queue: string): Promise<ConsumeMessage[]> {
  const { channel } = await amqp(at, user);
  const requests: ConsumeMessage[] = [];
  await channel.assertQueue(queue, { durable: false });
  await channel.prefetch(1);
  await channel.consume(queue, (msg) => {
    if (msg === null) return;
    requests.push(msg);
    channel.sendToQueue(msg.properties.replyTo, Buffer.from(`answer to ${msg.content}`), {
      correlationId: msg.properties.correlationId,
    });
    channel.ack(msg);
  });
  return requests;
}

/** Answers whatever has a response topic, as the MQTT 5 specification says in 4.10. */
async function serveMqtt(at: TestGateway, user: string, filter: string): Promise<Heard[]> {
  const { client, heard } = await mqtt(at, user, filter);
  client.on('message', (_topic, payload, { properties }) => {
    if (properties?.responseTopic === undefined) return;
    const { correlationData } = properties;
    client.publish(properties.responseTopic, `answer to ${payload}`, {
      qos: 1,
      properties: correlationData === undefined ? {} : { correlationData },
    });
  });
  return heard;
}

async function ask(
  { client }: Listener,
  topic: string,
  body: string,
  responseTopic: string,
  correlationData?: Buffer,
): Promise<void> {
  const properties = { responseTopic, ...(correlationData === undefined ? {} : { correlationData }) };
  await client.publishAsync(topic, body, { qos: 1, properties });
}

describe('an MQTT 5 requester and an AMQP 0-9-1 server', () => {
  it.each([
    ['text', Buffer.from('call-7')],
    ['bytes that are no text', Buffer.from([0, 255, 254, 128, 1])],
    ['text that is too long for AMQP', Buffer.from('c'.repeat(300))],
    ['a thousand bytes that are no text', Buffer.alloc(1000, 0xfe)],
    ['nothing', Buffer.alloc(0)],
  ])('correlation data of %s comes back as it was', async (what, correlation) => {
    const topic = `clients/${what.replaceAll(' ', '-')}/replies`;
    const requests = await serveRpc(gateway, 'server', 'rpc_queue');
    const requester = await mqtt(gateway, 'requester', topic);
    await ask(requester, '$queue/rpc_queue', '21', topic, correlation);
    await expect.poll(() => requester.heard).toHaveLength(1);
    const [answer] = requester.heard;
    expect(answer).toMatchObject({ topic, body: 'answer to 21' });
    expect(answer?.properties.correlationData).toEqual(correlation);
    const { replyTo, correlationId, headers } = requests[0]!.properties;
    expect(replyTo).toMatch(/^amq\.gw\.reply\.[\w-]+$/);
    expect(typeof correlationId).toBe('string');
    expect(headers?.['x-reply-to-topic']).toBe(topic);
  });

  it('text is shown to the server as it is', async () => {
    const requests = await serveRpc(gateway, 'server', 'rpc_queue');
    const requester = await mqtt(gateway, 'requester', 'clients/1/replies');
    await ask(requester, '$queue/rpc_queue', '1', 'clients/1/replies', Buffer.from('call-7'));
    await expect.poll(() => requester.heard).toHaveLength(1);
    expect(requests[0]?.properties.correlationId).toBe('call-7');
  });

  it('a response topic longer than AMQP’s names is answered too', async () => {
    const topic = `clients/${'x'.repeat(900)}/replies`;
    await serveRpc(gateway, 'server', 'rpc_queue');
    const requester = await mqtt(gateway, 'requester', topic);
    await ask(requester, '$queue/rpc_queue', '1', topic, Buffer.from([255]));
    await expect.poll(() => requester.heard).toHaveLength(1);
    expect(requester.heard[0]?.properties.correlationData).toEqual(Buffer.from([255]));
  });

  it('requesters with the same correlation get their own answers', async () => {
    await serveRpc(gateway, 'server', 'rpc_queue');
    const requesters = await Promise.all(
      ['a', 'b', 'c'].map((name) => mqtt(gateway, name, `clients/${name}/replies`)),
    );
    for (const [n, requester] of requesters.entries()) {
      const topic = `clients/${'abc'[n]}/replies`;
      await ask(requester, '$queue/rpc_queue', `${n}`, topic, Buffer.from([255, 1]));
    }
    for (const [n, { heard }] of requesters.entries()) {
      await expect.poll(() => heard.map(({ body }) => body)).toEqual([`answer to ${n}`]);
    }
  });

  it('a server that looks whether the requester is still there finds it', async () => {
    const requester = await mqtt(gateway, 'requester', 'clients/1/replies');
    const { channel } = await amqp(gateway, 'server');
    await channel.assertQueue('looks-first', { durable: false, autoDelete: true });
    await ask(requester, '$queue/looks-first', '1', 'clients/1/replies', Buffer.from([255]));
    const request = await poll(() => channel.get('looks-first', { noAck: true }));
    const { replyTo } = request.properties;
    const there = { queue: replyTo, messageCount: 0, consumerCount: 1 };
    await expect(channel.checkQueue(replyTo)).resolves.toMatchObject(there);
    await expect(channel.assertQueue(replyTo)).resolves.toMatchObject(there);
    await requester.client.endAsync();
    await expect(channel.checkQueue(replyTo)).rejects.toThrow('NOT_FOUND - no queue');
  });

  it('an address given before a restart is good after it', async () => {
    const data = mkdtempSync(join(tmpdir(), 'replies-'));
    closers.push(async () => rmSync(data, { recursive: true }));
    const before = await startTestGateway({ folder: data });
    const { channel } = await amqp(before, 'server');
    await channel.assertQueue('rpc', { durable: false });
    const asking = await mqtt(before, 'requester');
    await ask(asking, '$queue/rpc', '1', 'clients/1/replies', Buffer.from([254]));
    const request = await poll(() => channel.get('rpc', { noAck: true }));
    await before.stop();
    const after = await startTestGateway({ folder: data });
    closers.push(() => after.stop());
    const requester = await mqtt(after, 'requester', 'clients/1/replies');
    const again = await amqp(after, 'server');
    again.channel.sendToQueue(request.properties.replyTo, Buffer.from('after all'), {
      correlationId: request.properties.correlationId,
    });
    await expect.poll(() => requester.heard).toHaveLength(1);
    expect(requester.heard[0]?.properties.correlationData).toEqual(Buffer.from([254]));
  });
});

async function poll<T>(get: () => Promise<T | false>, msMax = 2000): Promise<T> {
  for (let tries = 0; tries < msMax / 10; tries++) {
    const found = await get();
    if (found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('nothing came');
}

describe('an AMQP 0-9-1 requester and an MQTT 5 responder', () => {
  it('answers come to an exclusive queue with the correlation-id that was sent', async () => {
    const seen = await serveMqtt(gateway, 'responder', 'rpc/add');
    const { channel } = await amqp(gateway, 'requester');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const answers: ConsumeMessage[] = [];
    await channel.consume(queue, (message) => message !== null && answers.push(message), { noAck: true });
    channel.publish('rpc', 'add', Buffer.from('1+1'), { replyTo: queue, correlationId: 'número 7' });
    await expect.poll(() => answers).toHaveLength(1);
    expect(answers[0]?.content.toString()).toBe('answer to 1+1');
    expect(answers[0]?.properties.correlationId).toBe('número 7');
    expect(answers[0]?.properties.headers?.['x-correlation-id']).toBeUndefined();
    expect(seen[0]?.properties.responseTopic).toMatch(/^\$reply\/[\w-]+$/);
    expect(seen[0]?.properties.correlationData).toEqual(Buffer.from('número 7'));
  });

  it('a worker of a queue and a reader of a stream answer as a subscriber does', async () => {
    await gateway.core.streams.declare({
      name: 'asked',
      partitions: 1,
      captures: [Pattern.of('asked')],
      log: { segmentBytes: 1_000_000, retentionBytes: -1, retentionMs: -1 },
      settings: {},
    });
    const asked = [
      await serveMqtt(gateway, 'worker', '$queue/work'),
      await serveMqtt(gateway, 'reader', '$stream/asked'),
    ];
    const { channel } = await amqp(gateway, 'requester');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.sendToQueue('work', Buffer.from('work'), { replyTo: queue, correlationId: 'c1' });
    channel.publish('asked', '', Buffer.from('read'), { replyTo: queue, correlationId: 'c2' });
    const seen: string[] = [];
    for (let i = 0; i < 2; i++) {
      const { content, properties } = await poll(() => channel.get(queue, { noAck: true }));
      seen.push(`${properties.correlationId} ${content}`);
    }
    expect(seen.sort()).toEqual(['c1 answer to work', 'c2 answer to read']);
    for (const [request] of asked) expect(request?.properties.responseTopic).toMatch(/^\$reply\//);
  });

  it('so they do by direct reply-to, each to its channel', async () => {
    await serveMqtt(gateway, 'responder', 'rpc/direct');
    const { model } = await amqp(gateway, 'requester');
    const answers: string[][] = [[], []];
    for (const [n, own] of answers.entries()) {
      const channel = await model.createChannel();
      await channel.consume(
        'amq.rabbitmq.reply-to',
        (message) => message !== null && own.push(`${message.properties.correlationId} ${message.content}`),
        { noAck: true },
      );
      channel.publish('rpc', 'direct', Buffer.from(`${n}`), {
        replyTo: 'amq.rabbitmq.reply-to',
        correlationId: 'same',
      });
    }
    await expect.poll(() => answers).toEqual([['same answer to 0'], ['same answer to 1']]);
  });

  it('a responder that sends no correlation data back, or other, is understood', async () => {
    const { client, heard } = await mqtt(gateway, 'responder', 'rpc/careless');
    const { channel } = await amqp(gateway, 'requester');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.publish('rpc', 'careless', Buffer.from('?'), { replyTo: queue, correlationId: 'c1' });
    await expect.poll(() => heard).toHaveLength(1);
    const { responseTopic } = heard[0]!.properties;
    await client.publishAsync(responseTopic!, 'one', { qos: 1 });
    await client.publishAsync(responseTopic!, 'two', {
      qos: 1,
      properties: { correlationData: Buffer.from('x') },
    });
    for (const body of ['one', 'two']) {
      const answer = await poll(() => channel.get(queue, { noAck: true }));
      expect([answer.content.toString(), answer.properties.correlationId]).toEqual([body, 'c1']);
    }
  });
});

describe('an answer that nobody waits for', () => {
  it('is told to an MQTT responder: 0x10 where the requester is gone, 0x87 where nobody asked', async () => {
    const { client, heard } = await mqtt(gateway, 'responder', 'rpc/late');
    const { model, channel } = await amqp(gateway, 'requester');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.publish('rpc', 'late', Buffer.from('?'), { replyTo: queue, correlationId: 'c1' });
    await expect.poll(() => heard).toHaveLength(1);
    const responseTopic = heard[0]!.properties.responseTopic as string;
    await model.close();
    await expect.poll(() => gateway.core.queues.get(queue)).toBeUndefined();
    const codes: (number | undefined)[] = [];
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback') codes.push(packet.reasonCode);
    });
    await client.publishAsync(responseTopic, 'late', { qos: 1 });
    expect(codes).toEqual([0x10]);
    const forged = `${responseTopic.slice(0, -1)}${responseTopic.endsWith('A') ? 'B' : 'A'}`;
    await expect(client.publishAsync(forged, 'x', { qos: 1 })).rejects.toMatchObject({ code: 0x87 });
    await expect(client.publishAsync('$reply/x', 'x', { qos: 1 })).rejects.toMatchObject({ code: 0x87 });
    expect(client.connected).toBe(true);
  });

  it('is returned to an AMQP server that asks for it, and a made-up address is refused', async () => {
    const hasty = await startTestGateway({ settings: { 'limits.replyLifetimeMs': 1 } });
    closers.push(() => hasty.stop());
    const { model, channel } = await amqp(hasty, 'server');
    await channel.assertQueue('rpc', { durable: false });
    const requester = await mqtt(hasty, 'requester', 'clients/1/replies');
    await ask(requester, '$queue/rpc', '1', 'clients/1/replies', Buffer.from([254]));
    const { properties } = await poll(() => channel.get('rpc', { noAck: true }));
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const returned: string[] = [];
    channel.on('return', ({ fields }) => {
      const { replyCode, routingKey } = fields as unknown as { replyCode: number; routingKey: string };
      returned.push(`${replyCode} ${routingKey}`);
    });
    channel.sendToQueue(properties.replyTo, Buffer.from('late'), { mandatory: true });
    await expect.poll(() => returned).toEqual([`312 ${properties.replyTo}`]);
    expect(requester.heard).toHaveLength(0);
    expect(hasty.core.counters.repliesLate).toBe(1);

    const other = await model.createChannel();
    const closed = new Promise<Error>((resolve) => other.once('error', resolve));
    other.sendToQueue('amq.gw.reply.made-up', Buffer.from('x'));
    expect((await closed).message).toContain('403 (ACCESS-REFUSED)');
    expect(hasty.core.counters.repliesRefused).toBe(1);
  });

  it('nobody subscribes to reply addresses', async () => {
    const { client } = await mqtt(gateway, 'curious');
    await expect(client.subscribeAsync('$reply/#')).rejects.toThrow();
  });
});

describe('where rights are given by rules', () => {
  it('an answer needs no rule for the server, and the server gets no other right', async () => {
    const requests = await serveRpc(guarded, 'clerk', 'desk');
    const ann = await mqtt(guarded, 'ann', 'home/ann/replies');
    await ask(ann, '$queue/desk', '1', 'home/ann/replies', Buffer.from([255]));
    await expect.poll(() => ann.heard.map(({ body }) => body)).toEqual(['answer to 1']);
    expect(requests).toHaveLength(1);
    const { channel } = await amqp(guarded, 'clerk');
    const closed = new Promise<Error>((resolve) => channel.once('error', resolve));
    channel.publish('home', 'ann.replies', Buffer.from('x'));
    expect((await closed).message).toContain('403 (ACCESS-REFUSED)');
  });

  it('an answer to an AMQP requester’s own queue needs none either', async () => {
    await serveMqtt(guarded, 'device', 'ask/it');
    const { channel } = await amqp(guarded, 'ann');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.publish('ask', 'it', Buffer.from('?'), { replyTo: queue, correlationId: 'c1' });
    const answer = await poll(() => channel.get(queue, { noAck: true }));
    expect(answer.properties.correlationId).toBe('c1');
  });

  it('a requester that may not publish at its response topic lends nothing', async () => {
    const { channel } = await amqp(guarded, 'clerk');
    await channel.assertQueue('desk', { durable: false });
    const shy = await mqtt(guarded, 'shy', 'home/shy/replies');
    await ask(shy, '$queue/desk', '1', 'home/shy/replies', Buffer.from([255]));
    const { properties } = await poll(() => channel.get('desk', { noAck: true }));
    const closed = new Promise<Error>((resolve) => channel.once('error', resolve));
    channel.sendToQueue(properties.replyTo, Buffer.from('x'));
    expect((await closed).message).toContain('403 (ACCESS-REFUSED)');
    expect(shy.heard).toHaveLength(0);
  });

  it.each(['a will', 'a message over HTTP'])('%s lends nothing', async (what) => {
    const { channel } = await amqp(guarded, 'clerk');
    await channel.assertQueue('desk', { durable: false });
    const ann = await mqtt(guarded, 'ann', 'home/ann/replies');
    if (what === 'a will') {
      const dying = await connectAsync(`mqtt://127.0.0.1:${guarded.ports.mqtt}`, {
        username: 'ann',
        password: 'x',
        protocolVersion: 5,
        reconnectPeriod: 0,
        will: {
          topic: '$queue/desk',
          payload: Buffer.from('?'),
          properties: { responseTopic: 'home/ann/replies' },
        },
      });
      dying.stream.destroy();
    } else {
      const posted = await fetch(`${guarded.url}/v1/messages/$queue/desk`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ body: '?', properties: { replyTo: 'home/ann/replies' } }),
      });
      expect(posted.status).toBeLessThan(300);
    }
    const { properties } = await poll(() => channel.get('desk', { noAck: true }));
    const closed = new Promise<Error>((resolve) => channel.once('error', resolve));
    channel.sendToQueue(properties.replyTo, Buffer.from('x'));
    expect((await closed).message).toContain('403 (ACCESS-REFUSED)');
    expect(ann.heard).toHaveLength(0);
  });
});

describe('Kafka', () => {
  function kafka(): Kafka {
    const brokers = [`127.0.0.1:${gateway.ports.kafka}`];
    return new Kafka({ clientId: 'test', brokers, logLevel: logLevel.NOTHING, retry: { retries: 3 } });
  }

  it('a consumer answers by a record to the topic that the header reply-to names', async () => {
    const admin = kafka().admin();
    await admin.connect();
    closers.push(() => admin.disconnect());
    await admin.createTopics({ topics: [{ topic: 'questions' }] });
    const consumer = kafka().consumer({ groupId: 'answering', maxWaitTimeInMs: 100 });
    const producer = kafka().producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await Promise.all([consumer.connect(), producer.connect()]);
    closers.push(
      () => producer.disconnect(),
      () => consumer.disconnect(),
    );
    await consumer.subscribe({ topic: 'questions', fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        const { 'reply-to': topic, 'correlation-id': correlation } = message.headers ?? {};
        await producer.send({
          topic: `${topic}`,
          messages: [
            { value: `answer to ${message.value}`, headers: { 'correlation-id': correlation as Buffer } },
          ],
        });
      },
    });
    const requester = await mqtt(gateway, 'requester', 'clients/k/replies');
    const correlation = Buffer.from([0, 255, 7]);
    await ask(requester, 'questions', '42', 'clients/k/replies', correlation);
    await expect.poll(() => requester.heard, { timeout: 10_000 }).toHaveLength(1);
    expect(requester.heard[0]).toMatchObject({ topic: 'clients/k/replies', body: 'answer to 42' });
    expect(requester.heard[0]?.properties.correlationData).toEqual(correlation);

    const { channel } = await amqp(gateway, 'requester');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.publish('questions', '', Buffer.from('43'), { replyTo: queue, correlationId: 'c1' });
    const answer = await poll(() => channel.get(queue, { noAck: true }), 10_000);
    expect([answer.content.toString(), answer.properties.correlationId]).toEqual(['answer to 43', 'c1']);
  });

  it('makes no topic of the addresses that answers of others go to', async () => {
    const admin = kafka().admin();
    await admin.connect();
    closers.push(() => admin.disconnect());
    const made = admin.createTopics({ topics: [{ topic: '-x24reply.AAAA' }] });
    await expect(made).rejects.toThrow();
    expect(await admin.listTopics()).not.toContain('-x24reply.AAAA');
  });

  it('a producer’s reply-to is a topic of its own: an MQTT and an AMQP server answer there', async () => {
    const admin = kafka().admin();
    const producer = kafka().producer({ createPartitioner: Partitioners.DefaultPartitioner });
    const consumer = kafka().consumer({ groupId: 'asking', maxWaitTimeInMs: 100 });
    await Promise.all([admin.connect(), producer.connect(), consumer.connect()]);
    closers.push(
      () => admin.disconnect(),
      () => producer.disconnect(),
      () => consumer.disconnect(),
    );
    await admin.createTopics({ topics: [{ topic: 'kafka.answers' }, { topic: 'rpc.kafka' }] });
    await serveMqtt(gateway, 'responder', 'rpc/kafka');
    const { channel } = await amqp(gateway, 'server');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'rpc', 'kafka');
    await channel.consume(
      queue,
      (msg) => {
        if (msg === null) return;
        channel.sendToQueue(msg.properties.replyTo, Buffer.from(`amqp to ${msg.content}`), {
          correlationId: msg.properties.correlationId,
        });
      },
      { noAck: true },
    );
    const answers: string[] = [];
    await consumer.subscribe({ topic: 'kafka.answers', fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        const correlation = message.headers?.['correlation-id'] as Buffer;
        answers.push(`${correlation.toString('hex')} ${message.value}`);
      },
    });
    await producer.send({
      topic: 'rpc.kafka',
      messages: [
        { value: '1', headers: { 'reply-to': 'kafka.answers', 'correlation-id': Buffer.from([255, 0]) } },
      ],
    });
    await expect
      .poll(() => answers.sort(), { timeout: 10_000 })
      .toEqual(['ff00 amqp to 1', 'ff00 answer to 1']);
  });
});
