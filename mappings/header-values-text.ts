/**
 * One header value ⇔ text and a code, for protocols whose headers are text only. The text is what a plain
 * consumer wants to read (`42`, `true`, `2026-01-31T12:00:00.000Z`, base64, JSON); the code is what brings the
 * exact kind back. Called by `header-values.ts`, which carries the codes in one reserved header. Every value of
 * every kind returns exactly as it was; a text that does not fit its code returns null, and the caller then keeps
 * it as a string, because a client may have changed it.
 *
 * | kind                          | text                                                  | code                 |
 * |-------------------------------|-------------------------------------------------------|----------------------|
 * | string symbol uuid char       | itself; base64 of UTF-8 where it holds U+0000         | kind, or `kind.64`   |
 * | bytes                         | base64                                                | `bytes`              |
 * | bool                          | `true`, `false`                                       | `bool`               |
 * | i8 u8 i16 u16 i32 u32 i64 u64 | decimal digits                                        | kind                 |
 * | f32 f64                       | the fewest digits that read back equal; `NaN`, `-0`   | kind                 |
 * | decimal                       | `12.50` (scale 2); `5e3` and `5e-99` for odd scales   | `decimal`            |
 * | timestamp                     | ISO 8601 in UTC, or milliseconds outside years 0-9999 | `timestamp`, with `.s` where the source has whole seconds |
 * | null                          | empty                                                 | `null`               |
 * | list, map                     | JSON, see `jsonFromValue`                             | kind                 |
 */

import { Buffer, isUtf8 } from 'node:buffer';
import type { Header, HeaderValue } from '../src/core/index.ts';

/** How deep lists and maps may nest; decoders refuse more, and text that nests deeper stays text. */
export const HEADER_DEPTH_MAX = 32;

const INTEGER = /^-?\d{1,20}$/;
const NUMBER = /^(?:-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|-?Infinity)$/;
const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?(?:e(-?\d{1,6}))?$/;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
/** Longer text of digits is no decimal: reading it would take time that grows with its square. */
const DECIMAL_TEXT_MAX = 1_000;
/** Decimal places up to which a decimal is written with a point. */
const PLAIN_SCALE_MAX = 40;
const ISO_MIN_MS = -62_167_219_200_000;
const ISO_MAX_MS = 253_402_300_799_999;

const INTEGER_RANGES: Readonly<Record<string, readonly [min: number, max: number]>> = {
  i8: [-0x80, 0x7f],
  u8: [0, 0xff],
  i16: [-0x8000, 0x7fff],
  u16: [0, 0xffff],
  i32: [-0x8000_0000, 0x7fff_ffff],
  u32: [0, 0xffff_ffff],
};

/** The code under which `textFromValue` of the same value reads back. */
export function codeFromValue(value: HeaderValue): string {
  switch (value.kind) {
    case 'string':
    case 'symbol':
    case 'uuid':
    case 'char':
      return value.value.includes('\0') ? `${value.kind}.64` : value.kind;
    case 'timestamp':
      return value.seconds === true ? 'timestamp.s' : 'timestamp';
    default:
      return value.kind;
  }
}

/** Canonical text of a value. Never holds U+0000, which text protocols forbid. */
export function textFromValue(value: HeaderValue): string {
  switch (value.kind) {
    case 'string':
    case 'symbol':
    case 'uuid':
    case 'char':
      return value.value.includes('\0') ? Buffer.from(value.value).toString('base64') : value.value;
    case 'bytes':
      return base64FromBytes(value.value);
    case 'bool':
      return value.value ? 'true' : 'false';
    case 'f32':
      return textFromFloat32(value.value);
    case 'f64':
      return textFromFloat(value.value);
    case 'decimal':
      return textFromDecimal(value.value, value.scale);
    case 'timestamp':
      return textFromTimestamp(value.value);
    case 'null':
      return '';
    case 'list':
    case 'map':
      return JSON.stringify(jsonFromValue(value));
    default:
      return String(value.value);
  }
}

/** The value that `text` is under `code`, or null where it is none. */
export function valueFromText(code: string, text: string): HeaderValue | null {
  switch (code) {
    case 'string':
    case 'symbol':
    case 'uuid':
    case 'char':
      return { kind: code, value: text };
    case 'string.64':
    case 'symbol.64':
    case 'uuid.64':
    case 'char.64':
      return escapedFromText(code.slice(0, -3) as 'string' | 'symbol' | 'uuid' | 'char', text);
    case 'bytes': {
      const value = bytesFromBase64(text);
      return value === null ? null : { kind: 'bytes', value };
    }
    case 'bool':
      return text === 'true' || text === 'false' ? { kind: 'bool', value: text === 'true' } : null;
    case 'i8':
    case 'u8':
    case 'i16':
    case 'u16':
    case 'i32':
    case 'u32': {
      // Adding 0 makes -0 plain.
      const value = Number(text) + 0;
      const [min, max] = INTEGER_RANGES[code]!;
      return INTEGER.test(text) && value >= min && value <= max ? { kind: code, value } : null;
    }
    case 'i64':
    case 'u64': {
      if (!INTEGER.test(text)) return null;
      const value = BigInt(text);
      const same = code === 'i64' ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value);
      return same === value ? { kind: code, value } : null;
    }
    case 'f32':
      return NUMBER.test(text) ? { kind: 'f32', value: Math.fround(Number(text)) } : null;
    case 'f64':
      return NUMBER.test(text) ? { kind: 'f64', value: Number(text) } : null;
    case 'decimal':
      return decimalFromText(text);
    case 'timestamp':
    case 'timestamp.s':
      return timestampFromText(text, code === 'timestamp.s');
    case 'null':
      return text === '' ? { kind: 'null' } : null;
    case 'list':
    case 'map':
      return structureFromText(code, text);
    default:
      return null;
  }
}

export function base64FromBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** Null where the text is not exactly base64 with its padding. */
export function bytesFromBase64(text: string): Uint8Array | null {
  const bytes = new Uint8Array(Buffer.from(text, 'base64'));
  // The decoder passes over what it does not know, so what it understood is compared with what was given.
  return base64FromBytes(bytes) === text ? bytes : null;
}

function escapedFromText(kind: 'string' | 'symbol' | 'uuid' | 'char', text: string): HeaderValue | null {
  const bytes = bytesFromBase64(text);
  return bytes === null || !isUtf8(bytes) ? null : { kind, value: Buffer.from(bytes).toString() };
}

function textFromFloat(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

/** The fewest digits that round to the same single-precision number: `0.1`, not `0.10000000149011612`. */
function textFromFloat32(value: number): string {
  if (!Number.isFinite(value) || Object.is(value, -0)) return textFromFloat(value);
  for (let digits = 6; digits <= 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(value);
}

function textFromDecimal(value: bigint, scale: number): string {
  if (scale === 0) return String(value);
  if (scale < 0 || scale > PLAIN_SCALE_MAX) return `${value}e${-scale}`;
  const sign = value < 0n ? '-' : '';
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, '0');
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

function decimalFromText(text: string): HeaderValue | null {
  const parts = text.length > DECIMAL_TEXT_MAX ? null : DECIMAL.exec(text);
  if (parts === null) return null;
  const [, sign, whole, fraction = '', exponent] = parts;
  const value = BigInt(`${whole}${fraction}`);
  const scale = fraction.length - Number(exponent ?? 0);
  return { kind: 'decimal', scale: scale === 0 ? 0 : scale, value: sign === '-' ? -value : value };
}

function textFromTimestamp(value: number): string {
  if (Number.isInteger(value) && value >= ISO_MIN_MS && value <= ISO_MAX_MS) {
    return new Date(value).toISOString();
  }
  return textFromFloat(value);
}

function timestampFromText(text: string, seconds: boolean): HeaderValue | null {
  let value: number;
  if (ISO.test(text)) {
    value = Date.parse(text);
    if (Number.isNaN(value)) return null;
  } else {
    if (!NUMBER.test(text)) return null;
    value = Number(text) + 0;
  }
  return seconds ? { kind: 'timestamp', value, seconds: true } : { kind: 'timestamp', value };
}

/**
 * A value as JSON that a person can read and that loses nothing. Strings, booleans, null, lists, and integers of
 * kind i32 are themselves; a map is an object where its names are unique, none begins with `$` or a digit, and none
 * holds what JSON escapes; everything else is an object with one name, `$` and the code: `{"$i64":"7"}`, `{"$map":[["1",true]]}`.
 */
export function jsonFromValue(value: HeaderValue): unknown {
  switch (value.kind) {
    case 'string':
      return value.value;
    case 'bool':
      return value.value;
    case 'null':
      return null;
    case 'i32':
      return value.value;
    case 'list':
      return value.value.map(jsonFromValue);
    case 'map':
      return isPlainMap(value.value)
        ? Object.fromEntries(value.value.map((entry) => [entry.name, jsonFromValue(entry.value)]))
        : { $map: value.value.map((entry) => [entry.name, jsonFromValue(entry.value)]) };
    default:
      return { [`$${codeFromValue(value)}`]: textFromValue(value) };
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes these and no others of well-formed text.
const ESCAPED = /["\\\0-\x1f]/;

/**
 * An object keeps neither repeated names nor the place of names that read as numbers; `$` marks a tag. As the name of a
 * member, V8's JSON.parse takes `"` for the `\` of an object that it read before (it compares names before it undoes
 * their escapes); in a list it does not.
 */
function isPlainMap(entries: readonly Header[]): boolean {
  const seen = new Set<string>();
  for (const { name } of entries) {
    const first = name.charCodeAt(0);
    if (first === 0x24 || (first >= 0x30 && first <= 0x39) || seen.has(name) || ESCAPED.test(name))
      return false;
    seen.add(name);
  }
  return true;
}

/** Reads `jsonFromValue`; also any other JSON, with numbers that are no i32 as f64. Null where it nests too deep. */
export function valueFromJson(json: unknown, depth = 0): HeaderValue | null {
  if (depth > HEADER_DEPTH_MAX) return null;
  if (json === null) return { kind: 'null' };
  if (typeof json === 'string') return { kind: 'string', value: json };
  if (typeof json === 'boolean') return { kind: 'bool', value: json };
  if (typeof json === 'number') {
    return (json | 0) === json ? { kind: 'i32', value: json | 0 } : { kind: 'f64', value: json };
  }
  if (Array.isArray(json)) {
    const value: HeaderValue[] = [];
    for (const item of json) {
      const read = valueFromJson(item, depth + 1);
      if (read === null) return null;
      value.push(read);
    }
    return { kind: 'list', value };
  }
  if (typeof json !== 'object') return null;
  const entries: readonly (readonly [string, unknown])[] = Object.entries(json);
  const only = entries.length === 1 ? entries[0] : undefined;
  if (only?.[0].startsWith('$')) {
    if (only[0] === '$map') return mapFromEntries(only[1], depth);
    return typeof only[1] === 'string' ? valueFromText(only[0].slice(1), only[1]) : null;
  }
  return mapFromEntries(entries, depth);
}

function mapFromEntries(entries: unknown, depth: number): HeaderValue | null {
  if (!Array.isArray(entries)) return null;
  const value: Header[] = [];
  for (const entry of entries as readonly unknown[]) {
    if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== 'string') return null;
    const read = valueFromJson(entry[1], depth + 1);
    if (read === null) return null;
    value.push({ name: entry[0], value: read });
  }
  return { kind: 'map', value };
}

function structureFromText(kind: 'list' | 'map', text: string): HeaderValue | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const value = valueFromJson(json);
  return value?.kind === kind ? value : null;
}
