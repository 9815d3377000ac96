/**
 * The full form of a mapping rule, compiled: conditions on the message and one or more targets, each with templates
 * for address, key, partition and headers, overrides and transforms. Called by `rules.ts`. The result is pure; the core
 * decides when to ask it and what becomes of what it makes. Format and examples: docs/mapping-rules.md.
 *
 *     {"from": {"match": "plant/{site}/{rest...}", "where": {"qos": ">=1"}},
 *      "to": [{"endpoint": "stream:plant", "key": "{site}/{rest}"}, {"endpoint": "core", "topic": "sites/{site}"}]}
 */

import type { MappingRule, RoutingRule, RuleTarget } from '../src/core/index.ts';
import { CompiledCapture } from './rules-capture.ts';
import { acceptsFromSpans, patternFromLevels, spansFromLevels } from './rules-captures.ts';
import { knownFields, lazily, oneOf, wholeNumber } from './rules-fields.ts';
import { type Level, parseMatch, refuse } from './rules-syntax.ts';
import { compileTarget, ON_ERROR_DEFAULT, type TargetParts } from './rules-targets.ts';
import { invertible } from './rules-template.ts';
import { compileWhere, objectAt } from './rules-where.ts';

const TARGETS_MAX = 16;
const ORDER_MAX = 1_000_000;
const HOPS_MAX = 16;
const HOPS_DEFAULT = 4;
const FIELDS = ['from', 'to', 'order', 'continue', 'onError', 'reverse', 'loop'];
const FROM_FIELDS = ['match', 'where'];
const LOOP_FIELDS = ['maxHops', 'circles'];

export function compileRouting(definition: object): RoutingRule {
  const rule = knownFields(definition, FIELDS, '');
  const from = knownFields(objectAt(rule.from, '/from'), FROM_FIELDS, '/from');
  if (typeof from.match !== 'string')
    refuse('/from/match', 'must be text, such as "devices/{device}/telemetry"');
  const levels = parseMatch(from.match, '/from/match');
  const spans = spansFromLevels(levels);
  const where = compileWhere(from.where, '/from/where');
  const order = wholeNumber(rule.order, 0, -ORDER_MAX, ORDER_MAX, '/order');
  const continues = oneOf(rule.continue, [false, true], '/continue');
  const reverse = oneOf(rule.reverse, ['auto', 'off'], '/reverse');
  const loop = rule.loop === undefined ? {} : knownFields(objectAt(rule.loop, '/loop'), LOOP_FIELDS, '/loop');
  const hopsMax = wholeNumber(loop.maxHops, HOPS_DEFAULT, 0, HOPS_MAX, '/loop/maxHops');
  const circles = oneOf(loop.circles, ['refuse', 'allow', 'again'], '/loop/circles');
  if (!Array.isArray(rule.to) || rule.to.length === 0 || rule.to.length > TARGETS_MAX)
    refuse(
      '/to',
      `must be a list of 1 to ${TARGETS_MAX} targets, such as [{"endpoint": "stream:telemetry"}]`,
    );
  const onError = rule.onError ?? ON_ERROR_DEFAULT;
  const parts = rule.to.map((target, index) => compileTarget(target, spans, onError, `/to/${index}`));
  const targets: RuleTarget[] = parts.map(({ target }) => target);
  const inverses = parts.flatMap((each) => inverseOf(each, levels, reverse === 'off'));
  const accepts = acceptsFromSpans(spans);
  const inverse = reverse === 'off' ? null : inverseDefinition(parts, levels);
  const reason =
    inverses.length > 0
      ? inverses[0]?.oneWayReason
      : inverse !== null && 'reason' in inverse
        ? inverse.reason
        : noStreamReason(targets);
  return {
    pattern: patternFromLevels(levels),
    ...(accepts === null ? {} : { accepts }),
    order,
    continues,
    conditional: where !== null || accepts !== null,
    circlesAllowed: circles !== 'refuse',
    returns: circles === 'again',
    hopsMax,
    targets,
    inverses,
    ...(reason === undefined ? {} : { oneWayReason: reason }),
    ...(inverse === null || 'reason' in inverse ? {} : { inverse: inverse.definition }),
    refusal:
      where === null ? () => null : lazily(() => compileWhere(from.where, '/from/where') as typeof where),
  };
}

/** What leads records of a stream target back, if only to say why nothing does: the stream is in use all the same. */
function inverseOf(parts: TargetParts, levels: readonly Level[], isOff: boolean): MappingRule[] {
  const { target, key } = parts;
  if (target.kind !== 'stream') return [];
  const { name: stream, partitions } = target;
  const oneWay = (oneWayReason: string): MappingRule[] => [
    {
      pattern: patternFromLevels(levels),
      stream,
      partitions,
      oneWayReason,
      keyOf: () => null,
      addressOf: () => null,
    },
  ];
  if (isOff) return oneWay('reverse is off');
  if (key === null) return [new CompiledCapture(levels, stream, partitions, null)];
  const inverse = invertible(key);
  if ('reason' in inverse) return oneWay(inverse.reason);
  return [new CompiledCapture(levels, stream, partitions, inverse.parts)];
}

/** The rule that leads messages of the one address target back, or why there is none; null where nothing is to be said. */
function inverseDefinition(
  parts: readonly TargetParts[],
  levels: readonly Level[],
): { readonly definition: Record<string, unknown> } | { readonly reason: string } | null {
  const published = parts.filter(({ target }) => target.kind === 'core');
  const [only] = published;
  if (published.length !== 1 || only === undefined || only.topic === null) return null;
  const inverse = invertible(only.topic);
  if ('reason' in inverse) return inverse;
  const many = levels.find((level) => level.kind === 'many')?.name;
  const names = levels.flatMap((level) => (level.kind === 'literal' ? [] : [level.name]));
  const held = inverse.parts.flatMap((part) => (part.kind === 'variable' ? [part.name] : []));
  const missing = names.find((name) => !held.includes(name));
  if (missing !== undefined) return { reason: `the topic does not hold {${missing}}` };
  const braces = (text: string) => text.replaceAll('{', '{{').replaceAll('}', '}}');
  const match = inverse.parts
    .map((part) => {
      if (part.kind === 'text') return braces(part.text);
      return part.name === many ? `{${part.name}...}` : `{${part.name}}`;
    })
    .join('');
  const topic = levels
    .map((level) => {
      if (level.kind === 'literal') return braces(level.text);
      return level.kind === 'many'
        ? `{${level.name}}`
        : `${braces(level.prefix)}{${level.name}}${braces(level.suffix)}`;
    })
    .join('/');
  try {
    parseMatch(match, '/to');
  } catch (error) {
    return { reason: `the topic cannot be read back: ${(error as Error).message}` };
  }
  const to = [{ endpoint: 'core', topic }];
  return { definition: { from: { match }, to, loop: { circles: 'allow' } } };
}

function noStreamReason(targets: readonly RuleTarget[]): string {
  const names = { core: 'an address', queue: 'a queue', stream: 'a stream', bridge: 'a bridge' };
  const kinds = [...new Set(targets.map(({ kind }) => names[kind]))].join(' and ');
  return `messages that it leads to ${kinds} do not come back by themselves; only records of streams do`;
}
