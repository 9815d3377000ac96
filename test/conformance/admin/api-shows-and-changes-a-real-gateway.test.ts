/** The HTTP API on a whole gateway with real clients: rules that take effect, what it shows, and its readiness. */

import amqplib from 'amqplib';
import mqtt from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

let gateway: GatewayInProcess;
beforeAll(async () => {
  gateway = await GatewayInProcess.start(['gateway.unreadyMs=500']);
});
afterAll(() => gateway.remove());

const connect = (clientId: string) =>
  mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, {
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 0,
  });

const telemetry = {
  match: 'devices/{device}/telemetry',
  stream: 'telemetry',
  key: '{device}',
  partitions: 6,
};

interface StreamShown {
  readonly mappings: string[];
  readonly partitions: { readonly endOffset: number }[];
}

const recordsOf = (stream: StreamShown) =>
  stream.partitions.reduce((sum, partition) => sum + partition.endOffset, 0);

test('a mapping put while clients publish captures from then on, and is there after a restart', async () => {
  const client = await connect('sensor');
  await client.publishAsync('devices/d1/telemetry', 'before', { qos: 1 });
  expect(await gateway.put('/v1/mappings/telemetry', telemetry)).toBe(201);
  for (let n = 0; n < 20; n++) await client.publishAsync(`devices/d${n}/telemetry`, `${n}`, { qos: 1 });
  const stream: StreamShown = (await gateway.get('/v1/streams/telemetry')).body;
  expect(stream.partitions).toHaveLength(6);
  expect(recordsOf(stream)).toBe(20);
  expect(stream.mappings).toEqual(['telemetry']);
  await client.endAsync();

  await gateway.stop();
  await gateway.start(['gateway.unreadyMs=500']);
  expect((await gateway.get('/v1/mappings/telemetry')).body).toMatchObject({
    definition: telemetry,
    bothWays: true,
  });
  const again = await connect('sensor');
  await again.publishAsync('devices/d1/telemetry', 'after', { qos: 1 });
  expect(recordsOf((await gateway.get('/v1/streams/telemetry')).body)).toBe(21);
  await again.endAsync();
});

test('queues, bindings and explanations show what AMQP clients declared', async () => {
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${gateway.port('amqp091')}`);
  const channel = await connection.createChannel();
  await channel.assertQueue('order-processing', { durable: true });
  await channel.bindQueue('order-processing', 'orders', 'eu.*');
  channel.sendToQueue('order-processing', Buffer.from('1'));
  await channel.checkQueue('order-processing');
  expect((await gateway.get('/v1/queues/order-processing')).body).toMatchObject({
    durable: true,
    readyCount: 1,
    consumerCount: 0,
  });
  expect((await gateway.get('/v1/bindings')).body).toMatchObject({
    items: expect.arrayContaining([
      expect.objectContaining({
        exchange: 'orders',
        key: 'eu/*',
        target: { kind: 'queue', name: 'order-processing' },
      }),
    ]),
  });
  expect((await gateway.get('/v1/explain?protocol=mqtt&address=orders/eu/new')).body).toMatchObject({
    names: { amqp091: { name: { exchange: 'orders', routingKey: 'eu.new' } } },
    destinations: [{ kind: 'queue', name: 'order-processing' }],
  });
  expect((await gateway.get('/v1/exchanges/amq.topic')).body).toMatchObject({ type: 'topic', durable: true });
  await connection.close();
});

test('a session with its subscriptions, and a connection that is ended', async () => {
  const client = await connect('shown');
  await client.subscribeAsync('a/+/#', { qos: 1 });
  expect((await gateway.get('/v1/sessions/shown')).body).toMatchObject({
    attached: true,
    subscriptions: [{ pattern: 'a/+/#', reliability: 1 }],
  });
  const { items }: { items: { id: number; clientId: string; protocol: string }[] } = (
    await gateway.get('/v1/clients')
  ).body;
  const shown = items.find(({ clientId }) => clientId === 'shown')!;
  expect(shown.protocol).toMatch(/^MQTT/);
  const told = new Promise<number | undefined>((resolve) => {
    client.once('disconnect', (packet) => resolve(packet.reasonCode));
  });
  const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
  expect((await fetch(`${gateway.url}/v1/clients/${shown.id}`, { method: 'DELETE' })).status).toBe(204);
  expect(await told).toBe(0x98);
  await ended;
  expect((await gateway.get(`/v1/clients/${shown.id}`)).status).toBe(404);
  client.end(true);
});

test('metrics count what clients did', async () => {
  const client = await connect('counted');
  await client.publishAsync('metrics/test', 'x', { qos: 1 });
  const text = await (await fetch(`${gateway.url}/metrics`)).text();
  expect(Number(/^rosettamq_messages_published_total (\d+)$/m.exec(text)?.[1])).toBeGreaterThan(0);
  expect(text).toMatch(/^rosettamq_connections\{listener="mqtt"\} 1$/m);
  expect(text).not.toMatch(/NaN/);
  await client.endAsync();
});

test('it is ready, and says that it drains before it stops', async () => {
  expect(await gateway.get('/readyz')).toMatchObject({ status: 200, body: { failing: [] } });
  expect(await gateway.get('/livez')).toMatchObject({ status: 200 });
  const stopped = gateway.stop();
  expect(await gateway.get('/readyz')).toMatchObject({ status: 503, body: { failing: ['draining'] } });
  await stopped;
});
