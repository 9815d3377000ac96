/**
 * A message leaves as the bytes that it came in where nothing about it changes on the way, but for what belongs to one
 * connection, and whoever gets it in another form gets that: whatever the publishers send, in whichever chunks, every subscriber has what was published.
 */

import fc from 'fast-check';
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

interface Published {
  readonly topic: string;
  readonly payload: string;
  readonly retain: boolean;
  readonly qos: 0 | 1 | 2;
  readonly duplicate: boolean;
  readonly properties: Record<string, unknown>;
}

const generate = (packet: object, protocolVersion: number): Buffer =>
  mqttPacket.generate({ cmd: 'publish', dup: false, messageId: 1, ...packet } as Packet, { protocolVersion });

/** The properties in an order that neither side would choose. */
const PROPERTIES = [
  0x03,
  0,
  4,
  ...Buffer.from('text'),
  0x02,
  0,
  0,
  0,
  60,
  0x26,
  0,
  1,
  0x61,
  0,
  1,
  0x62,
  0x01,
  1,
];

const publishOf = (topic: string, properties: readonly number[], payload: string): Buffer => {
  const rest = Buffer.concat([
    Buffer.from([0, topic.length]),
    Buffer.from(topic),
    Buffer.from([properties.length, ...properties]),
    Buffer.from(payload),
  ]);
  return Buffer.concat([Buffer.from([0x30, rest.length]), rest]);
};

describe('byte for byte', () => {
  it('leaves what a subscriber of the same version gets, in the publisher’s order', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    const subscriber = await world.connected({ clientId: 's', version: 5 });
    await subscriber.subscribe('#');
    const bytes = Buffer.concat([
      publishOf('a/b', PROPERTIES, 'one'),
      publishOf('a/b', PROPERTIES, 'two'),
      publishOf('a/b', PROPERTIES, ''),
      publishOf('c', [], 'three'),
    ]);
    publisher.writeBytes(bytes);
    expect(await subscriber.readBytes()).toEqual(bytes);
  });

  it('but for the packet identifier and the flags', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p' });
    const subscriber = await world.connected({ clientId: 's' });
    await subscriber.subscribe('#', 2);
    const packets = (retain: boolean, dup: boolean, ids: readonly [number, number]): Buffer =>
      Buffer.concat([
        generate({ topic: 'one/topic', qos: 1, retain, dup, messageId: ids[0], payload: 'payload' }, 4),
        generate({ topic: 'another', qos: 2, retain, dup, messageId: ids[1], payload: '' }, 4),
      ]);
    publisher.writeBytes(packets(false, true, [258, 65_535]));
    expect(await subscriber.readBytes()).toEqual(packets(false, false, [2, 3]));
  });

  it('also where a packet came in pieces', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p' });
    const subscriber = await world.connected({ clientId: 's', version: 3 });
    await subscriber.subscribe('#');
    const bytes = Buffer.concat(
      ['1', '2', '3'].map((payload) => generate({ topic: 't', qos: 0, payload }, 4)),
    );
    for (const byte of bytes) publisher.writeBytes(Buffer.from([byte]));
    expect(await subscriber.readBytes()).toEqual(bytes);
  });

  const askRetained = async (world: MqttWorld, clientId: string): Promise<IPublishPacket | undefined> => {
    const client = await world.connected({ clientId, version: 5 });
    const packets = await client.subscribe('a/b');
    return packets.find(({ cmd }) => cmd === 'publish') as IPublishPacket | undefined;
  };

  /** Alone in its chunk, so that the retained message is the very one that was published. */
  const retain = async (world: MqttWorld): Promise<TestClient> => {
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    const packet = publishOf('a/b', PROPERTIES, 'one');
    const chunk = Buffer.alloc(packet.length);
    packet.copy(chunk);
    chunk[0] = 0x31;
    publisher.writeBytes(chunk);
    await publisher.read();
    return publisher;
  };

  it('until a second has passed', async () => {
    const world = await openMqttWorld();
    await retain(world);
    world.clock.advance(999);
    expect((await askRetained(world, 'in time'))?.properties?.messageExpiryInterval).toBe(60);
    world.clock.advance(1);
    expect((await askRetained(world, 'too late'))?.properties?.messageExpiryInterval).toBe(59);
  });

  it('until the next is read, whatever that is', async () => {
    const world = await openMqttWorld();
    const publisher = await retain(world);
    publisher.writeBytes(generate({ topic: 'other', qos: 1, retain: true, payload: 'two' }, 5));
    const packet = await askRetained(world, 's');
    expect([packet?.topic, packet?.payload.toString()]).toEqual(['a/b', 'one']);
  });
});

describe('in another form', () => {
  const deliver = async (bytes: Buffer): Promise<IPublishPacket[]> => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p', version: 5 });
    const subscriber = await world.connected({ clientId: 's', version: 5 });
    await subscriber.subscribe('#');
    publisher.writeBytes(bytes);
    await world.clock.turn();
    world.clock.advance(3_000);
    return (await subscriber.read()) as IPublishPacket[];
  };

  it('a topic alias becomes its topic, also where that is as long as the alias', async () => {
    const first = publishOf('a/b', [0x23, 0, 1], 'one');
    const aliased = publishOf('', [0x23, 0, 1], 'two');
    const packets = await deliver(Buffer.concat([first, aliased, aliased]));
    expect(packets.map(({ topic, payload }) => `${topic} ${payload}`)).toEqual([
      'a/b one',
      'a/b two',
      'a/b two',
    ]);
    expect(packets.map(({ properties }) => properties ?? {})).toEqual([{}, {}, {}]);
  });

  it('the gateway’s own words are taken out', async () => {
    const taken = publishOf('a/b', [0x26, 0, 12, ...Buffer.from('x-gw-address'), 0, 1, 0x62], 'one');
    const packets = await deliver(Buffer.concat([taken, taken, taken]));
    expect(packets.map(({ properties }) => properties?.userProperties)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('none says that it has expired', async () => {
    const packets = await deliver(publishOf('a/b', [0x02, 0, 0, 0, 0], 'one'));
    expect(packets.map(({ properties }) => properties?.messageExpiryInterval)).toEqual([1]);
  });

  it('a message published by another name of its queue comes under the one that it has', async () => {
    const world = await openMqttWorld();
    const publisher = await world.connected({ clientId: 'p' });
    // Version 3.1.1 names its group by the client identifier.
    const subscriber = await world.connected({ clientId: 'workers-1' });
    await subscriber.subscribe('$queue/q/#', 1);
    publisher.writeBytes(generate({ topic: '$q/q/x', qos: 0, payload: 'one' }, 4));
    const packets = (await subscriber.read()) as IPublishPacket[];
    expect(packets.map(({ topic }) => topic)).toEqual(['$queue/q/x']);
  });

  it('a message of a delayed topic comes under its own', async () => {
    const packets = await deliver(publishOf('$delayed/1/a/b', [], 'one'));
    expect(packets.map(({ topic }) => topic)).toEqual(['a/b']);
  });
});

const USER_PROPERTIES = { site: ['1', '2'], 'x-gw-via': 'me' };

const publish: fc.Arbitrary<Published> = fc.record({
  topic: fc.constantFrom('a/b', 'a/c', 'a/%2B', 'a/%252B', 'a/longer/topic'),
  payload: fc.constantFrom('', 'xx', 'yy', 'w'.repeat(60), 'z'.repeat(200)),
  retain: fc.boolean(),
  qos: fc.constantFrom<0 | 1 | 2>(0, 0, 1, 2),
  duplicate: fc.boolean(),
  properties: fc.constantFrom(
    {},
    { contentType: 'a' },
    { contentType: 'a', messageExpiryInterval: 10 },
    { messageExpiryInterval: 4_000_000_000 },
    { userProperties: USER_PROPERTIES, payloadFormatIndicator: true },
    { topicAlias: 1 },
    { correlationData: Buffer.alloc(200, 7), responseTopic: 'back' },
  ),
});

interface Subscriber {
  readonly version: 3 | 4 | 5;
  readonly rap: boolean;
  readonly qos: 0 | 1 | 2;
  readonly id: number;
  readonly packetBytesMax: number;
}

const subscriber: fc.Arbitrary<Subscriber> = fc.record({
  version: fc.constantFrom<3 | 4 | 5>(3, 4, 5, 5, 5),
  rap: fc.boolean(),
  qos: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
  id: fc.constantFrom(0, 0, 7),
  packetBytesMax: fc.constantFrom(0, 0, 60),
});

/** What one of them is to get, in the words of `mqtt-packet`. */
function expectedOf(published: Published, from: 4 | 5, to: Subscriber): Buffer | null {
  const { topicAlias: _, ...own } = from === 5 ? published.properties : ({} as Record<string, unknown>);
  if (own.userProperties === USER_PROPERTIES) own.userProperties = { site: ['1', '2'] };
  const properties = { ...own, ...(to.id === 0 ? {} : { subscriptionIdentifier: to.id }) };
  const { topic, payload } = published;
  const retain = to.version === 5 && to.rap && published.retain;
  const version = to.version === 5 ? 5 : 4;
  const qos = Math.min(published.qos, to.qos);
  const bytes = generate({ topic, payload, retain, qos, properties }, version);
  return to.version === 5 && to.packetBytesMax !== 0 && bytes.length > to.packetBytesMax ? null : bytes;
}

function parsed(bytes: Buffer, protocolVersion: number): object[] {
  const packets: object[] = [];
  const parser = mqttPacket.parser({ protocolVersion });
  parser.on('packet', (packet) => {
    const { topic, payload, retain, qos, dup, properties } = packet as IPublishPacket;
    packets.push({ topic, payload: payload.toString(), retain, qos, dup, properties: { ...properties } });
  });
  parser.on('error', (error) => {
    throw error;
  });
  parser.parse(bytes);
  return packets;
}

async function subscribed(client: TestClient, { rap, qos, id, version }: Subscriber): Promise<void> {
  const options =
    version === 5 ? { rap, ...(id === 0 ? {} : { properties: { subscriptionIdentifier: id } }) } : {};
  await client.subscribe('a/#', qos, options);
  client.transport.take();
}

it('every subscriber has what was published', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom<4 | 5>(4, 5, 5), publish), { minLength: 1, maxLength: 20 }),
      fc.array(subscriber, { minLength: 1, maxLength: 4 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 10 }),
      async (published, subscribers, cuts) => {
        const world = await openMqttWorld();
        const publishers = {
          4: await world.connected({ clientId: 'p4', version: 4 }),
          5: await world.connected({ clientId: 'p5', version: 5 }),
        };
        const clients: TestClient[] = [];
        for (const [index, one] of subscribers.entries()) {
          const bounds =
            one.packetBytesMax === 0 ? {} : { properties: { maximumPacketSize: one.packetBytesMax } };
          const client = await world.connected({
            clientId: `s${index}`,
            version: one.version,
            ...(one.version === 5 ? bounds : {}),
          });
          await subscribed(client, one);
          clients.push(client);
        }
        let cut = 0;
        const sent: [4 | 5, Published][] = [];
        for (let at = 0; at < published.length; ) {
          // Runs of one publisher come in chunks that end anywhere.
          const [version] = published[at]!;
          const run: Buffer[] = [];
          for (; at < published.length && published[at]![0] === version; at++) {
            sent.push(published[at]!);
            const { duplicate, ...said } = published[at]![1];
            // Each its own: the same one again would be the same QoS 2 message.
            const packet = { ...said, messageId: sent.length, dup: duplicate && said.qos !== 0 };
            run.push(generate(version === 5 ? packet : { ...packet, properties: {} }, version));
          }
          const bytes = Buffer.concat(run);
          for (let from = 0; from < bytes.length; ) {
            const to = from + cuts[cut++ % cuts.length]!;
            publishers[version].writeBytes(Buffer.from(bytes.subarray(from, to)));
            from = to;
          }
        }
        await world.clock.turn();
        for (const [index, one] of subscribers.entries()) {
          const version = one.version === 5 ? 5 : 4;
          const expected = sent.flatMap(([from, each]) => expectedOf(each, from, one) ?? []);
          const got = parsed(await clients[index]!.readBytes(), version);
          expect(got).toEqual(parsed(Buffer.concat(expected), version));
        }
      },
    ),
    { numRuns: 300 },
  );
});
