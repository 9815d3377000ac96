/**
 * Reads the two texts of a mapping rule: `match`, levels with captures, and `key`, a template over them. Called by
 * `rules.ts` only. Every refusal is a CoreError `invalid-argument` whose `field` points at the part of the
 * definition, with a sentence that says what to write instead. The grammar:
 *
 *     match   = level *("/" level)
 *     level   = literal / [literal] "{" name [":" regex] "}" [literal] / "{" name "...}"
 *     key     = *(literal / "{" name "}" / "{address}")
 *     name    = letter or "_", then up to 63 letters, digits, "_" and "-"
 *
 * `{{` and `}}` are literal braces. `{x}` is one level or a part of one, `{x...}` is one or more whole levels;
 * `{x:regex}` is one of which the expression says what it may be (`rules-regex.ts`).
 */

import { CoreError, DEFAULT_LIMITS } from '../src/core/index.ts';
import { compileLevelRegex } from './rules-regex.ts';

/** UTF-16 units of `match` and of `key`. */
const RULE_TEXT_MAX = 4_096;
const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;

/** The variable that is not captured: the whole address. */
export const ADDRESS_VARIABLE = 'address';

export type Level =
  | { readonly kind: 'literal'; readonly text: string }
  /** Text before and after the capture inside the level; both empty for a whole level. */
  | {
      readonly kind: 'one';
      readonly name: string;
      readonly prefix: string;
      readonly suffix: string;
      /** What the capture may be; null: anything. */
      readonly test: ((text: string) => boolean) | null;
    }
  | { readonly kind: 'many'; readonly name: string };

export type TemplatePart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'variable'; readonly name: string };

type Piece =
  | TemplatePart
  | { readonly kind: 'many'; readonly name: string }
  | { readonly kind: 'regex'; readonly name: string; readonly test: (text: string) => boolean };

export function refuse(field: string, reason: string): never {
  throw new CoreError('invalid-argument', reason, { field });
}

/** The levels of `match`. */
export function parseMatch(match: string, field = '/match'): Level[] {
  checkText(match, field);
  const texts = splitLevels(match, field);
  if (texts.length > DEFAULT_LIMITS.addressLevelsMax) {
    refuse(field, `at most ${DEFAULT_LIMITS.addressLevelsMax} levels`);
  }
  const levels = texts.map((text) => parseLevel(text, field));
  const names = new Set<string>();
  let many = 0;
  for (const level of levels) {
    if (level.kind === 'literal') continue;
    if (level.kind === 'many') many++;
    if (level.name === ADDRESS_VARIABLE)
      refuse(field, 'the name {address} means the whole address; use another');
    if (names.has(level.name)) refuse(field, `{${level.name}} is captured twice`);
    names.add(level.name);
  }
  if (many > 1)
    refuse(field, 'only one {name...} in a rule: with two, it is not clear which level belongs to which');
  const first = levels[0];
  const start = first?.kind === 'literal' ? first.text : first?.kind === 'one' ? first.prefix : '';
  if (start.startsWith('$')) refuse(field, 'addresses that begin with $ belong to the gateway');
  return levels;
}

/** The parts of `key`; `names` are the captures that `match` has. */
export function parseKey(key: string, names: ReadonlySet<string>, field = '/key'): TemplatePart[] {
  checkText(key, field);
  return parsePieces(key, field).map((piece) => {
    if (piece.kind === 'many') refuse(field, `write {${piece.name}} here; the dots belong to match`);
    if (piece.kind === 'regex') refuse(field, `write {${piece.name}} here; the expression belongs to match`);
    if (piece.kind === 'variable' && piece.name !== ADDRESS_VARIABLE && !names.has(piece.name)) {
      const known = [...names].map((name) => `{${name}}`).join(', ');
      refuse(
        field,
        `{${piece.name}} is not captured by match, which has ${known === '' ? 'no captures' : known}`,
      );
    }
    return piece;
  });
}

function checkText(text: string, field: string): void {
  if (text === '') refuse(field, 'must not be empty');
  if (text.length > RULE_TEXT_MAX) refuse(field, `at most ${RULE_TEXT_MAX} characters`);
  if (text.includes('\0') || !text.isWellFormed()) refuse(field, 'holds a character that no address can');
}

function parseLevel(text: string, field: string): Level {
  if (text === '') refuse(field, 'a level is empty: no leading, trailing or double slash in a rule');
  if (text === '+' || text === '*') refuse(field, `write {name} instead of ${text} for one level`);
  if (text === '#') refuse(field, 'write {name...} instead of # for the rest of the levels');
  const pieces = parsePieces(text, field);
  const captures = pieces.filter((piece) => piece.kind !== 'text');
  const capture = captures[0];
  if (capture === undefined) return { kind: 'literal', text: literalOf(pieces) };
  if (captures.length > 1) refuse(field, `one capture in a level, but \`${text}\` has ${captures.length}`);
  const at = pieces.indexOf(capture);
  const prefix = literalOf(pieces.slice(0, at));
  const suffix = literalOf(pieces.slice(at + 1));
  if (capture.kind === 'variable') return { kind: 'one', name: capture.name, prefix, suffix, test: null };
  if (capture.kind === 'regex')
    return { kind: 'one', name: capture.name, prefix, suffix, test: capture.test };
  if (prefix !== '' || suffix !== '') refuse(field, `{${capture.name}...} stands for whole levels, alone`);
  return { kind: 'many', name: capture.name };
}

function literalOf(pieces: readonly Piece[]): string {
  return pieces.map((piece) => (piece.kind === 'text' ? piece.text : '')).join('');
}

/** Literals and braces of one text, neighbouring literals joined. */
function parsePieces(text: string, field: string): Piece[] {
  const pieces: Piece[] = [];
  let literal = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if ((char === '{' || char === '}') && text[at + 1] === char) {
      literal += char;
      at++;
    } else if (char === '}') {
      refuse(field, 'a } without its {; write }} for a brace');
    } else if (char === '{') {
      const end = endOfBraces(text, at);
      if (end < 0) refuse(field, 'a { without its }; write {{ for a brace');
      if (literal !== '') pieces.push({ kind: 'text', text: literal });
      literal = '';
      pieces.push(parseVariable(text.slice(at + 1, end), field));
      at = end;
    } else {
      literal += char;
    }
  }
  if (literal !== '') pieces.push({ kind: 'text', text: literal });
  return pieces;
}

/** The levels' texts; a `/` inside braces is no separator, so that its fault is told where it is. */
function splitLevels(match: string, field: string): string[] {
  const texts: string[] = [];
  let start = 0;
  for (let at = 0; at < match.length; at++) {
    const char = match[at]!;
    if ((char === '{' || char === '}') && match[at + 1] === char) at++;
    else if (char === '{') {
      const end = endOfBraces(match, at);
      if (end < 0) continue;
      if (match.slice(at, end).includes('/')) refuse(field, 'a capture is of one level, which holds no /');
      at = end;
    } else if (char === '/') {
      texts.push(match.slice(start, at));
      start = at + 1;
    }
  }
  return [...texts, match.slice(start)];
}

/** Where the brace at `from` is closed; counts of an expression, such as `{2}`, are inside. -1 where it is not. */
function endOfBraces(text: string, from: number): number {
  const end = text.indexOf('}', from);
  const colon = text.indexOf(':', from);
  if (colon < 0 || colon > end) return end;
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '{') depth++;
    else if (text[at] === '}' && --depth === 0) return at;
  }
  return -1;
}

function parseVariable(inside: string, field: string): Piece {
  const colon = inside.indexOf(':');
  if (colon >= 0) {
    const name = inside.slice(0, colon);
    if (!NAME.test(name)) refuse(field, `{${inside}}: before the colon stands a name`);
    const test = compileLevelRegex(inside.slice(colon + 1), (reason) =>
      refuse(field, `{${name}}: ${reason}`),
    );
    return { kind: 'regex', name, test };
  }
  const many = inside.endsWith('...');
  const name = many ? inside.slice(0, -3) : inside;
  if (!NAME.test(name)) {
    refuse(field, `{${inside}} is no name: a letter or _, then at most 63 letters, digits, _ and -`);
  }
  return { kind: many ? 'many' : 'variable', name };
}
