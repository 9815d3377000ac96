/**
 * Requests of one protocol answered by servers of another, with clients that know nothing of it: mqtt.js and amqplib.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConsumeMessage } from 'amqplib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Pattern } from '../../../src/core/index.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { amqp, ask, atEnd, closeClients, mqtt, poll, serveMqtt, serveRpc } from './request-clients.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway();
});
afterEach(() => closeClients());
afterAll(() => gateway.stop());

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

  it.each(['with its headers', 'without its headers'])(
    'a request that a server passes on %s is answered by another protocol’s',
    async (how) => {
      await serveMqtt(gateway, 'responder', 'rpc/passed-on');
      const { channel } = await amqp(gateway, 'server');
      await channel.assertQueue('front', { durable: false, autoDelete: true });
      await channel.consume(
        'front',
        (msg) => {
          if (msg === null) return;
          const { replyTo, correlationId, headers } = msg.properties;
          const passedOn = how === 'with its headers' ? { headers } : {};
          channel.publish('rpc', 'passed-on', msg.content, { replyTo, correlationId, ...passedOn });
        },
        { noAck: true },
      );
      const requester = await mqtt(gateway, 'requester', 'clients/1/replies');
      await ask(requester, '$queue/front', '9', 'clients/1/replies', Buffer.from([255, 9]));
      await expect.poll(() => requester.heard.map(({ body }) => body)).toEqual(['answer to 9']);
      expect(requester.heard[0]?.properties.correlationData).toEqual(Buffer.from([255, 9]));
    },
  );

  it('an address given before a restart is good after it', async () => {
    const data = mkdtempSync(join(tmpdir(), 'replies-'));
    atEnd(async () => rmSync(data, { recursive: true }));
    const before = await startTestGateway({ folder: data });
    const { channel } = await amqp(before, 'server');
    await channel.assertQueue('rpc', { durable: false });
    const asking = await mqtt(before, 'requester');
    await ask(asking, '$queue/rpc', '1', 'clients/1/replies', Buffer.from([254]));
    const request = await poll(() => channel.get('rpc', { noAck: true }));
    await before.stop();
    const after = await startTestGateway({ folder: data });
    atEnd(() => after.stop());
    const requester = await mqtt(after, 'requester', 'clients/1/replies');
    const again = await amqp(after, 'server');
    again.channel.sendToQueue(request.properties.replyTo, Buffer.from('after all'), {
      correlationId: request.properties.correlationId,
    });
    await expect.poll(() => requester.heard).toHaveLength(1);
    expect(requester.heard[0]?.properties.correlationData).toEqual(Buffer.from([254]));
  });
});

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
    atEnd(() => hasty.stop());
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
