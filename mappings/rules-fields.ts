/** Small checks of the fields of a full rule, shared by the rule itself and its targets. Each refusal has a pointer. */

import { refuse } from './rules-syntax.ts';
import { pointerStep } from './rules-where.ts';

export function knownFields(
  value: object,
  names: readonly string[],
  field: string,
): Readonly<Record<string, unknown>> {
  for (const name of Object.keys(value)) {
    if (!names.includes(name))
      refuse(`${field}/${pointerStep(name)}`, `unknown field; there are ${names.join(', ')}`);
  }
  return value as Readonly<Record<string, unknown>>;
}

export function wholeNumber(
  value: unknown,
  instead: number,
  low: number,
  high: number,
  field: string,
): number {
  if (value === undefined) return instead;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high)
    refuse(field, `must be a whole number from ${low} to ${high}`);
  return value;
}

/** One of the values; the first where nothing is said. */
export function oneOf<T extends string | boolean>(value: unknown, known: readonly T[], field: string): T {
  if (value === undefined) return known[0]!;
  const found = known.find((each) => each === value);
  if (found === undefined) refuse(field, `must be ${known.map((each) => JSON.stringify(each)).join(' or ')}`);
  return found;
}

const DURATION = /^(\d{1,12})(ms|s|m|h|d)$/;
const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
/** What every protocol can say: seconds in 32 bits. */
const DURATION_MS_MAX = 4_294_967_295_000;

/** Milliseconds of `30s`, `5m`, `1h`, `7d`, or a number of milliseconds. */
export function duration(value: unknown, field: string): number {
  const found = typeof value === 'string' ? DURATION.exec(value) : null;
  const ms = found === null ? value : Number(found[1]) * UNITS_MS[found[2]!]!;
  if (typeof ms !== 'number' || !Number.isInteger(ms) || ms < 1 || ms > DURATION_MS_MAX)
    refuse(field, 'must be a time such as "500ms", "30s", "5m", "1h" or "7d", or a number of milliseconds');
  return ms;
}

/**
 * Compiles at the first call. A definition is checked whole when it is put; of ten thousand rules that are put at once
 * most wait long for their first message, and what is not kept until then costs no memory and no pauses to collect it.
 */
export function lazily<Input, Output>(compile: () => (input: Input) => Output): (input: Input) => Output {
  let compiled: ((input: Input) => Output) | null = null;
  return (input) => {
    compiled ??= compile();
    return compiled(input);
  };
}
