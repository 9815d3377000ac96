/** Everything that a clock decides, with a clock that the tests turn: keep alive, wills, sessions and messages that expire. */

import { expect } from 'vitest';
import { clause, unique, useGatewayByHand } from '../clause.ts';
import { publishedIn } from '../expectations.ts';
import {
  ack,
  type ConnectOptions,
  disconnect,
  type Properties,
  Property,
  propertyOf,
  publish,
  Type,
  type Version,
} from '../packets.ts';
import type { RawClient } from '../raw-client.ts';

const server = useGatewayByHand();
const impatient = useGatewayByHand({ limits: { keepAliveSecondsMax: 100 } });

function lasting(clientId: string, seconds: number, more: Properties = []): ConnectOptions {
  return { clientId, clean: false, properties: [[Property.sessionExpiry, seconds], ...more] };
}

async function watch(version: Version, topic: string, qos = 1): Promise<RawClient> {
  const watcher = await server.connected(version);
  await watcher.subscribe([[topic, qos]]);
  return watcher;
}

clause(
  '3.1.1 [MQTT-3.1.2-24] | 5.0 [MQTT-3.1.2-22] [MQTT-3.2.2-22]',
  'silence for one and a half times the keep alive closes the connection, as if it had failed',
  async (version) => {
    const topic = unique();
    const watcher = await watch(version, topic);
    const client = await server.connected(version, { keepAlive: 10, will: { topic, payload: 'silent' } });
    const idle = await server.connected(version, { keepAlive: 0 });
    await server.pass(14_000);
    // Any packet counts.
    client.send(publish(version, unique(), 'x'));
    await client.fence();
    await server.pass(14_900);
    expect(await client.fence()).toEqual([]);
    await server.pass(15_100);
    const came = await client.closed();
    expect(came.map(({ reason }) => reason)).toEqual(version === 5 ? [0x8d] : []);
    expect(publishedIn([await watcher.next()])).toEqual([`${topic}=silent`]);
    // A keep alive of 0 asks for none of this.
    await server.pass(10_000_000);
    expect(await idle.fence()).toEqual([]);
  },
);

clause('5.0 [MQTT-3.2.2-21]', 'a server keep alive is told and is the one that counts', async (version) => {
  for (const keepAlive of [0, 5_000]) {
    const client = await impatient.open(version);
    const connack = await client.connect({ clientId: unique('c'), keepAlive });
    expect(propertyOf(connack, Property.serverKeepAlive)).toBe(100);
    await impatient.pass(149_000);
    expect(await client.fence()).toEqual([]);
    await impatient.pass(151_000);
    expect((await client.closed()).map(({ reason }) => reason)).toEqual([0x8d]);
  }
  const short = await impatient.open(version);
  const connack = await short.connect({ clientId: unique('c'), keepAlive: 50 });
  expect(propertyOf(connack, Property.serverKeepAlive)).toBeUndefined();
});

clause(
  '5.0 [MQTT-3.1.2-8] [MQTT-3.1.2-10]',
  'a will waits for its delay or the end of its session, whichever is sooner, and comes once',
  async (version) => {
    const topic = unique();
    const watcher = await watch(version, topic);
    const will = { topic, payload: 'delayed', properties: [[Property.willDelay, 30]] as const };
    const client = await server.connected(version, { ...lasting(unique('c'), 600), will });
    await client.drop();
    await server.pass(29_000);
    expect(await watcher.fence()).toEqual([]);
    await server.pass(1_100);
    expect(publishedIn([await watcher.next()])).toEqual([`${topic}=delayed`]);
    await server.pass(1_000_000);
    // The session ends first.
    const short = await server.connected(version, { ...lasting(unique('c'), 10), will });
    await short.drop();
    await server.pass(9_000);
    expect(await watcher.fence()).toEqual([]);
    await server.pass(1_100);
    expect(publishedIn([await watcher.next()])).toEqual([`${topic}=delayed`]);
    await server.pass(100_000);
    expect(await watcher.fence()).toEqual([]);
  },
);

clause(
  '5.0 [MQTT-3.1.3-9] [MQTT-3.1.2-8]',
  'a will is not sent where the session is resumed in time',
  async (version) => {
    const [topic, clientId] = [unique(), unique('c')];
    const watcher = await watch(version, topic);
    const will = { topic, payload: 'never', properties: [[Property.willDelay, 30]] as const };
    const client = await server.connected(version, { ...lasting(clientId, 600), will });
    await client.drop();
    await server.pass(29_000);
    const again = await server.connected(version, lasting(clientId, 600));
    await server.pass(60_000);
    expect(await watcher.fence()).toEqual([]);
    again.send(disconnect());
    await again.closed();
    // A clean start ends the session instead: then the will is due at once.
    const second = await server.connected(version, { ...lasting(clientId, 600), will });
    await second.drop();
    await server.pass(1_000);
    await server.connected(version, { clientId, clean: true });
    expect(publishedIn([await watcher.next()])).toEqual([`${topic}=never`]);
  },
);

clause(
  '5.0 [MQTT-3.1.2-23] [MQTT-4.1.0-2]',
  'a session is kept for its expiry interval and discarded after it',
  async (version) => {
    const clientId = unique('c');
    const resumed = async (seconds: number): Promise<number> => {
      const client = await server.open(version);
      const { sessionPresent } = await client.connect(lasting(clientId, seconds));
      await client.drop();
      return sessionPresent;
    };
    expect(await resumed(60)).toBe(0);
    await server.pass(59_000);
    expect(await resumed(60)).toBe(1);
    await server.pass(61_000);
    expect(await resumed(0)).toBe(0);
    // An interval of 0 ends with the connection; DISCONNECT may change one that is not 0.
    expect(await resumed(60)).toBe(0);
    const client = await server.connected(version, lasting(clientId, 60));
    client.send(disconnect(0, [[Property.sessionExpiry, 0]]));
    await client.closed();
    expect(await resumed(60)).toBe(0);
  },
);

clause('3.1.1 [MQTT-4.1.0-1]', 'a session is still there after a day', async (version) => {
  const topic = unique();
  const options = { clientId: unique('c'), clean: false };
  const client = await server.connected(version, options);
  await client.subscribe([[topic, 1]]);
  await client.drop();
  await server.pass(86_400_000);
  const again = await server.open(version);
  expect((await again.connect(options)).sessionPresent).toBe(1);
});

const expiring = (seconds: number): { readonly qos: number; readonly properties: Properties } => ({
  qos: 1,
  properties: [[Property.messageExpiry, seconds]],
});

clause(
  '5.0 [MQTT-3.3.2-5] [MQTT-3.3.2-6]',
  'what waits too long is deleted, the rest is told what is left',
  async (version) => {
    const topic = unique();
    const options = lasting(unique('c'), 10_000);
    const subscriber = await server.connected(version, options);
    await subscriber.subscribe([[topic, 1]]);
    await subscriber.drop();
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'short', { ...expiring(20), id: 1 });
    await publisher.publish(topic, 'long', { ...expiring(100), id: 2 });
    await publisher.publish(topic, 'kept', { ...expiring(100), id: 3, retain: true });
    await publisher.publish(`${topic}/none`, 'for ever', { qos: 1, id: 4, retain: true });
    await server.pass(30_000);
    const again = await server.connected(version, options);
    const [long, kept] = [await again.next(), await again.next()];
    expect(publishedIn([long, kept])).toEqual([`${topic}=long`, `${topic}=kept`]);
    for (const found of [long, kept]) expect(propertyOf(found, Property.messageExpiry)).toBe(70);
    const late = await server.connected(version);
    const [retained] = await late.replayed([[topic, 1]]);
    expect([retained?.payload, propertyOf(retained ?? kept, Property.messageExpiry)]).toEqual(['kept', 70]);
    await server.pass(71_000);
    expect(publishedIn(await late.replayed([[`${topic}/#`, 1]]))).toEqual([`${topic}/none=for ever`]);
  },
);

clause('5.0 [MQTT-4.3.3-7]', 'what was sent at QoS 2 does not expire any more', async (version) => {
  const topic = unique();
  const options = lasting(unique('c'), 10_000);
  const subscriber = await server.connected(version, options);
  await subscriber.subscribe([[topic, 2]]);
  const publisher = await server.connected(version);
  await publisher.publish(topic, 'x', { qos: 2, properties: [[Property.messageExpiry, 5]] });
  const { id } = await subscriber.expect(Type.PUBLISH);
  await server.pass(60_000);
  subscriber.send(ack(Type.PUBREC, id));
  expect((await subscriber.expect(Type.PUBREL)).id).toBe(id);
  await subscriber.drop();
  const again = await server.connected(version, options);
  expect((await again.expect(Type.PUBREL)).id).toBe(id);
});

clause(
  '5.0 [MQTT-4.3.3-13]',
  'an expired message is acknowledged to the end all the same',
  async (version) => {
    const topic = unique();
    const publisher = await server.connected(version);
    publisher.send(
      publish(version, topic, 'x', { qos: 2, id: 3, properties: [[Property.messageExpiry, 1]] }),
    );
    expect((await publisher.expect(Type.PUBREC)).reason).toBeLessThan(0x80);
    await server.pass(10_000);
    publisher.send(ack(Type.PUBREL, 3));
    const pubcomp = await publisher.expect(Type.PUBCOMP);
    expect([pubcomp.id, pubcomp.reason]).toEqual([3, 0]);
  },
);

clause(
  '3.1.1 [MQTT-4.4.0-1] | 5.0 [MQTT-4.4.0-1]',
  'nothing is sent again for mere time on the same connection',
  async (version) => {
    const topic = unique();
    const subscriber = await watch(version, topic, 2);
    const publisher = await server.connected(version);
    await publisher.publish(topic, '1', { qos: 1, id: 1 });
    await publisher.publish(topic, '2', { qos: 2, id: 2 });
    expect(publishedIn([await subscriber.next(), await subscriber.next()])).toHaveLength(2);
    for (let i = 0; i < 20; i++) {
      await server.pass(60_000);
      expect(await subscriber.fence()).toEqual([]);
    }
  },
);
