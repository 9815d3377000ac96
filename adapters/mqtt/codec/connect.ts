/**
 * CONNECT, read strictly. Called for the first packet of a connection; throws `MqttError`, after which the caller
 * answers in the version that the packet announced, as far as it was read. Source: MQTT 5.0 and 3.1.1 section 3.1;
 * MQTT 3.1 section 3.1 (protocol name `MQIsdp`).
 *
 * | field            | bytes                                                                        |
 * |------------------|------------------------------------------------------------------------------|
 * | protocol name    | text: `MQTT`, or `MQIsdp` in 3.1                                             |
 * | level            | 1: 3, 4 or 5; bit 7 set by bridges before version 5                          |
 * | flags            | 1: 7 user, 6 password, 5 will retain, 4-3 will QoS, 2 will, 1 clean, 0 zero  |
 * | keep alive       | u16, seconds                                                                 |
 * | properties       | block, version 5                                                             |
 * | client id        | text                                                                         |
 * | will             | [block, version 5], topic text, payload bytes                                |
 * | user, password   | text, bytes                                                                  |
 */

import type { MqttApplicationMessage } from '../../../mappings/mqtt.ts';
import type { Reliability } from '../../../src/core/index.ts';
import { MqttError, malformed, protocolError, Reason } from '../errors.ts';
import { checkTopicName } from './known-topics.ts';
import {
  MessageProperties,
  NO_PROPERTIES,
  PropertyPlace,
  type PropertyValues,
  readProperties,
} from './properties.ts';
import type { ProtocolVersion, Reader } from './wire.ts';

export interface Will extends MqttApplicationMessage {
  readonly topic: string;
  readonly delaySeconds: number;
  /** The payload is said to be UTF-8 text. */
  readonly isText: boolean;
}

export interface ConnectPacket {
  readonly version: ProtocolVersion;
  /** The client is a bridge of another server and says so in its level, before version 5. */
  readonly bridge: boolean;
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly clientId: string;
  readonly will: Will | null;
  readonly user: string | null;
  readonly password: Uint8Array | null;
  readonly properties: PropertyValues;
}

/** The version announced is not spoken here; `version` is the format that the answer is written in. */
export class UnsupportedVersionError extends MqttError {
  readonly version: ProtocolVersion;

  constructor(version: ProtocolVersion, text: string) {
    super(Reason.unsupportedProtocolVersion, text);
    this.version = version;
  }
}

const LEVEL_BRIDGE = 0x80;

/** Name and level, as far as the answer to everything that follows depends on them. */
export interface ConnectVersion {
  readonly version: ProtocolVersion;
  readonly bridge: boolean;
}

/** `[MQTT-3.1.2-1]`, `[MQTT-3.1.2-2]`: the name and the level belong together. */
export function readConnectVersion(reader: Reader): ConnectVersion {
  const name = reader.text();
  if (name !== 'MQTT' && name !== 'MQIsdp') throw malformed('the protocol name is not MQTT');
  const level = reader.u8();
  const bridge = (level & LEVEL_BRIDGE) !== 0;
  const version = bridge ? level & ~LEVEL_BRIDGE : level;
  if (name === 'MQIsdp' && version === 3) return { version: 3, bridge };
  if (name === 'MQTT' && version === 4) return { version: 4, bridge };
  if (name === 'MQTT' && level === 5) return { version: 5, bridge: false };
  throw new UnsupportedVersionError(
    name === 'MQTT' && level > 5 ? 5 : 4,
    `level ${level} of ${name} is not spoken`,
  );
}

/** What follows name and level, to the end of the packet. */
export function readConnect(reader: Reader, { version, bridge }: ConnectVersion): ConnectPacket {
  const flags = reader.u8();
  const hasWill = (flags & 0x04) !== 0;
  const willQos = (flags >> 3) & 0x03;
  const willRetain = (flags & 0x20) !== 0;
  const hasPassword = (flags & 0x40) !== 0;
  const hasUser = (flags & 0x80) !== 0;
  if ((flags & 0x01) !== 0) throw malformed('the reserved flag of CONNECT is set'); // [MQTT-3.1.2-3]
  if (willQos === 3) throw malformed('the will has QoS 3'); // [MQTT-3.1.2-12]
  if (!hasWill && (willQos !== 0 || willRetain)) {
    throw malformed('a will QoS or will retain flag without a will'); // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
  }
  if (version < 5 && hasPassword && !hasUser) throw malformed('a password without a user name'); // 3: [MQTT-3.1.2-22]
  const keepAliveSeconds = reader.u16();
  const properties = version === 5 ? readProperties(reader, PropertyPlace.CONNECT) : NO_PROPERTIES;
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw protocolError('authentication data without a method'); // MQTT 5.0 3.1.2.11.10
  }
  const clientId = reader.text();
  const will = hasWill ? readWill(reader, version, willQos as Reliability, willRetain) : null;
  const user = hasUser ? reader.text() : null;
  const password = hasPassword ? new Uint8Array(reader.bytes()) : null;
  reader.finish(); // [MQTT-3.1.4-1]
  return {
    version,
    bridge,
    clean: (flags & 0x02) !== 0,
    keepAliveSeconds,
    clientId,
    will,
    user,
    password,
    properties,
  };
}

function readWill(reader: Reader, version: ProtocolVersion, qos: Reliability, retain: boolean): Will {
  const properties = new MessageProperties();
  if (version === 5) properties.read(reader, PropertyPlace.WILL);
  const topic = reader.text();
  checkTopicName(topic);
  return {
    topic,
    delaySeconds: properties.willDelaySeconds,
    isText: properties.isText,
    // The will is kept as long as the connection: not together with the chunk that it came in.
    body: new Uint8Array(reader.bytes()),
    qos,
    retain,
    native: properties.native === null ? null : new Uint8Array(properties.native),
    expirySeconds: properties.expirySeconds,
    priority: properties.priority,
    described: properties.described,
  };
}
