/** What full rules refuse, each with its pointer: expressions that could take long, keys that lead nowhere, bad fields. */

import { describe, expect, test } from 'vitest';
import { compileRule } from '../../../mappings/rules.ts';
import { CoreError, isRouting, type RoutingRule } from '../../../src/core/index.ts';
import { cpuMs } from '../../support/cpu-time.ts';

function compile(definition: unknown): RoutingRule {
  const rule = compileRule(definition);
  if (!isRouting(rule)) throw new Error('this is the short form');
  return rule;
}

describe('expressions of captures', () => {
  const takes = (regex: string, level: string): boolean => {
    const rule = compile({ from: { match: `a/{x:${regex}}/b` }, to: [{ endpoint: 'queue:q' }] });
    const address = `a/${level}/b`;
    return rule.pattern.matches(address) && rule.accepts?.(address) !== false;
  };
  test.each<[string, string, boolean]>([
    ['[0-9]+', '4711', true],
    ['[0-9]+', '47x', false],
    ['[a-z]{2,3}', 'abc', true],
    ['[a-z]{2,3}', 'abcd', false],
    ['(eu|us)-[0-9]{2}', 'eu-07', true],
    ['(eu|us)-[0-9]{2}', 'as-07', false],
    ['\\d+\\.\\d+', '1.25', true],
    ['a|b', 'b', true],
    ['a|b', 'bb', false],
  ])('%s on %s: %s', (regex, level, expected) => {
    expect(takes(regex, level)).toBe(expected);
  });

  test('that are taken never take long, and none that could is taken', () => {
    const start = cpuMs();
    for (const regex of ['[a-z]+[a-z]+', 'a?a?a?a?a?a?[ab]+', '(a|a)(a|a)[a]+[a]*', '[a]{1,255}[a]+']) {
      try {
        takes(regex, `${'a'.repeat(254)}!`);
      } catch (error) {
        expect(error).toMatchObject({ field: '/from/match' });
      }
    }
    expect(takes('[a-z]+', 'a'.repeat(60_000))).toBe(false);
    expect(cpuMs() - start).toBeLessThan(500);
  });

  test.each([
    '(a+)+',
    '(a|b)*',
    'a+b+c+',
    '(?=a)b',
    '(?<n>a)',
    '(a)\\1',
    '\\bx',
    'a+?',
    '^a$',
    '[a',
    '(a',
    'a)',
    '*a',
    '',
    'a{1',
    '\\p{L}',
    'x'.repeat(129),
    'a/b',
    'a{300}{2}',
  ])('%s is refused', (regex) => {
    expect(() => takes(regex, 'a')).toThrow(CoreError);
    try {
      takes(regex, 'a');
    } catch (error) {
      expect(error).toMatchObject({ code: 'invalid-argument', field: '/from/match' });
    }
  });

  test('narrow an inverse as well', () => {
    const rule = compile({ from: { match: 'd/{x:[0-9]+}' }, to: [{ endpoint: 'stream:s', key: '{x}' }] });
    expect(rule.inverses[0]!.addressOf(Buffer.from('12'))).toBe('d/12');
    expect(rule.inverses[0]!.addressOf(Buffer.from('ab'))).toBeNull();
  });
});

test.each([
  ['{x|lower}', /`lower` in \{x\|lower\} cannot be undone/],
  ['{payload.id}', /\{payload.id\} is not a part of the address/],
  ['{x}', /does not hold \{y\}/],
  [null, /key is null/],
])('a stream whose key is %s goes one way and says why', (key, reason) => {
  const rule = compile({ from: { match: 'd/{x}/{y}' }, to: [{ endpoint: 'stream:s', key }] });
  expect(rule.oneWayReason).toMatch(reason);
  expect(rule.inverses[0]!.addressOf(Buffer.from('d/a/b'))).toBeNull();
});

test('a topic that tells every capture has an inverse, which leads back', () => {
  const rule = compile({
    from: { match: 'a/dev-{x}/{{k}}/{rest...}' },
    to: [{ endpoint: 'core', topic: 'b/{rest}/v{x}' }],
  });
  expect(rule.inverse).toEqual({
    from: { match: 'b/{rest...}/v{x}' },
    to: [{ endpoint: 'core', topic: 'a/dev-{x}/{{k}}/{rest}' }],
    loop: { circles: 'allow' },
  });
  expect(compile(rule.inverse).inverse?.from).toEqual({ match: 'a/dev-{x}/{{k}}/{rest...}' });
});

test.each([
  ['b/{x}', /does not hold \{y\}/],
  ['b/{x|upper}/{y}', /`upper` in \{x\|upper\} cannot be undone/],
  ['b/{x}-{y}', /cannot be read back: one capture in a level/],
])('a topic %s has none, and it is said why', (topic, reason) => {
  const rule = compile({ from: { match: 'a/{x}/{y}' }, to: [{ endpoint: 'core', topic }] });
  expect(rule.inverse).toBeUndefined();
  expect(rule.oneWayReason).toMatch(reason);
});

describe('what is refused', () => {
  const from = { match: 'a/{x}' };
  const to = [{ endpoint: 'queue:q' }];
  const target = (fields: object) => ({ from, to: [{ endpoint: 'core', topic: 't/{x}', ...fields }] });
  const stream = (fields: object) => ({ from, to: [{ endpoint: 'stream:s', ...fields }] });
  test.each<[unknown, string, RegExp]>([
    [{ from }, '/to', /1 to 16 targets/],
    [{ to }, '/from', /object/],
    [{ from, to: [] }, '/to', /1 to 16/],
    [{ from, to, id: 'x' }, '/id', /unknown field; there are from, to/],
    [{ from: { match: 7 }, to }, '/from/match', /text/],
    [{ from: { match: 'a/+' }, to }, '/from/match', /\{name\}/],
    [{ from: { ...from, when: 1 }, to }, '/from/when', /unknown field/],
    [{ from: { ...from, where: { 'q/s': 1 } }, to }, '/from/where/q~1s', /unknown condition/],
    [{ from: { ...from, where: { qos: 'many' } }, to }, '/from/where/qos', /comparison/],
    [{ from: { ...from, where: { retain: 'no' } }, to }, '/from/where/retain', /true or false/],
    [{ from: { ...from, where: { header: { h: {} } } }, to }, '/from/where/header/h', /exists/],
    [{ from: { ...from, where: { payload: { 'a[': 1 } } }, to }, '/from/where/payload/a[', /path/],
    [{ from, to, order: 1.5 }, '/order', /whole number/],
    [{ from, to, continue: 'yes' }, '/continue', /false or true/],
    [{ from, to, loop: { maxHops: 99 } }, '/loop/maxHops', /0 to 16/],
    [{ from, to, onError: 'retry' }, '/onError', /"dlq"/],
    [target({ endpoint: 'bridge:A b' }), '/to/0/endpoint', /no name of a bridge/],
    [target({ endpoint: 'kafka' }), '/to/0/endpoint', /must be "core"/],
    [target({ endpoint: 'queue:amq.x', topic: 't' }), '/to/0/endpoint', /belong to the gateway/],
    [target({ endpoint: 'queue:$queue', topic: 't' }), '/to/0/endpoint', /belong to the gateway/],
    [target({ endpoint: `queue:${'é'.repeat(128)}`, topic: 't' }), '/to/0/endpoint', /1 to 255 bytes/],
    [stream({ endpoint: 'stream:__x' }), '/to/0/endpoint', /__/],
    [stream({ endpoint: 'stream:{x}' }), '/to/0/endpoint', /no captures/],
    [stream({ endpoint: `stream:${'a'.repeat(250)}` }), '/to/0/endpoint', /1 to 249/],
    [stream({ topic: 't' }), '/to/0/topic', /belongs into key/],
    [target({ topic: undefined }), '/to/0/topic', /is missing/],
    [target({ topic: '$SYS/{x}' }), '/to/0/topic', /belong to the gateway/],
    [target({ topic: 'a/+/{x}' }), '/to/0/topic', /wildcards/],
    [target({ topic: 't/{y}' }), '/to/0/topic', /match captures \{x\}/],
    [target({ topic: 't/{x' }), '/to/0/topic', /without its }/],
    [target({ topic: 't/{x|shout}' }), '/to/0/topic', /no function; there are default/],
    [target({ topic: 't/{x|pad}' }), '/to/0/topic', /1 to 2 arguments, not 0/],
    [target({ topic: 't/{x|hash(0)}' }), '/to/0/topic', /from 1 to 64/],
    [target({ topic: 't/{payload.[}' }), '/to/0/topic', /no path/],
    [target({ topic: 't/{header.h}' }), '/to/0/maxTopics', /is missing/],
    [target({ maxTopics: 0 }), '/to/0/maxTopics', /1 to 100000/],
    [target({ overflowTopic: 'o' }), '/to/0/overflowTopic', /without maxTopics/],
    [target({ maxTopics: 5, overflowTopic: 'o/{now}' }), '/to/0/overflowTopic', /one address/],
    [target({ partitions: 5 }), '/to/0/partitions', /stream only/],
    [stream({ partitions: 0 }), '/to/0/partitions', /1 to 1024/],
    [stream({ partitionBy: 'roundRobin' }), '/to/0/partitionBy', /uuid/],
    [stream({ key: '' }), '/to/0/key', /empty/],
    [target({ set: { qos: 3 } }), '/to/0/set/qos', /0 to 2/],
    [target({ set: { ttl: 'soon' } }), '/to/0/set/ttl', /30s/],
    [target({ set: { color: 1 } }), '/to/0/set/color', /unknown field/],
    [
      target({ headers: { set: { 'X-GW-key': '1' } } }),
      '/to/0/headers/set/X-GW-key',
      /belong to the gateway/,
    ],
    [target({ headers: { rename: { a: 'x-gw-b' } } }), '/to/0/headers/rename/a', /belong to the gateway/],
    [target({ headers: { drop: [7] } }), '/to/0/headers/drop', /names?/],
    [target({ transform: 'magic' }), '/to/0/transform', /no transform; there are none/],
    [target({ transform: ['base64', 'select("$.[")'] }), '/to/0/transform/1', /no path/],
    [target({ endpoint: 'queue:q', topic: undefined, maxTopics: 1 }), '/to/0/maxTopics', /without topic/],
    [target({ transform: ['base64', 'template("{nowhere}")'] }), '/to/0/transform/1', /no variable/],
    [target({ transform: 'template({x})' }), '/to/0/transform', /no transform; there are none/],
    [target({ onError: 'dlq:amq.x' }), '/to/0/onError', /belong to the gateway/],
  ])('%j at %s', (definition, field, reason) => {
    let error: unknown;
    try {
      compileRule(JSON.parse(JSON.stringify(definition)));
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(CoreError);
    expect(error).toMatchObject({ code: 'invalid-argument', field });
    expect((error as CoreError).message).toMatch(reason);
  });
});
