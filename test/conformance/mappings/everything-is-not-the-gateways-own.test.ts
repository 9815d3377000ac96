/** Who asks for everything, in any protocol, does not get what the gateway tells of itself below `$SYS`. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { Clients } from './clients.ts';

let gateway: TestGateway;
let clients: Clients;

beforeAll(async () => {
  gateway = await startTestGateway({
    settings: { 'storage.durability': 'os', 'kafka.groupInitialDelayMs': 10, 'mqtt.sysIntervalSeconds': 1 },
  });
  clients = await Clients.on(gateway);
});
afterAll(async () => {
  await clients.end();
  await gateway.stop();
});

test('a subscription to #, a binding with # and a rule for all addresses get none of it', async () => {
  const put = await fetch(`${gateway.url}/v1/mappings/all`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ match: '{all...}', stream: 'everything', key: '{all}' }),
  });
  expect(put.status).toBe(201);
  const records = await clients.readTopic('everything');
  const messages = await clients.consume(await clients.bindQueue('amq.topic', '#'));
  const packets = await clients.subscribeMqtt('#');
  const told = await clients.subscribeMqtt('$SYS/broker/uptime');
  await expect.poll(() => told.length, { timeout: 5_000 }).toBeGreaterThan(2);
  await clients.publishMqtt('ours/one', 'x');
  await expect.poll(() => [packets.length, messages.length, records.length]).toEqual([1, 1, 1]);
  expect(packets[0]?.topic).toBe('ours/one');
  expect(messages[0]?.fields.routingKey).toBe('ours.one');
  expect(String(records[0]?.key)).toBe('ours/one');
});
