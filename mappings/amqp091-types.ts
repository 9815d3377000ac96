/**
 * Header values that a field table has no tag for, as something that a plain client can read, and what brings the exact
 * value back: a table `x-gw-types` with an entry for each such header. Called by `amqp091-properties.ts` for messages
 * that cross from or to another protocol; pure.
 *
 * | value                         | in the table               | entry                         |
 * |-------------------------------|----------------------------|-------------------------------|
 * | symbol, uuid, char            | its text                   | the kind                      |
 * | u64                           | signed 64 bits, or digits  | `u64`                         |
 * | decimal beyond 255 places or 32 bits | its text            | `decimal`                     |
 * | timestamp between seconds     | the second before          | `timestamp.` and milliseconds |
 * | timestamp before 1970         | its text                   | `timestamp`                   |
 * | map with a name over 255 bytes | JSON                      | `map`                         |
 * | list, map within 25 others    | JSON                       | the kind                      |
 * | list, map with such values    | a list, a table            | a list of entries by place, with void where none is needed |
 */

import type { Header, HeaderValue } from '../src/core/index.ts';
import { hasShortName, TABLE_DEPTH_MAX } from './amqp091-table.ts';
import { GatewayHeader, textFromValue, valueFromText } from './header-values.ts';

const I64_MAX = (1n << 63n) - 1n;
/** Lists and tables within each other, so that these headers and the entries stay below what decoders take. */
const NESTED_MAX = TABLE_DEPTH_MAX - 6;
const NOTHING: HeaderValue = { kind: 'null' };

/** What a table holds for a value, and the entry that tells the rest; null: nothing more to tell. */
interface Shown {
  readonly value: HeaderValue;
  readonly entry: HeaderValue | null;
}

/** The headers as a table can hold them, `x-gw-types` among them where it is needed. The same list where it is not. */
export function headersForTable(headers: readonly Header[]): readonly Header[] {
  let shown: Header[] | null = null;
  const entries: Header[] = [];
  for (const [at, header] of headers.entries()) {
    const { value, entry } = show(header.value, NESTED_MAX);
    if (entry === null) continue;
    shown ??= [...headers];
    shown[at] = { name: header.name, value };
    entries.push({ name: header.name, value: entry });
  }
  if (shown === null) return headers;
  shown.push({ name: GatewayHeader.types, value: { kind: 'map', value: entries } });
  return shown;
}

/** Undoes `headersForTable`. */
export function headersFromTable(headers: readonly Header[]): readonly Header[] {
  const types = headers.find(({ name }) => name === GatewayHeader.types)?.value;
  if (types?.kind !== 'map') return headers;
  const entries = new Map(types.value.map(({ name, value }) => [name, value]));
  return headers.flatMap((header) => {
    if (header.name === GatewayHeader.types) return [];
    const entry = entries.get(header.name);
    return entry === undefined ? [header] : [{ name: header.name, value: restore(header.value, entry) }];
  });
}

/** `room`: how many lists and tables may be within each other from here on. */
function show(value: HeaderValue, room: number): Shown {
  switch (value.kind) {
    case 'symbol':
    case 'uuid':
    case 'char':
      return { value: { kind: 'string', value: value.value }, entry: code(value.kind) };
    case 'u64':
      return value.value <= I64_MAX
        ? { value: { kind: 'i64', value: value.value }, entry: code('u64') }
        : asText(value);
    case 'decimal': {
      const fits = value.scale >= 0 && value.scale <= 255 && value.value >= 0n && value.value <= 0xffff_ffffn;
      return fits ? { value, entry: null } : asText(value);
    }
    case 'timestamp': {
      if (!Number.isSafeInteger(value.value) || value.value < 0) return asText(value);
      const rest = value.value % 1000;
      return { value, entry: rest === 0 ? null : code(`timestamp.${rest}`) };
    }
    case 'list':
      if (room === 0) return asText(value);
      return showAll(value.value, room, (list) => ({ kind: 'list', value: list }));
    case 'map': {
      if (room === 0 || !value.value.every(hasShortName)) return asText(value);
      const names = value.value.map(({ name }) => name);
      return showAll(
        value.value.map((each) => each.value),
        room,
        (list) => ({
          kind: 'map',
          value: list.map((each, at) => ({ name: names[at] as string, value: each })),
        }),
      );
    }
    default:
      return { value, entry: null };
  }
}

function code(text: string): HeaderValue {
  return { kind: 'string', value: text };
}

function asText(value: HeaderValue): Shown {
  return { value: { kind: 'string', value: textFromValue(value) }, entry: code(value.kind) };
}

function showAll(
  values: readonly HeaderValue[],
  room: number,
  gather: (values: readonly HeaderValue[]) => HeaderValue,
): Shown {
  const shown = values.map((each) => show(each, room - 1));
  const value = gather(shown.map((each) => each.value));
  if (shown.every(({ entry }) => entry === null)) return { value, entry: null };
  return { value, entry: { kind: 'list', value: shown.map(({ entry }) => entry ?? NOTHING) } };
}

/** What somebody changed on the way stays as it is. */
function restore(value: HeaderValue, entry: HeaderValue): HeaderValue {
  if (entry.kind === 'list') {
    const entries = entry.value;
    const at = (each: HeaderValue, index: number): HeaderValue => restore(each, entries[index] ?? NOTHING);
    if (value.kind === 'list') return { kind: 'list', value: value.value.map(at) };
    if (value.kind !== 'map') return value;
    return {
      kind: 'map',
      value: value.value.map((each, index) => ({ name: each.name, value: at(each.value, index) })),
    };
  }
  if (entry.kind !== 'string') return value;
  if (value.kind === 'string') return valueFromText(entry.value, value.value) ?? value;
  if (value.kind === 'i64' && entry.value === 'u64' && value.value >= 0n) {
    return { kind: 'u64', value: value.value };
  }
  const rest = value.kind === 'timestamp' ? /^timestamp\.(\d{1,3})$/.exec(entry.value)?.[1] : undefined;
  if (value.kind === 'timestamp' && rest !== undefined) {
    return { kind: 'timestamp', value: value.value + Number(rest) };
  }
  return value;
}
