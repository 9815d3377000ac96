/**
 * One access rule: who, what, on which addresses, allowed or denied. Its pattern is a filter (`+` one level, `#` the rest) in which `%u`
 * stands for the user's name and `%c` for the client's identifier, as whole levels or inside of one. Made from the
 * configuration file, from the API (`acl-rules.ts`) and from Mosquitto's files (`acl-file.ts`); matched by
 * `acl-trie.ts`.
 */

import { type Action, CoreError, MANY, ONE, type Principal } from '../core/index.ts';

/** What a rule can speak of, by the words that people write. */
export const ACCESS_WORDS = ['read', 'write', 'subscribe', 'configure', 'readwrite', 'all'] as const;
export type AccessWord = (typeof ACCESS_WORDS)[number];

/** A rule as it is written, in the configuration file and in the API. No `user`, `client` or `group`: everybody. */
export interface AclRuleDefinition {
  readonly effect: 'allow' | 'deny';
  /** Empty: clients that gave no user name. */
  readonly user?: string;
  readonly client?: string;
  readonly group?: string;
  readonly actions: readonly AccessWord[];
  readonly pattern: string;
}

/** Bits, so that one walk through the rules answers for all actions. */
export const BIT: Readonly<Record<Action, number>> = { publish: 1, subscribe: 2, read: 4, configure: 8 };
export const ALL_BITS = 15;

/** Who may read may ask for it: `read` speaks of subscribing too. */
const BITS_BY_WORD: Readonly<Record<AccessWord, number>> = {
  read: BIT.read | BIT.subscribe,
  write: BIT.publish,
  subscribe: BIT.subscribe,
  configure: BIT.configure,
  readwrite: BIT.publish | BIT.read | BIT.subscribe,
  all: ALL_BITS,
};

export type Who =
  | { readonly kind: 'everybody' }
  | { readonly kind: 'user' | 'client' | 'group'; readonly name: string };

export interface AclRule {
  readonly who: Who;
  readonly effect: 'allow' | 'deny';
  readonly bits: number;
  readonly levels: readonly RuleLevel[];
}

export type RuleLevel = string | typeof ONE | typeof MANY | LevelTemplate;

const PLACEHOLDER = /%[uc]/g;
const HAS_PLACEHOLDER = /%[uc]/;
/** What a name may not hold to stand in an address that is allowed: it would be more than one level, or a wildcard. */
const UNSAFE = /[/+#]/;

/** A level that holds `%u` or `%c`. */
export class LevelTemplate {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** The level for this client, or null where it has no such name. */
  expand(principal: Principal): string | null {
    if (this.text.includes('%u') && principal.user === '') return null;
    if (this.text.includes('%c') && principal.clientId === '') return null;
    return this.text.replace(PLACEHOLDER, (name) => (name === '%u' ? principal.user : principal.clientId));
  }

  /** Whether the names in it can be no more than text of one level, which a rule that allows asks for. */
  isSafe(principal: Principal, isFirst: boolean): boolean {
    if (this.text.includes('%u') && UNSAFE.test(principal.user)) return false;
    if (this.text.includes('%c') && UNSAFE.test(principal.clientId)) return false;
    // A name must not lead into a root that is reserved, such as that of the queues.
    return !isFirst || this.text.startsWith('$') || this.expand(principal)?.startsWith('$') !== true;
  }
}

/** Throws CoreError `invalid-argument` with what is wrong. */
export function ruleFromDefinition(definition: unknown): AclRule {
  if (typeof definition !== 'object' || definition === null || Array.isArray(definition)) {
    throw invalid('a rule is an object');
  }
  const given = definition as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(given)) {
    if (!FIELDS.includes(name)) {
      throw invalid(`'${name}' is not known${didYouMean(name, FIELDS)}`, `/${escapePointer(name)}`);
    }
  }
  const { effect, actions, pattern } = given;
  if (effect !== 'allow' && effect !== 'deny') throw invalid("effect is 'allow' or 'deny'", '/effect');
  if (!Array.isArray(actions) || actions.length === 0) {
    throw invalid(`actions is a list of ${ACCESS_WORDS.join(', ')}`, '/actions');
  }
  if (typeof pattern !== 'string') throw invalid('pattern is a topic filter', '/pattern');
  let bits = 0;
  for (const word of actions) bits |= bitsFromWord(String(word));
  return { who: whoFrom(given), effect, bits, levels: levelsFromPattern(pattern, true) };
}

const FIELDS = ['effect', 'user', 'client', 'group', 'actions', 'pattern'];

function whoFrom(given: Readonly<Record<string, unknown>>): Who {
  let who: Who = { kind: 'everybody' };
  for (const kind of ['user', 'client', 'group'] as const) {
    const name = given[kind];
    if (name === undefined) continue;
    if (typeof name !== 'string' || (name === '' && kind !== 'user'))
      throw invalid(`${kind} is a name`, `/${kind}`);
    if (who.kind !== 'everybody') {
      throw invalid(`${who.kind} and ${kind} in one rule: write two`, `/${kind}`);
    }
    who = { kind, name };
  }
  return who;
}

export function bitsFromWord(word: string): number {
  if (!Object.hasOwn(BITS_BY_WORD, word)) {
    throw invalid(`'${word}' is no action${didYouMean(word, ACCESS_WORDS)}`, '/actions');
  }
  return BITS_BY_WORD[word as AccessWord];
}

/** `substituted`: `%u` and `%c` have their meaning. */
export function levelsFromPattern(pattern: string, substituted: boolean): RuleLevel[] {
  if (pattern === '') throw invalid('the pattern is empty', '/pattern');
  if (pattern.includes('\0')) throw invalid('the pattern holds U+0000', '/pattern');
  const texts = pattern.split('/');
  return texts.map((text, index): RuleLevel => {
    if (text === '+') return ONE;
    if (text === '#') {
      if (index < texts.length - 1) throw invalid(`'#' is not at the end of '${pattern}'`, '/pattern');
      return MANY;
    }
    if (/[+#]/.test(text)) {
      throw invalid(`a wildcard is not a level of its own in '${pattern}'`, '/pattern');
    }
    return substituted && HAS_PLACEHOLDER.test(text) ? new LevelTemplate(text) : text;
  });
}

/** `field` is a JSON pointer into the definition. */
function invalid(text: string, field?: string): CoreError {
  return new CoreError('invalid-argument', text, field === undefined ? {} : { field });
}

/** One name as a step of a JSON pointer (RFC 6901). */
export function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** The known word that is nearest, as far as there is one, for the end of a message. */
export function didYouMean(word: string, known: readonly string[]): string {
  let nearest = '';
  let least = Math.max(2, Math.ceil(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest === '' ? '' : `: did you mean '${nearest}'?`;
}

function editDistance(a: string, b: string): number {
  // A word of any length is compared with short ones.
  if (Math.abs(a.length - b.length) > 8) return a.length + b.length;
  let before = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (before[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (before[j] as number) + 1, (row[j - 1] as number) + 1));
    }
    before = row;
  }
  return before[b.length] as number;
}
