/**
 * The topic mapping rules of the Strimzi MQTT bridge (a JSON list of `mqttTopic`, `kafkaTopic` and optionally `kafkaKey`) as
 * mapping rules of this gateway. Pure; what has no counterpart is told rule by rule. There, the first rule that matches a
 * topic is the only one; here each rule that matches has its stream. So where two rules may match one topic, the later one
 * comes with a warning. Read with placeholders (`{x}`) alone: its regular expressions are told.
 */

import { CoreError, MANY, ONE, type Token } from '../src/core/index.ts';
import { isTopicName } from './kafka-topics.ts';

export interface StrimziTranslation {
  /** Definitions by name, to be put as mappings. */
  readonly mappings: Readonly<Record<string, StrimziMapping>>;
  readonly skipped: readonly StrimziRemark[];
  readonly warnings: readonly StrimziRemark[];
}

export interface StrimziMapping {
  readonly match: string;
  readonly stream: string;
  /** Null: records have no key, as there. */
  readonly key: string | null;
}

export interface StrimziRemark {
  /** Of the rule in the list, from 0. */
  readonly index: number;
  readonly mqttTopic: string;
  readonly reason: string;
}

/** As definitions to import, which are mappings and nothing else. */
export function definitionsFromStrimzi(json: unknown) {
  const { mappings, skipped, warnings } = mappingsFromStrimzi(json);
  const remarkFrom = ({ index, mqttTopic, reason }: StrimziRemark) => ({
    kind: 'mappings',
    name: `rule ${index} (${mqttTopic})`,
    reason,
  });
  return {
    exchanges: [],
    queues: [],
    bindings: [],
    users: [],
    mappings: Object.entries(mappings).map(([name, definition]) => ({ name, definition })),
    skipped: skipped.map(remarkFrom),
    warnings: warnings.map(remarkFrom),
  };
}

/** Why a rule is left out. */
class Untranslatable extends Error {}

const PLACEHOLDER = /\{([A-Za-z_][A-Za-z0-9_]*)\}/g;
/** Rules that a warning names: where each overlaps all before it, the warnings would grow as the square of the rules. */
const EARLIER_SHOWN_MAX = 10;
/** Each rule is compared with those before it: so many take well under a second. */
const RULES_MAX = 4_000;
/** What only a regular expression holds. */
const REGEX_SIGNS = /[\\()[\]*?^$|]/;

/** Throws CoreError `invalid-argument` where it is no list of rules, or a longer one than any bridge has. */
export function mappingsFromStrimzi(json: unknown): StrimziTranslation {
  if (!Array.isArray(json)) throw new CoreError('invalid-argument', 'is no list of rules');
  if (json.length > RULES_MAX) throw new CoreError('invalid-argument', `has more than ${RULES_MAX} rules`);
  const mappings: Record<string, StrimziMapping> = {};
  const skipped: StrimziRemark[] = [];
  const warnings: StrimziRemark[] = [];
  const taken: TakenRule[] = [];
  for (const [index, rule] of json.entries()) {
    const { mqttTopic, kafkaTopic, kafkaKey } = rulesFields(rule, index);
    try {
      const mapping = mappingFrom(mqttTopic, kafkaTopic, kafkaKey);
      const tokens = tokensOf(mqttTopic);
      const earlier = earlierRules(taken, tokens);
      if (earlier !== '') {
        const reason = `topics that rule ${earlier} matches too went there alone, and go into both streams here`;
        warnings.push({ index, mqttTopic, reason });
      }
      taken.push({ index, tokens });
      mappings[`strimzi-${index}`] = mapping;
    } catch (error) {
      if (!(error instanceof Untranslatable)) throw error;
      skipped.push({ index, mqttTopic, reason: error.message });
    }
  }
  return { mappings, skipped, warnings };
}

interface TakenRule {
  readonly index: number;
  readonly tokens: readonly Token[];
}

/** Numbers of those that some topic of these levels fits too, no more of them than a reader looks at; empty for none. */
function earlierRules(taken: readonly TakenRule[], tokens: readonly Token[]): string {
  const found: number[] = [];
  for (const other of taken) {
    if (!overlaps(tokens, other.tokens)) continue;
    if (found.length === EARLIER_SHOWN_MAX) return `${found.join(', ')} and others`;
    found.push(other.index);
  }
  return found.join(', ');
}

function rulesFields(
  rule: unknown,
  index: number,
): { readonly mqttTopic: string; readonly kafkaTopic: string; readonly kafkaKey: string | null } {
  const { mqttTopic, kafkaTopic, kafkaKey = null } = (rule ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof mqttTopic !== 'string' || mqttTopic === '') {
    throw new CoreError('invalid-argument', 'must be text', { field: `/${index}/mqttTopic` });
  }
  if (typeof kafkaTopic !== 'string' || kafkaTopic === '') {
    throw new CoreError('invalid-argument', 'must be text', { field: `/${index}/kafkaTopic` });
  }
  if (kafkaKey !== null && typeof kafkaKey !== 'string') {
    throw new CoreError('invalid-argument', 'must be text', { field: `/${index}/kafkaKey` });
  }
  return { mqttTopic, kafkaTopic, kafkaKey };
}

function mappingFrom(mqttTopic: string, kafkaTopic: string, kafkaKey: string | null): StrimziMapping {
  if (REGEX_SIGNS.test(mqttTopic)) throw new Untranslatable('regular expressions are not translated');
  const names = new Set<string>();
  for (const [, name] of mqttTopic.matchAll(PLACEHOLDER)) {
    if (names.has(name!)) throw new Untranslatable(`{${name}} is there twice`);
    if (name === 'address')
      throw new Untranslatable('{address} is the whole address here: give it another name');
    names.add(name!);
  }
  const levels = mqttTopic.split('/');
  const match = levels.map((level, at) => levelFrom(level, at === levels.length - 1, names)).join('/');
  if (/[{}]/.test(kafkaTopic)) {
    throw new Untranslatable(
      `${kafkaTopic} is another topic for each message: name one, and put what varies into the key`,
    );
  }
  if (!isTopicName(kafkaTopic)) throw new Untranslatable(`${kafkaTopic} is no name of a topic`);
  for (const [placeholder, name] of kafkaKey?.matchAll(PLACEHOLDER) ?? []) {
    if (!names.has(name!)) throw new Untranslatable(`${placeholder} of the key is not in the topic`);
  }
  if (kafkaKey !== null && /[{}]/.test(kafkaKey.replaceAll(PLACEHOLDER, ''))) {
    throw new Untranslatable('the key has braces that are no placeholder');
  }
  return { match, stream: kafkaTopic, key: kafkaKey };
}

/** `+` and `#` get names of their own, because every level that varies is a capture here. */
function levelFrom(level: string, isLast: boolean, names: Set<string>): string {
  if (level === '') throw new Untranslatable('has an empty level');
  if (level === '+') return `{${newName('level', names)}}`;
  if (level === '#') {
    if (!isLast) throw new Untranslatable('# stands only at the end');
    return `{${newName('rest', names)}...}`;
  }
  if (/[{}+#]/.test(level.replaceAll(PLACEHOLDER, '')))
    throw new Untranslatable(`level ${level} cannot be read`);
  if ([...level.matchAll(PLACEHOLDER)].length > 1)
    throw new Untranslatable(`level ${level} has two placeholders`);
  return level;
}

function newName(stem: string, names: Set<string>): string {
  let name = stem;
  for (let number = 2; names.has(name); number++) name = `${stem}${number}`;
  names.add(name);
  return name;
}

/** A level with a placeholder in it counts as any level: that warns too often rather than too seldom. */
function tokensOf(mqttTopic: string): Token[] {
  return mqttTopic
    .split('/')
    .map((level) => (level === '#' ? MANY : level === '+' || level.includes('{') ? ONE : level));
}

/** Whether some topic fits both. `#` stands only at the end, for one level or more. */
function overlaps(one: readonly Token[], other: readonly Token[]): boolean {
  for (let at = 0; ; at++) {
    const a = one[at];
    const b = other[at];
    if (a === undefined || b === undefined) return a === b;
    if (a === MANY || b === MANY) return true;
    if (a !== ONE && b !== ONE && a !== b) return false;
  }
}
