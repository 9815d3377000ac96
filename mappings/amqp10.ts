/**
 * AMQP 1.0 ⇔ the one message, by the property table of docs/mappings.md. A message that came in by AMQP 1.0 keeps its
 * annotations, properties, application properties, body and footer byte for byte; other protocols see them through
 * `amqp10Codec`, and any message can be shown as AMQP 1.0. Pure, and knows no clock.
 *
 * Native form, big-endian. A body in one piece is the message's body; other bodies are told by their form:
 *
 * | size     | field                                                                  |
 * |----------|------------------------------------------------------------------------|
 * | 4 + n    | length, annotations to application properties as they came             |
 * | 4 + n    | length, the form of the body: see `formFromBody`                       |
 * | the rest | footer as it came                                                      |
 */

import { Buffer } from 'node:buffer';
import { Message, type NativeCodec, type Properties, type Reliability } from '../src/core/index.ts';
import { addressFromAmqp10 } from './amqp10-address.ts';
import { bodyFromForm, type FormedBody, formFromBody } from './amqp10-body.ts';
import {
  Annotation,
  propertiesFromAmqp10,
  sectionsFromMessage,
  withoutReservedProperties,
} from './amqp10-properties.ts';
import { type Amqp10Message, decodeAmqp10, encodeHeader, findSections, Section } from './amqp10-sections.ts';

export * from './amqp10-address.ts';
export * from './amqp10-body.ts';
export { Annotation, ENCODED_BODY } from './amqp10-properties.ts';
export * from './amqp10-sections.ts';
export * from './amqp10-values.ts';

const TTL_MAX_MS = 0xffff_ffff;
const NO_BYTES = Buffer.alloc(0);

export const amqp10Codec: NativeCodec = {
  name: 'amqp10',
  decode(bytes: Uint8Array): Properties {
    const { prefix, form, footer } = partsOfNative(bytes);
    return propertiesFromAmqp10(decodeAmqp10(Buffer.concat([prefix, footer])), form);
  },
};

function nativeFromParts(prefix: Buffer, form: string, footer: Buffer): Buffer {
  const formBytes = Buffer.from(form);
  const native = Buffer.allocUnsafe(8 + prefix.length + formBytes.length + footer.length);
  let at = native.writeUInt32BE(prefix.length, 0);
  at += prefix.copy(native, at);
  at = native.writeUInt32BE(formBytes.length, at);
  at += formBytes.copy(native, at);
  footer.copy(native, at);
  return native;
}

function partsOfNative(bytes: Uint8Array): {
  readonly prefix: Buffer;
  readonly form: string;
  readonly footer: Buffer;
} {
  const native = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const formAt = 4 + native.readUInt32BE(0);
  const footerAt = formAt + 4 + native.readUInt32BE(formAt);
  return {
    prefix: native.subarray(4, formAt),
    form: native.toString('utf8', formAt + 4, footerAt),
    footer: native.subarray(footerAt),
  };
}

/**
 * The message that a client sent at `nowMs`. `target` is the address of its link, null where that is the anonymous
 * terminus and each message says by `to` where it goes. Null where it says nothing that is an address. Throws
 * `MalformedAmqp10Error`.
 */
export function messageFromAmqp10(
  bytes: Buffer,
  target: string | null,
  publisherId: string,
  nowMs: number,
): Message | null {
  const decoded = decodeAmqp10(bytes);
  const { header, properties } = decoded;
  const address = target ?? addressFromAmqp10(properties.to ?? '', null);
  if (address === null) return null;
  const body = formFromBody(decoded.body);
  return new Message({
    address,
    body: body.bytes,
    nullBody: body.isNull,
    ...extrasFromAnnotations(decoded),
    priority: header.priority ?? 0,
    expiresAtMs: expiryOf(decoded, nowMs),
    timestampMs: nowMs,
    publisherId,
    codec: amqp10Codec,
    native: nativeFromMessage(bytes, decoded, body),
  });
}

/** The earlier of the two that a message can say. */
function expiryOf({ header, properties }: Amqp10Message, nowMs: number): number {
  const byTtl = header.ttlMs === undefined ? Number.POSITIVE_INFINITY : nowMs + header.ttlMs;
  const expiresAtMs = Math.min(byTtl, properties.absoluteExpiryMs ?? Number.POSITIVE_INFINITY);
  return Number.isFinite(expiresAtMs) ? Math.max(1, expiresAtMs) : 0;
}

interface Extras {
  reliability: Reliability;
  retain: boolean;
  key: Uint8Array | null;
}

function extrasFromAnnotations({ header, annotations }: Amqp10Message): Extras {
  const extras: Extras = { reliability: header.durable ? 1 : 0, retain: false, key: null };
  for (const { name, value } of annotations) {
    if (name === Annotation.retain && value.kind === 'bool') extras.retain = value.value;
    else if (name === Annotation.qos && header.durable && value.kind === 'u8' && value.value === 2) {
      extras.reliability = 2;
    } else if (name === Annotation.key) {
      if (value.kind === 'bytes') extras.key = value.value;
      else if (value.kind === 'string' || value.kind === 'symbol') extras.key = Buffer.from(value.value);
    }
  }
  return extras;
}

function nativeFromMessage(bytes: Buffer, decoded: Amqp10Message, body: FormedBody): Buffer {
  const places = findSections(bytes);
  const piecesOf = (first: number, last: number): Buffer[] =>
    places
      .filter(({ code }) => code >= first && code <= last)
      .map(({ start, end }) => bytes.subarray(start, end));
  const own = withoutReservedProperties(decoded.applicationProperties);
  const prefix =
    own === null
      ? piecesOf(Section.annotations, Section.applicationProperties)
      : [...piecesOf(Section.annotations, Section.properties), own];
  const [footer = NO_BYTES] = piecesOf(Section.footer, Section.footer);
  return nativeFromParts(Buffer.concat(prefix), body.form, footer);
}

/** The message as transfers carry it, without delivery annotations: all sections, the header among them. */
export function amqp10FromMessage(message: Message, nowMs: number): Buffer {
  const head = encodeHeader({
    durable: message.durable,
    ...(message.priority === 0 ? {} : { priority: Math.min(message.priority, 255) }),
    ...ttlOf(message, nowMs),
  });
  if (message.codec === amqp10Codec && message.native !== null) {
    const { prefix, form, footer } = partsOfNative(message.native);
    return Buffer.concat([head, prefix, bodyFromForm(message.body, message.nullBody, form), footer]);
  }
  const { prefix, footer } = sectionsFromMessage(message);
  const form = message.properties.bodyForm ?? '';
  return Buffer.concat([head, prefix, bodyFromForm(message.body, message.nullBody, form), footer]);
}

/** What is left, at least a millisecond: 0 would be no time at all. A longer one is in the absolute expiry alone. */
function ttlOf(message: Message, nowMs: number): { readonly ttlMs?: number } {
  if (message.expiresAtMs === 0) return {};
  const ttlMs = Math.max(1, Math.ceil(message.expiresAtMs - nowMs));
  return ttlMs > TTL_MAX_MS ? {} : { ttlMs };
}
