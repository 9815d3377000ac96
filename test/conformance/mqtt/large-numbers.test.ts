/** A hundred thousand of what one client may have many of: retained messages, and messages that waited for it. */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SequenceCheck } from '../../bench/measure.ts';
import { MqttClient } from '../../bench/mqtt-client.ts';
import { makeDataFolder, type SpawnedGateway, spawnGateway } from '../../support/gateway.ts';

const COUNT = 100_000;
const WINDOW = 1_000;
const TIMEOUT = { timeout: 60_000 };

const folder = makeDataFolder();
let gateway: SpawnedGateway;
const clients: MqttClient[] = [];

beforeAll(async () => {
  gateway = await spawnGateway({ folder });
});
afterAll(async () => {
  for (const client of clients) client.end();
  await gateway.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function open(
  clientId: string,
  clean: boolean,
  onPayload: ((sequence: number) => void) | null = null,
): Promise<MqttClient> {
  const client = new MqttClient(
    gateway.ports.mqtt,
    onPayload === null ? null : (bytes, at) => onPayload(bytes.readUInt32LE(at + 12)),
  );
  clients.push(client);
  await client.connect(clientId, clean);
  return client;
}

/** Sends one message to each topic in turn and waits until all are acknowledged. */
async function publish(topics: readonly string[], retain: boolean): Promise<void> {
  const publisher = await open('publisher', true);
  publisher.preparePublish({ publisher: 0, topics, qos: 1, retain, payloadBytes: 16 });
  while (publisher.acknowledged < COUNT) {
    const room = WINDOW - (publisher.sent - publisher.acknowledged);
    publisher.publish(Math.min(room, COUNT - publisher.sent));
    publisher.flush();
    await new Promise((resolve) => setImmediate(resolve));
  }
  publisher.disconnect();
}

/** Milliseconds until as many retained messages as the filter matches have come. */
async function measureReplay(filter: string, expected: number): Promise<number> {
  const sequences = new Set<number>();
  const subscriber = await open(`subscriber of ${filter}`, true, (sequence) => sequences.add(sequence));
  const beginMs = performance.now();
  await subscriber.subscribe(filter, 1);
  await expect.poll(() => sequences.size, { interval: 1, timeout: 20_000 }).toBe(expected);
  const elapsedMs = performance.now() - beginMs;
  subscriber.disconnect();
  return elapsedMs;
}

it('retained messages come in time proportional to how many match', TIMEOUT, async () => {
  const topics = Array.from({ length: COUNT }, (_, n) => `retained/${Math.floor(n / 10)}/${n % 10}`);
  await publish(topics, true);
  const allMs = await measureReplay('retained/#', COUNT);
  for (const filter of ['retained/777/+', 'retained/777/#', '+/4242/+']) {
    // A ten-thousandth of the messages; what a subscription costs by itself leaves room for a fiftieth of the time.
    expect(await measureReplay(filter, 10)).toBeLessThan(Math.max(20, allMs / 50));
  }
  expect(await measureReplay('retained/+/5', COUNT / 10)).toBeLessThan(Math.max(50, allMs / 2));
});

it('messages that waited come back complete and in order, also after a crash', TIMEOUT, async () => {
  const first = await open('absent', false);
  await first.subscribe('offline/+', 1);
  first.disconnect();
  await publish(['offline/a'], false);
  for (const client of clients.splice(0)) client.end();
  await gateway.kill('SIGKILL');
  gateway = await spawnGateway({ folder, ports: gateway.ports });
  const check = new SequenceCheck(1);
  const second = await open('absent', false, (sequence) => check.take(0, sequence));
  await expect.poll(() => check.received, { interval: 5, timeout: 30_000 }).toBe(COUNT);
  expect(check.disorder).toBe(0);
  second.disconnect();
});
