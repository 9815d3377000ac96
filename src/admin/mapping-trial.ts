/**
 * What mapping rules would make of a message, with the reason for each target: `POST /v1/mappings:test` asks. The same
 * compiled rules in the same order as in the core, and messages that rules publish are followed to the rules that take
 * them; nothing is delivered, counted or stored.
 */

import { randomUUID } from 'node:crypto';
import Type, { type Static } from 'typebox';
import {
  type AnyRule,
  BoundedTopics,
  checkDerivedAddress,
  checkMadeSize,
  hopsOf,
  isRouting,
  type Limits,
  type MappingRule,
  type Message,
  type Principal,
  type RoutingRule,
  RuleError,
  type RuleInput,
  type RuleStep,
  type RuleTarget,
  repeatOf,
  returnOf,
  tooManyTopics,
} from '../core/index.ts';
import type { AdminOptions } from './options.ts';

export const outputSchema = Type.Object({
  mapping: Type.String(),
  source: Type.String({ description: 'The address of the message that the mapping was asked about.' }),
  target: Type.Integer({ description: 'Its place in `to`, from 0.' }),
  endpoint: Type.String({ description: 'core, queue:NAME, stream:NAME or bridge:NAME.' }),
  outcome: Type.String({
    description:
      'out: it goes there. filtered: a condition does not hold, or it has been there before. stopped: a mapping ' +
      'before took it. failed.',
  }),
  reason: Type.String(),
  failure: Type.Optional(
    Type.String({ description: 'Where it failed: one of the reasons that are counted.' }),
  ),
  onError: Type.Optional(Type.String({ description: 'Where it failed: what becomes of the message.' })),
  address: Type.Optional(Type.String({ description: 'Of the message that goes out.' })),
  key: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  partitionBy: Type.Optional(Type.Union([Type.String(), Type.Integer(), Type.Null()])),
  message: Type.Optional(Type.Unknown({ description: 'What goes out.' })),
});

export type OutputView = Static<typeof outputSchema>;

/** Messages followed and outputs shown of one message. */
const OUTPUTS_MAX = 256;

type TrialOptions = Pick<AdminOptions, 'jsonFromMessage'> & {
  readonly core: { readonly limits: Pick<Limits, 'messageBytesMax'> };
};

export function outputsOf(
  options: TrialOptions,
  rules: readonly (readonly [name: string, rule: AnyRule])[],
  message: Message,
  from: { readonly principal: Principal; readonly nowMs: number; readonly writtenTo: string | null },
): OutputView[] {
  const outputs: OutputView[] = [];
  // Of this trial alone: what was made in the core is not counted.
  const topics = new BoundedTopics();
  const waiting: { message: Message; path: readonly RuleStep[] }[] = [{ message, path: [] }];
  for (let at = 0; at < waiting.length && outputs.length < OUTPUTS_MAX; at++) {
    const { message: source, path } = waiting[at] as (typeof waiting)[number];
    const isFirst = at === 0;
    const input: RuleInput = {
      message: source,
      nowMs: from.nowMs,
      principal: isFirst ? from.principal : null,
      newId: randomUUID,
      memo: null,
    };
    let taker: string | null = null;
    for (const [name, rule] of inOrder(rules, source.address)) {
      if (!isRouting(rule)) {
        if (!isFirst || rule.stream !== from.writtenTo) outputs.push(captured(name, rule, source));
        continue;
      }
      const refusal = taker === null ? refusalOf(rule, input) : null;
      const idle = refusal ?? repeatOf(name, path);
      for (const [index, target] of rule.targets.entries()) {
        const place = { mapping: name, source: source.address, target: index, endpoint: endpointOf(target) };
        if (taker !== null)
          outputs.push({ ...place, outcome: 'stopped', reason: `mapping ${taker} took the message before` });
        else if (idle !== null) outputs.push({ ...place, outcome: 'filtered', reason: idle });
        else if (isFirst && target.kind === 'stream' && target.name === from.writtenTo)
          outputs.push({ ...place, outcome: 'filtered', reason: 'the message came from this stream' });
        else {
          const made = tryTarget(options, place, rule, target, input, path, topics);
          outputs.push(made.output);
          if (made.message !== null)
            waiting.push({ message: made.message, path: [...path, { rule: name, address: source.address }] });
        }
      }
      if (taker === null && refusal === null && !rule.continues) taker = name;
    }
  }
  return outputs.slice(0, OUTPUTS_MAX);
}

/** As in the core: what a condition cannot be asked about it does not take. */
function refusalOf(rule: RoutingRule, input: RuleInput): string | null {
  try {
    return rule.conditional ? rule.refusal(input) : null;
  } catch (error) {
    return `a condition cannot be asked: ${(error as Error).message}`;
  }
}

function tryTarget(
  options: TrialOptions,
  place: Pick<OutputView, 'mapping' | 'source' | 'target' | 'endpoint'>,
  rule: RoutingRule,
  target: RuleTarget,
  input: RuleInput,
  path: readonly RuleStep[],
  topics: BoundedTopics,
): { output: OutputView; message: Message | null } {
  try {
    const looped = path.length === 0 ? null : hopsOf(rule, path);
    if (looped !== null) throw new RuleError('loop', looped);
    const made = target.make(input);
    checkMadeSize(made, options.core.limits.messageBytesMax);
    const { key, partitionBy } = made;
    const isCore = target.kind === 'core';
    const returned = isCore ? returnOf(rule, path, place.source, made.message.address) : null;
    const message = returned === null ? topics.bounded(target, made.message) : made.message;
    if (message === null) throw new RuleError('topics', tooManyTopics(target, made.message.address));
    const reason = returned ?? (isCore ? returnOf(rule, path, place.source, message.address) : null);
    if (reason !== null) return { output: { ...place, outcome: 'filtered', reason }, message: null };
    if (isCore) checkDerivedAddress(message.address);
    const output: OutputView = {
      ...place,
      outcome: 'out',
      reason: `mapping ${place.mapping} takes ${rule.pattern}`,
      address: message.address,
      key: key === null ? null : Buffer.from(key).toString(),
      partitionBy,
      message: options.jsonFromMessage(message),
    };
    return { output, message: isCore ? message : null };
  } catch (error) {
    const failure = error instanceof RuleError ? error.failure : 'payload';
    const policy = target.onError;
    const onError = policy.kind === 'dead-letter' ? `dlq:${policy.queue}` : policy.kind;
    const reason = (error as Error).message;
    return { output: { ...place, outcome: 'failed', reason, failure, onError }, message: null };
  }
}

function captured(name: string, rule: MappingRule, message: Message): OutputView {
  const key = rule.keyOf(message.address) ?? message.key;
  return {
    mapping: name,
    source: message.address,
    target: 0,
    endpoint: `stream:${rule.stream}`,
    outcome: 'out',
    reason: `mapping ${name} takes ${rule.pattern}`,
    address: message.address,
    key: key === null ? null : Buffer.from(key).toString(),
  };
}

/** What matches the address: captures first, then routing rules as the core asks them. */
function inOrder(
  rules: readonly (readonly [name: string, rule: AnyRule])[],
  address: string,
): (readonly [name: string, rule: AnyRule])[] {
  const orderOf = (rule: AnyRule): number => (isRouting(rule) ? rule.order : Number.NEGATIVE_INFINITY);
  return rules
    .filter(([, rule]) => rule.pattern.matches(address) && rule.accepts?.(address) !== false)
    .sort(([a, first], [b, second]) => {
      const before = orderOf(first);
      const after = orderOf(second);
      if (before !== after) return before < after ? -1 : 1;
      return a < b ? -1 : 1;
    });
}

export function endpointOf({ kind, name }: Pick<RuleTarget, 'kind' | 'name'>): string {
  return kind === 'core' ? 'core' : `${kind}:${name}`;
}
