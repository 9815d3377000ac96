import type { IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { accessOf } from '../../support/doors.ts';
import { type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

const WILL = { topic: 'will', payload: Buffer.from('gone'), qos: 1, retain: false };

async function watched(): Promise<[MqttWorld, TestClient]> {
  const world = await openMqttWorld();
  const watcher = await world.connected({ clientId: 'watcher', version: 5 });
  await watcher.subscribe('will', 1);
  return [world, watcher];
}

async function heard(watcher: TestClient): Promise<string[]> {
  return (await watcher.read()).map((packet) => String((packet as IPublishPacket).payload));
}

it('[MQTT-3.1.2-8] is sent when the connection is lost, taken over, silent too long or broken by an error', async () => {
  const ends: [name: string, end: (world: MqttWorld, client: TestClient) => unknown][] = [
    ['lost', (_, client) => client.drop()],
    ['silent', (world) => world.clock.advance(20_000)],
    ['error', (_, client) => client.writeBytes('00 00')],
    ['with will', (_, client) => client.writeBytes('e0 01 04')],
    ['another reason', (_, client) => client.writeBytes('e0 01 80')],
    ['taken over', (world) => world.client().connect({ version: 5, clientId: 'c' })],
    ['operator', (_, client) => client.handler.disconnect('administrative')],
  ];
  for (const [name, end] of ends) {
    const [world, watcher] = await watched();
    const client = await world.connected({ version: 5, clientId: 'c', keepalive: 10, will: WILL });
    await end(world, client);
    expect(await heard(watcher), name).toEqual(['gone']);
  }
});

it('[MQTT-3.14.4-3] is not sent after a normal DISCONNECT, in any version', async () => {
  for (const version of [3, 4, 5] as const) {
    const [world, watcher] = await watched();
    const client = await world.connected({ version, clientId: 'c', will: WILL });
    client.writeBytes('e0 00');
    expect(client.ended?.reason).toBe('client-closed');
    expect(await heard(watcher)).toEqual([]);
  }
});

const DELAYED = {
  version: 5,
  clientId: 'c',
  will: { ...WILL, properties: { willDelayInterval: 10 } },
  properties: { sessionExpiryInterval: 60 },
} as const;

it('[MQTT-3.1.3-9] waits its delay, and is not sent when the session goes on', async () => {
  const [world, watcher] = await watched();
  const client = await world.connected(DELAYED);
  client.drop();
  world.clock.advance(9_000);
  expect(await heard(watcher)).toEqual([]);
  const again = world.client();
  await again.connect({ ...DELAYED, clean: false });
  world.clock.advance(60_000);
  expect(await heard(watcher)).toEqual([]);
  again.drop();
  world.clock.advance(11_000);
  expect(await heard(watcher)).toEqual(['gone']);
  world.clock.advance(100_000);
  expect(await heard(watcher)).toEqual([]);
});

it('is sent with the end of the session where that comes before its delay', async () => {
  const [world, watcher] = await watched();
  const client = await world.connected({ ...DELAYED, properties: { sessionExpiryInterval: 5 } });
  client.drop();
  world.clock.advance(6_000);
  expect(await heard(watcher)).toEqual(['gone']);
  const second = await world.connected(DELAYED);
  second.drop();
  await world.connected({ ...DELAYED, clean: true });
  expect(await heard(watcher)).toEqual(['gone']);
});

it('[MQTT-3.1.3-10] forwards its properties without the delay, retained if it says so', async () => {
  const [world, watcher] = await watched();
  const client = await world.connected({
    version: 5,
    clientId: 'c',
    will: {
      ...WILL,
      retain: true,
      properties: { willDelayInterval: 0, contentType: 'a/b', messageExpiryInterval: 9 },
    },
  });
  client.drop();
  const [packet] = (await watcher.read()) as IPublishPacket[];
  expect(packet).toMatchObject({
    retain: false,
    properties: { contentType: 'a/b', messageExpiryInterval: 9 },
  });
  expect(packet?.properties).not.toHaveProperty('willDelayInterval');
  expect(world.core.retained.count).toBe(1);
});

it('is judged when it is sent', async () => {
  let allowed = true;
  const world = await openMqttWorld({ access: accessOf((_, action) => action !== 'publish' || allowed) });
  const watcher = await world.connected({ clientId: 'watcher' });
  await watcher.subscribe('will');
  const client = await world.connected({ clientId: 'c', will: WILL });
  allowed = false;
  client.drop();
  expect(await watcher.read()).toEqual([]);
});

it('[MQTT-3.3.2-2] is refused with a wildcard, and under the server’s own topics', async () => {
  const world = await openMqttWorld();
  for (const [topic, code] of [
    ['a/#', 0x90],
    ['$SYS/x', 0x90],
  ] as const) {
    const client = world.client();
    expect(await client.connect({ version: 5, will: { ...WILL, topic } })).toMatchObject({
      reasonCode: code,
    });
  }
});

it('counts nothing behind DISCONNECT', async () => {
  const [world, watcher] = await watched();
  const client = await world.connected({ clientId: 'c', will: WILL });
  client.writeBytes('e0 00 30 08 0004 77696c6c 6869');
  expect(await heard(watcher)).toEqual([]);
});

it('is sent when the server stops, where it has no delay', async () => {
  const [world, watcher] = await watched();
  const delayed = await world.connected(DELAYED);
  delayed.drop();
  const client = await world.connected({ version: 5, clientId: 'd', will: WILL });
  client.handler.disconnect('shutting-down');
  await world.adapter.stop();
  expect(await heard(watcher)).toEqual(['gone']);
  expect((await client.read()) as Packet[]).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }]);
});

/** The process ends as with a kill and comes back on what it stored. */
async function restarted(world: MqttWorld, awayMs = 0): Promise<MqttWorld> {
  await world.clock.turn();
  const { storage } = world;
  const again = await openMqttWorld({ storage, nowMs: world.clock.nowMs() + awayMs });
  return again;
}

const WATCHER = { version: 5, clientId: 'watcher', properties: { sessionExpiryInterval: 600 } } as const;
const KEPT = { ...DELAYED, clean: false };

async function watchedOnDisk(): Promise<MqttWorld> {
  const world = await openMqttWorld();
  const watcher = await world.connected(WATCHER);
  await watcher.subscribe('will', 1);
  return world;
}

async function heardAfter(world: MqttWorld, ms: number): Promise<string[]> {
  world.clock.advance(ms);
  await world.clock.turn();
  const watcher = world.client();
  const connack = await watcher.connect({ ...WATCHER, clean: false });
  expect(connack).toMatchObject({ sessionPresent: true });
  const publishes = (await watcher.read()) as IPublishPacket[];
  for (const { messageId } of publishes) watcher.write({ cmd: 'puback', messageId } as Packet);
  await watcher.read();
  return publishes.map(({ payload }) => String(payload));
}

it('a delayed will survives the end of the process, and waits for what is left of its delay', async () => {
  const world = await watchedOnDisk();
  (await world.connected(DELAYED)).drop();
  world.clock.advance(4_000);
  const again = await restarted(world);
  expect(await heardAfter(again, 5_000)).toEqual([]);
  expect(await heardAfter(again, 2_000)).toEqual(['gone']);
});

it('a will that fell due while there was no process is published by the next one, once', async () => {
  const world = await watchedOnDisk();
  (await world.connected(DELAYED)).drop();
  const again = await restarted(world, 3_600_000);
  expect(await heardAfter(again, 0)).toEqual(['gone']);
  const third = await restarted(again);
  expect(await heardAfter(third, 60_000)).toEqual([]);
});

it('a client that was connected when the process was killed has its will published after the restart', async () => {
  const world = await watchedOnDisk();
  await world.connected({ ...DELAYED, will: WILL });
  const again = await restarted(world);
  expect(await heardAfter(again, 0)).toEqual(['gone']);
});

it('its delay counts from the start, and a client that resumes its session before takes it back', async () => {
  const world = await watchedOnDisk();
  await world.connected(DELAYED);
  const again = await restarted(world);
  expect(await heardAfter(again, 9_000)).toEqual([]);
  const client = await again.connected({ ...KEPT, will: undefined } as never);
  expect(await heardAfter(again, 30_000)).toEqual([]);
  client.drop();
  const third = await restarted(again);
  expect(await heardAfter(third, 60_000)).toEqual([]);
});

it('a will that was taken back with DISCONNECT stays so over a restart', async () => {
  const world = await watchedOnDisk();
  const client = await world.connected(DELAYED);
  client.writeBytes('e0 00');
  const again = await restarted(world);
  expect(await heardAfter(again, 60_000)).toEqual([]);
});

it('a stop in good order keeps delayed wills for the next process', async () => {
  const world = await watchedOnDisk();
  const client = await world.connected(DELAYED);
  client.handler.disconnect('shutting-down');
  await world.adapter.stop();
  const again = await restarted(world);
  expect(await heardAfter(again, 9_000)).toEqual([]);
  expect(await heardAfter(again, 2_000)).toEqual(['gone']);
});

it('what is stored of a will is all of it', async () => {
  const world = await watchedOnDisk();
  const properties = {
    willDelayInterval: 5,
    payloadFormatIndicator: true,
    contentType: 'text/plain',
    responseTopic: 'r',
    correlationData: Buffer.from([1, 2]),
    messageExpiryInterval: 100,
    userProperties: { a: ['1', '2'] },
  };
  await world.connected({ ...DELAYED, will: { ...WILL, qos: 2, retain: true, properties } });
  const again = await restarted(world);
  again.clock.advance(6_000);
  await again.clock.turn();
  const late = await again.connected({ version: 5, clientId: 'late' });
  const [, publish] = (await late.subscribe('will', 2)) as IPublishPacket[];
  expect(publish).toMatchObject({ qos: 2, retain: true });
  const { willDelayInterval, ...kept } = properties;
  expect(publish?.properties).toMatchObject({ ...kept, messageExpiryInterval: expect.any(Number) });
});
