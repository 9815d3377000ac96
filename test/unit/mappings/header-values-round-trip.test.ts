/** Every header value and every list of headers returns exactly as it was, through text and through bytes. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  codeFromValue,
  formatTypedBytes,
  formatTypedHeaders,
  GatewayHeader,
  headersFromProperties,
  isReservedName,
  PROPERTY_NAMES,
  type PropertiesDraft,
  parseTypedBytes,
  parseTypedHeaders,
  takeProperty,
  textFromValue,
  valueFromText,
  withoutReserved,
} from '../../../mappings/header-values.ts';
import type { Header, HeaderValue } from '../../../src/core/index.ts';
import { cpuMs } from '../../support/cpu-time.ts';
import { headers, headerValue, text } from './arbitraries.ts';

const NAMES = new Set<string>(Object.values(PROPERTY_NAMES));

describe('one value', () => {
  test('returns from its text and code exactly', () => {
    fc.assert(
      fc.property(headerValue, (value) => {
        const written = textFromValue(value);
        expect(written).not.toContain('\0');
        expect(valueFromText(codeFromValue(value), written)).toStrictEqual(value);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each<[HeaderValue, string]>([
    [{ kind: 'i64', value: -9_223_372_036_854_775_808n }, '-9223372036854775808'],
    [{ kind: 'f32', value: Math.fround(0.1) }, '0.1'],
    [{ kind: 'f64', value: -0 }, '-0'],
    [{ kind: 'f64', value: Number.NaN }, 'NaN'],
    [{ kind: 'decimal', scale: 2, value: -5n }, '-0.05'],
    [{ kind: 'decimal', scale: -3, value: 5n }, '5e3'],
    [{ kind: 'timestamp', value: 0, seconds: true }, '1970-01-01T00:00:00.000Z'],
    [{ kind: 'bytes', value: new Uint8Array([0, 1, 255]) }, 'AAH/'],
    [{ kind: 'list', value: [{ kind: 'i32', value: 1 }, { kind: 'null' }] }, '[1,null]'],
    [{ kind: 'map', value: [{ name: 'a', value: { kind: 'i64', value: 7n } }] }, '{"a":{"$i64":"7"}}'],
  ])('%o reads as %s', (value, written) => {
    expect(textFromValue(value)).toBe(written);
  });

  // JSON.parse of Node.js 24 takes a name such as `"` for a `\` that stood behind the same names in an object before.
  test.each([
    ['\\', '"'],
    ['\\', '\n'],
    ['x\\', 'x"'],
  ])('of a map has its own names, whatever map was read before: %j, %j', (...names) => {
    for (const name of names) {
      const entries = [
        { name: `before ${names}`, value: { kind: 'null' } },
        { name, value: { kind: 'null' } },
      ] satisfies Header[];
      const value: HeaderValue = { kind: 'map', value: entries };
      expect(valueFromText('map', textFromValue(value))).toEqual(value);
    }
  });

  test('text that does not fit its code is no value', () => {
    for (const [code, written] of [
      ['i8', '128'],
      ['u8', '-1'],
      ['i32', '1.5'],
      ['i64', '9223372036854775808'],
      ['bool', 'yes'],
      ['bytes', 'AAH'],
      ['list', '{}'],
      ['map', '{"a":'],
      ['list', '['.repeat(5_000) + ']'.repeat(5_000)],
      ['timestamp', 'yesterday'],
      ['decimal', '1.2.3'],
      ['decimal', '1e99999999'],
      ['decimal', '1'.repeat(2_000)],
      ['bytes', 'AAH/='],
      ['bytes', 'AA-_'],
      ['string.64', '/w=='],
      ['unheard-of', 'x'],
    ] as const) {
      expect(valueFromText(code, written), `${code} ${written.slice(0, 20)}`).toBeNull();
    }
  });
});

test('any text under any code is a value or none, and a value writes itself again', () => {
  const codes = [
    'string',
    'string.64',
    'bytes',
    'bool',
    'i8',
    'u64',
    'f32',
    'f64',
    'decimal',
    'timestamp',
    'list',
    'map',
  ];
  const digits = fc.string({ unit: fc.constantFrom('1', '0', '-', '.', 'e', '9', '+'), maxLength: 8 });
  fc.assert(
    fc.property(fc.constantFrom(...codes), fc.oneof(text(), digits, fc.json()), (code, written) => {
      const value = valueFromText(code, written);
      if (value === null) return;
      expect(valueFromText(codeFromValue(value), textFromValue(value))).toStrictEqual(value);
    }),
    { numRuns: 3_000 },
  );
});

test('large texts are read in time that grows with their size', () => {
  const start = cpuMs();
  valueFromText('bytes', 'A'.repeat(16_000_000));
  valueFromText('decimal', '1'.repeat(16_000_000));
  valueFromText('list', '['.repeat(1_000_000));
  valueFromText('list', '['.repeat(200_000) + ']'.repeat(200_000));
  expect(cpuMs() - start).toBeLessThan(2_000);
});

describe('a list of headers', () => {
  test('returns through text with order, repeats and kinds', () => {
    fc.assert(
      fc.property(headers, (list) => {
        const pairs = formatTypedHeaders([], list);
        const parsed = parseTypedHeaders(pairs, NAMES);
        expect(parsed.headers).toStrictEqual(list);
        expect(parsed.named).toStrictEqual([]);
      }),
      { numRuns: 1_000 },
    );
  });

  test('returns through bytes with order, repeats and kinds', () => {
    fc.assert(
      fc.property(headers, (list) => {
        const parsed = parseTypedBytes(formatTypedBytes([], list), NAMES);
        expect(plain(parsed.headers)).toStrictEqual(plain(list));
      }),
      { numRuns: 1_000 },
    );
  });

  test('plain strings need no types header', () => {
    const list: Header[] = [
      { name: 'a', value: { kind: 'string', value: '1' } },
      { name: 'a', value: { kind: 'string', value: '2' } },
    ];
    expect(formatTypedHeaders([], list)).toEqual([
      { name: 'a', text: '1' },
      { name: 'a', text: '2' },
    ]);
  });

  test('repeats of one name carry their kinds by position', () => {
    const list: Header[] = [
      { name: 'n', value: { kind: 'string', value: 'x' } },
      { name: 'n', value: { kind: 'i64', value: 1n } },
      { name: 'm', value: { kind: 'bool', value: true } },
      { name: 'n', value: { kind: 'string', value: 'y' } },
    ];
    expect(formatTypedHeaders([], list).at(-1)).toEqual({ name: GatewayHeader.types, text: 'n=|i64,m=bool' });
  });

  test('a changed value that no longer fits its kind is kept as text', () => {
    const parsed = parseTypedHeaders([
      { name: 'n', text: 'many' },
      { name: GatewayHeader.types, text: 'n=i32' },
    ]);
    expect(parsed.headers).toEqual([{ name: 'n', value: { kind: 'string', value: 'many' } }]);
  });

  test('many typed headers under one name are read and written without quadratic work', () => {
    const list: Header[] = Array.from({ length: 20_000 }, (_, value) => ({
      name: 'n',
      value: { kind: 'i32', value },
    }));
    const start = cpuMs();
    expect(parseTypedHeaders(formatTypedHeaders([], list)).headers).toStrictEqual(list);
    expect(cpuMs() - start).toBeLessThan(2_000);
  });

  test('reserved names come apart, whatever their case', () => {
    expect(isReservedName('X-Gw-Types')).toBe(true);
    expect(isReservedName('x-gateway')).toBe(false);
    const own: Header = { name: 'mine', value: { kind: 'string', value: '' } };
    const list = [own, { name: 'X-GW-key', value: own.value }];
    expect(withoutReserved(list)).toEqual([own]);
    const clean = [own];
    expect(withoutReserved(clean)).toBe(clean);
    const parsed = parseTypedHeaders([
      { name: 'mine', text: '' },
      { name: GatewayHeader.key, text: 'k' },
    ]);
    expect(parsed.headers).toEqual([own]);
    expect(parsed.reserved).toEqual([{ name: GatewayHeader.key, value: { kind: 'string', value: 'k' } }]);
  });
});

describe('properties as headers', () => {
  test('come back as properties, and a header of the same name stays a header', () => {
    const properties = {
      type: 'order',
      messageId: { kind: 'u64', value: 9n } as const,
      timestampMs: 1_700_000_000_000,
      textBody: false,
      headers: [
        { name: 'type', value: { kind: 'string', value: 'a header' } },
        { name: 'subject', value: { kind: 'string', value: 'also a header' } },
        { name: 'subject', value: { kind: 'string', value: 'again' } },
      ] as const,
    };
    const named = headersFromProperties(properties, [
      'type',
      'messageId',
      'timestampMs',
      'textBody',
      'subject',
    ]);
    const parsed = parseTypedHeaders(formatTypedHeaders(named, properties.headers), NAMES);
    const draft: PropertiesDraft = { headers: parsed.headers };
    for (const header of parsed.named) expect(takeProperty(draft, header)).toBe(true);
    expect(draft).toStrictEqual(properties);
  });

  test('a value that cannot be the property is not taken', () => {
    const draft: PropertiesDraft = { headers: [] };
    expect(takeProperty(draft, { name: 'timestamp', value: { kind: 'string', value: 'noon' } })).toBe(false);
    expect(takeProperty(draft, { name: 'type', value: { kind: 'i32', value: 1 } })).toBe(false);
    expect(takeProperty(draft, { name: 'unknown', value: { kind: 'string', value: '' } })).toBe(false);
  });
});

/** Buffers and plain arrays of the same bytes are the same header. */
function plain(list: readonly Header[]): readonly Header[] {
  return list.map(({ name, value }) =>
    value.kind === 'bytes'
      ? { name, value: { kind: 'bytes', value: new Uint8Array(value.value) } }
      : { name, value },
  );
}
