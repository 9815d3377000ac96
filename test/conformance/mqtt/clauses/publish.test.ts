/** Section 3.3: PUBLISH, its flags, topic names and what a subscriber gets of its properties. */

import { expect } from 'vitest';
import { clause, unique, useGateway } from '../clause.ts';
import { expectClosed, publishedIn } from '../expectations.ts';
import {
  ack,
  Property,
  type PropertyValue,
  packet,
  properties,
  propertiesOf,
  property,
  propertyOf,
  publish,
  type Received,
  Type,
  text,
  u16,
  type Version,
  varint,
} from '../packets.ts';
import type { RawClient } from '../raw-client.ts';

const server = useGateway({ 'mqtt.limits.topicAliasMaximum': 5 });

async function subscribed(version: Version, topic: string, options = 2): Promise<RawClient> {
  const client = await server.connected(version);
  await client.subscribe([[topic, options]]);
  return client;
}

/** What a subscriber gets of a message with these properties. */
async function forwarded(list: readonly (readonly [number, PropertyValue])[]): Promise<Received> {
  const topic = unique();
  const client = await subscribed(5, topic, 0);
  client.send(publish(5, topic, 'x', { properties: list }));
  return client.expect(Type.PUBLISH);
}

clause('3.1.1 [MQTT-3.3.1-2] | 5.0 [MQTT-3.3.1-2]', 'DUP at QoS 0 closes the connection', async (version) => {
  const client = await server.connected(version);
  client.send(publish(version, unique(), 'x', { dup: true }));
  await expectClosed(client, 0x81, 0x82);
});

clause('3.1.1 [MQTT-3.3.1-3] | 5.0 [MQTT-3.3.1-3]', 'DUP is not passed on', async (version) => {
  const topic = unique();
  const subscriber = await subscribed(version, topic);
  const publisher = await server.connected(version);
  for (const qos of [1, 2]) {
    publisher.send(publish(version, topic, 'x', { qos, id: 1, dup: true }));
    await publisher.next();
    expect((await subscriber.expect(Type.PUBLISH)).dup).toBe(false);
  }
});

clause('3.1.1 [MQTT-3.3.1-4] | 5.0 [MQTT-3.3.1-4]', 'QoS 3 closes the connection', async (version) => {
  for (const first of [0x36, 0x37, 0x3e]) {
    const client = await server.connected(version);
    client.send(packet(first, text(unique()), u16(1), properties(version === 5 ? [] : null)));
    await expectClosed(client, 0x81);
  }
});

clause(
  '3.1.1 [MQTT-3.3.2-1] | 5.0 [MQTT-3.3.2-1]',
  'a PUBLISH whose topic name is not a whole UTF-8 string closes the connection',
  async (version) => {
    for (const body of [
      Buffer.alloc(0),
      u16(5),
      Buffer.concat([u16(5), Buffer.from('abcd')]),
      Buffer.concat([text(Buffer.from('ff', 'hex')), properties(version === 5 ? [] : null)]),
    ]) {
      const client = await server.connected(version);
      client.send(packet(0x30, body));
      await expectClosed(client, 0x81, 0x90);
    }
    const topic = `${unique()}/ä/水/🙂`;
    const client = await subscribed(version, topic, 0);
    client.send(publish(version, topic, 'x'));
    expect((await client.expect(Type.PUBLISH)).topic).toBe(topic);
  },
);

clause(
  '3.1.1 [MQTT-3.3.2-2] [MQTT-4.7.1-1] | 5.0 [MQTT-3.3.2-2] [MQTT-4.7.0-1]',
  'a wildcard in a topic name closes the connection',
  async (version) => {
    for (const topic of ['#', '+', 'a/#', 'a/+/b', 'a+', 'a#b']) {
      const client = await server.connected(version);
      client.send(publish(version, topic, 'x'));
      await expectClosed(client, 0x90, 0x81, 0x82);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.3.2-3] | 5.0 [MQTT-3.3.2-3]',
  'a subscriber gets the topic name that was published, which matches its filter',
  async (version) => {
    const base = unique();
    const client = await server.connected(version);
    await client.subscribe([
      [`${base}/+/b`, 0],
      [`${base}/x/#`, 0],
    ]);
    for (const end of ['1/b', '2/b', 'x', 'x/y/z', '1/c', 'y', '1/b/c']) {
      client.send(publish(version, `${base}/${end}`, end));
    }
    const came = publishedIn(await client.fence());
    expect(came).toEqual(['1/b', '2/b', 'x', 'x/y/z'].map((end) => `${base}/${end}=${end}`));
  },
);

clause(
  '3.1.1 [MQTT-3.3.4-1] | 5.0 [MQTT-3.3.4-1]',
  'QoS 0 has no answer, QoS 1 PUBACK, QoS 2 PUBREC and PUBCOMP',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    client.send(publish(version, topic, 'x'));
    expect(await client.fence()).toEqual([]);
    client.send(publish(version, topic, 'x', { qos: 1, id: 5 }));
    expect((await client.next()).type).toBe(Type.PUBACK);
    client.send(publish(version, topic, 'x', { qos: 2, id: 6 }));
    expect((await client.next()).type).toBe(Type.PUBREC);
    client.send(ack(Type.PUBREL, 6));
    expect((await client.next()).type).toBe(Type.PUBCOMP);
    expect(await client.fence()).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-3.3.5-1] | 5.0 [MQTT-3.3.4-2]',
  'overlapping subscriptions get the highest QoS of those that match',
  async (version) => {
    const base = unique();
    const client = await server.connected(version);
    await client.subscribe([
      [`${base}/#`, 0],
      [`${base}/+`, 2],
      [`${base}/a`, 1],
    ]);
    const publisher = await server.connected(version);
    await publisher.publish(`${base}/a`, 'x', { qos: 2 });
    const found = await client.expect(Type.PUBLISH);
    expect(found.qos).toBe(2);
    await publisher.publish(`${base}/a/b`, 'y', { qos: 2 });
    expect((await client.expect(Type.PUBLISH)).qos).toBe(0);
  },
);

clause(
  '5.0 [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]',
  'each copy carries the identifiers of the subscriptions that it is for',
  async (version) => {
    const base = unique();
    const client = await server.connected(version);
    await client.subscribe([[`${base}/#`, 0]], [[Property.subscriptionId, 7]]);
    await client.subscribe([[`${base}/+`, 0]], [[Property.subscriptionId, 268_435_455]]);
    await client.subscribe([[`${base}/a`, 0]]);
    client.send(publish(version, `${base}/a`, 'x'));
    const copies = (await client.fence()).filter(({ type }) => type === Type.PUBLISH);
    const ids = copies.map((copy) => propertiesOf(copy, Property.subscriptionId) as number[]);
    if (copies.length === 1) expect(ids[0]?.toSorted((a, b) => a - b)).toEqual([7, 268_435_455]);
    else expect(ids.map((one) => one[0] ?? 0).toSorted((a, b) => a - b)).toEqual([0, 7, 268_435_455]);
    client.send(publish(version, `${base}/a/b`, 'x'));
    const [deeper] = (await client.fence()).filter(({ type }) => type === Type.PUBLISH);
    expect(propertiesOf(deeper as Received, Property.subscriptionId)).toEqual([7]);
    // Retained messages are sent for the subscription that asked for them, shared ones for the member's.
    await client.publish(`${base}/kept`, 'x', { retain: true });
    const later = await server.connected(version);
    const [kept] = await later.replayed([[`${base}/kept`, 0]], [[Property.subscriptionId, 9]]);
    expect(propertiesOf(kept as Received, Property.subscriptionId)).toEqual([9]);
    await later.subscribe([[`$share/${unique('g')}/${base}/shared`, 0]], [[Property.subscriptionId, 10]]);
    await client.publish(`${base}/shared`, 'x');
    expect(propertiesOf(await later.expect(Type.PUBLISH), Property.subscriptionId)).toEqual([10]);
  },
);

clause(
  '5.0 [MQTT-3.3.4-6]',
  'a subscription identifier in PUBLISH closes the connection',
  async (version) => {
    const client = await server.connected(version);
    client.send(publish(version, unique(), 'x', { properties: [[Property.subscriptionId, 1]] }));
    await expectClosed(client, 0x82, 0x81);
  },
);

clause('5.0 [MQTT-3.3.2-4]', 'the payload format indicator is forwarded unaltered', async () => {
  for (const value of [0, 1]) {
    const found = await forwarded([[Property.payloadFormat, value]]);
    expect(propertiesOf(found, Property.payloadFormat)).toEqual([value]);
  }
  expect(propertiesOf(await forwarded([]), Property.payloadFormat)).toEqual([]);
});

clause(
  '5.0 [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-20]',
  'response topic, correlation data and content type are forwarded unaltered',
  async () => {
    const correlation = Buffer.from([0, 255, 1, 254, 10]);
    const list = [
      [Property.responseTopic, 'answers/ä/\ufeff'],
      [Property.correlationData, correlation],
      [Property.contentType, 'text/ä; charset="x"'],
    ] as const;
    const found = await forwarded(list);
    expect(propertiesOf(found, Property.responseTopic)).toEqual(['answers/ä/\ufeff']);
    expect(propertiesOf(found, Property.correlationData)).toEqual([correlation]);
    expect(propertiesOf(found, Property.contentType)).toEqual(['text/ä; charset="x"']);
    const empty = await forwarded([
      [Property.correlationData, Buffer.alloc(0)],
      [Property.contentType, ''],
    ]);
    expect(propertiesOf(empty, Property.correlationData)).toEqual([Buffer.alloc(0)]);
    expect(propertiesOf(empty, Property.contentType)).toEqual(['']);
  },
);

clause(
  '5.0 [MQTT-3.3.2-17] [MQTT-3.3.2-18]',
  'user properties are forwarded unaltered and in order',
  async () => {
    const pairs = [
      ['b', '2'],
      ['a', '1'],
      ['b', '1'],
      ['', ''],
      ['B', ' ä '],
      ['b', '2'],
    ] as const;
    const found = await forwarded(pairs.map((pair) => [Property.userProperty, pair]));
    expect(propertiesOf(found, Property.userProperty)).toEqual(pairs);
  },
);

clause(
  '5.0 [MQTT-3.3.2-13] [MQTT-3.3.2-19]',
  'response topic and content type have to be UTF-8',
  async (version) => {
    for (const id of [Property.responseTopic, Property.contentType]) {
      for (const bad of ['ff', '61eda080', '6100']) {
        const client = await server.connected(version);
        const list = [[id, Buffer.from(bad, 'hex')]] as const;
        client.send(publish(version, unique(), 'x', { properties: list }));
        await expectClosed(client, 0x81, 0x82);
      }
    }
  },
);

clause('5.0 [MQTT-3.3.2-14]', 'a wildcard in the response topic closes the connection', async (version) => {
  for (const bad of ['#', 'a/+', '+/b']) {
    const client = await server.connected(version);
    client.send(publish(version, unique(), 'x', { properties: [[Property.responseTopic, bad]] }));
    await expectClosed(client, 0x82, 0x81, 0x90);
  }
});

clause('5.0 [MQTT-3.3.2-8]', 'topic alias 0 closes the connection, and none is sent', async (version) => {
  const client = await server.connected(version);
  client.send(publish(version, unique(), 'x', { properties: [[Property.topicAlias, 0]] }));
  await expectClosed(client, 0x94, 0x82);
  const topic = unique();
  const other = await server.connected(version, { properties: [[Property.topicAliasMaximum, 3]] });
  await other.subscribe([[`${topic}/+`, 0]]);
  for (let i = 0; i < 8; i++) other.send(publish(version, `${topic}/${i % 5}`, 'x'));
  for (const found of await other.fence()) expect(propertyOf(found, Property.topicAlias)).not.toBe(0);
});

clause(
  '5.0 [MQTT-3.3.2-9] [MQTT-3.2.2-17]',
  'a topic alias above the maximum that CONNACK told closes the connection',
  async (version) => {
    const client = await server.open(version);
    const connack = await client.connect({ clientId: unique('c') });
    expect(propertyOf(connack, Property.topicAliasMaximum)).toBe(5);
    client.send(publish(version, unique(), 'x', { properties: [[Property.topicAlias, 6]] }));
    await expectClosed(client, 0x94);
  },
);

clause('5.0 [MQTT-3.3.2-12]', 'every topic alias up to the maximum is taken', async (version) => {
  const base = unique();
  const client = await subscribed(version, `${base}/+`, 0);
  for (const alias of [1, 2, 3, 4, 5]) {
    const list = [[Property.topicAlias, alias]] as const;
    client.send(publish(version, `${base}/${alias}`, 'first', { properties: list }));
    client.send(publish(version, '', 'second', { properties: list }));
  }
  // An alias may get another name.
  client.send(publish(version, `${base}/new`, 'first', { properties: [[Property.topicAlias, 1]] }));
  client.send(publish(version, '', 'second', { properties: [[Property.topicAlias, 1]] }));
  const came = await client.fence();
  const names = ['1', '2', '3', '4', '5', 'new'].flatMap((end) => [
    `${base}/${end}=first`,
    `${base}/${end}=second`,
  ]);
  expect(publishedIn(came)).toEqual(names);
  for (const found of came) expect(propertyOf(found, Property.topicAlias)).toBeUndefined();
});

clause('5.0 [MQTT-3.3.2-7]', 'topic aliases are forgotten with their connection', async (version) => {
  const [clientId, topic] = [unique('c'), unique()];
  const keep = { clientId, clean: false, properties: [[Property.sessionExpiry, 600]] as const };
  const first = await server.connected(version, keep);
  await first.publish(topic, 'x', { qos: 1, properties: [[Property.topicAlias, 1]] });
  await first.drop();
  const again = await server.connected(version, keep);
  again.send(publish(version, '', 'x', { properties: [[Property.topicAlias, 1]] }));
  await expectClosed(again, 0x82);
  // The other way: what was sent under an alias comes with its name on the next connection.
  const reader = { ...keep, clientId: unique('c'), properties: [...keep.properties, [34, 10] as const] };
  const subscriber = await server.connected(version, reader);
  await subscriber.subscribe([[topic, 1]]);
  const publisher = await server.connected(version);
  await publisher.publish(topic, '1', { qos: 1 });
  await publisher.publish(topic, '2', { qos: 1 });
  const before = [await subscriber.expect(Type.PUBLISH), await subscriber.expect(Type.PUBLISH)];
  expect(before[0]?.topic).toBe(topic);
  await subscriber.drop();
  const back = await server.connected(version, reader);
  const after = [await back.expect(Type.PUBLISH), await back.expect(Type.PUBLISH)];
  expect(after[0]?.topic).toBe(topic);
  expect(after.map(({ payload }) => payload)).toEqual(['1', '2']);
});

clause(
  '5.0 [MQTT-3.1.2-26] [MQTT-3.3.2-11]',
  'no topic alias is above the maximum of the client',
  async (version) => {
    const base = unique();
    const client = await server.connected(version, { properties: [[Property.topicAliasMaximum, 2]] });
    await client.subscribe([[`${base}/+`, 0]]);
    for (let i = 0; i < 30; i++) client.send(publish(version, `${base}/${i % 6}`, 'x'));
    const aliases: (readonly [alias: number, topic: string])[] = [];
    for (const found of await client.fence()) {
      const alias = (propertyOf(found, Property.topicAlias) as number | undefined) ?? 0;
      expect(alias).toBeLessThanOrEqual(2);
      if (found.topic === '') expect(aliases.map(([each]) => each)).toContain(alias);
      if (alias > 0) aliases.push([alias, found.topic]);
    }
    // The test says something only where aliases are used.
    expect(aliases.length).toBeGreaterThan(0);
  },
);

clause('5.0 [MQTT-3.1.2-27]', 'without a topic alias maximum no aliases are sent', async (version) => {
  const topic = unique();
  for (const list of [[], [[Property.topicAliasMaximum, 0] as const]]) {
    const client = await server.connected(version, { properties: list });
    await client.subscribe([[topic, 0]]);
    for (let i = 0; i < 5; i++) client.send(publish(version, topic, 'x'));
    const came = (await client.fence()).filter(({ type }) => type === Type.PUBLISH);
    expect(came.map((found) => [found.topic, propertyOf(found, Property.topicAlias)])).toEqual(
      Array.from({ length: 5 }, () => [topic, undefined]),
    );
    await client.drop();
  }
});

clause(
  '3.1.1 [MQTT-4.3.1-1] | 5.0 [MQTT-4.3.1-1]',
  'QoS 0 is sent with QoS 0 and DUP 0, also where the publisher used more',
  async (version) => {
    const topic = unique();
    const subscriber = await subscribed(version, topic, 0);
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'x', { qos: 2, dup: true });
    const found = await subscriber.expect(Type.PUBLISH);
    expect(found.flags).toBe(0);
  },
);

clause(
  '5.0 [MQTT-3.3.2-17]',
  'a property that is not for PUBLISH, or twice there, closes the connection',
  async (version) => {
    for (const list of [
      [property(Property.sessionExpiry, 1)],
      [property(Property.messageExpiry, 1), property(Property.messageExpiry, 1)],
      [property(Property.payloadFormat, 2)],
    ]) {
      const all = Buffer.concat(list);
      const client = await server.connected(version);
      client.send(packet(0x30, text(unique()), varint(all.length), all));
      await expectClosed(client, 0x81, 0x82);
    }
  },
);
