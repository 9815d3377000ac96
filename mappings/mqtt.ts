/**
 * MQTT ⇔ message: what an application message of MQTT is, how its version 5 properties are read by others and how
 * any message looks to a version 5 subscriber. The adapter's codec embeds this shape; the management API explains
 * with it. Pure. The rules are in docs/mappings.md; source: MQTT 5.0 section 3.3.
 *
 * A message's `native` bytes are its MQTT 5 properties as the publisher sent them, in order, without the length
 * before them and without what belongs to one hop or to one publisher only: message expiry (kept as an absolute
 * time), topic alias, subscription identifiers, will delay, and user properties under reserved names.
 */

import { Buffer } from 'node:buffer';
import {
  type Header,
  type HeaderValue,
  Message,
  type NativeCodec,
  type Properties,
  type Reliability,
} from '../src/core/index.ts';
import {
  formatTypedHeaders,
  GatewayHeader,
  headersFromProperties,
  PROPERTY_NAMES,
  type PropertiesDraft,
  type PropertyField,
  parseTypedHeaders,
  type TextHeader,
  takeProperty,
  textFromValue,
  withoutReserved,
} from './header-values.ts';
import { MessageProperty, PROPERTY_BY_ID } from './mqtt-properties.ts';
import { addressFromTopic, topicFromAddress } from './mqtt-topics.ts';

export { isReservedName } from './header-values.ts';
export * from './mqtt-properties.ts';
export * from './mqtt-topics.ts';

/** MQTT's strings and binary data have two bytes of length. */
const TEXT_BYTES_MAX = 65_535;
const EMPTY = new Uint8Array(0);

/** The fields that travel as user properties; expiry, body kind, reply address and correlation have their own. */
const USER_PROPERTY_FIELDS = [
  'contentEncoding',
  'messageId',
  'timestampMs',
  'type',
  'subject',
  'appId',
  'groupId',
  'groupSequence',
  'replyToGroupId',
] as const satisfies readonly PropertyField[];

const USER_PROPERTY_NAMES: ReadonlySet<string> = new Set([
  ...USER_PROPERTY_FIELDS.map((field) => PROPERTY_NAMES[field]),
  PROPERTY_NAMES.priority,
]);

/** An application message as a PUBLISH or a will carries it. */
export interface MqttApplicationMessage {
  readonly body: Uint8Array;
  readonly qos: Reliability;
  readonly retain: boolean;
  /** Validated MQTT 5 properties as above; null where there are none, and for 3.1 and 3.1.1. */
  readonly native: Uint8Array | null;
  /** Seconds; -1 where the publisher gave none. */
  readonly expirySeconds: number;
  /** The value of a user property `priority`, 0 where there is none. */
  readonly priority: number;
}

/** The message that a client published to `address` at `nowMs`. */
export function messageFromMqtt(
  publish: MqttApplicationMessage,
  address: string,
  publisherId: string,
  nowMs: number,
): Message {
  return new Message({
    address,
    body: publish.body,
    reliability: publish.qos,
    retain: publish.retain,
    nullBody: false,
    priority: publish.priority,
    expiresAtMs: publish.expirySeconds < 0 ? 0 : nowMs + publish.expirySeconds * 1000,
    timestampMs: nowMs,
    key: null,
    publisherId,
    codec: publish.native === null ? null : mqtt5Codec,
    native: publish.native,
  });
}

/** The message's priority as a user property says it; 0 for text that is none. */
export function priorityFromText(text: string): number {
  if (!/^\d{1,3}$/.test(text)) return 0;
  const priority = Number(text);
  return priority <= 255 ? priority : 0;
}

// ------------------------------------------------------------------------------ MQTT 5 properties → message

/** Reads MQTT 5 properties for other protocols. The bytes were validated when they came in. */
export const mqtt5Codec: NativeCodec = {
  name: 'mqtt5',
  decode: propertiesFromMqtt,
};

/** Stops quietly at bytes that no codec of ours wrote: what was read until there counts. */
function propertiesFromMqtt(bytes: Uint8Array): Properties {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const draft: PropertiesDraft = { headers: [] };
  const pairs: TextHeader[] = [];
  let at = 0;
  while (at < buffer.length) {
    const definition = PROPERTY_BY_ID[buffer[at++] as number];
    if (definition === undefined) break;
    if (definition.type === 'byte') {
      if (definition.id === MessageProperty.payloadFormatIndicator) draft.textBody = buffer[at] === 1;
      at += 1;
    } else if (definition.type === 'u16') {
      at += 2;
    } else if (definition.type === 'u32') {
      at += 4;
    } else if (definition.type === 'varint') {
      while (at < buffer.length && ((buffer[at++] as number) & 0x80) !== 0);
    } else {
      if (at + 2 > buffer.length) break;
      const first = readSlice(buffer, at);
      at += 2 + first.length;
      if (definition.id === MessageProperty.contentType) draft.contentType = first.toString('utf8');
      else if (definition.id === MessageProperty.responseTopic) {
        draft.replyTo = addressFromTopic(first.toString('utf8'));
      } else if (definition.id === MessageProperty.correlationData) {
        draft.correlation = { kind: 'bytes', value: first };
      } else if (definition.type === 'pair') {
        if (at + 2 > buffer.length) break;
        const second = readSlice(buffer, at);
        at += 2 + second.length;
        pairs.push({ name: first.toString('utf8'), text: second.toString('utf8') });
      }
    }
  }
  return pairs.length === 0 ? draft : withUserProperties(draft, pairs);
}

function readSlice(buffer: Buffer, at: number): Buffer {
  const length = ((buffer[at] as number) << 8) | (buffer[at + 1] as number);
  return buffer.subarray(at + 2, at + 2 + length);
}

function withUserProperties(draft: PropertiesDraft, pairs: readonly TextHeader[]): Properties {
  const parsed = parseTypedHeaders(pairs, USER_PROPERTY_NAMES);
  const refused: Header[] = [];
  for (const header of parsed.named) {
    // A valid priority is a field of the message, read when it came in.
    if (header.name === PROPERTY_NAMES.priority && isPriority(header.value)) continue;
    if (!takeProperty(draft, header)) refused.push(header);
  }
  draft.headers = refused.length === 0 ? parsed.headers : [...refused, ...parsed.headers];
  return draft;
}

function isPriority(value: HeaderValue): boolean {
  return value.kind === 'string' && /^\d{1,3}$/.test(value.value) && Number(value.value) <= 255;
}

// ------------------------------------------------------------------------------ message → MQTT 5 properties

/**
 * The message's properties as MQTT 5 bytes, without their length and without what belongs to one hop (expiry,
 * alias, subscription identifiers). Text that no MQTT string can hold (over 65,535 bytes, U+0000) is left out.
 * `answerAt`: the address that answers are to be published to instead of the message's own; null keeps that.
 */
export function mqttPropertiesFromMessage(message: Message, answerAt: string | null = null): Uint8Array {
  if (message.codec === mqtt5Codec) return message.native ?? EMPTY;
  const { properties } = message;
  const pieces: Uint8Array[] = [];
  if (properties.textBody !== undefined) {
    pieces.push(Buffer.from([MessageProperty.payloadFormatIndicator, properties.textBody ? 1 : 0]));
  }
  if (properties.contentType !== undefined) {
    pushText(pieces, MessageProperty.contentType, properties.contentType);
  }
  const replyTo = answerAt ?? properties.replyTo ?? '';
  if (replyTo !== '') pushText(pieces, MessageProperty.responseTopic, topicFromAddress(replyTo));
  if (properties.correlation !== undefined) {
    const bytes = bytesFromCorrelation(properties.correlation);
    if (bytes.length <= TEXT_BYTES_MAX) {
      pieces.push(
        Buffer.from([MessageProperty.correlationData, bytes.length >> 8, bytes.length & 0xff]),
        bytes,
      );
    }
  }
  for (const pair of userPropertiesFromMessage(message)) pushPair(pieces, pair);
  return pieces.length === 0 ? EMPTY : Buffer.concat(pieces);
}

function userPropertiesFromMessage(message: Message): TextHeader[] {
  const { properties } = message;
  const named = headersFromProperties(properties, USER_PROPERTY_FIELDS);
  if (message.priority !== 0) named.push(textHeader(PROPERTY_NAMES.priority, String(message.priority)));
  if (message.nullBody) named.push(textHeader(GatewayHeader.nullBody, '1'));
  if (message.key !== null) named.push({ name: GatewayHeader.key, value: valueFromKey(message.key) });
  const headers = withoutReserved(properties.headers);
  return named.length === 0 && headers.length === 0 ? [] : formatTypedHeaders(named, headers);
}

function textHeader(name: string, value: string): Header {
  return { name, value: { kind: 'string', value } };
}

/** A key is text where it reads back as the same bytes. */
function valueFromKey(key: Uint8Array): HeaderValue {
  const text = Buffer.from(key).toString('utf8');
  if (Buffer.from(text).equals(key) && !text.includes('\u0000')) return { kind: 'string', value: text };
  return { kind: 'bytes', value: key };
}

function bytesFromCorrelation(value: HeaderValue): Uint8Array {
  return value.kind === 'bytes' ? value.value : Buffer.from(textFromValue(value));
}

function isMqttText(text: string): boolean {
  return !text.includes('\u0000') && Buffer.byteLength(text) <= TEXT_BYTES_MAX;
}

function pushText(pieces: Uint8Array[], id: number, text: string): void {
  if (isMqttText(text)) pieces.push(Buffer.from([id]), textPiece(text));
}

function pushPair(pieces: Uint8Array[], pair: TextHeader): void {
  if (!isMqttText(pair.name) || !isMqttText(pair.text)) return;
  pieces.push(Buffer.from([MessageProperty.userProperty]), textPiece(pair.name), textPiece(pair.text));
}

/** A lone surrogate becomes U+FFFD: the bytes are always valid UTF-8. */
function textPiece(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const piece = Buffer.allocUnsafe(2 + bytes.length);
  piece.writeUInt16BE(bytes.length, 0);
  piece.set(bytes, 2);
  return piece;
}
