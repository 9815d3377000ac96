/** Sections 3.12, 3.14 and 4.13 (4.8 of 3.1.1): PINGREQ, DISCONNECT and what errors do. */

import { expect } from 'vitest';
import { accessOf } from '../../../support/doors.ts';
import { clause, unique, useGateway, useGatewayByHand } from '../clause.ts';
import { expectClosed, publishedIn } from '../expectations.ts';
import {
  ack,
  auth,
  connect,
  disconnect,
  Property,
  packet,
  pingreq,
  propertiesOf,
  property,
  propertyOf,
  publish,
  subscribe,
  Type,
  text,
  u8,
  u16,
  type Version,
  varint,
} from '../packets.ts';

const server = useGateway();

/** Table 3-13: what a server may say. */
const DISCONNECT_CODES = [
  0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
  0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
];

/** Each is wrong in another way, in every version. */
function wrongs(version: Version): Buffer[] {
  const clean = { clientId: unique('c') };
  return [
    packet(0x00),
    packet(0x20, u16(0)),
    packet(0xd0),
    packet(0xc0, u8(0)),
    packet(0x40, u8(1)),
    packet(0x62, u16(0)),
    packet(0x82, u16(1)),
    publish(version, 'a/#', 'x'),
    connect(version, clean),
    Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]),
    auth(0x19, [[Property.authenticationMethod, 'x']]),
  ];
}

clause(
  '3.1.1 [MQTT-3.12.4-1] | 5.0 [MQTT-3.12.4-1]',
  'PINGREQ is answered with PINGRESP',
  async (version) => {
    const client = await server.connected(version);
    client.send(pingreq(), pingreq());
    for (let i = 0; i < 2; i++) expect((await client.next()).bytes).toEqual(Buffer.from([0xd0, 0x00]));
  },
);

clause(
  '3.1.1 [MQTT-4.8.0-1] | 5.0 [MQTT-4.13.1-1] [MQTT-4.13.2-1] [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2]',
  'whatever is wrong closes the connection, in version 5 with one DISCONNECT as the last word',
  async (version) => {
    for (const bytes of wrongs(version)) {
      const client = await server.connected(version);
      client.send(bytes, pingreq());
      const came = await client.closed();
      expect(came.map(({ type }) => type)).toEqual(version === 5 ? [Type.DISCONNECT] : []);
      if (version === 4) continue;
      expect(DISCONNECT_CODES.slice(1)).toContain(came[0]?.reason);
      expect(came[0] === undefined ? [] : propertiesOf(came[0], Property.sessionExpiry)).toEqual([]);
    }
  },
);

clause(
  '3.1.1 [MQTT-4.8.0-1] | 5.0 [MQTT-4.13.1-1]',
  'an error costs no other connection',
  async (version) => {
    const other = await server.connected(version);
    const topic = unique();
    await other.subscribe([[topic, 1]]);
    for (const bytes of wrongs(version)) {
      const client = await server.connected(version);
      client.send(bytes);
      await client.closed();
    }
    await other.publish(topic, 'still here');
    expect(await other.fence()).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-3.14.1-1] | 5.0 [MQTT-3.14.1-1]',
  'DISCONNECT with other flags closes the connection',
  async (version) => {
    for (const flags of [1, 2, 4, 8, 15]) {
      const topic = unique();
      const watcher = await server.connected(version);
      await watcher.subscribe([[topic, 0]]);
      const client = await server.connected(version, { will: { topic, payload: 'an error' } });
      client.send(packet(0xe0 | flags));
      await expectClosed(client, 0x81);
      // It was no DISCONNECT, so the will stands.
      expect(publishedIn([await watcher.next()])).toEqual([`${topic}=an error`]);
    }
  },
);

clause('5.0 [MQTT-3.14.0-1]', 'before CONNACK there is no DISCONNECT', async (version) => {
  for (const bytes of [...wrongs(version).slice(0, 8), connect(version, { clientId: 'a\u0001' })]) {
    const client = await server.open(version);
    client.send(bytes);
    for (const { type } of await client.closed()) expect(type).toBe(Type.CONNACK);
  }
});

clause(
  '5.0 [MQTT-3.14.2-1]',
  'a DISCONNECT of a client with a reason code that there is not closes the connection',
  async (version) => {
    for (const reason of [0x01, 0x05, 0x7f, 0xff]) {
      const client = await server.connected(version);
      client.send(disconnect(reason));
      await expectClosed(client, 0x81, 0x82);
    }
  },
);

clause(
  '5.0 [MQTT-3.14.2-3] [MQTT-3.14.2-4]',
  'DISCONNECT leaves out what would make it too large, and comes',
  async (version) => {
    const lengths: number[] = [];
    for (const size of [1_000, 24]) {
      const client = await server.connected(version, { properties: [[Property.maximumPacketSize, size]] });
      client.send(packet(0xd0));
      const [last] = await client.closed();
      expect(last?.type).toBe(Type.DISCONNECT);
      expect(last?.bytes.length).toBeLessThanOrEqual(size);
      lengths.push(last?.bytes.length ?? 0);
      if (size === 24)
        expect(last === undefined ? 0 : propertyOf(last, Property.reasonString)).toBeUndefined();
    }
    expect(lengths[0]).toBeGreaterThan(24);
  },
);

clause(
  '5.0 [MQTT-3.14.4-1] [MQTT-3.14.4-2]',
  'what follows DISCONNECT is not processed, and the server closes too',
  async (version) => {
    const topic = unique();
    const watcher = await server.connected(version);
    await watcher.subscribe([[topic, 0]]);
    const client = await server.connected(version);
    client.send(disconnect(), publish(version, topic, 'never'), pingreq());
    expect(await client.closed()).toEqual([]);
    expect(await watcher.fence()).toEqual([]);
  },
);

clause(
  '5.0 [MQTT-3.14.2-2]',
  'a session expiry that comes only with DISCONNECT closes with 0x82',
  async (version) => {
    const client = await server.connected(version);
    client.send(disconnect(0, [[Property.sessionExpiry, 5]]));
    await expectClosed(client, 0x82);
  },
);

clause(
  '5.0 [MQTT-4.13.1-1]',
  'properties that are twice there, unknown or elsewhere close the connection',
  async (version) => {
    const twice = property(Property.receiveMaximum, 5);
    for (const list of [
      Buffer.concat([twice, twice]),
      Buffer.from([0x7f, 0x00]),
      property(Property.topicAlias, 1),
      property(Property.receiveMaximum, 0),
      property(Property.maximumPacketSize, 0),
      property(Property.requestProblemInformation, 2),
      property(Property.requestResponseInformation, 2),
      property(Property.authenticationData, Buffer.from('x')),
    ]) {
      const client = await server.open(version);
      client.send(
        packet(0x10, text('MQTT'), u8(5), u8(2), u16(0), varint(list.length), list, text(unique('c'))),
      );
      const came = await client.closed();
      expect(came.map(({ type }) => type)).toEqual([Type.CONNACK]);
      expect([0x81, 0x82]).toContain(came[0]?.reason);
    }
  },
);

const failing = useGatewayByHand();

clause(
  '3.1.1 [MQTT-4.8.0-2]',
  'a packet that cannot be processed now costs its connection, which may come again',
  async (version) => {
    const subscriber = await failing.connected(version, { clean: false });
    await subscriber.subscribe([['kept', 1]]);
    for (const failure of ['failAppends', 'failCommits'] as const) {
      const publisher = await failing.connected(version);
      failing.storage[failure] = true;
      publisher.send(publish(version, 'kept', 'x', { qos: 1 }), pingreq());
      expect((await publisher.closed()).filter(({ type }) => type === Type.PUBACK)).toEqual([]);
      failing.storage[failure] = false;
      // What failed is tried again.
      await failing.pass(1_000);
    }
    const again = await failing.connected(version);
    expect((await again.publish('kept', 'again', { qos: 1 }))?.type).toBe(Type.PUBACK);
    while ((await subscriber.expect(Type.PUBLISH)).payload !== 'again');
  },
);

const guarded = useGatewayByHand({ access: accessOf((_, action) => action !== 'publish') });
const lenient = useGatewayByHand({
  access: accessOf((_, action) => action !== 'publish'),
  settings: { refusedPublish: 'acknowledge' },
});

clause(
  '3.1.1 [MQTT-3.3.5-2]',
  'a message that may not be published closes the connection, or is acknowledged and dropped',
  async (version) => {
    for (const qos of [1, 2]) {
      const client = await guarded.connected(version);
      client.send(publish(version, 'forbidden', 'x', { qos, id: 3 }), pingreq());
      expect(await client.closed()).toEqual([]);
      const other = await lenient.connected(version);
      other.send(publish(version, 'forbidden', 'x', { qos, id: 3 }));
      expect((await other.next()).type).toBe(qos === 1 ? Type.PUBACK : Type.PUBREC);
      if (qos === 2) other.send(ack(Type.PUBREL, 3));
      if (qos === 2) await other.expect(Type.PUBCOMP);
      other.send(subscribe(version, 1, [['forbidden', 0]]));
      expect((await other.fence()).map(({ type }) => type)).toEqual([Type.SUBACK]);
    }
  },
);
