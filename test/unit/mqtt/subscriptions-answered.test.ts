import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { accessOf } from '../../support/doors.ts';
import { openMqttWorld } from './mqtt-world.ts';

describe('SUBACK', () => {
  it('[MQTT-3.8.4-6] has one code for each filter, in order', async () => {
    const world = await openMqttWorld();
    const subscriptions = ['a', 'b/#/c', 'd+', '', '$share/g/t', '$stream/s', 'e/#'].map((topic) => ({
      topic,
      qos: 1 as const,
    }));
    const v5 = await world.connected({ version: 5 });
    v5.write({ cmd: 'subscribe', messageId: 4, subscriptions } as Packet);
    expect(await v5.read()).toMatchObject([
      { cmd: 'suback', messageId: 4, granted: [1, 0x8f, 0x8f, 0x8f, 1, 0x83, 1] },
    ]);
    const v4 = await world.connected({ clientId: '4' });
    v4.write({ cmd: 'subscribe', messageId: 4, subscriptions } as Packet);
    expect(await v4.read()).toMatchObject([{ granted: [1, 0x80, 0x80, 0x80, 1, 0x80, 1] }]);
    const v3 = await world.connected({ clientId: '3', version: 3 });
    await v3.subscribe('d+');
    expect(v3.ended?.reason).not.toBeNull();
  });

  it('says who may not and what is too much', async () => {
    const access = accessOf(
      (_: unknown, action: string, target: string) => action !== 'subscribe' || target !== 'no',
    );
    const world = await openMqttWorld({ access, limits: { subscriptionsPerSessionMax: 1 } });
    const client = await world.connected({ version: 5 });
    expect(await client.subscribe('no')).toMatchObject([{ granted: [0x87] }]);
    expect(await client.subscribe('a')).toMatchObject([{ granted: [0] }]);
    expect(await client.subscribe('b')).toMatchObject([{ granted: [0x97] }]);
    expect(await client.subscribe('a')).toMatchObject([{ granted: [0] }]);
  });
});

describe('UNSUBACK', () => {
  it('[MQTT-3.11.3-1] tells what was there', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    await client.subscribe('a');
    client.write({ cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['a', 'b', '#x'] });
    expect(await client.read()).toMatchObject([{ cmd: 'unsuback', messageId: 8, granted: [0, 0x11, 0x8f] }]);
    await client.publish('a', 'x');
    expect(await client.read()).toEqual([]);
  });

  it('[MQTT-3.10.4-5] comes before version 5 whatever was there', async () => {
    const client = await (await openMqttWorld()).connected();
    client.writeBytes('a2 05 0008 0001 61');
    expect((await client.readBytes()).toString('hex')).toBe('b0020008');
  });

  it('[MQTT-3.10.4-3] lets what was begun come to its end', async () => {
    const world = await openMqttWorld();
    const client = await world.connected();
    await client.subscribe('t', 2);
    await client.publish('t', 'x', { qos: 1, messageId: 1 });
    client.write({ cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['t'] });
    await client.read();
    expect(world.core.sessions.get('client')?.unsettledCount).toBe(1);
    client.write({ cmd: 'puback', messageId: 2 });
    expect(world.core.sessions.get('client')?.unsettledCount).toBe(0);
  });
});

describe('deliveries', () => {
  it('[MQTT-3.3.4-2] [MQTT-3.3.4-3] come once at the highest QoS with all identifiers', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    await client.subscribe('a/#', 1, { properties: { subscriptionIdentifier: 7 } });
    await client.subscribe('a/+', 0, { properties: { subscriptionIdentifier: 300 } });
    const publisher = await world.connected({ clientId: 'p' });
    await publisher.publish('a/b', 'x', { qos: 2, messageId: 1 });
    const packets = (await client.read()) as IPublishPacket[];
    expect(packets).toHaveLength(1);
    expect(packets[0]).toMatchObject({ qos: 1 });
    expect([packets[0]?.properties?.subscriptionIdentifier].flat().sort()).toEqual([300, 7]);
  });

  it('[MQTT-3.8.4-3] follow the options of the last SUBSCRIBE, its identifier too', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    await client.subscribe('a', 1, { properties: { subscriptionIdentifier: 7 } });
    await client.subscribe('a', 0);
    const publisher = await world.connected({ clientId: 'p' });
    await publisher.publish('a', 'x', { qos: 1, messageId: 1 });
    const [packet] = (await client.read()) as IPublishPacket[];
    expect(packet).toMatchObject({ qos: 0 });
    expect(packet?.properties?.subscriptionIdentifier).toBeUndefined();
  });

  it('[MQTT-3.8.3-3] do not come back where the subscription asks for none of its own', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5, clientId: 'me' });
    await client.subscribe('a', 0, { nl: true });
    expect(await client.publish('a', 'mine')).toEqual([]);
    const other = await world.connected({ clientId: 'other' });
    await other.publish('a', 'theirs');
    expect(await client.read()).toHaveLength(1);
  });

  it('[MQTT-4.7.2-1] [MQTT-4.7.3-4] match topics as they are', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p' });
    const cases: [filter: string, topic: string, matches: boolean][] = [
      ['sport/#', 'sport', true],
      ['sport/+', 'sport', false],
      ['sport/+', 'sport/', true],
      ['+/+', '/finance', true],
      ['/+', '/finance', true],
      ['+', '/finance', false],
      ['a//b', 'a/b', false],
      ['a/+/b', 'a//b', true],
      ['#', '$x/y', false],
      ['+/y', '$x/y', false],
      ['$x/#', '$x/y', true],
      ['A', 'a', false],
    ];
    for (const [filter, topic, matches] of cases) {
      const client = await world.connected({ clientId: 's' });
      await client.subscribe(filter);
      await publisher.publish(topic, 'x');
      expect((await client.read()).length, `${filter} ${topic}`).toBe(matches ? 1 : 0);
    }
  });
});

describe('what addresses remember', () => {
  const walkers = async () => {
    const world = await openMqttWorld({ mqttLimits: { outputBytesSoft: 4_096 } });
    const publisher = await world.connected({ clientId: 'p' });
    for (let i = 0; i < 10; i++) await publisher.publish(`t/${i}`, `${i}`, { retain: true });
    return { world, client: await world.connected({ version: 5, clientId: 's' }) };
  };

  it('[MQTT-3.10.4-2] does not come any more after UNSUBSCRIBE', async () => {
    const { client } = await walkers();
    client.transport.pendingBytes = 5_000;
    await client.subscribe('t/#');
    client.write({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['t/#'] } as Packet);
    client.transport.pendingBytes = 0;
    client.handler.drained();
    expect((await client.read()).map(({ cmd }) => cmd)).toEqual(['unsuback']);
  });

  it('waits once for each subscription, however often it is made anew', async () => {
    const { client } = await walkers();
    client.transport.pendingBytes = 5_000;
    for (let i = 0; i < 20; i++) await client.subscribe('t/#');
    client.transport.pendingBytes = 0;
    client.handler.drained();
    expect(await client.read()).toHaveLength(10);
  });

  it('is not kept for a client whose SUBSCRIBE ended its connection', async () => {
    const { world } = await walkers();
    const client = await world.connected({ version: 3, clientId: 'old', clean: false });
    await world
      .connected({ clientId: 'q' })
      .then((q) => q.publish('k', 'x', { retain: true, qos: 1, messageId: 1 }));
    client.write({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [
        { topic: 'k', qos: 1 },
        { topic: '$delayed/t', qos: 1 },
      ],
    } as Packet);
    await client.read().catch(() => []);
    expect(client.ended?.reason).toBe('not-authorized');
    expect(world.core.sessions.get('old')?.queuedCount).toBe(0);
  });
});

it('many answers that wait for the disk stop the reading', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ clientId: 's', clean: false });
  const storeds: (() => void)[] = [];
  world.core.whenStored = (done) => storeds.push(() => done(null));
  for (let i = 0; i < 200; i++) {
    client.write({ cmd: 'unsubscribe', messageId: 1 + i, unsubscriptions: ['none'] } as Packet);
  }
  expect(client.transport.paused).toBe(true);
  for (let stored = storeds.shift(); stored !== undefined; stored = storeds.shift()) stored();
  expect(client.transport.paused).toBe(false);
  expect(await client.read()).toHaveLength(200);
});

it('[MQTT-3.1.2-24] a SUBACK that the client has no room for ends the connection', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ version: 5, properties: { maximumPacketSize: 40 } });
  client.write({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: Array.from({ length: 60 }, (_, i) => ({ topic: `t/${i}`, qos: 0 })),
  } as Packet);
  expect(await client.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x95 }]);
});

it('a filter with more levels than the core takes is told as an invalid filter', async () => {
  const world = await openMqttWorld({ limits: { addressLevelsMax: 4 } });
  const client = await world.connected({ version: 5 });
  expect(await client.subscribe('1/2/3/4/5')).toMatchObject([{ cmd: 'suback', granted: [0x8f] }]);
});
