/**
 * Messages: what a client of one protocol sent returns to that protocol as it was, through each of the others, when
 * a client there passes on what it received. Bodies, properties, typed headers, their order and repeats.
 */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeContent, messageFromAmqp091, nativeFromParts } from '../../../mappings/amqp091.ts';
import { messageFromJson, protocolViews } from '../../../mappings/http.ts';
import { recordCodec } from '../../../mappings/kafka.ts';
import { type Header, type HeaderValue, Message, type Properties } from '../../../src/core/index.ts';
import { headers as anyHeaders, scalar, text } from './arbitraries.ts';

const NOW_MS = 1_700_000_000_000;
const view = (protocol: string) => protocolViews.find((each) => each.protocol === protocol)!;

/** Text that every protocol can hold: no U+0000. */
const plain = text().map((each) => each.replaceAll('\0', ''));
const bytes = fc
  .uint8Array({ maxLength: 16 })
  .map((each): HeaderValue => ({ kind: 'bytes', value: new Uint8Array(each) }));
const name = fc.oneof(
  plain,
  fc.constantFrom('a', 'b', 'type', 'subject', 'content-type', 'message-id', 'trace'),
);
/** `priority` is the message's own in protocols that have no field for it. */
const isOrdinary = (each: string) => !/^(x-|cc$|bcc$|timestamp|priority$)/i.test(each);

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
      correlation: optional(fc.oneof(bytes, stringValue)),
      replyTo: optional(address),
      messageId: optional(stringValue),
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
      return view(protocol).received(message, NOW_MS);
    });

/** A value in a form that compares: bytes by content, whatever holds them. */
function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([each, of]) => [each, comparable(of)]));
}

/**
 * What must return. Where the way leads through a protocol that cannot say something, the property table decides:
 * MQTT's correlation is bytes, a Kafka record always has a timestamp, an AMQP table has each name once and so keeps
 * the order of repeats, but not what stood between them.
 */
function factsOf(message: Message, through: string, original = message): unknown {
  const { address: to, body, reliability, priority, expiresAtMs, properties } = message;
  const { correlation, timestampMs, headers, ...rest } = properties;
  const facts: Record<string, unknown> = { address: to, body, reliability, priority, expiresAtMs, ...rest };
  if (correlation !== undefined) facts.correlation = through === 'mqtt' ? bytesOf(correlation) : correlation;
  if (through !== 'kafka' || original.properties.timestampMs !== undefined) facts.timestampMs = timestampMs;
  facts.headers = through === 'amqp091' ? groupByName(headers) : headers;
  return comparable(facts);
}

function bytesOf(value: HeaderValue): Uint8Array {
  return value.kind === 'bytes' ? value.value : Buffer.from((value as { value: string }).value);
}

function groupByName(list: readonly Header[]): readonly Header[] {
  const groups = Map.groupBy(list, (header) => header.name);
  return [...groups.values()].flat();
}

describe.each([
  ['mqtt', 'amqp091'],
  ['mqtt', 'kafka'],
  ['amqp091', 'mqtt'],
  ['amqp091', 'kafka'],
  ['kafka', 'mqtt'],
  ['kafka', 'amqp091'],
])('%s → %s', (from, to) => {
  test('and back is the same message', () => {
    fc.assert(
      fc.property(messageFrom(from), (message) => {
        const returned = view(from).received(view(to).received(message, NOW_MS), NOW_MS);
        expect(factsOf(returned, to, message)).toStrictEqual(factsOf(message, to));
      }),
      { numRuns: 250 },
    );
  });
});

test('a message passes unchanged through its own protocol', () => {
  for (const { protocol, received } of protocolViews) {
    fc.assert(
      fc.property(messageFrom(protocol), (message) => {
        const again = received(message, NOW_MS);
        expect(Buffer.from(again.native ?? [])).toEqual(Buffer.from(message.native ?? []));
        expect(factsOf(again, protocol)).toStrictEqual(factsOf(message, protocol));
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
      expect(comparable(back.properties.headers)).toStrictEqual(comparable(born.properties.headers));
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
