/** Conditions of headers exchanges: whether a message carries the headers that a binding asks for. Pure. */

import { Buffer } from 'node:buffer';
import type { HeaderMatch } from './index.ts';
import type { Header, HeaderValue } from './message.ts';

/**
 * `all` and `any` leave out what begins with `x-`; the variants `-with-x` do not. A wanted header without a value
 * only has to be there. A binding that wants nothing matches everything under `all` and nothing under `any`.
 */
export function matchesHeaders(match: HeaderMatch, headers: readonly Header[]): boolean {
  const withX = match.mode === 'all-with-x' || match.mode === 'any-with-x';
  const wanted = withX ? match.headers : match.headers.filter((header) => !header.name.startsWith('x-'));
  const has = (want: Header) =>
    headers.some(
      (header) =>
        header.name === want.name && (want.value.kind === 'null' || isSame(header.value, want.value)),
    );
  return match.mode === 'all' || match.mode === 'all-with-x' ? wanted.every(has) : wanted.some(has);
}

/** Numbers compare by value, whatever their width; everything else by kind and value. */
export function isSame(a: HeaderValue, b: HeaderValue): boolean {
  const x = numberOf(a);
  const y = numberOf(b);
  // Loose on purpose: an integer of 64 bits is a bigint and equals the same number of 32 bits.
  if (x !== null && y !== null) return typeof x === typeof y ? x === y : isEqualAcross(x, y);
  switch (a.kind) {
    case 'null':
      return b.kind === 'null';
    case 'bool':
      return b.kind === 'bool' && a.value === b.value;
    case 'bytes':
      return b.kind === 'bytes' && Buffer.compare(a.value, b.value) === 0;
    case 'timestamp':
      return b.kind === 'timestamp' && a.value === b.value;
    case 'decimal':
      return b.kind === 'decimal' && a.scale === b.scale && a.value === b.value;
    case 'list':
      return (
        b.kind === 'list' &&
        a.value.length === b.value.length &&
        a.value.every((v, i) => isSameAt(v, b.value, i))
      );
    case 'map':
      return b.kind === 'map' && areSameHeaders(a.value, b.value);
    case 'string':
    case 'symbol':
    case 'uuid':
    case 'char':
      return 'value' in b && typeof b.value === 'string' && a.value === b.value;
    default:
      return false;
  }
}

/** Whether two tables hold the same names with the same values, in any order. */
export function areSameHeaders(a: readonly Header[], b: readonly Header[]): boolean {
  if (a.length !== b.length) return false;
  return a.every((header) =>
    b.some((other) => other.name === header.name && isSame(other.value, header.value)),
  );
}

function isSameAt(value: HeaderValue, values: readonly HeaderValue[], at: number): boolean {
  const other = values[at];
  return other !== undefined && isSame(value, other);
}

function numberOf(value: HeaderValue): number | bigint | null {
  switch (value.kind) {
    case 'i8':
    case 'u8':
    case 'i16':
    case 'u16':
    case 'i32':
    case 'u32':
    case 'f32':
    case 'f64':
    case 'i64':
    case 'u64':
      return value.value;
    default:
      return null;
  }
}

function isEqualAcross(a: number | bigint, b: number | bigint): boolean {
  const number = typeof a === 'number' ? a : (b as number);
  const big = typeof a === 'bigint' ? a : (b as bigint);
  return Number.isInteger(number) && BigInt(number) === big;
}
