/** Queues, streams, exchanges and bindings put, changed and deleted over HTTP, as clients of the protocols find them. */

import amqp from 'amqplib';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

let gateway: GatewayInProcess;
let connection: amqp.ChannelModel;
beforeAll(async () => {
  gateway = await GatewayInProcess.start();
  connection = await amqp.connect(`amqp://127.0.0.1:${gateway.port('amqp091')}`);
});
afterAll(async () => {
  await connection?.close();
  await gateway.remove();
});

const waiting = async (queue: string): Promise<number> => {
  const { body } = await gateway.get(`/v1/queues/${encodeURIComponent(queue)}`);
  return (body as { readyCount: number }).readyCount;
};

describe('a queue', () => {
  test('is made once, and found the same by a client that declares it', async () => {
    const bounds = { messagesMax: 100, messageTtlMs: 60_000, deadLetter: { exchange: 'dlx', key: 'a/b' } };
    const made = await gateway.call('PUT', '/v1/queues/eu%2Forders', bounds);
    expect(made).toMatchObject({ status: 201, body: { name: 'eu/orders', durable: true, ...bounds } });
    expect(made.headers.get('location')).toBe('/v1/queues/eu%2Forders');
    const again = await gateway.call('PUT', '/v1/queues/eu%2Forders', bounds);
    expect(again).toMatchObject({ status: 200, body: made.body });
    expect(again.headers.get('etag')).toBe(made.headers.get('etag'));
    const channel = await connection.createChannel();
    await channel.assertQueue('eu/orders', {
      durable: true,
      maxLength: 100,
      messageTtl: 60_000,
      deadLetterExchange: 'dlx',
      deadLetterRoutingKey: 'a.b',
    });
    await channel.close();
  });

  test('is changed under the clients that declared it', async () => {
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue('jobs', { durable: true, maxLength: 10 });
    for (let i = 0; i < 10; i++) channel.sendToQueue('jobs', Buffer.from(`${i}`), { persistent: true });
    await channel.waitForConfirms();
    expect(await gateway.call('PUT', '/v1/queues/jobs', { messagesMax: 3 })).toMatchObject({
      status: 200,
      body: { messagesMax: 3, readyCount: 3 },
    });
    const oldest = await channel.get('jobs', { noAck: true });
    expect((oldest as amqp.GetMessage).content.toString()).toBe('7');
    // Whoever declares it as before still may.
    await channel.assertQueue('jobs', { durable: true, maxLength: 10 });
    await channel.close();
  });

  test('is as it was changed after a restart', async () => {
    const own = await GatewayInProcess.start();
    await own.call('PUT', '/v1/queues/kept', {});
    await own.call('PUT', '/v1/queues/kept', { overflow: 'reject', bytesMax: 5 });
    await own.stop();
    await own.start();
    expect(await own.get('/v1/queues/kept')).toMatchObject({ body: { overflow: 'reject', bytesMax: 5 } });
    await own.remove();
  });

  test('cannot become durable or cease to be', async () => {
    await gateway.call('PUT', '/v1/queues/fixed', { durable: false });
    const refused = await gateway.call('PUT', '/v1/queues/fixed', { durable: true });
    expect(refused).toMatchObject({ status: 409, body: { pointer: '/durable', in: 'body' } });
  });

  test.each(['amq.mine', '$SYS', '$dlq/', 'x'.repeat(256), 'a\nb'])(
    'of the name %j is not made',
    async (name) => {
      const refused = await gateway.call('PUT', `/v1/queues/${encodeURIComponent(name)}`, {});
      expect([400, 403]).toContain(refused.status);
      expect(refused.body).toMatchObject({ pointer: '/name', in: 'path' });
    },
  );

  test('of two writers with one ETag changes for one', async () => {
    const { headers } = await gateway.call('PUT', '/v1/queues/raced', {});
    const etag = { 'if-match': headers.get('etag')! };
    const both = await Promise.all(
      [1, 2].map((messagesMax) => gateway.call('PUT', '/v1/queues/raced', { messagesMax }, etag)),
    );
    expect(both.map(({ status }) => status).sort()).toEqual([200, 412]);
    expect(await gateway.call('DELETE', '/v1/queues/raced', undefined, etag)).toMatchObject({ status: 412 });
    expect(await gateway.call('PUT', '/v1/queues/raced', {}, { 'if-none-match': '*' })).toMatchObject({
      status: 412,
    });
  });

  test('is purged and deleted, or only as if', async () => {
    await gateway.call('PUT', '/v1/queues/full', {});
    await gateway.call('POST', '/v1/messages/$queue/full', { body: 'x' });
    for (const path of ['/v1/queues/full/messages', '/v1/queues/full']) {
      expect(await gateway.call('DELETE', `${path}?dryRun=true`)).toMatchObject({
        status: 200,
        body: { count: 1 },
      });
    }
    expect(await waiting('full')).toBe(1);
    expect(await gateway.call('DELETE', '/v1/queues/full?ifEmpty=true')).toMatchObject({ status: 409 });
    expect(await gateway.call('DELETE', '/v1/queues/full/messages')).toMatchObject({ body: { count: 1 } });
    expect(await waiting('full')).toBe(0);
    expect(await gateway.call('DELETE', '/v1/queues/full?ifEmpty=true')).toMatchObject({ status: 200 });
    expect(await gateway.get('/v1/queues/full')).toMatchObject({ status: 404 });
  });

  test('that is only tried is not made', async () => {
    expect(await gateway.call('PUT', '/v1/queues/tried?dryRun=true', { messagesMax: 1 })).toMatchObject({
      status: 201,
      body: { name: 'tried', messagesMax: 1 },
    });
    expect(await gateway.get('/v1/queues/tried')).toMatchObject({ status: 404 });
  });
});

describe('a stream', () => {
  test('is made, found by Kafka clients, changed and emptied', async () => {
    const made = await gateway.call('PUT', '/v1/streams/plant.readings', {
      partitions: 2,
      retentionMs: 1_000,
    });
    expect(made).toMatchObject({ status: 201, body: { captures: ['plant/readings'], retentionMs: 1_000 } });
    const kafka = new Kafka({
      brokers: [`127.0.0.1:${gateway.port('kafka')}`],
      logLevel: logLevel.NOTHING,
    });
    const admin = kafka.admin();
    await admin.connect();
    const { topics } = await admin.fetchTopicMetadata({ topics: ['plant.readings'] });
    expect(topics[0]!.partitions).toHaveLength(2);
    const etag = { 'if-match': made.headers.get('etag')! };
    const more = await gateway.call(
      'PUT',
      '/v1/streams/plant.readings',
      { partitions: 3, retentionMs: -1 },
      etag,
    );
    expect(more).toMatchObject({ status: 200, body: { retentionMs: -1 } });
    expect(await gateway.call('PUT', '/v1/streams/plant.readings', {}, etag)).toMatchObject({ status: 412 });
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: 2, name: 'plant.readings', configNames: ['retention.ms'] }],
    });
    expect(resources[0]!.configEntries[0]).toMatchObject({ configValue: '-1' });
    expect(await gateway.call('PUT', '/v1/streams/plant.readings', { partitions: 1 })).toMatchObject({
      status: 409,
      body: { pointer: '/partitions' },
    });
    await gateway.call('POST', '/v1/messages/plant/readings', { body: '1', key: 'k' });
    const emptied = await gateway.call('DELETE', '/v1/streams/plant.readings/records');
    const { partitions } = emptied.body as { partitions: { startOffset: number; endOffset: number }[] };
    expect(partitions.map(({ endOffset }) => endOffset).sort()).toEqual([0, 0, 1]);
    for (const { startOffset, endOffset } of partitions) expect(startOffset).toBe(endOffset);
    await admin.disconnect();
    expect(await gateway.call('DELETE', '/v1/streams/plant.readings')).toMatchObject({ status: 204 });
    expect(await gateway.get('/v1/streams/plant.readings')).toMatchObject({ status: 404 });
  });

  test('is looked at, in pages and by partition', async () => {
    await gateway.call('PUT', '/v1/streams/seen', { partitions: 3 });
    for (let i = 0; i < 10; i++)
      await gateway.call('POST', '/v1/messages/seen', { body: `${i}`, key: `k${i % 4}` });
    type Records = {
      items: { partition: number; offset: number; message: { body: string } }[];
      next: string | null;
    };
    const walk = async (query: string): Promise<Records['items']> => {
      const items: Records['items'] = [];
      let after = '';
      do {
        const page = (await gateway.get(`/v1/streams/seen/records?limit=3${query}${after}`)).body as Records;
        items.push(...page.items);
        after = page.next === null ? '' : `&after=${page.next}`;
      } while (after !== '');
      return items;
    };
    const all = await walk('');
    expect(all.map(({ message }) => message.body).sort()).toEqual([...'0123456789']);
    for (const partition of [0, 1, 2]) {
      const own = all.filter((record) => record.partition === partition);
      expect(own.map(({ offset }) => offset)).toEqual(own.map((_, offset) => offset));
      expect(await walk(`&partition=${partition}`)).toEqual(own);
    }
    expect(await gateway.get('/v1/streams/seen/records?partition=3')).toMatchObject({ status: 404 });
  });

  test('to which a mapping leads is not deleted', async () => {
    await gateway.put('/v1/mappings/m', { match: 'm/{x}', stream: 'mapped', key: '{x}' });
    const refused = await gateway.call('DELETE', '/v1/streams/mapped');
    expect(refused).toMatchObject({ status: 409, body: { detail: 'mappings lead to stream mapped: m' } });
  });

  test.each(['a b', '-x24SYS.x', '..'])('of the name %j is not made', async (name) => {
    const path = `/v1/streams/${encodeURIComponent(name)}`;
    const refused = await gateway.call('PUT', path.replace('..', '%2E%2E'), {});
    expect([400, 404]).toContain(refused.status);
  });
});

describe('an exchange', () => {
  test('is made, bound and used by a client, and cannot become another', async () => {
    const made = await gateway.call('PUT', '/v1/exchanges/orders', { type: 'headers' });
    expect(made).toMatchObject({ status: 201, body: { type: 'headers', durable: true } });
    expect(await gateway.call('PUT', '/v1/exchanges/orders', { type: 'headers' })).toMatchObject({
      status: 200,
    });
    expect(await gateway.call('PUT', '/v1/exchanges/orders', { type: 'topic' })).toMatchObject({
      status: 409,
      body: { pointer: '/type' },
    });
    await gateway.call('PUT', '/v1/queues/large', {});
    const binding = {
      exchange: 'orders',
      target: { kind: 'queue', name: 'large' },
      match: { mode: 'all', headers: { size: 'L', count: 3 } },
    };
    const bound = await gateway.call('POST', '/v1/bindings', binding);
    expect(bound).toMatchObject({ status: 201, body: { exchange: 'orders', match: { mode: 'all' } } });
    expect(await gateway.call('POST', '/v1/bindings', binding)).toMatchObject({
      status: 200,
      body: bound.body,
    });
    const channel = await connection.createConfirmChannel();
    channel.publish('orders', '', Buffer.from('no'), { headers: { size: 'S', count: 3 } });
    channel.publish('orders', '', Buffer.from('yes'), { headers: { size: 'L', count: 3 } });
    await channel.waitForConfirms();
    expect(await waiting('large')).toBe(1);
    // The same to a client that unbinds it.
    await channel.unbindQueue('large', 'orders', '', { 'x-match': 'all', size: 'L', count: 3 });
    const { id } = bound.body as { id: string };
    expect(await gateway.get(`/v1/bindings/${id}`)).toMatchObject({ status: 404 });
    await channel.close();
  });

  test('that becomes internal is seen by a publisher that knew it', async () => {
    const channel = await connection.createConfirmChannel();
    const failed = new Promise((resolve) => channel.once('error', resolve));
    channel.publish('inner', 'k', Buffer.from('x'));
    await channel.waitForConfirms();
    await gateway.call('PUT', '/v1/exchanges/inner', { internal: true });
    channel.publish('inner', 'k', Buffer.from('x'));
    expect(await failed).toMatchObject({ code: 403 });
  });

  test('is unbound and deleted', async () => {
    await gateway.call('PUT', '/v1/exchanges/gone', {});
    await gateway.call('PUT', '/v1/queues/target', {});
    const { body } = await gateway.call('POST', '/v1/bindings', {
      exchange: 'gone',
      target: { kind: 'queue', name: 'target' },
      key: 'a/*',
    });
    expect(await gateway.call('DELETE', '/v1/exchanges/gone?ifUnused=true')).toMatchObject({ status: 409 });
    const { id } = body as { id: string };
    expect(await gateway.call('DELETE', `/v1/bindings/${id}?dryRun=true`)).toMatchObject({ status: 204 });
    expect(await gateway.call('DELETE', `/v1/bindings/${id}`)).toMatchObject({ status: 204 });
    expect(await gateway.call('DELETE', '/v1/exchanges/gone?ifUnused=true')).toMatchObject({ status: 204 });
    expect(await gateway.call('DELETE', '/v1/exchanges/amq.topic')).toMatchObject({ status: 403 });
    const missing = { exchange: 'x', target: { kind: 'queue', name: 'nobody' } };
    expect(await gateway.call('POST', '/v1/bindings', missing)).toMatchObject({
      status: 409,
      body: { pointer: '/target/name' },
    });
  });
});
