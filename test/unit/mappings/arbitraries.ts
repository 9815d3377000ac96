/**
 * Generators of header values, headers and addresses for the property tests of the mappings. Strings are any
 * Unicode without unpaired surrogates, which no protocol can carry.
 */

import fc from 'fast-check';
import type { Header, HeaderValue } from '../../../src/core/index.ts';
import { codePoint } from '../../support/code-points.ts';

export const text = (): fc.Arbitrary<string> => fc.string({ unit: codePoint, maxLength: 12 });

const bytes = fc.uint8Array({ maxLength: 12 }).map((each) => new Uint8Array(each));
const integer = <K extends 'i8' | 'u8' | 'i16' | 'u16' | 'i32' | 'u32'>(kind: K, min: number, max: number) =>
  fc.integer({ min, max }).map((value): HeaderValue => ({ kind, value: value === 0 ? 0 : value }));

export const scalar: fc.Arbitrary<HeaderValue> = fc.oneof(
  fc
    .tuple(fc.constantFrom('string', 'symbol', 'uuid', 'char'), text())
    .map(([kind, value]): HeaderValue => ({ kind, value })),
  bytes.map((value): HeaderValue => ({ kind: 'bytes', value })),
  fc
    .string({ maxLength: 8 })
    .map((ascii): HeaderValue => ({ kind: 'bytes', value: new Uint8Array(Buffer.from(ascii)) })),
  fc.boolean().map((value): HeaderValue => ({ kind: 'bool', value })),
  integer('i8', -0x80, 0x7f),
  integer('u8', 0, 0xff),
  integer('i16', -0x8000, 0x7fff),
  integer('u16', 0, 0xffff),
  integer('i32', -0x8000_0000, 0x7fff_ffff),
  integer('u32', 0, 0xffff_ffff),
  fc.float().map((value): HeaderValue => ({ kind: 'f32', value })),
  fc.double().map((value): HeaderValue => ({ kind: 'f64', value })),
  fc
    .bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n })
    .map((value): HeaderValue => ({ kind: 'i64', value })),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((value): HeaderValue => ({ kind: 'u64', value })),
  fc
    .tuple(fc.integer({ min: -60, max: 300 }), fc.bigInt({ min: -(1n << 120n), max: 1n << 120n }))
    .map(([scale, value]): HeaderValue => ({ kind: 'decimal', scale: scale === 0 ? 0 : scale, value })),
  fc
    .oneof(fc.integer({ min: -8_640_000_000_000_000, max: 8_640_000_000_000_000 }), fc.maxSafeInteger())
    .map((value): HeaderValue => ({ kind: 'timestamp', value: value === 0 ? 0 : value })),
  fc
    .integer({ min: 0, max: 9_000_000_000_000 })
    .map((value): HeaderValue => ({ kind: 'timestamp', value: value * 1000, seconds: true })),
  fc.constant<HeaderValue>({ kind: 'null' }),
);

const mapName = fc.oneof(
  text(),
  fc.constantFrom('$i64', '$map', '1', '0', '__proto__', 'a', '', 'constructor'),
);

export const headerValue: fc.Arbitrary<HeaderValue> = fc.letrec<{ value: HeaderValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }).map((value): HeaderValue => ({ kind: 'list', value })),
    fc
      .array(
        fc.tuple(mapName, tie('value')).map(([name, value]): Header => ({ name, value })),
        { maxLength: 4 },
      )
      .map((value): HeaderValue => ({ kind: 'map', value })),
  ),
})).value;

const headerName = fc
  .oneof(
    text(),
    fc.constantFrom('a', 'b', 'n=1', 'x,y', '100%', 'type', 'subject', 'content-type', 'priority', ''),
  )
  .filter((name) => !name.toLowerCase().startsWith('x-gw-'));

/** Few different names, so that they repeat. */
export const headers: fc.Arbitrary<Header[]> = fc.array(
  fc.tuple(headerName, headerValue).map(([name, value]): Header => ({ name, value })),
  {
    maxLength: 8,
  },
);
