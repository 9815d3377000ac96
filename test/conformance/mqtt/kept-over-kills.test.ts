/** What the gateway promised to do later, it does after it was killed: wills and messages held back. Real clients. */

import { rmSync } from 'node:fs';
import { type IClientOptions, type MqttClient, connect as open } from 'mqtt';
import { afterEach, expect, it } from 'vitest';
import { makeDataFolder, type SpawnedGateway, spawnGateway } from '../../support/gateway.ts';

const folder = makeDataFolder();
let gateway: SpawnedGateway | null = null;
const clients: MqttClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true);
  await gateway?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<SpawnedGateway> {
  gateway = await spawnGateway({ folder });
  return gateway;
}

/** `heard` gets the topics of all that comes, from CONNACK on. */
async function connect(options: IClientOptions, heard: string[] = []): Promise<MqttClient> {
  const client = open(`mqtt://127.0.0.1:${gateway?.ports.mqtt}`, {
    protocolVersion: 5,
    clean: false,
    reconnectPeriod: 0,
    properties: { sessionExpiryInterval: 600 },
    ...options,
  });
  client.on('error', () => {});
  client.on('message', (topic) => heard.push(topic));
  clients.push(client);
  await new Promise((resolve) => client.once('connect', resolve));
  return client;
}

it('a will of a connected client, a delayed will and a message held back are published after a kill, once', async () => {
  const first = await start();
  const watcher = await connect({ clientId: 'watcher' });
  await watcher.subscribeAsync(['will/#', 'held'], { qos: 1 });
  await watcher.endAsync();
  const will = (topic: string, willDelayInterval: number): IClientOptions['will'] => ({
    topic,
    payload: Buffer.from('gone'),
    qos: 1,
    retain: false,
    properties: { willDelayInterval },
  });
  await connect({ clientId: 'there', will: will('will/there', 0) });
  const lost = await connect({ clientId: 'lost', will: will('will/delayed', 2) });
  const publisher = await connect({ clientId: 'publisher' });
  await publisher.publishAsync('$delayed/1/held', 'x', { qos: 1 });
  lost.stream.destroy();
  await new Promise((resolve) => setTimeout(resolve, 200));
  await first.kill('SIGKILL');

  const second = await start();
  const heard: string[] = [];
  const again = await connect({ clientId: 'watcher' }, heard);
  await expect.poll(() => heard.length, { timeout: 6_000 }).toBe(3);
  expect([...heard].sort()).toEqual(['held', 'will/delayed', 'will/there']);
  // What was acknowledged is on the disk as settled when this is.
  await again.subscribeAsync('settled', { qos: 1 });
  await again.endAsync();
  await second.kill('SIGKILL');

  await start();
  const more: string[] = [];
  await connect({ clientId: 'watcher' }, more);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(more).toEqual([]);
}, 30_000);
