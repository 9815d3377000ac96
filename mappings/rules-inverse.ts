/**
 * The way back of a mapping rule: from a record's key to the captures and so to the address. Called by `rules.ts`
 * only. A capture of one level holds no slash, so a separator that holds one always tells where the capture before
 * it ends; the one capture that may hold slashes is what is left between those read from the left and those read
 * from the right. What is found is a proposal: the caller compares the key of the address with the key given.
 */

import { ADDRESS_VARIABLE, type Level, type TemplatePart } from './rules-syntax.ts';

export function addressFromCaptures(
  levels: readonly Level[],
  captures: ReadonlyMap<string, string>,
): string | null {
  const whole = captures.get(ADDRESS_VARIABLE);
  if (whole !== undefined) return whole;
  const texts: string[] = [];
  for (const level of levels) {
    if (level.kind === 'literal') {
      texts.push(level.text);
      continue;
    }
    const captured = captures.get(level.name)!;
    if (level.kind === 'many') texts.push(captured);
    else texts.push(`${level.prefix}${captured}${level.suffix}`);
  }
  return texts.join('/');
}

/** Why a key does not lead back to its address, or null where it does. */
export function oneWayReason(
  levels: readonly Level[],
  template: readonly TemplatePart[] | null,
): string | null {
  const names = levels.flatMap((level) => (level.kind === 'literal' ? [] : [level.name]));
  if (names.length === 0) return null;
  if (template === null) return 'the key is null, so it does not say which address a record belongs to';
  const variables = template.flatMap((part) => (part.kind === 'variable' ? [part.name] : []));
  if (variables.includes(ADDRESS_VARIABLE)) {
    return variables.length === 1
      ? null
      : 'the key has {address} beside other variables; {address} alone leads back';
  }
  for (const name of names) {
    const count = variables.filter((each) => each === name).length;
    if (count === 0) return `the key does not hold {${name}}, so it cannot be known from a record`;
    if (count > 1) return `the key holds {${name}} more than once`;
  }
  for (let at = 1; at < template.length; at++) {
    const before = template[at - 1]!;
    const here = template[at]!;
    if (before.kind === 'variable' && here.kind === 'variable') {
      return `nothing separates {${before.name}} and {${here.name}} in the key`;
    }
    const next = template[at + 1];
    if (before.kind !== 'variable' || here.kind !== 'text' || next?.kind !== 'variable') continue;
    if (!here.text.includes('/')) {
      return `\`${here.text}\` may stand inside {${before.name}} or {${next.name}}; a separator that holds / cannot`;
    }
  }
  return null;
}

/** The captures that a key was made of, or null where it was not made by this template. */
export function capturesFromKey(
  template: readonly TemplatePart[],
  levels: readonly Level[],
  key: string,
): Map<string, string> | null {
  const many = levels.find((level) => level.kind === 'many')?.name;
  const captures = new Map<string, string>();
  let from = 0;
  let to = key.length;
  let first = 0;
  let last = template.length - 1;
  // From the left up to the capture that may hold slashes, then from the right down to it.
  for (; first <= last; first++) {
    const part = template[first]!;
    if (part.kind === 'text') {
      if (!key.startsWith(part.text, from)) return null;
      from += part.text.length;
    } else {
      if (part.name === many || part.name === ADDRESS_VARIABLE) break;
      const next = template[first + 1];
      const end = next === undefined ? key.length : endBefore(key, from, next);
      if (end < from) return null;
      captures.set(part.name, key.slice(from, end));
      from = end;
    }
  }
  for (; last > first; last--) {
    const part = template[last]!;
    if (part.kind === 'text') {
      if (!key.endsWith(part.text, to) && part.text !== '') return null;
      to -= part.text.length;
    } else {
      const start = startAfter(key, to, template[last - 1]!);
      if (start < 0) return null;
      captures.set(part.name, key.slice(start, to));
      to = start;
    }
    if (to < from) return null;
  }
  if (first > last) return from === key.length && areLevels(captures) ? captures : null;
  const rest = template[first]!;
  // A capture of one level with a slash in it came from no address.
  if (rest.kind !== 'variable' || !areLevels(captures)) return null;
  return captures.set(rest.name, key.slice(from, to));
}

/** Where a capture that begins at `from` ends, given the text after it; before `from` where it cannot. */
function endBefore(key: string, from: number, next: TemplatePart): number {
  if (next.kind !== 'text') return -1;
  const slash = next.text.indexOf('/');
  // Text without a slash is the template's last part, so the capture is all that is left before it.
  if (slash < 0) return key.endsWith(next.text) ? key.length - next.text.length : -1;
  const at = key.indexOf('/', from);
  return at < 0 ? -1 : at - slash;
}

/** Where a capture that ends at `to` begins, given the text before it; -1 where it cannot. */
function startAfter(key: string, to: number, before: TemplatePart): number {
  if (before.kind !== 'text') return -1;
  const slash = before.text.lastIndexOf('/');
  const at = to === 0 ? -1 : key.lastIndexOf('/', to - 1);
  return at < 0 ? -1 : at + (before.text.length - slash);
}

function areLevels(captures: ReadonlyMap<string, string>): boolean {
  for (const text of captures.values()) if (text.includes('/')) return false;
  return true;
}
