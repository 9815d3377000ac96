/** Where rights are given by rules: an answer needs none of its own, and carries no other right with it. */

import { connectAsync } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { amqp, ask, closeClients, mqtt, poll, serveMqtt, serveRpc } from './request-clients.ts';

const RULES = [
  { effect: 'allow', user: 'ann', actions: ['all'], pattern: 'home/ann/#' },
  { effect: 'allow', user: 'ann', actions: ['write'], pattern: '$queue/desk' },
  { effect: 'allow', user: 'ann', actions: ['write'], pattern: 'ask/#' },
  { effect: 'allow', user: 'shy', actions: ['subscribe', 'read'], pattern: 'home/shy/#' },
  { effect: 'allow', user: 'shy', actions: ['write'], pattern: '$queue/desk' },
  { effect: 'allow', user: 'clerk', actions: ['all'], pattern: '$queue/desk' },
  { effect: 'allow', user: 'device', actions: ['subscribe', 'read'], pattern: 'ask/#' },
];

let guarded: TestGateway;
beforeAll(async () => {
  guarded = await startTestGateway({ settings: { 'auth.acl.rules': JSON.stringify(RULES) } });
});
afterEach(() => closeClients());
afterAll(() => guarded.stop());

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
