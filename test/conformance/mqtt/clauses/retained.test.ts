/** Section 3.3.1.3 and the retain options of section 3.8.3.1: retained messages. */

import { expect } from 'vitest';
import { clause, unique, useGateway } from '../clause.ts';
import { publishedIn } from '../expectations.ts';
import { Property, publish, type Received, Type, type Version } from '../packets.ts';
import type { RawClient } from '../raw-client.ts';

const server = useGateway();

const RETAIN_AS_PUBLISHED = 0x08;
const SEND_IF_NEW = 0x10;
const SEND_NEVER = 0x20;

function subscribedTo(client: RawClient, filter: string, options = 2): Promise<Received[]> {
  return client.replayed([[filter, options]]);
}

async function retainedAt(version: Version, filter: string): Promise<string[]> {
  return publishedIn(await subscribedTo(await server.connected(version), filter));
}

clause(
  '3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8] | 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9]',
  'a new subscription gets the last retained message of each topic, with its QoS and retain 1',
  async (version) => {
    const base = unique();
    const publisher = await server.connected(version);
    for (const qos of [0, 1, 2]) {
      await publisher.publish(`${base}/${qos}`, 'older', { qos: 2, id: 1, retain: true });
      await publisher.publish(`${base}/${qos}`, `last ${qos}`, { qos, id: 1, retain: true });
    }
    const found = await subscribedTo(await server.connected(version), `${base}/+`);
    const seen = found.map(({ topic, payload, qos, retain }) => [topic, payload, qos, retain]);
    expect(seen.toSorted()).toEqual([0, 1, 2].map((qos) => [`${base}/${qos}`, `last ${qos}`, qos, true]));
  },
);

clause('3.1.1 [MQTT-3.3.1-7]', 'a retained message of QoS 0 discards the one before', async (version) => {
  const topic = unique();
  const publisher = await server.connected(version);
  await publisher.publish(topic, 'before', { qos: 1, retain: true });
  await publisher.publish(topic, 'after', { qos: 0, retain: true });
  expect(await retainedAt(version, topic)).not.toContain(`${topic}=before`);
});

clause(
  '3.1.1 [MQTT-3.3.1-9] | 5.0 [MQTT-3.3.1-12]',
  'established subscriptions see retain 0',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    await subscribedTo(client, topic, 0);
    client.send(publish(version, topic, 'x', { retain: true }));
    const found = await client.expect(Type.PUBLISH);
    expect([found.payload, found.retain]).toEqual(['x', false]);
  },
);

clause('5.0 [MQTT-3.3.1-13]', 'with retain as published they see what was published', async (version) => {
  const topic = unique();
  const client = await server.connected(version);
  await subscribedTo(client, topic, RETAIN_AS_PUBLISHED);
  for (const retain of [true, false]) {
    client.send(publish(version, topic, 'x', { retain }));
    expect((await client.expect(Type.PUBLISH)).retain).toBe(retain);
  }
});

clause(
  '3.1.1 [MQTT-3.3.1-10] [MQTT-3.3.1-11] | 5.0 [MQTT-3.3.1-6] [MQTT-3.3.1-7]',
  'an empty retained message is delivered, removes what was retained and is not kept',
  async (version) => {
    const topic = unique();
    const subscriber = await server.connected(version);
    await subscribedTo(subscriber, topic, 1);
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'kept', { qos: 1, retain: true });
    expect(await retainedAt(version, topic)).toEqual([`${topic}=kept`]);
    await publisher.publish(topic, '', { qos: 1, retain: true });
    expect(publishedIn([await subscriber.next(), await subscriber.next()])).toEqual([
      `${topic}=kept`,
      `${topic}=`,
    ]);
    expect(await retainedAt(version, topic)).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-3.3.1-12] | 5.0 [MQTT-3.3.1-8]',
  'a message without retain neither is kept nor removes what is',
  async (version) => {
    const topic = unique();
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'not kept', { qos: 1 });
    expect(await retainedAt(version, topic)).toEqual([]);
    await publisher.publish(topic, 'kept', { qos: 1, retain: true });
    await publisher.publish(topic, 'passing', { qos: 1 });
    await publisher.publish(topic, '', { qos: 1 });
    expect(await retainedAt(version, topic)).toEqual([`${topic}=kept`]);
  },
);

clause(
  '5.0 [MQTT-3.3.1-9] [MQTT-3.8.4-4]',
  'retain handling 0 sends retained messages each time',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    await client.publish(topic, 'kept', { retain: true });
    for (let i = 0; i < 2; i++)
      expect(publishedIn(await subscribedTo(client, topic, 0))).toEqual([`${topic}=kept`]);
  },
);

clause('5.0 [MQTT-3.3.1-10]', 'retain handling 1 sends them to a new subscription only', async (version) => {
  const topic = unique();
  const client = await server.connected(version);
  await client.publish(topic, 'kept', { retain: true });
  expect(publishedIn(await subscribedTo(client, topic, SEND_IF_NEW))).toEqual([`${topic}=kept`]);
  expect(await subscribedTo(client, topic, SEND_IF_NEW)).toEqual([]);
  await client.unsubscribe([topic]);
  expect(publishedIn(await subscribedTo(client, topic, SEND_IF_NEW))).toEqual([`${topic}=kept`]);
  // A subscription of a resumed session did exist.
  const keep = { clientId: unique('c'), clean: false, properties: [[Property.sessionExpiry, 60]] as const };
  const first = await server.connected(version, keep);
  expect(await subscribedTo(first, topic, SEND_IF_NEW)).toHaveLength(1);
  await first.drop();
  const again = await server.connected(version, keep);
  expect(await subscribedTo(again, topic, SEND_IF_NEW)).toEqual([]);
});

clause('5.0 [MQTT-3.3.1-11]', 'retain handling 2 sends none', async (version) => {
  const topic = unique();
  const client = await server.connected(version);
  await client.publish(topic, 'kept', { retain: true });
  expect(await subscribedTo(client, topic, SEND_NEVER)).toEqual([]);
  expect(await subscribedTo(client, topic, SEND_NEVER)).toEqual([]);
  client.send(publish(version, topic, 'new'));
  expect(publishedIn(await client.fence())).toEqual([`${topic}=new`]);
});
