import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { messageTo } from '../../support/core.ts';
import { accessOf } from '../../support/doors.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import { openMqttWorld } from './mqtt-world.ts';

const payloads = (packets: readonly Packet[]): string[] =>
  packets
    .filter((packet) => packet.cmd === 'publish')
    .map((packet) => String((packet as IPublishPacket).payload));

/** A storage whose commits end when the test says so. */
class HeldStorage extends MemoryStorage {
  held: (() => void)[] | null = null;

  override commit(done: (error: Error | null) => void): void {
    super.commit((error) => {
      if (this.held === null) done(error);
      else this.held.push(() => done(error));
    });
  }

  release(): void {
    const held = this.held ?? [];
    this.held = null;
    for (const done of held) done();
  }
}

describe('a QoS 2 message', () => {
  it('is sent to a session that survives when it is stored, for it would be sent again under another name', async () => {
    const storage = new HeldStorage();
    const world = await openMqttWorld({ storage });
    const subscriber = await world.connected({ clientId: 's', clean: false });
    await subscriber.subscribe('t', 2);
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    storage.held = [];
    publisher.write({
      cmd: 'publish',
      topic: 't',
      payload: 'twice is too much',
      qos: 2,
      messageId: 1,
      dup: false,
      retain: false,
    });
    expect(await publisher.read()).toEqual([]);
    expect(await subscriber.read()).toEqual([]);
    storage.release();
    expect(await publisher.read()).toMatchObject([{ cmd: 'pubrec', messageId: 1 }]);
    expect(payloads(await subscriber.read())).toEqual(['twice is too much']);
  });
});

describe('acknowledgements', () => {
  it('of QoS 1 leave after the receipt, in the order received, whatever was stored first', async () => {
    const storage = new HeldStorage();
    const world = await openMqttWorld({ storage });
    const durable = await world.connected({ clientId: 'd', clean: false });
    await durable.subscribe('durable', 1);
    durable.drop();
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    storage.held = [];
    publisher.write({
      cmd: 'publish',
      topic: 'durable',
      payload: '1',
      qos: 1,
      messageId: 1,
      dup: false,
      retain: false,
    });
    publisher.write({
      cmd: 'publish',
      topic: 'nobody',
      payload: '2',
      qos: 1,
      messageId: 2,
      dup: false,
      retain: false,
    });
    publisher.write({
      cmd: 'publish',
      topic: 'nobody',
      payload: '3',
      qos: 2,
      messageId: 3,
      dup: false,
      retain: false,
    });
    expect(await publisher.read()).toEqual([]);
    storage.release();
    expect(await publisher.read()).toMatchObject([
      { cmd: 'puback', messageId: 1, reasonCode: 0 },
      { cmd: 'puback', messageId: 2, reasonCode: 0x10 },
      { cmd: 'pubrec', messageId: 3, reasonCode: 0x10 },
    ]);
  });

  it('of thousands that wait come in order, and the socket is not read meanwhile', async () => {
    const storage = new HeldStorage();
    const world = await openMqttWorld({ storage, mqttLimits: { pendingReceiptsMax: 2_000 } });
    const durable = await world.connected({ clientId: 'd', clean: false });
    await durable.subscribe('t', 1);
    durable.drop();
    const publisher = await world.connected({ clientId: 'p' });
    storage.held = [];
    const ids = Array.from({ length: 3_000 }, (_, i) => i + 1);
    for (const messageId of ids) {
      publisher.write({
        cmd: 'publish',
        topic: 't',
        payload: 'x',
        qos: 1,
        messageId,
        dup: false,
        retain: false,
      });
    }
    expect(await publisher.read()).toEqual([]);
    expect(publisher.transport.paused).toBe(true);
    storage.release();
    const acknowledged = (await publisher.read()).map((packet) => (packet as IPublishPacket).messageId);
    expect(acknowledged).toEqual(ids);
    expect(publisher.transport.paused).toBe(false);
  });

  it('say 0x10 where nobody wanted the message', async () => {
    const publisher = await (await openMqttWorld()).connected({ version: 5 });
    expect(await publisher.publish('t', 'x', { qos: 1, messageId: 9 })).toMatchObject([
      { cmd: 'puback', messageId: 9, reasonCode: 0x10 },
    ]);
  });

  it('refuse with the reason where the client may not publish; 3.1.1 is closed or, if set so, acknowledged', async () => {
    const access = accessOf((_: unknown, action: string) => action !== 'publish');
    const v5 = await (await openMqttWorld({ access })).connected({ version: 5 });
    expect(await v5.publish('t', 'x', { qos: 1, messageId: 9 })).toMatchObject([
      { cmd: 'puback', reasonCode: 0x87 },
    ]);
    expect(await v5.publish('t', 'x', { qos: 2, messageId: 9 })).toMatchObject([
      { cmd: 'pubrec', reasonCode: 0x87 },
    ]);
    expect(await v5.publish('t', 'x')).toEqual([]);
    expect(v5.ended).toBeNull();
    const closed = await (await openMqttWorld({ access })).connected();
    await closed.publish('t', 'x', { qos: 1, messageId: 9 });
    expect(closed.ended?.reason).toBe('not-authorized');
    const settings = { refusedPublish: 'acknowledge' as const };
    const acknowledged = await (await openMqttWorld({ access, settings })).connected();
    expect(await acknowledged.publish('t', 'x', { qos: 1, messageId: 9 })).toMatchObject([{ cmd: 'puback' }]);
  });

  it('[MQTT-4.6.0-2] of a message that is dropped and acknowledged keep their place', async () => {
    const storage = new HeldStorage();
    const access = accessOf(
      (_: unknown, action: string, name: string) => action !== 'publish' || name !== 'no',
    );
    const world = await openMqttWorld({ storage, access, settings: { refusedPublish: 'acknowledge' } });
    const durable = await world.connected({ clientId: 'd', clean: false });
    await durable.subscribe('t', 1);
    const publisher = await world.connected({ clientId: 'p' });
    storage.held = [];
    const common = { cmd: 'publish', payload: 'x', qos: 1, dup: false, retain: false } as const;
    publisher.write({ ...common, topic: 't', messageId: 1 });
    publisher.write({ ...common, topic: 'no', messageId: 2 });
    expect(await publisher.read()).toEqual([]);
    storage.release();
    expect(await publisher.read()).toMatchObject([{ messageId: 1 }, { messageId: 2 }]);
  });

  it('are refused when the disk refuses, and 3.1.1 is closed without one', async () => {
    for (const version of [4, 5] as const) {
      const storage = new HeldStorage();
      const world = await openMqttWorld({ storage, settings: { refusedPublish: 'acknowledge' } });
      const durable = await world.connected({ clientId: 'd', clean: false });
      await durable.subscribe('t', 1);
      const publisher = await world.connected({ clientId: 'p', version });
      storage.commit = (done) => setImmediate(() => done(new Error('disk full')));
      const answer = await publisher.publish('t', 'x', { qos: 1, messageId: 3 });
      if (version === 5) expect(answer).toMatchObject([{ cmd: 'puback', reasonCode: 0x97 }]);
      else {
        expect(answer).toEqual([]);
        expect(publisher.ended).not.toBeNull();
      }
    }
  });

  it('of topics that belong to the server are refusals', async () => {
    const publisher = await (await openMqttWorld()).connected({ version: 5 });
    for (const [topic, reasonCode] of [
      ['$SYS/x', 0x87],
      ['$share/g/t', 0x90],
      [Array(200).fill('l').join('/'), 0x90],
    ] as const) {
      expect(await publisher.publish(topic, 'x', { qos: 1, messageId: 1 })).toMatchObject([{ reasonCode }]);
    }
  });
});

describe('QoS 2 in', () => {
  it('[MQTT-4.3.3-10] is delivered once for one identifier until PUBREL', async () => {
    const world = await openMqttWorld();
    const subscriber = await world.connected({ clientId: 's' });
    await subscriber.subscribe('t', 0);
    const publisher = await world.connected({ clientId: 'p' });
    const same = { qos: 2, messageId: 5 };
    expect(await publisher.publish('t', '1', same)).toMatchObject([{ cmd: 'pubrec', messageId: 5 }]);
    expect(await publisher.publish('t', '1', { ...same, dup: true })).toMatchObject([
      { cmd: 'pubrec', messageId: 5 },
    ]);
    publisher.write({ cmd: 'pubrel', messageId: 5 });
    expect(await publisher.read()).toMatchObject([{ cmd: 'pubcomp', messageId: 5 }]);
    await publisher.publish('t', '2', same);
    expect(payloads(await subscriber.read())).toEqual(['1', '2']);
  });

  it('[MQTT-4.3.3-11] answers a PUBREL that it does not know', async () => {
    const world = await openMqttWorld();
    const v5 = await world.connected({ version: 5 });
    v5.write({ cmd: 'pubrel', messageId: 77 });
    expect(await v5.read()).toMatchObject([{ cmd: 'pubcomp', messageId: 77, reasonCode: 0x92 }]);
    const v4 = await world.connected({ clientId: 'v4' });
    v4.write({ cmd: 'pubrel', messageId: 77 });
    expect(await v4.read()).toMatchObject([{ cmd: 'pubcomp', messageId: 77 }]);
  });

  it('keeps identifiers for a session that outlives its connection, also over a restart', async () => {
    const storage = new MemoryStorage();
    const first = await openMqttWorld({ storage });
    const watcher = await first.connected({ clientId: 'w', clean: false });
    await watcher.subscribe('t', 2);
    watcher.drop();
    const publisher = await first.connected({ clientId: 'p', clean: false });
    expect(await publisher.publish('t', 'once', { qos: 2, messageId: 5 })).toMatchObject([{ cmd: 'pubrec' }]);
    publisher.drop();
    await first.clock.turn();

    const second = await openMqttWorld({ storage });
    const again = second.client();
    expect(await again.connect({ clientId: 'p', clean: false })).toMatchObject({ sessionPresent: true });
    await again.publish('t', 'once', { qos: 2, messageId: 5, dup: true });
    again.write({ cmd: 'pubrel', messageId: 5 });
    expect(await again.read()).toMatchObject([{ cmd: 'pubcomp' }]);
    const reader = second.client();
    await reader.connect({ clientId: 'w', clean: false });
    expect(payloads(await reader.read())).toEqual(['once']);
  });
});

describe('what is forwarded', () => {
  it('[MQTT-3.3.2-4] [MQTT-3.3.2-15] to [MQTT-3.3.2-20] is unaltered and in order', async () => {
    const world = await openMqttWorld();
    const subscriber = await world.connected({ clientId: 's', version: 5 });
    await subscriber.subscribe('t', 1);
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    // Two user properties of one name around others, binary correlation: bytes that must come out as they are.
    const kept = '2600016100013126000162000132260001610001330900030001ff0101030003612f620800017203';
    const native = kept.slice(0, -2);
    const head = `0001740001${(native.length / 2 + 5).toString(16)}`;
    publisher.writeBytes(
      `32${((head.length + native.length + 10) / 2 + 2).toString(16)}${head}${native}020000003c6869`,
    );
    const bytes = (await subscriber.readBytes()).toString('hex');
    expect(bytes).toContain(native);
    expect(bytes).toContain('020000003c');
  });

  it('does not carry names that belong to the gateway, except those that only describe the message', async () => {
    const world = await openMqttWorld();
    const subscriber = await world.connected({ clientId: 's', version: 5 });
    await subscriber.subscribe('t', 0);
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    await publisher.publish('t', 'x', {
      properties: {
        userProperties: { 'x-gw-types': 'mine=i64', mine: '1', 'X-GW-key': 'k', 'x-gw-user': 'root' },
      },
    });
    const [packet] = (await subscriber.read()) as IPublishPacket[];
    expect({ ...packet?.properties?.userProperties }).toEqual({
      'x-gw-types': 'mine=i64',
      mine: '1',
    });
  });

  it('[MQTT-3.3.2-5] [MQTT-3.3.2-6] counts the expiry down and drops what is due', async () => {
    const world = await openMqttWorld();
    const session = {
      clientId: 's',
      version: 5 as const,
      clean: false,
      properties: { sessionExpiryInterval: 1000 },
    };
    const subscriber = await world.connected(session);
    await subscriber.subscribe('t', 1);
    subscriber.drop();
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    await publisher.publish('t', 'short', { qos: 1, messageId: 1, properties: { messageExpiryInterval: 5 } });
    await publisher.publish('t', 'long', { qos: 1, messageId: 2, properties: { messageExpiryInterval: 60 } });
    world.clock.advance(10_500);
    const again = world.client();
    await again.connect(session);
    expect(await again.read()).toMatchObject([
      { cmd: 'publish', topic: 't', properties: { messageExpiryInterval: 50 } },
    ]);
  });

  it('has no properties for 3.1.1, and those of a message from elsewhere for 5', async () => {
    const world = await openMqttWorld();
    const v4 = await world.connected({ clientId: '4' });
    const v5 = await world.connected({ clientId: '5', version: 5 });
    await v4.subscribe('t');
    await v5.subscribe('t');
    const publisher = world.core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested() {},
    });
    publisher.publish(
      messageTo('t', 'x', {
        properties: { contentType: 'a/b', headers: [{ name: 'n', value: { kind: 'i32', value: 7 } }] },
      }),
      null,
      0,
    );
    expect((await v4.readBytes()).toString('hex')).toBe('300400017478');
    const [packet] = (await v5.read()) as IPublishPacket[];
    expect(packet?.properties).toMatchObject({ contentType: 'a/b' });
    expect({ ...packet?.properties?.userProperties }).toEqual({ n: '7', 'x-gw-types': 'n=i32' });
  });

  it('names an address with a literal wildcard so that a client can take it', async () => {
    const world = await openMqttWorld();
    const subscriber = await world.connected();
    await subscriber.subscribe('a/%23');
    const publisher = world.core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested() {},
    });
    publisher.publish(messageTo('a/#', 'x'), null, 0);
    expect(await subscriber.read()).toMatchObject([{ topic: 'a/%23' }]);
  });
});

it('an address whose name is too long for MQTT is dropped, counted, and breaks nothing', async () => {
  const world = await openMqttWorld();
  const clients = [
    await world.connected({ clientId: 'a' }),
    await world.connected({ clientId: 'b', version: 5 }),
  ];
  for (const client of clients) await client.subscribe('#', 1);
  const publisher = world.core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested() {},
  });
  publisher.publish(messageTo('+'.repeat(60_000), 'x'), null, 0);
  publisher.publish(messageTo('+'.repeat(60_000), 'x', { reliability: 1 }), null, 0);
  publisher.publish(messageTo('t', 'y'), null, 0);
  for (const client of clients) expect(payloads(await client.read())).toEqual(['y']);
  expect(world.core.counters.dropped).toBe(4);
});

describe('topic aliases', () => {
  it('in: stand for the topic until they stand for another', async () => {
    const world = await openMqttWorld();
    const subscriber = await world.connected({ clientId: 's' });
    await subscriber.subscribe('#');
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    publisher.writeBytes('30 08 0001 61 03 230001 31');
    publisher.writeBytes('30 07 0000 03 230001 32');
    publisher.writeBytes('30 08 0001 62 03 230001 33');
    publisher.writeBytes('30 07 0000 03 230001 34');
    const packets = (await subscriber.read()) as IPublishPacket[];
    expect(packets.map(({ topic, payload }) => `${topic}${payload}`)).toEqual(['a1', 'a2', 'b3', 'b4']);
  });

  it('[MQTT-3.1.2-26] [MQTT-3.1.2-27] out: only as many as the client allows, none without', async () => {
    const world = await openMqttWorld();
    const subscriber = await world.connected({
      clientId: 's',
      version: 5,
      properties: { topicAliasMaximum: 1 },
    });
    await subscriber.subscribe('#');
    const plain = await world.connected({ clientId: 'q', version: 5 });
    await plain.subscribe('#');
    const publisher = await world.connected({ clientId: 'p' });
    for (const topic of ['aa', 'bb', 'aa', 'bb']) await publisher.publish(topic, '1');
    const bytes = (await subscriber.readBytes()).toString('hex');
    expect(bytes).toBe('300900026161032300013130060002626200313007000003230001313006000262620031');
    expect((await plain.readBytes()).toString('hex')).not.toContain('230001');
  });
});

describe('retained messages', () => {
  it('[MQTT-3.3.1-6] [MQTT-3.3.1-7] an empty one deletes and is still forwarded', async () => {
    const world = await openMqttWorld();
    const live = await world.connected({ clientId: 'l' });
    await live.subscribe('t');
    const publisher = await world.connected({ clientId: 'p' });
    await publisher.publish('t', 'x', { retain: true });
    await publisher.publish('t', '', { retain: true });
    expect(await live.read()).toMatchObject([
      { retain: false, length: 4 },
      { retain: false, length: 3 },
    ]);
    expect(world.core.retained.count).toBe(0);
  });

  it('[MQTT-3.3.1-8] [MQTT-3.3.1-12] [MQTT-3.3.1-13] have their flag in the replay and live only as published', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p' });
    await publisher.publish('t', 'old', { retain: true, qos: 1, messageId: 1 });
    const plain = await world.connected({ clientId: 's', version: 5 });
    expect(await plain.subscribe('t', 1)).toMatchObject([
      { cmd: 'suback' },
      { cmd: 'publish', retain: true, qos: 1 },
    ]);
    const asPublished = await world.connected({ clientId: 'r', version: 5 });
    await asPublished.subscribe('t', 0, { rap: true });
    await publisher.publish('t', 'new', { retain: true });
    expect(await plain.read()).toMatchObject([{ retain: false }]);
    expect(await asPublished.read()).toMatchObject([{ retain: true }]);
  });

  it('[MQTT-3.3.1-9] to [MQTT-3.3.1-11] follow retain handling', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p' });
    await publisher.publish('t', 'x', { retain: true });
    const client = await world.connected({ clientId: 's', version: 5 });
    expect(await client.subscribe('t', 0, { rh: 1 })).toHaveLength(2);
    expect(await client.subscribe('t', 0, { rh: 1 })).toHaveLength(1);
    expect(await client.subscribe('t', 0, { rh: 0 })).toHaveLength(2);
    expect(await client.subscribe('t', 0, { rh: 2 })).toHaveLength(1);
    const old = await world.connected({ clientId: 'o' });
    expect(await old.subscribe('t')).toHaveLength(2);
    expect(await old.subscribe('t')).toHaveLength(2);
  });

  it('are found through wildcards, but not under $ by a leading one, and survive a restart and a clean start', async () => {
    const storage = new MemoryStorage();
    const world = await openMqttWorld({ storage });
    const publisher = await world.connected({ clientId: 'p' });
    await publisher.publish('a/b', '1', { retain: true, qos: 1, messageId: 1 });
    await publisher.publish('a', '2', { retain: true, qos: 1, messageId: 1 });
    await publisher.publish('$x/b', '3', { retain: true, qos: 1, messageId: 1 });
    const second = await openMqttWorld({ storage });
    const client = await second.connected({ clientId: 'p' });
    expect(payloads(await client.subscribe('a/#')).sort()).toEqual(['1', '2']);
    expect(payloads(await client.subscribe('#')).sort()).toEqual(['1', '2']);
    expect(payloads(await client.subscribe('$x/+'))).toEqual(['3']);
  });

  it('are replayed as fast as they are acknowledged, none lost', async () => {
    const world = await openMqttWorld({ mqttLimits: { inflightMax: 10 } });
    const publisher = await world.connected({ clientId: 'p' });
    for (let i = 0; i < 600; i++)
      await publisher.publish(`t/${i}`, `${i}`, { retain: true, qos: 1, messageId: 1 });
    const client = await world.connected({ clientId: 's' });
    let packets = await client.subscribe('t/#', 1);
    const seen = new Set<string>();
    for (let round = 0; round < 100 && seen.size < 600; round++) {
      expect(packets.length).toBeLessThanOrEqual(11);
      for (const packet of packets) {
        if (packet.cmd !== 'publish') continue;
        seen.add(String(packet.payload));
        client.write({ cmd: 'puback', messageId: packet.messageId as number });
      }
      packets = await client.read();
    }
    expect(seen.size).toBe(600);
  });
});
