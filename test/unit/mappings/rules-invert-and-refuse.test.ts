/** Mapping rules: what they match, the keys they make, the way back, and what they refuse with which pointer. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileCapture as compileRule } from '../../../mappings/rules-capture.ts';
import { CoreError, type MappingRule } from '../../../src/core/index.ts';
import { cpuMs } from '../../support/cpu-time.ts';
import { text } from './arbitraries.ts';

const key = (rule: MappingRule, address: string): string | null => {
  const bytes = rule.keyOf(address);
  return bytes === null ? null : Buffer.from(bytes).toString();
};
const back = (rule: MappingRule, from: string | null): string | null =>
  rule.addressOf(from === null ? null : Buffer.from(from));
const takes = (rule: MappingRule, address: string): boolean =>
  rule.pattern.matches(address) && rule.accepts?.(address) !== false;

test('the short form maps a device to its key and back', () => {
  const rule = compileRule({
    match: 'devices/{device}/telemetry',
    stream: 'telemetry',
    key: '{device}',
    partitions: 6,
  });
  expect(rule.pattern.toString()).toBe('devices/+/telemetry');
  expect(rule).toMatchObject({ stream: 'telemetry', partitions: 6 });
  expect(rule.accepts).toBeUndefined();
  expect(key(rule, 'devices/d7/telemetry')).toBe('d7');
  expect(back(rule, 'd7')).toBe('devices/d7/telemetry');
  expect(back(rule, 'd/7')).toBeNull();
  expect(back(rule, null)).toBeNull();
  expect(rule.addressOf(new Uint8Array([0xff]))).toBeNull();
  expect(rule.addressOf(new Uint8Array([0x61, 0]))).toBeNull();
});

test('the key is the whole address where none is given', () => {
  const rule = compileRule({ match: 'plant/{rest...}', stream: 'plant' });
  expect(rule.partitions).toBe(1);
  expect(key(rule, 'plant/a/b')).toBe('plant/a/b');
  expect(back(rule, 'plant/a/b')).toBe('plant/a/b');
  expect(back(rule, 'other/a')).toBeNull();
  expect(back(rule, 'plant')).toBeNull();
});

test('text around a capture narrows what the pattern alone would take', () => {
  const rule = compileRule({ match: 'x/dev-{id}.json', stream: 's', key: 'k:{id}!' });
  expect(takes(rule, 'x/dev-7.json')).toBe(true);
  expect(takes(rule, 'x/dev-.json')).toBe(true);
  expect(takes(rule, 'x/dev.json')).toBe(false);
  expect(takes(rule, 'x/other')).toBe(false);
  expect(key(rule, 'x/dev-7.json')).toBe('k:7!');
  expect(back(rule, 'k:7!')).toBe('x/dev-7.json');
  expect(back(rule, 'k:7')).toBeNull();
  expect(takes(compileRule({ match: 'a-{x}-a', stream: 's' }), 'a-a')).toBe(false);
});

test('one or more levels, in the middle and with captures after it', () => {
  const rule = compileRule({ match: 'a/{x}/{mid...}/z/{y}', stream: 's', key: '{y}/{mid}/{x}' });
  expect(rule.oneWayReason).toBeUndefined();
  expect(key(rule, 'a/1/p/q/z/2')).toBe('2/p/q/1');
  expect(back(rule, '2/p/q/1')).toBe('a/1/p/q/z/2');
  expect(takes(rule, 'a/1/z/2')).toBe(false);
  expect(takes(compileRule({ match: '{all...}', stream: 's' }), '$SYS/x')).toBe(false);
  expect(back(compileRule({ match: '{all...}', stream: 's' }), '$SYS/x')).toBeNull();
});

test('a rule without captures leads every record to its one address', () => {
  for (const template of [undefined, null, 'fixed']) {
    const rule = compileRule({
      match: 'a/b',
      stream: 's',
      ...(template === undefined ? {} : { key: template }),
    });
    expect(back(rule, 'anything')).toBe('a/b');
    expect(back(rule, null)).toBe('a/b');
  }
});

test('doubled braces are braces', () => {
  const rule = compileRule({ match: 'a{{b}}/{x}', stream: 's', key: '{{{x}}}' });
  expect(takes(rule, 'a{b}/1')).toBe(true);
  expect(key(rule, 'a{b}/1')).toBe('{1}');
  expect(back(rule, '{1}')).toBe('a{b}/1');
});

test.each([
  ['{a}/{b}', '{a}', /does not hold \{b\}/],
  ['{a}/{b}', '{a}{b}', /nothing separates \{a\} and \{b\}/],
  ['{a}/{b}', '{a}-{b}', /`-` may stand inside/],
  ['{a}/{b}', '{a}/{b}/{a}', /more than once/],
  ['{a}/{b}', '{address}/{a}', /\{address\} alone/],
  ['{a}/{b}', null, /key is null/],
])('%s with key %s goes one way and says why', (match, template, reason) => {
  const rule = compileRule({ match, stream: 's', key: template });
  expect(rule.oneWayReason).toMatch(reason);
  expect(back(rule, 'a/b')).toBeNull();
});

describe('what is refused', () => {
  const good = { match: 'a/{x}', stream: 's', key: '{x}', partitions: 1 };
  test.each<[unknown, string, RegExp]>([
    [null, '', /an object/],
    [[], '', /an object/],
    [{ ...good, 'par/titions': 3 }, '/par~1titions', /unknown field/],
    [{ ...good, match: 7 }, '/match', /must be text/],
    [{ ...good, match: '' }, '/match', /empty/],
    [{ ...good, match: '/a/{x}' }, '/match', /level is empty/],
    [{ ...good, match: 'a//{x}' }, '/match', /level is empty/],
    [{ ...good, match: 'a/{x}/' }, '/match', /level is empty/],
    [{ ...good, match: 'a/+' }, '/match', /\{name\}/],
    [{ ...good, match: 'a/#' }, '/match', /\{name\.\.\.\}/],
    [{ ...good, match: '$SYS/{x}' }, '/match', /belong to the gateway/],
    [{ ...good, match: '$a{x}' }, '/match', /belong to the gateway/],
    [{ ...good, match: 'a/{x}-{y}' }, '/match', /one capture in a level/],
    [{ ...good, match: 'a/{x}/{x}' }, '/match', /captured twice/],
    [{ ...good, match: 'a/{x...}/{y...}' }, '/match', /only one/],
    [{ ...good, match: 'a/b{x...}' }, '/match', /whole levels/],
    [{ ...good, match: 'a/{address}' }, '/match', /whole address/],
    [{ ...good, match: 'a/{}' }, '/match', /is no name/],
    [{ ...good, match: 'a/{x' }, '/match', /without its }/],
    [{ ...good, match: 'a/x}' }, '/match', /without its \{/],
    [{ ...good, match: 'a\0/{x}' }, '/match', /no address can/],
    [{ ...good, match: 'a/'.repeat(200).concat('{x}') }, '/match', /at most 128 levels/],
    [{ ...good, match: 'a'.repeat(5_000) }, '/match', /at most 4096/],
    [{ ...good, key: '{y}' }, '/key', /not captured by match, which has \{x\}/],
    [{ ...good, key: '{x...}' }, '/key', /write \{x\}/],
    [{ ...good, key: 7 }, '/key', /must be text/],
    [{ ...good, key: '' }, '/key', /empty/],
    [{ match: 'a/{x}' }, '/stream', /must be text/],
    [{ ...good, stream: 'a b' }, '/stream', /1 to 249/],
    [{ ...good, stream: 'a'.repeat(250) }, '/stream', /1 to 249/],
    [{ ...good, stream: '..' }, '/stream', /no names/],
    [{ ...good, stream: '__consumer_offsets' }, '/stream', /__/],
    [{ ...good, partitions: 0 }, '/partitions', /1 to 1024/],
    [{ ...good, partitions: 1.5 }, '/partitions', /1 to 1024/],
    [{ ...good, partitions: 1_025 }, '/partitions', /1 to 1024/],
    [{ ...good, partitions: '6' }, '/partitions', /1 to 1024/],
  ])('%j at %s', (definition, field, reason) => {
    let error: unknown;
    try {
      compileRule(definition);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(CoreError);
    expect(error).toMatchObject({ code: 'invalid-argument', field });
    expect((error as CoreError).message).toMatch(reason);
  });
});

// ------------------------------------------------------------------------------------------------ properties

const levelText = fc
  .oneof(text(), fc.constantFrom('', 'a', '-', '.', 'é', '%2F', '$x'))
  .map((each) => each.replaceAll('/', '').replaceAll('\0', ''));
const literalText = levelText
  .filter((each) => each !== '' && !each.startsWith('$') && !['+', '*', '#'].includes(each))
  .map((each) => each.replaceAll('{', '').replaceAll('}', '') || 'lit');
const affix = fc.constantFrom('', '', 'dev-', '-', 'v1.');

type Shape = { match: string; key: string; build: (texts: readonly string[]) => string; captures: number };

/** A rule with captures in random places, a key that separates them by slashes in a random order. */
const shape: fc.Arbitrary<Shape> = fc
  .tuple(
    fc.array(
      fc.oneof(
        literalText.map((literal) => ({ kind: 'literal' as const, literal })),
        fc.tuple(affix, affix).map(([prefix, suffix]) => ({ kind: 'one' as const, prefix, suffix })),
      ),
      { minLength: 1, maxLength: 5 },
    ),
    fc.option(fc.nat(5), { nil: null }),
    fc.constantFrom('/', '-/', '/k/', '/-/', './.'),
    fc.constantFrom('', 'k:', '/'),
    fc.constantFrom('', '!', '/end'),
    fc.infiniteStream(fc.nat(100)),
  )
  .map(([parts, manyAt, separator, before, after, order]) => {
    const levels: { kind: 'literal' | 'one' | 'many'; literal?: string; prefix?: string; suffix?: string }[] =
      [...parts];
    if (manyAt !== null) levels.splice(Math.min(manyAt, levels.length), 0, { kind: 'many' });
    let count = 0;
    const names: string[] = [];
    const match = levels.map((level) => {
      if (level.kind === 'literal') return level.literal;
      const name = `c${count++}`;
      names.push(name);
      return level.kind === 'many' ? `{${name}...}` : `${level.prefix}{${name}}${level.suffix}`;
    });
    const shuffled = names
      .map((name) => [order.next().value as number, name] as const)
      .sort((a, b) => a[0] - b[0])
      .map(([, name]) => `{${name}}`);
    return {
      match: match.join('/'),
      key: before + shuffled.join(separator) + after || 'fixed',
      captures: count,
      build: (texts) => {
        let next = 0;
        return levels
          .map((level) => {
            if (level.kind === 'literal') return level.literal;
            const each = texts[next++]!;
            return level.kind === 'many' ? each : `${level.prefix}${each.replaceAll('/', '')}${level.suffix}`;
          })
          .join('/');
      },
    };
  });

describe('generated rules and addresses', () => {
  const captured = fc.array(
    fc.oneof(
      levelText,
      fc.array(levelText, { minLength: 1, maxLength: 3 }).map((each) => each.join('/')),
    ),
    { minLength: 6, maxLength: 6 },
  );

  test('the key of an address leads back to that address', () => {
    let tried = 0;
    fc.assert(
      fc.property(shape, captured, (rule, texts) => {
        const compiled = compileRule({ match: rule.match, stream: 's', key: rule.key });
        expect(compiled.oneWayReason).toBeUndefined();
        const address = rule.build(texts);
        if (address.startsWith('$')) {
          expect(takes(compiled, address)).toBe(false);
          return;
        }
        expect(takes(compiled, address)).toBe(true);
        expect(compiled.addressOf(compiled.keyOf(address))).toBe(address);
        tried++;
      }),
      { numRuns: 1_500 },
    );
    expect(tried).toBeGreaterThan(1_000);
  });

  test('any key leads to an address with that very key, or to none', () => {
    fc.assert(
      fc.property(shape, text(), captured, (rule, random, texts) => {
        const compiled = compileRule({ match: rule.match, stream: 's', key: rule.key });
        for (const candidate of [random, texts.join('/')]) {
          const bytes = Buffer.from(candidate);
          const address = compiled.addressOf(bytes);
          if (address === null || compiled.pattern.literal !== null) continue;
          expect(takes(compiled, address)).toBe(true);
          expect(Buffer.from(compiled.keyOf(address)!)).toEqual(bytes);
        }
      }),
      { numRuns: 1_500 },
    );
  });
});

test('a million addresses have their keys in well under two seconds', () => {
  const rule = compileRule({ match: 'devices/{device}/telemetry', stream: 'telemetry', key: '{device}' });
  let total = 0;
  const start = cpuMs();
  for (let n = 0; n < 1_000_000; n++) total += rule.keyOf(`devices/d${n}/telemetry`)!.length;
  const elapsed = cpuMs() - start;
  expect(total).toBe(6_888_890);
  expect(elapsed).toBeLessThan(2_000);
});
