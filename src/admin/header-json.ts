/**
 * Typed header values as plain JSON for people: what clients gave as arguments of queues, exchanges and bindings.
 * Only shown, never read back: 64-bit integers and decimals are text, bytes are base64.
 */

import { Buffer } from 'node:buffer';
import type { Header, HeaderValue } from '../core/index.ts';

/** Repeated names keep their last value. */
export function jsonFromHeaders(headers: readonly Header[]): Record<string, unknown> {
  return Object.fromEntries(headers.map(({ name, value }) => [name, jsonFromHeaderValue(value)]));
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
