/** Generated MQTT packets as `mqtt-packet` writes them, within what the specification allows. */

import fc from 'fast-check';
import type { Packet } from 'mqtt-packet';
import { codePoint } from '../../support/code-points.ts';

/** Any text that an MQTT string can hold: no U+0000, no lone surrogates. */
export const text = (minLength = 0, maxLength = 20): fc.Arbitrary<string> =>
  fc
    .string({ unit: codePoint, minLength, maxLength })
    .map((value) => value.replaceAll('\u0000', ' '))
    .filter((value) => value.length >= minLength);

export const topic: fc.Arbitrary<string> = text(1, 40).map((value) => value.replaceAll(/[+#]/g, '/'));
const id = fc.integer({ min: 1, max: 65_535 });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const bytes = (maxLength = 40): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((value) => Buffer.from(value));
/**
 * `mqtt-packet` keeps user properties in an object, so names are ones that no object has by itself; and it loses an
 * empty value where the name repeats.
 */
const userProperties = fc.dictionary(
  text(1, 10).filter((name) => name !== '__proto__' && !/^x-gw-/i.test(name) && !/^\d+$/.test(name)),
  fc.oneof(text(1), fc.array(text(1), { minLength: 2, maxLength: 3 })),
  { minKeys: 1, maxKeys: 4, noNullPrototype: true },
);

const optional = <T>(values: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc.record(values, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<Partial<T>>;

const messageProperties = {
  payloadFormatIndicator: fc.boolean(),
  messageExpiryInterval: u32,
  contentType: text(),
  responseTopic: topic,
  correlationData: bytes(),
  userProperties,
};

export const publish = (version: 4 | 5): fc.Arbitrary<Packet> =>
  fc
    .record({
      topic,
      payload: bytes(300),
      qos: fc.constantFrom(0, 1, 2),
      dup: fc.boolean(),
      retain: fc.boolean(),
      messageId: id,
      properties: optional(messageProperties),
    })
    .map(({ properties, dup, ...packet }) => ({
      cmd: 'publish',
      ...packet,
      dup: dup && packet.qos > 0,
      ...(version === 5 ? { properties } : {}),
    })) as unknown as fc.Arbitrary<Packet>;

export const connect = (version: 3 | 4 | 5): fc.Arbitrary<Packet> =>
  fc
    .record({
      clientId: text(1),
      clean: fc.boolean(),
      keepalive: fc.integer({ min: 0, max: 65_535 }),
      username: fc.option(text(1), { nil: undefined }),
      password: fc.option(bytes(), { nil: undefined }),
      will: fc.option(
        fc.record({
          topic,
          payload: bytes().filter((payload) => payload.length > 0),
          qos: fc.constantFrom(0, 1, 2),
          retain: fc.boolean(),
          properties: optional({ ...messageProperties, willDelayInterval: u32 }),
        }),
        { nil: undefined },
      ),
      properties: optional({
        sessionExpiryInterval: u32,
        receiveMaximum: id,
        maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
        topicAliasMaximum: fc.integer({ min: 0, max: 65_535 }),
        requestResponseInformation: fc.boolean(),
        requestProblemInformation: fc.boolean(),
        userProperties,
      }),
    })
    .map(({ username, password, will, properties, ...packet }) => ({
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      ...packet,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined || username === undefined ? {} : { password }),
      ...(will === undefined ? {} : { will: version === 5 ? will : { ...will, properties: undefined } }),
      ...(version === 5 ? { properties } : {}),
    })) as unknown as fc.Arbitrary<Packet>;

export const subscribe = (version: 4 | 5): fc.Arbitrary<Packet> =>
  fc
    .record({
      messageId: id,
      subscriptions: fc.array(
        fc.record({
          topic: text(1),
          qos: fc.constantFrom(0, 1, 2),
          nl: fc.boolean(),
          rap: fc.boolean(),
          rh: fc.constantFrom(0, 1, 2),
        }),
        { minLength: 1, maxLength: 5 },
      ),
      properties: optional({
        subscriptionIdentifier: fc.integer({ min: 1, max: 268_435_455 }),
        userProperties,
      }),
    })
    .map(({ properties, ...packet }) => ({
      cmd: 'subscribe',
      ...packet,
      ...(version === 5 ? { properties } : {}),
    })) as unknown as fc.Arbitrary<Packet>;

export const unsubscribe = (version: 4 | 5): fc.Arbitrary<Packet> =>
  fc
    .record({ messageId: id, unsubscriptions: fc.array(text(1), { minLength: 1, maxLength: 5 }) })
    .map((packet) => ({
      cmd: 'unsubscribe',
      ...packet,
      ...(version === 5 ? { properties: {} } : {}),
    })) as unknown as fc.Arbitrary<Packet>;

export const acknowledgement = (version: 4 | 5): fc.Arbitrary<Packet> =>
  fc
    .record({
      cmd: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp'),
      messageId: id,
      failed: fc.boolean(),
      properties: optional({ reasonString: text(), userProperties }),
    })
    .map(({ failed, properties, ...packet }) => ({
      ...packet,
      ...(version === 5
        ? {
            reasonCode: failed ? (packet.cmd === 'puback' || packet.cmd === 'pubrec' ? 0x97 : 0x92) : 0,
            properties,
          }
        : {}),
    })) as unknown as fc.Arbitrary<Packet>;
