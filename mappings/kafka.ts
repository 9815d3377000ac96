/**
 * Records of a stream ⇔ messages, as Kafka clients see them: properties travel as record headers of UTF-8 text under
 * the names of the property table in docs/mappings.md, so that a plain consumer can read them. Called by the core for
 * each message that a stream captures and for each record that somebody outside Kafka wants; the gateway hands
 * `recordCodec` over. Pure.
 *
 * A message that was a record carries its headers verbatim as `native`. Big-endian:
 *
 * | size | field                                                            |
 * |------|------------------------------------------------------------------|
 * |    8 | the record's timestamp, milliseconds since 1970 (double)         |
 * |      | for each header: 4 bytes name length, the name in UTF-8, 4 bytes |
 * |      | value length (-1 for none), the value                            |
 */

import { Buffer } from 'node:buffer';
import {
  type Header,
  type HeaderValue,
  Message,
  type NativeCodec,
  type Properties,
  type RecordCodec,
  type RecordHeader,
  type Reliability,
  type StreamRecord,
} from '../src/core/index.ts';
import { eventFromKafkaNames, eventHeaders, kafkaEventNames } from './cloud-events.ts';
import {
  type BytesHeader,
  formatTypedBytes,
  GatewayHeader,
  headersFromProperties,
  isReservedName,
  PROPERTY_NAMES,
  type PropertiesDraft,
  type PropertyField,
  parseTypedBytes,
  takeProperty,
  withoutReserved,
} from './header-values.ts';
import { addressFromKafkaReplyTo, isAddressOf, kafkaReplyToFromAddress } from './kafka-topics.ts';

export * from './kafka-topics.ts';

/** MQTT's retain flag has a header of its own name, which publishers may set. */
export const RETAIN_HEADER = 'x-mqtt-retain';

/** The record's own timestamp is the publisher's, so that field needs no header. */
const HEADER_FIELDS = [
  'contentType',
  'contentEncoding',
  'textBody',
  'correlation',
  'replyTo',
  'messageId',
  'type',
  'subject',
  'appId',
  'groupId',
  'groupSequence',
  'replyToGroupId',
  'bodyForm',
] as const satisfies readonly PropertyField[];

/** Who published is told where the publisher asked for it; what a producer says of it is not believed. */
const TOLD_FIELDS = [...HEADER_FIELDS, 'userId'] as const satisfies readonly PropertyField[];

const PRIORITY_NAME: ReadonlySet<string> = new Set([PROPERTY_NAMES.priority]);

const HEADER_NAMES: ReadonlySet<string> = new Set([
  ...HEADER_FIELDS.map((field) => PROPERTY_NAMES[field]),
  PROPERTY_NAMES.priority,
]);

/** Gateway headers that tell fields of the message and not of its properties. */
const FIELD_HEADERS: ReadonlySet<string> = new Set([
  GatewayHeader.address,
  GatewayHeader.expiresAt,
  GatewayHeader.qos,
  GatewayHeader.key,
  RETAIN_HEADER,
]);

const NO_HEADERS: readonly RecordHeader[] = Object.freeze([]);
const TIMESTAMP_BYTES = 8;
const BARE_NATIVE_BYTES = TIMESTAMP_BYTES;
const TRUE = Buffer.from('1');
const EMPTY = Buffer.alloc(0);

const RELIABILITY_HEADERS = [0, 1, 2].map((reliability) =>
  Object.freeze({ name: GatewayHeader.qos, value: Buffer.from(String(reliability)) }),
) as unknown as readonly [RecordHeader, RecordHeader, RecordHeader];

/** What most messages have: no property, and nothing to say but how hard their publisher tried. */
const BARE_HEADERS: readonly (readonly RecordHeader[])[] = [
  Object.freeze([RELIABILITY_HEADERS[0]]),
  NO_HEADERS,
  Object.freeze([RELIABILITY_HEADERS[2]]),
];

// ------------------------------------------------------------------------------------------ message → record

function recordFromMessage(message: Message, stream: string, key: Uint8Array | null): StreamRecord {
  return {
    key: key ?? message.key,
    value: message.nullBody ? null : message.body,
    headers: isBare(message, stream, key)
      ? (BARE_HEADERS[message.reliability] as readonly RecordHeader[])
      : headersFromMessage(message, stream, key),
    timestampMs: timestampOf(message),
  };
}

/** The publisher's own time where it gave one, otherwise that of arrival. */
function timestampOf(message: Message): number {
  if (message.codec === kafkaRecordCodec) return message.timestampMs;
  return message.properties.timestampMs ?? message.timestampMs;
}

/** No property at all and no other header needed: decided without decoding or making anything. */
function isBare(message: Message, stream: string, key: Uint8Array | null): boolean {
  if (message.codec !== null || message.retain || message.priority !== 0 || message.expiresAtMs !== 0)
    return false;
  if (key !== null && message.key !== null) return false;
  return hasNoProperties(message.properties) && isAddressOf(stream, message.address);
}

function hasNoProperties(properties: Properties): boolean {
  if (properties.headers.length > 0) return false;
  for (const name in properties) if (name !== 'headers' && name !== 'timestampMs') return false;
  return true;
}

function headersFromMessage(
  message: Message,
  stream: string,
  key: Uint8Array | null,
): readonly RecordHeader[] {
  const stamped: RecordHeader[] = [];
  // A record's own header says it already.
  if (message.priority !== 0 && message.codec !== kafkaRecordCodec) {
    stamped.push(textHeader(PROPERTY_NAMES.priority, String(message.priority)));
  }
  if (message.reliability !== 1) stamped.push(RELIABILITY_HEADERS[message.reliability]);
  if (message.retain) stamped.push({ name: RETAIN_HEADER, value: TRUE });
  if (message.expiresAtMs !== 0) {
    stamped.push(textHeader(GatewayHeader.expiresAt, String(Math.ceil(message.expiresAtMs))));
  }
  if (!isAddressOf(stream, message.address)) stamped.push(textHeader(GatewayHeader.address, message.address));
  if (key !== null && message.key !== null && Buffer.compare(key, message.key) !== 0) {
    stamped.push({ name: GatewayHeader.key, value: message.key });
  }
  const own = ownHeaders(message);
  if (own.length === 0) return stamped;
  return stamped.length === 0 ? own : [...own, ...stamped];
}

function textHeader(name: string, text: string): RecordHeader {
  return { name, value: Buffer.from(text) };
}

/** The publisher's headers and properties. Those of a record are passed on as they are. */
function ownHeaders(message: Message): readonly BytesHeader[] {
  if (message.codec === kafkaRecordCodec) {
    return nativeHeaders(message.native ?? EMPTY).filter(
      ({ name }) => !FIELD_HEADERS.has(name) && isPassedOn(name),
    );
  }
  const { properties } = message;
  const named = headersFromProperties(inKafkaNames(properties), TOLD_FIELDS);
  const event = eventHeaders(properties.headers);
  const headers = withoutReserved(event ?? properties.headers);
  if (named.length === 0 && headers.length === 0) return [];
  const pairs = formatTypedBytes(named, headers);
  return event === null ? pairs : kafkaEventNames(pairs);
}

/** A reply address is the name of the topic that a record must be sent to. */
function inKafkaNames(properties: Properties): Properties {
  const { replyTo } = properties;
  return replyTo === undefined ? properties : { ...properties, replyTo: kafkaReplyToFromAddress(replyTo) };
}

function isPassedOn(name: string): boolean {
  return !isReservedName(name) || DESCRIPTIVE_NAMES.has(name);
}

/** Reserved names by which a producer describes its own record: they claim nothing else. */
const DESCRIPTIVE_NAMES: ReadonlySet<string> = new Set([
  GatewayHeader.types,
  GatewayHeader.textBody,
  GatewayHeader.bodyForm,
]);

// ------------------------------------------------------------------------------------------ record → message

interface MessageExtras {
  reliability: Reliability;
  retain: boolean;
  priority: number;
  expiresAtMs: number;
}

function messageFromRecord(record: StreamRecord, address: string): Message {
  const { headers, timestampMs, value } = record;
  const extras: MessageExtras = { reliability: 1, retain: false, priority: 0, expiresAtMs: 0 };
  if (headers.length > 0) takeExtras(extras, headers);
  return new Message({
    address,
    body: value ?? EMPTY,
    nullBody: value === null,
    reliability: extras.reliability,
    retain: extras.retain,
    priority: extras.priority,
    expiresAtMs: extras.expiresAtMs,
    timestampMs,
    key: record.key,
    codec: kafkaRecordCodec,
    native: encodeNative(headers, timestampMs),
  });
}

/** Text that says nothing valid is passed over: a record is in its stream already and cannot be refused. */
function takeExtras(extras: MessageExtras, headers: readonly RecordHeader[]): void {
  let saysPriority = false;
  let saysTypes = false;
  for (const { name, value } of headers) {
    if (value === null) continue;
    if (name === GatewayHeader.qos) {
      if (value.length === 1 && value[0] === 0x30) extras.reliability = 0;
      else if (value.length === 1 && value[0] === 0x32) extras.reliability = 2;
    } else if (name === RETAIN_HEADER) {
      extras.retain = value.length === 1 && value[0] === 0x31;
    } else if (name === GatewayHeader.expiresAt) {
      extras.expiresAtMs = wholeNumber(value, 15) ?? extras.expiresAtMs;
    } else if (name === PROPERTY_NAMES.priority) {
      if (!saysPriority) extras.priority = priorityFromBytes(value) ?? 0;
      saysPriority = true;
    } else if (name === GatewayHeader.types) saysTypes = true;
  }
  // A header of that name may be said to be no priority.
  if (saysPriority && saysTypes) extras.priority = priorityOfTyped(headers);
}

function priorityOfTyped(headers: readonly RecordHeader[]): number {
  const { named } = parseTypedBytes(headers, PRIORITY_NAME);
  const value = named[0]?.value;
  return value?.kind === 'string' ? (priorityFromBytes(Buffer.from(value.value)) ?? 0) : 0;
}

function priorityFromBytes(bytes: Uint8Array): number | null {
  const priority = wholeNumber(bytes, 3);
  return priority !== null && priority <= 255 ? priority : null;
}

function wholeNumber(bytes: Uint8Array, digitsMax: number): number | null {
  if (bytes.length === 0 || bytes.length > digitsMax) return null;
  let number = 0;
  for (const byte of bytes) {
    if (byte < 0x30 || byte > 0x39) return null;
    number = number * 10 + byte - 0x30;
  }
  return number;
}

function encodeNative(headers: readonly RecordHeader[], timestampMs: number): Buffer {
  if (headers.length === 0) {
    const bare = Buffer.allocUnsafe(BARE_NATIVE_BYTES);
    bare.writeDoubleBE(timestampMs, 0);
    return bare;
  }
  let bytes = TIMESTAMP_BYTES;
  for (const { name, value } of headers) bytes += 8 + Buffer.byteLength(name) + (value?.length ?? 0);
  const native = Buffer.allocUnsafe(bytes);
  let at = native.writeDoubleBE(timestampMs, 0);
  for (const { name, value } of headers) {
    const nameBytes = native.write(name, at + 4);
    native.writeInt32BE(nameBytes, at);
    at = native.writeInt32BE(value === null ? -1 : value.length, at + 4 + nameBytes);
    if (value === null) continue;
    native.set(value, at);
    at += value.length;
  }
  return native;
}

/** Stops quietly at bytes that were not written above: what was read until there counts. */
function nativeHeaders(bytes: Uint8Array): RecordHeader[] {
  const native = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headers: RecordHeader[] = [];
  let at = TIMESTAMP_BYTES;
  while (at + 8 <= native.length) {
    const valueAt = at + 4 + native.readInt32BE(at);
    if (valueAt < at + 4 || valueAt + 4 > native.length) break;
    const name = native.toString('utf8', at + 4, valueAt);
    const length = native.readInt32BE(valueAt);
    at = valueAt + 4 + Math.max(0, length);
    if (at > native.length) break;
    headers.push({ name, value: length < 0 ? null : native.subarray(valueAt + 4, at) });
  }
  return headers;
}

/** Reads a record's headers for other protocols. */
export const kafkaRecordCodec: NativeCodec = {
  name: 'kafka-record',
  decode(bytes: Uint8Array): Properties {
    const draft: PropertiesDraft = { headers: [] };
    if (bytes.length < TIMESTAMP_BYTES) return draft;
    const timestampMs = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readDoubleBE(0);
    if (timestampMs >= 0) draft.timestampMs = timestampMs;
    if (bytes.length === BARE_NATIVE_BYTES) return draft;
    const parsed = parseTypedBytes(
      eventFromKafkaNames(nativeHeaders(bytes)).filter(({ name }) => !FIELD_HEADERS.has(name)),
      HEADER_NAMES,
    );
    const refused: Header[] = [];
    for (const header of parsed.named) {
      if (header.name === PROPERTY_NAMES.priority && isPriority(header.value)) continue;
      if (!takeProperty(draft, header)) refused.push(header);
    }
    if (draft.replyTo !== undefined) draft.replyTo = addressFromKafkaReplyTo(draft.replyTo);
    draft.headers = refused.length === 0 ? parsed.headers : [...refused, ...parsed.headers];
    return draft;
  },
};

function isPriority(value: HeaderValue): boolean {
  return value.kind === 'string' && priorityFromBytes(Buffer.from(value.value)) !== null;
}

export const recordCodec: RecordCodec = { recordFromMessage, messageFromRecord, retainMarker: RETAIN_HEADER };
