/**
 * Conditions of full rules, `where`: all of them must hold. Compiled once when a rule is put; a value that is not what
 * a condition compares with makes it false, never an error. Cheap conditions are asked before dear ones, so headers are
 * decoded and bodies read as JSON only for messages that pass the others.
 */

import type { RuleInput } from '../src/core/index.ts';
import { refuse } from './rules-syntax.ts';
import { headerValue, jsonIfAny, parsePath, textOf, valueAt } from './rules-values.ts';

type Test = (value: unknown) => boolean;
interface Condition {
  /** For people: what is compared. */
  readonly what: string;
  holds(input: RuleInput): boolean;
}

const ALTERNATIVES_MAX = 100;
const FIELDS_MAX = 50;
const TEXT_CHARS_MAX = 1_024;
const COMPARISON = /^(<=|>=|<|>|=|!=)\s*(-?\d+(?:\.\d+)?)\s*(KiB|MiB)?$/;
const UNITS: Readonly<Record<string, number>> = { KiB: 1_024, MiB: 1_048_576 };
const NAMES = ['qos', 'retain', 'size', 'contentType', 'principal', 'client', 'header', 'payload'];

/** Why a message is not taken, or null. Null instead of a function where nothing is asked. */
export function compileWhere(where: unknown, field: string): ((input: RuleInput) => string | null) | null {
  if (where === undefined) return null;
  const fields = objectAt(where, field);
  const conditions: Condition[] = [];
  for (const name of Object.keys(fields)) {
    if (!NAMES.includes(name))
      refuse(`${field}/${pointerStep(name)}`, `unknown condition; there are ${NAMES.join(', ')}`);
  }
  const add = (
    name: string,
    compile: (value: unknown, at: string) => Test,
    read: (input: RuleInput) => unknown,
  ) => {
    const value = fields[name];
    if (value === undefined) return;
    const test = compile(value, `${field}/${name}`);
    conditions.push({ what: `${name} is not ${JSON.stringify(value)}`, holds: (input) => test(read(input)) });
  };
  add('qos', compileNumber, ({ message }) => message.reliability);
  add('retain', compileBoolean, ({ message }) => message.retain);
  add('size', compileNumber, ({ message }) => message.body.length);
  add('principal', compileText, ({ principal }) => principal?.user);
  add('client', compileText, ({ message, principal }) => message.publisherId || principal?.clientId);
  add('contentType', compileText, ({ message }) => message.properties.contentType);
  for (const [name, value] of fieldsAt(fields.header, `${field}/header`)) {
    const test = compileAny(value, `${field}/header/${pointerStep(name)}`);
    const what = `header ${name} is not ${JSON.stringify(value)}`;
    conditions.push({ what, holds: ({ message }) => test(headerValue(message, name)) });
  }
  for (const [name, value] of fieldsAt(fields.payload, `${field}/payload`)) {
    const at = `${field}/payload/${pointerStep(name)}`;
    const path = parsePath(name);
    if (path === null) refuse(at, 'is no path into the body; write such as "state.values[0]"');
    const test = compileAny(value, at);
    const what = `payload ${name} is not ${JSON.stringify(value)}`;
    conditions.push({ what, holds: (input) => test(valueAt(jsonIfAny(input), path)) });
  }
  if (conditions.length === 0) return null;
  return (input) => {
    for (const condition of conditions) if (!condition.holds(input)) return condition.what;
    return null;
  };
}

/** `*` is any text. Takes time in proportion to both texts, whatever they hold. */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.length && pattern[p] === text[t]) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

function compileNumber(value: unknown, field: string): Test {
  if (typeof value === 'number') return (given) => given === value;
  const compared = typeof value === 'string' ? COMPARISON.exec(value) : null;
  if (compared === null) refuse(field, 'must be a number or a comparison, such as ">=1" or "<256KiB"');
  return compare(compared);
}

function compare([, operator, digits, unit]: RegExpExecArray): Test {
  const number = Number(digits) * (unit === undefined ? 1 : UNITS[unit]!);
  const test = (given: number): boolean => {
    switch (operator) {
      case '<':
        return given < number;
      case '<=':
        return given <= number;
      case '>':
        return given > number;
      case '>=':
        return given >= number;
      case '=':
        return given === number;
      default:
        return given !== number;
    }
  };
  return (given) => (typeof given === 'number' || typeof given === 'bigint') && test(Number(given));
}

function compileBoolean(value: unknown, field: string): Test {
  if (typeof value !== 'boolean') refuse(field, 'must be true or false');
  return (given) => given === value;
}

function compileText(value: unknown, field: string): Test {
  const patterns = Array.isArray(value) ? value : [value];
  if (patterns.length === 0 || patterns.length > ALTERNATIVES_MAX)
    refuse(field, `must be a text, or 1 to ${ALTERNATIVES_MAX} of them`);
  for (const each of patterns) {
    if (typeof each !== 'string' || each.length > TEXT_CHARS_MAX)
      refuse(
        field,
        `must be text of at most ${TEXT_CHARS_MAX} characters, * for anything, or a list of such`,
      );
  }
  return (given) => typeof given === 'string' && patterns.some((each) => matchesGlob(each as string, given));
}

/** A scalar, a comparison, a text with `*`, a list of these, or whether there is something at all. */
function compileAny(value: unknown, field: string): Test {
  if (Array.isArray(value)) {
    if (value.length === 0 || value.length > ALTERNATIVES_MAX)
      refuse(field, `has 1 to ${ALTERNATIVES_MAX} values`);
    const tests = value.map((each, index) => compileAny(each, `${field}/${index}`));
    return (given) => tests.some((test) => test(given));
  }
  if (typeof value === 'object' && value !== null) {
    const { exists, ...others } = value as { exists?: unknown };
    if (typeof exists !== 'boolean' || Object.keys(others).length > 0)
      refuse(field, 'must be a value, a list of values, or {"exists": true} or {"exists": false}');
    return (given) => (given !== undefined) === exists;
  }
  if (typeof value === 'string') {
    if (value.length > TEXT_CHARS_MAX) refuse(field, `at most ${TEXT_CHARS_MAX} characters`);
    const compared = COMPARISON.exec(value);
    if (compared !== null) return compare(compared);
    return (given) =>
      (typeof given === 'string' || given instanceof Uint8Array) && matchesGlob(value, textOf(given));
  }
  if (value !== null && typeof value !== 'boolean' && typeof value !== 'number')
    refuse(field, 'must be text, a number, true, false or null');
  return (given) => given === value || (typeof given === 'bigint' && Number(given) === value);
}

export function objectAt(value: unknown, field: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(field, 'must be an object');
  return value as Record<string, unknown>;
}

function fieldsAt(value: unknown, field: string): [name: string, value: unknown][] {
  if (value === undefined) return [];
  const entries = Object.entries(objectAt(value, field));
  if (entries.length > FIELDS_MAX) refuse(field, `at most ${FIELDS_MAX} fields`);
  return entries;
}

/** One name as a step of a JSON pointer. */
export function pointerStep(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
