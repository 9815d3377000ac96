import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  Amqp091Header,
  amqp091Codec,
  amqp091FromMessage,
  decodeContent,
  encodeContent,
  encodeRoute,
  messageFromAmqp091,
  nativeFromParts,
} from '../../../mappings/amqp091.ts';
import { type Header, type HeaderValue, Message, type Properties } from '../../../src/core/index.ts';

const NOW_MS = 1_700_000_000_000;
const ROOM = 131_072 - 20;

/** Publishes what a consumer of this protocol was shown, unchanged. */
function republished(message: Message, via: string | null = null): Message {
  const view = amqp091FromMessage(message, via, NOW_MS, ROOM);
  return messageFromAmqp091(Buffer.concat([view.route, view.content]), message.body, NOW_MS);
}

const text = fc.string({ unit: 'binary', maxLength: 300 });
const name = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 270 })
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

  test('names that repeat become an array, and come back one by one', () => {
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
    expect(republished(message).properties.headers).toEqual([headers[0], headers[2], headers[1]]);
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
    expect(shown.at(-1)).toEqual({ name: Amqp091Header.dropped, value: { kind: 'u32', value: 100 } });
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

describe('headers of the gateway', () => {
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
    expect(message.properties).toEqual({ headers, type: 't' });
  });
});
