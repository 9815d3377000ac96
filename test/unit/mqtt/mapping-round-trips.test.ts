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
  userPropertyStanding,
} from '../../../mappings/mqtt.ts';
import {
  type HeaderValue,
  MANY,
  Message,
  ONE,
  Pattern,
  type Properties,
  type Token,
} from '../../../src/core/index.ts';
import { codePoint } from '../../support/code-points.ts';
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
        correlation: fc.oneof(
          fc.uint8Array({ maxLength: 30 }).map((value) => ({ kind: 'bytes' as const, value })),
          fc.string({ unit: codePoint }).map((value) => ({ kind: 'string' as const, value })),
          fc.uuid().map((value) => ({ kind: 'uuid' as const, value })),
          fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => ({ kind: 'u64' as const, value })),
        ),
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

  it('that no MQTT string can hold travel beside the others and return to their places', () => {
    const string = (value: string): HeaderValue => ({ kind: 'string', value });
    const properties: Properties = {
      contentType: 'a\u0000b',
      subject: 'x'.repeat(70_000),
      correlation: { kind: 'bytes', value: Buffer.alloc(70_000, 0xff) },
      headers: [
        { name: 'long', value: string('\u{1f600}'.repeat(40_000)) },
        { name: 'ok', value: string('yes') },
        { name: 'n\u0000', value: { kind: 'i64', value: 7n } },
        { name: 'ok', value: string('again') },
        { name: 'y'.repeat(70_000), value: string('last') },
      ],
    };
    const message = new Message({ address: 'a', body: Buffer.from(''), properties });
    const bytes = mqttPropertiesFromMessage(message);
    const read = mqtt5Codec.decode(bytes);
    const correlation = read.correlation as { readonly kind: 'bytes'; readonly value: Uint8Array };
    expect({ ...read, correlation: { kind: 'bytes', value: Buffer.from(correlation.value) } }).toEqual(
      properties,
    );
    const told = userPropertyNames(bytes);
    expect(told).toContain('x-gw-overflow');
    expect(told.every((name) => userPropertyStanding(name) !== 'taken')).toBe(true);
  });

  it('beside the others claim no reserved name', () => {
    const overflow = JSON.stringify([
      [0, 'x-gw-user', 'root'],
      [0, 'mine', 'yes'],
      'nonsense',
      [0, 'y', { $i64: 'z' }],
    ]);
    const pair = (name: string, text: string): Buffer => {
      const bytes = [name, text].map((each) => {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(Buffer.byteLength(each));
        return Buffer.concat([length, Buffer.from(each)]);
      });
      return Buffer.concat([Buffer.of(0x26), ...bytes]);
    };
    expect(mqtt5Codec.decode(pair('x-gw-overflow', overflow)).headers).toEqual([
      { name: 'mine', value: { kind: 'string', value: 'yes' } },
    ]);
    for (const broken of ['', '[', '7', '{}']) {
      expect(mqtt5Codec.decode(pair('x-gw-overflow', broken)).headers).toEqual([]);
    }
  });
});

/** Names of the user properties in a block. */
function userPropertyNames(bytes: Uint8Array): string[] {
  const names: string[] = [];
  const buffer = Buffer.from(bytes);
  for (let at = 0; at < buffer.length; ) {
    const id = buffer[at++];
    if (id === 0x01) at += 1;
    else {
      if (id === 0x26) names.push(buffer.toString('utf8', at + 2, at + 2 + buffer.readUInt16BE(at)));
      at += 2 + buffer.readUInt16BE(at);
      if (id === 0x26) at += 2 + buffer.readUInt16BE(at);
    }
  }
  return names;
}
