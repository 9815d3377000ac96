import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressFromTopic,
  explainInvalidFilter,
  filterFromPattern,
  messageFromMqtt,
  mqtt5Codec,
  mqttPropertiesFromMessage,
  patternFromFilter,
  topicFromAddress,
} from '../../../mappings/mqtt.ts';
import { MANY, Message, ONE, Pattern, type Token } from '../../../src/core/index.ts';
import { text, topic } from './packet-arbitraries.ts';

/** Levels that hold wildcards, escapes and what looks like them. */
const level = fc.oneof(
  text(0, 6).map((value) => value.replaceAll('/', '')),
  fc.string({ unit: fc.constantFrom('%', '2', '5', 'B', '3', '+', '#', 'a', '$', '.'), maxLength: 12 }),
);
const address = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'));

describe('topics and addresses', () => {
  it('go there and back, each address as a valid topic name', () => {
    fc.assert(
      fc.property(address, (original) => {
        const name = topicFromAddress(original);
        expect(name).not.toMatch(/[+#]/);
        expect(addressFromTopic(name)).toBe(original);
        expect(name.split('/')).toHaveLength(original.split('/').length);
      }),
      { numRuns: 5_000 },
    );
  });

  it('a publisher sees its own topic again, and two topics are never one address', () => {
    fc.assert(
      fc.property(topic, topic, (a, b) => {
        expect(topicFromAddress(addressFromTopic(a))).toBe(a);
        if (a !== b) expect(addressFromTopic(a)).not.toBe(addressFromTopic(b));
      }),
      { numRuns: 5_000 },
    );
  });

  it('are the same text wherever no escape is needed', () => {
    for (const same of [
      'sensors/room1/temperature',
      'a//b',
      '/',
      'spBv1.0/G/NDATA/n',
      '100%',
      'a%2Fb',
      '%2b',
    ]) {
      expect(topicFromAddress(same)).toBe(same);
      expect(addressFromTopic(same)).toBe(same);
    }
    expect(topicFromAddress('a/+/%2B')).toBe('a/%2B/%252B');
  });
});

describe('filters and patterns', () => {
  it('go there and back', () => {
    const token = fc.oneof(level, fc.constant<Token>(ONE));
    const tokens = fc.tuple(fc.array(token, { minLength: 1, maxLength: 4 }), fc.boolean());
    fc.assert(
      fc.property(tokens, ([list, many]) => {
        const pattern = new Pattern(many ? [...list, MANY] : list);
        const filter = filterFromPattern(pattern) as string;
        fc.pre(filter !== '');
        expect(explainInvalidFilter(filter)).toBeNull();
        expect(patternFromFilter(filter)?.key).toBe(pattern.key);
      }),
      { numRuns: 3_000 },
    );
  });

  it('[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2] are refused where they are none', () => {
    for (const filter of ['', 'a#', '#/a', 'a/#/b', 'a+', '+a/b', '##', 'a/b#', 'a\u0000']) {
      expect(patternFromFilter(filter), filter).toBeNull();
    }
    for (const filter of ['#', '+', '/', '+/+', 'a/+/#', '/#', '$SYS/#', 'a//b']) {
      expect(patternFromFilter(filter), filter).not.toBeNull();
    }
  });

  it('have no form in MQTT where "many" stands inside', () => {
    expect(filterFromPattern(new Pattern(['a', MANY, 'b']))).toBeNull();
  });
});

describe('properties', () => {
  const word = text(1, 12).filter((value) => !/^x-gw-/i.test(value));

  it('of any message are read back from what an MQTT 5 client gets', () => {
    const properties = fc.record(
      {
        contentType: word,
        contentEncoding: word,
        textBody: fc.boolean(),
        correlation: fc.uint8Array({ maxLength: 30 }).map((value) => ({ kind: 'bytes' as const, value })),
        replyTo: topic,
        messageId: word.map((value) => ({ kind: 'string' as const, value })),
        timestampMs: fc.nat(),
        type: word,
        subject: word,
        appId: word,
        groupId: word,
      },
      { requiredKeys: [], noNullPrototype: true },
    );
    const headers = fc.array(
      fc.record({
        name: word,
        value: fc.oneof(
          word.map((value) => ({ kind: 'string' as const, value })),
          fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map((value) => ({ kind: 'i32' as const, value })),
          fc.boolean().map((value) => ({ kind: 'bool' as const, value })),
          fc
            .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
            .map((value) => ({ kind: 'i64' as const, value })),
        ),
      }),
      { maxLength: 5 },
    );
    fc.assert(
      fc.property(properties, headers, (fields, list) => {
        const message = new Message({
          address: 'a',
          body: Buffer.from(''),
          properties: { ...fields, headers: list },
        });
        const read = mqtt5Codec.decode(mqttPropertiesFromMessage(message));
        const correlation =
          read.correlation?.kind === 'bytes'
            ? { correlation: { kind: 'bytes', value: new Uint8Array(read.correlation.value) } }
            : {};
        expect({ ...read, ...correlation }).toEqual({ ...fields, headers: list });
      }),
      { numRuns: 500 },
    );
  });

  it('of a message from MQTT are its own bytes', () => {
    const native = Buffer.from('0101', 'hex');
    const publish = {
      body: Buffer.from('x'),
      qos: 1,
      retain: true,
      native,
      expirySeconds: 5,
      priority: 3,
    } as const;
    const message = messageFromMqtt(publish, 'a', 'me', 1_000);
    expect(mqttPropertiesFromMessage(message)).toBe(native);
    expect(message).toMatchObject({
      expiresAtMs: 6_000,
      reliability: 1,
      retain: true,
      priority: 3,
      publisherId: 'me',
      properties: { textBody: true },
    });
  });

  it('say what MQTT has no field for', () => {
    const message = new Message({
      address: 'a',
      body: Buffer.from(''),
      nullBody: true,
      priority: 7,
      key: Buffer.from([0xff, 0]),
      properties: { headers: [{ name: 'x-gw-death', value: { kind: 'string', value: 'not ours' } }] },
    });
    const { headers } = mqtt5Codec.decode(mqttPropertiesFromMessage(message));
    expect(headers).toEqual([]);
    const bytes = Buffer.from(mqttPropertiesFromMessage(message)).toString('latin1');
    for (const name of ['priority', 'x-gw-null', 'x-gw-key', 'x-gw-types']) expect(bytes).toContain(name);
    expect(bytes).not.toContain('x-gw-death');
  });

  it('that no MQTT string can hold are left out', () => {
    const message = new Message({
      address: 'a',
      body: Buffer.from(''),
      properties: {
        contentType: 'a\u0000b',
        subject: 'x'.repeat(70_000),
        headers: [{ name: 'ok', value: { kind: 'string', value: 'yes' } }],
      },
    });
    expect(mqtt5Codec.decode(mqttPropertiesFromMessage(message))).toEqual({
      headers: [{ name: 'ok', value: { kind: 'string', value: 'yes' } }],
    });
  });
});
