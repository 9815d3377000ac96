/** What a consumer group was given and did not settle is there after `kill -9`, what was settled is not. */

import { rmSync } from 'node:fs';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterEach, expect, it } from 'vitest';
import { makeDataFolder, type SpawnedGateway, spawnGateway } from '../support/gateway.ts';

const folder = makeDataFolder();
let gateway: SpawnedGateway | null = null;
const clients: MqttClient[] = [];

afterEach(async () => {
  for (const client of clients) client.end(true);
  await gateway?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function connect(to: SpawnedGateway): Promise<MqttClient> {
  const client = await connectAsync({
    host: '127.0.0.1',
    port: to.ports.mqtt,
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  client.on('error', () => {});
  clients.push(client);
  return client;
}

interface Received {
  readonly body: string;
  readonly id: string;
}

async function join(client: MqttClient, count: number): Promise<Received[]> {
  const received: Received[] = [];
  const all = new Promise<void>((resolve) => {
    client.on('message', (_topic, payload, packet) => {
      received.push({
        body: payload.toString(),
        id: String(packet.properties?.userProperties?.['message-id']),
      });
      if (received.length === count) resolve();
    });
  });
  await client.subscribeAsync('$queue/orders/#', {
    qos: 1,
    properties: { userProperties: { 'consumer-group': 'workers' } },
  });
  await all;
  return received;
}

it('a group comes back with what was acknowledged to publishers and not settled', async () => {
  gateway = await spawnGateway({ folder });
  const publisher = await connect(gateway);
  for (let i = 0; i < 50; i++) await publisher.publishAsync(`$queue/orders/k${i % 3}`, String(i), { qos: 1 });
  const before = await join(await connect(gateway), 50);
  for (const { id } of before.slice(0, 20)) {
    await publisher.publishAsync('$queue/orders/$ack', '', {
      qos: 1,
      properties: { userProperties: { 'message-id': id, 'group-id': 'workers' } },
    });
  }
  for (let i = 50; i < 60; i++) await publisher.publishAsync('$queue/orders', String(i), { qos: 1 });
  const { ports } = gateway;
  await gateway.kill('SIGKILL');
  gateway = await spawnGateway({ folder, ports });
  const after = await join(await connect(gateway), 40);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(after.map(({ body }) => body)).toEqual(Array.from({ length: 40 }, (_, i) => String(i + 20)));
});
