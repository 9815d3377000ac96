/** What a trial says of a message is what the core does with it: the same outcome for each target, by the same reason. */

import { expect, test } from 'vitest';
import { compileRule } from '../../../mappings/rules.ts';
import { outputsOf } from '../../../src/admin/mapping-trial.ts';
import { ANONYMOUS, type AnyRule, isRouting, Message } from '../../../src/core/index.ts';
import { openRules } from '../mappings/rules-world.ts';

const limits = { messageBytesMax: 1_000 };
const options = { core: { limits }, jsonFromMessage: () => ({}) };

function tried(definitions: Readonly<Record<string, unknown>>, address: string, body: string) {
  const rules = Object.entries(definitions).map(([name, each]) => [name, compileRule(each)] as const);
  return trial(rules, address, body);
}

function trial(rules: readonly (readonly [string, AnyRule])[], address: string, body: string) {
  const message = new Message({ address, body: Buffer.from(body) });
  return outputsOf(options, rules, message, { principal: ANONYMOUS, nowMs: 1, writtenTo: null });
}

const to = (target: object, more: object = {}) => ({
  from: { match: 'in/{x}' },
  loop: { circles: 'allow' },
  to: [{ onError: 'drop', ...target }],
  ...more,
});

test.each([
  ['an empty address', 'address', to({ endpoint: 'core', topic: '{payload}', maxTopics: 5 }), ''],
  ['an empty address of a queue', 'address', to({ endpoint: 'queue:q', topic: '{payload}' }), ''],
  [
    'an address of the gateway',
    'address',
    to({ endpoint: 'core', topic: '{payload}', maxTopics: 5 }),
    '$queue/q',
  ],
  ['a body above the bound', 'too-large', to({ endpoint: 'queue:q', transform: 'base64' }), 'x'.repeat(900)],
  [
    'a key above the bound',
    'too-large',
    to({ endpoint: 'stream:s', key: '{payload}{payload}' }),
    'x'.repeat(900),
  ],
])('%s fails', async (_, failure, rule, body) => {
  expect(tried({ r: rule }, 'in/1', body)).toMatchObject([{ outcome: 'failed', failure, onError: 'drop' }]);
  const { core, publish } = await openRules({ limits });
  await core.rules.put('r', rule);
  publish('in/1', body);
  expect(core.rules.get('r')!.counters).toMatchObject({ in: 1, out: 0, dropped: { [failure]: 1 } });
  await core.close();
});

test.each([
  [undefined, ['out', 'failed'], { out: 1, dropped: { topics: 1 } }],
  ['over', ['out', 'out'], { out: 2 }],
])('the second address above maxTopics, overflowTopic %s', async (overflowTopic, outcomes, counted) => {
  const copy = (topic: string) => ({ ...to({ endpoint: 'core', topic }), continue: true });
  const definitions = {
    a: copy('mid/1'),
    b: copy('mid/2'),
    c: {
      from: { match: 'mid/{y}' },
      to: [
        {
          endpoint: 'core',
          topic: 'end/{y}',
          maxTopics: 1,
          ...(overflowTopic === undefined ? {} : { overflowTopic }),
          onError: 'drop',
        },
      ],
    },
  };
  const outputs = tried(definitions, 'in/1', 'x').filter(({ mapping }) => mapping === 'c');
  expect(outputs.map(({ outcome }) => outcome)).toEqual(outcomes);
  if (overflowTopic !== undefined) expect(outputs[1]).toMatchObject({ address: overflowTopic });
  const { core, publish } = await openRules();
  for (const [name, each] of Object.entries(definitions)) await core.rules.put(name, each);
  publish('in/1', 'x');
  expect(core.rules.get('c')!.counters).toMatchObject({ in: 2, ...counted });
  await core.close();
});

test.each([
  [undefined, ['out', 'failed']],
  ['over', ['out', 'out']],
])('the second address above maxTopics of a queue, overflowTopic %s', async (overflowTopic, outcomes) => {
  const copy = (topic: string) => ({ ...to({ endpoint: 'core', topic }), continue: true });
  const queue = { endpoint: 'queue:q', topic: '{y}', maxTopics: 1, onError: 'drop' };
  const target = overflowTopic === undefined ? queue : { ...queue, overflowTopic };
  const definitions = { a: copy('mid/1'), b: copy('mid/2'), c: { from: { match: 'mid/{y}' }, to: [target] } };
  const outputs = tried(definitions, 'in/1', 'x').filter(({ mapping }) => mapping === 'c');
  expect(outputs.map(({ outcome }) => outcome)).toEqual(outcomes);
  expect(outputs.map(({ address }) => address)).toEqual(['1', overflowTopic]);
  const { core, publish, drain } = await openRules();
  for (const [name, each] of Object.entries(definitions)) await core.rules.put(name, each);
  publish('in/1', 'x');
  expect(drain('q').map(({ address }) => address)).toEqual(
    overflowTopic === undefined ? ['1'] : ['1', overflowTopic],
  );
  await core.close();
});

test('a message that would come back to where it was does not', async () => {
  const circle = (from: string, topic: string, more = {}) => ({
    from: { match: from },
    to: [{ endpoint: 'core', topic, ...more }],
    loop: { circles: 'allow' },
  });
  const definitions = {
    there: circle('in/{x}', 'mid/{x}'),
    back: circle('mid/{x}', 'in/{x}'),
    full: circle('over/{x}', '{payload}', { maxTopics: 1, overflowTopic: 'over/1' }),
  };
  expect(tried(definitions, 'in/1', 'x')).toMatchObject([
    { mapping: 'there', outcome: 'out', address: 'mid/1' },
    { mapping: 'back', outcome: 'filtered', reason: "the message has been at 'in/1' before" },
  ]);
  const deeper = circle('in/{x...}', 'in/in/{x}');
  expect(tried({ deeper }, 'in/1', 'x')).toMatchObject([
    { outcome: 'out', address: 'in/in/1' },
    { outcome: 'filtered', reason: 'mapping deeper has led this message on before' },
  ]);
  const { core, publish } = await openRules();
  for (const [name, each] of Object.entries({ ...definitions })) await core.rules.put(name, each);
  publish('in/1', 'x');
  expect(core.rules.get('back')!.counters).toMatchObject({ in: 1, out: 0, filtered: 1 });
  await core.close();
});

test('a condition that throws does not hold', async () => {
  const rule = compileRule(to({ endpoint: 'queue:q' }));
  if (!isRouting(rule)) throw new Error('this is the short form');
  const refusal = () => {
    throw new TypeError('no such thing');
  };
  const throwing = { ...rule, conditional: true, refusal };
  expect(trial([['r', throwing]], 'in/1', 'x')).toMatchObject([
    { outcome: 'filtered', reason: 'a condition cannot be asked: no such thing' },
  ]);
  const { core, publish } = await openRules({ core: { compileRule: () => throwing } });
  await core.rules.put('r', {});
  publish('in/1');
  expect(core.rules.get('r')!.counters).toMatchObject({ in: 1, filtered: 1 });
  await core.close();
});
