/**
 * SUBSCRIBE and UNSUBSCRIBE, read strictly. Filters are returned as text and judged one by one by the handler, for
 * each has an answer of its own. Source: MQTT 5.0 and 3.1.1 sections 3.8 and 3.10.
 *
 * | packet      | bytes                                                                               |
 * |-------------|-------------------------------------------------------------------------------------|
 * | SUBSCRIBE   | packet id u16, [block], then filter text and options 1, one or more times            |
 * | options     | 7-6 zero, 5-4 retain handling, 3 retain as published, 2 no local, 1-0 QoS; 3.x: QoS only |
 * | UNSUBSCRIBE | packet id u16, [block], then filter text, one or more times                          |
 */

import type { UserProperty } from '../../../mappings/mqtt.ts';
import type { Reliability } from '../../../src/core/index.ts';
import { malformed, protocolError } from '../errors.ts';
import { PropertyPlace, readProperties } from './properties.ts';
import type { ProtocolVersion, Reader } from './wire.ts';

export interface SubscribeEntry {
  readonly filter: string;
  readonly qos: Reliability;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: 0 | 1 | 2;
}

export interface SubscribePacket {
  readonly packetId: number;
  /** 0: none. */
  readonly subscriptionId: number;
  readonly userProperties: readonly UserProperty[];
  readonly entries: readonly SubscribeEntry[];
}

export interface UnsubscribePacket {
  readonly packetId: number;
  readonly filters: readonly string[];
}

export function readSubscribe(reader: Reader, version: ProtocolVersion): SubscribePacket {
  const packetId = reader.packetId();
  const properties = version === 5 ? readProperties(reader, PropertyPlace.SUBSCRIBE) : null;
  const entries: SubscribeEntry[] = [];
  while (!reader.done) {
    const filter = reader.text();
    entries.push(readOptions(filter, reader.u8(), version));
  }
  if (entries.length === 0) throw protocolError('SUBSCRIBE without a topic filter'); // [MQTT-3.8.3-2]
  return {
    packetId,
    subscriptionId: properties?.subscriptionIdentifier ?? 0,
    userProperties: properties?.userProperties ?? [],
    entries,
  };
}

function readOptions(filter: string, options: number, version: ProtocolVersion): SubscribeEntry {
  const qos = options & 0x03;
  if (qos === 3) throw malformed('a subscription asks for QoS 3'); // [MQTT-3.8.3-5], 3: [MQTT-3-8.3-4]
  if (version < 5) {
    if ((options & 0xfc) !== 0) throw malformed('reserved subscription options are set');
    return { filter, qos: qos as Reliability, noLocal: false, retainAsPublished: false, retainHandling: 0 };
  }
  if ((options & 0xc0) !== 0) throw malformed('reserved subscription options are set'); // [MQTT-3.8.3-5]
  const retainHandling = (options >> 4) & 0x03;
  if (retainHandling === 3) throw protocolError('a subscription asks for retain handling 3');
  return {
    filter,
    qos: qos as Reliability,
    noLocal: (options & 0x04) !== 0,
    retainAsPublished: (options & 0x08) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  };
}

export function readUnsubscribe(reader: Reader, version: ProtocolVersion): UnsubscribePacket {
  const packetId = reader.packetId();
  if (version === 5) readProperties(reader, PropertyPlace.UNSUBSCRIBE);
  const filters: string[] = [];
  while (!reader.done) filters.push(reader.text());
  if (filters.length === 0) throw protocolError('UNSUBSCRIBE without a topic filter'); // [MQTT-3.10.3-2]
  return { packetId, filters };
}
