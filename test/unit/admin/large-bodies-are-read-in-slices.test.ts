/** A JSON body of megabytes is read as one would read it as a whole, or not at all, and others have their turn meanwhile. */

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseInSlices, SLICED_FROM_BYTES } from '../../../src/admin/json-slices.ts';
import { FakeGateway } from './admin-with-fake-core.ts';

const parse = (text: string): unknown => JSON.parse(text) as unknown;
const sliced = (text: string): Promise<unknown> => parseInSlices(Buffer.from(text), parse);
const whole = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
};
/** Names and their order too. */
const told = (value: unknown): string => JSON.stringify(value);

// No names with escapes: the parser of Node.js 24 takes one for another where it reads an object as a whole.
const isPlain = (value: unknown): boolean => !told(value).includes('\\');
const name = fc.oneof(
  fc.constantFrom('mappings', 'a', '7', '\u2028', '{', '}:,'),
  fc.string().filter(isPlain),
);
const json = fc.oneof(
  fc.jsonValue().filter(isPlain),
  fc.constantFrom('"', '\\', '\\"', '\n', '{"', ['}', '\\'], 'x\\\\"y'),
);
const members = fc.array(fc.tuple(name, json), { maxLength: 5 });
const space = fc.constantFrom('', ' ', '\n\t', '\r\n  ');
/** An object with objects in it, names repeated and spaces wherever they may be. */
const text = fc
  .tuple(fc.array(fc.tuple(name, fc.oneof(members, json)), { maxLength: 4 }), space)
  .map(([outer, gap]) => {
    const objectOf = (pairs: [string, string][]): string =>
      `{${gap}${pairs.map(([key, value]) => `${JSON.stringify(key)}${gap}:${gap}${value}${gap}`).join(`,${gap}`)}}`;
    const pairs = outer.map(([key, value]): [string, string] => [
      key,
      Array.isArray(value) && value.every((each) => Array.isArray(each) && each.length === 2)
        ? objectOf(value.map((each) => [String((each as unknown[])[0]), told((each as unknown[])[1])]))
        : told(value),
    ]);
    return gap + objectOf(pairs) + gap;
  });

test('what is read in slices is what is read as a whole', async () => {
  let read = 0;
  await fc.assert(
    fc.asyncProperty(text, async (json) => {
      const value = await sliced(json);
      if (value === null) expect(json).toMatch(/__proto__|constructor|prototype/);
      else {
        read++;
        expect(told(value)).toBe(told(whole(json)));
      }
    }),
    { numRuns: 300 },
  );
  expect(read).toBeGreaterThan(250);
});

test('what is no JSON is never read, and bytes anywhere in it make no difference that a parser would not see', async () => {
  const change = fc.record({
    at: fc.nat(),
    cut: fc.nat(3),
    put: fc.oneof(
      fc.string({ maxLength: 3 }),
      fc.constantFrom('{', '}', '"', ',', ':', '[', ']', '\\', '\ufeff'),
    ),
  });
  await fc.assert(
    fc.asyncProperty(text, change, async (json, { at, cut, put }) => {
      const place = at % (json.length + 1);
      const changed = json.slice(0, place) + put + json.slice(place + cut);
      const value = await sliced(changed);
      if (value === null) return;
      const expected = whole(Buffer.from(changed).toString());
      expect(expected).toBeTypeOf('object');
      if (!changed.includes('\\')) expect(told(value)).toBe(told(expected));
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  '',
  ' ',
  '[]',
  '7',
  '{',
  '{}x',
  '{"a":1,}',
  '{"a" 1}',
  '{"a":}',
  '{"a":1 2}',
  '{"__proto__":{}}',
  '\ufeff{}',
])('%j is left to be read as a whole', async (json) => {
  expect(await sliced(json)).toBeNull();
});

const large = (count: number): Record<string, object> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, n) => [
      `rule-${n}`,
      { from: { match: `a/${n}/{device}` }, to: [{ endpoint: 'core', topic: `b/${n}/{device|upper}` }] },
    ]),
  );

test('others have their turn at least every 32 KiB', async () => {
  const json = told({ mappings: large(10_000) });
  let turns = 0;
  let isReading = true;
  const count = (): void => {
    turns++;
    if (isReading) setImmediate(count);
  };
  setImmediate(count);
  const value = await sliced(json);
  isReading = false;
  expect(told(value)).toBe(json);
  // A slice ends with a whole member.
  expect(turns).toBeGreaterThanOrEqual(Math.floor(json.length / (33 * 1024)));
});

let gateway: FakeGateway;
beforeAll(async () => {
  gateway = await new FakeGateway().start({ bodyBytesMax: 1024 * 1024 });
});
afterAll(() => gateway.admin.stop());

test.each([
  ['no JSON', (json: string) => `${json}}`, { code: 'invalid-body', detail: 'the body is not valid JSON' }],
  [
    'a poisoned name deep inside',
    (json: string) => json.replace('"from":', '"__proto__": {"x": 1}, "from":'),
    { code: 'invalid-body', detail: 'the body is not valid JSON' },
  ],
  [
    'a byte order mark before a value',
    (json: string) => json.replace('"from":', '"from":\ufeff'),
    { code: 'invalid-body', detail: 'the body is not valid JSON' },
  ],
  [
    'a byte order mark before a rule',
    (json: string) => json.replace('"rule-3":', '"rule-3": \ufeff'),
    { code: 'invalid-body', detail: 'the body is not valid JSON' },
  ],
  [
    'an unknown field beside',
    (json: string) => json.replace('{', '{"other": [1, 2], '),
    { code: 'invalid-request', pointer: '/other' },
  ],
  [
    'a rule’s name that is none',
    (json: string) => json.replace('"rule-3"', '"no name"'),
    { code: 'invalid-request', pointer: '/mappings/no name' },
  ],
])('a large body with %s is refused as a small one is', async (_, change, problem) => {
  for (const count of [5, 2_000]) {
    const body = change(told({ mappings: large(count) }));
    expect(body.length > SLICED_FROM_BYTES).toBe(count > 5);
    const response = await fetch(`${gateway.url}/v1/mappings:apply?dryRun=true`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    expect([response.status, await response.json()]).toMatchObject([400, problem]);
  }
});
