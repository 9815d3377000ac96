/**
 * The short packets: acknowledgements, DISCONNECT and AUTH from clients, and everything that the server sends except
 * PUBLISH. Reason strings are left out where they would pass the client's maximum packet size. Source: MQTT 5.0
 * sections 3.2, 3.4 to 3.7, 3.9, 3.11, 3.14, 3.15.
 *
 * | packet                   | bytes after the fixed header                                             |
 * |--------------------------|--------------------------------------------------------------------------|
 * | PUBACK … PUBCOMP         | packet id u16; version 5: [reason 1, [block]], both absent mean success  |
 * | DISCONNECT, AUTH         | version 5: [reason 1, [block]]                                           |
 * | CONNACK                  | flags 1 (0 session present), code 1, [block]                             |
 * | SUBACK, UNSUBACK         | packet id u16, [block], one code for each filter (3.x UNSUBACK: none)    |
 */

import { malformed, protocolError } from '../errors.ts';
import {
  NO_PROPERTIES,
  PropertyPlace,
  type PropertyValues,
  propertyBlock,
  readProperties,
} from './properties.ts';
import { PacketType, type ProtocolVersion, type Reader, varintBytes, writeVarint } from './wire.ts';

export const PINGRESP = Buffer.of(PacketType.PINGRESP << 4, 0);

export interface AckPacket {
  readonly packetId: number;
  readonly reason: number;
}

type AckType =
  | typeof PacketType.PUBACK
  | typeof PacketType.PUBREC
  | typeof PacketType.PUBREL
  | typeof PacketType.PUBCOMP;

const RECEIPT_REASONS: ReadonlySet<number> = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]);
const RELEASE_REASONS: ReadonlySet<number> = new Set([0x00, 0x92]);
const DISCONNECT_REASONS: ReadonlySet<number> = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
]);
const AUTH_REASONS: ReadonlySet<number> = new Set([0x00, 0x18, 0x19]);

/** PUBACK, PUBREC, PUBREL and PUBCOMP of a client. */
export function readAck(reader: Reader, type: AckType, version: ProtocolVersion): AckPacket {
  const packetId = reader.packetId();
  if (reader.done) return { packetId, reason: 0 };
  if (version < 5) throw malformed('an acknowledgement is two bytes long');
  const reason = reader.u8();
  const known = type === PacketType.PUBACK || type === PacketType.PUBREC ? RECEIPT_REASONS : RELEASE_REASONS;
  if (!known.has(reason))
    throw malformed(`reason 0x${reason.toString(16)} is not one of this acknowledgement`);
  if (!reader.done) readProperties(reader, 1 << type);
  reader.finish();
  return { packetId, reason };
}

export interface DisconnectPacket {
  readonly reason: number;
  readonly properties: PropertyValues;
}

export function readDisconnect(reader: Reader, version: ProtocolVersion): DisconnectPacket {
  if (reader.done) return { reason: 0, properties: NO_PROPERTIES };
  if (version < 5) throw malformed('DISCONNECT has no body before version 5');
  const reason = reader.u8();
  if (!DISCONNECT_REASONS.has(reason)) {
    throw protocolError(`reason 0x${reason.toString(16)} is not one that a client disconnects with`);
  }
  const properties = reader.done ? NO_PROPERTIES : readProperties(reader, PropertyPlace.DISCONNECT);
  reader.finish();
  return { reason, properties };
}

export interface AuthPacket {
  readonly reason: number;
  readonly properties: PropertyValues;
}

/** Version 5 only. */
export function readAuth(reader: Reader): AuthPacket {
  if (reader.done) return { reason: 0, properties: NO_PROPERTIES };
  const reason = reader.u8();
  if (!AUTH_REASONS.has(reason)) throw malformed(`reason 0x${reason.toString(16)} is not one of AUTH`);
  const properties = reader.done ? NO_PROPERTIES : readProperties(reader, PropertyPlace.AUTH);
  reader.finish();
  return { reason, properties };
}

// ------------------------------------------------------------------------------------------------- writing

function packet(first: number, ...parts: readonly Uint8Array[]): Buffer {
  let size = 0;
  for (const part of parts) size += part.length;
  const buffer = Buffer.allocUnsafe(1 + varintBytes(size) + size);
  buffer[0] = first;
  let at = writeVarint(buffer, 1, size);
  for (const part of parts) {
    buffer.set(part, at);
    at += part.length;
  }
  return buffer;
}

/**
 * `[MQTT-3.4.2-2]` and its likes: without the reason string where it would not fit. A packet that does not fit even
 * then cannot be sent.
 */
function withReasonString(
  packetBytesMax: number,
  text: string,
  build: (values: PropertyValues) => Buffer,
): Buffer {
  if (text !== '') {
    const full = build({ reasonString: text });
    if (full.length <= packetBytesMax) return full;
  }
  return build(NO_PROPERTIES);
}

export function connackPacket(
  version: ProtocolVersion,
  sessionPresent: boolean,
  code: number,
  properties: PropertyValues,
): Buffer {
  const flags = Buffer.from([sessionPresent && version > 3 ? 1 : 0, code]);
  if (version < 5) return packet(PacketType.CONNACK << 4, flags);
  return packet(PacketType.CONNACK << 4, flags, propertyBlock(properties));
}

/** An acknowledgement with a reason; the ones without are written in place by `writeAck`. */
export function ackPacket(
  type: AckType,
  packetId: number,
  reason: number,
  text: string,
  packetBytesMax: number,
): Buffer {
  const first = (type << 4) | (type === PacketType.PUBREL ? 0x02 : 0);
  const head = Buffer.from([packetId >> 8, packetId & 0xff, reason]);
  return withReasonString(packetBytesMax, text, (values) =>
    values === NO_PROPERTIES ? packet(first, head) : packet(first, head, propertyBlock(values)),
  );
}

/** The four bytes of an acknowledgement that says success. */
export function writeAck(buffer: Buffer, at: number, type: AckType, packetId: number): void {
  buffer[at] = (type << 4) | (type === PacketType.PUBREL ? 0x02 : 0);
  buffer[at + 1] = 2;
  buffer[at + 2] = packetId >> 8;
  buffer[at + 3] = packetId & 0xff;
}

export function subackPacket(
  type: typeof PacketType.SUBACK | typeof PacketType.UNSUBACK,
  version: ProtocolVersion,
  packetId: number,
  codes: readonly number[],
  text: string,
  packetBytesMax: number,
): Buffer {
  const id = Buffer.from([packetId >> 8, packetId & 0xff]);
  if (version < 5) return packet(type << 4, id, Buffer.from(type === PacketType.SUBACK ? codes : []));
  return withReasonString(packetBytesMax, text, (values) =>
    packet(type << 4, id, propertyBlock(values), Buffer.from(codes)),
  );
}

/** Version 5 only: earlier servers just close. `serverReference` is where else to go; empty for nowhere. */
export function disconnectPacket(
  reason: number,
  text: string,
  packetBytesMax: number,
  serverReference = '',
): Buffer {
  const head = Buffer.from([reason]);
  return withReasonString(packetBytesMax, text, (values) => {
    if (serverReference !== '') {
      return packet(PacketType.DISCONNECT << 4, head, propertyBlock({ ...values, serverReference }));
    }
    return values === NO_PROPERTIES
      ? packet(PacketType.DISCONNECT << 4, head)
      : packet(PacketType.DISCONNECT << 4, head, propertyBlock(values));
  });
}

/** Version 5 only. Empty data is left out. */
export function authPacket(reason: number, method: string, data: Uint8Array): Buffer {
  return packet(
    PacketType.AUTH << 4,
    Buffer.from([reason]),
    propertyBlock({
      authenticationMethod: method,
      ...(data.length === 0 ? {} : { authenticationData: data }),
    }),
  );
}
