/** PUBACK, PUBREC, PUBREL and PUBCOMP of a client, passed to the side of the connection that waits for them. */

import { readAck } from '../codec/control.ts';
import { PacketType, type ProtocolVersion, type Reader } from '../codec/wire.ts';
import { malformed } from '../errors.ts';
import type { Inbound } from '../state/inbound.ts';
import type { Outbound } from '../state/outbound.ts';

/** A PUBACK of two bytes is the one that comes for every QoS 1 message: read in place. */
export function handleShortPuback(outbound: Outbound, buffer: Buffer, start: number): void {
  const packetId = ((buffer[start] as number) << 8) | (buffer[start + 1] as number);
  if (packetId === 0) throw malformed('a packet identifier is 0');
  outbound.acknowledged(packetId, 0);
}

export function handlePuback(outbound: Outbound, reader: Reader, version: ProtocolVersion): void {
  const { packetId, reason } = readAck(reader, PacketType.PUBACK, version);
  outbound.acknowledged(packetId, reason);
}

export function handlePubrec(outbound: Outbound, reader: Reader, version: ProtocolVersion): void {
  const { packetId, reason } = readAck(reader, PacketType.PUBREC, version);
  outbound.received(packetId, reason);
}

export function handlePubrel(inbound: Inbound, reader: Reader, version: ProtocolVersion): void {
  inbound.release(readAck(reader, PacketType.PUBREL, version).packetId);
}

export function handlePubcomp(outbound: Outbound, reader: Reader, version: ProtocolVersion): void {
  outbound.completed(readAck(reader, PacketType.PUBCOMP, version).packetId);
}
