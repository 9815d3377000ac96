import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Amqp091Content,
  Amqp091Header,
  amqp091Codec,
  amqp091FromMessage,
  decodeContent,
  encodeContent,
  encodeRoute,
  messageFromAmqp091,
  nativeFromParts,
  routeBytes,
  withoutClaims,
} from '../../../mappings/amqp091.ts';
import { type Header, type HeaderValue, Message, type Properties } from '../../../src/core/index.ts';
import { codePoint } from '../../support/code-points.ts';

const NOW_MS = 1_700_000_000_000;
const ROOM = 131_072 - 20;

/** Publishes what a consumer of this protocol was shown, unchanged. */
function republished(message: Message, via: string | null = null): Message {
  const view = amqp091FromMessage(message, via, NOW_MS, ROOM);
  return messageFromAmqp091(Buffer.concat([view.route, view.content]), message.body, NOW_MS);
}

const text = fc.string({ unit: codePoint, maxLength: 300 });
const name = fc
  .string({ unit: codePoint, minLength: 1, maxLength: 270 })
  .filter((each) => !/^x-|^timestamp_in_ms$/i.test(each));
const value: fc.Arbitrary<HeaderValue> = fc.oneof(
  text.map((each): HeaderValue => ({ kind: 'string', value: each })),
  fc.uint8Array({ maxLength: 20 }).map((each): HeaderValue => ({ kind: 'bytes', value: Buffer.from(each) })),
  fc.integer().map((each): HeaderValue => ({ kind: 'i32', value: each })),
  fc.boolean().map((each): HeaderValue => ({ kind: 'bool', value: each })),
  fc.double().map((each): HeaderValue => ({ kind: 'f64', value: each })),
);
const identifier: fc.Arbitrary<HeaderValue> = fc.oneof(
  text.map((each): HeaderValue => ({ kind: 'string', value: each })),
  fc.uint8Array({ maxLength: 300 }).map((each): HeaderValue => ({ kind: 'bytes', value: Buffer.from(each) })),
  fc.bigInt({ min: 0n, max: (1n << 62n) - 1n }).map((each): HeaderValue => ({ kind: 'i64', value: each })),
);

const properties: fc.Arbitrary<Properties> = fc.record(
  {
    contentType: text,
    contentEncoding: text,
    textBody: fc.boolean(),
    correlation: identifier,
    replyTo: text,
    messageId: identifier,
    timestampMs: fc.integer({ min: 0, max: 4_000_000_000_000 }),
    type: text,
    subject: text,
    userId: text.filter((user) => Buffer.byteLength(user) <= 255),
    appId: text,
    groupId: text,
    groupSequence: fc.integer({ min: 0, max: 0xffff_ffff }),
    replyToGroupId: text,
    headers: fc.uniqueArray(
      fc.tuple(name, value).map(([each, held]): Header => ({ name: each, value: held })),
      { maxLength: 5, selector: (header) => header.name },
    ),
  },
  { requiredKeys: ['headers'] },
);

describe('another protocol to AMQP 0-9-1 and back', () => {
  test('properties are the same, whatever their length', () => {
    fc.assert(
      fc.property(properties, (given) => {
        const message = new Message({ address: 'a/b', body: Buffer.from('x'), properties: given });
        const { headers, ...rest } = republished(message).properties;
        const { headers: ownHeaders, ...own } = given;
        expect(rest).toEqual(own);
        // Names too long for a table come after the others.
        const byName = (a: Header, b: Header) => (a.name < b.name ? -1 : 1);
        expect([...headers].sort(byName)).toEqual([...ownHeaders].sort(byName));
      }),
      { numRuns: 400 },
    );
  });

  test('names that repeat become an array, and come back one by one to their places', () => {
    const headers: Header[] = [
      { name: 'a', value: { kind: 'string', value: '1' } },
      { name: 'b', value: { kind: 'string', value: 'x' } },
      { name: 'a', value: { kind: 'string', value: '2' } },
    ];
    const message = new Message({ address: 'a', body: Buffer.alloc(0), properties: { headers } });
    const shown = decodeContent(amqp091FromMessage(message, null, NOW_MS, ROOM).content).headers;
    expect(shown?.[0]).toEqual({
      name: 'a',
      value: {
        kind: 'list',
        value: [
          { kind: 'string', value: '1' },
          { kind: 'string', value: '2' },
        ],
      },
    });
    expect(republished(message).properties.headers).toEqual(headers);
  });

  test('the fields of the message itself are told and understood', () => {
    const message = new Message({
      address: 'a/b',
      body: Buffer.alloc(0),
      reliability: 2,
      retain: true,
      nullBody: true,
      priority: 7,
      key: Buffer.from([1, 0, 255]),
      expiresAtMs: NOW_MS + 400,
    });
    const back = republished(message);
    expect(back).toMatchObject({
      address: 'a/b',
      reliability: 2,
      retain: true,
      nullBody: true,
      priority: 7,
      expiresAtMs: NOW_MS + 400,
    });
    expect(back.key).toEqual(message.key);
    expect(back.properties.headers).toEqual([]);
  });

  test('an address too long for a key goes in a header', () => {
    const address = `sensors/${'é'.repeat(200)}`;
    const message = new Message({ address, body: Buffer.alloc(0) });
    const view = amqp091FromMessage(message, 'sensors', NOW_MS, ROOM);
    expect(view.route).toEqual(encodeRoute('amq.topic', 'amq.gw.address'));
    expect(republished(message).address).toBe(address);
  });

  test('headers that do not fit a frame are left out and counted', () => {
    const headers = Array.from(
      { length: 100 },
      (_, i): Header => ({
        name: `n${i}`,
        value: { kind: 'string', value: 'x'.repeat(100) },
      }),
    );
    const message = new Message({ address: 'a', body: Buffer.alloc(0), properties: { headers } });
    const view = amqp091FromMessage(message, null, NOW_MS, 4076);
    expect(view.content.length).toBeLessThanOrEqual(4076);
    const shown = decodeContent(view.content).headers ?? [];
    const dropped = shown.at(-1)?.value as { readonly kind: 'u32'; readonly value: number };
    expect(shown.at(-1)?.name).toBe(Amqp091Header.dropped);
    // The newest are there, and no more had to go than did not fit.
    expect(shown.slice(0, -1)).toEqual(headers.slice(dropped.value));
    expect(view.content.length + 110).toBeGreaterThan(4076);
  });

  test('a queue is a plain reply-to, a topic one that answers can be sent to', () => {
    const replyTo = (address: string) =>
      decodeContent(
        amqp091FromMessage(
          new Message({ address: 'a', body: Buffer.alloc(0), properties: { replyTo: address, headers: [] } }),
          null,
          NOW_MS,
          ROOM,
        ).content,
      ).replyTo;
    expect(replyTo('$queue/answers')).toBe('answers');
    expect(replyTo('clients/7/answers')).toBe('amq.gw.reply/clients/7/answers');
  });
});

describe('kinds that a table has no tag for', () => {
  const string = (each: string): HeaderValue => ({ kind: 'string', value: each });
  const kinds: readonly (readonly [HeaderValue, HeaderValue])[] = [
    [{ kind: 'symbol', value: 'red' }, string('red')],
    [
      { kind: 'uuid', value: '5a1c1a2e-0000-4000-8000-000000000001' },
      string('5a1c1a2e-0000-4000-8000-000000000001'),
    ],
    [{ kind: 'char', value: 'é' }, string('é')],
    [
      { kind: 'u64', value: 7n },
      { kind: 'i64', value: 7n },
    ],
    [{ kind: 'u64', value: 2n ** 64n - 1n }, string('18446744073709551615')],
    [{ kind: 'decimal', scale: 2, value: -1250n }, string('-12.50')],
    [
      { kind: 'timestamp', value: 1_700_000_000_123 },
      { kind: 'timestamp', value: 1_700_000_000_000, seconds: true },
    ],
    [{ kind: 'timestamp', value: -5 }, string('1969-12-31T23:59:59.995Z')],
  ];

  test.each(kinds.map(([held, shown]) => [held.kind, held, shown] as const))(
    'a %s is something readable there, and itself again',
    (_kind, held, shown) => {
      const nested: HeaderValue = {
        kind: 'map',
        value: [
          { name: 'plain', value: string('x') },
          { name: 'in', value: { kind: 'list', value: [string('first'), held] } },
        ],
      };
      const headers: Header[] = [
        { name: 'h', value: held },
        { name: 'nested', value: nested },
        { name: 'h', value: string('twice') },
      ];
      const message = new Message({ address: 'a', body: Buffer.alloc(0), properties: { headers } });
      const table = decodeContent(amqp091FromMessage(message, null, NOW_MS, ROOM).content).headers ?? [];
      expect(table[0]).toEqual({ name: 'h', value: { kind: 'list', value: [shown, string('twice')] } });
      expect(republished(message).properties.headers).toEqual(headers);
    },
  );

  test('a map with a name that no table can hold is JSON there', () => {
    const held: HeaderValue = {
      kind: 'map',
      value: [{ name: 'n'.repeat(300), value: { kind: 'i32', value: 1 } }],
    };
    const message = new Message({
      address: 'a',
      body: Buffer.alloc(0),
      properties: { headers: [{ name: 'h', value: held }] },
    });
    expect(republished(message).properties.headers).toEqual([{ name: 'h', value: held }]);
  });
});

describe('a header x-correlation-id', () => {
  const read = (content: Amqp091Content) =>
    messageFromAmqp091(nativeFromParts('a', 'b', encodeContent(content)), Buffer.alloc(0), NOW_MS).properties;
  const named = (held: HeaderValue): Header => ({ name: 'x-correlation-id', value: held });
  const string = (each: string): HeaderValue => ({ kind: 'string', value: each });

  test('of a program’s own does not take the place of the field', () => {
    const own = named(string('trace-7'));
    expect(read({ correlationId: 'call', headers: [own] })).toEqual({
      correlation: string('call'),
      headers: [own],
    });
    expect(read({ headers: [own] })).toEqual({ headers: [own] });
    const other = named({ kind: 'u64', value: 8n });
    expect(read({ correlationId: '7', headers: [other] }).correlation).toEqual(string('7'));
  });

  test('says what the field cannot', () => {
    const bytes: HeaderValue = { kind: 'bytes', value: Buffer.from([0, 255]) };
    expect(read({ headers: [named(bytes)] })).toEqual({ correlation: bytes, headers: [] });
    const long = string('x'.repeat(300));
    expect(read({ headers: [named(long)] })).toEqual({ correlation: long, headers: [] });
    const number: HeaderValue = { kind: 'i64', value: 7n };
    expect(read({ correlationId: '7', headers: [named(number)] }).correlation).toEqual(number);
  });

  test('of another protocol’s client is a header again on the way back', () => {
    const headers = [named(string('trace-7')), named({ kind: 'bytes', value: Buffer.from([255]) })];
    for (const correlation of [string('call'), { kind: 'i64', value: 7n } as const]) {
      const properties = { correlation, headers };
      const message = new Message({ address: 'a', body: Buffer.alloc(0), properties });
      expect(republished(message).properties).toEqual(properties);
    }
  });
});

describe('headers of the gateway', () => {
  test('that claim something are taken out of what is published, and nothing else is touched', () => {
    const field = (name: string): Header => ({ name, value: { kind: 'i16', value: 1 } });
    const before: Amqp091Content = {
      contentType: 'a/b',
      contentEncoding: 'c',
      deliveryMode: 2,
      type: 't',
    };
    const kept = [field('mine'), field('x-gw-key'), field('x-gw-types'), field('x-correlation-id')];
    const claims = ['x-gw-user', 'X-GW-Key', 'x-gw-client-id', 'x-gw-origin', 'x-gw-address'].map(field);
    const mixed = [claims[0], kept[0], kept[1], claims[1], claims[2], kept[2], kept[3], claims[3], claims[4]];
    const native = nativeFromParts('orders', 'k', encodeContent({ ...before, headers: mixed as Header[] }));
    expect(withoutClaims(native, routeBytes(native), false)).toEqual(
      nativeFromParts('orders', 'k', encodeContent({ ...before, headers: kept })),
    );
    const honest = nativeFromParts('orders', 'k', encodeContent({ ...before, headers: kept }));
    expect(withoutClaims(honest, routeBytes(honest), false)).toBe(honest);
  });

  test('claim neither a user nor an address', () => {
    const headers: Header[] = [
      { name: 'x-gw-user', value: { kind: 'string', value: 'root' } },
      { name: 'X-GW-Origin', value: { kind: 'string', value: 'elsewhere' } },
      { name: 'x-gw-address', value: { kind: 'string', value: '$SYS/x' } },
    ];
    const message = messageFromAmqp091(
      nativeFromParts('orders', 'k', encodeContent({ headers })),
      Buffer.alloc(0),
      NOW_MS,
    );
    expect(message.address).toBe('orders/k');
    expect(message.properties).toEqual({ headers: [] });
  });
});

describe('AMQP 0-9-1 to AMQP 0-9-1', () => {
  const headers: Header[] = [{ name: 'n', value: { kind: 'i16', value: -3 } }];
  const content = encodeContent({ headers, deliveryMode: 2, expiration: '60000', clusterId: 'c', type: 't' });
  const native = nativeFromParts('orders', 'eu.new', content);

  test('the bytes are the publisher’s own', () => {
    const message = messageFromAmqp091(native, Buffer.from('x'), NOW_MS);
    expect(message.address).toBe('orders/eu/new');
    const view = amqp091FromMessage(message, 'another', NOW_MS, ROOM);
    expect(Buffer.concat([view.route, view.content])).toEqual(native);
  });

  test('sent on under another address, the names change and the properties do not', () => {
    const message = messageFromAmqp091(native, Buffer.from('x'), NOW_MS).with({ address: 'dead/eu/new' });
    const view = amqp091FromMessage(message, 'dead', NOW_MS, ROOM);
    expect(view.route).toEqual(encodeRoute('dead', 'eu.new'));
    expect(view.content).toEqual(content);
  });

  test('properties are read from the bytes when another protocol asks', () => {
    const message = new Message({
      address: 'orders/eu/new',
      body: Buffer.alloc(0),
      codec: amqp091Codec,
      native,
    });
    const clusterId: Header = { name: 'x-cluster-id', value: { kind: 'string', value: 'c' } };
    expect(message.properties).toEqual({ headers: [...headers, clusterId], type: 't' });
  });
});
