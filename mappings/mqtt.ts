/**
 * MQTT ⇔ message: what an application message of MQTT is, how its version 5 properties are read by others and how
 * any message looks to a version 5 subscriber. The adapter's codec embeds this shape; the management API explains
 * with it. Pure. The rules are in docs/mappings.md; source: MQTT 5.0 section 3.3.
 *
 * A message's `native` bytes are its MQTT 5 properties as the publisher sent them, in order, without the length
 * before them and without what belongs to one hop or to one publisher only: message expiry (kept as an absolute
 * time), topic alias, subscription identifiers, will delay, and user properties under reserved names.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import {
  type Header,
  type HeaderValue,
  Message,
  type NativeCodec,
  type Properties,
  type Reliability,
} from '../src/core/index.ts';
import { bareEventNames, eventFromBareNames, eventHeaders, PLAIN_PREFIX } from './cloud-events.ts';
import {
  overflowFromTexts,
  type PlacedHeader,
  PROPERTY_PLACE,
  placeHeaders,
  textsFromOverflow,
} from './header-overflow.ts';
import {
  codeFromValue,
  formatTypedHeaders,
  GatewayHeader,
  headersFromProperties,
  isReservedName,
  type ParsedHeaders,
  PROPERTY_NAMES,
  type PropertiesDraft,
  type PropertyField,
  parseTypedHeaders,
  type TextHeader,
  takeProperty,
  textFromValue,
  valueFromText,
  withoutReserved,
} from './header-values.ts';
import { MessageProperty, PROPERTY_BY_ID } from './mqtt-properties.ts';
import { addressFromTopic, topicFromAddress } from './mqtt-topics.ts';

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
  'bodyForm',
] as const satisfies readonly PropertyField[];

/** Who published is told where the publisher asked for it; no publisher can tell it himself in MQTT. */
const TOLD_FIELDS = [...USER_PROPERTY_FIELDS, 'userId'] as const satisfies readonly PropertyField[];

const USER_PROPERTY_NAMES: ReadonlySet<string> = new Set([
  ...USER_PROPERTY_FIELDS.map((field) => PROPERTY_NAMES[field]),
  PROPERTY_NAMES.priority,
]);

/** Reserved names by which a publisher describes its own message, as it was shown one: they claim nothing else. */
const DESCRIPTIVE_NAMES: ReadonlySet<string> = new Set([
  GatewayHeader.types,
  GatewayHeader.key,
  GatewayHeader.nullBody,
  GatewayHeader.overflow,
  GatewayHeader.bodyForm,
  GatewayHeader.correlation,
]);

/**
 * What becomes of a publisher's user property by its name: `own`, it is the publisher's; `described`, the gateway's
 * word for something of the message itself; `taken`, a word of the gateway that no publisher may say.
 */
export function userPropertyStanding(name: string): 'own' | 'described' | 'taken' {
  if (!isReservedName(name)) return 'own';
  return DESCRIPTIVE_NAMES.has(name) || name.startsWith(PLAIN_PREFIX) ? 'described' : 'taken';
}

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
  /** Some user property describes the message in the gateway's words: `native` must be looked into. */
  readonly described?: boolean;
}

/** The message that a client published to `address` at `nowMs`. */
export function messageFromMqtt(
  publish: MqttApplicationMessage,
  address: string,
  publisherId: string,
  nowMs: number,
): Message {
  const message = plainMessage(publish, address, publisherId, nowMs);
  return publish.described === true ? describedMessage(message) : message;
}

function plainMessage(
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

/** The message with what its user properties say in the gateway's words. */
function describedMessage(message: Message): Message {
  if (message.native === null) return message;
  const { pairs } = readNative(message.native);
  const parsed = parsePairs(pairs);
  const key = parsed.reserved.find(({ name }) => name === GatewayHeader.key)?.value;
  const priority = parsed.named.find(({ name }) => name === PROPERTY_NAMES.priority)?.value;
  return message.with({
    nullBody:
      message.body.length === 0 && parsed.reserved.some(({ name }) => name === GatewayHeader.nullBody),
    // A header of that name may be said to be no priority.
    priority: priority?.kind === 'string' ? priorityFromText(priority.value) : 0,
    ...(key?.kind === 'bytes' ? { key: key.value } : {}),
    ...(key?.kind === 'string' ? { key: Buffer.from(key.value) } : {}),
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

function propertiesFromMqtt(bytes: Uint8Array): Properties {
  const { draft, pairs, correlation } = readNative(bytes);
  const code = pairs.find(({ name }) => name === GatewayHeader.correlation)?.text ?? '';
  if (correlation !== null) draft.correlation = correlationFromBytes(correlation, code);
  return pairs.length === 0 ? draft : withUserProperties(draft, parsePairs(pairs));
}

/** Text where the bytes are text and nothing says otherwise, as most correlations of every protocol are. */
function correlationFromBytes(bytes: Uint8Array, code: string): HeaderValue {
  if (code === 'bytes' || !isUtf8(bytes)) return { kind: 'bytes', value: bytes };
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  return valueFromText(code, text) ?? { kind: 'string', value: text };
}

function parsePairs(pairs: readonly TextHeader[]): ParsedHeaders {
  return parseTypedHeaders(eventFromBareNames(pairs), USER_PROPERTY_NAMES);
}

/** Stops quietly at bytes that no codec of ours wrote: what was read until there counts. */
function readNative(bytes: Uint8Array): {
  readonly draft: PropertiesDraft;
  readonly pairs: readonly TextHeader[];
  readonly correlation: Uint8Array | null;
} {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const draft: PropertiesDraft = { headers: [] };
  const pairs: TextHeader[] = [];
  let correlation: Uint8Array | null = null;
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
        correlation = first;
      } else if (definition.type === 'pair') {
        if (at + 2 > buffer.length) break;
        const second = readSlice(buffer, at);
        at += 2 + second.length;
        pairs.push({ name: first.toString('utf8'), text: second.toString('utf8') });
      }
    }
  }
  return { draft, pairs, correlation };
}

function readSlice(buffer: Buffer, at: number): Buffer {
  const length = ((buffer[at] as number) << 8) | (buffer[at + 1] as number);
  return buffer.subarray(at + 2, at + 2 + length);
}

function withUserProperties(draft: PropertiesDraft, parsed: ParsedHeaders): Properties {
  const refused: Header[] = [];
  for (const header of parsed.named) {
    // A valid priority is a field of the message, read when it came in.
    if (header.name === PROPERTY_NAMES.priority && isPriority(header.value)) continue;
    if (!takeProperty(draft, header)) refused.push(header);
  }
  const overflow = overflowFromTexts(
    parsed.reserved.flatMap(({ name, value }) =>
      name === GatewayHeader.overflow && value.kind === 'string' ? [value.value] : [],
    ),
  );
  for (const { at, header } of overflow) if (at === PROPERTY_PLACE) takeProperty(draft, header);
  const own = refused.length === 0 ? parsed.headers : [...refused, ...parsed.headers];
  draft.headers = placeHeaders(
    own,
    overflow.filter(({ at }) => at !== PROPERTY_PLACE),
  );
  return draft;
}

function isPriority(value: HeaderValue): boolean {
  return value.kind === 'string' && /^\d{1,3}$/.test(value.value) && Number(value.value) <= 255;
}

// ------------------------------------------------------------------------------ message → MQTT 5 properties

/**
 * The message's properties as MQTT 5 bytes, without their length and without what belongs to one hop (expiry,
 * alias, subscription identifiers). Text that no MQTT string can hold (over 65,535 bytes, U+0000) is in
 * `x-gw-overflow`. `answerAt`: the address that answers are to be published to instead of the message's own; null keeps
 * that.
 */
export function mqttPropertiesFromMessage(message: Message, answerAt: string | null = null): Uint8Array {
  if (message.codec === mqtt5Codec) return message.native ?? EMPTY;
  const { contentType, correlation, textBody } = message.properties;
  const pieces: Uint8Array[] = [];
  const overflow: PlacedHeader[] = [];
  if (textBody !== undefined) {
    pieces.push(Buffer.from([MessageProperty.payloadFormatIndicator, textBody ? 1 : 0]));
  }
  if (contentType !== undefined) {
    if (isMqttText(contentType)) pushText(pieces, MessageProperty.contentType, contentType);
    else overflow.push(overflowProperty(PROPERTY_NAMES.contentType, { kind: 'string', value: contentType }));
  }
  const replyTo = answerAt ?? message.properties.replyTo ?? '';
  if (replyTo !== '') {
    const topic = topicFromAddress(replyTo);
    if (isMqttText(topic)) pushText(pieces, MessageProperty.responseTopic, topic);
    else overflow.push(overflowProperty(PROPERTY_NAMES.replyTo, { kind: 'string', value: replyTo }));
  }
  if (correlation !== undefined) {
    const bytes = bytesFromCorrelation(correlation);
    if (bytes.length > TEXT_BYTES_MAX)
      overflow.push(overflowProperty(PROPERTY_NAMES.correlation, correlation));
    else {
      pieces.push(
        Buffer.from([MessageProperty.correlationData, bytes.length >> 8, bytes.length & 0xff]),
        bytes,
      );
      const code = correlationCode(correlation);
      if (code !== '') pushPair(pieces, { name: GatewayHeader.correlation, text: code });
    }
  }
  for (const pair of userPropertiesFromMessage(message, overflow)) pushPair(pieces, pair);
  return pieces.length === 0 ? EMPTY : Buffer.concat(pieces);
}

function overflowProperty(name: string, value: HeaderValue): PlacedHeader {
  return { at: PROPERTY_PLACE, header: { name, value } };
}

function userPropertiesFromMessage(message: Message, overflow: PlacedHeader[]): readonly TextHeader[] {
  const { properties } = message;
  let named = headersFromProperties(properties, TOLD_FIELDS);
  if (message.priority !== 0) named.push(textHeader(PROPERTY_NAMES.priority, String(message.priority)));
  if (message.nullBody) named.push(textHeader(GatewayHeader.nullBody, '1'));
  if (message.key !== null) named.push({ name: GatewayHeader.key, value: valueFromKey(message.key) });
  const event = eventHeaders(properties.headers);
  let headers = withoutReserved(event ?? properties.headers);
  if (named.length === 0 && headers.length === 0 && overflow.length === 0) return [];
  let pairs = formatTypedHeaders(named, headers);
  if (overflow.length > 0 || !pairs.every(isMqttPair)) {
    named = named.filter((header) => {
      if (isMqttHeader(header)) return true;
      overflow.push(overflowProperty(header.name, header.value));
      return false;
    });
    headers = headers.filter((header, at) => {
      if (isMqttHeader(header)) return true;
      overflow.push({ at, header });
      return false;
    });
    pairs = formatTypedHeaders(named, headers);
    for (const text of textsFromOverflow(overflow)) pairs.push({ name: GatewayHeader.overflow, text });
  }
  return event === null ? pairs : bareEventNames(pairs);
}

function isMqttHeader(header: Header): boolean {
  return isMqttText(header.name) && isMqttText(textFromValue(header.value));
}

function isMqttPair(pair: TextHeader): boolean {
  return isMqttText(pair.name) && isMqttText(pair.text);
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
  if (value.kind === 'bytes') return value.value;
  return Buffer.from(isText(value) ? value.value : textFromValue(value));
}

function isText(
  value: HeaderValue,
): value is Extract<HeaderValue, { readonly kind: 'string' | 'symbol' | 'uuid' | 'char' }> {
  return value.kind === 'string' || value.kind === 'symbol' || value.kind === 'uuid' || value.kind === 'char';
}

/** What text alone would not say of a correlation; empty where it says all. */
function correlationCode(value: HeaderValue): string {
  if (value.kind === 'bytes') return isUtf8(value.value) ? 'bytes' : '';
  if (isText(value)) return value.kind === 'string' ? '' : value.kind;
  return codeFromValue(value);
}

function isMqttText(text: string): boolean {
  return !text.includes('\u0000') && Buffer.byteLength(text) <= TEXT_BYTES_MAX;
}

function pushText(pieces: Uint8Array[], id: number, text: string): void {
  pieces.push(Buffer.from([id]), textPiece(text));
}

function pushPair(pieces: Uint8Array[], pair: TextHeader): void {
  // A list of types that is too long leaves its headers strings.
  if (!isMqttPair(pair)) return;
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
