/** Section 3.1.2.5: wills. What waits for a delay is in `passing-time.test.ts`. */

import { expect } from 'vitest';
import { clause, unique, useGateway } from '../clause.ts';
import { publishedIn } from '../expectations.ts';
import {
  connect,
  disconnect,
  Property,
  packet,
  pingreq,
  propertiesOf,
  publish,
  subscribe,
  Type,
  type Version,
  type Will,
} from '../packets.ts';
import type { RawClient } from '../raw-client.ts';

const server = useGateway();

async function watch(version: Version, topic: string, options = 2): Promise<RawClient> {
  const watcher = await server.connected(version);
  await watcher.subscribe([[topic, options]]);
  return watcher;
}

/** What a new subscriber gets at once. */
async function retainedAt(version: Version, topic: string): Promise<string[]> {
  const late = await server.connected(version);
  late.send(subscribe(version, 1, [[topic, 2]]));
  return publishedIn(await late.fence());
}

clause(
  '3.1.1 [MQTT-3.1.2-8] | 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8]',
  'a will is published when the connection is lost, broken or taken over',
  async (version) => {
    const will: Will = { topic: unique(), payload: 'gone', qos: 1 };
    const watcher = await watch(version, will.topic as string);
    const lost = await server.connected(version, { will });
    await lost.drop();
    expect(publishedIn([await watcher.next()])).toEqual([`${will.topic}=gone`]);
    const broken = await server.connected(version, { will });
    broken.send(packet(0xf1));
    await broken.closed();
    expect(publishedIn([await watcher.next()])).toEqual([`${will.topic}=gone`]);
    const clientId = unique('c');
    const first = await server.connected(version, { clientId, will });
    await server.connected(version, { clientId });
    await first.closed();
    expect(publishedIn([await watcher.next()])).toEqual([`${will.topic}=gone`]);
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-10] [MQTT-3.14.4-3] | 5.0 [MQTT-3.1.2-10] [MQTT-3.14.4-3]',
  'a will is forgotten after DISCONNECT and once it is published',
  async (version) => {
    const topic = unique();
    const watcher = await watch(version, topic);
    const clientId = unique('c');
    const polite = await server.connected(version, { clientId, will: { topic, payload: 'polite' } });
    polite.send(disconnect());
    await polite.closed();
    const again = await server.connected(version, { clientId });
    await again.drop();
    const lost = await server.connected(version, { clientId, will: { topic, payload: 'lost' } });
    await lost.drop();
    expect(publishedIn([await watcher.next()])).toEqual([`${topic}=lost`]);
    // The next connection of the same client has no will: nothing is left of the one before.
    const bare = await server.connected(version, { clientId, clean: false });
    await bare.drop();
    const marker = await server.connected(version);
    await marker.publish(topic, 'marker');
    expect(publishedIn([await watcher.next()])).toEqual([`${topic}=marker`]);
  },
);

clause('5.0 [MQTT-3.14.4-3]', 'DISCONNECT with reason code 4 publishes the will', async (version) => {
  const topic = unique();
  const watcher = await watch(version, topic);
  const client = await server.connected(version, { will: { topic, payload: 'wanted' } });
  client.send(disconnect(0x04));
  await client.closed();
  expect(publishedIn([await watcher.next()])).toEqual([`${topic}=wanted`]);
});

clause('3.1.1 [MQTT-3.1.2-12]', 'without the will flag nothing is published', async (version) => {
  const watcher = await watch(version, '#', 0);
  const client = await server.connected(version);
  await client.drop();
  const marker = await server.connected(version);
  await marker.publish(unique(), 'marker');
  expect((await watcher.next()).payload).toBe('marker');
});

clause(
  '3.1.1 [MQTT-3.1.2-16] | 5.0 [MQTT-3.1.2-14]',
  'a will without retain is published as a message that is not retained',
  async (version) => {
    const topic = unique();
    // Retain as published shows the flag that the will had.
    const watcher = await watch(version, topic, version === 5 ? 2 | 8 : 2);
    const client = await server.connected(version, { will: { topic, payload: 'gone' } });
    await client.drop();
    expect((await watcher.expect(Type.PUBLISH)).retain).toBe(false);
    expect(await retainedAt(version, topic)).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-3.1.2-17] | 5.0 [MQTT-3.1.2-15]',
  'a will with retain is published as a retained message',
  async (version) => {
    const topic = unique();
    const watcher = await watch(version, topic, version === 5 ? 2 | 8 : 2);
    const client = await server.connected(version, { will: { topic, payload: 'gone', retain: true } });
    await client.drop();
    expect((await watcher.expect(Type.PUBLISH)).retain).toBe(version === 5);
    expect(await retainedAt(version, topic)).toEqual([`${topic}=gone`]);
  },
);

clause('5.0 [MQTT-3.1.3-10]', "the order of the will's user properties is kept", async (version) => {
  const topic = unique();
  const watcher = await watch(version, topic);
  const pairs = [
    ['b', '2'],
    ['a', '1'],
    ['b', '1'],
    ['a', ''],
  ] as const;
  const client = await server.connected(version, {
    will: { topic, payload: 'gone', properties: pairs.map((pair) => [Property.userProperty, pair]) },
  });
  await client.drop();
  expect(propertiesOf(await watcher.expect(Type.PUBLISH), Property.userProperty)).toEqual(pairs);
});

clause(
  '3.1.1 [MQTT-3.1.2-8] | 5.0 [MQTT-3.1.2-7]',
  'no will of a refused CONNECT is published',
  async (version) => {
    const topic = unique();
    const watcher = await watch(version, topic);
    const client = await server.open(version);
    client.send(connect(version, { clientId: 'a\u0001', will: { topic, payload: 'never' } }), pingreq());
    await client.closed();
    watcher.send(publish(version, topic, 'marker'));
    expect(publishedIn([await watcher.next()])).toEqual([`${topic}=marker`]);
  },
);
