/**
 * Messages as JSON, for the HTTP API: what somebody wants to try or publish, read into a message, and messages shown;
 * properties and headers as shown read back the same. Called by `src/admin` through its options; the views of the other protocols,
 * for explanations, are in `http-views.ts` and handed over with it. Pure. Everything that is refused points at its place
 * in the JSON.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import {
  CoreError,
  type Header,
  type HeaderValue,
  MANY,
  Message,
  ONE,
  Pattern,
  type Reliability,
} from '../src/core/index.ts';
import {
  base64FromBytes,
  bytesFromBase64,
  isReservedName,
  jsonFromValue,
  type PropertiesDraft,
  valueFromJson,
  valueFromText,
} from './header-values.ts';

export { protocolViews } from './http-views.ts';

/** A message as JSON, without its name. */
export interface HttpMessage {
  /** Text; `bodyBase64` for bytes; neither is an empty body, null is none. */
  readonly body?: string | null;
  readonly bodyBase64?: string;
  readonly key?: string;
  readonly reliability?: Reliability;
  readonly retain?: boolean;
  readonly priority?: number;
  readonly expiryMs?: number;
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly headers?: readonly HttpHeader[];
}

export interface HttpHeader {
  readonly name: string;
  /** A kind of header value; without one, the value's own JSON type decides. */
  readonly kind?: string;
  readonly value?: unknown;
}

const TEXT_PROPERTIES = [
  'contentType',
  'contentEncoding',
  'replyTo',
  'type',
  'subject',
  'appId',
  'groupId',
  'replyToGroupId',
] as const;
const NUMBER_PROPERTIES = ['timestampMs', 'groupSequence'] as const;
const VALUE_PROPERTIES = ['correlation', 'messageId'] as const;

const PRIORITY_MAX = 255;
/** The last millisecond that a date can be (ECMAScript 21.4.1.1). */
const TIME_MS_MAX = 8.64e15;

/** Throws CoreError `invalid-argument` with `field` pointing into `input`. Nothing of `input` is believed to be what its type says. */
export function messageFromJson(input: HttpMessage, address: string, nowMs: number): Message {
  checkFields(input);
  if (input.body !== undefined && input.bodyBase64 !== undefined) {
    refuse('/bodyBase64', 'give either body or bodyBase64');
  }
  const bytes = input.bodyBase64 === undefined ? undefined : bytesFromJson(input.bodyBase64, '/bodyBase64');
  return new Message({
    address,
    body: bytes ?? Buffer.from(input.body ?? ''),
    nullBody: input.body === null,
    reliability: input.reliability ?? 0,
    retain: input.retain ?? false,
    priority: input.priority ?? 0,
    expiresAtMs: input.expiryMs === undefined ? 0 : nowMs + input.expiryMs,
    timestampMs: nowMs,
    key: input.key === undefined ? null : Buffer.from(input.key),
    properties: propertiesFromJson(input.properties ?? {}, input.headers ?? []),
  });
}

/** What no schema has looked at, such as the body of somebody's message, comes here too. */
function checkFields(input: { readonly [Field in keyof HttpMessage]?: unknown }): void {
  const { body, bodyBase64, key, reliability, retain, priority, expiryMs, properties, headers } = input;
  if (body !== undefined && body !== null && typeof body !== 'string')
    refuse('/body', 'must be text, or null for none');
  if (bodyBase64 !== undefined && typeof bodyBase64 !== 'string') refuse('/bodyBase64', 'must be text');
  if (key !== undefined && typeof key !== 'string') refuse('/key', 'must be text');
  if (reliability !== undefined && reliability !== 0 && reliability !== 1 && reliability !== 2)
    refuse('/reliability', 'must be 0, 1 or 2');
  if (retain !== undefined && typeof retain !== 'boolean') refuse('/retain', 'must be true or false');
  if (priority !== undefined && !isWholeNumber(priority, PRIORITY_MAX))
    refuse('/priority', `must be a whole number from 0 to ${PRIORITY_MAX}`);
  if (expiryMs !== undefined && !isWholeNumber(expiryMs, TIME_MS_MAX))
    refuse('/expiryMs', 'must be a whole number of milliseconds, 0 or more');
  if (properties !== undefined && !isObject(properties)) refuse('/properties', 'must be an object');
  if (headers === undefined) return;
  if (!Array.isArray(headers)) refuse('/headers', 'must be a list');
  for (const [index, header] of headers.entries()) {
    if (!isObject(header) || typeof header.name !== 'string')
      refuse(`/headers/${index}`, 'must be an object with a name that is text');
  }
}

/** A time as the API shows it, which need not be whole. Throws CoreError `invalid-argument`. */
export function timeFromJson(value: unknown, field: string): number {
  if (typeof value !== 'number' || !(value >= 0 && value <= TIME_MS_MAX))
    refuse(field, 'must be milliseconds since 1970');
  return value;
}

/** Bytes as the API shows them. Throws CoreError `invalid-argument`. */
export function bytesFromJson(value: unknown, field: string): Uint8Array {
  const bytes = typeof value === 'string' ? bytesFromBase64(value) : null;
  if (bytes === null) refuse(field, 'is not base64 with its padding');
  return bytes;
}

function isWholeNumber(value: unknown, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuse(field: string, reason: string): never {
  throw new CoreError('invalid-argument', reason, { field });
}

function propertiesFromJson(
  properties: Readonly<Record<string, unknown>>,
  headers: readonly HttpHeader[],
): PropertiesDraft {
  const draft: PropertiesDraft = { headers: headers.map(headerFromJson) };
  for (const [name, value] of Object.entries(properties)) {
    const field = `/properties/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const text = TEXT_PROPERTIES.find((each) => each === name);
    const number = NUMBER_PROPERTIES.find((each) => each === name);
    const typed = VALUE_PROPERTIES.find((each) => each === name);
    if (text !== undefined) {
      if (typeof value !== 'string') refuse(field, 'must be text');
      draft[text] = value;
    } else if (number !== undefined) {
      if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
        refuse(field, 'must be a whole number, 0 or more');
      }
      draft[number] = value;
    } else if (typed !== undefined) {
      draft[typed] = typeof value === 'string' ? { kind: 'string', value } : valueFromKind(value, field);
    } else if (name === 'textBody') {
      if (typeof value !== 'boolean') refuse(field, 'must be true or false');
      draft.textBody = value;
    } else {
      const known = [...TEXT_PROPERTIES, ...NUMBER_PROPERTIES, ...VALUE_PROPERTIES, 'textBody'];
      refuse(field, `unknown property; there are ${known.join(', ')}`);
    }
  }
  return draft;
}

function headerFromJson(header: HttpHeader, index: number): Header {
  if (isReservedName(header.name)) {
    refuse(`/headers/${index}/name`, 'names that begin with x-gw- belong to the gateway');
  }
  return { name: header.name, value: valueFromKind(header, `/headers/${index}`) };
}

/** `{"kind": "i64", "value": "7"}`: numbers and texts as their canonical text, lists and maps as JSON. */
function valueFromKind(json: unknown, field: string): HeaderValue {
  if (typeof json !== 'object' || json === null)
    refuse(field, 'must be text, or an object with kind and value');
  const { kind, value } = json as { readonly kind?: unknown; readonly value?: unknown };
  if (kind === undefined) {
    const plain = value === undefined ? null : valueFromJson(value);
    if (plain === null) refuse(`${field}/value`, 'is missing, or no value that a header can have');
    return plain;
  }
  if (typeof kind !== 'string') refuse(`${field}/kind`, 'must be text');
  const isStructure = kind === 'list' || kind === 'map';
  const text = kind === 'null' ? '' : isStructure ? JSON.stringify(value) : String(value);
  const typed = valueFromText(kind, text ?? '');
  if (typed === null) refuse(`${field}/value`, `is no value of kind ${kind}`);
  return typed;
}

/** A message as the API shows it. Names as in `HttpMessage`; what was not said is not there. */
export function jsonFromMessage(message: Message): Record<string, unknown> {
  const { headers, correlation, messageId, ...plain } = message.properties;
  const properties = {
    ...plain,
    ...(correlation === undefined ? {} : { correlation: jsonFromTyped(correlation) }),
    ...(messageId === undefined ? {} : { messageId: jsonFromTyped(messageId) }),
  };
  return {
    address: message.address,
    ...(message.nullBody ? { body: null } : jsonFromBytes('body', message.body)),
    ...(message.key === null ? {} : jsonFromBytes('key', message.key)),
    reliability: message.reliability,
    retain: message.retain,
    ...(message.priority === 0 ? {} : { priority: message.priority }),
    timestampMs: message.timestampMs,
    ...(message.expiresAtMs === 0 ? {} : { expiresAtMs: message.expiresAtMs }),
    ...(Object.keys(properties).length === 0 ? {} : { properties }),
    ...(headers.length === 0
      ? {}
      : { headers: headers.map(({ name, value }) => ({ name, value: jsonFromValue(value) })) }),
  };
}

function jsonFromBytes(field: string, bytes: Uint8Array): Record<string, string> {
  return isUtf8(bytes)
    ? { [field]: Buffer.from(bytes).toString() }
    : { [`${field}Base64`]: base64FromBytes(bytes) };
}

function jsonFromTyped(value: HeaderValue): unknown {
  return value.kind === 'string' ? value.value : { value: jsonFromValue(value) };
}

/**
 * A filter as people write it: a level that is `+` stands for any one level, `#` for any number of them, anywhere.
 * Throws CoreError `invalid-name` for text that no address can match.
 */
export function patternFromFilter(filter: string): Pattern {
  if (filter === '') throw new CoreError('invalid-name', 'a filter has at least one character');
  if (filter.includes('\0')) throw new CoreError('invalid-name', 'a filter holds no U+0000');
  return new Pattern(filter.split('/').map((level) => (level === '+' ? ONE : level === '#' ? MANY : level)));
}
