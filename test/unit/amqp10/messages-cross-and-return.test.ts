/**
 * Messages as rhea writes them: byte for byte between two clients of AMQP 1.0, and the same to rhea after they were
 * messages of another protocol.
 */

import fc from 'fast-check';
import type { Message as RheaMessage } from 'rhea';
import { describe, expect, test } from 'vitest';
import {
  amqp10Codec,
  amqp10FromMessage,
  decodeAmqp10,
  encodeHeader,
  messageFromAmqp10,
} from '../../../mappings/amqp10.ts';
import { protocolViews } from '../../../mappings/http.ts';
import { type Header, Message } from '../../../src/core/index.ts';
import { headers as anyHeaders, text } from '../mappings/arbitraries.ts';
import { rheaCodec, types } from './rhea-codec.ts';

const NOW_MS = 1_700_000_000_000;
const UUID = Buffer.from('5a1c1a2e93b44c00800000000000abcd', 'hex');

function received(bytes: Buffer, target: string | null = 'orders/eu'): Message {
  const message = messageFromAmqp10(bytes, target, 'client', NOW_MS);
  if (message === null) throw new Error('no address');
  return message;
}

/** What a client of the protocol publishes who passes on what it was shown. */
function through(protocol: string, message: Message): Message {
  return protocolViews.find((view) => view.protocol === protocol)?.received(message, NOW_MS) as Message;
}

const full = {
  durable: true,
  priority: 7,
  ttl: 60_000,
  message_annotations: {
    'x-opt-jms-msg-type': types.wrap_byte(5),
    'x-opt-list': types.wrap_list([types.wrap_ulong(7)]),
    other: types.wrap_symbol('s'),
  },
  message_id: types.wrap_ulong(4711),
  user_id: Buffer.from('ann'),
  to: 'orders/eu',
  subject: 'eu.new',
  reply_to: '/queues/answers',
  correlation_id: types.wrap_uuid(UUID),
  content_type: 'application/json',
  content_encoding: 'gzip',
  creation_time: 1_600_000_000_123,
  group_id: 'g',
  group_sequence: 7,
  reply_to_group_id: 'rg',
  application_properties: {
    text: 't',
    int: types.wrap_int(-7),
    long: types.wrap_long(7),
    ubyte: types.wrap_ubyte(255),
    double: types.wrap_double(1.5),
    flag: true,
    binary: types.wrap_binary(Buffer.from([0, 255, 1])),
    text_like: types.wrap_binary(Buffer.from('text')),
    when: types.wrap_timestamp(1_600_000_000_123),
    symbol: types.wrap_symbol('red'),
    uuid: types.wrap_uuid(UUID),
    nothing: null,
  },
} as unknown as Partial<RheaMessage>;

const BODIES: Readonly<Record<string, unknown>> = {
  'one data section': rheaCodec.data_section(Buffer.from([0, 1, 255])),
  'three data sections': rheaCodec.data_sections([Buffer.from('one'), Buffer.alloc(0), Buffer.from('three')]),
  'an empty data section': rheaCodec.data_section(Buffer.alloc(0)),
  'a string as value': 'caf\u00e9',
  'a map as value': { a: types.wrap_uint(1), b: [1, 'two', Buffer.from([3])] },
  'a number as value': types.wrap_ulong(7),
  'null as value': null,
  'a sequence': rheaCodec.sequence_section([1, 'two']),
};

const IDENTIFIERS: Readonly<Record<string, unknown>> = {
  ulong: types.wrap_ulong(7),
  uuid: types.wrap_uuid(UUID),
  binary: types.wrap_binary(Buffer.from([0, 255])),
  'binary that is text': types.wrap_binary(Buffer.from('text')),
  string: 'text',
};

/** Without the header, which belongs to one hop and is written anew. */
const bare = (bytes: Buffer) => {
  const { header: _, ...rest } = decodeAmqp10(bytes);
  return rest;
};

describe.each(Object.entries(BODIES))('a message with %s', (_, body) => {
  const bytes = rheaCodec.encode({ ...full, body });

  test('reaches a client of AMQP 1.0 as it was sent', () => {
    const message = received(bytes);
    expect(message).toMatchObject({
      address: 'orders/eu',
      reliability: 1,
      priority: 7,
      expiresAtMs: NOW_MS + 60_000,
      publisherId: 'client',
    });
    const head = encodeHeader({ durable: true, priority: 7, ttlMs: 60_000 });
    const own = encodeHeader({ durable: true, priority: 7, ttlMs: 59_000 });
    const shown = amqp10FromMessage(message, NOW_MS + 1_000);
    expect(shown.subarray(0, own.length)).toEqual(own);
    expect(bare(shown)).toEqual(bare(bytes));
    expect(rheaCodec.decode(shown)).toEqual({ ...rheaCodec.decode(bytes), ttl: 59_000 });
    expect(head.length).toBe(own.length);
  });

  test.each(['mqtt', 'amqp091', 'kafka'])('comes back from %s as it was', (protocol) => {
    const back = through(protocol, received(bytes));
    const shown = amqp10FromMessage(back, NOW_MS);
    const expected = rheaCodec.decode(bytes) as RheaMessage & { absolute_expiry_time?: unknown };
    const returned = rheaCodec.decode(shown) as typeof expected;
    // The ttl says the same; elsewhere it is kept as the time itself.
    delete returned.absolute_expiry_time;
    // Who published is told by a publisher of AMQP alone.
    if (protocol !== 'amqp091') expected.user_id = undefined as never;
    // The name that the reply address has in the shared address space.
    expected.reply_to = '$queue/answers';
    expect({ ...returned, user_id: returned.user_id ?? undefined }).toEqual({ ...expected });
    const [{ properties: mine }, { properties: theirs }] = [decodeAmqp10(shown), decodeAmqp10(bytes)];
    expect(mine.messageId).toEqual(theirs.messageId);
    expect(mine.correlationId).toEqual(theirs.correlationId);
    expect(decodeAmqp10(shown).applicationProperties).toEqual(decodeAmqp10(bytes).applicationProperties);
    expect(decodeAmqp10(shown).annotations).toEqual(decodeAmqp10(bytes).annotations);
  });
});

test.each(Object.entries(IDENTIFIERS))(
  'message id and correlation of type %s keep it everywhere',
  (_, id) => {
    const bytes = rheaCodec.encode({
      message_id: id,
      correlation_id: id,
      body: 'x',
    } as Partial<RheaMessage>);
    const sent = decodeAmqp10(bytes).properties;
    for (const protocol of ['mqtt', 'amqp091', 'kafka']) {
      const shown = decodeAmqp10(amqp10FromMessage(through(protocol, received(bytes)), NOW_MS)).properties;
      expect(shown.messageId, protocol).toEqual(sent.messageId);
      expect(shown.correlationId, protocol).toEqual(sent.correlationId);
    }
  },
);

describe('what others see of a message of AMQP 1.0', () => {
  test('text and bytes are themselves, whatever section they were in', () => {
    const shown = received(rheaCodec.encode({ body: 'caf\u00e9' }));
    expect(Buffer.from(shown.body).toString()).toBe('caf\u00e9');
    expect(shown.properties).toMatchObject({ textBody: true });
    const data = received(rheaCodec.encode({ body: BODIES['three data sections'] }));
    expect(Buffer.from(data.body).toString()).toBe('onethree');
  });

  test('what has structure is its encoding, and says so', () => {
    const shown = received(rheaCodec.encode({ content_type: 'a/b', body: { a: 1 } }));
    expect(shown.properties).toMatchObject({
      contentType: 'application/vnd.amqp1-body',
      bodyForm: 'amqp a/b',
    });
    expect(shown.body.subarray(0, 3)).toEqual(Buffer.of(0x00, 0x53, 0x77));
  });

  test('no body is not an empty one', () => {
    expect(received(rheaCodec.encode({ body: null }))).toMatchObject({ nullBody: true });
    expect(received(rheaCodec.encode({ body: BODIES['an empty data section'] }))).toMatchObject({
      nullBody: false,
    });
  });

  test('annotations are headers beside the application properties, and claims are taken out', () => {
    const shown = received(
      rheaCodec.encode({
        message_annotations: { 'x-opt-a': 1, b: 2, 'x-opt-mqtt-retain': true, 'x-opt-partition-key': 'k' },
        application_properties: { mine: 'm', 'x-gw-user': 'root', 'app-id': 'billing' },
        body: 'x',
      }),
    );
    expect(shown.properties.headers.map(({ name }) => name)).toEqual(['x-opt-a', 'x-opt-:b', 'mine']);
    expect(shown.properties.appId).toBe('billing');
    expect(shown).toMatchObject({ retain: true, key: Buffer.from('k') });
    expect(JSON.stringify(rheaCodec.decode(amqp10FromMessage(shown, NOW_MS)))).not.toContain('root');
  });
});

describe('expiry', () => {
  test.each([
    [{ ttl: 400 }, NOW_MS + 400],
    [{ absolute_expiry_time: NOW_MS + 100, ttl: 400 }, NOW_MS + 100],
    [{ absolute_expiry_time: NOW_MS + 900, ttl: 400 }, NOW_MS + 400],
    [{}, 0],
  ])('of %j', (fields, expected) => {
    const bytes = rheaCodec.encode({ ...fields, body: 'x' } as unknown as Partial<RheaMessage>);
    expect(received(bytes).expiresAtMs).toBe(expected);
  });

  test('what is left is never 0, and a time too long for it is told as a time', () => {
    const soon = new Message({ address: 'a', body: Buffer.of(), expiresAtMs: NOW_MS + 0.2 });
    expect(decodeAmqp10(amqp10FromMessage(soon, NOW_MS)).header.ttlMs).toBe(1);
    const late = new Message({ address: 'a', body: Buffer.of(), expiresAtMs: NOW_MS + 2 ** 33 });
    const shown = decodeAmqp10(amqp10FromMessage(late, NOW_MS));
    expect(shown.header.ttlMs).toBeUndefined();
    expect(shown.properties.absoluteExpiryMs).toBe(NOW_MS + 2 ** 33);
  });
});

describe('a message from elsewhere', () => {
  test('goes where it says where its link does not say it', () => {
    const bytes = rheaCodec.encode({ to: '/exchanges/orders/eu.new', body: 'x' });
    expect(received(bytes, null).address).toBe('orders/eu/new');
    expect(messageFromAmqp10(rheaCodec.encode({ body: 'x' }), null, '', NOW_MS)).toBeNull();
  });

  test('is readable for a client that knows nothing of the gateway', () => {
    const message = new Message({
      address: 'orders/eu',
      body: Buffer.from('{}'),
      reliability: 1,
      properties: {
        contentType: 'application/json',
        correlation: { kind: 'string', value: 'call' },
        replyTo: 'answers',
        headers: [
          { name: 'n', value: { kind: 'i32', value: 7 } },
          { name: 'n', value: { kind: 'string', value: 'again' } },
        ],
      },
    });
    const shown = rheaCodec.decode(amqp10FromMessage(message, NOW_MS));
    expect(shown).toMatchObject({
      durable: true,
      to: 'orders/eu',
      content_type: 'application/json',
      correlation_id: 'call',
      reply_to: 'answers',
      application_properties: { n: 7 },
    });
  });

  test('comes back with its headers, whatever they are', () => {
    const comparable = (value: unknown): unknown => {
      if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
      if (Array.isArray(value)) return value.map(comparable);
      if (typeof value !== 'object' || value === null) return value;
      const { seconds: _, ...rest } = value as Record<string, unknown>;
      return Object.fromEntries(Object.entries(rest).map(([name, of]) => [name, comparable(of)]));
    };
    const named = fc.oneof(
      text(),
      fc.constantFrom('x-death', 'x-opt-a', 'x-opt-:b', 'app-id', 'x-opt-gw-footer'),
    );
    const lists = fc
      .tuple(anyHeaders, fc.array(named, { maxLength: 8 }))
      .map(([list, names]) =>
        list.map((header, at): Header => ({ ...header, name: names[at] ?? header.name })),
      );
    fc.assert(
      fc.property(lists, fc.option(text(), { nil: undefined }), (list, appId) => {
        const properties = { headers: list, ...(appId === undefined ? {} : { appId }) };
        const message = new Message({ address: 'a', body: Buffer.from('x'), properties });
        const back = received(amqp10FromMessage(message, NOW_MS));
        expect(back.codec).toBe(amqp10Codec);
        const own = list.filter(({ name }) => !/^x-gw-/i.test(name));
        expect(comparable(back.properties)).toEqual(comparable({ ...properties, headers: own }));
      }),
      { numRuns: 1_000 },
    );
  });
});
