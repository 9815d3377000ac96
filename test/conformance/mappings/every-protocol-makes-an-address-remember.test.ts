/** Retained messages: set and cleared by clients of each protocol, whoever listens, and kept over a restart. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { Clients } from './clients.ts';

let folder: string;
let gateway: TestGateway;
let clients: Clients;

async function start(): Promise<void> {
  gateway = await startTestGateway({ folder, settings: { 'kafka.groupInitialDelayMs': 10 } });
  clients = await Clients.on(gateway);
}

async function stop(): Promise<void> {
  await clients.end();
  await gateway.stop();
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'retained-'));
  await start();
});
afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

async function remembered(): Promise<string[]> {
  const packets = await clients.subscribeMqtt('state/#');
  // A message published now comes after all that was remembered.
  await clients.publishMqtt('state/now', 'now');
  await expect.poll(() => packets.some(({ topic }) => topic === 'state/now')).toBe(true);
  return packets
    .filter(({ retain }) => retain)
    .map(({ topic, payload }) => `${topic} ${payload}`)
    .sort();
}

const AMQP = { headers: { 'x-mqtt-retain': true } };
const KAFKA = { headers: { 'x-mqtt-retain': '1' } };

test('a wildcard subscriber gets after a restart what each protocol had remembered, and each clears it', async () => {
  // Nobody listens to any of these.
  await clients.publishMqtt('state/mqtt', 'by mqtt', { retain: true });
  await clients.publishAmqp('state', 'amqp', Buffer.from('by amqp'), AMQP);
  await clients.produce('state.kafka', { value: 'by kafka', ...KAFKA });
  await stop();
  await start();
  expect(await remembered()).toEqual(['state/amqp by amqp', 'state/kafka by kafka', 'state/mqtt by mqtt']);

  await clients.publishAmqp('state', 'mqtt', Buffer.alloc(0), AMQP);
  await clients.produce('state.amqp', { value: null, ...KAFKA });
  await clients.publishMqtt('state/kafka', '', { retain: true });
  expect(await remembered()).toEqual([]);
});
