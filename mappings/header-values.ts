/**
 * Headers ⇔ the ordered (name, text) and (name, bytes) pairs of protocols without typed headers. The kinds that
 * are not plain strings travel in one reserved header, `x-gw-types`, and come back exactly; it is absent where
 * nothing needs it. Here are also the names under which properties travel as headers in such protocols, and the
 * names that belong to the gateway itself. Used by the mapping of every protocol; pure. Rules: docs/mappings.md.
 *
 * `x-gw-types` is `name=code,name=code`: the codes of `header-values-text.ts`; in names `%`, `,`, `=` and control
 * characters are percent-encoded. A repeated name lists its codes by position, `n=i32|string|bool`, where an empty
 * code is a plain string and later ones that are missing are too. The flag `.h` says that a header which has the
 * name of a property is a header all the same. Several `x-gw-types` headers read as one.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import type { Header, HeaderValue, Properties } from '../src/core/index.ts';
import { codeFromValue, textFromValue, valueFromText } from './header-values-text.ts';

export * from './header-values-text.ts';

// ------------------------------------------------------------------------------------ names of the gateway

/** Names that begin so belong to the gateway: taken from publishers, never passed on as theirs. */
export const RESERVED_PREFIX = 'x-gw-';

/** Every header that the gateway itself writes, whatever the protocol. */
export const GatewayHeader = {
  /** The full address, where a protocol's own name cannot carry it. */
  address: 'x-gw-address',
  /** The kinds of typed headers. */
  types: 'x-gw-types',
  /** The message's key. */
  key: 'x-gw-key',
  /** The publisher's reliability where the protocol cannot say 0, 1 or 2. */
  qos: 'x-gw-qos',
  /** `1`: there was no body, which is not an empty one. */
  nullBody: 'x-gw-null',
  /** Absolute expiry in milliseconds since 1970. */
  expiresAt: 'x-gw-expires-at',
  /** `1`: the body is UTF-8 text, as its publisher says; `0`: bytes. */
  textBody: 'x-gw-pfi',
  /** A content type too long for the protocol's own field. */
  contentType: 'x-gw-content-type',
  /** A reply address that is no plain address. */
  replyKind: 'x-gw-reply-kind',
  /** The authenticated publisher. */
  user: 'x-gw-user',
  clientId: 'x-gw-client-id',
  /** What did not fit elsewhere, as a list of pairs. */
  overflow: 'x-gw-overflow',
  /** The kind of a correlation that is neither text nor bytes that cannot be text. */
  correlation: 'x-gw-correlation',
  /** How the source divided its body, where that was not one piece of bytes. */
  bodyForm: 'x-gw-sections',
} as const;

/** Not case-sensitive: no spelling of a reserved name gets through. */
export function isReservedName(name: string): boolean {
  const first = name.charCodeAt(0);
  if (first !== 0x78 && first !== 0x58) return false;
  return name.length >= 5 && name.slice(0, 5).toLowerCase() === RESERVED_PREFIX;
}

/** The headers that are the publisher's own. The same list where all are. */
export function withoutReserved(headers: readonly Header[]): readonly Header[] {
  for (const header of headers) {
    if (isReservedName(header.name)) return headers.filter((each) => !isReservedName(each.name));
  }
  return headers;
}

// ---------------------------------------------------------------------------------- properties as headers

/** Under which name each property travels where the protocol has no field for it. */
export const PROPERTY_NAMES = {
  contentType: 'content-type',
  contentEncoding: 'content-encoding',
  textBody: GatewayHeader.textBody,
  bodyForm: GatewayHeader.bodyForm,
  correlation: 'correlation-id',
  replyTo: 'reply-to',
  messageId: 'message-id',
  timestampMs: 'timestamp',
  type: 'type',
  subject: 'subject',
  userId: GatewayHeader.user,
  appId: 'app-id',
  groupId: 'group-id',
  groupSequence: 'group-sequence',
  replyToGroupId: 'reply-to-group-id',
  /** A field of the message, not of its properties. */
  priority: 'priority',
} as const;

/** A property that can travel as a header. */
export type PropertyField = Exclude<keyof typeof PROPERTY_NAMES, 'priority'>;

const FIELD_BY_NAME: ReadonlyMap<string, keyof typeof PROPERTY_NAMES> = new Map(
  (Object.keys(PROPERTY_NAMES) as (keyof typeof PROPERTY_NAMES)[]).map((field) => [
    PROPERTY_NAMES[field],
    field,
  ]),
);

const PLAIN = new Set<string>();

/** Properties as typed headers under their shared names, only the fields asked for, in the order asked. */
export function headersFromProperties(properties: Properties, fields: readonly PropertyField[]): Header[] {
  const headers: Header[] = [];
  for (const field of fields) {
    const value = properties[field];
    if (value === undefined) continue;
    headers.push({ name: PROPERTY_NAMES[field], value: valueFromProperty(field, value) });
  }
  return headers;
}

/** Text is the natural form of a property: digits for numbers, so that no code has to travel with them. */
function valueFromProperty(
  field: PropertyField,
  value: string | number | boolean | HeaderValue,
): HeaderValue {
  if (typeof value === 'string') return { kind: 'string', value };
  if (typeof value === 'object') return value;
  return { kind: 'string', value: field === 'textBody' ? (value ? '1' : '0') : String(value) };
}

/** A mutable draft of properties, for mappings that collect them piece by piece. */
export type PropertiesDraft = { -readonly [Field in keyof Properties]: Properties[Field] };

/**
 * Takes the header into `draft` where its name is a property's and its value can be that property's, and says
 * whether it did. A header that cannot stays a header.
 */
export function takeProperty(draft: PropertiesDraft, header: Header): boolean {
  const field = FIELD_BY_NAME.get(header.name);
  if (field === undefined || field === 'priority' || draft[field] !== undefined) return false;
  const value = header.value;
  if (field === 'correlation' || field === 'messageId') {
    draft[field] = value;
    return true;
  }
  if (value.kind !== 'string') return false;
  const text = value.value;
  if (field === 'textBody') {
    if (text !== '1' && text !== '0') return false;
    draft.textBody = text === '1';
  } else if (field === 'timestampMs' || field === 'groupSequence') {
    if (!/^\d{1,15}$/.test(text)) return false;
    draft[field] = Number(text);
  } else {
    draft[field] = text;
  }
  return true;
}

// --------------------------------------------------------------------------------------------- text pairs

/** A header of a protocol whose headers are text. */
export interface TextHeader {
  readonly name: string;
  readonly text: string;
}

/** A header of a protocol whose headers are bytes, or nothing. */
export interface BytesHeader {
  readonly name: string;
  readonly value: Uint8Array | null;
}

export interface ParsedHeaders {
  /** The first header of each name that stands for a property and was asked for. */
  readonly named: readonly Header[];
  /** The gateway's own headers, without `x-gw-types`. */
  readonly reserved: readonly Header[];
  /** All others, the publisher's own, in order. */
  readonly headers: readonly Header[];
}

/**
 * `named` (from `headersFromProperties`) and then `headers`, as text, with `x-gw-types` last where a kind needs it.
 * Nothing is left out: what the publisher may not send was taken by `withoutReserved` when it came in.
 */
export function formatTypedHeaders(named: readonly Header[], headers: readonly Header[]): TextHeader[] {
  const types = new TypesWriter(named);
  const pairs: TextHeader[] = [];
  for (const header of named) {
    types.add(header.name, textCode(header.value), false);
    pairs.push({ name: header.name, text: textFromValue(header.value) });
  }
  for (const header of headers) {
    types.add(header.name, textCode(header.value), true);
    pairs.push({ name: header.name, text: textFromValue(header.value) });
  }
  for (const text of types.texts()) pairs.push({ name: GatewayHeader.types, text });
  return pairs;
}

/** Undoes `formatTypedHeaders`; `names` are those that stand for properties here. Unknown text is a string. */
export function parseTypedHeaders(
  pairs: readonly TextHeader[],
  names: ReadonlySet<string> = PLAIN,
): ParsedHeaders {
  const types = new TypesReader();
  for (const pair of pairs) if (pair.name === GatewayHeader.types) types.read(pair.text);
  const sorted = new HeaderSorter(names);
  for (const pair of pairs) {
    if (pair.name === GatewayHeader.types) continue;
    const code = types.next(pair.name);
    const value = code === '' ? null : valueFromText(code, pair.text);
    sorted.add({ name: pair.name, value: value ?? { kind: 'string', value: pair.text } }, types.isHeader);
  }
  return sorted;
}

/** As `formatTypedHeaders`, for byte headers: text as UTF-8, bytes as they are, null as no value. */
export function formatTypedBytes(named: readonly Header[], headers: readonly Header[]): BytesHeader[] {
  const types = new TypesWriter(named);
  const pairs: BytesHeader[] = [];
  for (const header of named) {
    types.add(header.name, bytesCode(header.value), false);
    pairs.push({ name: header.name, value: bytesFromValue(header.value) });
  }
  for (const header of headers) {
    types.add(header.name, bytesCode(header.value), true);
    pairs.push({ name: header.name, value: bytesFromValue(header.value) });
  }
  for (const text of types.texts()) pairs.push({ name: GatewayHeader.types, value: Buffer.from(text) });
  return pairs;
}

/** Undoes `formatTypedBytes`. Without a code, valid UTF-8 is a string, other bytes are bytes. */
export function parseTypedBytes(
  pairs: readonly BytesHeader[],
  names: ReadonlySet<string> = PLAIN,
): ParsedHeaders {
  const types = new TypesReader();
  for (const pair of pairs) {
    if (pair.name === GatewayHeader.types && pair.value !== null) types.read(textFromUtf8(pair.value));
  }
  const sorted = new HeaderSorter(names);
  for (const pair of pairs) {
    if (pair.name === GatewayHeader.types) continue;
    sorted.add({ name: pair.name, value: valueFromBytes(types.next(pair.name), pair.value) }, types.isHeader);
  }
  return sorted;
}

function textFromUtf8(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

function textCode(value: HeaderValue): string {
  const code = codeFromValue(value);
  return code === 'string' ? '' : code;
}

/** Byte headers say by themselves what is null, not UTF-8 or a string with U+0000 in it. */
function bytesCode(value: HeaderValue): string {
  if (value.kind === 'string' || value.kind === 'null') return '';
  if (value.kind === 'bytes') return isUtf8(value.value) ? 'bytes' : '';
  return codeFromValue(value);
}

function bytesFromValue(value: HeaderValue): Uint8Array | null {
  if (value.kind === 'null') return null;
  if (value.kind === 'bytes') return value.value;
  return Buffer.from(value.kind === 'string' ? value.value : textFromValue(value));
}

function valueFromBytes(code: string, bytes: Uint8Array | null): HeaderValue {
  if (bytes === null) return { kind: 'null' };
  if (code === 'bytes' || !isUtf8(bytes)) return { kind: 'bytes', value: bytes };
  const text = textFromUtf8(bytes);
  return (code === '' ? null : valueFromText(code, text)) ?? { kind: 'string', value: text };
}

// --------------------------------------------------------------------------------------------- x-gw-types

/** UTF-16 units of one `x-gw-types` text, so that it fits a 65,535-byte string whatever the names are made of. */
const TYPES_UNITS_MAX = 20_000;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not travel bare.
const ESCAPED_IN_NAME = /[\u0000-\u001f%,=]/g;

function escapeName(name: string): string {
  return name.replace(ESCAPED_IN_NAME, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function unescapeName(text: string): string {
  return text.replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Collects codes by name and position; makes nothing until one is needed. */
class TypesWriter {
  readonly #named: readonly Header[];
  #codes: Map<string, string[]> | null = null;
  /** How often each name came; kept from the start because a code may follow plain strings. */
  readonly #counts = new Map<string, number>();

  constructor(named: readonly Header[]) {
    this.#named = named;
  }

  add(name: string, code: string, own: boolean): void {
    const flagged = own && FIELD_BY_NAME.has(name) && !this.#named.some((each) => each.name === name);
    const count = this.#counts.get(name) ?? 0;
    this.#counts.set(name, count + 1);
    const full = flagged ? `${code === '' ? 'string' : code}.h` : code;
    if (full === '') return;
    this.#codes ??= new Map();
    const codes = this.#codes.get(name) ?? [];
    while (codes.length < count) codes.push('');
    codes.push(full);
    this.#codes.set(name, codes);
  }

  texts(): string[] {
    if (this.#codes === null) return [];
    const texts: string[] = [];
    let text = '';
    for (const [name, codes] of this.#codes) {
      const entry = `${escapeName(name)}=${codes.join('|')}`;
      if (text !== '' && text.length + entry.length >= TYPES_UNITS_MAX) {
        texts.push(text);
        text = entry;
      } else {
        text = text === '' ? entry : `${text},${entry}`;
      }
    }
    texts.push(text);
    return texts;
  }
}

/** Gives back codes by name and position. */
class TypesReader {
  /** Whether the code last given says: a header, not the property of that name. */
  isHeader = false;
  #codes: Map<string, string[]> | null = null;

  read(text: string): void {
    this.#codes ??= new Map();
    for (const entry of text.split(',')) {
      const equals = entry.indexOf('=');
      if (equals < 0) continue;
      this.#codes.set(
        unescapeName(entry.slice(0, equals)),
        entry
          .slice(equals + 1)
          .split('|')
          .reverse(),
      );
    }
  }

  next(name: string): string {
    this.isHeader = false;
    const code = this.#codes?.get(name)?.pop() ?? '';
    if (!code.endsWith('.h')) return code;
    this.isHeader = true;
    return code.slice(0, -2);
  }
}

/** Sorts what was read into properties, the gateway's own and the publisher's. */
class HeaderSorter implements ParsedHeaders {
  readonly named: Header[] = [];
  readonly reserved: Header[] = [];
  readonly headers: Header[] = [];
  readonly #names: ReadonlySet<string>;
  #taken: Set<string> | null = null;

  constructor(names: ReadonlySet<string>) {
    this.#names = names;
  }

  add(header: Header, isHeader: boolean): void {
    if (!isHeader && this.#names.has(header.name) && this.#taken?.has(header.name) !== true) {
      this.#taken ??= new Set();
      this.#taken.add(header.name);
      this.named.push(header);
    } else if (isReservedName(header.name)) {
      this.reserved.push(header);
    } else {
      this.headers.push(header);
    }
  }
}
