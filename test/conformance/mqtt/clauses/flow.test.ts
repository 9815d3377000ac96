/** Sections 3.1.2.11 and 4.9: how much may be under way, and how large a packet may be. */

import { expect } from 'vitest';
import { clause, unique, useGateway, useGatewayByHand } from '../clause.ts';
import { expectClosed, publishedIn } from '../expectations.ts';
import {
  ack,
  Property,
  packet,
  propertyOf,
  publish,
  type Received,
  subscribe,
  Type,
  u8,
  unsubscribe,
  varint,
} from '../packets.ts';
import type { RawClient } from '../raw-client.ts';

const server = useGateway({
  'mqtt.limits.receiveMaximum': 4,
  'mqtt.limits.packetBytesMax': 2_000,
  'mqtt.limits.inflightMax': 5,
});

async function subscriberWith(
  topic: string,
  properties: readonly (readonly [number, number])[],
): Promise<RawClient> {
  const client = await server.connected(5, { properties });
  await client.subscribe([[topic, 2]]);
  return client;
}

async function publishAll(topic: string, count: number): Promise<void> {
  const publisher = await server.connected(5);
  for (let i = 0; i < count; i++) await publisher.publish(topic, String(i), { qos: 1 + (i % 2), id: i + 1 });
}

clause(
  '5.0 [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]',
  'never more than receive maximum messages of QoS 1 and 2 are open',
  async () => {
    const topic = unique();
    const client = await subscriberWith(topic, [[Property.receiveMaximum, 3]]);
    await publishAll(topic, 10);
    const open: Received[] = (await client.fence()).filter(({ type }) => type === Type.PUBLISH);
    // Not zero and not above the maximum.
    expect(open.map(({ payload }) => payload)).toEqual(['0', '1', '2']);
    expect(await client.fence()).toEqual([]);
    const seen = open.map(({ payload }) => payload);
    while (open.length > 0) {
      const { id, qos } = open.shift() as Received;
      if (qos === 2) {
        // PUBREC and PUBREL give nothing back yet.
        client.send(ack(Type.PUBREC, id));
        expect((await client.fence()).map(({ type }) => type)).toEqual([Type.PUBREL]);
        expect(await client.fence()).toEqual([]);
        client.send(ack(Type.PUBCOMP, id));
      } else client.send(ack(Type.PUBACK, id));
      if (seen.length === 10) continue;
      // One place is free: one message comes, and no second.
      const found = await client.expect(Type.PUBLISH);
      expect(await client.fence()).toEqual([]);
      expect(await client.fence()).toEqual([]);
      open.push(found);
      seen.push(found.payload);
    }
    expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => String(i)));
  },
);

clause('5.0 [MQTT-4.9.0-1]', 'a failing PUBREC gives its place back', async (version) => {
  const topic = unique();
  const client = await subscriberWith(topic, [[Property.receiveMaximum, 1]]);
  const publisher = await server.connected(version);
  await publisher.publish(topic, 'refused', { qos: 2, id: 1 });
  await publisher.publish(topic, 'next', { qos: 2, id: 2 });
  const first = await client.expect(Type.PUBLISH);
  expect(await client.fence()).toEqual([]);
  client.send(ack(Type.PUBREC, first.id, 0x80));
  expect((await client.expect(Type.PUBLISH)).payload).toBe('next');
});

clause(
  '5.0 [MQTT-3.3.4-10] [MQTT-4.9.0-3]',
  'with nothing left to send everything but PUBLISH above QoS 0 goes on',
  async (version) => {
    const topic = unique();
    const client = await subscriberWith(topic, [[Property.receiveMaximum, 1]]);
    await publishAll(topic, 3);
    expect((await client.expect(Type.PUBLISH)).payload).toBe('0');
    client.send(
      subscribe(version, 1, [[`${topic}/other`, 0]]),
      publish(version, `${topic}/other`, 'QoS 0'),
      unsubscribe(version, 2, [`${topic}/other`]),
      publish(version, unique(), 'x', { qos: 1, id: 3 }),
      publish(version, unique(), 'x', { qos: 2, id: 4 }),
      ack(Type.PUBREL, 4),
    );
    const came = await client.fence();
    const wanted = [Type.SUBACK, Type.PUBLISH, Type.UNSUBACK, Type.PUBACK, Type.PUBREC, Type.PUBCOMP];
    expect(came.map(({ type }) => type).toSorted()).toEqual(wanted.toSorted());
    expect(publishedIn(came)).toEqual([`${topic}/other=QoS 0`]);
  },
);

clause(
  '5.0 [MQTT-3.3.4-7]',
  "a client above the server's receive maximum is disconnected with 0x93, at it is served",
  async (version) => {
    const client = await server.open(version);
    const connack = await client.connect({ clientId: unique('c') });
    expect(propertyOf(connack, Property.receiveMaximum)).toBe(4);
    const topic = unique();
    const packets = [1, 2, 3, 4].map((id) => publish(version, topic, 'x', { qos: 2, id }));
    client.send(...packets);
    expect((await client.fence()).map(({ type }) => type)).toEqual(packets.map(() => Type.PUBREC));
    // A repetition of one of them is no new one.
    client.send(publish(version, topic, 'x', { qos: 2, id: 2, dup: true }));
    expect((await client.fence()).map(({ type }) => type)).toEqual([Type.PUBREC]);
    client.send(publish(version, topic, 'x', { qos: 2, id: 5 }));
    await expectClosed(client, 0x93);
  },
);

clause(
  '5.0 [MQTT-3.1.2-24] [MQTT-3.1.2-25]',
  'a message larger than the client takes is dropped as if it had been sent',
  async (version) => {
    const topic = unique();
    const client = await subscriberWith(topic, [
      [Property.maximumPacketSize, 60],
      [Property.receiveMaximum, 2],
    ]);
    const publisher = await server.connected(version);
    const large = 'x'.repeat(100);
    for (let id = 1; id <= 5; id++) await publisher.publish(topic, large, { qos: id % 3, id });
    // The dropped ones hold no place: the next are sent.
    await publisher.publish(topic, 'small', { qos: 1, id: 8 });
    await publisher.publish(topic, 'fits', { qos: 2, id: 9 });
    const came = [await client.next(), await client.next()];
    expect(publishedIn(came)).toEqual([`${topic}=small`, `${topic}=fits`]);
    // To the byte: a packet of 60 bytes comes, one of 61 does not.
    const room = 60 - publish(version, topic, '').length;
    client.send(publish(version, topic, 'y'.repeat(room + 1)), publish(version, topic, 'z'.repeat(room)));
    expect(publishedIn(await client.fence())).toEqual([`${topic}=${'z'.repeat(room)}`]);
  },
);

clause(
  '5.0 [MQTT-3.2.2-15]',
  "a packet above the server's maximum is refused with 0x95 before it has come",
  async (version) => {
    const client = await server.open(version);
    const connack = await client.connect({ clientId: unique('c') });
    expect(propertyOf(connack, Property.maximumPacketSize)).toBe(2_000);
    const topic = unique();
    const full = 2_000 - publish(version, topic, '').length - 1;
    const whole = publish(version, topic, 'x'.repeat(full), { qos: 0 });
    expect(whole.length).toBe(2_000);
    client.send(whole);
    expect(await client.fence()).toEqual([]);
    client.send(Buffer.concat([u8(0x30), varint(1_998)]));
    await expectClosed(client, 0x95);
  },
);

const plain = useGatewayByHand({ limits: { topicAliasMaximum: 0 } });

clause('5.0 [MQTT-3.2.2-18]', 'an alias is refused where CONNACK offered none', async (version) => {
  const client = await plain.open(version);
  const connack = await client.connect({ clientId: unique('c') });
  expect([undefined, 0]).toContain(propertyOf(connack, Property.topicAliasMaximum));
  client.send(publish(version, unique(), 'x', { properties: [[Property.topicAlias, 1]] }));
  await expectClosed(client, 0x94, 0x82);
});

clause(
  '3.1.1 [MQTT-4.3.2-1]',
  'before version 5 what is open is bounded too, and nothing is lost',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    await client.subscribe([[topic, 1]]);
    const publisher = await server.connected(version);
    for (let id = 1; id <= 30; id++) await publisher.publish(topic, String(id), { qos: 1, id });
    const open = await client.fence();
    expect(publishedIn(open)).toHaveLength(5);
    const seen: string[] = [];
    while (seen.length < 30) {
      const { id, payload } = open.shift() ?? (await client.expect(Type.PUBLISH));
      seen.push(payload);
      client.send(ack(Type.PUBACK, id));
    }
    expect(seen).toEqual(Array.from({ length: 30 }, (_, n) => String(n + 1)));
    client.send(packet(0xc0));
    expect((await client.next()).type).toBe(Type.PINGRESP);
  },
);
