/** Dead letters read, edited, sent back and removed over HTTP, as AMQP and MQTT clients made them and get them again. */

import amqp from 'amqplib';
import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

let gateway: GatewayInProcess;
let connection: amqp.ChannelModel;
let channel: amqp.ConfirmChannel;
beforeAll(async () => {
  gateway = await GatewayInProcess.start();
  connection = await amqp.connect(`amqp://127.0.0.1:${gateway.port('amqp091')}`);
  channel = await connection.createConfirmChannel();
});
afterAll(async () => {
  await connection?.close();
  await gateway.remove();
});

interface Waiting {
  readonly offset: number;
  readonly deaths: readonly object[];
  readonly message: { readonly body?: string; readonly address: string };
}

async function waitingIn(queue: string, query = ''): Promise<{ items: Waiting[]; next: string | null }> {
  const { body } = await gateway.get(`/v1/queues/${encodeURIComponent(queue)}/messages${query}`);
  return body;
}

/** `queue` is bound to `shop` with `eu.*`, as is `audit`; what it rejects goes to `dead.<queue>`. */
async function rejectIn(queue: string, ...bodies: string[]): Promise<string> {
  const dead = `dead.${queue}`;
  await gateway.call('PUT', `/v1/queues/${dead}`, {});
  await gateway.call('PUT', `/v1/queues/${queue}`, { deadLetter: { exchange: '', key: dead } });
  await gateway.call('PUT', '/v1/queues/audit', {});
  for (const each of [queue, 'audit']) await channel.bindQueue(each, `shop-${queue}`, 'eu.*');
  for (const body of bodies) {
    channel.publish(`shop-${queue}`, 'eu.new', Buffer.from(body), {
      persistent: true,
      contentType: 'text/plain',
      headers: { n: 1 },
    });
  }
  await channel.waitForConfirms();
  for (const _ of bodies) channel.reject((await channel.get(queue)) as amqp.GetMessage, false);
  for (let i = 0; i < 500 && (await waitingIn(dead)).items.length < bodies.length; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return dead;
}

const getNext = async (queue: string): Promise<amqp.GetMessage> =>
  (await channel.get(queue, { noAck: true })) as amqp.GetMessage;

describe('a dead letter', () => {
  test('is shown with its history and goes back as it was, to its queue alone', async () => {
    const dead = await rejectIn('orders', 'first');
    const { body } = await gateway.get('/v1/dead-letters');
    expect(body).toMatchObject({ items: [{ queue: dead, readyCount: 1, sources: ['orders'] }] });
    const [letter] = (await waitingIn(dead)).items;
    expect(letter).toMatchObject({
      deaths: [{ queue: 'orders', reason: 'rejected', count: 1, exchange: 'shop-orders', keys: ['eu.new'] }],
      message: { body: 'first', properties: { contentType: 'text/plain' } },
    });
    const path = `/v1/queues/${dead}/messages/${letter!.offset}`;
    expect(await gateway.get(path)).toMatchObject({ status: 200, body: letter });
    expect(await gateway.call('POST', `${path}/redrive?dryRun=true`, {})).toMatchObject({ status: 200 });
    const audited = await getNext('audit');
    expect(audited.content.toString()).toBe('first');
    expect(await gateway.call('POST', `${path}/redrive`, {})).toMatchObject({
      status: 200,
      body: { queue: 'orders' },
    });
    const back = await getNext('orders');
    expect(back.content.toString()).toBe('first');
    expect(back.fields).toMatchObject({ exchange: 'shop-orders', routingKey: 'eu.new' });
    expect(back.properties).toMatchObject({ contentType: 'text/plain', headers: { n: 1 } });
    expect(back.properties.headers).not.toHaveProperty('x-death');
    expect(await channel.get('audit')).toBe(false);
    expect((await waitingIn(dead)).items).toEqual([]);
    expect(await gateway.call('POST', `${path}/redrive`, {})).toMatchObject({ status: 404 });
  });

  test('is edited on its way back', async () => {
    const dead = await rejectIn('edited', 'wrong');
    const [letter] = (await waitingIn(dead)).items;
    const path = `/v1/queues/${dead}/messages/${letter!.offset}`;
    const edits = { body: 'right', headers: [{ name: 'mended', value: true }] };
    expect(await gateway.call('POST', `${path}/redrive`, edits)).toMatchObject({ status: 200 });
    const back = await getNext('edited');
    expect(back.content.toString()).toBe('right');
    expect(back.properties).toMatchObject({ contentType: 'text/plain', headers: { mended: true } });
    expect(back.fields.routingKey).toBe('eu.new');
  });

  test('with another reply address asks for answers there, and lends no right to publish there', async () => {
    await gateway.call('PUT', '/v1/queues/dead.asked', {});
    await gateway.call('PUT', '/v1/queues/asked', { deadLetter: { exchange: '', key: 'dead.asked' } });
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, {
      protocolVersion: 5,
      reconnectPeriod: 0,
    });
    onTestFinished(() => client.endAsync());
    const answerAt: (string | undefined)[] = [];
    client.on('message', (_topic, _payload, { properties }) => answerAt.push(properties?.responseTopic));
    for (const edits of [{ body: 'again' }, { properties: { replyTo: 'answers/other' } }]) {
      channel.sendToQueue('asked', Buffer.from('?'), { persistent: true, replyTo: 'answers.mine' });
      await channel.waitForConfirms();
      channel.reject((await channel.get('asked')) as amqp.GetMessage, false);
      await expect.poll(async () => (await waitingIn('dead.asked')).items.length).toBe(1);
      const [letter] = (await waitingIn('dead.asked')).items;
      const path = `/v1/queues/dead.asked/messages/${letter!.offset}/redrive`;
      expect(await gateway.call('POST', path, edits)).toMatchObject({ status: 200 });
    }
    await client.subscribeAsync('$queue/asked', { qos: 1 });
    await expect.poll(() => answerAt.length).toBe(2);
    // Where the right to answer is lent, the address is one that carries it.
    expect(answerAt).toEqual([expect.stringMatching(/^\$reply\//), 'answers/other']);
  });

  test('of a consumer group of MQTT clients goes back to the group', async () => {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, {
      clientId: 'worker',
      protocolVersion: 5,
      reconnectPeriod: 0,
    });
    onTestFinished(() => client.endAsync());
    const got: string[] = [];
    client.on('message', (topic, payload, { properties }) => {
      got.push(`${topic} ${payload.toString()}`);
      const { 'message-id': id } = properties!.userProperties as Record<string, string>;
      const said = { 'message-id': id!, 'group-id': 'workers' };
      const settle = got.length === 1 ? '$reject' : '$ack';
      client.publish(`$queue/jobs/${settle}`, '', { qos: 1, properties: { userProperties: said } });
    });
    await client.subscribeAsync('$queue/jobs/#', {
      qos: 1,
      properties: { userProperties: { 'consumer-group': 'workers' } },
    });
    await client.publishAsync('$queue/jobs/eu', 'job', { qos: 1 });
    let letters: Waiting[] = [];
    for (let i = 0; i < 500 && letters.length === 0; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      letters = (await waitingIn('$dlq/jobs')).items ?? [];
    }
    expect(letters).toMatchObject([{ deaths: [{ queue: 'jobs', reason: 'rejected' }] }]);
    expect(await gateway.call('POST', '/v1/queues/%24dlq%2Fjobs/redrive', {})).toMatchObject({
      status: 200,
      body: { redrivenCount: 1, skippedCount: 0, readyCount: 0 },
    });
    for (let i = 0; i < 500 && got.length < 2; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(got).toEqual(['$queue/jobs/eu job', '$queue/jobs/eu job']);
  });

  test('without a queue to go to stays, and so does what is no dead letter', async () => {
    const dead = await rejectIn('vanished', 'a', 'b');
    await gateway.call('POST', `/v1/messages/$queue/${dead}`, { body: 'no dead letter' });
    await gateway.call('DELETE', '/v1/queues/vanished');
    const { body } = await gateway.call('POST', `/v1/queues/${dead}/redrive`, {});
    expect(body).toMatchObject({ redrivenCount: 0, skippedCount: 3, readyCount: 3 });
    const { items } = await waitingIn(dead);
    expect(items.map(({ message }) => message.body)).toEqual(['a', 'b', 'no dead letter']);
    await gateway.call('PUT', '/v1/queues/other', { messagesMax: 2, overflow: 'reject' });
    expect(await gateway.call('POST', `/v1/queues/${dead}/redrive`, { queue: 'other' })).toMatchObject({
      body: { redrivenCount: 2, skipped: [{ detail: 'queue other is full' }], readyCount: 1 },
    });
    expect((await waitingIn('other')).items.map(({ message }) => message.body)).toEqual(['a', 'b']);
  });

  test('is removed', async () => {
    const dead = await rejectIn('removed', 'a', 'b');
    const [first] = (await waitingIn(dead)).items;
    const path = `/v1/queues/${dead}/messages/${first!.offset}`;
    expect(await gateway.call('DELETE', `${path}?dryRun=true`)).toMatchObject({ status: 204 });
    expect(await gateway.call('DELETE', path)).toMatchObject({ status: 204 });
    expect(await gateway.call('DELETE', path)).toMatchObject({ status: 404 });
    expect((await waitingIn(dead)).items.map(({ message }) => message.body)).toEqual(['b']);
  });
});

test('dead letters go back after a restart, in their order, and are looked at in pages', async () => {
  const own = await GatewayInProcess.start();
  onTestFinished(() => own.remove());
  await own.call('PUT', '/v1/queues/dead', {});
  await own.call('PUT', '/v1/queues/q', { messageTtlMs: 1, deadLetter: { exchange: '', key: 'dead' } });
  for (let i = 0; i < 25; i++) await own.call('POST', '/v1/messages/$queue/q', { body: `${i}` });
  const dead = async (): Promise<number> =>
    ((await own.get('/v1/queues/dead')).body as { readyCount: number }).readyCount;
  for (let i = 0; i < 500 && (await dead()) < 25; i++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  await own.stop();
  await own.start();
  await own.call('PUT', '/v1/queues/q', { messageTtlMs: -1 });
  const seen: string[] = [];
  let after = '';
  do {
    const { body } = await own.get(`/v1/queues/dead/messages?limit=7${after}`);
    const { items, next } = body as { items: Waiting[]; next: string | null };
    seen.push(...items.map(({ message }) => message.body!));
    after = next === null ? '' : `&after=${next}`;
  } while (after !== '');
  const all = Array.from({ length: 25 }, (_, i) => `${i}`);
  expect(seen).toEqual(all);
  expect(await own.call('POST', '/v1/queues/dead/redrive', { countMax: 20 })).toMatchObject({
    body: { redrivenCount: 20, readyCount: 5 },
  });
  const { body } = await own.get('/v1/queues/q/messages');
  expect((body as { items: Waiting[] }).items.map(({ message }) => message.body)).toEqual(all.slice(0, 20));
});

describe('a dead letter of a mapping', () => {
  const rule = (topic: string, onError = 'dlq') => ({
    from: { match: 'raw/{device...}' },
    to: [{ endpoint: 'core', topic, maxTopics: 10 }],
    onError,
  });
  const redriveAll = () => gateway.call('POST', '/v1/queues/%24dlq%2Fmappings/redrive', {});

  test('tells which mapping and why, and is published again at its address', async () => {
    await gateway.call('PUT', '/v1/mappings/rooms', rule('rooms/{payload.room}'));
    await gateway.call('PUT', '/v1/queues/by-room', {});
    await channel.bindQueue('by-room', 'rooms', '#');
    for (const address of ['raw/a.b/c', 'raw/d'])
      await gateway.call('POST', `/v1/messages/${address}`, { body: '21.5', reliability: 1 });
    const { body } = await gateway.get('/v1/dead-letters');
    expect((body as { items: object[] }).items).toContainEqual({
      queue: '$dlq/mappings',
      readyCount: 2,
      sources: [],
      mappings: ['rooms'],
      bridges: [],
    });
    const [first] = (await waitingIn('$dlq/mappings')).items;
    expect(first).toMatchObject({
      deaths: [
        {
          queue: '',
          mapping: 'rooms',
          reason: 'missing',
          note: 'the message has no {payload.room}',
          exchange: 'raw',
          keys: ['a/b.c'],
        },
      ],
      message: { address: 'raw/a.b/c', body: '21.5' },
    });
    // As long as the mapping is as it was they die again, each once.
    expect((await redriveAll()).body).toMatchObject({ redrivenCount: 2, skipped: [], readyCount: 2 });
    await gateway.call('PUT', '/v1/mappings/rooms', rule('rooms/{device}'));
    const [again] = (await waitingIn('$dlq/mappings')).items;
    expect(again).toMatchObject({ deaths: [{ count: 1 }], message: { address: 'raw/a.b/c' } });
    const path = `/v1/queues/%24dlq%2Fmappings/messages/${again!.offset}/redrive`;
    expect(await gateway.call('POST', path, { body: '22' })).toMatchObject({
      status: 200,
      body: { queue: null, address: 'raw/a.b/c' },
    });
    expect((await redriveAll()).body).toMatchObject({ redrivenCount: 1, skipped: [], readyCount: 0 });
    const arrived = [await getNext('by-room'), await getNext('by-room')];
    expect(arrived.map(({ fields, content }) => `${fields.routingKey} ${content}`)).toEqual([
      'a/b.c 22',
      'd 21.5',
    ]);
    expect(arrived[0]!.properties.headers?.['x-death']).toBeUndefined();
  });

  test('stays where nobody takes it, where it is refused, and goes to another queue', async () => {
    await gateway.call('PUT', '/v1/mappings/rooms', rule('rooms/{payload.room}'));
    await gateway.call('POST', '/v1/messages/raw/e', { body: '1', reliability: 1 });
    await gateway.call('PUT', '/v1/mappings/rooms', rule('rooms/{payload.room}', 'nack-source'));
    expect((await redriveAll()).body).toMatchObject({
      redrivenCount: 0,
      skipped: [{ detail: 'a queue for raw/e is full, or a mapping refuses it' }],
      readyCount: 1,
    });
    await gateway.call('DELETE', '/v1/mappings/rooms');
    expect((await redriveAll()).body).toMatchObject({
      redrivenCount: 0,
      skipped: [{ detail: 'nobody and no mapping takes what is published to raw/e' }],
      readyCount: 1,
    });
    await gateway.call('PUT', '/v1/queues/looked-at', {});
    const elsewhere = { queue: 'looked-at' };
    expect(
      (await gateway.call('POST', '/v1/queues/%24dlq%2Fmappings/redrive', elsewhere)).body,
    ).toMatchObject({
      redrivenCount: 1,
    });
    expect((await getNext('looked-at')).content.toString()).toBe('1');
  });
});

test('the queue of dead letters of bridges names those, and no queue', async () => {
  await gateway.call('PUT', '/v1/connections/nowhere', { type: 'mqtt', urls: ['mqtt://127.0.0.1:1'] });
  await gateway.call('PUT', '/v1/bridges/away', {
    connection: 'nowhere',
    direction: 'out',
    mappings: [{ match: 'away/{x}' }],
    paused: true,
  });
  await gateway.call('PUT', '/v1/queues/%24dlq%2Fbridges', {});
  const { body } = await gateway.get('/v1/dead-letters');
  expect((body as { items: object[] }).items).toContainEqual({
    queue: '$dlq/bridges',
    readyCount: 0,
    sources: [],
    mappings: [],
    bridges: ['away'],
  });
});
