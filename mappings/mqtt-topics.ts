/**
 * Topic names ⇔ addresses and topic filters ⇔ patterns. An address is a topic name as it stands, except where a
 * level holds a literal `+` or `#`, which only other protocols can make: those are written `%2B` and `%23` for
 * MQTT, and text that would read as such an escape gets one more `25`. Pure; used by the adapter for each new topic
 * and by the explanations of the management API. Source: MQTT 5.0 and 3.1.1 section 4.7; docs/mappings.md.
 */

import { MANY, ONE, Pattern, type Token } from '../src/core/index.ts';

const WILDCARD_OR_ESCAPE = /[+#]|%((?:25)*)(2B|23)/g;
const ESCAPE = /%((?:25)*)(2B|23)/g;

/** The address's name as MQTT clients see it: always a valid topic name. */
export function topicFromAddress(address: string): string {
  if (!address.includes('+') && !address.includes('#') && !address.includes('%')) return address;
  return address.replace(WILDCARD_OR_ESCAPE, (found, more: string | undefined, code: string | undefined) => {
    if (found === '+') return '%2B';
    if (found === '#') return '%23';
    return `%25${more}${code}`;
  });
}

/** Undoes `topicFromAddress`. */
export function addressFromTopic(topic: string): string {
  if (!topic.includes('%')) return topic;
  return topic.replace(ESCAPE, (_, more: string, code: string) => {
    if (more === '') return code === '2B' ? '+' : '#';
    return `%${more.slice(2)}${code}`;
  });
}

/** Why a topic filter is refused, or null. `[MQTT-4.7.1-1]`, `[MQTT-4.7.1-2]`, `[MQTT-4.7.3-1]`. */
export function explainInvalidFilter(filter: string): string | null {
  if (filter === '') return 'a topic filter has at least one character';
  if (filter.includes('\u0000')) return 'a topic filter holds no U+0000';
  const levels = filter.split('/');
  for (const [at, level] of levels.entries()) {
    if (level.includes('#') && level !== '#') return '# stands alone in its level';
    if (level === '#' && at !== levels.length - 1) return '# is the last level';
    if (level.includes('+') && level !== '+') return '+ stands alone in its level';
  }
  return null;
}

/** The pattern of a topic filter; null for one that `explainInvalidFilter` refuses. */
export function patternFromFilter(filter: string): Pattern | null {
  if (explainInvalidFilter(filter) !== null) return null;
  const tokens: Token[] = filter
    .split('/')
    .map((level) => (level === '+' ? ONE : level === '#' ? MANY : addressFromTopic(level)));
  return new Pattern(tokens);
}

/** The topic filter of a pattern; null where MQTT has none, because "many" stands before the end. */
export function filterFromPattern(pattern: Pattern): string | null {
  const levels: string[] = [];
  for (const [at, token] of pattern.tokens.entries()) {
    if (token === MANY && at !== pattern.tokens.length - 1) return null;
    levels.push(token === ONE ? '+' : token === MANY ? '#' : topicFromAddress(token));
  }
  return levels.join('/');
}
