/** Streams read by MQTT clients: where they begin, what they are told, under quota, with their session, and refusals. */
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { Pattern } from '../../../src/core/index.ts';
import { accessOf } from '../../support/doors.ts';
import { type MqttWorld, openMqttWorld, type TestClient, type WorldOptions } from './mqtt-world.ts';

async function openWorld(options: WorldOptions = {}): Promise<MqttWorld> {
  const world = await openMqttWorld(options);
  await world.core.streams.declare({
    name: 'readings',
    partitions: 1,
    captures: [new Pattern(['readings'])],
    log: { segmentBytes: 1 << 20, retentionBytes: -1, retentionMs: -1 },
    settings: {},
  });
  return world;
}

async function append(world: MqttWorld, ...bodies: string[]): Promise<void> {
  const client = await world.connected({ version: 5, clientId: 'sender' });
  for (const body of bodies) await client.publish('readings', body, { qos: 1, messageId: 1 });
  client.drop();
  await world.clock.turn();
}

const from = (offset: string) => ({ properties: { userProperties: { offset } } });

const granted = (packets: readonly Packet[]): unknown[] =>
  packets.flatMap((packet) => (packet.cmd === 'suback' ? packet.granted : []));

const messagesIn = (packets: readonly Packet[]): IPublishPacket[] =>
  packets.filter((packet) => packet.cmd === 'publish') as IPublishPacket[];

const bodiesIn = (packets: readonly Packet[]): string[] =>
  messagesIn(packets).map(({ payload }) => payload.toString());

async function readAll(client: TestClient): Promise<Packet[]> {
  const packets: Packet[] = [];
  for (let i = 0; i < 4; i++) packets.push(...(await client.read()));
  return packets;
}

describe('a stream subscription', () => {
  it('begins where it asks, goes on with what comes, and tells where each record stands', async () => {
    const world = await openWorld();
    await append(world, 'a', 'b', 'c');
    const begin = async (offset: string) => {
      const client = await world.connected({ version: 5, clientId: offset });
      return {
        client,
        packets: [
          ...(await client.subscribe('$stream/readings', 0, from(offset))),
          ...(await readAll(client)),
        ],
      };
    };
    const earliest = await begin('earliest');
    expect(bodiesIn(earliest.packets)).toEqual(['a', 'b', 'c']);
    expect(messagesIn(earliest.packets)[1]).toMatchObject({
      topic: 'readings',
      properties: {
        userProperties: { 'x-stream-offset': '1', 'x-stream-partition': '0', 'x-stream-timestamp': '1' },
      },
    });
    const second = await begin('1');
    expect(bodiesIn(second.packets)).toEqual(['b', 'c']);
    const latest = await begin('latest');
    expect(bodiesIn(latest.packets)).toEqual([]);
    const time = await begin(`ts=0`);
    expect(bodiesIn(time.packets)).toEqual(['a', 'b', 'c']);
    await append(world, 'd', 'e');
    for (const { client } of [earliest, second, latest, time]) {
      expect(bodiesIn(await readAll(client))).toEqual(['d', 'e']);
    }
  });

  it('goes no further than the client acknowledges', async () => {
    const world = await openWorld();
    const bodies = Array.from({ length: 20 }, (_, i) => String(i));
    await append(world, ...bodies);
    const client = await world.connected({ version: 5, clientId: 'c', properties: { receiveMaximum: 3 } });
    const seen: string[] = [];
    const pending = messagesIn([
      ...(await client.subscribe('$s/readings/#', 1, from('earliest'))),
      ...(await readAll(client)),
    ]);
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      expect(pending.length).toBeLessThan(3);
      seen.push(next.payload.toString());
      client.write({ cmd: 'puback', messageId: next.messageId as number } as Packet);
      pending.push(...messagesIn(await client.read()));
    }
    expect(seen).toEqual(bodies);
  });

  it('goes on where it was when its session comes back', async () => {
    const world = await openWorld();
    const connect = {
      version: 5,
      clientId: 'k',
      clean: false,
      properties: { sessionExpiryInterval: 600 },
    } as const;
    const client = await world.connected(connect);
    await client.subscribe('$stream/readings', 1);
    await append(world, 'a', 'b');
    const [first] = messagesIn(await readAll(client));
    client.write({ cmd: 'puback', messageId: first?.messageId as number } as Packet);
    client.drop();
    await append(world, 'c');
    const again = await world.connected(connect);
    expect(bodiesIn(await readAll(again))).toEqual(['b', 'c']);
    again.write({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['$s/readings'] } as Packet);
    await again.read();
    await append(world, 'd');
    expect(await again.read()).toEqual([]);
  });

  it('is refused for what is not there, wrong or not allowed; records that may not be read are passed over', async () => {
    const denied = new Set<string>();
    const world = await openWorld({
      access: accessOf((_principal, action, target) => !denied.has(`${action} ${target}`)),
    });
    const client = await world.connected({ version: 5 });
    const codes = async (filter: string, options = {}) => granted(await client.subscribe(filter, 1, options));
    expect(await codes('$stream/others')).toEqual([0x83]);
    expect(await codes('$stream/readings', from('yesterday'))).toEqual([0x83]);
    for (const filter of ['$stream', '$stream/', '$stream/+', '$stream/#'])
      expect(await codes(filter)).toEqual([0x8f]);
    denied.add('subscribe $stream/readings');
    expect(await codes('$stream/readings')).toEqual([0x87]);
    denied.add('read readings');
    await append(world, 'secret');
    expect(await codes('$stream/readings/#', from('earliest'))).toEqual([1]);
    expect(await readAll(client)).toEqual([]);
  });
});
