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

/** Throws CoreError `invalid-argument` with `field` pointing into `input`. */
export function messageFromJson(input: HttpMessage, address: string, nowMs: number): Message {
  if (input.body !== undefined && input.bodyBase64 !== undefined) {
    refuse('/bodyBase64', 'give either body or bodyBase64');
  }
  const bytes = input.bodyBase64 === undefined ? undefined : bytesFromBase64(input.bodyBase64);
  if (bytes === null) refuse('/bodyBase64', 'is not base64 with its padding');
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
