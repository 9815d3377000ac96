/**
 * The functions of a template's pipeline, `{site|lower|pad(8)}`. Pure and bounded: none makes more than
 * `TEXT_CHARS_MAX` characters, none looks at a clock. Called by `rules-template.ts`, which checks how many arguments
 * there are when the rule is compiled. A value that is not there is `undefined` and passes through every function but
 * `default` and `required`.
 */

import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { RuleError, swapSeparators } from '../src/core/index.ts';
import { kafkaFromAddress } from './kafka-topics.ts';
import { bytesOf, textOf } from './rules-values.ts';

export type Argument = string | number;

export interface PipelineFunction {
  readonly argumentsMin: number;
  readonly argumentsMax: number;
  /** Why an argument cannot be, or null. Asked once, when the rule is compiled. */
  check?(given: readonly Argument[]): string | null;
  apply(value: unknown, given: readonly Argument[]): unknown;
}

/** Characters that one function makes at most, and a whole template. */
export const TEXT_CHARS_MAX = 1024 * 1024;
const PAD_MAX = 1_024;
const MAP_PAIRS_MAX = 100;
const HASH_DIGITS_MAX = 64;

function encoded(encoding: 'base64' | 'hex'): PipelineFunction {
  return {
    argumentsMin: 0,
    argumentsMax: 0,
    apply: (value) =>
      value === undefined || value === null
        ? value
        : bounded(
            (value instanceof Uint8Array ? bytesOf(value) : Buffer.from(textOf(value))).toString(encoding),
          ),
  };
}

function onText(
  argumentsMin: number,
  argumentsMax: number,
  apply: (text: string, given: readonly Argument[]) => unknown,
  check?: PipelineFunction['check'],
): PipelineFunction {
  return {
    argumentsMin,
    argumentsMax,
    ...(check === undefined ? {} : { check }),
    apply: (value, given) =>
      value === undefined || value === null ? value : bounded(apply(textOf(value), given)),
  };
}

function bounded(value: unknown): unknown {
  if (typeof value === 'string' && value.length > TEXT_CHARS_MAX)
    throw new RuleError('too-large', `a template made more than ${TEXT_CHARS_MAX} characters`);
  return value;
}

const wholeNumbers = (low: number, high: number) => (given: readonly Argument[]) =>
  given.every((each) => Number.isInteger(each) && Number(each) >= low && Number(each) <= high)
    ? null
    : `takes whole numbers from ${low} to ${high}`;

const notEmpty = (given: readonly Argument[]) => (given[0] === '' ? 'takes a text that is not empty' : null);

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export const FUNCTIONS: Readonly<Record<string, PipelineFunction>> = {
  default: {
    argumentsMin: 1,
    argumentsMax: 1,
    apply: (value, [instead]) => (value === undefined || value === null || value === '' ? instead : value),
  },
  required: {
    argumentsMin: 0,
    argumentsMax: 0,
    apply: (value) => {
      if (value === undefined || value === null || value === '')
        throw new RuleError('missing', 'a required value is missing or empty');
      return value;
    },
  },
  lower: onText(0, 0, (text) => text.toLowerCase()),
  upper: onText(0, 0, (text) => text.toUpperCase()),
  trim: onText(0, 0, (text) => text.trim()),
  replace: onText(2, 2, (text, [from, to]) => text.replaceAll(String(from), () => String(to)), notEmpty),
  before: onText(
    1,
    1,
    (text, [mark]) => {
      const at = text.indexOf(String(mark));
      return at < 0 ? text : text.slice(0, at);
    },
    notEmpty,
  ),
  after: onText(
    1,
    1,
    (text, [mark]) => {
      const at = text.indexOf(String(mark));
      return at < 0 ? '' : text.slice(at + String(mark).length);
    },
    notEmpty,
  ),
  split: onText(
    1,
    2,
    (text, [mark, index]) => {
      const parts = text.split(String(mark));
      return index === undefined ? parts : parts.at(Number(index));
    },
    (given) =>
      notEmpty(given) ??
      (given[1] === undefined || Number.isInteger(given[1]) ? null : 'takes a text and a whole number'),
  ),
  join: {
    argumentsMin: 1,
    argumentsMax: 1,
    apply: (value, [mark]) =>
      Array.isArray(value) ? bounded(value.map((each) => textOf(each)).join(String(mark))) : value,
  },
  slice: onText(
    1,
    2,
    (text, [from, to]) => text.slice(Number(from), to === undefined ? undefined : Number(to)),
    wholeNumbers(-65_535, 65_535),
  ),
  pad: onText(
    1,
    2,
    (text, [length, fill]) => text.padStart(Number(length), String(fill ?? '0')),
    (given) =>
      wholeNumbers(0, PAD_MAX)(given.slice(0, 1)) ??
      (given[1] === '' ? 'pads with a text that is not empty' : null),
  ),
  kafka: onText(0, 0, kafkaFromAddress),
  amqp: onText(0, 0, swapSeparators),
  url: onText(0, 0, (text) => encodeURIComponent(text.toWellFormed())),
  base64: encoded('base64'),
  hex: encoded('hex'),
  hash: onText(
    0,
    1,
    (text, [digits]) => hashOf(text).slice(0, Number(digits ?? 16)),
    wholeNumbers(1, HASH_DIGITS_MAX),
  ),
  mod: onText(
    1,
    1,
    (text, [divisor]) => {
      const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.parseInt(hashOf(text).slice(0, 12), 16);
      return number % Number(divisor);
    },
    wholeNumbers(1, 1_000_000_000),
  ),
  millis: onText(0, 0, (text) => {
    const number = Number(text);
    if (text !== '' && Number.isFinite(number)) return Math.trunc(number);
    const parsed = Date.parse(text);
    if (Number.isNaN(parsed)) throw new RuleError('payload', `'${text.slice(0, 50)}' is no time`);
    return parsed;
  }),
  date: onText(0, 0, (text) => {
    const number = Number(text);
    // What ISO 8601 says with four digits of the year.
    if (!Number.isFinite(number) || Math.abs(number) > 253_402_300_799_999)
      throw new RuleError('payload', `'${text.slice(0, 50)}' is no time in milliseconds`);
    return new Date(number).toISOString();
  }),
  json: {
    argumentsMin: 0,
    argumentsMax: 0,
    apply: (value) =>
      value === undefined
        ? value
        : bounded(
            JSON.stringify(value instanceof Uint8Array || typeof value === 'bigint' ? textOf(value) : value),
          ),
  },
  map: onText(2, 2 * MAP_PAIRS_MAX + 1, (text, given) => {
    for (let at = 0; at + 1 < given.length; at += 2) if (String(given[at]) === text) return given[at + 1];
    return given.length % 2 === 1 ? given.at(-1) : undefined;
  }),
};
