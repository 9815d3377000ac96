import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { MemoryStorage } from '../../support/memory-storage.ts';
import { type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

const DURABLE = { clientId: 's', clean: false } as const;
const DURABLE_5 = { ...DURABLE, version: 5, properties: { sessionExpiryInterval: 100 } } as const;

const publishes = (packets: readonly Packet[]): IPublishPacket[] =>
  packets.filter((packet) => packet.cmd === 'publish') as IPublishPacket[];

async function publish(world: MqttWorld, payloads: readonly string[], qos: 0 | 1 | 2): Promise<void> {
  const publisher = await world.connected({ clientId: 'p' });
  for (const [i, payload] of payloads.entries()) {
    await publisher.publish('t', payload, { qos, messageId: i + 1 });
  }
  publisher.write({ cmd: 'disconnect' } as Packet);
}

async function resumed(
  world: MqttWorld,
  options: object = DURABLE,
): Promise<[TestClient, IPublishPacket[], Packet[]]> {
  const client = world.client();
  expect(await client.connect(options)).toMatchObject({ sessionPresent: true });
  const packets = await client.read();
  return [client, publishes(packets), packets];
}

describe('a session that outlives its connection', () => {
  it('[MQTT-4.4.0-1] [MQTT-4.6.0-1] sends again what is unacknowledged, in order, with its identifiers and DUP', async () => {
    const world = await openMqttWorld();
    const client = await world.connected(DURABLE);
    await client.subscribe('t', 2);
    await publish(world, ['1', '2', '3'], 2);
    const first = publishes(await client.read());
    expect(first.map(({ dup }) => dup)).toEqual([false, false, false]);
    client.write({ cmd: 'pubrec', messageId: first[0]?.messageId as number });
    await client.read();
    client.drop();
    await publish(world, ['4'], 1);
    const [again, second, all] = await resumed(world);
    expect(all[0]).toMatchObject({ cmd: 'pubrel', messageId: first[0]?.messageId });
    expect(second.map(({ payload, dup, qos }) => `${payload} ${dup} ${qos}`)).toEqual([
      '2 true 2',
      '3 true 2',
      '4 false 1',
    ]);
    expect(second.slice(0, 2).map(({ messageId }) => messageId)).toEqual(
      first.slice(1).map(({ messageId }) => messageId),
    );
    again.write({ cmd: 'pubcomp', messageId: first[0]?.messageId as number });
    again.write({ cmd: 'pubrec', messageId: first[1]?.messageId as number });
    expect(await again.read()).toMatchObject([{ cmd: 'pubrel', messageId: first[1]?.messageId }]);
  });

  it('keeps identifiers over a restart, so that QoS 2 stays exactly once', async () => {
    const storage = new MemoryStorage();
    const world = await openMqttWorld({ storage });
    const client = await world.connected(DURABLE);
    await client.subscribe('t', 2);
    await publish(world, ['1', '2', '3'], 2);
    const first = publishes(await client.read());
    client.write({ cmd: 'pubrec', messageId: first[1]?.messageId as number });
    client.write({ cmd: 'pubrec', messageId: first[0]?.messageId as number });
    await client.read();

    const restarted = await openMqttWorld({ storage });
    const [, second, all] = await resumed(restarted);
    expect(second).toMatchObject([{ payload: Buffer.from('3'), dup: true, messageId: first[2]?.messageId }]);
    expect(all.slice(0, 2)).toMatchObject([
      { cmd: 'pubrel', messageId: first[1]?.messageId },
      { cmd: 'pubrel', messageId: first[0]?.messageId },
    ]);
  });

  it('is not asked to send QoS 0 that came meanwhile', async () => {
    const world = await openMqttWorld();
    const client = await world.connected(DURABLE);
    await client.subscribe('t', 2);
    client.drop();
    await publish(world, ['lost'], 0);
    await publish(world, ['kept'], 1);
    const [, packets] = await resumed(world);
    expect(packets.map(({ payload }) => String(payload))).toEqual(['kept']);
  });

  it('[MQTT-3.1.2-4] is discarded by a clean start, but not what addresses remember', async () => {
    const world = await openMqttWorld();
    const client = await world.connected(DURABLE);
    await client.subscribe('t', 1);
    await client.publish('t', 'r', { retain: true });
    client.drop();
    const clean = world.client();
    expect(await clean.connect({ clientId: 's', clean: true })).toMatchObject({ sessionPresent: false });
    expect(world.core.sessions.get('s')?.subscriptions.size).toBe(0);
    expect(publishes(await clean.subscribe('t'))).toHaveLength(1);
  });

  it('[MQTT-4.1.0-2] ends when its expiry has passed since the connection ended', async () => {
    const world = await openMqttWorld();
    const client = await world.connected(DURABLE_5);
    world.clock.advance(200_000);
    client.drop();
    world.clock.advance(99_000);
    const [again] = await resumed(world, DURABLE_5);
    again.drop();
    world.clock.advance(101_000);
    expect(await world.client().connect(DURABLE_5)).toMatchObject({ sessionPresent: false });
  });

  it('takes another expiry from DISCONNECT', async () => {
    const world = await openMqttWorld();
    const client = await world.connected(DURABLE_5);
    client.writeBytes('e0 07 00 05 11 00000000');
    expect(client.ended?.reason).toBe('client-closed');
    expect(world.core.sessions.get('s')).toBeUndefined();
  });

  it('is not made by MQTT 3.1.1 with a clean session', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ clientId: 's' });
    client.drop();
    expect(world.core.sessions.get('s')).toBeUndefined();
  });

  it('resumes also where the new connection would not keep it, and then ends', async () => {
    const world = await openMqttWorld();
    const client = await world.connected(DURABLE_5);
    await client.subscribe('t', 1);
    client.drop();
    const last = world.client();
    expect(await last.connect({ clientId: 's', clean: false, version: 5 })).toMatchObject({
      sessionPresent: true,
    });
    last.drop();
    expect(world.core.sessions.get('s')).toBeUndefined();
  });

  it('deleted by an operator ends the connection with 0x98', async () => {
    const world = await openMqttWorld();
    const client = await world.connected(DURABLE_5);
    world.core.sessions.end('s');
    expect(await client.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x98 }]);
    expect(client.ended?.reason).toBe('administrative');
    const restarted = await openMqttWorld({ storage: world.storage });
    expect(restarted.core.sessions.get('s')).toBeUndefined();
  });
});

describe('acknowledgements from the client', () => {
  it('[MQTT-4.3.3-4] a failing PUBREC ends the exchange', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5, clientId: 's' });
    await client.subscribe('t', 2);
    await publish(world, ['1'], 2);
    const [packet] = publishes(await client.read());
    client.write({ cmd: 'pubrec', messageId: packet?.messageId as number, reasonCode: 0x83 } as Packet);
    expect(await client.read()).toEqual([]);
    expect(world.core.sessions.get('s')?.unsettledCount).toBe(0);
  });

  it('of the wrong kind are a protocol error', async () => {
    for (const [qos, cmd] of [
      [1, 'pubrec'],
      [2, 'puback'],
    ] as const) {
      const world = await openMqttWorld();
      const client = await world.connected({ version: 5, clientId: 's' });
      await client.subscribe('t', 2);
      await publish(world, ['1'], qos);
      const [packet] = publishes(await client.read());
      client.write({ cmd, messageId: packet?.messageId as number } as Packet);
      expect((await client.readBytes())[2]).toBe(0x82);
    }
  });

  it('for nothing are passed over; an unknown PUBREC is answered', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    client.write({ cmd: 'puback', messageId: 99 });
    client.write({ cmd: 'pubcomp', messageId: 99 });
    client.write({ cmd: 'pubrec', messageId: 99 });
    expect(await client.read()).toMatchObject([{ cmd: 'pubrel', messageId: 99, reasonCode: 0x92 }]);
    expect(client.ended).toBeNull();
  });
});
