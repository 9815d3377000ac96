/**
 * The law of the counters of every mapping, with generated rules and messages: what came in is what went out, was
 * filtered, failed, was dropped for a reason, is a dead letter, or is still on its way.
 */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CoreError, type MappingCounters, Pattern } from '../../../src/core/index.ts';
import { openRules } from './rules-world.ts';

function balanceOf({
  in: came,
  out,
  filtered,
  failed,
  dropped,
  deadLettered,
  inFlight,
}: MappingCounters): number {
  const droppedAll = Object.values(dropped).reduce((sum, each) => sum + each, 0);
  return came - out - filtered - failed - droppedAll - deadLettered - inFlight;
}

const target = fc
  .record({
    endpoint: fc.constantFrom('core', 'queue:small', 'queue:big', 'stream:s', 'stream:t'),
    template: fc.constantFrom('{x}', '{payload.id}', '{header.h}', '{rest|upper}'),
    onError: fc.constantFrom('drop', 'dlq', 'dlq:small', 'nack-source'),
    transform: fc.constantFrom('none', 'base64-decode', 'select("$.id")', 'envelope-json'),
    level: fc.nat(3),
  })
  .map(({ endpoint, template, onError, transform, level }) => ({
    endpoint,
    onError,
    transform,
    ...(endpoint === 'core'
      ? { topic: `l${level}/${template}/k`, maxTopics: 1 }
      : endpoint.startsWith('stream')
        ? { key: template }
        : {}),
  }));

const rule = fc.record({
  from: fc.record({
    match: fc.constantFrom('l0/{x}/{rest...}', 'l1/{x}/{rest...}', 'l2/{x}/{rest...}', '{x}/{rest...}'),
    where: fc.constantFrom({}, { size: '>4' }, { qos: 1 }, { payload: { id: '*' } }, { header: { h: 'v' } }),
  }),
  to: fc.array(target, { minLength: 1, maxLength: 3 }),
  order: fc.nat(2),
  continue: fc.boolean(),
  loop: fc.record({ maxHops: fc.nat(3), circles: fc.constant('allow') }),
});

const message = fc.record({
  address: fc.constantFrom('l0/a/b', 'l1/a/b', 'l2/$x/y', 'l3/a', 'l0/b/c/d'),
  body: fc.constantFrom('{"id": "7"}', '{"id": {"a": 1}}', 'no json', '', 'aGVsbG8=', '{}'),
  reliability: fc.constantFrom(0, 1) as fc.Arbitrary<0 | 1>,
  h: fc.boolean(),
});

/** Chance does not make one in every run. */
const ONE_HOP_TOO_MANY = (['l0/{x}/{rest...}', 'l1/{x}/{rest...}', 'l2/{x}/{rest...}'] as const).map(
  (match, level) => ({
    from: { match, where: {} },
    to: [
      {
        endpoint: 'core' as const,
        onError: 'drop' as const,
        transform: 'none' as const,
        topic: `l${level + 1}/{x}/k`,
        maxTopics: 1,
      },
    ],
    order: 0,
    continue: false,
    loop: { maxHops: 1, circles: 'allow' as const },
  }),
);

test('in is all that it became, at any time, whatever the rules and messages', async () => {
  const reached = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(rule, { minLength: 1, maxLength: 5 }),
      fc.array(message, { minLength: 1, maxLength: 15 }),
      async (rules, messages) => {
        const { core, publish } = await openRules();
        const check = () => {
          for (const [name, { counters }] of core.rules.list()) {
            expect({ name, balance: balanceOf(counters) }).toEqual({ name, balance: 0 });
            for (const [kind, count] of Object.entries({ ...counters, ...counters.dropped }))
              if (typeof count === 'number' && count > 0) reached.add(kind);
          }
        };
        await core.queues.declare({
          name: 'small',
          durable: true,
          autoDelete: false,
          owner: null,
          messagesMax: 2,
          bytesMax: -1,
          overflow: 'reject',
          messageTtlMs: -1,
          expiresMs: -1,
          deadLetter: null,
          arguments: [],
        });
        // Asked in the middle of a publish too: what rules made and nobody has yet is on its way.
        const { session } = await core.sessions.open('watch', { clean: true, durable: false });
        session.subscribe(Pattern.parse('[2]'), { reliability: 0, noLocal: false, keepRetain: false, id: 0 });
        session.attach({ deliver: check, cancelled: () => undefined }).grant(Number.POSITIVE_INFINITY);
        for (const [index, definition] of rules.entries()) {
          try {
            await core.rules.put(`r${index}`, definition);
          } catch (error) {
            // Such as one that a rule before it leaves no message.
            expect(error).toBeInstanceOf(CoreError);
          }
        }
        for (const { address, body, reliability, h } of messages) {
          const headers = h ? [{ name: 'h', value: { kind: 'string' as const, value: 'v' } }] : [];
          try {
            publish(address, body, { reliability, headers });
          } catch (error) {
            expect(['overflow', 'refused-by-rule']).toContain((error as CoreError).code);
          }
          check();
        }
        await core.close();
        check();
      },
    ),
    {
      numRuns: 200,
      examples: [[ONE_HOP_TOO_MANY, [{ address: 'l0/a/b', body: '{}', reliability: 1, h: false }]]],
    },
  );
  // Every way that the law speaks of was taken.
  for (const kind of [
    'in',
    'out',
    'filtered',
    'failed',
    'deadLettered',
    'inFlight',
    'payload',
    'missing',
    'loop',
    'topics',
    'overflow',
  ])
    expect(reached, kind).toContain(kind);
});
