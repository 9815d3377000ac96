/** Rules of the Strimzi MQTT bridge as mappings: what they matched goes into the same topic with the same key. */

import { describe, expect, it } from 'vitest';
import { compileRule } from '../../../mappings/rules.ts';
import { mappingsFromStrimzi } from '../../../mappings/strimzi.ts';
import type { MappingRule } from '../../../src/core/index.ts';

const one = (rule: object) => mappingsFromStrimzi([rule]);
const textOf = (key: Uint8Array | null): string | null => (key === null ? null : Buffer.from(key).toString());

describe('a rule', () => {
  it.each([
    ['building/{building}/room/{room}/#', '{building}_{room}', 'building/A/room/1/floor/2', 'A_1'],
    ['sensors/+/data', null, 'sensors/temperature/data', null],
    ['sensors/+/+', 'constant', 'sensors/a/b', 'constant'],
    ['plant/line-{line}', '{line}', 'plant/line-7', '7'],
    ['{level}/+/{rest}/#', '{rest}:{level}', 'a/b/c/d', 'c:a'],
  ])('%s with key %s', (mqttTopic, kafkaKey, topic, key) => {
    const rule = { mqttTopic, kafkaTopic: 'readings', ...(kafkaKey === null ? {} : { kafkaKey }) };
    const { mappings, skipped, warnings } = one(rule);
    expect({ skipped, warnings }).toEqual({ skipped: [], warnings: [] });
    const compiled = compileRule(mappings['strimzi-0']) as MappingRule;
    expect(compiled.stream).toBe('readings');
    expect(compiled.pattern.matches(topic)).toBe(true);
    expect(textOf(compiled.keyOf(topic))).toBe(key);
  });

  it.each([
    [{ mqttTopic: 'a/{x}', kafkaTopic: 'a_{x}' }, /another topic for each message/],
    [{ mqttTopic: 'a/(\\w+)/.*', kafkaTopic: 'a' }, /regular expressions/],
    [{ mqttTopic: 'a/{x}/{x}', kafkaTopic: 'a' }, /twice/],
    [{ mqttTopic: 'a//b', kafkaTopic: 'a' }, /empty level/],
    [{ mqttTopic: 'a/#/b', kafkaTopic: 'a' }, /only at the end/],
    [{ mqttTopic: 'a/{x}{y}', kafkaTopic: 'a' }, /two placeholders/],
    [{ mqttTopic: 'a/{x', kafkaTopic: 'a' }, /cannot be read/],
    [{ mqttTopic: 'a/{address}', kafkaTopic: 'a' }, /whole address/],
    [{ mqttTopic: 'a/{x}', kafkaTopic: 'a/b' }, /no name of a topic/],
    [{ mqttTopic: 'a/{x}', kafkaTopic: 'a', kafkaKey: '{y}' }, /\{y\} of the key/],
    [{ mqttTopic: 'a/{x}', kafkaTopic: 'a', kafkaKey: '{x' }, /braces/],
  ])('that is %j is told', (rule, reason) => {
    const { mappings, skipped } = one(rule);
    expect(mappings).toEqual({});
    expect(skipped).toEqual([{ index: 0, mqttTopic: rule.mqttTopic, reason: expect.stringMatching(reason) }]);
  });
});

it('a later rule that an earlier one kept from some topics is told', () => {
  const { mappings, warnings } = mappingsFromStrimzi([
    { mqttTopic: 'sensors/+/data', kafkaTopic: 'sensor_data' },
    { mqttTopic: 'sensors/#', kafkaTopic: 'sensor_others' },
    { mqttTopic: 'sensors/a', kafkaTopic: 'short' },
    { mqttTopic: 'building/{b}', kafkaTopic: 'buildings' },
  ]);
  expect(Object.keys(mappings)).toHaveLength(4);
  expect(warnings.map(({ index, reason }) => [index, /rule ([\d, ]+) /.exec(reason)![1]])).toEqual([
    [1, '0'],
    [2, '1'],
  ]);
});

it.each([
  [{}, undefined],
  [[{ kafkaTopic: 'a' }], '/0/mqttTopic'],
  [[{ mqttTopic: 'a' }], '/0/kafkaTopic'],
  [[{ mqttTopic: 'a', kafkaTopic: 'a', kafkaKey: 1 }], '/0/kafkaKey'],
  [[null], '/0/mqttTopic'],
])('%j is refused as a whole', (json, field) => {
  expect(() => mappingsFromStrimzi(json)).toThrow(
    expect.objectContaining({ code: 'invalid-argument', field }),
  );
});

it('a warning names ten earlier rules at most, so that thousands that overlap are told in little room', () => {
  const rules = Array.from({ length: 4_000 }, (_, i) => ({ mqttTopic: `+/x{a}/${i}/#`, kafkaTopic: 't' }));
  const overlapping = rules.map((rule) => ({ ...rule, mqttTopic: rule.mqttTopic.replace(/\d+/, '{b}') }));
  const { warnings } = mappingsFromStrimzi(overlapping);
  expect(warnings).toHaveLength(3_999);
  expect(warnings[9]?.reason).toContain('rule 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 matches too');
  expect(warnings.at(-1)?.reason).toContain('rule 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and others matches too');
  expect(mappingsFromStrimzi(rules.slice(0, 300)).warnings).toEqual([]);
  expect(() => mappingsFromStrimzi([...rules, rules[0]])).toThrow('has more than 4000 rules');
});
