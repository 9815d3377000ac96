/**
 * The one message ⇔ a message of AMQP 0-9-1 (RabbitMQ's dialect). This file holds the native form, which the
 * adapter builds from the wire as it came and writes back as it is, and gathers the parts beside it: addresses,
 * field tables, content properties. Called by `adapters/amqp091` for each message and by the core, through
 * `amqp091Codec`, when another protocol asks for properties. Pure.
 *
 * Native form, so that the route can be copied into a delivery in one piece:
 *
 * | size     | field                                                                   |
 * |----------|-------------------------------------------------------------------------|
 * | 1 + n    | exchange, short string                                                  |
 * | 1 + n    | routing key, short string                                               |
 * | 2        | property flags                                                          |
 * | the rest | properties, as in the content header                                    |
 */

import { Buffer } from 'node:buffer';
import {
  Message,
  type MessageFields,
  type NativeCodec,
  type Properties,
  ROOT_EXCHANGE,
} from '../src/core/index.ts';
import { addressFromAmqp091, amqp091FromAddress, LONG_ADDRESS_KEY } from './amqp091-address.ts';
import { decodeContent } from './amqp091-content.ts';
import { Amqp091Header, contentFromMessage, propertiesFromContent } from './amqp091-properties.ts';
import { GatewayHeader } from './header-values.ts';

export * from './amqp091-address.ts';
export { withoutClaims } from './amqp091-claims.ts';
export * from './amqp091-content.ts';
export {
  Amqp091Header,
  contentFromMessage,
  hasPlainReply,
  propertiesFromContent,
} from './amqp091-properties.ts';
export * from './amqp091-table.ts';

export const amqp091Codec: NativeCodec = {
  name: 'amqp091',
  decode(bytes: Uint8Array): Properties {
    const native = bufferOf(bytes);
    return propertiesFromContent(decodeContent(native.subarray(routeBytes(native))));
  },
};

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Bytes of exchange and key at the start of a native form: where its properties begin. */
export function routeBytes(native: Uint8Array): number {
  const exchangeEnd = 1 + (native[0] as number);
  return exchangeEnd + 1 + (native[exchangeEnd] as number);
}

export function exchangeOfNative(native: Uint8Array): string {
  return bufferOf(native).toString('utf8', 1, 1 + (native[0] as number));
}

export function keyOfNative(native: Uint8Array): string {
  const start = 2 + (native[0] as number);
  return bufferOf(native).toString('utf8', start, routeBytes(native));
}

/** Builds a native form from its parts, for messages that were not read from a socket. */
export function nativeFromParts(exchange: string, key: string, content: Uint8Array): Buffer {
  const route = encodeRoute(exchange, key);
  return Buffer.concat([route, content]);
}

/** Exchange and key as two short strings. */
export function encodeRoute(exchange: string, key: string): Buffer {
  const exchangeBytes = Buffer.from(exchange);
  const keyBytes = Buffer.from(key);
  return Buffer.concat([
    Buffer.of(exchangeBytes.length),
    exchangeBytes,
    Buffer.of(keyBytes.length),
    keyBytes,
  ]);
}

/** What the headers with a meaning for the gateway say about a message beside its properties. */
export type NativeExtras = Pick<MessageFields, 'reliability' | 'retain' | 'nullBody' | 'key'> & {
  /** Instead of exchange and key, which could not carry it. */
  readonly address?: string;
};

/** Reads them; only worth calling where the scan said that there are any. */
export function extrasFromNative(native: Uint8Array, durable: boolean): NativeExtras {
  const extras: { -readonly [Name in keyof NativeExtras]: NativeExtras[Name] } = {};
  const headers = decodeContent(bufferOf(native).subarray(routeBytes(native))).headers ?? [];
  for (const { name, value } of headers) {
    if (name === Amqp091Header.retain && value.kind === 'bool') extras.retain = value.value;
    else if (name === GatewayHeader.nullBody && value.kind === 'bool') extras.nullBody = value.value;
    else if (name === GatewayHeader.qos && durable && value.kind === 'u8' && value.value === 2) {
      extras.reliability = 2;
    } else if (name === GatewayHeader.key) {
      if (value.kind === 'bytes') extras.key = value.value;
      else if (value.kind === 'string') extras.key = Buffer.from(value.value);
    } else if (name === GatewayHeader.address && value.kind === 'string' && isLongRoute(native)) {
      // No protocol has a name with U+0000 in it.
      if (!value.value.includes('\u0000')) extras.address = value.value;
    }
  }
  return extras;
}

/** Whether the key says that the address is in a header. */
export function isLongRoute(native: Uint8Array): boolean {
  return keyOfNative(native) === LONG_ADDRESS_KEY && exchangeOfNative(native) === ROOT_EXCHANGE;
}

/**
 * The milliseconds of an `expiration`, or -1 where the text is no whole number of them. For 0 it is 1: such a message
 * goes to whoever is ready for it and waits for nobody, but it has not expired before it came.
 */
export function expirationMsFromText(expiration: string): number {
  if (!/^\d{1,10}$/.test(expiration) || Number(expiration) > 0xffff_ffff) return -1;
  return Math.max(1, Number(expiration));
}

/**
 * The message published with these native bytes, which must have been scanned. For tools and tests; the adapter
 * does the same in pieces, so that messages which look alike share the work.
 */
export function messageFromAmqp091(native: Uint8Array, body: Uint8Array, nowMs: number): Message {
  const content = decodeContent(bufferOf(native).subarray(routeBytes(native)));
  const durable = content.deliveryMode === 2;
  const { address, ...extras } = extrasFromNative(native, durable);
  const expirationMs = content.expiration === undefined ? -1 : expirationMsFromText(content.expiration);
  return new Message({
    address: address ?? addressFromAmqp091(exchangeOfNative(native), keyOfNative(native)),
    body,
    reliability: durable ? 1 : 0,
    priority: content.priority ?? 0,
    expiresAtMs: expirationMs < 0 ? 0 : nowMs + expirationMs,
    timestampMs: nowMs,
    codec: amqp091Codec,
    native,
    ...extras,
  });
}

/** How a message is shown to a consumer: `route` and `content` as they stand in a delivery. */
export interface Amqp091View {
  readonly route: Buffer;
  readonly content: Buffer;
}

/**
 * The view of any message, also of one born here. `contentBytesMax`: the room of one frame. `answerAt`: the address
 * under `$reply` that answers are to be published to; null leaves the message's own.
 */
export function amqp091FromMessage(
  message: Message,
  via: string | null,
  nowMs: number,
  contentBytesMax: number,
  answerAt: string | null = null,
): Amqp091View {
  const { native } = message;
  if (message.codec === amqp091Codec && native !== null) {
    const bytes = bufferOf(native);
    const propertiesAt = routeBytes(bytes);
    const content = bytes.subarray(propertiesAt);
    if (content.length <= contentBytesMax) {
      if (isBornAt(bytes, message.address)) return { route: bytes.subarray(0, propertiesAt), content };
      // Sent on under another name, as a dead letter is: the properties are still its own.
      const moved = amqp091FromAddress(message.address, via);
      if (!moved.long) return { route: encodeRoute(moved.exchange, moved.key), content };
    }
  }
  const route = amqp091FromAddress(message.address, via);
  return {
    route: encodeRoute(route.exchange, route.key),
    content: contentFromMessage(message, route.long, nowMs, contentBytesMax, answerAt),
  };
}

const DOT = 0x2e;
const SLASH = 0x2f;
const PERCENT = 0x25;
const ROOT_BYTES = Buffer.from(ROOT_EXCHANGE);

/**
 * Whether exchange and key of the native form are the names of `address`: compared in place, because it is asked
 * for every delivery. Names that need escaping or are not ASCII take the slow way.
 */
export function isBornAt(native: Uint8Array, address: string): boolean {
  const exchangeBytes = native[0] as number;
  const keyAt = exchangeBytes + 2;
  const keyBytes = native[exchangeBytes + 1] as number;
  let at = 0;
  if (exchangeBytes === 0) return isBornSlowly(native, address);
  if (exchangeBytes !== ROOT_BYTES.length || !isRoot(native)) {
    for (let i = 1; i <= exchangeBytes; i++, at++) {
      const byte = native[i] as number;
      if (byte >= 0x80 || byte === SLASH || byte === PERCENT) return isBornSlowly(native, address);
      if (byte !== address.charCodeAt(at)) return false;
    }
    if (keyBytes === 0) return address.length === at;
    if (address.charCodeAt(at++) !== SLASH) return false;
  }
  if (address.length - at > keyBytes) return false;
  for (let i = keyAt; i < keyAt + keyBytes; i++, at++) {
    let byte = native[i] as number;
    if (byte >= 0x80) return isBornSlowly(native, address);
    if (byte === DOT) byte = SLASH;
    else if (byte === SLASH) byte = DOT;
    if (byte !== address.charCodeAt(at)) return false;
  }
  return at === address.length;
}

function isRoot(native: Uint8Array): boolean {
  for (let i = 0; i < ROOT_BYTES.length; i++) if (native[i + 1] !== ROOT_BYTES[i]) return false;
  return true;
}

function isBornSlowly(native: Uint8Array, address: string): boolean {
  return addressFromAmqp091(exchangeOfNative(native), keyOfNative(native)) === address;
}
