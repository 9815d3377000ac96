/**
 * Full rules on a whole gateway with real clients: an MQTT message becomes what rules say for AMQP, Kafka and MQTT, what
 * cannot be made is refused or kept in the publisher's own terms, and the HTTP API changes rules and tells what they did.
 */

import amqplib from 'amqplib';
import { Kafka, logLevel } from 'kafkajs';
import mqtt from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GatewayInProcess } from '../admin/gateway-in-process.ts';

let gateway: GatewayInProcess;
beforeAll(async () => {
  gateway = await GatewayInProcess.start();
});
afterAll(() => gateway.remove());

async function call(method: string, path: string, body?: unknown) {
  const response = await fetch(gateway.url + path, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text };
}

const connect = () =>
  mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, { protocolVersion: 5, reconnectPeriod: 0 });

const plant = {
  from: { match: 'plant/{site}/{rest...}', where: { payload: { value: '>10' } } },
  to: [
    { endpoint: 'queue:readings', headers: { set: { value: '{payload.value}' } } },
    { endpoint: 'stream:plant', key: '{site}/{rest}', transform: 'select("$.value")' },
    { endpoint: 'core', topic: 'sites/{site}', set: { retain: true, contentType: 'text/plain' } },
  ],
};

test('one MQTT message is a typed AMQP message, a Kafka record and a retained MQTT message', async () => {
  expect((await call('PUT', '/v1/mappings/plant', plant)).status).toBe(201);
  const client = await connect();
  await client.publishAsync('plant/a/oven/1', '{"value": 42}', { qos: 1 });
  await client.publishAsync('plant/a/oven/1', '{"value": 3}', { qos: 1 });

  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${gateway.port('amqp091')}`);
  const channel = await connection.createChannel();
  const got = await channel.get('readings', { noAck: true });
  if (got === false) throw new Error('the queue is empty');
  expect(`${got.fields.exchange} ${got.fields.routingKey} ${got.content}`).toBe(
    'plant a.oven.1 {"value": 42}',
  );
  expect(got.properties.headers).toEqual({ value: 42 });
  expect(await channel.get('readings', { noAck: true })).toBe(false);
  await connection.close();

  const kafka = new Kafka({ brokers: [`127.0.0.1:${gateway.port('kafka')}`], logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: 'g', maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topic: 'plant', fromBeginning: true });
  const record = await new Promise<string>((resolve) => {
    void consumer.run({ eachMessage: async ({ message }) => resolve(`${message.key}=${message.value}`) });
  });
  expect(record).toBe('a/oven/1=42');
  await consumer.disconnect();

  const reader = await connect();
  const retained = new Promise<string>((resolve) => {
    reader.on('message', (topic, payload, packet) =>
      resolve(
        `${topic} ${payload} ${packet.retain} ${packet.properties?.contentType} ${JSON.stringify(packet.properties?.userProperties ?? {})}`,
      ),
    );
  });
  await reader.subscribeAsync('sites/#', { qos: 1 });
  // Nothing of the gateway's own is shown to a client.
  expect(await retained).toBe('sites/a {"value": 42} true text/plain {}');
  await reader.endAsync();
  await client.endAsync();

  const { body } = await call('GET', '/v1/mappings/plant');
  expect(body.counters).toMatchObject({ in: 6, out: 3, filtered: 3, inFlight: 0 });
  expect(body.targets).toEqual(['queue:readings', 'stream:plant', 'core']);
  expect((await call('GET', '/metrics')).body).toMatch(
    /rosettamq_mapping_messages_total\{outcome="out",reason=""\} 3/,
  );
});

test('a record that a Kafka producer writes is published to the address that its key leads back to', async () => {
  const client = await connect();
  const arrived = new Promise<string>((resolve) => {
    client.on('message', (topic, payload) => resolve(`${topic} ${payload}`));
  });
  await client.subscribeAsync('plant/#');
  const kafka = new Kafka({ brokers: [`127.0.0.1:${gateway.port('kafka')}`], logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: 'plant', messages: [{ key: 'b/saw', value: '7' }] });
  await producer.disconnect();
  expect(await arrived).toBe('plant/b/saw 7');
  await client.endAsync();
});

test('what cannot be made is refused to an MQTT publisher with a code, or kept with the reason', async () => {
  const rule = (onError: string) => ({
    from: { match: 'strict/{x}' },
    to: [{ endpoint: 'core', topic: 'o/{payload.id}', maxTopics: 10 }],
    onError,
  });
  await call('PUT', '/v1/mappings/strict', rule('nack-source'));
  const client = await connect();
  await expect(client.publishAsync('strict/1', 'no json', { qos: 1 })).rejects.toMatchObject({ code: 0x83 });
  const overHttp = await call('POST', '/v1/messages/strict/1', { body: 'no json' });
  expect(overHttp).toMatchObject({
    status: 422,
    body: { code: 'refused-by-rule', detail: 'mapping strict refuses it: the body is not JSON' },
  });
  await call('PUT', '/v1/mappings/strict', rule('dlq'));
  await client.publishAsync('strict/1', 'no json', { qos: 1 });
  await client.endAsync();
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${gateway.port('amqp091')}`);
  const channel = await connection.createChannel();
  const dead = await channel.get('$dlq/mappings', { noAck: true });
  if (dead === false) throw new Error('no dead letter');
  expect(`${dead.content}`).toBe('no json');
  expect(dead.properties.headers?.['x-death']?.[0]).toMatchObject({
    reason: 'payload',
    mapping: 'strict',
    detail: 'the body is not JSON',
    exchange: 'strict',
    'routing-keys': ['1'],
  });
  await connection.close();
  const { body } = await call('GET', '/v1/mappings/strict');
  expect(body.counters).toMatchObject({ in: 3, failed: 2, deadLettered: 1 });
});

test('records of a stream are not looked into for the one rule that leads to it, nor appended by it again', async () => {
  await call('PUT', '/v1/mappings/only', {
    from: { match: 'only/{x}' },
    to: [{ endpoint: 'stream:only', key: '{x}' }],
  });
  const kafka = new Kafka({ brokers: [`127.0.0.1:${gateway.port('kafka')}`], logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: 'only', messages: [{ key: '1', value: '7' }] });
  expect((await call('GET', '/v1/mappings/only')).body.counters).toMatchObject({ in: 0, filtered: 0 });
  const client = await connect();
  const arrived = new Promise<string>((resolve) => {
    client.on('message', (topic, payload) => resolve(`${topic} ${payload}`));
  });
  await client.subscribeAsync('only/#');
  await producer.send({ topic: 'only', messages: [{ key: '2', value: '8' }] });
  expect(await arrived).toBe('only/2 8');
  expect((await call('GET', '/v1/mappings/only')).body.counters).toMatchObject({
    in: 1,
    filtered: 1,
    out: 0,
  });
  const { body } = await call('GET', '/v1/streams/only');
  expect(body.partitions[0].endOffset).toBe(2);
  await producer.disconnect();
  await client.endAsync();
});

test('the guard against loops is no header that clients set or see', async () => {
  await call('PUT', '/v1/mappings/stamp', {
    from: { match: 'in/{x}' },
    to: [{ endpoint: 'core', topic: 'stamped/{x}' }],
  });
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${gateway.port('amqp091')}`);
  const channel = await connection.createChannel();
  await channel.assertQueue('seen', { exclusive: true });
  await channel.bindQueue('seen', 'amq.topic', 'stamped.#');
  const client = await connect();
  const properties = { userProperties: { 'x-gw-origin': 'stamp,a,b,c,d,e', own: '1' } };
  await client.publishAsync('in/mqtt', 'x', { qos: 1, properties });
  channel.publish('amq.topic', 'in.amqp', Buffer.from('x'), { headers: { own: '1' } });
  const kafka = new Kafka({ brokers: [`127.0.0.1:${gateway.port('kafka')}`], logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({
    topic: 'in.kafka',
    messages: [{ value: 'x', headers: { 'x-gw-origin': 'stamp', own: '1' } }],
  });
  await producer.disconnect();
  const seen: string[] = [];
  await expect
    .poll(async () => {
      const got = await channel.get('seen', { noAck: true });
      if (got !== false) {
        const { timestamp_in_ms: _, ...headers } = got.properties.headers ?? {};
        seen.push(`${got.fields.routingKey} ${Object.keys(headers)}`);
      }
      return seen.length;
    })
    .toBe(3);
  expect(seen.sort()).toEqual(['amqp', 'kafka', 'mqtt'].map((each) => `stamped.${each} own`));
  await client.endAsync();
  await connection.close();
});

test('sets are applied or refused as a whole, and tried without a trace', async () => {
  const before = (await call('GET', '/v1/mappings')).body.items.map(({ name }: { name: string }) => name);
  const circle = { from: { match: 'c/{x}' }, to: [{ endpoint: 'core', topic: 'c/{x}' }] };
  expect(
    await call('POST', '/v1/mappings:apply', { mappings: { fine: plant, 'not-fine': circle } }),
  ).toMatchObject({
    status: 400,
    body: { pointer: '/mappings/not-fine/to', detail: expect.stringMatching(/go round/) },
  });
  expect(await call('POST', '/v1/mappings:apply', { mappings: { '/': circle } })).toMatchObject({
    status: 400,
    body: { pointer: '/mappings/~1' },
  });
  for (const body of [{ mappings: 7 }, { mappings: [] }, {}, { mappings: {}, tests: [] }])
    expect(await call('POST', '/v1/mappings:apply?prune=true', body)).toMatchObject({ status: 400 });
  const dry = await call('PUT', '/v1/mappings/new?dryRun=true', { match: 'n/{x}', stream: 'never' });
  expect(dry).toMatchObject({ status: 200, body: { name: 'new', stream: 'never', warnings: [] } });
  expect(await call('DELETE', `/v1/mappings/${before[0]}?dryRun=true`)).toMatchObject({ status: 204 });
  expect((await call('GET', '/v1/streams/never')).status).toBe(404);
  expect((await call('GET', '/v1/mappings')).body.items.map(({ name }: { name: string }) => name)).toEqual(
    before,
  );
  const applied = await call('POST', '/v1/mappings:apply?prune=true', { mappings: { plant } });
  expect(applied.body).toMatchObject({
    unchanged: ['plant'],
    deleted: before.filter((name: string) => name !== 'plant'),
  });
  expect((await call('GET', '/v1/explain?address=plant/a/b')).body.destinations).toContainEqual({
    kind: 'mapping',
    name: 'plant',
    patterns: ['plant/+/+/#'],
  });
  await gateway.stop();
  await gateway.start();
  expect((await call('GET', '/v1/mappings')).body.items.map(({ name }: { name: string }) => name)).toEqual([
    'plant',
  ]);
});
