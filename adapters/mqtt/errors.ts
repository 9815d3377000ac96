/**
 * What this server tells MQTT clients when something is wrong: the reason codes of MQTT 5, what each becomes for
 * 3.1 and 3.1.1, and the error class that the codec and the handlers throw for what ends a connection. Refusals
 * of the core are mapped to reason codes of acknowledgements by one table. Source: MQTT 5.0 section 2.4 and 4.13,
 * MQTT 3.1.1 section 3.2.2.3.
 */

import type { CoreErrorCode } from '../../src/core/index.ts';
import type { CloseReason } from '../../src/host.ts';

/** Reason codes by name. Those from 0x80 on are failures. */
export const Reason = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecific: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdInUse: 0x91,
  packetIdNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
} as const;
export type ReasonCode = (typeof Reason)[keyof typeof Reason];

/** Return codes of a CONNACK before version 5. */
export const ConnectReturn = {
  accepted: 0,
  unacceptableProtocolVersion: 1,
  identifierRejected: 2,
  serverUnavailable: 3,
  badUserNameOrPassword: 4,
  notAuthorized: 5,
} as const;

/** The CONNACK return code that says most of what a reason code says; others are "server unavailable". */
export function connectReturnFromReason(reason: ReasonCode): number {
  switch (reason) {
    case Reason.success:
      return ConnectReturn.accepted;
    case Reason.unsupportedProtocolVersion:
      return ConnectReturn.unacceptableProtocolVersion;
    case Reason.clientIdNotValid:
      return ConnectReturn.identifierRejected;
    case Reason.badUserNameOrPassword:
      return ConnectReturn.badUserNameOrPassword;
    case Reason.notAuthorized:
      return ConnectReturn.notAuthorized;
    default:
      return ConnectReturn.serverUnavailable;
  }
}

/** Under which of the gateway's reasons a connection is logged that ends with this code. */
export function closeReasonFrom(reason: ReasonCode): CloseReason {
  switch (reason) {
    case Reason.badUserNameOrPassword:
    case Reason.notAuthorized:
    case Reason.badAuthenticationMethod:
      return 'not-authorized';
    case Reason.keepAliveTimeout:
      return 'keep-alive-timeout';
    case Reason.sessionTakenOver:
      return 'displaced';
    case Reason.packetTooLarge:
    case Reason.receiveMaximumExceeded:
    case Reason.quotaExceeded:
    case Reason.messageRateTooHigh:
    case Reason.connectionRateExceeded:
      return 'limit-reached';
    case Reason.administrativeAction:
    case Reason.useAnotherServer:
    case Reason.serverMoved:
      return 'administrative';
    case Reason.serverShuttingDown:
      return 'shutting-down';
    case Reason.unspecifiedError:
    case Reason.serverUnavailable:
      return 'internal-error';
    default:
      return 'protocol-error';
  }
}

/** Ends the connection: version 5 is told the reason code, earlier versions only see the close. */
export class MqttError extends Error {
  readonly reason: ReasonCode;

  constructor(reason: ReasonCode, message: string) {
    super(message);
    this.name = 'MqttError';
    this.reason = reason;
  }
}

/** MQTT 5.0 section 4.13.1: the bytes cannot be read as the packet that they claim to be. */
export function malformed(text: string): MqttError {
  return new MqttError(Reason.malformedPacket, text);
}

/** MQTT 5.0 section 4.13.1: well formed, but not allowed here. */
export function protocolError(text: string): MqttError {
  return new MqttError(Reason.protocolError, text);
}

/**
 * What a publisher is told in PUBACK or PUBREC, and a subscriber in SUBACK, when the core refuses. The codes that
 * these packets may carry are few (tables 3-4 and 3-8): what has no code of its own is 0x83 or 0x97.
 */
export const REASON_BY_CORE_ERROR = {
  'not-found': Reason.implementationSpecific,
  'exists-differently': Reason.implementationSpecific,
  'invalid-name': Reason.topicNameInvalid,
  'invalid-argument': Reason.implementationSpecific,
  'in-use': Reason.implementationSpecific,
  'not-empty': Reason.implementationSpecific,
  exclusive: Reason.notAuthorized,
  'access-refused': Reason.notAuthorized,
  'limit-reached': Reason.quotaExceeded,
  'message-too-large': Reason.quotaExceeded,
  overflow: Reason.quotaExceeded,
  // Table 3-4: valid, and the server is not willing to accept it.
  'refused-by-rule': Reason.implementationSpecific,
  'storage-failed': Reason.quotaExceeded,
  'corrupt-batch': Reason.implementationSpecific,
  'out-of-order-sequence': Reason.implementationSpecific,
  'stale-producer': Reason.implementationSpecific,
  'unknown-producer': Reason.implementationSpecific,
  'offset-out-of-range': Reason.implementationSpecific,
  'shutting-down': Reason.implementationSpecific,
} as const satisfies Record<CoreErrorCode, ReasonCode>;
