/** Values of AMQP 1.0: rhea reads what we write as we do, all return exactly, and malformed bytes are refused. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  Amqp10Reader,
  amqp10Codec,
  decodeAmqp10,
  encodeAmqp10Value,
  encodeValueBody,
  isExact,
  MalformedAmqp10Error,
  messageFromAmqp10,
} from '../../../mappings/amqp10.ts';
import type { HeaderValue } from '../../../src/core/index.ts';
import { headerValue } from '../mappings/arbitraries.ts';
import { rheaCodec, types } from './rhea-codec.ts';

function read(bytes: Buffer): HeaderValue {
  const reader = new Amqp10Reader(bytes, 0, bytes.length);
  const value = reader.read();
  expect(reader.at).toBe(bytes.length);
  return value;
}

function comparable(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value !== 'object' || value === null) return value;
  // AMQP 1.0 has one kind of timestamp.
  const { seconds: _, ...rest } = value as Record<string, unknown>;
  return Object.fromEntries(Object.entries(rest).map(([name, of]) => [name, comparable(of)]));
}

test('every value that AMQP 1.0 can say reads back the same', () => {
  fc.assert(
    fc.property(headerValue.filter(isExact), (value) => {
      expect(comparable(read(encodeAmqp10Value(value)))).toEqual(comparable(value));
    }),
    { numRuns: 3_000 },
  );
});

test('what it cannot say is text', () => {
  for (const value of [
    { kind: 'char', value: 'two' },
    { kind: 'uuid', value: 'none' },
    { kind: 'symbol', value: 'é' },
    { kind: 'decimal', scale: 9_999, value: 1n },
    { kind: 'timestamp', value: Number.MAX_VALUE },
  ] satisfies HeaderValue[]) {
    expect(isExact(value)).toBe(false);
    expect(read(encodeAmqp10Value(value)).kind).toBe('string');
  }
});

describe('rhea', () => {
  const sent: readonly (readonly [HeaderValue, unknown])[] = [
    [{ kind: 'null' }, null],
    [{ kind: 'bool', value: true }, true],
    [{ kind: 'u8', value: 255 }, 255],
    [{ kind: 'u16', value: 65_535 }, 65_535],
    [{ kind: 'u32', value: 0 }, 0],
    [{ kind: 'u32', value: 200 }, 200],
    [{ kind: 'u32', value: 0xffff_ffff }, 0xffff_ffff],
    [{ kind: 'u64', value: 0n }, 0],
    [{ kind: 'u64', value: 200n }, 200],
    [{ kind: 'u64', value: 1n << 40n }, 2 ** 40],
    [{ kind: 'i8', value: -128 }, -128],
    [{ kind: 'i16', value: -32_768 }, -32_768],
    [{ kind: 'i32', value: -128 }, -128],
    [{ kind: 'i32', value: -129 }, -129],
    [{ kind: 'i64', value: -128n }, -128],
    [{ kind: 'i64', value: -129n }, -129],
    [{ kind: 'f32', value: 1.5 }, 1.5],
    [{ kind: 'f64', value: 0.1 }, 0.1],
    [{ kind: 'char', value: 'é' }, 0xe9],
    [{ kind: 'bytes', value: Buffer.alloc(300, 1) }, Buffer.alloc(300, 1)],
    [{ kind: 'string', value: 'x'.repeat(300) }, 'x'.repeat(300)],
    [{ kind: 'symbol', value: 'red' }, 'red'],
    [{ kind: 'list', value: [] }, []],
    [
      {
        kind: 'list',
        value: Array.from({ length: 300 }, (_, n): HeaderValue => ({ kind: 'i32', value: n })),
      },
      Array.from({ length: 300 }, (_, n) => n),
    ],
    [{ kind: 'map', value: [{ name: 'a', value: { kind: 'i32', value: 1 } }] }, { a: 1 }],
  ];

  test.each(sent.map(([value, expected]) => [value.kind, value, expected] as const))(
    'reads our %s',
    (_, value, expected) => {
      expect(rheaCodec.decode(encodeValueBody(value)).body).toEqual(expected);
    },
  );

  test('is read where it writes arrays', () => {
    const bytes = rheaCodec.encode({ body: types.wrap_array([1, 2], 0x71, undefined) as unknown });
    expect(decodeAmqp10(bytes).body).toMatchObject({
      value: {
        kind: 'list',
        value: [
          { kind: 'i32', value: 1 },
          { kind: 'i32', value: 2 },
        ],
      },
    });
  });
});

describe('decimals', () => {
  // IEEE 754-2008, binary integer decimal: the values are those of Intel's decimal library.
  test.each([
    ['7432800001', 1n, 0],
    ['74b2800001', -1n, 0],
    ['7432000019', 25n, 1],
    ['746cb8967f', 9_999_999n, 0],
    ['8431c0000000000001', 1n, 0],
    ['846c7386f26fc0ffff', 9_999_999_999_999_999n, 0],
    ['9430400000000000000000000000000001', 1n, 0],
  ])('%s', (hex, value, scale) => {
    expect(read(Buffer.from(hex, 'hex'))).toEqual({ kind: 'decimal', value, scale });
  });

  test.each([
    ['7478000000', 'Infinity'],
    ['74f8000000', '-Infinity'],
    ['747c000000', 'NaN'],
  ])('%s is no number and so text', (hex, value) => {
    expect(read(Buffer.from(hex, 'hex'))).toEqual({ kind: 'string', value });
  });
});

describe('malformed bytes', () => {
  test.each([
    ['cut short', '005375a0ff61'],
    ['no section', '4045'],
    ['an unknown section', '00537940'],
    ['sections out of order', '005375a00161005372c10100'],
    ['two kinds of body', '005375a0016100537740'],
    ['two values', '0053774000537740'],
    ['a map that ends in a key', '005372c10401a30161'],
    ['a list with bytes left over', '005377c0030140' + '40'],
    ['a string that is no UTF-8', '005377a101ff'],
    ['a char that is none', '0053777300110000'],
    ['an array of nothing without end', '005377f000000005ffffffff40'],
    ['lists in lists without end', `005377${'d0000000ff00000001'.repeat(40)}40`],
    ['a descriptor of a descriptor without end', `005377${'00'.repeat(5_000)}`],
  ])('are refused: %s', (_, hex) => {
    expect(() => decodeAmqp10(Buffer.from(hex, 'hex'))).toThrow(MalformedAmqp10Error);
  });

  test('end in no other error, whatever they are', () => {
    const whole = rheaCodec.encode({
      message_annotations: { 'x-opt-a': [1, { b: 2 }] },
      message_id: 'id',
      application_properties: { a: 1, b: 'two' },
      body: { a: [1, 2, 3], b: Buffer.from('x') },
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(whole.length),
        (changes, length) => {
          const bytes = Buffer.from(whole.subarray(0, length));
          for (const [at, value] of changes) if (at < length) bytes[at] = value;
          try {
            const message = messageFromAmqp10(bytes, 'a', '', 0);
            amqp10Codec.decode(message?.native as Uint8Array);
          } catch (error) {
            expect(error).toBeInstanceOf(MalformedAmqp10Error);
          }
        },
      ),
      { numRuns: 20_000 },
    );
  });
});
