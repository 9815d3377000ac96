/** Sections 3.1.2.4, 3.2 and 4.1: sessions, what CONNACK says of them, and what else it says. */

import { expect } from 'vitest';
import { clause, unique, useGateway, useGatewayByHand } from '../clause.ts';
import { expectRefused, publishedIn } from '../expectations.ts';
import {
  ack,
  type ConnectOptions,
  connect,
  type Properties,
  Property,
  propertiesOf,
  propertyOf,
  publish,
  type Received,
  subscribe,
  Type,
  type Version,
} from '../packets.ts';

const server = useGateway({ 'mqtt.responseInformation': 'replies/' });

/** A session that outlives its connection. */
function lasting(version: Version, clientId: string, clean = false): ConnectOptions {
  return { clientId, clean, ...(version === 5 ? { properties: [[Property.sessionExpiry, 600]] } : {}) };
}

async function connackOf(version: Version, options: ConnectOptions): Promise<Received> {
  return (await server.open(version)).connect(options);
}

clause(
  '3.1.1 [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-4.1.0-1] | 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.2.2-3]',
  'a session that may be resumed is kept and told, another begins empty',
  async (version) => {
    const [clientId, topic] = [unique('c'), unique()];
    const first = await server.open(version);
    expect((await first.connect(lasting(version, clientId))).sessionPresent).toBe(0);
    await first.subscribe([[topic, 1]]);
    await first.drop();
    const again = await server.open(version);
    const connack = await again.connect(lasting(version, clientId));
    expect([connack.reason, connack.sessionPresent]).toEqual([0, 1]);
    // The subscription is part of the session.
    again.send(publish(version, topic, 'x'));
    expect(publishedIn(await again.fence())).toEqual([`${topic}=x`]);
    const stranger = await connackOf(version, lasting(version, unique('c')));
    expect([stranger.reason, stranger.sessionPresent]).toEqual([0, 0]);
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-5] [MQTT-4.5.0-1] | 5.0 [MQTT-4.5.0-1]',
  'messages of QoS 1 and 2 wait for every subscriber that is away',
  async (version) => {
    const topic = unique();
    const ids = [unique('c'), unique('c')];
    for (const clientId of ids) {
      const client = await server.connected(version, lasting(version, clientId));
      await client.subscribe([[topic, 2]]);
      await client.drop();
    }
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'one', { qos: 1 });
    await publisher.publish(topic, 'two', { qos: 2 });
    for (const clientId of ids) {
      const client = await server.connected(version, lasting(version, clientId));
      expect(publishedIn([await client.next(), await client.next()])).toEqual([
        `${topic}=one`,
        `${topic}=two`,
      ]);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.2.2-1] | 5.0 [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2]',
  'a clean start discards what there was',
  async (version) => {
    const [clientId, topic] = [unique('c'), unique()];
    const first = await server.connected(version, lasting(version, clientId));
    await first.subscribe([[topic, 1]]);
    await first.drop();
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'waiting', { qos: 1 });
    const clean = await server.open(version);
    const connack = await clean.connect({ clientId, clean: true });
    expect([connack.reason, connack.sessionPresent]).toEqual([0, 0]);
    await publisher.publish(topic, 'later', { qos: 1 });
    expect(await clean.fence()).toEqual([]);
    await clean.drop();
    // Nothing of the clean session is used again either.
    expect((await connackOf(version, lasting(version, clientId))).sessionPresent).toBe(0);
  },
);

clause('3.1.1 [MQTT-3.1.2-7]', 'retained messages stay when a session ends', async (version) => {
  const [clientId, topic] = [unique('c'), unique()];
  const client = await server.connected(version, lasting(version, clientId));
  await client.publish(topic, 'stays', { qos: 1, retain: true });
  await client.drop();
  const clean = await server.connected(version, { clientId, clean: true });
  clean.send(subscribe(version, 1, [[topic, 0]]));
  expect(publishedIn(await clean.fence())).toEqual([`${topic}=stays`]);
});

clause(
  '3.1.1 [MQTT-4.1.0-2] | 5.0 [MQTT-4.1.0-1]',
  'a session lasts as long as its connection',
  async (version) => {
    const topic = unique();
    // Nothing would keep it after the connection.
    const client = await server.connected(version, { clean: true });
    await client.subscribe([[topic, 2]]);
    const publisher = await server.connected(version);
    for (let i = 0; i < 5; i++) {
      await publisher.publish(topic, String(i), { qos: 2, id: i + 1 });
      const { id } = await client.expect(Type.PUBLISH);
      client.send(ack(Type.PUBREC, id));
      expect((await client.expect(Type.PUBREL)).id).toBe(id);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.2.2-4] [MQTT-3.2.2-5] | 5.0 [MQTT-3.2.2-6] [MQTT-3.2.2-7]',
  'a refusal says no session is present and closes',
  async (version) => {
    // There is a session of this name, so session present could be 1.
    const clientId = unique('c');
    const first = await server.connected(version, lasting(version, clientId));
    await first.drop();
    const client = await server.open(version);
    client.send(connect(version, { ...lasting(version, clientId), will: { topic: '$SYS/x', payload: '' } }));
    const came = await client.closed();
    expect(came.map(({ type, sessionPresent }) => [type, sessionPresent])).toEqual([[Type.CONNACK, 0]]);
    expect(came[0]?.reason).not.toBe(0);
  },
);

clause('5.0 [MQTT-3.2.0-2]', 'there is one CONNACK', async (version) => {
  const clientId = unique('c');
  const client = await server.connected(version, { clientId });
  client.send(connect(version, { clientId }));
  expect((await client.closed()).filter(({ type }) => type === Type.CONNACK)).toEqual([]);
});

clause('5.0 [MQTT-3.2.2-1]', 'the acknowledge flags are 0 or 1', async (version) => {
  const clientId = unique('c');
  expect((await connackOf(version, lasting(version, clientId))).bytes[2]).toBe(0);
  expect((await connackOf(version, lasting(version, clientId))).bytes[2]).toBe(1);
});

/** Table 3-1. */
const CONNECT_CODES = [
  0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a,
  0x9b, 0x9c, 0x9d, 0x9f,
];

clause('5.0 [MQTT-3.2.2-8]', 'refusals use the reason codes of CONNACK', async (version) => {
  const refusals: ConnectOptions[] = [
    { flags: 0x03 },
    { clientId: 'a\u0001' },
    { will: { topic: '$SYS/x', payload: '' } },
    { will: { topic: 'a/+', payload: '' } },
    { level: 9 },
    { properties: [[Property.authenticationMethod, 'unheard-of']] },
    { properties: [[Property.receiveMaximum, 0]] },
    { properties: [[Property.maximumPacketSize, 0]] },
    { properties: [[Property.topicAlias, 1]] },
    { properties: [[Property.maximumPacketSize, 3]] },
  ];
  for (const options of refusals) {
    const client = await server.open(version);
    client.send(connect(version, { clientId: unique('c'), ...options }));
    await expectRefused(client, ...CONNECT_CODES.slice(1));
  }
});

const elsewhere = useGatewayByHand({ settings: { serverReference: 'other:1883', redirect: 'always' } });

clause(
  '5.0 [MQTT-3.2.2-7] [MQTT-3.2.2-8]',
  'who is sent elsewhere is told where, and closed',
  async (version) => {
    const client = await elsewhere.open(version);
    client.send(connect(version, { clientId: unique('c') }));
    const [connack, ...more] = await client.closed();
    expect([connack?.type, connack?.reason, connack?.sessionPresent, more]).toEqual([
      Type.CONNACK,
      0x9d,
      0,
      [],
    ]);
    expect(propertyOf(connack as Received, Property.serverReference)).toBe('other:1883');
  },
);

clause(
  '5.0 [MQTT-3.2.2-9] [MQTT-3.2.2-12] [MQTT-3.2.2-13]',
  'QoS 2 and retained wills are supported, and CONNACK does not say otherwise',
  async (version) => {
    const topic = unique();
    const client = await server.open(version);
    const connack = await client.connect({
      clientId: unique('c'),
      will: { topic, payload: 'gone', qos: 2, retain: true },
    });
    expect(connack.reason).toBe(0);
    expect(propertyOf(connack, Property.maximumQos)).toBeUndefined();
    expect([undefined, 1]).toContain(propertyOf(connack, Property.retainAvailable));
    expect((await client.publish(unique(), 'x', { qos: 2 }))?.reason).toBeLessThan(0x80);
    await client.drop();
    const later = await server.connected(version);
    later.send(subscribe(version, 1, [[topic, 2]]));
    const found = (await later.fence()).find(({ type }) => type === Type.PUBLISH);
    expect([found?.payload, found?.qos, found?.retain]).toEqual(['gone', 2, true]);
  },
);

clause('5.0 [MQTT-3.2.2-10]', 'SUBSCRIBE with QoS 0, 1 and 2 is accepted', async (version) => {
  const client = await server.connected(version);
  const suback = await client.subscribe([
    ['a', 0],
    ['b', 1],
    ['c', 2],
  ]);
  expect(suback.reasons).toEqual([0, 1, 2]);
});

clause(
  '5.0 [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]',
  'an empty identifier is answered with a new one, which names the session',
  async (version) => {
    const topic = unique();
    const seen = new Set<unknown>();
    for (let i = 0; i < 3; i++) {
      seen.add(propertyOf(await connackOf(version, lasting(version, '', true)), Property.assignedClientId));
    }
    expect(seen.size).toBe(3);
    const first = await server.open(version);
    const clientId = propertyOf(
      await first.connect(lasting(version, '')),
      Property.assignedClientId,
    ) as string;
    expect(clientId).not.toBe('');
    expect(seen.has(clientId)).toBe(false);
    await first.subscribe([[topic, 1]]);
    await first.drop();
    const again = await server.open(version);
    const connack = await again.connect(lasting(version, clientId));
    expect(connack.sessionPresent).toBe(1);
    expect(propertyOf(connack, Property.assignedClientId)).toBeUndefined();
  },
);

clause(
  '5.0 [MQTT-3.2.2-19] [MQTT-3.2.2-20]',
  'reason string and user properties of CONNACK leave where there is no room',
  async (version) => {
    const sizes: number[] = [];
    for (const size of [1_000, 20]) {
      const client = await server.open(version);
      client.send(
        connect(version, { clientId: 'a\u0001', properties: [[Property.maximumPacketSize, size]] }),
      );
      const [connack] = await client.closed();
      expect(connack?.type).toBe(Type.CONNACK);
      expect(connack?.bytes.length).toBeLessThanOrEqual(size);
      sizes.push(connack?.bytes.length ?? 0);
      if (size === 20) {
        expect(propertyOf(connack as Received, Property.reasonString)).toBeUndefined();
        expect(propertiesOf(connack as Received, Property.userProperty)).toEqual([]);
      }
    }
    // With room the reason is told, so it was left out for the lack of it.
    expect(sizes[0]).toBeGreaterThan(20);
  },
);

clause('5.0 [MQTT-3.1.2-28]', 'response information is given to who asks for it only', async (version) => {
  const informationOf = async (properties: Properties): Promise<unknown> => {
    const connack = await connackOf(version, { clientId: unique('c'), properties });
    return propertyOf(connack, Property.responseInformation);
  };
  expect(await informationOf([[Property.requestResponseInformation, 1]])).toBe('replies/');
  expect(await informationOf([])).toBeUndefined();
  expect(await informationOf([[Property.requestResponseInformation, 0]])).toBeUndefined();
});
