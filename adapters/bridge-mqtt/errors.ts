/**
 * What a broker says, as the words of a bridge: why a connection failed or ended, and what became of a message. Pure
 * tables over MQTT's codes and over the errors of sockets. Source: MQTT 5.0 section 2.4; MQTT 3.1.1 section 3.2.2.3.
 */

import { failureOfCode, LinkError, type LinkFailure, type SendAnswer } from '../../src/outside.ts';

/** Reason codes of version 5 that a broker refuses or disconnects with. */
const REASONS: Readonly<Record<number, string>> = {
  128: 'unspecified error',
  129: 'malformed packet',
  130: 'protocol error',
  131: 'implementation specific error',
  132: 'unsupported protocol version',
  133: 'client identifier not valid',
  134: 'bad user name or password',
  135: 'not authorized',
  136: 'server unavailable',
  137: 'server busy',
  138: 'banned',
  139: 'server shutting down',
  140: 'bad authentication method',
  141: 'keep alive timeout',
  142: 'session taken over: another client uses the same client identifier',
  143: 'topic filter invalid',
  144: 'topic name invalid',
  145: 'packet identifier in use',
  146: 'packet identifier not found',
  147: 'receive maximum exceeded',
  148: 'topic alias invalid',
  149: 'packet too large',
  150: 'message rate too high',
  151: 'quota exceeded',
  152: 'administrative action',
  153: 'payload format invalid',
  154: 'retain not supported',
  155: 'QoS not supported',
  156: 'use another server',
  157: 'server moved',
  158: 'shared subscriptions not supported',
  159: 'connection rate exceeded',
  160: 'maximum connect time',
  161: 'subscription identifiers not supported',
  162: 'wildcard subscriptions not supported',
};

/** Return codes of version 3.1.1 as the reason codes that say the same. */
const RETURN_CODES: Readonly<Record<number, number>> = { 1: 132, 2: 133, 3: 136, 4: 134, 5: 135 };

export const FIRST_FAILURE = 0x80;
export const UNSUPPORTED_VERSION = 132;

const CONNECT_FAILURES: Readonly<Record<number, LinkFailure>> = {
  134: 'authentication',
  135: 'authentication',
  138: 'authentication',
  140: 'authentication',
  136: 'unreachable',
  137: 'unreachable',
  139: 'unreachable',
  151: 'unreachable',
  159: 'unreachable',
};

const SUBSCRIBE_FAILURES: Readonly<Record<number, LinkFailure>> = {
  143: 'protocol',
  158: 'protocol',
  161: 'protocol',
  162: 'protocol',
};

const DISCONNECT_FAILURES: Readonly<Record<number, LinkFailure>> = {
  129: 'protocol',
  130: 'protocol',
  135: 'not-authorized',
  144: 'protocol',
  147: 'protocol',
  148: 'protocol',
  149: 'protocol',
  153: 'protocol',
  154: 'protocol',
  155: 'protocol',
};

/** A packet that a broker disconnects for with one of these would be no better received a second time. */
const FAULTS_OF_A_PACKET: ReadonlySet<number> = new Set([129, 130, 144, 149, 153, 154, 155]);

/** Of PUBACK, PUBREC and PUBCOMP: refused for what the message is or where it goes, not for the moment. */
const PERMANENT: ReadonlySet<number> = new Set([129, 130, 135, 144, 149, 153, 154, 155]);

function reasonText(code: number, more: string): string {
  const text = REASONS[code] ?? `reason 0x${code.toString(16)}`;
  return more === '' ? text : `${text} (${more})`;
}

/** The reason code of a CONNACK in either version. */
export function connectReason(version: '5' | '3.1.1', code: number): number {
  return version === '5' ? code : (RETURN_CODES[code] ?? code);
}

/** A CONNACK that does not accept. */
export class ConnectRefusal extends LinkError {
  readonly code: number;

  constructor(code: number, more: string) {
    super(
      CONNECT_FAILURES[code] ?? 'protocol',
      `the broker refuses the connection: ${reasonText(code, more)}`,
    );
    this.code = code;
  }
}

export function subscribeError(source: string, code: number): LinkError {
  // 3.1.1 knows one refusal only.
  const text = code === FIRST_FAILURE ? 'refused' : reasonText(code, '');
  return new LinkError(
    SUBSCRIBE_FAILURES[code] ?? 'not-authorized',
    `the subscription of ${source}: ${text}`,
  );
}

/** A DISCONNECT of the broker. */
export class DisconnectError extends LinkError {
  /** It is about a packet that was sent. */
  readonly isAboutPacket: boolean;

  constructor(code: number, more: string) {
    super(
      DISCONNECT_FAILURES[code] ?? 'closed',
      code < FIRST_FAILURE
        ? 'the broker ended the connection'
        : `the broker ended the connection: ${reasonText(code, more)}`,
    );
    this.isAboutPacket = FAULTS_OF_A_PACKET.has(code);
  }
}

export function answerFromReason(code: number, more: string): SendAnswer {
  if (code < FIRST_FAILURE) return null;
  return { reason: `the broker refuses it: ${reasonText(code, more)}`, permanent: PERMANENT.has(code) };
}

/** What a socket reports. `phase`: what was under way. */
export function errorFromSocket(
  error: Error,
  phase: 'connecting' | 'handshake' | 'open',
  where: string,
): LinkError {
  const { code = '' } = error as { code?: string };
  const text = `${where}: ${error.message === '' ? code : error.message}`;
  const options = { cause: error };
  if (phase === 'handshake' || failureOfCode(code) === 'tls') return new LinkError('tls', text, options);
  if (phase === 'connecting') return new LinkError('unreachable', text, options);
  return new LinkError('closed', text, options);
}
