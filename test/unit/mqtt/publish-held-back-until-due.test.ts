import type { IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { accessOf } from '../../support/doors.ts';
import { type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

const WATCHER = {
  version: 5,
  clientId: 'w',
  clean: false,
  properties: { sessionExpiryInterval: 9999 },
} as const;

async function watched(world: MqttWorld, filter = '#'): Promise<TestClient> {
  const watcher = await world.connected(WATCHER);
  await watcher.subscribe(filter, 1);
  return watcher;
}

const bodies = (packets: Packet[]): string[] =>
  packets.filter(({ cmd }) => cmd === 'publish').map((packet) => String((packet as IPublishPacket).payload));

it('is published when its time has come, in the order of due times, and acknowledged when it is stored', async () => {
  const world = await openMqttWorld();
  const watcher = await watched(world);
  const client = await world.connected({ version: 5, clientId: 'p' });
  expect(await client.publish('$delayed/20/a/b', 'late', { qos: 1, messageId: 1 })).toMatchObject([
    { cmd: 'puback', messageId: 1, reasonCode: 0 },
  ]);
  expect(await client.publish('$delayed/10/a/b', 'early', { qos: 2, messageId: 2 })).toMatchObject([
    { cmd: 'pubrec', messageId: 2 },
  ]);
  await client.publish('$delayed/10/a/b', 'second');
  expect(world.core.schedule.count).toBe(3);
  world.clock.advance(9_500);
  expect(await watcher.read()).toEqual([]);
  world.clock.advance(1_000);
  const packets = (await watcher.read()) as IPublishPacket[];
  expect(packets.map(({ topic }) => topic)).toEqual(['a/b', 'a/b']);
  expect(bodies(packets)).toEqual(['early', 'second']);
  world.clock.advance(10_000);
  expect(bodies(await watcher.read())).toEqual(['late']);
  expect(world.core.schedule.count).toBe(0);
});

it('is published after a restart, once, and at once where its time came meanwhile', async () => {
  const world = await openMqttWorld();
  await watched(world);
  const client = await world.connected({ version: 5, clientId: 'p' });
  const properties = { contentType: 'x', messageExpiryInterval: 5 };
  await client.publish('$delayed/10/t', 'ten', { qos: 1, messageId: 1, properties });
  await client.publish('$delayed/1000/t', 'thousand', { qos: 1, messageId: 2 });
  await client.publish('$delayed/10/t', 'may be lost', { qos: 0 });
  const again = await openMqttWorld({ storage: world.storage, nowMs: world.clock.nowMs() + 12_000 });
  again.clock.advance(100);
  const watcher = again.client();
  await watcher.connect(WATCHER);
  const packets = (await watcher.read()) as IPublishPacket[];
  expect(bodies(packets)).toEqual(['ten']);
  expect(packets[0]?.properties).toMatchObject({ contentType: 'x', messageExpiryInterval: 3 });
  const third = await openMqttWorld({ storage: world.storage, nowMs: again.clock.nowMs() });
  expect(third.core.schedule.count).toBe(1);
  third.clock.advance(1_000_000);
  expect(third.core.schedule.count).toBe(0);
});

it('follows a delay of nothing, and retains', async () => {
  const world = await openMqttWorld();
  const watcher = await watched(world);
  await watcher.publish('$delayed/0/t', 'now', { qos: 1, messageId: 1, retain: true });
  world.clock.advance(1);
  expect(bodies(await watcher.read())).toEqual(['now']);
  expect(world.core.retained.count).toBe(1);
});

it('refuses what is no delay, no topic, too long, or not to be published to', async () => {
  const world = await openMqttWorld({
    mqttLimits: { delaySecondsMax: 100 },
    access: accessOf((_, action, target) => action !== 'publish' || target !== 'secret'),
  });
  const client = await world.connected({ version: 5, clientId: 'p' });
  const refusals: [topic: string, reasonCode: number][] = [
    ['$delayed/x/t', 0x90],
    ['$delayed/-1/t', 0x90],
    ['$delayed/1.5/t', 0x90],
    ['$delayed/10', 0x90],
    ['$delayed/10/', 0x90],
    ['$delayed', 0x90],
    ['$delayed/99999999999/t', 0x90],
    ['$delayed/101/t', 0x83],
    ['$delayed/1/$SYS/broker/uptime', 0x87],
    ['$delayed/1/$delayed/1/t', 0x90],
    ['$delayed/1/secret', 0x87],
  ];
  for (const [topic, reasonCode] of refusals) {
    expect(await client.publish(topic, 'x', { qos: 1, messageId: 1 }), topic).toMatchObject([
      { cmd: 'puback', reasonCode },
    ]);
  }
  expect(world.core.schedule.count).toBe(0);
});

it('holds no more messages back than it may', async () => {
  const world = await openMqttWorld({ limits: { scheduledMessagesMax: 2, scheduledBytesMax: 100_000 } });
  const client = await world.connected({ version: 5, clientId: 'p' });
  const publish = async (body: string): Promise<unknown> => {
    const [ack] = await client.publish('$delayed/9/t', body, { qos: 1, messageId: 1 });
    return (ack as { reasonCode?: number } | undefined)?.reasonCode;
  };
  expect(await publish('x'.repeat(200_000))).toBe(0x97);
  expect([await publish('1'), await publish('2'), await publish('3')]).toEqual([0, 0, 0x97]);
  world.clock.advance(10_000);
  expect(await publish('4')).toBe(0);
});

it('leaves other topics as they are after one that was held back, with an alias too', async () => {
  const world = await openMqttWorld();
  const watcher = await watched(world);
  const client = await world.connected({ version: 5, clientId: 'p' });
  await client.publish('$delayed/5/t', 'a', { properties: { topicAlias: 1 } });
  await client.publish('t', 'b');
  await client.publish('', 'c', { properties: { topicAlias: 1 } });
  expect(bodies(await watcher.read())).toEqual(['b']);
  world.clock.advance(6_000);
  expect(bodies(await watcher.read())).toEqual(['a', 'c']);
});
