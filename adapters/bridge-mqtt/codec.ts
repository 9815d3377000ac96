/**
 * PUBLISH and the packets that acknowledge it, as a client writes and reads them; everything else is the client
 * library's. A message's properties are bytes in both directions, so what a publisher of MQTT 5 said is passed on as it
 * was said. Used by `sending.ts` and `receiving.ts`. Source: MQTT 5.0 and 3.1.1 sections 3.3 to 3.7.
 *
 * | PUBLISH     | bytes                                                                             |
 * |-------------|-----------------------------------------------------------------------------------|
 * | first byte  | 0x30, 3 DUP, 2-1 QoS, 0 RETAIN                                                    |
 * | length      | varint                                                                            |
 * | topic       | u16 length, UTF-8; empty only with a topic alias                                  |
 * | packet id   | u16, only with QoS 1 and 2                                                        |
 * | properties  | version 5: varint of their length, then each by its table                         |
 * | payload     | the rest                                                                          |
 *
 * PUBACK, PUBREC, PUBREL, PUBCOMP: first byte, length, packet id u16; in version 5 then a reason code and properties,
 * both left out where the reason is 0.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import {
  MessageProperty,
  type MqttApplicationMessage,
  PROPERTY_BY_ID,
  priorityFromText,
  userPropertyStanding,
} from '../../mappings/mqtt.ts';
import type { Reliability } from '../../src/core/index.ts';

export const PacketType = {
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  PINGRESP: 13,
} as const;

const EMPTY = new Uint8Array(0);
/** The flags that each acknowledgement has to have. `[MQTT-3.6.1-1]` */
const PUBREL_FLAGS = 0x02;
const ACK_BYTES = 4;
const EXPIRY_BYTES = 5;
const ALIAS_BYTES = 3;

// ------------------------------------------------------------------------------------------------- writing

/** A message as it is sent. */
export interface OutgoingPublish {
  readonly topic: Uint8Array;
  readonly body: Uint8Array;
  readonly qos: Reliability;
  readonly retain: boolean;
  /** Null before version 5. */
  readonly native: Uint8Array | null;
  /** Seconds left; -1 where it never expires. */
  readonly expirySeconds: number;
}

function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

function writeVarint(buffer: Buffer, at: number, value: number): number {
  let left = value;
  let to = at;
  while (left >= 0x80) {
    buffer[to++] = (left & 0x7f) | 0x80;
    left >>>= 7;
  }
  buffer[to++] = left;
  return to;
}

function propertyBytesOf(publish: OutgoingPublish, alias: number): number {
  const native = publish.native ?? EMPTY;
  return native.length + (publish.expirySeconds < 0 ? 0 : EXPIRY_BYTES) + (alias === 0 ? 0 : ALIAS_BYTES);
}

/** What follows the length. `alias`: 0 is none; with `aliasKnown` the topic is left out. */
function remainingBytes(publish: OutgoingPublish, alias: number, aliasKnown: boolean): number {
  const properties = propertyBytesOf(publish, alias);
  return (
    2 +
    (aliasKnown ? 0 : publish.topic.length) +
    (publish.qos === 0 ? 0 : 2) +
    (publish.native === null ? 0 : varintBytes(properties) + properties) +
    publish.body.length
  );
}

/** Bytes of the whole packet. */
export function publishBytes(publish: OutgoingPublish, alias = 0, aliasKnown = false): number {
  const remaining = remainingBytes(publish, alias, aliasKnown);
  return 1 + varintBytes(remaining) + remaining;
}

/** Writes the packet, of `publishBytes`, and returns the position after it. */
export function writePublish(
  buffer: Buffer,
  at: number,
  publish: OutgoingPublish,
  packetId: number,
  alias: number,
  aliasKnown: boolean,
): number {
  const { qos, native, expirySeconds, body } = publish;
  const topic = aliasKnown ? EMPTY : publish.topic;
  buffer[at] = (PacketType.PUBLISH << 4) | (qos << 1) | (publish.retain ? 1 : 0);
  let to = writeVarint(buffer, at + 1, remainingBytes(publish, alias, aliasKnown));
  to = buffer.writeUInt16BE(topic.length, to);
  buffer.set(topic, to);
  to += topic.length;
  if (qos !== 0) to = buffer.writeUInt16BE(packetId, to);
  if (native !== null) {
    to = writeVarint(buffer, to, propertyBytesOf(publish, alias));
    if (expirySeconds >= 0) {
      buffer[to] = MessageProperty.messageExpiryInterval;
      to = buffer.writeUInt32BE(expirySeconds, to + 1);
    }
    if (alias !== 0) {
      buffer[to] = MessageProperty.topicAlias;
      to = buffer.writeUInt16BE(alias, to + 1);
    }
    buffer.set(native, to);
    to += native.length;
  }
  buffer.set(body, to);
  return to + body.length;
}

export type AckType = 'PUBACK' | 'PUBREC' | 'PUBREL' | 'PUBCOMP';

export interface Ack {
  readonly type: AckType;
  readonly packetId: number;
}

/** Acknowledgements that say success, in order. */
export function ackPackets(acks: readonly Ack[]): Buffer {
  const buffer = Buffer.allocUnsafe(acks.length * ACK_BYTES);
  let at = 0;
  for (const { type, packetId } of acks) {
    buffer[at] = (PacketType[type] << 4) | (type === 'PUBREL' ? PUBREL_FLAGS : 0);
    buffer[at + 1] = 2;
    at = buffer.writeUInt16BE(packetId, at + 2);
  }
  return buffer;
}

// ------------------------------------------------------------------------------------------------- reading

/** An acknowledgement of the other side; its reason is 0 where it says none. */
export function readAck(buffer: Buffer, start: number, end: number): { packetId: number; reason: number } {
  if (end - start < 2) throw new Error('an acknowledgement is malformed');
  const packetId = buffer.readUInt16BE(start);
  return { packetId, reason: end - start > 2 ? (buffer[start + 2] as number) : 0 };
}

export interface IncomingPublish extends MqttApplicationMessage {
  readonly topic: string;
  /** 0 with QoS 0. */
  readonly packetId: number;
}

/** PUBLISH in `buffer[start, end)`, whose first byte was `first`. Throws Error where it is malformed. */
export function readPublish(
  first: number,
  buffer: Buffer,
  start: number,
  end: number,
  version5: boolean,
): IncomingPublish {
  const qos = (first >> 1) & 0x03;
  if (qos === 3) throw new Error('a message has QoS 3');
  let at = need(start + 2, end);
  const topicEnd = need(at + buffer.readUInt16BE(start), end);
  const topic = buffer.toString('utf8', at, topicEnd);
  // No topic alias was offered, so each message says its topic.
  if (topic === '') throw new Error('a message has no topic');
  at = topicEnd;
  let packetId = 0;
  if (qos !== 0) {
    packetId = buffer.readUInt16BE(need(at + 2, end) - 2);
    at += 2;
  }
  let properties = NO_PROPERTIES;
  if (version5) {
    let length = 0;
    for (let i = 0; ; i++) {
      if (i === 4) throw new Error('the properties of a message are malformed');
      const byte = buffer[need(at + 1, end) - 1] as number;
      at++;
      length += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) break;
    }
    const propertiesEnd = need(at + length, end);
    if (length !== 0) properties = readProperties(buffer, at, propertiesEnd);
    at = propertiesEnd;
  }
  return {
    topic,
    packetId,
    qos: qos as Reliability,
    retain: (first & 0x01) !== 0,
    body: buffer.subarray(at, end),
    ...properties,
  };
}

function need(at: number, end: number): number {
  if (at > end) throw new Error('a message is malformed');
  return at;
}

type PropertiesRead = Required<
  Pick<MqttApplicationMessage, 'native' | 'expirySeconds' | 'priority' | 'described'>
>;

const NO_PROPERTIES: PropertiesRead = { native: null, expirySeconds: -1, priority: 0, described: false };

/**
 * What travels with the message is kept as it came, without what belongs to this hop, what only this gateway may say, and
 * text that is none: no client here could be sent it.
 */
function readProperties(buffer: Buffer, start: number, end: number): PropertiesRead {
  const kept: Uint8Array[] = [];
  let expirySeconds = -1;
  let priority = 0;
  let described = false;
  let at = start;
  while (at < end) {
    const from = at;
    const definition = PROPERTY_BY_ID[buffer[at++] as number];
    if (definition === undefined) throw new Error('a message has a property that does not exist');
    const { id, type } = definition;
    let isKept = true;
    if (type === 'byte') at += 1;
    else if (type === 'u16') at += 2;
    else if (type === 'u32') {
      at += 4;
      if (at <= end && id === MessageProperty.messageExpiryInterval) {
        expirySeconds = buffer.readUInt32BE(at - 4);
        isKept = false;
      }
    } else if (type === 'varint') {
      while (at < end && ((buffer[at++] as number) & 0x80) !== 0);
    } else {
      const name = readField(buffer, at, end);
      at += 2 + name.length;
      if (type === 'text') isKept = isText(name);
      else if (type === 'pair') {
        const value = readField(buffer, at, end);
        at += 2 + value.length;
        isKept = isText(name) && isText(value);
        if (isKept) {
          const text = name.toString();
          const standing = userPropertyStanding(text);
          if (standing === 'taken') isKept = false;
          if (standing === 'described') described = true;
          if (text === 'priority') priority = priorityFromText(value.toString());
        }
      }
    }
    need(at, end);
    if (id === MessageProperty.subscriptionIdentifier || id === MessageProperty.topicAlias) isKept = false;
    if (isKept) kept.push(buffer.subarray(from, at));
  }
  return { native: kept.length === 0 ? null : Buffer.concat(kept), expirySeconds, priority, described };
}

/** The bytes behind the length that stands at `at`. */
function readField(buffer: Buffer, at: number, end: number): Buffer {
  need(at + 2, end);
  const from = at + 2;
  return buffer.subarray(from, need(from + buffer.readUInt16BE(at), end));
}

function isText(bytes: Buffer): boolean {
  return isUtf8(bytes) && !bytes.includes(0);
}

/** Every text in properties that were written or read here. */
export function textsOf(native: Uint8Array): string[] {
  const buffer = Buffer.from(native.buffer, native.byteOffset, native.byteLength);
  const texts: string[] = [];
  let at = 0;
  while (at < buffer.length) {
    const type = PROPERTY_BY_ID[buffer[at++] as number]?.type;
    if (type === 'byte') at += 1;
    else if (type === 'text' || type === 'bytes' || type === 'pair') {
      for (let fields = type === 'pair' ? 2 : 1; fields > 0; fields--) {
        const field = readField(buffer, at, buffer.length);
        at += 2 + field.length;
        if (type !== 'bytes') texts.push(field.toString());
      }
    } else break;
  }
  return texts;
}
