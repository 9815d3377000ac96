/**
 * An application message of AMQP 1.0 as its sections, read from and written to what transfers carry. The shape that the
 * mapping of `amqp10.ts` works on. Pure; malformed bytes throw `MalformedAmqp10Error`. Source: AMQP 1.0 part 3,
 * section 3.2. A section is `00`, a descriptor and a value; they come in this order, each at most once but data and
 * sequences:
 *
 * | descriptor | section                | value                              |
 * |------------|------------------------|------------------------------------|
 * |         70 | header                 | list, belongs to one hop           |
 * |         71 | delivery annotations   | map, belongs to one hop            |
 * |         72 | message annotations    | map of symbols                     |
 * |         73 | properties             | list of 13 fields                  |
 * |         74 | application properties | map of strings and simple values   |
 * |         75 | data                   | binary; may repeat                 |
 * |         76 | sequence               | list; may repeat                   |
 * |         77 | value                  | anything                           |
 * |         78 | footer                 | map of symbols                     |
 */

import { Buffer } from 'node:buffer';
import type { Header, HeaderValue } from '../src/core/index.ts';
import {
  Amqp10Reader,
  blockHead,
  encodeAmqp10List,
  encodeAmqp10Map,
  encodeAmqp10Value,
  MalformedAmqp10Error,
  symbol,
  text,
  textFromKey,
} from './amqp10-values.ts';

export const Section = {
  header: 0x70,
  deliveryAnnotations: 0x71,
  annotations: 0x72,
  properties: 0x73,
  applicationProperties: 0x74,
  data: 0x75,
  sequence: 0x76,
  value: 0x77,
  footer: 0x78,
} as const;

export interface Amqp10Header {
  readonly durable: boolean;
  /** Absent means 4, the protocol's own default. */
  readonly priority?: number;
  readonly ttlMs?: number;
}

/** The fields of the section, in its order; absent where null. */
export interface Amqp10Properties {
  messageId?: HeaderValue;
  userId?: Uint8Array;
  to?: string;
  subject?: string;
  replyTo?: string;
  correlationId?: HeaderValue;
  contentType?: string;
  contentEncoding?: string;
  absoluteExpiryMs?: number;
  creationMs?: number;
  groupId?: string;
  groupSequence?: number;
  replyToGroupId?: string;
}

export type Amqp10Body =
  | { readonly kind: 'none' }
  | { readonly kind: 'data'; readonly parts: readonly Uint8Array[] }
  | { readonly kind: 'value'; readonly value: HeaderValue; readonly bytes: Buffer }
  /** The bytes of all its sections. */
  | { readonly kind: 'sequence'; readonly bytes: Buffer };

export interface Amqp10Message {
  readonly header: Amqp10Header;
  /** Message annotations; a key that is a number is its digits. */
  readonly annotations: readonly Header[];
  readonly properties: Readonly<Amqp10Properties>;
  readonly applicationProperties: readonly Header[];
  readonly body: Amqp10Body;
  readonly footer: readonly Header[];
}

/** Where one section is: `valueAt` is after its descriptor. */
export interface SectionPlace {
  readonly code: number;
  readonly start: number;
  readonly valueAt: number;
  readonly end: number;
}

/** The sections of `bytes`, checked to be whole, in order and without anything between them. */
export function findSections(bytes: Buffer): SectionPlace[] {
  const places: SectionPlace[] = [];
  const reader = new Amqp10Reader(bytes, 0, bytes.length);
  let last = 0;
  while (reader.at < bytes.length) {
    const start = reader.at;
    if (bytes[reader.take(1)] !== 0x00) throw new MalformedAmqp10Error('a section is expected');
    const code = codeFromDescriptor(reader.read());
    const valueAt = reader.at;
    // A body may be large: it is only stepped over.
    if (code === Section.data) binaryOf(reader);
    else reader.read();
    const repeats = code === last && (code === Section.data || code === Section.sequence);
    const isSecondBody = code > Section.data && code < Section.footer && last >= Section.data;
    if (!repeats && (code <= last || isSecondBody)) {
      throw new MalformedAmqp10Error('sections are not in their order');
    }
    places.push({ code, start, valueAt, end: reader.at });
    last = code;
  }
  return places;
}

const NAMES: readonly string[] = [
  'amqp:header:list',
  'amqp:delivery-annotations:map',
  'amqp:message-annotations:map',
  'amqp:properties:list',
  'amqp:application-properties:map',
  'amqp:data:binary',
  'amqp:amqp-sequence:list',
  'amqp:amqp-value:*',
  'amqp:footer:map',
];

function codeFromDescriptor(value: HeaderValue): number {
  const code =
    value.kind === 'u64'
      ? Number(value.value)
      : value.kind === 'symbol'
        ? Section.header + NAMES.indexOf(value.value)
        : 0;
  if (code < Section.header || code > Section.footer) throw new MalformedAmqp10Error('unknown section');
  return code;
}

export function decodeAmqp10(bytes: Buffer): Amqp10Message {
  const message: { -readonly [Name in keyof Amqp10Message]: Amqp10Message[Name] } = {
    header: { durable: false },
    annotations: [],
    properties: {},
    applicationProperties: [],
    body: { kind: 'none' },
    footer: [],
  };
  const data: Uint8Array[] = [];
  let sequenceAt = -1;
  for (const { code, start, valueAt, end } of findSections(bytes)) {
    const reader = new Amqp10Reader(bytes, valueAt, end);
    if (code === Section.header) message.header = headerFromList(listOf(reader.read()));
    else if (code === Section.annotations) message.annotations = readHeaders(reader);
    else if (code === Section.properties) message.properties = propertiesFromList(listOf(reader.read()));
    else if (code === Section.applicationProperties) message.applicationProperties = readHeaders(reader);
    else if (code === Section.footer) message.footer = readHeaders(reader);
    else if (code === Section.data) {
      data.push(binaryOf(reader));
      message.body = { kind: 'data', parts: data };
    } else if (code === Section.value) {
      message.body = { kind: 'value', value: reader.read(), bytes: bytes.subarray(start, end) };
    } else if (code === Section.sequence) {
      if (sequenceAt < 0) sequenceAt = start;
      message.body = { kind: 'sequence', bytes: bytes.subarray(sequenceAt, end) };
    }
  }
  return message;
}

function readHeaders(reader: Amqp10Reader): Header[] {
  return reader.readMap().map(([key, value]) => ({ name: textFromKey(key), value }));
}

function listOf(value: HeaderValue): readonly HeaderValue[] {
  if (value.kind !== 'list') throw new MalformedAmqp10Error('a list is expected');
  return value.value;
}

/** In place: a body is not copied. */
function binaryOf(reader: Amqp10Reader): Buffer {
  const { bytes } = reader;
  const code = bytes[reader.take(1)];
  if (code !== 0xa0 && code !== 0xb0) throw new MalformedAmqp10Error('data is no binary');
  const length = code === 0xb0 ? bytes.readUInt32BE(reader.take(4)) : (bytes[reader.take(1)] as number);
  const start = reader.take(length);
  return bytes.subarray(start, start + length);
}

function headerFromList(fields: readonly HeaderValue[]): Amqp10Header {
  const [durable, priority, ttl] = fields;
  return {
    durable: durable?.kind === 'bool' && durable.value,
    ...(priority?.kind === 'u8' ? { priority: priority.value } : {}),
    ...(ttl?.kind === 'u32' ? { ttlMs: ttl.value } : {}),
  };
}

/** A field of another type than its own is as good as absent: clients differ in what they write. */
function propertiesFromList(fields: readonly HeaderValue[]): Amqp10Properties {
  const properties: Amqp10Properties = {};
  const [messageId, userId, to, subject, replyTo, correlationId, contentType, contentEncoding] = fields;
  const [expiry, creation, groupId, groupSequence, replyToGroupId] = fields.slice(8);
  const put = <Field extends keyof Amqp10Properties>(
    field: Field,
    value: Amqp10Properties[Field] | undefined,
  ): void => {
    if (value !== undefined) properties[field] = value;
  };
  put('messageId', identifierOf(messageId));
  if (userId?.kind === 'bytes') properties.userId = userId.value;
  put('to', textOf(to));
  put('subject', textOf(subject));
  put('replyTo', textOf(replyTo));
  put('correlationId', identifierOf(correlationId));
  put('contentType', textOf(contentType));
  put('contentEncoding', textOf(contentEncoding));
  if (expiry?.kind === 'timestamp') properties.absoluteExpiryMs = expiry.value;
  if (creation?.kind === 'timestamp') properties.creationMs = creation.value;
  put('groupId', textOf(groupId));
  if (groupSequence?.kind === 'u32') properties.groupSequence = groupSequence.value;
  put('replyToGroupId', textOf(replyToGroupId));
  return properties;
}

function textOf(value: HeaderValue | undefined): string | undefined {
  return value?.kind === 'string' || value?.kind === 'symbol' ? value.value : undefined;
}

function identifierOf(value: HeaderValue | undefined): HeaderValue | undefined {
  return value === undefined || value.kind === 'null' ? undefined : value;
}

// ------------------------------------------------------------------------------------------------- writing

/** The section, or nothing where there is nothing to say. */
export function encodeHeader(header: Amqp10Header): Buffer {
  const { durable, priority, ttlMs } = header;
  const fields: HeaderValue[] = [
    { kind: 'bool', value: durable },
    priority === undefined ? NULL : { kind: 'u8', value: priority },
    ttlMs === undefined ? NULL : { kind: 'u32', value: ttlMs },
  ];
  return section(Section.header, encodeAmqp10List(withoutTrailingNulls(fields)));
}

export function encodeAnnotations(annotations: readonly Header[]): Buffer {
  return annotations.length === 0
    ? NOTHING
    : section(Section.annotations, encodeAmqp10Map(annotations, symbol));
}

export function encodeApplicationProperties(headers: readonly Header[]): Buffer {
  return headers.length === 0
    ? NOTHING
    : section(Section.applicationProperties, encodeAmqp10Map(headers, text));
}

export function encodeFooter(entries: readonly Header[]): Buffer {
  return entries.length === 0 ? NOTHING : section(Section.footer, encodeAmqp10Map(entries, symbol));
}

export function encodeProperties(properties: Readonly<Amqp10Properties>): Buffer {
  const fields: HeaderValue[] = [
    properties.messageId ?? NULL,
    properties.userId === undefined ? NULL : { kind: 'bytes', value: properties.userId },
    stringValue(properties.to),
    stringValue(properties.subject),
    stringValue(properties.replyTo),
    properties.correlationId ?? NULL,
    symbolValue(properties.contentType),
    symbolValue(properties.contentEncoding),
    timestampValue(properties.absoluteExpiryMs),
    timestampValue(properties.creationMs),
    stringValue(properties.groupId),
    properties.groupSequence === undefined ? NULL : { kind: 'u32', value: properties.groupSequence },
    stringValue(properties.replyToGroupId),
  ];
  const said = withoutTrailingNulls(fields);
  return said.length === 0 ? NOTHING : section(Section.properties, encodeAmqp10List(said));
}

export function encodeData(parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => [Buffer.of(0x00, 0x53, Section.data), blockHead(0xa0, part.length), part]),
  );
}

export function encodeValueBody(value: HeaderValue): Buffer {
  return section(Section.value, encodeAmqp10Value(value));
}

const NULL: HeaderValue = { kind: 'null' };
const NOTHING = Buffer.alloc(0);

function section(code: number, value: Buffer): Buffer {
  return Buffer.concat([Buffer.of(0x00, 0x53, code), value]);
}

function withoutTrailingNulls(fields: readonly HeaderValue[]): readonly HeaderValue[] {
  return fields.slice(0, fields.findLastIndex(({ kind }) => kind !== 'null') + 1);
}

function stringValue(value: string | undefined): HeaderValue {
  return value === undefined ? NULL : { kind: 'string', value };
}

function symbolValue(value: string | undefined): HeaderValue {
  return value === undefined ? NULL : { kind: 'symbol', value };
}

function timestampValue(value: number | undefined): HeaderValue {
  return value === undefined ? NULL : { kind: 'timestamp', value };
}
