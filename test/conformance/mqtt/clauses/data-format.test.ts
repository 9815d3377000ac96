/** Chapters 1 and 2: strings, lengths, flags and packet identifiers. */

import { expect } from 'vitest';
import { clause, unique, useGateway } from '../clause.ts';
import { expectClosed, expectRefused } from '../expectations.ts';
import {
  ack,
  connect,
  disconnect,
  Property,
  packet,
  pingreq,
  property,
  propertyOf,
  publish,
  subscribe,
  Type,
  text,
  u8,
  u16,
  unsubscribe,
  varint,
} from '../packets.ts';

const server = useGateway();

/** Each is not UTF-8: a surrogate, an overlong slash, a lone continuation, a cut sequence, above U+10FFFF. */
const ILL_FORMED = ['eda080', 'c0af', '80', 'e282', 'f4908080'].map((hex) => Buffer.from(`61${hex}`, 'hex'));

clause(
  '3.1.1 [MQTT-1.5.3-1] | 5.0 [MQTT-1.5.4-1]',
  'ill-formed UTF-8 closes the connection',
  async (version) => {
    for (const bad of ILL_FORMED) {
      const publisher = await server.connected(version);
      publisher.send(publish(version, bad, 'x'));
      await expectClosed(publisher, 0x81, 0x90);
      const subscriber = await server.connected(version);
      subscriber.send(subscribe(version, 1, [[bad, 0]]));
      await expectClosed(subscriber, 0x81, 0x8f);
      const newcomer = await server.open(version);
      newcomer.send(connect(version, { clientId: bad }));
      await expectRefused(newcomer, 0x81, 0x85);
    }
  },
);

clause('3.1.1 [MQTT-1.5.3-2] | 5.0 [MQTT-1.5.4-2]', 'U+0000 closes the connection', async (version) => {
  const publisher = await server.connected(version);
  publisher.send(publish(version, 'a\u0000b', 'x'));
  await expectClosed(publisher, 0x81, 0x90);
  const newcomer = await server.open(version);
  newcomer.send(connect(version, { clientId: 'a\u0000b' }));
  await expectRefused(newcomer, 0x81, 0x85);
  const named = await server.open(version);
  named.send(connect(version, { clientId: unique(), user: 'a\u0000b' }));
  await expectRefused(named, 0x81);
});

clause(
  '3.1.1 [MQTT-1.5.3-3] | 5.0 [MQTT-1.5.4-3]',
  'a byte order mark stays where it is',
  async (version) => {
    const topic = `\ufeff${unique()}/\ufeff`;
    const client = await server.connected(version);
    await client.subscribe([
      [topic, 0],
      [topic.replaceAll('\ufeff', ''), 0],
    ]);
    await client.publish(topic.replaceAll('\ufeff', ''), 'without');
    client.send(publish(version, topic, 'with'));
    const [found] = (await client.fence()).filter(({ payload }) => payload === 'with');
    expect(found?.topic).toBe(topic);
    expect(found?.bytes.includes(Buffer.from(topic))).toBe(true);
  },
);

clause('5.0 [MQTT-1.5.5-1]', 'variable byte integers take as few bytes as they can', async (version) => {
  const longLength = await server.connected(version);
  longLength.send(Buffer.from([0xc0, 0x80, 0x00]));
  await expectClosed(longLength, 0x81);
  const longProperties = await server.connected(version);
  longProperties.send(packet(0x30, text(unique()), Buffer.from([0x80, 0x00])));
  await expectClosed(longProperties, 0x81);
  const longSubscriptionId = await server.connected(version);
  const id = Buffer.concat([u8(Property.subscriptionId), Buffer.from([0x81, 0x00])]);
  longSubscriptionId.send(packet(0x82, u16(1), varint(id.length), id, text(unique()), u8(0)));
  await expectClosed(longSubscriptionId, 0x81);
  // The reader of these tests throws where the server takes more bytes than needed.
  const client = await server.connected(version);
  const topic = unique();
  await client.subscribe([[topic, 0]], [[Property.subscriptionId, 300]]);
  for (const size of [1, 120, 130, 16_400]) {
    client.send(publish(version, topic, 'x'.repeat(size)));
    expect((await client.expect(Type.PUBLISH)).payload).toHaveLength(size);
  }
});

clause('5.0 [MQTT-1.5.7-1]', 'both strings of a user property are UTF-8', async (version) => {
  for (const bad of [...ILL_FORMED, Buffer.from('a\u0000')]) {
    for (const pair of [
      [text(bad), text('v')],
      [text('n'), text(bad)],
    ]) {
      const client = await server.connected(version);
      const list = Buffer.concat([u8(Property.userProperty), ...pair]);
      client.send(packet(0x30, text(unique()), varint(list.length), list));
      await expectClosed(client, 0x81);
    }
  }
});

/** What a client may send when it is connected, by type, with the only flags that it may have. */
const FLAGS: readonly (readonly [name: string, make: () => Buffer])[] = [
  ['PUBACK', () => ack(Type.PUBACK, 9)],
  ['PUBREC', () => ack(Type.PUBREC, 9)],
  ['PUBREL', () => ack(Type.PUBREL, 9)],
  ['PUBCOMP', () => ack(Type.PUBCOMP, 9)],
  ['SUBSCRIBE', () => subscribe(4, 9, [['a', 0]])],
  ['UNSUBSCRIBE', () => unsubscribe(4, 9, ['a'])],
  ['PINGREQ', pingreq],
  ['DISCONNECT', () => disconnect()],
];

clause(
  '3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2] | 5.0 [MQTT-2.1.3-1]',
  'reserved flags with another value close the connection',
  async (version) => {
    for (const [, make] of FLAGS) {
      for (const wrong of [1, 2, 4, 8]) {
        const bytes = make();
        bytes[0] = (bytes[0] as number) ^ wrong;
        const client = await server.connected(version);
        client.send(bytes);
        await expectClosed(client, 0x81);
      }
    }
    const newcomer = await server.open(version);
    const bytes = connect(version, { clientId: unique() });
    bytes[0] = 0x11;
    newcomer.send(bytes);
    // Before CONNACK the server may not even know which version this was to be.
    const came = await newcomer.closed();
    expect(came.filter(({ type, reason }) => type !== Type.CONNACK || reason === 0)).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-2.3.1-1] | 5.0 [MQTT-2.2.1-3]',
  'the packet identifier 0 closes the connection',
  async (version) => {
    const topic = unique();
    for (const bytes of [
      subscribe(version, 0, [[topic, 0]]),
      unsubscribe(version, 0, [topic]),
      publish(version, topic, 'x', { qos: 1, id: 0 }),
      publish(version, topic, 'x', { qos: 2, id: 0 }),
    ]) {
      const client = await server.connected(version);
      client.send(bytes);
      await expectClosed(client, 0x81, 0x82);
    }
  },
);

clause(
  '3.1.1 [MQTT-2.3.1-4] | 5.0 [MQTT-2.2.1-4]',
  'messages under way have identifiers that differ and are not 0',
  async (version) => {
    const topic = unique();
    const subscriber = await server.connected(version);
    await subscriber.subscribe([[topic, 2]]);
    const publisher = await server.connected(version);
    const ids = new Set<number>();
    for (let i = 0; i < 20; i++) {
      await publisher.publish(topic, String(i), { qos: 1 + (i % 2), id: i + 1 });
      ids.add((await subscriber.expect(Type.PUBLISH)).id);
    }
    expect(ids.size).toBe(20);
    expect(ids.has(0)).toBe(false);
    // One that was acknowledged may come back, those under way may not.
    const [first = 0] = ids;
    subscriber.send(ack(Type.PUBACK, first));
    ids.delete(first);
    for (let i = 0; i < 20; i++) {
      await publisher.publish(topic, String(i), { qos: 1, id: 30 + i });
      const { id } = await subscriber.expect(Type.PUBLISH);
      expect(ids.has(id)).toBe(false);
      ids.add(id);
    }
  },
);

clause(
  '3.1.1 [MQTT-2.3.1-5] | 5.0 [MQTT-2.2.1-2]',
  'a PUBLISH of QoS 0 has no identifier',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    await client.subscribe([[topic, 2]]);
    const sent = publish(version, topic, '\u0001\u0002');
    client.send(sent);
    // Byte for byte what was sent: two bytes of an identifier would be bytes of the payload.
    expect((await client.expect(Type.PUBLISH)).bytes).toEqual(sent);
  },
);

clause(
  '3.1.1 [MQTT-2.3.1-6] | 5.0 [MQTT-2.2.1-5]',
  'acknowledgements carry the identifier of the PUBLISH',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    client.send(publish(version, topic, 'x', { qos: 1, id: 0x1234 }));
    expect((await client.expect(Type.PUBACK)).id).toBe(0x1234);
    client.send(publish(version, topic, 'x', { qos: 2, id: 0xfffe }));
    expect((await client.expect(Type.PUBREC)).id).toBe(0xfffe);
    client.send(ack(Type.PUBREL, 0xfffe));
    expect((await client.expect(Type.PUBCOMP)).id).toBe(0xfffe);
    await client.subscribe([[topic, 2]]);
    client.send(publish(version, topic, 'x', { qos: 2, id: 7 }), ack(Type.PUBREL, 7));
    const came = await client.fence();
    const { id = 0 } = came.find(({ type }) => type === Type.PUBLISH) ?? {};
    client.send(ack(Type.PUBREC, id));
    expect((await client.expect(Type.PUBREL)).id).toBe(id);
  },
);

clause(
  '3.1.1 [MQTT-2.3.1-7] | 5.0 [MQTT-2.2.1-6]',
  'SUBACK and UNSUBACK carry the identifier of what they answer',
  async (version) => {
    const client = await server.connected(version);
    for (const id of [1, 0x0102, 65_535]) {
      expect((await client.subscribe([['a', 0]], [], id)).id).toBe(id);
      expect((await client.unsubscribe(['a'], id)).id).toBe(id);
    }
  },
);

clause(
  '5.0 [MQTT-2.2.2-1]',
  'no properties are the length 0, and a missing length is malformed',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    const suback = await client.subscribe([[topic, 0]]);
    expect(suback.hasProperties).toBe(true);
    expect(suback.properties).toEqual([]);
    client.send(publish(version, topic, ''));
    const forwarded = await client.expect(Type.PUBLISH);
    expect(forwarded.bytes).toEqual(packet(0x30, text(topic), u8(0)));
    client.send(packet(0x30, text(topic)));
    await expectClosed(client, 0x81);
    const newcomer = await server.open(version);
    const connack = await newcomer.connect({ clientId: unique() });
    expect(connack.hasProperties).toBe(true);
    expect(propertyOf(connack, Property.reasonString)).toBeUndefined();
    newcomer.send(packet(0x82, u16(1), text(topic), u8(0), property(Property.userProperty, ['a', 'b'])));
    await expectClosed(newcomer, 0x81, 0x82, 0x8f);
  },
);
