import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { accessOf } from '../../support/doors.ts';
import { type MqttWorld, openMqttWorld } from './mqtt-world.ts';

async function publish(world: MqttWorld, count: number, qos: 0 | 1 | 2, payload = 'x'): Promise<void> {
  const publisher = await world.connected({ clientId: 'p' });
  for (let i = 0; i < count; i++) await publisher.publish('t', payload, { qos, messageId: i + 1 });
}

const identifiers = (packets: readonly Packet[]): number[] =>
  packets
    .filter((packet) => packet.cmd === 'publish')
    .map((packet) => (packet as IPublishPacket).messageId as number);

describe('Receive Maximum', () => {
  it('[MQTT-3.3.4-9] out: no more are under way than the client takes, other packets are not held up', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5, properties: { receiveMaximum: 2 } });
    await client.subscribe('t', 2);
    await publish(world, 5, 2);
    await publish(world, 1, 0);
    const packets = await client.read();
    const ids = identifiers(packets);
    expect(packets.map((packet) => (packet as IPublishPacket).qos)).toEqual([2, 2, 0]);
    client.writeBytes('c000');
    client.write({ cmd: 'pubrec', messageId: ids[0] as number });
    expect((await client.read()).map(({ cmd }) => cmd)).toEqual(['pingresp', 'pubrel']);
    client.write({ cmd: 'pubcomp', messageId: ids[0] as number });
    expect((await client.read()).map(({ cmd }) => cmd)).toEqual(['publish']);
    client.write({ cmd: 'pubrec', messageId: ids[1] as number, reasonCode: 0x80 } as Packet);
    expect((await client.read()).map(({ cmd }) => cmd)).toEqual(['publish']);
  });

  it('[MQTT-4.9.0-1] out: PUBCOMP of an earlier connection gives no credit', async () => {
    const world = await openMqttWorld();
    const options = {
      version: 5,
      clientId: 's',
      clean: false,
      properties: { receiveMaximum: 1, sessionExpiryInterval: 60 },
    } as const;
    const client = await world.connected(options);
    await client.subscribe('t', 2);
    await publish(world, 4, 2);
    const [id] = identifiers(await client.read()) as [number];
    client.write({ cmd: 'pubrec', messageId: id });
    await client.read();
    client.drop();
    const again = await world.connected(options);
    expect((await again.read()).map(({ cmd }) => cmd)).toEqual(['pubrel', 'publish']);
    again.write({ cmd: 'pubcomp', messageId: id });
    expect(await again.read()).toEqual([]);
  });

  it('in: more than was told ends the connection with 0x93', async () => {
    const world = await openMqttWorld({ mqttLimits: { receiveMaximum: 2 } });
    const client = await world.connected({ version: 5 });
    await client.publish('t', 'x', { qos: 2, messageId: 1 });
    await client.publish('t', 'x', { qos: 2, messageId: 2 });
    await client.publish('t', 'x', { qos: 2, messageId: 2, dup: true });
    expect(client.ended).toBeNull();
    client.write({
      cmd: 'publish',
      topic: 't',
      payload: 'x',
      qos: 2,
      messageId: 3,
      dup: false,
      retain: false,
    });
    expect((await client.readBytes())[2]).toBe(0x93);
    expect(client.ended?.reason).toBe('limit-reached');
  });
});

describe('Maximum Packet Size of the client', () => {
  it('[MQTT-3.1.2-24] [MQTT-3.1.2-25] drops what is too large and goes on', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({
      version: 5,
      properties: { maximumPacketSize: 100, receiveMaximum: 1 },
    });
    await client.subscribe('t', 1);
    await publish(world, 1, 1, 'y'.repeat(200));
    await publish(world, 1, 0, 'y'.repeat(200));
    await publish(world, 1, 1, 'z');
    expect(await client.read()).toMatchObject([{ payload: Buffer.from('z'), qos: 1 }]);
    expect(world.core.counters.dropped).toBe(2);
    expect(world.core.sessions.get('client')?.unsettledCount).toBe(1);
  });

  it('[MQTT-3.4.2-2] leaves reason strings out, and always without request problem information', async () => {
    const access = accessOf((_: unknown, action: string) => action !== 'publish');
    for (const properties of [{ maximumPacketSize: 20 }, { requestProblemInformation: false }]) {
      const client = await (await openMqttWorld({ access })).connected({ version: 5, properties });
      const [packet] = await client.publish('t', 'x', { qos: 1, messageId: 1 });
      expect(packet).toMatchObject({ reasonCode: 0x87, length: 3 });
    }
    const client = await (await openMqttWorld({ access })).connected({ version: 5 });
    const [packet] = await client.publish('t', 'x', { qos: 1, messageId: 1 });
    expect((packet as { properties?: object }).properties).toHaveProperty('reasonString');
  });
});

describe('a client that does not read', () => {
  it('loses QoS 0, counted, keeps QoS 1 for later, and is not read when its answers pile up', async () => {
    const world = await openMqttWorld({ mqttLimits: { outputBytesSoft: 262_144 } });
    const client = await world.connected({ clientId: 's' });
    await client.subscribe('t', 1);
    client.transport.pendingBytes = 300_000;
    await publish(world, 3, 0);
    expect(world.core.counters.dropped).toBe(3);
    await publish(world, 5, 1);
    // The credit was taken back when the first of them was written.
    expect(identifiers(await client.read())).toHaveLength(1);
    expect(world.core.sessions.get('s')?.queuedCount).toBe(4);
    client.transport.pendingBytes = 2_000_000;
    client.writeBytes('c000');
    expect(client.transport.paused).toBe(true);
    client.transport.pendingBytes = 0;
    client.handler.drained();
    expect(client.transport.paused).toBe(false);
    expect(identifiers(await client.read())).toHaveLength(4);
  });
});

it('a client that neither reads nor speaks for its keep alive is ended as too slow', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ keepalive: 10 });
  client.transport.pendingBytes = 9_000_000;
  client.writeBytes('c000');
  world.clock.advance(16_000);
  expect(client.ended?.reason).toBe('too-slow');
});

describe('a publisher', () => {
  it('is paused and resumed with the core’s congestion', async () => {
    const world = await openMqttWorld();
    let congest: (yes: boolean) => void = () => {};
    const open = world.core.openPublisher.bind(world.core);
    world.core.openPublisher = (info) => {
      congest = (yes) => info.congested(yes);
      return open(info);
    };
    const client = await world.connected();
    await client.publish('t', 'x');
    congest(true);
    expect(client.transport.paused).toBe(true);
    congest(false);
    expect(client.transport.paused).toBe(false);
  });
});

it('many deliveries with many acknowledgements at once keep order and identifiers apart', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ clientId: 's' });
  await client.subscribe('t', 1);
  const publisher = await world.connected({ clientId: 'p' });
  let next = 0;
  let expected = 0;
  for (let round = 0; round < 30; round++) {
    for (let i = 0; i < 100; i++) {
      publisher.write({
        cmd: 'publish',
        topic: 't',
        payload: `${next++}`,
        qos: 1,
        messageId: 1 + i,
        dup: false,
        retain: false,
      });
    }
    const packets = (await client.read()) as IPublishPacket[];
    expect(new Set(identifiers(packets)).size).toBe(packets.length);
    for (const packet of packets) expect(Number(packet.payload)).toBe(expected++);
    for (const id of identifiers(packets).reverse()) client.write({ cmd: 'puback', messageId: id });
  }
  expect(expected).toBe(next);
});
