/**
 * Values on their way through a template, as they come from a message and as text. Used by templates, conditions and
 * transforms. A body is read as JSON at most once for each message, only when something asks for it, and only up to a
 * bound.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { type HeaderValue, type Message, RuleError, type RuleInput } from '../src/core/index.ts';

export type Value =
  | string
  | number
  | bigint
  | boolean
  | null
  | Uint8Array
  | readonly unknown[]
  | { readonly [name: string]: unknown };

/** Bytes of a body that is read as JSON. */
export const RULE_JSON_BYTES_MAX = 1024 * 1024;

interface Memo {
  /** Undefined: not looked at. */
  json?: { readonly value: unknown } | { readonly fault: string };
}

/** The body as JSON. Throws RuleError `payload`. */
export function jsonOf(input: RuleInput): unknown {
  input.memo ??= {};
  const memo = input.memo as Memo;
  memo.json ??= readJson(input.message.body);
  if ('fault' in memo.json) throw new RuleError('payload', memo.json.fault);
  return memo.json.value;
}

/** The same, or undefined where the body is none. */
export function jsonIfAny(input: RuleInput): unknown {
  try {
    return jsonOf(input);
  } catch (error) {
    if (error instanceof RuleError) return undefined;
    throw error;
  }
}

export function readJson(body: Uint8Array): { readonly value: unknown } | { readonly fault: string } {
  if (body.length > RULE_JSON_BYTES_MAX)
    return { fault: `the body has ${body.length} bytes; at most ${RULE_JSON_BYTES_MAX} are read as JSON` };
  try {
    return { value: JSON.parse(textFromBytes(body)) };
  } catch {
    return { fault: 'the body is not JSON' };
  }
}

/** Steps of `payload.a.b[0]`: names and indexes. */
export type Path = readonly (string | number)[];

/** `a.b[0]`; an empty text is the whole. Null where it cannot be read. */
export function parsePath(text: string): Path | null {
  const path: (string | number)[] = [];
  if (text === '') return path;
  for (const step of text.split('.')) {
    const found = /^([^[\]]*)((?:\[\d{1,6}\])*)$/.exec(step);
    if (found === null || (found[1] === '' && (found[2] === '' || path.length > 0))) return null;
    if (found[1] !== '') path.push(found[1]!);
    for (const [, index] of found[2]!.matchAll(/\[(\d+)\]/g)) path.push(Number(index));
  }
  return path;
}

/** What stands there, or undefined. Only what the value itself has, nothing of its prototype. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

export function headerValue(message: Message, name: string): Value | undefined {
  const header = message.properties.headers.find((each) => each.name === name);
  return header === undefined ? undefined : plainFromHeader(header.value);
}

export function plainFromHeader(value: HeaderValue): Value {
  if (value.kind === 'null') return null;
  if (value.kind === 'list') return value.value.map(plainFromHeader);
  if (value.kind === 'map')
    return Object.fromEntries(value.value.map((each) => [each.name, plainFromHeader(each.value)]));
  if (value.kind === 'decimal') return Number(value.value) / 10 ** value.scale;
  return value.value;
}

/** As it stands in an address, a header or a key. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Uint8Array)
    return isUtf8(value) ? textFromBytes(value) : bytesOf(value).toString('base64');
  if (typeof value === 'object')
    return JSON.stringify(value, (_name, part) => (typeof part === 'bigint' ? Number(part) : part));
  return String(value);
}

export function bytesOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function textFromBytes(bytes: Uint8Array): string {
  return bytesOf(bytes).toString('utf8');
}
