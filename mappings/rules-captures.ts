/**
 * Where the captures of a rule lie in an address. Used by both forms of rules. Captures are found by counting
 * separators, so a message costs neither a split nor a regular expression; expressions of captures are asked once for
 * each address, when its route is found.
 */

import { MANY, ONE, Pattern, type Token } from '../src/core/index.ts';
import type { Level } from './rules-syntax.ts';

/** Where a capture lies: counted from the first level, or from the last where it follows the many. */
export interface Span {
  readonly many: boolean;
  /** Levels before it; where `fromEnd`, levels after it. */
  readonly levels: number;
  readonly fromEnd: boolean;
  /** Levels after a many. */
  readonly levelsAfter: number;
  readonly prefix: string;
  readonly suffix: string;
  readonly test: ((text: string) => boolean) | null;
}

export function patternFromLevels(levels: readonly Level[]): Pattern {
  const tokens: Token[] = [];
  for (const level of levels) {
    if (level.kind === 'literal') tokens.push(level.text);
    else tokens.push(ONE);
    // One or more: with zero levels, `a` and `a/` would have the same captures and so the same key.
    if (level.kind === 'many') tokens.push(MANY);
  }
  return new Pattern(tokens);
}

export function spansFromLevels(levels: readonly Level[]): Map<string, Span> {
  const spans = new Map<string, Span>();
  const manyAt = levels.findIndex((level) => level.kind === 'many');
  levels.forEach((level, index) => {
    if (level.kind === 'literal') return;
    const after = levels.length - 1 - index;
    const fromEnd = manyAt >= 0 && index > manyAt;
    spans.set(level.name, {
      many: level.kind === 'many',
      levels: fromEnd ? after : index,
      fromEnd,
      levelsAfter: after,
      prefix: level.kind === 'one' ? level.prefix : '',
      suffix: level.kind === 'one' ? level.suffix : '',
      test: level.kind === 'one' ? level.test : null,
    });
  });
  return spans;
}

/** Whether the captures fit an address that the pattern matches; null where they always do. */
export function acceptsFromSpans(spans: ReadonlyMap<string, Span>): ((address: string) => boolean) | null {
  const partial = [...spans.values()].filter(
    ({ prefix, suffix, test }) => prefix !== '' || suffix !== '' || test !== null,
  );
  return partial.length === 0 ? null : (address) => partial.every((span) => fits(address, span));
}

/** The text of a capture in an address that the rule takes. */
export function capturedText(address: string, span: Span): string {
  const text = wholeText(address, span);
  const { prefix, suffix } = span;
  return prefix === '' && suffix === '' ? text : text.slice(prefix.length, text.length - suffix.length);
}

/** The index at which the level begins that has `levels` before it. */
function startOfLevel(address: string, levels: number): number {
  let at = 0;
  for (let left = levels; left > 0; left--) at = address.indexOf('/', at) + 1;
  return at;
}

/** The index at which the level ends that has `levels` after it. */
function endOfLevel(address: string, levels: number): number {
  let end = address.length;
  for (let left = levels; left > 0; left--) end = address.lastIndexOf('/', end - 1);
  return end;
}

/** The span's level with what the rule has around the capture. `address` matches the rule's pattern. */
function wholeText(address: string, span: Span): string {
  if (span.fromEnd) {
    const end = endOfLevel(address, span.levels);
    return address.slice(end === 0 ? 0 : address.lastIndexOf('/', end - 1) + 1, end);
  }
  const start = startOfLevel(address, span.levels);
  if (span.many) return address.slice(start, endOfLevel(address, span.levelsAfter));
  const end = address.indexOf('/', start);
  return end < 0 ? address.slice(start) : address.slice(start, end);
}

function fits(address: string, span: Span): boolean {
  const text = wholeText(address, span);
  const { prefix, suffix, test } = span;
  if (text.length < prefix.length + suffix.length || !text.startsWith(prefix) || !text.endsWith(suffix))
    return false;
  return test === null || test(text.slice(prefix.length, text.length - suffix.length));
}
