/**
 * Properties of the one message ⇔ the content header's fields, by the property table of docs/mappings.md. What a
 * field cannot hold travels in a header of the gateway and returns from it. Called when a message crosses from or
 * to another protocol, never between two clients of this one; pure, and knows no clock.
 */

import { Buffer } from 'node:buffer';
import {
  type Header,
  type HeaderValue,
  isReplyAddress,
  type Message,
  markOfReply,
  type Properties,
} from '../src/core/index.ts';
import {
  addressFromReplyTo,
  REPLY_PREFIX,
  replyToFromAddress,
  SHORT_STRING_BYTES_MAX,
} from './amqp091-address.ts';
import { type Amqp091Content, encodeContent } from './amqp091-content.ts';
import { encodeTable, hasShortName } from './amqp091-table.ts';
import { headersForTable, headersFromTable } from './amqp091-types.ts';
import { type PlacedHeader, placeHeaders } from './header-overflow.ts';
import { GatewayHeader, isReservedName, type PropertiesDraft, withoutReserved } from './header-values.ts';

/** Headers that carry what this protocol has no field for, or whose field is too narrow. */
export const Amqp091Header = {
  correlation: 'x-correlation-id',
  messageId: 'x-gw-message-id',
  contentEncoding: 'x-gw-content-encoding',
  type: 'x-gw-type',
  subject: 'x-gw-subject',
  appId: 'x-gw-app-id',
  /** The reply address as it is, where it is no queue. */
  replyTo: 'x-reply-to-topic',
  timestampMs: 'timestamp_in_ms',
  groupId: 'x-group-id',
  groupSequence: 'x-group-seq',
  replyToGroupId: 'x-reply-to-group-id',
  retain: 'x-mqtt-retain',
  /** A property that no other protocol has. */
  clusterId: 'x-cluster-id',
  /** A table of the names whose array stands for that many headers, each with the places of these. */
  repeated: 'x-gw-repeated',
  /** How many of the publisher's headers did not fit the frame. */
  dropped: 'x-gw-dropped-headers',
} as const;

// ------------------------------------------------------------------------------------------------ from the wire

export function propertiesFromContent(content: Amqp091Content): Properties {
  const draft: PropertiesDraft = { headers: [] };
  if (content.contentType !== undefined) draft.contentType = content.contentType;
  if (content.contentEncoding !== undefined) draft.contentEncoding = content.contentEncoding;
  if (content.correlationId !== undefined) draft.correlation = valueFromShort(content.correlationId);
  if (content.replyTo !== undefined) draft.replyTo = addressFromReplyTo(content.replyTo);
  if (content.messageId !== undefined) draft.messageId = valueFromShort(content.messageId);
  if (content.timestampSeconds !== undefined) {
    const timestampMs = Number(content.timestampSeconds) * 1000;
    if (Number.isSafeInteger(timestampMs)) draft.timestampMs = timestampMs;
  }
  if (content.type !== undefined) draft.type = content.type;
  if (content.userId !== undefined) draft.userId = content.userId;
  if (content.appId !== undefined) draft.appId = content.appId;
  if (content.headers !== undefined) draft.headers = ownHeaders(draft, content);
  if (content.clusterId !== undefined) {
    draft.headers = [...draft.headers, text(Amqp091Header.clusterId, content.clusterId)];
  }
  return draft;
}

function valueFromShort(value: string | Uint8Array): HeaderValue {
  return typeof value === 'string' ? { kind: 'string', value } : { kind: 'bytes', value, forText: true };
}

/** Takes the gateway's own headers into `draft` and gives back those of the publisher. */
function ownHeaders(draft: PropertiesDraft, content: Amqp091Content): readonly Header[] {
  const correlationId = isMarkOfReply(content) ? undefined : content.correlationId;
  const headers = headersFromTable(content.headers ?? []);
  const own: Header[] = [];
  const placed: PlacedHeader[] = [];
  const places = placesOfRepeated(headers);
  for (const header of headers) {
    const { name, value } = header;
    if (name === Amqp091Header.repeated) continue;
    if (name === GatewayHeader.overflow) placed.push(...headersFromOverflow(value));
    else if (value.kind === 'list' && places.has(name)) {
      const at = places.get(name) as readonly number[];
      placed.push(...value.value.map((each, index) => placedAt(at[index], name, each)));
    } else if (!takeHeader(draft, header, correlationId) && !isReservedName(name)) own.push(header);
  }
  if (draft.subject !== undefined && draft.type === draft.subject && !headers.some(isTypeHeader)) {
    delete draft.type;
  }
  return placeHeaders(own, placed);
}

function isTypeHeader(header: Header): boolean {
  return header.name === Amqp091Header.type;
}

/** Without a place it comes last. */
function placedAt(at: number | undefined, name: string, value: HeaderValue): PlacedHeader {
  return { at: at ?? Number.MAX_SAFE_INTEGER, header: { name, value } };
}

function placesOfRepeated(headers: readonly Header[]): ReadonlyMap<string, readonly number[]> {
  const repeated = headers.find(({ name }) => name === Amqp091Header.repeated)?.value;
  if (repeated?.kind !== 'map') return NO_PLACES;
  return new Map(
    repeated.value.flatMap(({ name, value }) =>
      value.kind === 'list'
        ? [[name, value.value.flatMap((each) => (each.kind === 'i32' ? [each.value] : []))]]
        : [],
    ),
  );
}

const NO_PLACES: ReadonlyMap<string, readonly number[]> = new Map();

function headersFromOverflow(value: HeaderValue): PlacedHeader[] {
  if (value.kind !== 'list') return [];
  return value.value.flatMap((entry) => {
    if (entry.kind !== 'list' || entry.value.length !== 3) return [];
    const [at, name, held] = entry.value;
    if (at?.kind !== 'i32' || name?.kind !== 'string' || held === undefined) return [];
    return isReservedName(name.value) ? [] : [placedAt(at.value, name.value, held)];
  });
}

const TEXT_HEADERS: Readonly<
  Record<string, 'contentType' | 'contentEncoding' | 'type' | 'subject' | 'appId' | 'bodyForm'>
> = {
  [GatewayHeader.contentType]: 'contentType',
  [Amqp091Header.contentEncoding]: 'contentEncoding',
  [Amqp091Header.type]: 'type',
  [Amqp091Header.subject]: 'subject',
  [Amqp091Header.appId]: 'appId',
  [GatewayHeader.bodyForm]: 'bodyForm',
};

/** Whether the header was one of the properties. `correlationId`: the field of that name, which a header may add to. */
function takeHeader(
  draft: PropertiesDraft,
  { name, value }: Header,
  correlationId: Amqp091Content['correlationId'],
): boolean {
  const field = Object.hasOwn(TEXT_HEADERS, name) ? TEXT_HEADERS[name] : undefined;
  if (field !== undefined) {
    if (value.kind === 'string') draft[field] = value.value;
    return value.kind === 'string';
  }
  switch (name) {
    case Amqp091Header.correlation:
      if (!completesCorrelation(value, correlationId)) return false;
      draft.correlation = value;
      return true;
    case Amqp091Header.messageId:
      draft.messageId = value;
      return true;
    case Amqp091Header.replyTo:
      if (value.kind !== 'string') return false;
      // A token stands for it; whoever passes the request on passes on where its answer goes.
      if (draft.replyTo === undefined || isReplyAddress(draft.replyTo)) draft.replyTo = value.value;
      return true;
    case Amqp091Header.groupId:
      if (value.kind !== 'string') return false;
      draft.groupId = value.value;
      return true;
    case Amqp091Header.replyToGroupId:
      if (value.kind !== 'string') return false;
      draft.replyToGroupId = value.value;
      return true;
    case Amqp091Header.groupSequence:
      if (value.kind !== 'u32') return false;
      draft.groupSequence = value.value;
      return true;
    case Amqp091Header.timestampMs:
      if (value.kind !== 'i64' || !Number.isSafeInteger(Number(value.value))) return false;
      draft.timestampMs = Number(value.value);
      return true;
    case GatewayHeader.textBody:
      if (value.kind !== 'u8') return false;
      draft.textBody = value.value === 1;
      return true;
    case Amqp091Header.retain:
      // The message's own field; shown to others from there.
      return value.kind === 'bool';
    default:
      return false;
  }
}

/**
 * Many programs have a header of this name for their own use. It is the correlation only where it says what the field
 * cannot: bytes, a number, or text too long for it.
 */
function completesCorrelation(value: HeaderValue, correlationId: Amqp091Content['correlationId']): boolean {
  const short = shortFromValue(value);
  if (value.kind === 'string') return short === null && correlationId === undefined;
  return correlationId === undefined || short === correlationId;
}

// -------------------------------------------------------------------------------------------------- to the wire

/**
 * Flags and fields of a message that was not born in this protocol, in at most `bytesMax` bytes. `longAddress`:
 * the delivery's names cannot carry the address. `nowMs` turns absolute expiry into what is left of it. `answerAt`:
 * the address under `$reply` that answers are to be published to, null for none.
 */
export function contentFromMessage(
  message: Message,
  longAddress: boolean,
  nowMs: number,
  bytesMax: number,
  answerAt: string | null = null,
): Buffer {
  const { properties } = message;
  const content: Amqp091Content = { deliveryMode: message.durable ? 2 : 1 };
  const headers: Header[] = [];
  if (message.priority > 0) content.priority = message.priority;
  if (message.expiresAtMs > 0) {
    content.expiration = String(Math.max(0, Math.ceil(message.expiresAtMs - nowMs)));
  }
  putProperties(content, headers, properties);
  if (answerAt !== null) putAnswerAddress(content, headers, properties, answerAt);
  if (longAddress) headers.push(text(GatewayHeader.address, message.address));
  if (message.reliability === 2) headers.push({ name: GatewayHeader.qos, value: { kind: 'u8', value: 2 } });
  if (message.retain) headers.push({ name: Amqp091Header.retain, value: { kind: 'bool', value: true } });
  if (message.nullBody) headers.push({ name: GatewayHeader.nullBody, value: { kind: 'bool', value: true } });
  if (message.key !== null) {
    headers.push({ name: GatewayHeader.key, value: { kind: 'bytes', value: message.key } });
  }
  const own =
    properties.headers.length === 0
      ? []
      : collectHeaders(content, withoutClusterId(content, withoutReserved(properties.headers)), headers);
  return encodeWithin(content, headers, own, bytesMax);
}

function text(name: string, value: string): Header {
  return { name, value: { kind: 'string', value } };
}

function fits(value: string): boolean {
  return value.length <= 85 || Buffer.byteLength(value) <= SHORT_STRING_BYTES_MAX;
}

function putProperties(content: Amqp091Content, headers: Header[], properties: Properties): void {
  const { contentType, contentEncoding, replyTo, timestampMs, type, subject, userId, appId } = properties;
  if (contentType !== undefined) {
    if (fits(contentType)) content.contentType = contentType;
    else headers.push(text(GatewayHeader.contentType, contentType));
  }
  if (contentEncoding !== undefined) {
    if (fits(contentEncoding)) content.contentEncoding = contentEncoding;
    else headers.push(text(Amqp091Header.contentEncoding, contentEncoding));
  }
  putIds(content, headers, properties);
  if (replyTo !== undefined) {
    const key = replyToFromAddress(replyTo);
    if (key !== null) content.replyTo = key;
    if (key === null || addressIsNoQueue(key)) headers.push(text(Amqp091Header.replyTo, replyTo));
  }
  if (timestampMs !== undefined) {
    if (timestampMs >= 0) content.timestampSeconds = BigInt(Math.floor(timestampMs / 1000));
    if (timestampMs % 1000 !== 0 || timestampMs < 0) {
      headers.push({
        name: Amqp091Header.timestampMs,
        value: { kind: 'i64', value: BigInt(Math.floor(timestampMs)) },
      });
    }
  }
  const shownType = type ?? subject;
  if (shownType !== undefined && fits(shownType)) content.type = shownType;
  if (type !== undefined && (!fits(type) || type === subject)) headers.push(text(Amqp091Header.type, type));
  if (subject !== undefined) headers.push(text(Amqp091Header.subject, subject));
  // A header could claim any user; only the property itself is held against the login. So a longer one is not told.
  if (userId !== undefined && fits(userId)) content.userId = userId;
  if (appId !== undefined) {
    if (fits(appId)) content.appId = appId;
    else headers.push(text(Amqp091Header.appId, appId));
  }
  if (properties.groupId !== undefined) headers.push(text(Amqp091Header.groupId, properties.groupId));
  if (properties.replyToGroupId !== undefined) {
    headers.push(text(Amqp091Header.replyToGroupId, properties.replyToGroupId));
  }
  if (properties.groupSequence !== undefined) {
    headers.push({
      name: Amqp091Header.groupSequence,
      value: { kind: 'u32', value: properties.groupSequence },
    });
  }
  if (properties.bodyForm !== undefined) headers.push(text(GatewayHeader.bodyForm, properties.bodyForm));
  if (properties.textBody !== undefined) {
    headers.push({
      name: GatewayHeader.textBody,
      value: { kind: 'u8', value: properties.textBody ? 1 : 0 },
    });
  }
}

/** `reply-to` and `correlation-id` for a server that answers as usual; headers say what they stand for. */
function putAnswerAddress(
  content: Amqp091Content,
  headers: Header[],
  { replyTo, correlation }: Properties,
  answerAt: string,
): void {
  const name = replyToFromAddress(answerAt);
  if (name === null) return;
  content.replyTo = name;
  if (correlation !== undefined) content.correlationId ??= markOfReply(answerAt);
  if (replyTo !== undefined && !headers.some(isReplyToHeader)) {
    headers.push(text(Amqp091Header.replyTo, replyTo));
  }
}

/** The correlation-id is the gateway's own, which stands for the one in a header. */
function isMarkOfReply({ replyTo, correlationId }: Amqp091Content): boolean {
  if (replyTo === undefined || correlationId === undefined) return false;
  const address = addressFromReplyTo(replyTo);
  return isReplyAddress(address) && correlationId === markOfReply(address);
}

function isReplyToHeader(header: Header): boolean {
  return header.name === Amqp091Header.replyTo;
}

/** Whether `reply-to` and `correlation-id` say all that an answer needs: a queue's name, and text. */
export function hasPlainReply({ replyTo, correlation }: Properties): boolean {
  if (replyTo === undefined) return true;
  const name = replyToFromAddress(replyTo);
  if (name === null || name.startsWith(REPLY_PREFIX)) return false;
  return isReplyAddress(replyTo) || correlation === undefined || shortFromValue(correlation) !== null;
}

function addressIsNoQueue(replyTo: string): boolean {
  return addressFromReplyTo(replyTo) === replyTo.slice(replyTo.indexOf('/') + 1);
}

function putIds(content: Amqp091Content, headers: Header[], properties: Properties): void {
  const { correlation, messageId } = properties;
  if (correlation !== undefined) {
    const short = shortFromValue(correlation);
    if (short !== null) content.correlationId = short;
    if (short === null || !isShort(correlation)) {
      headers.push({ name: Amqp091Header.correlation, value: correlation });
    }
  }
  if (messageId !== undefined) {
    const short = shortFromValue(messageId);
    if (short !== null) content.messageId = short;
    if (short === null || !isShort(messageId)) {
      headers.push({ name: Amqp091Header.messageId, value: messageId });
    }
  }
}

/** It came as a short string, so that one tells all of it. */
function isShort(value: HeaderValue): boolean {
  return value.kind === 'string' || (value.kind === 'bytes' && value.forText === true);
}

/** An identifier as a short string that shows what it is, or null where none does. */
function shortFromValue(value: HeaderValue): string | Uint8Array | null {
  if (value.kind === 'string' || value.kind === 'uuid') return fits(value.value) ? value.value : null;
  if (value.kind === 'i64' || value.kind === 'u64') return String(value.value);
  if (value.kind !== 'bytes' || value.value.length > SHORT_STRING_BYTES_MAX) return null;
  if (value.forText === true) return value.value;
  const bytes = Buffer.from(value.value.buffer, value.value.byteOffset, value.value.byteLength);
  const shown = bytes.toString();
  return Buffer.from(shown).equals(bytes) ? shown : null;
}

/** The first header that stands for the property becomes it again. */
function withoutClusterId(content: Amqp091Content, headers: readonly Header[]): readonly Header[] {
  const at = headers.findIndex(
    ({ name, value }) => name === Amqp091Header.clusterId && value.kind === 'string' && fits(value.value),
  );
  if (at < 0) return headers;
  const { value } = headers[at] as Header;
  if (value.kind === 'string') content.clusterId = value.value;
  return headers.toSpliced(at, 1);
}

/** The publisher's headers as a table holds them: each name once, and short enough. */
function collectHeaders(content: Amqp091Content, source: readonly Header[], extra: Header[]): Header[] {
  const own: Header[] = [];
  const byName = new Map<string, { readonly index: number; readonly all: PlacedHeader[] }>();
  const repeated = new Map<string, readonly PlacedHeader[]>();
  const overflow: HeaderValue[] = [];
  /** As a header it would be read as one of the properties. */
  const isMistakable = (header: Header): boolean =>
    takeHeader({ headers: [] }, header, content.correlationId) ||
    extra.some(({ name }) => name === header.name);
  for (const [at, header] of source.entries()) {
    if (!hasShortName(header) || isMistakable(header)) {
      const name: HeaderValue = { kind: 'string', value: header.name };
      overflow.push({ kind: 'list', value: [{ kind: 'i32', value: at }, name, header.value] });
      continue;
    }
    const earlier = byName.get(header.name);
    if (earlier === undefined) {
      byName.set(header.name, { index: own.length, all: [{ at, header }] });
      own.push(header);
      continue;
    }
    earlier.all.push({ at, header });
    repeated.set(header.name, earlier.all);
  }
  for (const [name, all] of repeated) {
    const { index } = byName.get(name) as { readonly index: number };
    own[index] = { name, value: { kind: 'list', value: all.map(({ header }) => header.value) } };
  }
  if (repeated.size > 0) {
    const places = [...repeated].map(([name, all]): Header => {
      const value = all.map(({ at }): HeaderValue => ({ kind: 'i32', value: at }));
      return { name, value: { kind: 'list', value } };
    });
    extra.push({ name: Amqp091Header.repeated, value: { kind: 'map', value: places } });
  }
  if (overflow.length > 0) {
    extra.push({ name: GatewayHeader.overflow, value: { kind: 'list', value: overflow } });
  }
  return own;
}

/** A content header is one frame and cannot be split: the oldest of the publisher's headers give way. */
function encodeWithin(content: Amqp091Content, extra: Header[], own: Header[], bytesMax: number): Buffer {
  const all = headersForTable([...own, ...extra]);
  const bytes = encodeContent(all.length === 0 ? content : { ...content, headers: all });
  if (bytes.length <= bytesMax) return bytes;
  const others = all.slice(own.length);
  let excess = bytes.length - bytesMax + DROPPED_NOTE_BYTES;
  let dropped = 0;
  while (dropped < own.length && excess > 0) excess -= encodeTable([all[dropped++] as Header]).length - 4;
  const note = (count: number): Header => ({
    name: Amqp091Header.dropped,
    value: { kind: 'u32', value: count },
  });
  const kept = all.slice(dropped, own.length);
  const shorter = encodeContent({ ...content, headers: [...kept, ...others, note(dropped)] });
  if (shorter.length <= bytesMax) return shorter;
  return encodeContent({ ...content, headers: [note(own.length + extra.length)] });
}

/** The note's own field: name, tag and number. */
const DROPPED_NOTE_BYTES = 1 + Amqp091Header.dropped.length + 1 + 4;
