/**
 * Patterns over addresses. An address is text with levels separated by `/`; a pattern is a list of typed tokens,
 * so that a level whose text happens to be a protocol's wildcard character is still a literal. `MANY` may stand
 * anywhere and matches zero or more levels. A wildcard never matches a first level that begins with `$`.
 */

/** Exactly one level of any text. */
export const ONE = 1;
/** Zero or more levels. */
export const MANY = 2;

export type Token = string | typeof ONE | typeof MANY;

export class Pattern {
  readonly tokens: readonly Token[];
  /** Equal for equal patterns, different for different ones; also the stored form. */
  readonly key: string;
  /** The only address that it matches, or null where it holds a wildcard. */
  readonly literal: string | null;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
    this.key = JSON.stringify(tokens);
    this.literal = tokens.every((token) => typeof token === 'string') ? tokens.join('/') : null;
  }

  /** The pattern that matches just this address. */
  static of(address: string): Pattern {
    return new Pattern(address.split('/'));
  }

  /** Reads back `key`. */
  static parse(key: string): Pattern {
    return new Pattern(JSON.parse(key) as Token[]);
  }

  matches(address: string): boolean {
    if (this.literal !== null) return this.literal === address;
    const first = this.tokens[0];
    if (typeof first !== 'string' && address.startsWith('$')) return false;
    return matchFrom(this.tokens, 0, address.split('/'), 0);
  }

  /** Whether some address could match both. */
  overlaps(other: Pattern): boolean {
    const mine = this.tokens[0];
    const theirs = other.tokens[0];
    if (typeof mine !== 'string' && typeof theirs === 'string' && theirs.startsWith('$')) return false;
    if (typeof theirs !== 'string' && typeof mine === 'string' && mine.startsWith('$')) return false;
    return overlapFrom(this.tokens, 0, other.tokens, 0);
  }

  /** `*` for one level and `#` for many, for people and logs; not reversible where levels hold these characters. */
  toString(): string {
    return this.tokens.map((token) => (token === ONE ? '+' : token === MANY ? '#' : token)).join('/');
  }
}

function matchFrom(tokens: readonly Token[], t: number, levels: readonly string[], l: number): boolean {
  for (; t < tokens.length; t++, l++) {
    const token = tokens[t];
    if (token === MANY) {
      if (t === tokens.length - 1) return true;
      for (let skip = l; skip <= levels.length; skip++) {
        if (matchFrom(tokens, t + 1, levels, skip)) return true;
      }
      return false;
    }
    if (l >= levels.length) return false;
    if (token !== ONE && token !== levels[l]) return false;
  }
  return l === levels.length;
}

function overlapFrom(a: readonly Token[], i: number, b: readonly Token[], j: number): boolean {
  if (i === a.length && j === b.length) return true;
  if (i < a.length && a[i] === MANY) {
    return overlapFrom(a, i + 1, b, j) || (j < b.length && overlapFrom(a, i, b, j + 1));
  }
  if (j < b.length && b[j] === MANY) {
    return overlapFrom(a, i, b, j + 1) || (i < a.length && overlapFrom(a, i + 1, b, j));
  }
  if (i === a.length || j === b.length) return false;
  const x = a[i];
  const y = b[j];
  if (x !== ONE && y !== ONE && x !== y) return false;
  return overlapFrom(a, i + 1, b, j + 1);
}
