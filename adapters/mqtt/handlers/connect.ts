/**
 * What CONNECT asks for against what this server allows: identifiers, limits and lifetimes, and the answer in CONNACK.
 * Without effects; the connection acts on the agreement. Source: MQTT 5.0 section 3.1 and 3.2, MQTT 3.1.1 the same.
 */

import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { PeerProperty } from '../../../mappings/mqtt-peers.ts';
import type { Credentials } from '../../../src/host.ts';
import type { ConnectPacket } from '../codec/connect.ts';
import { connackPacket } from '../codec/control.ts';
import type { PropertyValues } from '../codec/properties.ts';
import type { ProtocolVersion } from '../codec/wire.ts';
import type { MqttContext } from '../context.ts';
import { MqttError, Reason, type ReasonCode } from '../errors.ts';
import type { MqttLimits, MqttSettings } from '../settings.ts';
import { refusalOfMessage } from './publish.ts';

const SECONDS_FOREVER = 0xffff_ffff;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;

export interface Agreement {
  readonly clientId: string;
  /** The server chose the identifier. */
  readonly assigned: boolean;
  readonly keepAliveSeconds: number;
  /** The session outlives its connection. */
  readonly durable: boolean;
  /** Infinity: for ever. */
  readonly sessionExpiryMs: number;
  /** Unacknowledged messages to the client. */
  readonly inflightMax: number;
  readonly packetBytesMax: number;
  readonly topicAliasMaximumOut: number;
  readonly wantsProblemInformation: boolean;
  /** For CONNACK; empty before version 5. */
  readonly properties: PropertyValues;
}

/** Throws MqttError, with which CONNACK refuses. */
export function agreeOn(packet: ConnectPacket, settings: MqttSettings): Agreement {
  const { version, properties } = packet;
  const { limits } = settings;
  checkWill(packet, settings);
  const assigned = packet.clientId === '';
  const clientId = assigned ? assignClientId(packet) : packet.clientId;
  if (Buffer.byteLength(clientId) > limits.clientIdBytesMax) {
    throw new MqttError(
      Reason.clientIdNotValid,
      `the client identifier is longer than ${limits.clientIdBytesMax}`,
    );
  }
  if (CONTROL_CHARACTER.test(clientId)) {
    throw new MqttError(Reason.clientIdNotValid, 'the client identifier holds a control character');
  }
  const keepAliveSeconds = agreeOnKeepAlive(packet, limits);
  const asked = askedExpirySeconds(packet, limits);
  const expirySeconds = Math.min(asked, limits.sessionExpirySecondsMax);
  return {
    clientId,
    assigned,
    keepAliveSeconds,
    durable: expirySeconds > 0,
    sessionExpiryMs: expiryMsFromSeconds(expirySeconds),
    inflightMax: Math.min(properties.receiveMaximum ?? 65_535, limits.inflightMax),
    packetBytesMax: properties.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    topicAliasMaximumOut: Math.min(properties.topicAliasMaximum ?? 0, limits.topicAliasMaximumOut),
    wantsProblemInformation: properties.requestProblemInformation !== 0,
    properties:
      version < 5
        ? {}
        : {
            ...(expirySeconds === asked ? {} : { sessionExpiryInterval: expirySeconds }),
            receiveMaximum: limits.receiveMaximum,
            maximumPacketSize: limits.packetBytesMax,
            ...(assigned ? { assignedClientIdentifier: clientId } : {}),
            ...(limits.topicAliasMaximum > 0 ? { topicAliasMaximum: limits.topicAliasMaximum } : {}),
            ...responseInformationFor(packet, clientId, settings),
            ...(keepAliveSeconds === packet.keepAliveSeconds ? {} : { serverKeepAlive: keepAliveSeconds }),
          },
  };
}

/** Why a client is to go to another server, or null. A stop is for a while, a redirection of all is for good. */
export function redirectionOf({ settings, isDraining }: MqttContext): ReasonCode | null {
  if (settings.serverReference === '') return null;
  if (settings.redirect === 'always') return Reason.serverMoved;
  return settings.redirect === 'draining' && isDraining() ? Reason.useAnotherServer : null;
}

/** Who this is, for a bridge of a gateway and for nobody else: it sends nothing back to where it came from. */
export function introductionFor({ properties }: ConnectPacket, gatewayId: string): PropertyValues {
  const isBridge = properties.userProperties?.some(({ name }) => name === PeerProperty.bridge) === true;
  return isBridge ? { userProperties: [{ name: PeerProperty.gateway, value: gatewayId }] } : {};
}

/** The CONNACK that accepts. `[MQTT-3.1.2-24]`: where the client has no room for it, it cannot be served. */
export function acceptingConnack(
  version: ProtocolVersion,
  present: boolean,
  agreement: Agreement,
  more: PropertyValues,
): Buffer {
  const properties = { ...agreement.properties, ...more };
  const packet = connackPacket(version, present, Reason.success, properties);
  if (packet.length > agreement.packetBytesMax) {
    throw new MqttError(Reason.packetTooLarge, 'the maximum packet size leaves no room for CONNACK');
  }
  return packet;
}

/** `[MQTT-3.1.2-28]`: only where it was asked for. A topic cannot hold a client identifier with wildcards. */
function responseInformationFor(
  packet: ConnectPacket,
  clientId: string,
  { responseInformation }: MqttSettings,
): PropertyValues {
  if (responseInformation === '' || packet.properties.requestResponseInformation !== 1) return {};
  if (responseInformation.includes('%c') && /[+#]/.test(clientId)) return {};
  return { responseInformation: responseInformation.replaceAll('%c', () => clientId) };
}

export function expiryMsFromSeconds(seconds: number): number {
  return seconds === SECONDS_FOREVER ? Number.POSITIVE_INFINITY : seconds * 1000;
}

/** Version 5 says it; before, a session that is not clean outlives its connection as long as the server likes. */
function askedExpirySeconds(packet: ConnectPacket, limits: MqttLimits): number {
  if (packet.version === 5) return packet.properties.sessionExpiryInterval ?? 0;
  return packet.clean ? 0 : limits.sessionExpirySecondsMax;
}

/** A will goes where any client may publish. */
function checkWill({ will }: ConnectPacket, { limits, checkPayloadFormat }: MqttSettings): void {
  if (will === null) return;
  if (checkPayloadFormat && will.isText && !isUtf8(will.body)) {
    throw new MqttError(Reason.payloadFormatInvalid, 'the will is not the text that it is said to be');
  }
  if (refusalOfMessage(will.topic, limits.topicLevelsMax) !== 0) {
    throw new MqttError(Reason.topicNameInvalid, 'the will topic is not for clients to publish to');
  }
}

/** 3: [MQTT-3.1.3-7], [MQTT-3.1.3-8]; 5: [MQTT-3.1.3-6], [MQTT-3.1.3-7]. MQTT 3.1 wants 1 to 23 characters. */
function assignClientId(packet: ConnectPacket): string {
  if (packet.version === 3 || (packet.version === 4 && !packet.clean)) {
    throw new MqttError(Reason.clientIdNotValid, 'an empty client identifier');
  }
  return `auto-${randomUUID()}`;
}

/** `[MQTT-3.2.2-21]`. Earlier versions cannot be told, so theirs stays. */
function agreeOnKeepAlive(packet: ConnectPacket, limits: MqttLimits): number {
  const { keepAliveSeconds, version } = packet;
  const maximum = limits.keepAliveSecondsMax;
  if (version < 5 || maximum === 65_535) return keepAliveSeconds;
  return keepAliveSeconds === 0 || keepAliveSeconds > maximum ? maximum : keepAliveSeconds;
}

/** Version 5 allows a password without a user name. */
export function credentialsOf(packet: ConnectPacket): Credentials {
  if (packet.user === null && packet.password === null) return { kind: 'anonymous' };
  return { kind: 'password', user: packet.user ?? '', password: packet.password ?? new Uint8Array(0) };
}
