/**
 * Everything that a message can say, with values that brokers get wrong: the rows of the fidelity table in
 * docs/mappings.md, which `fidelity-table.ts` makes of them. Generated values come from a fixed seed, so that the table
 * is always the same.
 */

import fc from 'fast-check';
import type { Header, HeaderValue, Message, MessageFields, Properties } from '../../../src/core/index.ts';
import { scalar, text } from './arbitraries.ts';

export const NOW_MS = 1_700_000_000_000;

export interface Field {
  readonly name: string;
  readonly samples: readonly Partial<MessageFields>[];
  /** What the samples say, as it is read from a message. Undefined: it says nothing of it. */
  readonly read: (message: Message) => unknown;
}

const string = (value: string): HeaderValue => ({ kind: 'string', value });
const bytes = (...value: number[]): HeaderValue => ({ kind: 'bytes', value: Buffer.from(value) });
const generated = <Value>(arbitrary: fc.Arbitrary<Value>, count = 40): Value[] =>
  fc.sample(arbitrary, { seed: 42, numRuns: count });

/** One property, with each of these values. */
function property<Name extends keyof Properties>(
  name: string,
  field: Name,
  values: readonly Properties[Name][],
): Field {
  return {
    name,
    samples: values.map((value) => ({ properties: { headers: [], [field]: value } as Properties })),
    read: (message) => message.properties[field],
  };
}

function field<Name extends keyof MessageFields & keyof Message>(
  name: string,
  of: Name,
  values: readonly MessageFields[Name][],
): Field {
  return { name, samples: values.map((value) => ({ [of]: value })), read: (message) => message[of] };
}

/** Lists of headers, as wholes: names, values, order and repeats. */
function headers(name: string, lists: readonly (readonly Header[])[]): Field {
  return {
    name,
    samples: lists.map((list) => ({ properties: { headers: list } })),
    read: (message) => (message.properties.headers.length === 0 ? undefined : message.properties.headers),
  };
}

const values = (name: string, all: readonly HeaderValue[]): Field =>
  headers(
    name,
    all.map((value) => [
      { name: 'h', value },
      {
        name: 'nested',
        value: { kind: 'list', value: [value, { kind: 'map', value: [{ name: 'n', value }] }] },
      },
    ]),
  );

const kinds = (...wanted: HeaderValue['kind'][]): HeaderValue[] =>
  generated(
    scalar.filter(({ kind }) => wanted.includes(kind)),
    30,
  );

function nested(depth: number): HeaderValue {
  let value: HeaderValue = { kind: 'u64', value: 7n };
  for (let left = depth; left > 0; left--) value = { kind: 'list', value: [value] };
  return value;
}

const UUID = '5a1c1a2e-93b4-4c00-8000-00000000abcd';

export const FIELDS: readonly Field[] = [
  field('address', 'address', [
    'sensors/room1/temperature',
    'a.b/c',
    'a/b.c',
    'a//b',
    '/',
    'orders',
    'caf\u00e9/\u65e5\u672c',
    'plus+/hash#/100%2B',
    `long/${'x'.repeat(240)}`,
    `longer/${'\u00e9'.repeat(5_000)}`,
    '$queue/work',
    'queue://like/this',
    '/queues/like/this',
  ]),
  field('body', 'body', [
    Buffer.from('text'),
    Buffer.alloc(0),
    ...generated(fc.uint8Array({ maxLength: 300 }), 10),
  ]),
  {
    name: 'no body, as opposed to an empty one',
    samples: [true, false].map((nullBody) => ({ nullBody, body: Buffer.alloc(0) })),
    read: (message) => message.nullBody,
  },
  property('content type', 'contentType', [
    'application/json',
    'text/plain; charset=utf-8',
    '',
    'x'.repeat(300),
    'a/\u00e9',
    'nul\0',
  ]),
  property('content encoding', 'contentEncoding', ['gzip', 'x'.repeat(300), '\u00e9']),
  property('body is text, or is not', 'textBody', [true, false]),
  {
    name: 'sections of the body',
    samples: [
      { body: Buffer.from('threefive5'), properties: { headers: [], bodyForm: 'data 5,0,4,1' } },
      { body: Buffer.from('text'), properties: { headers: [], bodyForm: 'value', textBody: true } },
      { body: Buffer.of(1, 255), properties: { headers: [], bodyForm: 'value-bytes' } },
      {
        body: Buffer.from('005377c10902a10161a10374776f', 'hex'),
        properties: { headers: [], bodyForm: 'amqp', contentType: 'application/vnd.amqp1-body' },
      },
      {
        body: Buffer.from('005376c003015401005376c00301540200', 'hex').subarray(0, 16),
        properties: { headers: [], bodyForm: 'amqp text/x', contentType: 'application/vnd.amqp1-body' },
      },
    ],
    read: ({ body, properties }) => [body, properties.bodyForm, properties.contentType],
  },
  property('correlation, text', 'correlation', [
    string('call-7'),
    string(''),
    string('x'.repeat(300)),
    string('\u00e9\0'),
    string('x'.repeat(70_000)),
  ]),
  property('correlation, bytes', 'correlation', [
    bytes(0, 1, 255),
    bytes(0x61, 0x62),
    bytes(),
    { kind: 'bytes', value: Buffer.alloc(300, 0xfe) },
  ]),
  property('correlation, number or UUID', 'correlation', [
    { kind: 'u64', value: 7n },
    { kind: 'u64', value: (1n << 64n) - 1n },
    { kind: 'uuid', value: UUID },
    { kind: 'i64', value: -7n },
  ]),
  property('reply address', 'replyTo', [
    'answers/7',
    '$queue/answers',
    'a.b/c',
    `long/${'x'.repeat(300)}`,
    'plus+',
    'topic://x',
  ]),
  property('message id, text', 'messageId', [string('id-1'), string('x'.repeat(300)), string('')]),
  property('message id, number, UUID or bytes', 'messageId', [
    { kind: 'u64', value: 1n },
    { kind: 'u64', value: (1n << 64n) - 1n },
    { kind: 'uuid', value: UUID },
    bytes(0, 255),
    bytes(0x61),
  ]),
  field('expiry in whole seconds', 'expiresAtMs', [0, NOW_MS + 60_000, NOW_MS + 4_000_000_000]),
  field('expiry in milliseconds', 'expiresAtMs', [NOW_MS + 400, NOW_MS + 1_500, NOW_MS + 60_001]),
  property('timestamp', 'timestampMs', [1_600_000_000_000, 1_600_000_000_123, 0]),
  { ...property('no timestamp', 'timestampMs', [undefined]), samples: [{}] },
  field('QoS 0, 1 and 2; durable or not', 'reliability', [0, 1, 2]),
  field('retain', 'retain', [true, false]),
  field('priority', 'priority', [0, 1, 7, 255]),
  property('type', 'type', ['order.created', '', 'x'.repeat(300), '\u00e9']),
  property('subject', 'subject', ['eu.new', '', 'x'.repeat(300), '\u00e9']),
  {
    name: 'type and subject together',
    samples: [
      { properties: { headers: [], type: 'a', subject: 'b' } },
      { properties: { headers: [], type: 'same', subject: 'same' } },
    ],
    read: ({ properties }) => [properties.type, properties.subject],
  },
  property('user id', 'userId', ['ann']),
  property('application id', 'appId', ['billing', 'x'.repeat(300)]),
  property('group id', 'groupId', ['g1', 'x'.repeat(300)]),
  property('group sequence', 'groupSequence', [0, 7, 0xffff_ffff]),
  property('reply group', 'replyToGroupId', ['g2']),
  field('key', 'key', [
    null,
    Buffer.from('device-7'),
    Buffer.of(0, 255),
    Buffer.alloc(0),
    Buffer.from('a\0'),
  ]),
  headers('headers: text, in order', [
    [
      { name: 'b', value: string('1') },
      { name: 'a', value: string('') },
      { name: '\u00e9 =,%', value: string('\u65e5\u672c') },
    ],
    ...generated(
      fc.uniqueArray(
        fc.tuple(
          text().filter((name) => !/^(?:x-|timestamp)/i.test(name)),
          text(),
        ),
        { selector: ([name]) => name, minLength: 1, maxLength: 6 },
      ),
    ).map((list) => list.map(([name, value]) => ({ name, value: string(value) }))),
  ]),
  headers('headers that repeat', [
    [
      { name: 'a', value: string('1') },
      { name: 'b', value: string('x') },
      { name: 'a', value: string('2') },
      { name: 'c', value: { kind: 'i32', value: 3 } },
      { name: 'b', value: { kind: 'list', value: [string('y')] } },
      { name: 'a', value: { kind: 'null' } },
    ],
  ]),
  headers('headers with the names of properties', [
    [
      { name: 'type', value: string('t') },
      { name: 'subject', value: { kind: 'i32', value: 1 } },
      { name: 'priority', value: string('5') },
      { name: 'message-id', value: string('m') },
      { name: 'app-id', value: string('a') },
      { name: 'correlation-id', value: string('c') },
    ],
    [{ name: 'priority', value: string('high') }],
  ]),
  headers('headers with names over 255 bytes', [
    [
      { name: 'first', value: string('1') },
      { name: 'n'.repeat(300), value: { kind: 'u64', value: 7n } },
      { name: 'last', value: string('3') },
    ],
  ]),
  headers('headers over 65,535 bytes, or with U+0000', [
    [
      { name: 'first', value: string('1') },
      { name: 'long', value: string('\u00e9'.repeat(40_000)) },
      { name: 'nul\0', value: string('a\0b') },
      { name: 'last', value: string('4') },
    ],
  ]),
  headers('headers over 128 KiB together', [
    [
      { name: 'first', value: string('x'.repeat(100_000)) },
      { name: 'last', value: string('y'.repeat(100_000)) },
    ],
  ]),
  values('header values: bytes', [bytes(), bytes(0, 255), bytes(0x61), ...kinds('bytes')]),
  values('header values: true and false', kinds('bool')),
  values('header values: 8 to 32 bits', kinds('i8', 'u8', 'i16', 'u16', 'i32', 'u32')),
  values('header values: 64 bits', [
    { kind: 'i64', value: -(1n << 63n) },
    { kind: 'u64', value: (1n << 64n) - 1n },
    ...kinds('i64', 'u64'),
  ]),
  values('header values: floats', [
    { kind: 'f64', value: -0 },
    { kind: 'f32', value: Number.NaN },
    ...kinds('f32', 'f64'),
  ]),
  values('header values: decimals', kinds('decimal')),
  values('header values: times', kinds('timestamp')),
  values('header values: symbol, UUID, char', [
    { kind: 'uuid', value: UUID },
    ...kinds('symbol', 'uuid', 'char'),
  ]),
  values('header values: null', [{ kind: 'null' }]),
  headers('header values: lists in lists, 32 deep', [
    [
      { name: 'deep', value: nested(32) },
      { name: 'deep', value: nested(31) },
      { name: 'n'.repeat(300), value: nested(32) },
      { name: 'x-opt-deep', value: nested(32) },
    ],
  ]),
  headers('dead-letter history', [
    [
      {
        name: 'x-death',
        value: {
          kind: 'list',
          value: [
            {
              kind: 'map',
              value: [
                { name: 'count', value: { kind: 'i64', value: 2n } },
                { name: 'reason', value: string('expired') },
                { name: 'time', value: { kind: 'timestamp', value: 1_600_000_000_000, seconds: true } },
                { name: 'routing-keys', value: { kind: 'list', value: [string('eu.new')] } },
              ],
            },
          ],
        },
      },
      { name: 'x-first-death-reason', value: string('expired') },
    ],
  ]),
  headers('annotations and footer of AMQP 1.0', [
    [
      { name: 'x-opt-jms-msg-type', value: { kind: 'i8', value: 5 } },
      { name: 'x-opt-:x-other', value: { kind: 'symbol', value: 's' } },
      { name: 'plain', value: string('p') },
      {
        name: 'x-opt-gw-footer',
        value: { kind: 'map', value: [{ name: 'x-opt-sum', value: { kind: 'u32', value: 7 } }] },
      },
    ],
  ]),
  headers('cluster id of AMQP 0-9-1', [[{ name: 'x-cluster-id', value: string('c') }]]),
  headers('trace context', [
    [
      { name: 'traceparent', value: string('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01') },
      { name: 'tracestate', value: string('vendor=1') },
    ],
  ]),
  headers('CloudEvents', [
    [
      { name: 'cloudEvents:specversion', value: string('1.0') },
      { name: 'cloudEvents:type', value: string('com.example.order') },
      { name: 'cloudEvents:source', value: string('/orders') },
      { name: 'cloudEvents:id', value: string('4711') },
      { name: 'cloudEvents:time', value: { kind: 'timestamp', value: 1_600_000_000_123 } },
      { name: 'traceparent', value: string('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01') },
      { name: 'region', value: string('eu') },
      { name: 'type', value: string('mine') },
    ],
  ]),
];
