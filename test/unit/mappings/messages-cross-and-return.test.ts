/**
 * Messages: what a client of one protocol sent returns to that protocol as it was, through each of the others, when
 * a client there passes on what it received. Bodies, properties, typed headers, their order and repeats.
 */

import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { amqp10FromMessage, messageFromAmqp10 } from '../../../mappings/amqp10.ts';
import { encodeContent, messageFromAmqp091, nativeFromParts } from '../../../mappings/amqp091.ts';
import { messageFromJson, protocolViews } from '../../../mappings/http.ts';
import { recordCodec } from '../../../mappings/kafka.ts';
import { type Header, type HeaderValue, Message, type Properties } from '../../../src/core/index.ts';
import { headers as anyHeaders, scalar, text } from './arbitraries.ts';

const NOW_MS = 1_700_000_000_000;
const view = (protocol: string) => protocolViews.find((each) => each.protocol === protocol)!;

/** The message that arrives when a client of the protocol who was shown this one publishes the same. */
function republish(protocol: string, message: Message): Message {
  if (protocol !== 'amqp10') return view(protocol).received(message, NOW_MS);
  return messageFromAmqp10(amqp10FromMessage(message, NOW_MS), null, '', NOW_MS) as Message;
}

/** Text that every protocol can hold: no U+0000. */
const plain = text().map((each) => each.replaceAll('\0', ''));
const bytes = fc
  .uint8Array({ maxLength: 16 })
  .map((each): HeaderValue => ({ kind: 'bytes', value: new Uint8Array(each) }));
const name = fc.oneof(
  plain,
  fc.constantFrom(
    'a',
    'b',
    'type',
    'subject',
    'content-type',
    'message-id',
    'trace',
    'priority',
    'timestamp',
  ),
  fc.constantFrom(
    'x-correlation-id',
    'x-group-id',
    'timestamp_in_ms',
    'x-reply-to-topic',
    'app-id',
    'x-death',
  ),
);
/** Not the gateway's, nor one of the names that stand for a property or an annotation wherever they come from. */
const isOrdinary = (each: string) => !/^(x-gw-|x-opt-|x-mqtt-retain$|x-cluster-id$)/i.test(each);

const headersOf = (value: fc.Arbitrary<HeaderValue>): fc.Arbitrary<Header[]> =>
  fc.array(
    fc.tuple(name.filter(isOrdinary), value).map(([each, of]): Header => ({ name: each, value: of })),
    { maxLength: 6 },
  );

const stringValue = plain.map((value): HeaderValue => ({ kind: 'string', value }));

/** What clients of each protocol can send as a header. */
const HEADERS: Readonly<Record<string, fc.Arbitrary<Header[]>>> = {
  mqtt: headersOf(stringValue),
  amqp091: anyHeaders.map((list) =>
    list.filter((header) => isOrdinary(header.name) && !header.name.includes('\0')),
  ),
  amqp10: anyHeaders.map((list) => list.filter((header) => isOrdinary(header.name))),
  kafka: headersOf(fc.oneof(stringValue, bytes, fc.constant<HeaderValue>({ kind: 'null' }))),
};

const optional = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });
const address = fc
  .array(fc.constantFrom('a', 'b.c', 'é', '', '$x', '%2F', '-x41', '+'), { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((each) => each !== '' && !each.startsWith('$'));

const messageFrom = (protocol: string): fc.Arbitrary<Message> =>
  fc
    .record({
      address,
      body: fc.uint8Array({ maxLength: 20 }),
      reliability: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
      retain: fc.boolean(),
      priority: fc.integer({ min: 0, max: 255 }),
      expirySeconds: optional(fc.integer({ min: 1, max: 100_000 })),
      key: optional(fc.uint8Array({ maxLength: 8 })),
      contentType: optional(plain),
      contentEncoding: optional(plain),
      textBody: optional(fc.boolean()),
      correlation: optional(scalar),
      replyTo: optional(address),
      messageId: optional(scalar),
      timestampMs: optional(fc.integer({ min: 0, max: NOW_MS })),
      type: optional(plain),
      subject: optional(plain),
      appId: optional(plain),
      groupId: optional(plain),
      groupSequence: optional(fc.integer({ min: 0, max: 1_000 })),
      replyToGroupId: optional(plain),
      headers: HEADERS[protocol]!,
    })
    .map(({ address: to, body, reliability, retain, priority, expirySeconds, key, ...rest }) => {
      const properties = Object.fromEntries(
        Object.entries(rest).filter(([, value]) => value !== undefined),
      ) as unknown as Properties;
      const message = new Message({
        address: to,
        body,
        reliability,
        retain,
        priority,
        expiresAtMs: expirySeconds === undefined ? 0 : NOW_MS + expirySeconds * 1000,
        timestampMs: NOW_MS,
        key: key ?? null,
        properties,
      });
      return republish(protocol, message);
    });

/** A value in a form that compares: bytes by content, whatever holds them. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([each]) => each !== 'seconds')
      .map(([each, of]) => [each, comparable(of)]),
  );
}

/**
 * What must return: everything. A Kafka record always has a timestamp, so a message without one has it from there on;
 * that AMQP 0-9-1 counts whole seconds is no difference in the time.
 */
function factsOf(message: Message, through: string, original = message): unknown {
  const {
    address: to,
    body,
    reliability,
    retain,
    nullBody,
    priority,
    expiresAtMs,
    key,
    properties,
  } = message;
  const { timestampMs, ...rest } = properties;
  const facts: Record<string, unknown> = { ...rest, to, body, reliability, retain, nullBody, priority, key };
  facts.expiresAtMs = expiresAtMs;
  if (through !== 'kafka' || original.properties.timestampMs !== undefined) facts.timestampMs = timestampMs;
  return comparable(facts);
}

/** `toStrictEqual` tells where two values differ, and takes most of the time to find that they do not. */
function expectSame(value: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(value, expected)) expect(value).toStrictEqual(expected);
}

const PROTOCOLS = ['mqtt', 'amqp091', 'amqp10', 'kafka'];

describe.each(PROTOCOLS)('from %s', (from) => {
  test.each(PROTOCOLS)('by %s and back it is the same message', (to) => {
    fc.assert(
      fc.property(messageFrom(from), (message) => {
        const returned = republish(from, republish(to, message));
        expectSame(factsOf(returned, to, message), factsOf(message, to));
      }),
      { numRuns: 250 },
    );
  });

  test('by all of them, one after the other, it is the same message', () => {
    fc.assert(
      fc.property(messageFrom(from), fc.shuffledSubarray(PROTOCOLS), (message, way) => {
        const returned = [...way, from].reduce((each, to) => republish(to, each), message);
        const through = way.includes('kafka') ? 'kafka' : from;
        expectSame(factsOf(returned, through, message), factsOf(message, through));
      }),
      { numRuns: 250 },
    );
  });
});

test('a message passes unchanged through its own protocol', () => {
  for (const protocol of PROTOCOLS) {
    fc.assert(
      fc.property(messageFrom(protocol), (message) => {
        const again = republish(protocol, message);
        expectSame(Buffer.from(again.native ?? []), Buffer.from(message.native ?? []));
        expectSame(factsOf(again, protocol), factsOf(message, protocol));
      }),
      { numRuns: 200 },
    );
  }
});

test('an integer header of AMQP is digits for a Kafka consumer and an integer again for AMQP', () => {
  const sent = view('amqp091').received(
    messageFromJson({ body: 'x', headers: [{ name: 'n', kind: 'i64', value: '42' }] }, 'a/b', NOW_MS),
    NOW_MS,
  );
  expect(view('kafka').shown(sent, [{ stream: 'a.b', key: null }], NOW_MS)).toMatchObject([
    {
      topic: 'a.b',
      value: 'x',
      headers: expect.arrayContaining([
        ['n', '42'],
        ['x-gw-types', 'n=i64'],
      ]),
    },
  ]);
  expect(view('amqp091').shown(view('kafka').received(sent, NOW_MS), [], NOW_MS)).toMatchObject({
    exchange: 'a',
    routingKey: 'b',
    properties: { headers: { n: { $i64: '42' } } },
  });
});

test('all scalar kinds survive AMQP where AMQP has them', () => {
  fc.assert(
    fc.property(scalar, (value) => {
      const message = new Message({
        address: 'a',
        body: Buffer.of(),
        properties: { headers: [{ name: 'h', value }] },
      });
      const born = view('amqp091').received(message, NOW_MS);
      const back = view('amqp091').received(view('mqtt').received(born, NOW_MS), NOW_MS);
      expectSame(comparable(back.properties.headers), comparable(born.properties.headers));
    }),
    { numRuns: 1_000 },
  );
});

test('a publisher cannot say who it is by a header of the gateway', () => {
  const value: HeaderValue = { kind: 'string', value: 'admin' };
  for (const spelling of ['x-gw-user', 'X-GW-USER']) {
    const content = encodeContent({ headers: [{ name: spelling, value }] });
    const sent = messageFromAmqp091(nativeFromParts('a', 'b', content), Buffer.of(), NOW_MS);
    expect(sent.properties).toEqual({ headers: [] });
    const record = {
      key: null,
      value: null,
      timestampMs: 1,
      headers: [{ name: spelling, value: Buffer.from('admin') }],
    };
    expect(recordCodec.messageFromRecord(record, 'a').properties).toEqual({ timestampMs: 1, headers: [] });
  }
});
