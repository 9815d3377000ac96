/** Sections 3.4 to 3.7 and 4.3 to 4.6: acknowledgements, QoS 1 and 2 in both directions, order, sending again. */

import { expect } from 'vitest';
import { clause, unique, useGateway } from '../clause.ts';
import { expectClosed, publishedIn } from '../expectations.ts';
import {
  ack,
  type ConnectOptions,
  Property,
  packet,
  propertiesOf,
  propertyOf,
  publish,
  type Received,
  Type,
  u8,
  u16,
  type Version,
} from '../packets.ts';
import type { RawClient } from '../raw-client.ts';

const server = useGateway();

function lasting(version: Version, clientId: string): ConnectOptions {
  return {
    clientId,
    clean: false,
    ...(version === 5 ? { properties: [[Property.sessionExpiry, 600]] } : {}),
  };
}

/** A subscriber whose session may be resumed, and a publisher. */
async function pair(version: Version, topic: string, qos = 2) {
  const options = lasting(version, unique('c'));
  const subscriber = await server.connected(version, options);
  await subscriber.subscribe([[topic, qos]]);
  const publisher = await server.connected(version);
  const again = async (): Promise<RawClient> => {
    await subscriber.drop();
    return server.connected(version, options);
  };
  return { subscriber, publisher, again };
}

async function take(client: RawClient, count: number): Promise<Received[]> {
  const packets: Received[] = [];
  for (let i = 0; i < count; i++) packets.push(await client.next());
  return packets;
}

clause(
  '3.1.1 [MQTT-4.3.2-1] | 5.0 [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.2-3]',
  'QoS 1 out: an identifier that is free, DUP 0, unacknowledged until PUBACK',
  async (version) => {
    const topic = unique();
    const { subscriber, publisher, again } = await pair(version, topic);
    await publisher.publish(topic, 'acknowledged', { qos: 1 });
    await publisher.publish(topic, 'open', { qos: 1 });
    const [first, second] = await take(subscriber, 2);
    for (const found of [first, second]) expect([found?.qos, found?.dup]).toEqual([1, false]);
    expect(second?.id).not.toBe(first?.id);
    subscriber.send(ack(Type.PUBACK, first?.id ?? 0));
    await subscriber.fence();
    const back = await again();
    const [resent] = await take(back, 1);
    expect([resent?.payload, resent?.id]).toEqual(['open', second?.id]);
    back.send(ack(Type.PUBACK, resent?.id ?? 0));
    expect(await back.fence()).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-4.3.2-2] | 5.0 [MQTT-4.3.2-4] [MQTT-4.3.2-5]',
  'QoS 1 in: PUBACK for what was taken, then the identifier means a new message whatever DUP says',
  async (version) => {
    const topic = unique();
    const { subscriber, publisher } = await pair(version, topic, 0);
    for (const dup of [false, true, false]) {
      publisher.send(publish(version, topic, `dup ${dup}`, { qos: 1, id: 9, dup }));
      const puback = await publisher.expect(Type.PUBACK);
      expect([puback.id, puback.reason]).toEqual([9, 0]);
      // Taken means delivered to those who subscribe.
      expect((await subscriber.expect(Type.PUBLISH)).payload).toBe(`dup ${dup}`);
    }
  },
);

clause(
  '3.1.1 [MQTT-4.3.3-1] | 5.0 [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-3] [MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6]',
  'QoS 2 out: DUP 0, PUBREL for PUBREC and from then on only PUBREL until PUBCOMP',
  async (version) => {
    const topic = unique();
    const options = lasting(version, unique('c'));
    let subscriber = await server.connected(version, options);
    const again = async (): Promise<void> => {
      await subscriber.drop();
      subscriber = await server.connected(version, options);
    };
    await subscriber.subscribe([[topic, 2]]);
    const publisher = await server.connected(version);
    await publisher.publish(topic, 'a', { qos: 2, id: 1 });
    await publisher.publish(topic, 'b', { qos: 2, id: 2 });
    const [a, b] = await take(subscriber, 2);
    expect([a?.qos, a?.dup, b?.qos, b?.dup]).toEqual([2, false, 2, false]);
    expect(a?.id).not.toBe(b?.id);
    // Unacknowledged until PUBREC: b comes again, and a after PUBREC does not.
    subscriber.send(ack(Type.PUBREC, a?.id ?? 0));
    expect((await subscriber.expect(Type.PUBREL)).id).toBe(a?.id);
    await again();
    const resent = await take(subscriber, 2);
    expect(resent.map(({ type, id }) => [type, id]).toSorted()).toEqual(
      [
        [Type.PUBREL, a?.id],
        [Type.PUBLISH, b?.id],
      ].toSorted(),
    );
    // PUBREL stays unacknowledged until PUBCOMP.
    subscriber.send(ack(Type.PUBREC, b?.id ?? 0));
    expect((await subscriber.expect(Type.PUBREL)).id).toBe(b?.id);
    await again();
    expect((await take(subscriber, 2)).map(({ type }) => type)).toEqual([Type.PUBREL, Type.PUBREL]);
    subscriber.send(ack(Type.PUBCOMP, a?.id ?? 0), ack(Type.PUBCOMP, b?.id ?? 0));
    await subscriber.fence();
    await again();
    expect(await subscriber.fence()).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-4.3.3-2] | 5.0 [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]',
  'QoS 2 in: repeats before PUBREL are answered and not delivered, after PUBCOMP they are new',
  async (version) => {
    const topic = unique();
    const { subscriber, publisher } = await pair(version, topic, 0);
    for (let round = 0; round < 2; round++) {
      for (const dup of [false, true, false]) {
        publisher.send(publish(version, topic, `round ${round}`, { qos: 2, id: 5, dup }));
        const pubrec = await publisher.expect(Type.PUBREC);
        expect(pubrec.id).toBe(5);
        expect(pubrec.reason).toBeLessThan(0x80);
      }
      publisher.send(ack(Type.PUBREL, 5));
      const pubcomp = await publisher.expect(Type.PUBCOMP);
      expect([pubcomp.id, pubcomp.reason]).toEqual([5, 0]);
    }
    await publisher.publish(topic, 'marker', { qos: 1 });
    expect((await take(subscriber, 3)).map(({ payload }) => payload)).toEqual([
      'round 0',
      'round 1',
      'marker',
    ]);
    // Also PUBREL that belongs to nothing is answered.
    publisher.send(ack(Type.PUBREL, 77));
    const unknown = await publisher.expect(Type.PUBCOMP);
    expect([unknown.id, unknown.reason]).toEqual([77, version === 5 ? 0x92 : 0]);
  },
);

clause(
  '3.1.1 [MQTT-4.3.3-2] [MQTT-4.1.0-1] | 5.0 [MQTT-4.3.3-10] [MQTT-3.1.2-23]',
  'QoS 2 in: identifiers between PUBLISH and PUBREL are part of the session',
  async (version) => {
    const topic = unique();
    const { subscriber } = await pair(version, topic, 0);
    const options = lasting(version, unique('c'));
    const publisher = await server.connected(version, options);
    publisher.send(publish(version, topic, 'once', { qos: 2, id: 5 }));
    await publisher.expect(Type.PUBREC);
    await publisher.drop();
    const back = await server.connected(version, options);
    back.send(publish(version, topic, 'once', { qos: 2, id: 5, dup: true }));
    await back.expect(Type.PUBREC);
    back.send(ack(Type.PUBREL, 5));
    await back.expect(Type.PUBCOMP);
    await back.publish(topic, 'marker', { qos: 1 });
    expect((await take(subscriber, 2)).map(({ payload }) => payload)).toEqual(['once', 'marker']);
  },
);

clause(
  '5.0 [MQTT-4.3.3-9]',
  'after a refusing PUBREC the identifier means a new message',
  async (version) => {
    const topic = unique();
    const { subscriber, publisher } = await pair(version, topic, 0);
    const refused = await publisher.publish('$SYS/mine', 'x', { qos: 2, id: 5 });
    expect(refused?.reason).toBeGreaterThanOrEqual(0x80);
    expect((await publisher.publish(topic, 'new', { qos: 2, id: 5 }))?.reason).toBeLessThan(0x80);
    expect((await subscriber.expect(Type.PUBLISH)).payload).toBe('new');
  },
);

clause(
  '3.1.1 [MQTT-2.3.1-4] [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1] | 5.0 [MQTT-3.3.1-1] [MQTT-4.4.0-1] [MQTT-4.6.0-1]',
  'after a reconnection, and only then, what is open comes again: in order, with DUP and its identifier',
  async (version) => {
    const topic = unique();
    const { subscriber, publisher, again } = await pair(version, topic);
    for (let i = 0; i < 6; i++) await publisher.publish(topic, String(i), { qos: 1 + (i % 2), id: i + 1 });
    const first = await take(subscriber, 6);
    expect(first.map(({ payload }) => payload)).toEqual(['0', '1', '2', '3', '4', '5']);
    expect(first.map(({ dup }) => dup)).toEqual(first.map(() => false));
    expect(await subscriber.fence()).toEqual([]);
    const back = await again();
    const second = await take(back, 6);
    expect(second.map(({ payload, id, qos }) => [payload, id, qos])).toEqual(
      first.map(({ payload, id, qos }) => [payload, id, qos]),
    );
    expect(second.map(({ dup }) => dup)).toEqual(second.map(() => true));
    // A new message after those that came again is no repetition.
    await publisher.publish(topic, 'new', { qos: 1 });
    const [fresh] = await take(back, 1);
    expect([fresh?.payload, fresh?.dup]).toEqual(['new', false]);
  },
);

clause('5.0 [MQTT-4.4.0-2]', 'what was refused with 0x80 or above is not sent again', async (version) => {
  const topic = unique();
  const { subscriber, publisher, again } = await pair(version, topic);
  await publisher.publish(topic, 'one', { qos: 1 });
  await publisher.publish(topic, 'two', { qos: 2 });
  const [one, two] = await take(subscriber, 2);
  subscriber.send(ack(Type.PUBACK, one?.id ?? 0, 0x83), ack(Type.PUBREC, two?.id ?? 0, 0x97));
  expect(await subscriber.fence()).toEqual([]);
  const back = await again();
  expect(await back.fence()).toEqual([]);
  await publisher.publish(topic, 'marker', { qos: 1 });
  expect((await back.expect(Type.PUBLISH)).payload).toBe('marker');
});

clause(
  '3.1.1 [MQTT-4.6.0-2] [MQTT-4.6.0-3] | 5.0 [MQTT-4.6.0-2] [MQTT-4.6.0-3]',
  'PUBACK and PUBREC come in the order of the PUBLISH',
  async (version) => {
    const topic = unique();
    // Some go to nobody, some to a session on disk: the quick ones may not overtake.
    await pair(version, `${topic}/stored`);
    const publisher = await server.connected(version);
    const packets = Array.from({ length: 60 }, (_, n) =>
      publish(version, `${topic}/${n % 3 === 0 ? 'stored' : 'nobody'}`, 'x', { qos: 1 + (n % 2), id: n + 1 }),
    );
    publisher.send(...packets);
    const answers = await take(publisher, 60);
    const idsOf = (type: number): number[] =>
      answers.filter((each) => each.type === type).map(({ id }) => id);
    expect(idsOf(Type.PUBACK)).toEqual(Array.from({ length: 30 }, (_, n) => 2 * n + 1));
    expect(idsOf(Type.PUBREC)).toEqual(Array.from({ length: 30 }, (_, n) => 2 * n + 2));
  },
);

clause(
  '3.1.1 [MQTT-4.6.0-4] | 5.0 [MQTT-4.6.0-4]',
  'PUBREL come in the order of the PUBREC',
  async (version) => {
    const topic = unique();
    const { subscriber, publisher } = await pair(version, topic);
    for (let i = 0; i < 8; i++) await publisher.publish(topic, String(i), { qos: 2, id: i + 1 });
    const ids = (await take(subscriber, 8)).map(({ id }) => id);
    const shuffled = [5, 0, 7, 2, 1, 6, 3, 4].map((at) => ids[at] as number);
    subscriber.send(...shuffled.map((id) => ack(Type.PUBREC, id)));
    const releases = await take(subscriber, 8);
    expect(releases.map(({ type, id }) => [type, id])).toEqual(shuffled.map((id) => [Type.PUBREL, id]));
  },
);

clause(
  '3.1.1 [MQTT-4.6.0-5] [MQTT-4.6.0-6] | 5.0 [MQTT-4.6.0-5] [MQTT-4.6.0-6]',
  'subscribers get the messages of a topic in the order in which they came',
  async (version) => {
    const topic = unique();
    const { subscriber, publisher } = await pair(version, topic);
    const other = await server.connected(version);
    await other.subscribe([['+', 0]]);
    for (const qos of [0, 1, 2]) {
      const packets = Array.from({ length: 50 }, (_, n) =>
        publish(version, topic, `${qos} ${n}`, { qos, id: n + 1 }),
      );
      publisher.send(...packets);
      for (let n = 0; qos > 0 && n < 50; n++) {
        await publisher.next();
        if (qos === 2) publisher.send(ack(Type.PUBREL, n + 1));
      }
      const wanted = packets.map((_, n) => `${topic}=${qos} ${n}`);
      expect(publishedIn(await take(subscriber, 50))).toEqual(wanted);
      const others: Received[] = [];
      while (others.length < 50) {
        const found = await other.next();
        if (found.topic === topic) others.push(found);
      }
      expect(publishedIn(others)).toEqual(wanted);
      for (let n = 0; qos === 2 && n < 50; n++) await publisher.expect(Type.PUBCOMP);
    }
  },
);

const FLAGGED = [
  [Type.PUBREL, 0],
  [Type.PUBREL, 1],
  [Type.PUBREL, 3],
  [Type.PUBREL, 6],
  [Type.PUBREL, 10],
] as const;

clause(
  '3.1.1 [MQTT-3.6.1-1] | 5.0 [MQTT-3.6.1-1]',
  'PUBREL with other flags closes the connection',
  async (version) => {
    for (const [type, flags] of FLAGGED) {
      const client = await server.connected(version);
      client.send(packet((type << 4) | flags, u16(1)));
      await expectClosed(client, 0x81);
    }
  },
);

const ACK_CODES = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const RELEASE_CODES = [0x00, 0x92];

/** Publishes that end in each way that a client can bring about. */
const ATTEMPTS = [
  'nobody/listens',
  '$SYS/x',
  `${'deep/'.repeat(200)}x`,
  '$share/g/x',
  '$delayed/x',
  '$CONTROL/x',
];

clause('5.0 [MQTT-3.4.2-1] [MQTT-3.5.2-1]', 'PUBACK and PUBREC use their reason codes', async (version) => {
  const client = await server.connected(version);
  const seen = new Set<number>();
  for (const [at, topic] of ATTEMPTS.entries()) {
    for (const qos of [1, 2]) {
      const answer = await client.publish(topic, 'x', { qos, id: at + 1 });
      expect(ACK_CODES).toContain(answer?.reason);
      seen.add(answer?.reason ?? 0);
    }
  }
  expect(seen.size).toBeGreaterThan(1);
});

clause('5.0 [MQTT-3.6.2-1] [MQTT-3.7.2-1]', 'PUBREL and PUBCOMP use their reason codes', async (version) => {
  const topic = unique();
  const { subscriber, publisher } = await pair(version, topic);
  publisher.send(publish(version, topic, 'x', { qos: 2, id: 3 }));
  await publisher.expect(Type.PUBREC);
  publisher.send(ack(Type.PUBREL, 3, 0), ack(Type.PUBREL, 4));
  expect((await publisher.expect(Type.PUBCOMP)).reason).toBe(0);
  expect((await publisher.expect(Type.PUBCOMP)).reason).toBe(0x92);
  const { id } = await subscriber.expect(Type.PUBLISH);
  subscriber.send(ack(Type.PUBREC, id), ack(Type.PUBREC, id + 1));
  const releases = await take(subscriber, 2);
  for (const { type, reason } of releases) {
    expect(type).toBe(Type.PUBREL);
    expect(RELEASE_CODES).toContain(reason);
  }
  expect(releases.find((one) => one.id === id)?.reason).toBe(0);
  expect(releases.find((one) => one.id === id + 1)?.reason).toBe(0x92);
});

/** A reason code that there is not, or that is another packet's, in what a client sends. */
clause(
  '5.0 [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]',
  'an acknowledgement with a reason code that it may not have closes the connection',
  async (version) => {
    for (const type of [Type.PUBACK, Type.PUBREC, Type.PUBREL, Type.PUBCOMP]) {
      const client = await server.connected(version);
      client.send(ack(type, 1, 0x05));
      await expectClosed(client, 0x81, 0x82);
    }
  },
);

clause(
  '5.0 [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3]',
  'acknowledgements leave out what would make them too large, and come',
  async (version) => {
    const sizes = { roomy: 1_000, tight: 24 };
    const lengths: Record<string, number[]> = { roomy: [], tight: [] };
    for (const [name, size] of Object.entries(sizes)) {
      const properties = [[Property.maximumPacketSize, size]] as const;
      const client = await server.connected(version, { clientId: 'short', properties });
      client.send(
        publish(version, '$SYS/some/long/topic', 'x', { qos: 1, id: 1 }),
        publish(version, '$SYS/some/long/topic', 'x', { qos: 2, id: 2 }),
        ack(Type.PUBREL, 3),
        ack(Type.PUBREC, 4),
      );
      const answers = await take(client, 4);
      expect(answers.map(({ type }) => type)).toEqual([Type.PUBACK, Type.PUBREC, Type.PUBCOMP, Type.PUBREL]);
      for (const answer of answers) {
        expect(answer.reason).toBeGreaterThanOrEqual(0x80);
        expect(answer.bytes.length).toBeLessThanOrEqual(size);
        lengths[name]?.push(answer.bytes.length);
        if (name === 'tight')
          expect([propertyOf(answer, 31), ...propertiesOf(answer, 38)]).toEqual([undefined]);
      }
    }
    // With room PUBACK and PUBREC say more than the client with little could get.
    expect(Math.max(...(lengths.roomy ?? []))).toBeGreaterThan(24);
  },
);

clause(
  '5.0 [MQTT-3.1.2-29]',
  'without request problem information nothing is explained but in CONNACK and DISCONNECT',
  async (version) => {
    const explained = await server.connected(version);
    expect(propertyOf((await explained.publish('$SYS/x', 'x', { qos: 1 })) as Received, 31)).toBeDefined();
    const client = await server.connected(version, { properties: [[Property.requestProblemInformation, 0]] });
    client.send(
      publish(version, '$SYS/x', 'x', { qos: 1, id: 1 }),
      publish(version, '$SYS/x', 'x', { qos: 2, id: 2 }),
      ack(Type.PUBREL, 3),
      ack(Type.PUBREC, 4),
    );
    const answers = await take(client, 4);
    answers.push(await client.subscribe([['$queue', 0]]), await client.unsubscribe(['$queue']));
    for (const answer of answers)
      expect([propertyOf(answer, 31), ...propertiesOf(answer, 38)]).toEqual([undefined]);
    client.send(packet(0xe0, u8(0x00), u8(0xff)));
    await expectClosed(client, 0x81);
  },
);
