/** Full rules as pure functions: templates, conditions and transforms, and how they fail. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileRule } from '../../../mappings/rules.ts';
import { matchesGlob } from '../../../mappings/rules-where.ts';
import {
  type Header,
  isRouting,
  Message,
  type MessageFields,
  type Properties,
  type RoutingRule,
  RuleError,
  type RuleInput,
  type RuleOutput,
} from '../../../src/core/index.ts';
import { cpuMs } from '../../support/cpu-time.ts';

const NOW = 1_700_000_000_000;

function compile(definition: unknown): RoutingRule {
  const rule = compileRule(definition);
  if (!isRouting(rule)) throw new Error('this is the short form');
  return rule;
}

function inputOf(address: string, body: string | Uint8Array, fields: Partial<MessageFields> = {}): RuleInput {
  const message = new Message({ address, body: Buffer.from(body), ...fields });
  const principal = { user: 'dev-ann', groups: [], clientId: 'c1' };
  return { message, nowMs: NOW, principal, newId: () => 'an-id', memo: null };
}

const make = (target: object, input: RuleInput, match = 'a/{x}/{rest...}'): RuleOutput =>
  compile({ from: { match }, to: [target] }).targets[0]!.make(input);
const bodyOf = ({ message }: RuleOutput): string => Buffer.from(message.body).toString();
const text = (name: string, value: string): Header => ({ name, value: { kind: 'string', value } });
const failureOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return error instanceof RuleError ? error.failure : `untyped: ${error}`;
  }
  return 'none';
};

describe('templates', () => {
  const input = inputOf(
    'a/Nord/l1/l2',
    '{"v": 412, "s": {"on": true, "tags": ["p", "q"]}, "t": "2026-01-31T12:00:00Z"}',
    {
      key: Buffer.from([0xff, 0]),
      reliability: 1,
      properties: {
        headers: [text('h', 'Wert')],
        contentType: 'text/x',
        correlation: { kind: 'string', value: 'c' },
      },
    },
  );
  test.each([
    ['{x|lower}', 'nord'],
    ['{x|upper}-{rest}', 'NORD-l1/l2'],
    ['{address[0]}.{address[-1]}', 'a.l2'],
    ['{rest|replace("/", ".")}', 'l1.l2'],
    ['{rest|before("/")}{rest|after("/")}', 'l1l2'],
    ['{rest|split("/", -1)}', 'l2'],
    ['{rest|split("/")|join("+")}', 'l1+l2'],
    ['{x|slice(1, 3)|pad(4, "_")}', '__or'],
    ['{address|kafka}', 'a.Nord.l1.l2'],
    ['{address|amqp}', 'a.Nord.l1.l2'],
    ['{address|url}', 'a%2FNord%2Fl1%2Fl2'],
    ['{x|base64} {x|hex}', 'Tm9yZA== 4e6f7264'],
    ['{x|hash(8)}', '5fcdfc31'.length === 8 ? /^[0-9a-f]{8}$/ : ''],
    ['{payload.v|mod(10)}', '2'],
    ['{payload.t|millis}', '1769860800000'],
    ['{now|date}', '2023-11-14T22:13:20.000Z'],
    ['{payload.s|json}', '{"on":true,"tags":["p","q"]}'],
    ['{payload.s.tags[1]}', 'q'],
    ['{x|map("Nord", "n", "Sued", "s", "?")}', 'n'],
    ['{header.h|map("a", "b", "?")}', '?'],
    ['{header.none|default("d")}', 'd'],
    ['{client.id} {client.user}', 'c1 dev-ann'],
    ['{prop.contentType} {prop.qos} {prop.correlation}', 'text/x 1 c'],
    ['{uuid}', 'an-id'],
    ['{{{x}}}', '{Nord}'],
    ['{x|default("}|{")}', 'Nord'],
  ])('%s', (template, expected) => {
    const { message } = make({ endpoint: 'core', topic: `t/${template}`, maxTopics: 9 }, input);
    expect(message.address.slice(2)).toEqual(
      typeof expected === 'string' ? expected : expect.stringMatching(expected),
    );
  });

  test('a key that is one variable keeps its bytes', () => {
    expect(make({ endpoint: 'stream:s', key: '{key}' }, input).key).toEqual(Buffer.from([0xff, 0]));
    expect(Buffer.from(make({ endpoint: 'stream:s' }, input).key!).toString()).toBe('a/Nord/l1/l2');
    expect(make({ endpoint: 'stream:s', key: null }, input).key).toEqual(Buffer.from([0xff, 0]));
  });

  test.each([
    ['client', 'c1'],
    ['level:1', 'Nord'],
    ['header:h', 'Wert'],
    ['explicit:3', 3],
    ['{rest}', 'l1/l2'],
    ['var:{x}', 'Nord'],
  ])('partitionBy %s', (partitionBy, expected) => {
    expect(make({ endpoint: 'stream:s', partitionBy }, input).partitionBy).toBe(expected);
  });

  test.each([
    ['{payload.none}', '{}', 'missing'],
    ['{header.none|required}', '{}', 'missing'],
    ['{payload.a}', 'no json', 'payload'],
    ['{payload.t|millis}', '{"t": "never"}', 'payload'],
    ['{payload.a}', '{"a": "x\\u0000y"}', 'address'],
    ['{payload.a}', `{"a": "${'x'.repeat(70_000)}"}`, 'address'],
    ['{payload.a}', ' '.repeat(1_048_577), 'payload'],
    ['{payload.a|url}', `{"a": "${'/'.repeat(500_000)}"}`, 'too-large'],
    ['{payload.constructor}', '{}', 'missing'],
    ['{payload.__proto__.x}', '{}', 'missing'],
  ])('%s of a body that does not have it', (template, body, failure) => {
    const run = () =>
      make({ endpoint: 'core', topic: `t/${template}`, maxTopics: 9 }, inputOf('a/b/c', body));
    expect(failureOf(run)).toBe(failure);
  });
});

describe('headers and overrides', () => {
  const properties: Properties = {
    contentType: 'a/b',
    headers: [text('keep', '1'), text('internal-x', '2'), text('old', '3'), text('x-gw-origin', 'r')],
  };
  const input = inputOf('a/b/c', '{"n": 7, "f": 1.5, "b": true}', {
    properties,
    reliability: 2,
    priority: 1,
  });

  test('are copied, dropped, renamed and set, with kinds kept', () => {
    const headers = {
      drop: ['internal-*'],
      rename: { old: 'new' },
      set: { n: '{payload.n}', f: '{payload.f}', b: '{payload.b}', t: 'is {payload.n}', keep: 'mine' },
    };
    expect(make({ endpoint: 'queue:q', headers }, input).message.properties.headers).toEqual([
      text('new', '3'),
      text('x-gw-origin', 'r'),
      { name: 'n', value: { kind: 'i64', value: 7n } },
      { name: 'f', value: { kind: 'f64', value: 1.5 } },
      { name: 'b', value: { kind: 'bool', value: true } },
      text('t', 'is 7'),
      text('keep', 'mine'),
    ]);
  });

  test('what is set goes before what the publisher said', () => {
    const set = {
      qos: 0,
      retain: true,
      priority: 9,
      ttl: '5m',
      contentType: 'x/{x}',
      timestamp: '{payload.n}',
    };
    const { message } = make({ endpoint: 'queue:q', set }, input);
    expect(message).toMatchObject({ reliability: 0, retain: true, priority: 9, expiresAtMs: NOW + 300_000 });
    expect(message.properties).toMatchObject({ contentType: 'x/b', timestampMs: 7 });
    expect(
      make({ endpoint: 'queue:q', set: { ttl: null } }, inputOf('a/b/c', '', { expiresAtMs: 5 })).message
        .expiresAtMs,
    ).toBe(0);
  });

  test('a target that changes nothing hands on the very message', () => {
    expect(make({ endpoint: 'queue:q' }, input).message).toBe(input.message);
  });
});

describe('conditions', () => {
  const input = inputOf('a/b/c', '{"state": {"on": true}, "n": 5, "tags": ["x"], "z": null}', {
    reliability: 1,
    properties: {
      contentType: 'application/json',
      headers: [text('env', 'prod'), { name: 'n', value: { kind: 'i64', value: 4n } }],
    },
  });
  const takes = (where: object, of = input): boolean =>
    compile({ from: { match: 'a/{x...}', where }, to: [{ endpoint: 'queue:q' }] }).refusal(of) === null;
  test.each<[object, boolean]>([
    [{}, true],
    [{ qos: 1 }, true],
    [{ qos: '>=2' }, false],
    [{ qos: '!=1' }, false],
    [{ size: '<1KiB' }, true],
    [{ size: '>1MiB' }, false],
    [{ retain: false }, true],
    [{ contentType: 'application/*' }, true],
    [{ contentType: ['text/*', 'image/*'] }, false],
    [{ principal: 'dev-*' }, true],
    [{ principal: 'ops-*' }, false],
    [{ client: ['c1', 'c2'] }, true],
    [{ header: { env: 'prod', n: '>3' } }, true],
    [{ header: { env: 'prod', n: '>4' } }, false],
    [{ header: { other: { exists: false } } }, true],
    [{ header: { env: { exists: false } } }, false],
    [{ payload: { 'state.on': true, n: ['4', 5] } }, true],
    [{ payload: { 'tags[0]': 'x*' } }, true],
    [{ payload: { z: null } }, true],
    [{ payload: { y: null } }, false],
    [{ payload: { n: '5' } }, false],
  ])('%j: %s', (where, expected) => {
    expect(takes(where)).toBe(expected);
  });

  test('about the body are false where it is none, and the body is read once', () => {
    expect(takes({ payload: { a: { exists: true } } }, inputOf('a/b', 'no json'))).toBe(false);
    const parse = JSON.parse;
    let parsed = 0;
    JSON.parse = ((...args: Parameters<typeof parse>) => {
      parsed++;
      return parse(...args);
    }) as typeof parse;
    try {
      const fresh = inputOf('a/b', '{"n": 1, "m": 2}');
      expect(takes({ qos: 1, payload: { n: 1 } }, fresh)).toBe(false);
      expect(parsed).toBe(0);
      expect(takes({ payload: { n: 1, m: 2 } }, fresh)).toBe(true);
      expect(parsed).toBe(1);
    } finally {
      JSON.parse = parse;
    }
  });

  test('a * stands for any text, as a regular expression would say', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[ab*]{0,8}$/), fc.stringMatching(/^[ab]{0,12}$/), (glob, value) => {
        expect(matchesGlob(glob, value)).toBe(new RegExp(`^${glob.replaceAll('*', '.*')}$`).test(value));
      }),
    );
    const start = cpuMs();
    expect(matchesGlob(`${'*a'.repeat(500)}b`, 'a'.repeat(10_000))).toBe(false);
    expect(cpuMs() - start).toBeLessThan(1_000);
  });
});

describe('transforms', () => {
  const through = (
    transform: unknown,
    body: string | Uint8Array,
    fields: Partial<MessageFields> = {},
    endpoint = 'queue:q',
  ) =>
    make(
      { endpoint, transform, ...(endpoint === 'core' ? { topic: 't' } : {}) },
      inputOf('a/b/c', body, fields),
    );

  test('base64 and back', () => {
    expect(bodyOf(through('base64', 'hello'))).toBe('aGVsbG8=');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        const { message } = through(['base64', 'base64-decode'], bytes);
        expect(Buffer.from(message.body)).toEqual(Buffer.from(bytes));
        expect(message.properties.contentEncoding).toBeUndefined();
      }),
    );
  });

  test('an envelope holds everything, and gives it back', () => {
    const properties: Properties = {
      contentType: 'a/b',
      correlation: { kind: 'bytes', value: new Uint8Array([0, 255]) },
      headers: [text('h', '1'), text('h', '2'), { name: 'n', value: { kind: 'i64', value: 1n << 60n } }],
    };
    const fields = {
      properties,
      reliability: 1 as const,
      retain: true,
      priority: 3,
      expiresAtMs: NOW + 5,
      key: Buffer.from('k'),
    };
    const packed = through('envelope-json', new Uint8Array([1, 255]), fields);
    expect(packed.message.properties.contentType).toBe('application/json');
    expect(JSON.parse(bodyOf(packed))).toMatchObject({ address: 'a/b/c', bodyBase64: 'Af8=', key: 'k' });
    const { message } = through(['envelope-json', 'unwrap'], new Uint8Array([1, 255]), fields);
    expect(message).toMatchObject({ reliability: 1, retain: true, priority: 3, expiresAtMs: NOW + 5 });
    expect(message.properties).toEqual(properties);
    expect([Buffer.from(message.body), Buffer.from(message.key!)]).toEqual([
      Buffer.from([1, 255]),
      Buffer.from('k'),
    ]);
  });

  test('a template is the body, of the message as it came and whatever was done to it before', () => {
    const made = through(['base64', `template('{x}: {payload} "{prop.contentType}"')`], 'hello', {
      properties: { contentType: 'text/html', contentEncoding: 'none', textBody: true, headers: [] },
    });
    expect(bodyOf(made)).toBe('b: hello "text/html"');
    expect(made.message.properties).toEqual({ contentType: 'text/plain', headers: [] });
    expect(bodyOf(through('template("")', 'x'))).toBe('');
    const lines = through('template("{payload.a|json},\n{{{payload.b}}}")', JSON.stringify({ a: '"', b: 7 }));
    expect(bodyOf(lines)).toBe('"\\"",\n{7}');
  });

  test('events: a message becomes one, and one in headers the same as one object', () => {
    const structured = through('cloudevents(structured)', '{"a": 1}', {
      properties: { contentType: 'application/json', type: 'order', headers: [text('other', 'o')] },
    });
    expect(JSON.parse(bodyOf(structured))).toEqual({
      specversion: '1.0',
      id: 'an-id',
      source: '/a/b/c',
      type: 'order',
      datacontenttype: 'application/json',
      data: { a: 1 },
    });
    expect(structured.message.properties).toMatchObject({
      contentType: 'application/cloudevents+json',
      headers: [text('other', 'o')],
    });
    for (const [endpoint, prefix] of [
      ['stream:s', 'ce_'],
      ['queue:q', 'cloudEvents:'],
      ['core', ''],
    ] as const) {
      const { message } = through('cloudevents(binary)', bodyOf(structured), {}, endpoint);
      expect(Buffer.from(message.body).toString()).toBe('{"a":1}');
      expect(message.properties.headers).toEqual([
        text(`${prefix}specversion`, '1.0'),
        text(`${prefix}id`, 'an-id'),
        text(`${prefix}source`, '/a/b/c'),
        text(`${prefix}type`, 'order'),
      ]);
      const again = through('cloudevents(structured)', '{"a":1}', { properties: message.properties });
      expect(JSON.parse(bodyOf(again))).toEqual(JSON.parse(bodyOf(structured)));
    }
  });

  test.each([
    ['base64-decode', 'no base64!', 'payload'],
    ['unwrap', '[]', 'payload'],
    ['unwrap', '{"reliability": 7, "headers": 3}', 'payload'],
    // A row of a queue has two bits for the reliability and one byte for the priority.
    ['unwrap', '{"body": "x", "reliability": 16}', 'payload'],
    ['unwrap', '{"body": "x", "reliability": 129}', 'payload'],
    ['unwrap', '{"body": "x", "reliability": "1"}', 'payload'],
    ['unwrap', '{"body": "x", "retain": "x"}', 'payload'],
    ['unwrap', '{"body": "x", "priority": "abc"}', 'payload'],
    ['unwrap', '{"body": "x", "priority": 256}', 'payload'],
    ['unwrap', '{"body": "x", "priority": 0.5}', 'payload'],
    ['unwrap', '{"body": "x", "expiryMs": "x"}', 'payload'],
    ['unwrap', '{"body": "x", "expiresAtMs": "x"}', 'payload'],
    ['unwrap', '{"body": "x", "timestampMs": 1e400}', 'payload'],
    ['unwrap', '{"body": "x", "keyBase64": "?"}', 'payload'],
    ['unwrap', '{"bodyBase64": {"length": 3}}', 'payload'],
    ['unwrap', '{"body": {"length": 3}}', 'payload'],
    ['unwrap', '{"body": [1, 2]}', 'payload'],
    ['unwrap', '{"key": {"length": 3}}', 'payload'],
    ['unwrap', '{"properties": "x"}', 'payload'],
    ['unwrap', '{"headers": [{"name": {"length": 3}, "value": 1}]}', 'payload'],
    ['select("$.a")', '{"b": 1}', 'missing'],
    ['select("$.a")', '{', 'payload'],
    ['template("{payload.b}")', '{"a": 1}', 'missing'],
    ['template("{payload.b}")', 'x', 'payload'],
    ['cloudevents(binary)', '{"id": "1"}', 'payload'],
    ['cloudevents(binary)', 'null', 'payload'],
    ['cloudevents(binary)', '{"specversion":"1.0","id":"1","source":"s","type":"t","Not":"x"}', 'payload'],
  ])('%s of %s fails by its reason', (transform, body, failure) => {
    expect(failureOf(() => through(transform, body))).toBe(failure);
  });

  test('whatever a body holds, a transform makes a message or a RuleError', () => {
    const bodies = fc.oneof(
      fc.json(),
      fc.string(),
      fc.json().map((json) => `{"headers": ${json}, "body": ${json}, "id": ${json}}`),
    );
    const transforms = fc.constantFrom(
      'base64-decode',
      'unwrap',
      'select("$.body")',
      'cloudevents(binary)',
      'cloudevents(structured)',
      'envelope-json',
      'template("{payload.body|default(7)|upper} {payload.id|json}")',
    );
    fc.assert(
      fc.property(fc.array(transforms, { minLength: 1, maxLength: 3 }), bodies, (steps, body) => {
        expect(failureOf(() => through(steps, body))).not.toMatch(/untyped/);
      }),
      { numRuns: 500 },
    );
  });
});

test('what templates make of a large body is bounded', () => {
  const input = inputOf('a/b', 'x'.repeat(600 * 1024));
  const many = '{payload}'.repeat(455);
  const set = (value: string, count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`h${index}`, value]));
  for (const target of [
    { endpoint: 'stream:s', key: many },
    { endpoint: 'core', topic: 'o/{x}', key: '{payload}{payload}' },
    { endpoint: 'core', topic: many, maxTopics: 1 },
    { endpoint: 'core', topic: 'o/{x}', set: { contentType: many } },
    { endpoint: 'core', topic: 'o/{x}', headers: { set: set(many, 1) } },
    { endpoint: 'core', topic: 'o/{x}', headers: { set: set('{payload}', 2) } },
    { endpoint: 'core', topic: 'o/{x}', headers: { set: set('-{payload}', 2) } },
    { endpoint: 'queue:q', transform: `template("${many}")` },
  ]) {
    expect([target, failureOf(() => make(target, input, 'a/{x}'))]).toEqual([target, 'too-large']);
  }
  expect(failureOf(() => make({ endpoint: 'stream:s', key: '{payload}' }, input, 'a/{x}'))).toBe('none');
});

test('a history of deaths that a client claims in its own encoding does not become one that is believed', () => {
  const headers = [text('x-first-death-queue', 'payments'), text('h', '1')];
  const codec = { name: 'test', decode: () => ({ headers }) };
  const claimed = inputOf('a/b', 'x', { codec, native: new Uint8Array(1) });
  const written = inputOf('a/b', 'x', { properties: { headers } });
  for (const change of [{ headers: { copy: '*' } }, { set: { priority: 1 } }, { transform: 'base64' }]) {
    const namesOf = (input: RuleInput) =>
      make({ endpoint: 'queue:q', ...change }, input, 'a/{x}').message.properties.headers.map(
        ({ name }) => name,
      );
    expect([change, namesOf(claimed), namesOf(written)]).toEqual([
      change,
      ['h'],
      ['x-first-death-queue', 'h'],
    ]);
  }
});
