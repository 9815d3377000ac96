import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Amqp091Content,
  ContentFacts,
  decodeContent,
  decodeTable,
  encodeContent,
  encodeTable,
  MalformedTableError,
  scanContent,
} from '../../../mappings/amqp091.ts';
import type { Header, HeaderValue } from '../../../src/core/index.ts';
import { codePoint } from '../../support/code-points.ts';
import { amqplib, BASIC_PROPERTIES } from './amqplib-codec.ts';

const shortString = fc
  .string({ unit: codePoint, maxLength: 40 })
  .filter((text) => Buffer.byteLength(text) <= 255);

/** Values that have a tag of their own. */
const value: fc.Arbitrary<HeaderValue> = fc.letrec<{ value: HeaderValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc
      .string({ unit: codePoint, maxLength: 20 })
      .map((text): HeaderValue => ({ kind: 'string', value: text })),
    fc
      .uint8Array({ maxLength: 20 })
      .map((bytes): HeaderValue => ({ kind: 'bytes', value: Buffer.from(bytes) })),
    fc.boolean().map((bool): HeaderValue => ({ kind: 'bool', value: bool })),
    fc.integer({ min: -128, max: 127 }).map((n): HeaderValue => ({ kind: 'i8', value: n })),
    fc.integer({ min: 0, max: 255 }).map((n): HeaderValue => ({ kind: 'u8', value: n })),
    fc.integer({ min: -32_768, max: 32_767 }).map((n): HeaderValue => ({ kind: 'i16', value: n })),
    fc.integer({ min: 0, max: 65_535 }).map((n): HeaderValue => ({ kind: 'u16', value: n })),
    fc.integer().map((n): HeaderValue => ({ kind: 'i32', value: n })),
    fc.integer({ min: 0, max: 0xffff_ffff }).map((n): HeaderValue => ({ kind: 'u32', value: n })),
    fc
      .bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n })
      .map((n): HeaderValue => ({ kind: 'i64', value: n })),
    fc.float().map((n): HeaderValue => ({ kind: 'f32', value: n })),
    fc.double().map((n): HeaderValue => ({ kind: 'f64', value: n })),
    fc
      .tuple(fc.integer({ min: 0, max: 255 }), fc.bigInt({ min: 0n, max: 0xffff_ffffn }))
      .map(([scale, digits]): HeaderValue => ({ kind: 'decimal', scale, value: digits })),
    fc
      .integer({ min: 0, max: 9_000_000_000 })
      .map((seconds): HeaderValue => ({ kind: 'timestamp', value: seconds * 1000, seconds: true })),
    fc.constant<HeaderValue>({ kind: 'null' }),
    fc.array(tie('value'), { maxLength: 4 }).map((list): HeaderValue => ({ kind: 'list', value: list })),
    fc
      .array(
        fc.tuple(shortString, tie('value')).map(([name, held]): Header => ({ name, value: held })),
        { maxLength: 4 },
      )
      .map((map): HeaderValue => ({ kind: 'map', value: map })),
  ),
})).value;

const headers = fc.array(
  fc.tuple(shortString, value).map(([name, held]): Header => ({ name, value: held })),
  { maxLength: 6 },
);

const content: fc.Arbitrary<Amqp091Content> = fc.record(
  {
    contentType: shortString,
    contentEncoding: shortString,
    headers,
    deliveryMode: fc.integer({ min: 0, max: 255 }),
    priority: fc.integer({ min: 0, max: 255 }),
    correlationId: shortString,
    replyTo: shortString,
    expiration: shortString,
    messageId: shortString,
    timestampSeconds: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    type: shortString,
    userId: shortString,
    appId: shortString,
    clusterId: shortString,
  },
  { requiredKeys: [] },
);

describe('content header', () => {
  test('every combination of properties comes back as it was', () => {
    fc.assert(
      fc.property(content, (given) => {
        const bytes = encodeContent(given);
        scanContent(bytes, 0, bytes.length, new ContentFacts());
        expect(decodeContent(bytes)).toEqual(given);
      }),
      { numRuns: 500 },
    );
  });

  test('the scan tells what the core must know', () => {
    fc.assert(
      fc.property(content, (given) => {
        const bytes = encodeContent(given);
        const facts = new ContentFacts();
        scanContent(bytes, 0, bytes.length, facts);
        expect(facts.deliveryMode).toBe(given.deliveryMode ?? 0);
        expect(facts.priority).toBe(given.priority ?? 0);
        const expiration =
          facts.expirationLength < 0
            ? undefined
            : bytes.toString('utf8', facts.expirationAt, facts.expirationAt + facts.expirationLength);
        expect(expiration).toBe(given.expiration);
      }),
      { numRuns: 200 },
    );
  });

  test('is what amqplib writes and reads', () => {
    const simple = fc.record(
      {
        contentType: shortString,
        contentEncoding: shortString,
        deliveryMode: fc.integer({ min: 0, max: 255 }),
        priority: fc.integer({ min: 0, max: 255 }),
        correlationId: shortString,
        replyTo: shortString,
        expiration: shortString,
        messageId: shortString,
        timestamp: fc.integer({ min: 0, max: 0xffff_ffff }),
        type: shortString,
        userId: shortString,
        appId: shortString,
        clusterId: shortString,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(simple, (given) => {
        const { timestamp, ...rest } = given;
        const frame = amqplib.encodeProperties(BASIC_PROPERTIES, 1, 0, { headers: {}, ...given });
        const theirs = decodeContent(frame.subarray(19, -1));
        const { headers: table, ...decoded } = theirs;
        expect(table).toEqual([]);
        expect(decoded).toEqual(
          timestamp === undefined ? rest : { ...rest, timestampSeconds: BigInt(timestamp) },
        );
        const ours = amqplib.decode(BASIC_PROPERTIES, encodeContent(theirs));
        for (const [name, held] of Object.entries(given)) expect(ours[name]).toEqual(held);
      }),
      { numRuns: 200 },
    );
  });

  test('bytes that end early or hold more are refused', () => {
    fc.assert(
      fc.property(content, fc.nat(), (given, cut) => {
        const bytes = encodeContent(given);
        const facts = new ContentFacts();
        expect(() => scanContent(Buffer.concat([bytes, Buffer.of(0)]), 0, bytes.length + 1, facts)).toThrow(
          MalformedTableError,
        );
        if (bytes.length > 2) {
          expect(() => scanContent(bytes, 0, cut % bytes.length, facts)).toThrow(MalformedTableError);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('field table', () => {
  test('nesting beyond the bound is refused by scan and decoder alike', () => {
    let nested: HeaderValue = { kind: 'null' };
    for (let i = 0; i < 40; i++) nested = { kind: 'list', value: [nested] };
    const table = encodeTable([{ name: 'deep', value: nested }]);
    expect(() => decodeTable(table, 4, table.length)).toThrow(MalformedTableError);
    const bytes = encodeContent({ headers: [{ name: 'deep', value: nested }] });
    expect(() => scanContent(bytes, 0, bytes.length, new ContentFacts())).toThrow(MalformedTableError);
  });

  test('what has no tag is written as text or as the nearest number', () => {
    const given: Header[] = [
      { name: 'u64', value: { kind: 'u64', value: (1n << 64n) - 1n } },
      { name: 'small', value: { kind: 'u64', value: 5n } },
      { name: 'decimal', value: { kind: 'decimal', scale: 2, value: -1250n } },
      { name: 'symbol', value: { kind: 'symbol', value: 'x' } },
    ];
    const table = encodeTable(given);
    expect(decodeTable(table, 4, table.length)).toEqual([
      { name: 'u64', value: { kind: 'string', value: '18446744073709551615' } },
      { name: 'small', value: { kind: 'i64', value: 5n } },
      { name: 'decimal', value: { kind: 'string', value: '-12.50' } },
      { name: 'symbol', value: { kind: 'string', value: 'x' } },
    ]);
  });

  test('the old tag L is read as a signed 64-bit integer', () => {
    const table = Buffer.from('\x01nL\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1');
    expect(decodeTable(table, 0, table.length)).toEqual([{ name: 'n', value: { kind: 'i64', value: -1n } }]);
  });
});
