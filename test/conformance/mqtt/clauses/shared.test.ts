/** Section 4.8.2: shared subscriptions. */

import { expect } from 'vitest';
import { clause, unique, useGateway, useGatewayByHand } from '../clause.ts';
import { expectClosed, publishedIn } from '../expectations.ts';
import {
  ack,
  type ConnectOptions,
  disconnect,
  Property,
  publish,
  subscribe,
  Type,
  type Version,
} from '../packets.ts';
import type { RawClient } from '../raw-client.ts';

const server = useGateway();
const timed = useGatewayByHand();
const NO_LOCAL = 0x04;

function lasting(clientId: string, seconds = 600): ConnectOptions {
  return { clientId, clean: false, properties: [[Property.sessionExpiry, seconds]] };
}

async function member(version: Version, filter: string, qos: number, from = server): Promise<RawClient> {
  const client = await from.connected(version);
  expect((await client.subscribe([[filter, qos]])).reasons).toEqual([qos]);
  return client;
}

/** Whose filter cannot be: told in SUBACK or by the end of the connection. */
async function refuse(version: Version, filter: string): Promise<void> {
  const client = await server.connected(version);
  client.send(subscribe(version, 1, [[filter, 0]]));
  const first = await client.next();
  expect([Type.SUBACK, Type.DISCONNECT]).toContain(first.type);
  expect(first.reason).toBeGreaterThanOrEqual(0x80);
}

clause('5.0 [MQTT-4.8.2-1]', 'a shared filter has a name of at least one character', async (version) => {
  for (const filter of ['$share', '$share/', '$share//a']) await refuse(version, filter);
  const [group, topic] = [unique('g'), unique()];
  const first = await member(version, `$share/${group}/${topic}/#`, 2);
  const second = await member(version, `$share/${group}/${topic}/#`, 2);
  const publisher = await server.connected(version);
  for (const qos of [0, 1, 2]) {
    for (let i = 0; i < 10; i++) await publisher.publish(`${topic}/${qos}`, String(i), { qos, id: i + 1 });
    // Each message goes to one of the two, and both get some.
    const [one, two] = [publishedIn(await first.fence()), publishedIn(await second.fence())];
    expect([...one, ...two].toSorted()).toEqual(Array.from({ length: 10 }, (_, i) => `${topic}/${qos}=${i}`));
    expect(Math.min(one.length, two.length)).toBeGreaterThan(0);
  }
});

clause('5.0 [MQTT-4.8.2-2]', 'the name holds no wildcards, and a filter follows it', async (version) => {
  for (const filter of [
    '$share/g',
    '$share/g/',
    '$share/+/a',
    '$share/#/a',
    '$share/a+/b',
    '$share/a#/b',
    '$share/g/a/#/b',
  ])
    await refuse(version, filter);
});

clause('5.0 [MQTT-3.8.3-4]', 'no local on a shared subscription closes with 0x82', async (version) => {
  const client = await server.connected(version);
  client.send(subscribe(version, 1, [[`$share/${unique('g')}/a`, NO_LOCAL]]));
  await expectClosed(client, 0x82);
});

clause('5.0 [MQTT-4.8.2-3]', 'a member gets what comes at the QoS that it was granted', async (version) => {
  for (const granted of [0, 1, 2]) {
    const topic = unique();
    const client = await member(version, `$share/${unique('g')}/${topic}`, granted);
    const publisher = await server.connected(version);
    for (const qos of [0, 1, 2]) {
      await publisher.publish(topic, 'x', { qos, id: 1 });
      expect((await client.expect(Type.PUBLISH)).qos).toBe(Math.min(qos, granted));
    }
  }
});

clause(
  '5.0 [MQTT-4.8.2-4]',
  'QoS 2 that was begun is completed with its member when it comes back',
  async (version) => {
    const [group, topic] = [unique('g'), unique()];
    const filter = `$share/${group}/${topic}`;
    const options = lasting(unique('c'));
    const first = await server.connected(version, options);
    await first.subscribe([[filter, 2]]);
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'begun', { qos: 2, id: 1 });
    await publisher.publish(topic, 'received', { qos: 2, id: 2 });
    const begun = await first.expect(Type.PUBLISH);
    const received = await first.expect(Type.PUBLISH);
    first.send(ack(Type.PUBREC, received.id));
    await first.expect(Type.PUBREL);
    const other = await member(version, filter, 2);
    await first.drop();
    expect(await other.fence()).toEqual([]);
    const again = await server.connected(version, options);
    const came = [await again.next(), await again.next()];
    const byType = (type: number): number[] => came.filter((each) => each.type === type).map(({ id }) => id);
    expect(byType(Type.PUBREL)).toEqual([received.id]);
    expect(byType(Type.PUBLISH)).toEqual([begun.id]);
    expect(await other.fence()).toEqual([]);
  },
);

clause(
  '5.0 [MQTT-4.8.2-5]',
  'QoS 2 that was begun goes to no other when the session of its member ends',
  async (version) => {
    const [group, topic] = [unique('g'), unique()];
    const filter = `$share/${group}/${topic}`;
    const first = await timed.connected(version, lasting(unique('c'), 10));
    await first.subscribe([[filter, 2]]);
    const publisher = await timed.connected(version);
    await publisher.publish(topic, 'begun', { qos: 2, id: 1 });
    await first.expect(Type.PUBLISH);
    const other = await member(version, filter, 2, timed);
    await first.drop();
    await timed.pass(20_000);
    await publisher.publish(topic, 'marker', { qos: 2, id: 2 });
    expect((await other.expect(Type.PUBLISH)).payload).toBe('marker');
    expect(await other.fence()).toEqual([]);
    // The same where the session ends with its connection.
    const third = await timed.connected(version);
    await third.subscribe([[`${filter}/third`, 2]]);
    await publisher.publish(`${topic}/third`, 'begun', { qos: 2, id: 3 });
    await third.expect(Type.PUBLISH);
    const fourth = await member(version, `${filter}/third`, 2, timed);
    third.send(disconnect());
    await third.closed();
    await timed.pass(1_000);
    expect(await fourth.fence()).toEqual([]);
  },
);

clause('5.0 [MQTT-4.8.2-6]', 'what a member refuses goes to no other', async (version) => {
  const [group, topic] = [unique('g'), unique()];
  const filter = `$share/${group}/${topic}`;
  const first = await member(version, filter, 2);
  const publisher = await server.connected(version);
  await publisher.publish(topic, 'one', { qos: 1, id: 1 });
  await publisher.publish(topic, 'two', { qos: 2, id: 2 });
  const [one, two] = [await first.expect(Type.PUBLISH), await first.expect(Type.PUBLISH)];
  const second = await member(version, filter, 2);
  first.send(ack(Type.PUBACK, one.id, 0x83), ack(Type.PUBREC, two.id, 0x97));
  expect(await first.fence()).toEqual([]);
  expect(await second.fence()).toEqual([]);
  await first.drop();
  publisher.send(publish(version, topic, 'marker', { qos: 1, id: 3 }));
  expect((await second.expect(Type.PUBLISH)).payload).toBe('marker');
});
