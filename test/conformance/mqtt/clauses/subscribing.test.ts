/** Sections 3.8 to 3.11: SUBSCRIBE, UNSUBSCRIBE and their answers. */

import { expect } from 'vitest';
import { clause, unique, useGateway } from '../clause.ts';
import { expectClosed, publishedIn } from '../expectations.ts';
import {
  ack,
  Property,
  packet,
  properties,
  propertiesOf,
  propertyOf,
  publish,
  subscribe,
  Type,
  text,
  u8,
  u16,
  unsubscribe,
  type Version,
} from '../packets.ts';

const server = useGateway();
const NO_LOCAL = 0x04;
const ILL_FORMED = Buffer.from('61eda080', 'hex');

clause(
  '3.1.1 [MQTT-3.8.1-1] | 5.0 [MQTT-3.8.1-1]',
  'SUBSCRIBE with other flags closes the connection',
  async (version) => {
    for (const flags of [0, 1, 3, 6, 10]) {
      const client = await server.connected(version);
      const bytes = subscribe(version, 1, [['a', 0]]);
      bytes[0] = 0x80 | flags;
      client.send(bytes);
      await expectClosed(client, 0x81);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.10.1-1] | 5.0 [MQTT-3.10.1-1]',
  'UNSUBSCRIBE with other flags closes the connection',
  async (version) => {
    for (const flags of [0, 1, 3, 6, 10]) {
      const client = await server.connected(version);
      const bytes = unsubscribe(version, 1, ['a']);
      bytes[0] = 0xa0 | flags;
      client.send(bytes);
      await expectClosed(client, 0x81);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.8.3-1] [MQTT-3.10.3-1] | 5.0 [MQTT-3.8.3-1] [MQTT-3.10.3-1]',
  'a topic filter that is not a whole UTF-8 string closes the connection',
  async (version) => {
    for (const bytes of [
      subscribe(version, 1, [[ILL_FORMED, 0]]),
      unsubscribe(version, 1, ['fine', ILL_FORMED]),
      packet(0x82, u16(1), properties(version === 5 ? [] : null), u16(9), Buffer.from('short')),
      packet(0xa2, u16(1), properties(version === 5 ? [] : null), u16(9), Buffer.from('short')),
    ]) {
      const client = await server.connected(version);
      client.send(bytes);
      await expectClosed(client, 0x81, 0x8f);
    }
  },
);

clause('3.1.1 [MQTT-3.8.3-2]', 'filters with wildcards are served', async (version) => {
  const base = unique();
  const client = await server.connected(version);
  expect((await client.subscribe([[`${base}/+/#`, 1]])).reasons).toEqual([1]);
  client.send(publish(version, `${base}/a/b`, 'x'));
  expect(publishedIn(await client.fence())).toEqual([`${base}/a/b=x`]);
});

clause(
  '3.1.1 [MQTT-3.8.3-3] [MQTT-3.10.3-2] | 5.0 [MQTT-3.8.3-2] [MQTT-3.10.3-2]',
  'SUBSCRIBE and UNSUBSCRIBE without a filter close the connection',
  async (version) => {
    for (const bytes of [subscribe(version, 1, []), unsubscribe(version, 1, [])]) {
      const client = await server.connected(version);
      client.send(bytes);
      await expectClosed(client, 0x82, 0x81);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.8.3-4] | 5.0 [MQTT-3.8.3-5]',
  'reserved option bits and QoS 3 close the connection',
  async (version) => {
    for (const options of version === 5
      ? [0x40, 0x80, 0x03, 0x30]
      : [0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x03]) {
      const client = await server.connected(version);
      client.send(
        subscribe(version, 1, [
          ['fine', 0],
          [unique(), options],
        ]),
      );
      await expectClosed(client, 0x81, 0x82);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.8.4-1] [MQTT-3.8.4-2] | 5.0 [MQTT-3.8.4-1] [MQTT-3.8.4-2]',
  'SUBSCRIBE is answered with SUBACK of the same identifier',
  async (version) => {
    const client = await server.connected(version);
    for (const id of [1, 0x0100, 65_535]) {
      client.send(subscribe(version, id, [[unique(), 0]]));
      const came = await client.fence();
      expect(came.map((each) => [each.type, each.id])).toEqual([[Type.SUBACK, id]]);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.8.4-3] | 5.0 [MQTT-3.8.4-3] [MQTT-3.8.4-4]',
  'the same filter again replaces the subscription without losing a message',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    await client.publish(topic, 'kept', { qos: 1, retain: true });
    expect(publishedIn(await client.replayed([[topic, 0]]))).toEqual([`${topic}=kept`]);
    const first = version === 5 ? ([[Property.subscriptionId, 5]] as const) : [];
    await client.subscribe([[topic, 0]], first);
    await client.fence();
    // Changed while messages come: none is lost and none comes twice.
    const publisher = await server.connected(version);
    for (let i = 0; i < 20; i++) {
      publisher.send(publish(version, topic, `${i}`, { qos: 1, id: i + 1 }));
      client.send(subscribe(version, 50 + i, [[topic, i % 2]]));
      await publisher.expect(Type.PUBACK);
    }
    const came = (await client.fence()).filter(({ retain, type }) => type === Type.PUBLISH && !retain);
    expect(publishedIn(came)).toEqual(Array.from({ length: 20 }, (_, i) => `${topic}=${i}`));
    // The new options are the ones that count, and the identifier of the old ones is gone.
    client.send(subscribe(version, 90, [[topic, 1]]));
    const replay = await client.fence();
    expect(publishedIn(replay)).toEqual([`${topic}=kept`]);
    await publisher.publish(topic, 'after', { qos: 1, id: 99 });
    const after = await client.expect(Type.PUBLISH);
    expect([after.payload, after.qos]).toEqual(['after', 1]);
    expect(propertiesOf(after, Property.subscriptionId)).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-3.8.4-4] [MQTT-3.8.4-5] [MQTT-3.9.3-1] | 5.0 [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1]',
  'several filters get one SUBACK with a code for each, in their order',
  async (version) => {
    const base = unique();
    const client = await server.connected(version);
    const suback = await client.subscribe([
      [`${base}/2`, 2],
      ['$queue', 1],
      [`${base}/0`, 0],
      [`${base}/1`, 1],
      [`${base}/2`, 1],
    ]);
    expect(suback.reasons.map((code) => (code >= 0x80 ? 'failed' : code))).toEqual([2, 'failed', 0, 1, 1]);
    // As if they had come one by one: the last one of the same filter counts.
    const publisher = await server.connected(version);
    for (const qos of [0, 1, 2]) await publisher.publish(`${base}/${qos}`, 'x', { qos: 2, id: 1 });
    const came = [await client.next(), await client.next(), await client.next()];
    expect(came.map(({ topic, qos }) => [topic, qos])).toEqual([
      [`${base}/0`, 0],
      [`${base}/1`, 1],
      [`${base}/2`, 1],
    ]);
  },
);

clause(
  '3.1.1 [MQTT-3.8.4-6] | 5.0 [MQTT-3.8.4-8]',
  'messages come at the lower of the published and the granted QoS',
  async (version) => {
    const publisher = await server.connected(version);
    for (const granted of [0, 1, 2]) {
      const topic = unique();
      const client = await server.connected(version);
      await client.subscribe([[topic, granted]]);
      for (const qos of [0, 1, 2]) {
        await publisher.publish(topic, 'x', { qos, id: 1 });
        expect((await client.expect(Type.PUBLISH)).qos).toBe(Math.min(qos, granted));
      }
    }
  },
);

const SUBSCRIBE_CODES: Readonly<Record<number, readonly number[]>> = {
  4: [0, 1, 2, 0x80],
  5: [0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
};
const REFUSED_FILTERS = ['$queue', '$delayed/x', `${'deep/'.repeat(200)}#`];

clause('3.1.1 [MQTT-3.9.3-2] | 5.0 [MQTT-3.9.3-2]', 'SUBACK uses its codes', async (version: Version) => {
  const client = await server.connected(version);
  const { reasons } = await client.subscribe([
    ['a', 0],
    ['b', 1],
    ['c', 2],
    ...REFUSED_FILTERS.map((each) => [each, 1] as const),
  ]);
  expect(reasons).toHaveLength(3 + REFUSED_FILTERS.length);
  for (const code of reasons) expect(SUBSCRIBE_CODES[version]).toContain(code);
  expect(reasons.some((code) => code >= 0x80)).toBe(true);
});

clause(
  '5.0 [MQTT-3.11.3-1] [MQTT-3.11.3-2]',
  'UNSUBACK has a code for each filter, in their order',
  async (version) => {
    const base = unique();
    const client = await server.connected(version);
    await client.subscribe([
      [`${base}/a`, 0],
      [`${base}/b`, 0],
    ]);
    const unsuback = await client.unsubscribe([`${base}/b`, `${base}/none`, `${base}/a`, `${base}/a`]);
    expect(unsuback.reasons).toEqual([0x00, 0x11, 0x00, 0x11]);
  },
);

clause(
  '5.0 [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2]',
  'SUBACK and UNSUBACK leave out what would make them too large, and come',
  async (version) => {
    for (const size of [24, 1_000]) {
      const client = await server.connected(version, {
        clientId: unique('c'),
        properties: [[Property.maximumPacketSize, size]],
      });
      const suback = await client.subscribe([['$queue', 0]]);
      const unsuback = await client.unsubscribe(['$queue']);
      for (const answer of [suback, unsuback]) {
        expect(answer.bytes.length).toBeLessThanOrEqual(size);
        expect(answer.reasons).toHaveLength(1);
        if (size === 24) expect([propertyOf(answer, 31), ...propertiesOf(answer, 38)]).toEqual([undefined]);
      }
      // With room a refusal is explained.
      if (size > 24) expect(propertyOf(suback, Property.reasonString)).toBeDefined();
    }
  },
);

clause('5.0 [MQTT-3.8.3-3]', 'with no local a client does not get its own messages', async (version) => {
  const base = unique();
  const client = await server.connected(version);
  const other = await server.connected(version);
  await client.subscribe([[`${base}/not`, NO_LOCAL]]);
  await client.subscribe([[`${base}/yes`, 0]]);
  for (const end of ['not', 'yes']) client.send(publish(version, `${base}/${end}`, 'own'));
  await client.fence().then((came) => expect(publishedIn(came)).toEqual([`${base}/yes=own`]));
  await other.publish(`${base}/not`, 'foreign');
  expect(publishedIn([await client.next()])).toEqual([`${base}/not=foreign`]);
});

clause(
  '3.1.1 [MQTT-3.10.4-1] | 5.0 [MQTT-3.10.4-1]',
  'UNSUBSCRIBE removes what is the same character by character',
  async (version) => {
    const base = unique();
    const client = await server.connected(version);
    await client.subscribe([
      [`${base}/#`, 0],
      [`${base}/a`, 0],
    ]);
    // Each matches, covers or resembles a filter, and none is it.
    await client.unsubscribe([`${base}/+`, `${base}/A`, `${base}/a/`, `/${base}/a`, `${base}/b`, `${base}`]);
    client.send(publish(version, `${base}/b`, '1'));
    expect(publishedIn(await client.fence())).toEqual([`${base}/b=1`]);
    await client.unsubscribe([`${base}/#`]);
    client.send(publish(version, `${base}/b`, '2'), publish(version, `${base}/a`, '3'));
    expect(publishedIn(await client.fence())).toEqual([`${base}/a=3`]);
  },
);

clause(
  '3.1.1 [MQTT-3.10.4-2] | 5.0 [MQTT-3.10.4-2]',
  'after UNSUBACK no new messages come',
  async (version) => {
    const topic = unique();
    const client = await server.connected(version);
    await client.subscribe([[topic, 1]]);
    await client.unsubscribe([topic]);
    const publisher = await server.connected(version);
    for (let i = 0; i < 3; i++) await publisher.publish(topic, 'x', { qos: i, id: 1 });
    expect(await client.fence()).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-3.10.4-3] | 5.0 [MQTT-3.10.4-3]',
  'what was begun before UNSUBSCRIBE is completed, on the next connection too',
  async (version) => {
    const topic = unique();
    const options = {
      clientId: unique('c'),
      clean: false,
      ...(version === 5 ? { properties: [[Property.sessionExpiry, 60]] as const } : {}),
    };
    const client = await server.connected(version, options);
    await client.subscribe([[topic, 2]]);
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'one', { qos: 1, id: 1 });
    await publisher.publish(topic, 'two', { qos: 2, id: 2 });
    const one = await client.expect(Type.PUBLISH);
    const two = await client.expect(Type.PUBLISH);
    await client.unsubscribe([topic]);
    client.send(ack(Type.PUBREC, two.id));
    expect((await client.expect(Type.PUBREL)).id).toBe(two.id);
    await client.drop();
    const again = await server.connected(version, options);
    const came = [await again.next(), await again.next()];
    expect(came.map(({ type, id }) => [type, id]).toSorted()).toEqual(
      [
        [Type.PUBLISH, one.id],
        [Type.PUBREL, two.id],
      ].toSorted(),
    );
  },
);

clause(
  '3.1.1 [MQTT-3.10.4-4] [MQTT-3.10.4-5] | 5.0 [MQTT-3.10.4-4] [MQTT-3.10.4-5]',
  'UNSUBSCRIBE is answered with UNSUBACK of its identifier, also where nothing was removed',
  async (version) => {
    const client = await server.connected(version);
    for (const id of [1, 0x0100, 65_535]) {
      client.send(unsubscribe(version, id, [unique()]));
      expect((await client.fence()).map((each) => [each.type, each.id])).toEqual([[Type.UNSUBACK, id]]);
    }
  },
);

clause(
  '3.1.1 [MQTT-3.10.4-6] | 5.0 [MQTT-3.10.4-6]',
  'several filters of UNSUBSCRIBE are all removed and get one UNSUBACK',
  async (version) => {
    const topics = [unique(), unique(), unique()];
    const client = await server.connected(version);
    await client.subscribe(topics.map((topic) => [topic, 0] as const));
    client.send(unsubscribe(version, 4, topics));
    expect((await client.fence()).map(({ type }) => type)).toEqual([Type.UNSUBACK]);
    for (const topic of topics) client.send(publish(version, topic, 'x'));
    expect(await client.fence()).toEqual([]);
  },
);

clause(
  '5.0 [MQTT-3.8.3-5]',
  'a subscription identifier of 0, or two of them, closes the connection',
  async (version) => {
    for (const list of [
      [[Property.subscriptionId, 0]],
      [
        [Property.subscriptionId, 1],
        [Property.subscriptionId, 2],
      ],
    ] as const) {
      const client = await server.connected(version);
      client.send(subscribe(version, 1, [[unique(), 0]], list));
      await expectClosed(client, 0x81, 0x82);
    }
    const client = await server.connected(version);
    client.send(packet(0x82, u16(1), properties([]), text('a'), u8(0), text('cut')));
    await expectClosed(client, 0x81);
  },
);
