import type { IConnackPacket, IPublishPacket, ISubackPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { openMqttWorld, type TestClient } from './mqtt-world.ts';

const DURABLE = {
  version: 5,
  clientId: 'd',
  clean: false,
  properties: { sessionExpiryInterval: 600 },
} as const;

const reasonOf = async (client: TestClient): Promise<unknown> =>
  ((await client.read()).at(-1) as { reasonCode?: number } | undefined)?.reasonCode;

describe('a connection', () => {
  it('[MQTT-3.1.0-1] ends with the first byte that is not of CONNECT, [MQTT-3.1.0-2] and with a second CONNECT', async () => {
    const world = await openMqttWorld();
    for (const first of ['30', '11', '20', 'f0', '00']) {
      const client = world.client();
      client.writeBytes(first);
      expect(client.ended?.reason, first).toBe('protocol-error');
      expect(await client.read()).toEqual([]);
    }
    const client = await world.connected({ version: 5 });
    client.writeBytes('10');
    expect(await reasonOf(client)).toBe(0x82);
  });

  it('buffers nothing of a packet that is too large, before CONNECT and after', async () => {
    const world = await openMqttWorld();
    const slow = world.client();
    slow.writeBytes('10 ff ff ff 7f');
    expect(slow.ended?.reason).toBe('limit-reached');
    const client = await world.connected({ version: 5 });
    client.writeBytes('30 81 80 80 01');
    expect(await reasonOf(client)).toBe(0x95);
  });

  it('[MQTT-3.1.3-5] takes identifiers of 1 to 23 letters and digits, and MQTT 3.1 without one not at all', async () => {
    const world = await openMqttWorld();
    expect(await world.client().connect({ clientId: 'abcdefghijklmnopqrstuvw' })).toMatchObject({
      returnCode: 0,
    });
    const old = world.client();
    old.writeBytes('10 0e 0006 4d5149736470 03 02 0000 0000');
    expect(await old.read()).toMatchObject([{ cmd: 'connack', returnCode: 2 }]);
    const kept = world.client();
    kept.writeBytes('10 0c 0004 4d515454 04 00 0000 0000');
    expect(await kept.read()).toMatchObject([{ cmd: 'connack', returnCode: 2 }]);
    const connack = (await world.client().connect({ version: 5, clientId: '' })) as IConnackPacket;
    expect(connack.properties?.assignedClientIdentifier).toMatch(/^auto-/);
  });

  it('answers what came in the same chunk as CONNECT, in order, after CONNACK', async () => {
    const world = await openMqttWorld();
    const client = world.client();
    client.writeBytes(
      '10 0d 0004 4d515454 04 02 0000 0001 61' + '82 06 0001 0001 74 01' + '32 06 0001 74 0007 78' + 'c0 00',
    );
    const packets = await client.read();
    expect(packets.map(({ cmd }) => cmd)).toEqual(['connack', 'suback', 'publish', 'puback', 'pingresp']);
  });

  it('[MQTT-3.1.4-3] tells the older connection 0x8E, and the newer one that the session was there', async () => {
    const world = await openMqttWorld();
    const older = await world.connected(DURABLE);
    const newer = world.client();
    expect(await newer.connect(DURABLE)).toMatchObject({ reasonCode: 0, sessionPresent: true });
    expect(await reasonOf(older)).toBe(0x8e);
    expect(newer.ended).toBeNull();
  });

  it('[MQTT-3.1.4-6] processes nothing after a refusing CONNACK', async () => {
    const world = await openMqttWorld();
    const watcher = await world.connected({ clientId: 'w' });
    await watcher.subscribe('t');
    const client = world.client();
    client.writeBytes('10 0c 0004 4d515454 04 00 0000 0000' + '30 04 0001 74 78');
    expect(await client.read()).toMatchObject([{ cmd: 'connack', returnCode: 2 }]);
    expect(await watcher.read()).toEqual([]);
  });

  it('a session expiry of 0 cannot become another one at the end', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    client.writeBytes('e0 07 00 05 11 0000000a');
    expect(await reasonOf(client)).toBe(0x82);
  });
});

describe('a packet', () => {
  it('[MQTT-1.5.5-1] has its lengths in as few bytes as can be', async () => {
    for (const bytes of [
      'c0 80 00',
      '30 06 0001 74 8000 78',
      '82 09 0001 8000 0001 74 00 00',
      'c0 80 80 80 80 01',
    ]) {
      const world = await openMqttWorld();
      const client = await world.connected({ version: 5 });
      client.writeBytes(bytes);
      expect(await reasonOf(client), bytes).toBe(0x81);
    }
  });

  it('acknowledges with 2, 3 or more bytes', async () => {
    for (const ack of ['40 02 0000', '40 03 0000 00', '40 04 0000 00 00', '40 07 0000 10 03 1f 0000']) {
      const world = await openMqttWorld();
      const client = await world.connected({ version: 5 });
      await client.subscribe('t', 1);
      const packets = await client.publish('t', 'x', { qos: 1, messageId: 1 });
      const { messageId } = packets.find(({ cmd }) => cmd === 'publish') as IPublishPacket;
      const bytes = Buffer.from(ack.replaceAll(' ', ''), 'hex');
      bytes.writeUInt16BE(messageId as number, 2);
      client.writeBytes(bytes);
      expect(await client.read(), ack).toEqual([]);
      expect(client.handler.describe().details.inflight, ack).toBe(0);
    }
  });

  it('[MQTT-1.5.4-3] keeps U+FEFF in a topic, [MQTT-4.7.3-4] and every level as it is', async () => {
    const world = await openMqttWorld();
    const client = await world.connected();
    await client.subscribe('#');
    for (const topic of ['\ufeffa', 'a//b', '/a', 'a/', '/', ' ', 'a/\u{1f600}']) {
      const [publish] = (await client.publish(topic, 'x')) as IPublishPacket[];
      expect(publish?.topic).toBe(topic);
    }
    const other = await world.connected({ clientId: 'o' });
    await other.subscribe('sport/#');
    await client.publish('sport', 'x');
    expect(await other.read()).toHaveLength(1);
    await client.publish('sports', 'x');
    await client.publish('/sport', 'x');
    expect(await other.read()).toEqual([]);
  });
});

describe('a message', () => {
  it('has its topic in full on a new connection, whatever alias it had on the one before', async () => {
    const world = await openMqttWorld();
    const properties = { ...DURABLE.properties, topicAliasMaximum: 5 };
    const client = await world.connected({ ...DURABLE, properties });
    await client.subscribe('long/topic', 1);
    await client.publish('long/topic', '1', { qos: 1, messageId: 1 });
    const [second] = (await client.publish('long/topic', '2', { qos: 1, messageId: 2 })).filter(
      ({ cmd }) => cmd === 'publish',
    ) as IPublishPacket[];
    expect(second?.topic).toBe('');
    client.drop();
    const again = world.client();
    await again.connect({ ...DURABLE, properties });
    const packets = (await again.read()) as IPublishPacket[];
    expect(packets.map(({ topic, properties }) => [topic, properties?.topicAlias])).toEqual([
      ['long/topic', 1],
      ['', 1],
    ]);
  });

  it('[MQTT-4.3.3-7] [MQTT-4.3.3-13] that expires half way through QoS 2 goes its way to the end', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    await client.subscribe('t', 2);
    const properties = { messageExpiryInterval: 5 };
    const packets = await client.publish('t', 'x', { qos: 2, messageId: 1, properties });
    const { messageId } = packets.find(({ cmd }) => cmd === 'publish') as IPublishPacket;
    world.clock.advance(10_000);
    client.write({ cmd: 'pubrel', messageId: 1 } as Packet);
    expect(await client.read()).toMatchObject([{ cmd: 'pubcomp', messageId: 1, reasonCode: 0 }]);
    client.write({ cmd: 'pubrec', messageId } as Packet);
    expect(await client.read()).toMatchObject([{ cmd: 'pubrel', messageId }]);
    client.write({ cmd: 'pubcomp', messageId } as Packet);
    expect(await client.read()).toEqual([]);
    expect(client.handler.describe().details.inflight).toBe(0);
  });

  it('[MQTT-3.3.1-3] has DUP as its own delivery says, not as its publisher said', async () => {
    const world = await openMqttWorld();
    const client = await world.connected();
    await client.subscribe('t', 1);
    const packets = await client.publish('t', 'x', { qos: 1, messageId: 1, dup: true });
    expect(packets.find(({ cmd }) => cmd === 'publish')).toMatchObject({ dup: false });
  });

  it('[MQTT-3.10.4-3] that was begun is finished after UNSUBSCRIBE', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    await client.subscribe('t', 2);
    const packets = await client.publish('t', 'x', { qos: 2, messageId: 1 });
    const { messageId } = packets.find(({ cmd }) => cmd === 'publish') as IPublishPacket;
    client.write({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['t'] } as Packet);
    client.write({ cmd: 'pubrec', messageId } as Packet);
    expect(await client.read()).toMatchObject([{ cmd: 'unsuback' }, { cmd: 'pubrel', messageId }]);
  });

  it('of MQTT 5 reaches 3.1 and 3.1.1 without its properties, and not when it has expired', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ version: 5, clientId: 'p' });
    for (const version of [3, 4] as const) {
      const old = await world.connected({ version, clientId: `old${version}`, clean: false });
      await old.subscribe('t', 1);
      const properties = { contentType: 'x', messageExpiryInterval: 5 };
      await publisher.publish('t', 'x', { qos: 1, messageId: 1, properties });
      const [publish] = (await old.read()) as IPublishPacket[];
      expect(String(publish?.payload)).toBe('x');
      old.write({ cmd: 'puback', messageId: publish?.messageId } as Packet);
      old.drop();
      await publisher.publish('t', 'late', { qos: 1, messageId: 2, properties });
      world.clock.advance(6_000);
      const again = world.client();
      await again.connect({ version, clientId: `old${version}`, clean: false });
      expect(await again.read()).toEqual([]);
    }
  });
});

describe('a subscription', () => {
  it('[MQTT-3.8.4-3] made again has the new options, and no identifier where none is given', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    await client.subscribe('t', 0, { properties: { subscriptionIdentifier: 7 } });
    const [first] = (await client.publish('t', '1', { qos: 1, messageId: 1 })).filter(
      ({ cmd }) => cmd === 'publish',
    ) as IPublishPacket[];
    expect(first).toMatchObject({ qos: 0, properties: { subscriptionIdentifier: 7 } });
    await client.subscribe('t', 1);
    const [second] = (await client.publish('t', '2', { qos: 1, messageId: 2 })).filter(
      ({ cmd }) => cmd === 'publish',
    ) as IPublishPacket[];
    expect(second?.qos).toBe(1);
    expect(second?.properties?.subscriptionIdentifier).toBeUndefined();
  });

  it('[MQTT-3.3.4-3] that overlaps another gives one copy at the higher QoS with both identifiers', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    await client.subscribe('a/+', 0, { properties: { subscriptionIdentifier: 1 } });
    await client.subscribe('a/#', 1, { properties: { subscriptionIdentifier: 2 } });
    const copies = (await client.publish('a/b', 'x', { qos: 1, messageId: 1 })).filter(
      ({ cmd }) => cmd === 'publish',
    ) as IPublishPacket[];
    expect(copies).toHaveLength(1);
    expect(copies[0]?.qos).toBe(1);
    const ids = copies[0]?.properties?.subscriptionIdentifier as unknown as number[];
    expect([...ids].sort()).toEqual([1, 2]);
  });

  it('[MQTT-4.7.1-1] with a wildcard out of place is refused, the others of the packet are not', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    const subscriptions = ['a#', 'a/#/b', 'a+', '+a/b', 'ok/+/#'].map((topic) => ({ topic, qos: 0 }));
    client.write({ cmd: 'subscribe', messageId: 3, subscriptions } as Packet);
    const [suback] = (await client.read()) as ISubackPacket[];
    expect(suback?.granted).toEqual([0x8f, 0x8f, 0x8f, 0x8f, 0]);
  });

  it('[MQTT-3.3.4-10] is answered while the client takes no more messages', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5, properties: { receiveMaximum: 1 } });
    await client.subscribe('t', 1);
    const publisher = await world.connected({ clientId: 'p' });
    for (let i = 1; i <= 3; i++) await publisher.publish('t', String(i), { qos: 1, messageId: i });
    expect(await client.read()).toHaveLength(1);
    expect(await client.subscribe('other', 0)).toMatchObject([{ cmd: 'suback' }]);
    expect(await client.publish('other', 'x')).toMatchObject([{ cmd: 'publish', topic: 'other' }]);
  });
});
