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
    return matchLevels(this.tokens, address.split('/'));
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

/** Goes back only to the last `MANY`, so the cost is bounded by tokens times levels whatever the pattern. */
function matchLevels(tokens: readonly Token[], levels: readonly string[]): boolean {
  let t = 0;
  let l = 0;
  let many = -1;
  let resumeAt = 0;
  while (l < levels.length) {
    const token = tokens[t];
    if (t < tokens.length && token === MANY) {
      many = t++;
      resumeAt = l;
    } else if (t < tokens.length && (token === ONE || token === levels[l])) {
      t++;
      l++;
    } else if (many >= 0) {
      t = many + 1;
      l = ++resumeAt;
    } else {
      return false;
    }
  }
  while (t < tokens.length && tokens[t] === MANY) t++;
  return t === tokens.length;
}

/** Each pair of places is looked at once: `seen` holds those that led nowhere. */
function overlapFrom(
  a: readonly Token[],
  i: number,
  b: readonly Token[],
  j: number,
  seen: Set<number> = new Set(),
): boolean {
  if (i === a.length && j === b.length) return true;
  const place = i * (b.length + 1) + j;
  if (seen.has(place)) return false;
  seen.add(place);
  if (i < a.length && a[i] === MANY) {
    return overlapFrom(a, i + 1, b, j, seen) || (j < b.length && overlapFrom(a, i, b, j + 1, seen));
  }
  if (j < b.length && b[j] === MANY) {
    return overlapFrom(a, i, b, j + 1, seen) || (i < a.length && overlapFrom(a, i + 1, b, j, seen));
  }
  if (i === a.length || j === b.length) return false;
  const x = a[i];
  const y = b[j];
  if (x !== ONE && y !== ONE && x !== y) return false;
  return overlapFrom(a, i + 1, b, j + 1, seen);
}
