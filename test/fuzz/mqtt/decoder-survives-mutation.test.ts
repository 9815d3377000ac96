/**
 * Mutated packets into whole connections: every input ends in packets, an answer with a reason code or a close, never
 * in another error, a hang or memory beyond the limit. `ROSETTAMQ_FUZZ_COUNT` inputs, `ROSETTAMQ_FUZZ_SEED` repeats a run.
 */

import mqttPacket, { type Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { readConnect, readConnectVersion } from '../../../adapters/mqtt/codec/connect.ts';
import { readAck, readAuth, readDisconnect } from '../../../adapters/mqtt/codec/control.ts';
import { Decoder } from '../../../adapters/mqtt/codec/decoder.ts';
import { PublishFrame } from '../../../adapters/mqtt/codec/publish.ts';
import { readSubscribe, readUnsubscribe } from '../../../adapters/mqtt/codec/subscribe.ts';
import { PacketType, type ProtocolVersion, Reader } from '../../../adapters/mqtt/codec/wire.ts';
import { MqttError, Reason } from '../../../adapters/mqtt/errors.ts';
import { mqtt5Codec } from '../../../mappings/mqtt.ts';
import type { Principal } from '../../../src/core/index.ts';
import type { Authenticator } from '../../../src/host.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { readPublish } from '../../support/publish-frame.ts';
import { openMqttWorld } from '../../unit/mqtt/mqtt-world.ts';

const COUNT = Number(process.env.ROSETTAMQ_FUZZ_COUNT ?? 50_000);
const SEED = Number(process.env.ROSETTAMQ_FUZZ_SEED ?? Date.now() % 1_000_000_000);
const PACKET_BYTES_MAX = 4096;
const NOBODY: Principal = { user: '', groups: [], clientId: '' };

/** Mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const properties = {
  contentType: 'a/b',
  correlationData: Buffer.from([1, 2]),
  userProperties: { n: 'ü', m: ['1', '2'] },
};

function seeds(version: 4 | 5): Buffer[] {
  const extra = version === 5 ? { properties } : {};
  const packets = [
    { cmd: 'publish', topic: 'a/b', payload: 'hello', qos: 0, ...extra },
    {
      cmd: 'publish',
      topic: 'a/ü',
      payload: 'hello',
      qos: 2,
      messageId: 7,
      dup: true,
      retain: true,
      ...extra,
    },
    {
      cmd: 'subscribe',
      messageId: 3,
      subscriptions: [{ topic: 'a/+/#', qos: 1, nl: true, rap: true, rh: 1 }],
    },
    { cmd: 'unsubscribe', messageId: 3, unsubscriptions: ['a', 'b/#'] },
    {
      cmd: 'puback',
      messageId: 3,
      ...(version === 5 ? { reasonCode: 0x80, properties: { reasonString: 'no' } } : {}),
    },
    { cmd: 'pubrel', messageId: 3 },
    { cmd: 'pingreq' },
    {
      cmd: 'disconnect',
      ...(version === 5 ? { reasonCode: 4, properties: { sessionExpiryInterval: 9 } } : {}),
    },
    ...(version === 5 ? [{ cmd: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'x' } }] : []),
  ];
  return packets.map((packet) =>
    mqttPacket.generate(packet as unknown as Packet, { protocolVersion: version }),
  );
}

/** Packets that mean something to a root of their own, or to authentication. */
function reservedSeeds(version: 4 | 5): Buffer[] {
  const userProperties = { 'message-id': 'jobs:1', 'group-id': 'g', reason: 'no', priority: '3' };
  const group = version === 5 ? { properties: { userProperties: { 'consumer-group': 'g' } } } : {};
  const settles = version === 5 ? { properties: { userProperties } } : {};
  const aliased = (topicAlias: number): object => (version === 5 ? { properties: { topicAlias } } : {});
  const publish = (topic: string, qos: 0 | 1 | 2, rest: object = {}): object => ({
    cmd: 'publish',
    topic,
    payload: 'p',
    qos,
    ...(qos === 0 ? {} : { messageId: 9 }),
    ...rest,
  });
  const subscribe = (topic: string, rest: object = {}): object => ({
    cmd: 'subscribe',
    messageId: 4,
    subscriptions: [{ topic, qos: 1, nl: false, rap: false, rh: 0 }],
    ...rest,
  });
  const filters = ['$share/g/a/+', '$share/g/#', '$queue/jobs', '$queue/jobs/+/x', '$q/jobs/#', '$dlq/jobs'];
  const packets = [
    ...[...filters, '$stream/s', '$s/s/#', '$delayed/1/a', '$SYS/#'].map((topic) => subscribe(topic)),
    ...['$queue/jobs', '$queue/jobs/#', '$stream/s'].map((topic) => subscribe(topic, group)),
    { cmd: 'unsubscribe', messageId: 5, unsubscriptions: filters },
    ...['$queue/jobs/$ack', '$queue/jobs/$nack', '$q/jobs/$reject'].map((topic) =>
      publish(topic, 1, settles),
    ),
    ...['$queue/jobs', '$q/jobs/a/x', '$dlq/jobs', '$delayed/0/a/b', '$delayed/0/$queue/jobs'].flatMap(
      (topic) => ([0, 1, 2] as const).map((qos) => publish(topic, qos)),
    ),
    publish('$share/g/a', 1),
    publish('$delayed/99999999/a', 2),
    publish('a/b', 1, { retain: true }),
    publish('a/b', 1, aliased(3)),
    ...(version === 5
      ? [
          publish('', 1, aliased(3)),
          ...[0x18, 0x19].map((reasonCode) => ({
            cmd: 'auth',
            reasonCode,
            properties: { authenticationMethod: 'TWO', authenticationData: Buffer.from([1]) },
          })),
        ]
      : []),
  ];
  return packets.map((packet) =>
    mqttPacket.generate(packet as unknown as Packet, { protocolVersion: version }),
  );
}

/** A question and an answer; every user is the same, and an answer that begins with 0 is refused. */
const TWO_STEPS: Authenticator = {
  ...authenticatorOf(() => NOBODY),
  mechanisms: ['TWO'],
  begin(method) {
    if (method !== 'TWO') return null;
    let asked = false;
    return {
      step: async (message) => {
        if (message[0] === 0) return { outcome: 'refused' };
        if (asked) return { outcome: 'accepted', principal: NOBODY, message: new Uint8Array(0) };
        asked = true;
        return { outcome: 'continue', message: new Uint8Array([7]) };
      },
    };
  },
};

const CONNECTS = ([3, 4, 5] as const).map((version) =>
  mqttPacket.generate({
    cmd: 'connect',
    protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: version,
    clientId: 'fuzz',
    clean: true,
    keepalive: 10,
    username: 'u',
    password: Buffer.from('p'),
    will: {
      topic: 'w',
      payload: Buffer.from('x'),
      qos: 1,
      retain: true,
      ...(version === 5 ? { properties: { willDelayInterval: 3 } } : {}),
    },
    ...(version === 5 ? { properties: { receiveMaximum: 3, userProperties: { a: 'b' } } } : {}),
  } as unknown as Packet),
);

class Mutator {
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  mutate(original: Buffer): Buffer {
    let bytes = Buffer.from(original);
    for (let rounds = 1 + this.below(4); rounds > 0; rounds--) {
      const at = this.below(bytes.length);
      switch (this.below(7)) {
        case 0:
          bytes[at] = this.below(256);
          break;
        case 1:
          bytes[at] = (bytes[at] as number) ^ (1 << this.below(8));
          break;
        case 2:
          bytes[at] = this.pick([0, 1, 0x7f, 0x80, 0xff, 0x26, 0x23, 0x2b, 0xc0, 0xed]);
          break;
        case 3:
          bytes = bytes.subarray(0, at + 1);
          break;
        case 4:
          bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([this.below(256)]), bytes.subarray(at)]);
          break;
        case 5:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + this.below(4))]);
          if (bytes.length === 0) bytes = Buffer.from([this.below(256)]);
          break;
        default:
          // The announced length follows what is there, so that mutations reach the inside of the packet.
          if (bytes.length > 2 && bytes.length < 130) bytes[1] = bytes.length - 2;
      }
    }
    return bytes;
  }
}

/** Reads packets as a connection does, without acting on them. */
class ReadingSink {
  version: ProtocolVersion;
  packets = 0;
  readonly #frame = new PublishFrame();

  constructor(version: ProtocolVersion) {
    this.version = version;
  }

  halfDone(): void {}

  packet(first: number, buffer: Buffer, start: number, end: number): void {
    this.packets++;
    const reader = new Reader(buffer, start, end);
    const type = first >> 4;
    switch (type) {
      case PacketType.CONNECT:
        readConnect(reader, readConnectVersion(reader));
        break;
      case PacketType.PUBLISH:
        this.#frame.read(this.version, first, buffer, start, end);
        mqtt5Codec.decode(this.#frame.native ?? buffer.subarray(start, end));
        break;
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBREL:
      case PacketType.PUBCOMP:
        readAck(reader, type, this.version);
        break;
      case PacketType.SUBSCRIBE:
        readSubscribe(reader, this.version);
        break;
      case PacketType.UNSUBSCRIBE:
        readUnsubscribe(reader, this.version);
        break;
      case PacketType.DISCONNECT:
        readDisconnect(reader, this.version);
        break;
      case PacketType.AUTH:
        readAuth(reader);
        break;
      default:
    }
  }

  tooLarge(): never {
    throw new MqttError(Reason.packetTooLarge, 'too large');
  }
}

it(`${COUNT} mutated inputs end in packets or in a reason code (seed ${SEED})`, { timeout: 600_000 }, () => {
  const mutator = new Mutator(randomFrom(SEED));
  const byVersion = { 4: seeds(4), 5: seeds(5) };
  let packets = 0;
  let refused = 0;
  for (let i = 0; i < COUNT; i++) {
    const isConnect = mutator.below(5) === 0;
    const version = mutator.pick([4, 5] as const);
    const input = mutator.mutate(mutator.pick(isConnect ? CONNECTS : byVersion[version]));
    const sink = new ReadingSink(version);
    const decoder = new Decoder(sink, PACKET_BYTES_MAX);
    if (!isConnect) decoder.speak(version);
    try {
      // In one piece or in several, copied so that nothing is shared between inputs.
      for (let at = 0; at < input.length; ) {
        const size = mutator.below(4) === 0 ? 1 + mutator.below(input.length) : input.length;
        decoder.feed(Buffer.from(input.subarray(at, at + size)));
        at += size;
      }
    } catch (error) {
      if (!(error instanceof MqttError)) {
        throw new Error(`seed ${SEED}, input ${i}: ${input.toString('hex')}`, { cause: error });
      }
      refused++;
    }
    packets += sink.packets;
  }
  expect(packets).toBeGreaterThan(COUNT / 4);
  expect(refused).toBeGreaterThan(COUNT / 10);
});

it('mutated packets into open connections end in answers or a close, and others go on', {
  timeout: 600_000,
}, async () => {
  const mutator = new Mutator(randomFrom(SEED + 1));
  const world = await openMqttWorld({ authenticator: TWO_STEPS });
  const witness = await world.connected({ clientId: 'witness' });
  await witness.subscribe('witness/+', 1);
  const inputs = { 4: [...seeds(4), ...reservedSeeds(4)], 5: [...seeds(5), ...reservedSeeds(5)] };
  const challenged = { authenticationMethod: 'TWO', authenticationData: Buffer.from([1]) };
  for (let i = 0; i < Math.min(20_000, Math.max(1_500, COUNT / 20)); i++) {
    const version = mutator.pick([4, 5] as const);
    const clean = mutator.below(2) === 0;
    const client = world.client();
    const isChallenged = version === 5 && mutator.below(3) === 0;
    const connect = client.connect({
      clientId: `c${i % 7}`,
      version,
      clean,
      ...(isChallenged ? { properties: challenged } : {}),
    });
    await connect.catch(() => {});
    for (let k = 0; k < 10 && client.ended === null; k++) {
      const input = mutator.pick(inputs[version]);
      client.writeBytes(mutator.below(3) === 0 ? input : mutator.mutate(input));
      if (mutator.below(4) === 0) await client.readBytes();
    }
    if (mutator.below(10) === 0) world.clock.advance(2_000);
    await client.readBytes();
    expect(client.ended?.reason, `seed ${SEED}, connection ${i}: ${client.ended?.detail}`).not.toBe(
      'internal-error',
    );
    client.drop();
  }
  const publisher = await world.connected({ clientId: 'p' });
  await publisher.publish('witness/1', 'alive', { qos: 1, messageId: 1 });
  expect((await witness.read()).map(({ cmd }) => cmd)).toEqual(['publish']);
});

it('a frame that remembers what it read before reads the same as a new one', { timeout: 600_000 }, () => {
  const mutator = new Mutator(randomFrom(SEED + 2));
  const inputs = {
    4: [...seeds(4), ...reservedSeeds(4)].filter((bytes) => (bytes[0] as number) >> 4 === PacketType.PUBLISH),
    5: [...seeds(5), ...reservedSeeds(5)].filter((bytes) => (bytes[0] as number) >> 4 === PacketType.PUBLISH),
  };
  const readInto = (frame: PublishFrame, version: 4 | 5, input: Buffer): object | null => {
    try {
      return readPublish(frame, version, input);
    } catch (error) {
      if (!(error instanceof MqttError)) throw error;
      return null;
    }
  };
  let taken = 0;
  for (const version of [4, 5] as const) {
    let old = new PublishFrame();
    let last: Buffer = Buffer.alloc(0);
    for (let i = 0; i < COUNT / 4; i++) {
      const seed = mutator.below(2) === 0 ? last : mutator.pick(inputs[version]);
      const input = mutator.below(2) === 0 ? Buffer.from(seed) : mutator.mutate(seed);
      last = input;
      if (input.length < 4) continue;
      const expected = readInto(new PublishFrame(), version, input);
      const got = readInto(old, version, input);
      expect(got, `seed ${SEED}, input ${i}: ${input.toString('hex')}`).toEqual(expected);
      // Nothing is read any more after what is malformed.
      if (got === null) old = new PublishFrame();
      else taken++;
    }
  }
  expect(taken).toBeGreaterThan(COUNT / 16);
});

it('an announced length costs nothing until its bytes come', () => {
  const before = process.memoryUsage().arrayBuffers;
  const decoders = Array.from({ length: 1000 }, () => {
    const decoder = new Decoder(new ReadingSink(5), 1_048_576);
    decoder.speak(5);
    decoder.feed(Buffer.from([0x30, 0xfc, 0xff, 0x3f, 0x00]));
    return decoder;
  });
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2_000_000);
  expect(decoders).toHaveLength(1000);
});
