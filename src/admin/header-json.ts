/**
 * Typed header values as plain JSON for people: what clients gave as arguments of queues, exchanges and bindings. Shown
 * ones are not read back: 64-bit integers and decimals are text, bytes are base64.
 */

import { Buffer } from 'node:buffer';
import type { Header, HeaderValue } from '../core/index.ts';

/** Repeated names keep their last value. */
export function jsonFromHeaders(headers: readonly Header[]): Record<string, unknown> {
  return Object.fromEntries(headers.map(({ name, value }) => [name, jsonFromHeaderValue(value)]));
}

/** What callers say of headers in plain JSON: text, numbers, true, false and null. */
export function headersFromJson(json: Readonly<Record<string, string | number | boolean | null>>): Header[] {
  return Object.entries(json).map(([name, value]) => ({ name, value: headerValueFromJson(value) }));
}

function headerValueFromJson(value: string | number | boolean | null): HeaderValue {
  if (value === null) return { kind: 'null' };
  if (typeof value === 'string') return { kind: 'string', value };
  if (typeof value === 'boolean') return { kind: 'bool', value };
  return Number.isSafeInteger(value) ? { kind: 'i64', value: BigInt(value) } : { kind: 'f64', value };
}

function jsonFromHeaderValue(value: HeaderValue): unknown {
  switch (value.kind) {
    case 'null':
      return null;
    case 'i64':
    case 'u64':
      return String(value.value);
    case 'decimal':
      return `${value.value}e${-value.scale}`;
    case 'bytes':
      return Buffer.from(value.value).toString('base64');
    case 'list':
      return value.value.map(jsonFromHeaderValue);
    case 'map':
      return jsonFromHeaders(value.value);
    case 'f32':
    case 'f64':
      return Number.isFinite(value.value) ? value.value : String(value.value);
    default:
      return value.value;
  }
}
