import type { IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { LoadAverage } from '../../../adapters/mqtt/sys/load.ts';
import { openMqttWorld } from './mqtt-world.ts';

function values(packets: Packet[]): Map<string, string> {
  return new Map(
    packets
      .filter(({ cmd }) => cmd === 'publish')
      .map((packet) => [(packet as IPublishPacket).topic, String((packet as IPublishPacket).payload)]),
  );
}

it('gives a subscriber all values at once, marked as retained, and then what has changed', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ clientId: 'c' });
  await world.connected({ clientId: 'd' });
  const packets = await client.subscribe('$SYS/broker/#', 2);
  const first = values(packets);
  expect(packets.slice(1).every((packet) => (packet as IPublishPacket).retain)).toBe(true);
  for (const [topic, value] of [
    ['version', 'rosettamq version 0.0.0'],
    ['uptime', '0 seconds'],
    ['clients/connected', '2'],
    ['clients/disconnected', '0'],
    ['clients/total', '2'],
    ['clients/maximum', '2'],
    ['messages/received', '3'],
    ['publish/messages/received', '0'],
    ['retained messages/count', '0'],
    ['subscriptions/count', '1'],
    ['store/messages/count', '0'],
    ['load/messages/received/1min', '0.00'],
  ] as const) {
    expect(first.get(`$SYS/broker/${topic}`), topic).toBe(value);
  }
  await client.publish('t', 'x');
  world.clock.advance(10_000);
  const changed = (await client.read()) as IPublishPacket[];
  expect(changed.every(({ retain }) => !retain)).toBe(true);
  expect(values(changed).get('$SYS/broker/uptime')).toBe('10 seconds');
  expect(values(changed).get('$SYS/broker/publish/messages/received')).toBe('1');
  expect(Number(values(changed).get('$SYS/broker/load/publish/received/1min'))).toBeGreaterThan(0);
  world.clock.advance(10_000);
  const next = values(await client.read());
  expect(next.has('$SYS/broker/uptime')).toBe(true);
  expect(next.has('$SYS/broker/version')).toBe(false);
  client.write({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['$SYS/broker/#'] } as Packet);
  await client.read();
  world.clock.advance(20_000);
  expect(await client.read()).toEqual([]);
});

it('counts bytes and packets as they pass', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ clientId: 'c' });
  await client.subscribe('t');
  const read = async (name: string): Promise<number> =>
    Number(values(await client.subscribe(`$SYS/broker/${name}`)).get(`$SYS/broker/${name}`));
  const before = await read('bytes/received');
  const sent = await read('messages/sent');
  client.writeBytes('30 04 0001 74 78');
  await client.read();
  // The subscription for messages/sent, the message, and the one that reads.
  expect((await read('bytes/received')) - before).toBe(2 + 4 + 25 + 1 + 6 + 2 + 4 + 26 + 1);
  // The value then, the message, SUBACK and value of the last reading, and SUBACK of this one.
  expect((await read('messages/sent')) - sent).toBe(5);
});

it('[MQTT-4.7.2-1] is seen by no filter that begins with a wildcard, and is not for clients to write', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ version: 5, clientId: 'c' });
  expect(await client.subscribe('#')).toHaveLength(1);
  expect(await client.subscribe('+/broker/uptime')).toHaveLength(1);
  world.clock.advance(30_000);
  expect(await client.read()).toEqual([]);
  expect(await client.publish('$SYS/broker/uptime', '1', { qos: 1, messageId: 7 })).toMatchObject([
    { cmd: 'puback', reasonCode: 0x87 },
  ]);
});

it('offers nothing where the interval is 0', async () => {
  const world = await openMqttWorld({ settings: { sysIntervalSeconds: 0 } });
  const client = await world.connected({ clientId: 'c' });
  expect(await client.subscribe('$SYS/broker/uptime')).toHaveLength(1);
  world.clock.advance(60_000);
  expect(await client.read()).toEqual([]);
});

it('averages loads over 1, 5 and 15 minutes', () => {
  const load = new LoadAverage();
  load.add(0, 0);
  for (let total = 100; total <= 100 * 6 * 60; total += 100) load.add(total, 10);
  // 600 a minute for an hour.
  expect(load.at(0)).toBeCloseTo(600, 3);
  expect(load.at(2)).toBeCloseTo(600 * (1 - Math.exp(-4)), 0);
  load.add(100 * 6 * 60, 60);
  expect(load.at(0)).toBeCloseTo(600 * Math.exp(-1), 0);
});
