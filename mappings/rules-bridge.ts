/**
 * A mapping of a bridge, compiled. Two forms: the parts of a full rule that make sense there (`rules-routing.ts`), and
 * the pattern and prefixes that bridges between MQTT brokers are written with. Called by `src/bridges`, through
 * `src/main.ts`. The result is pure. Format and examples: docs/bridges.md.
 *
 *     {"match": "devices/{device}/telemetry", "topic": "telemetry", "key": "{device}"}
 *     {"pattern": "sensors/#", "localPrefix": "", "remotePrefix": "site1/"}
 *
 * The second leads `localPrefix` + rest to `remotePrefix` + rest, or back, for every rest that `pattern` matches; as in
 * MQTT, `a/#` matches `a` too.
 */

import {
  type BridgeMapping,
  CoreError,
  DEFAULT_LIMITS,
  MANY,
  ONE,
  Pattern,
  type RoutingRule,
  type RuleTarget,
} from '../src/core/index.ts';
import { knownFields } from './rules-fields.ts';
import { compileRouting } from './rules-routing.ts';
import { refuse } from './rules-syntax.ts';
import { compileOnError } from './rules-targets.ts';
import { objectAt } from './rules-where.ts';

type Direction = 'out' | 'in';

const RULE_FIELDS = [
  'match',
  'where',
  'topic',
  'key',
  'headers',
  'set',
  'transform',
  'onError',
  'maxTopics',
  'overflowTopic',
];
const PREFIX_FIELDS = ['pattern', 'localPrefix', 'remotePrefix', 'onError'];
const SOURCE_CHARS_MAX = 4_096;
const ON_ERROR = 'dlq:$dlq/bridges';

/** Throws CoreError `invalid-argument` with a pointer into the mapping as `field`. */
export function compileBridgeMapping(
  definition: unknown,
  direction: Direction,
  bridge: string,
): BridgeMapping {
  const fields = objectAt(definition, '') as Readonly<Record<string, unknown>>;
  const source = sourceOf(fields.source, direction);
  const made =
    'pattern' in fields ? compilePrefixes(fields, direction, bridge) : compileFull(fields, direction, bridge);
  return { ...made, source };
}

function sourceOf(source: unknown, direction: Direction): string | null {
  if (source === undefined) return null;
  if (direction === 'out') refuse('/source', 'is for bridges that lead in only');
  if (typeof source !== 'string' || source === '' || source.length > SOURCE_CHARS_MAX)
    refuse(
      '/source',
      `must be text of 1 to ${SOURCE_CHARS_MAX} characters, a name as the other side writes it`,
    );
  return source;
}

function compileFull(
  definition: Readonly<Record<string, unknown>>,
  direction: Direction,
  bridge: string,
): Omit<BridgeMapping, 'source'> {
  const { source: _, ...others } = definition;
  const { match, where, ...target } = knownFields(others, knownNames(RULE_FIELDS, direction), '');
  if (match === undefined)
    refuse('/match', 'is missing: the addresses that it takes, such as "devices/{device}"');
  const to =
    direction === 'out'
      ? { ...target, endpoint: `bridge:${bridge}` }
      : { topic: '{address}', ...target, endpoint: 'core' };
  let rule: RoutingRule;
  try {
    rule = compileRouting({
      from: { match, ...(where === undefined ? {} : { where }) },
      to: [{ onError: ON_ERROR, ...to }],
    });
  } catch (error) {
    if (!(error instanceof CoreError) || error.field === undefined) throw error;
    const field = error.field.replace(/^\/(from|to\/0)(?=\/|$)/, '');
    throw new CoreError(error.code, error.message, { field, cause: error });
  }
  const { reach } = rule.targets[0] as RuleTarget;
  return { rule, reach: target.topic === undefined || reach === null ? rule.pattern : reach };
}

function compilePrefixes(
  definition: Readonly<Record<string, unknown>>,
  direction: Direction,
  bridge: string,
): Omit<BridgeMapping, 'source'> {
  const { source: _, ...others } = definition;
  const fields = knownFields(others, knownNames(PREFIX_FIELDS, direction), '');
  const local = prefixOf(fields.localPrefix, '/localPrefix');
  const remote = prefixOf(fields.remotePrefix, '/remotePrefix');
  const { pattern } = fields;
  if (typeof pattern !== 'string' || pattern === '')
    refuse('/pattern', 'must be a topic filter of MQTT, such as "sensors/#"');
  const here = patternFrom(local, pattern, '/localPrefix');
  const there = patternFrom(remote, pattern, '/remotePrefix');
  const [from, to, before, after] =
    direction === 'out' ? [here, there, local, remote] : [there, here, remote, local];
  const target: RuleTarget = {
    kind: direction === 'out' ? 'bridge' : 'core',
    name: direction === 'out' ? bridge : '',
    partitions: 1,
    onError: compileOnError(fields.onError ?? ON_ERROR, '/onError'),
    topicsMax: null,
    overflowTopic: null,
    reach: to,
    make: ({ message }) => ({
      message:
        before === after ? message : message.with({ address: after + message.address.slice(before.length) }),
      key: message.key,
      partitionBy: null,
    }),
  };
  // `a` matches `a/#` and does not begin with the prefix `a/`: there is no rest of it.
  const accepts = (address: string) => address.startsWith(before) && address.length > before.length;
  const rule: RoutingRule = {
    pattern: from,
    ...(before === '' ? {} : { accepts }),
    order: 0,
    continues: false,
    conditional: false,
    hopsMax: 0,
    targets: [target],
    inverses: [],
    refusal: () => null,
  };
  return { rule, reach: to };
}

function knownNames(names: readonly string[], direction: Direction): readonly string[] {
  return direction === 'in' ? [...names, 'source'] : names;
}

function prefixOf(value: unknown, field: string): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') refuse(field, 'must be text, such as "site1/"');
  if (value.startsWith('$')) refuse(field, 'addresses that begin with $ belong to the gateway');
  if (/[+#]/.test(value)) refuse(field, 'wildcards belong into pattern');
  return value;
}

function patternFrom(prefix: string, pattern: string, field: string): Pattern {
  const filter = prefix + pattern;
  if (filter.startsWith('$')) refuse('/pattern', 'addresses that begin with $ belong to the gateway');
  if (filter.includes('\0') || !filter.isWellFormed())
    refuse('/pattern', 'holds a character that no address can');
  const levels = filter.split('/');
  if (levels.length > DEFAULT_LIMITS.addressLevelsMax)
    refuse('/pattern', `at most ${DEFAULT_LIMITS.addressLevelsMax} levels`);
  return new Pattern(
    levels.map((level, index) => {
      if (level === '+') return ONE;
      if (level === '#') {
        if (index < levels.length - 1) refuse('/pattern', '# stands at the end only');
        return MANY;
      }
      if (/[+#]/.test(level)) {
        const isPrefix = prefix !== '' && !prefix.endsWith('/') && /^[+#]/.test(pattern);
        refuse(isPrefix ? field : '/pattern', `a wildcard is a level of its own, and \`${level}\` is not`);
      }
      return level;
    }),
  );
}
