/**
 * What this protocol answers when something is wrong: one table of RabbitMQ's reply codes, errors that say what
 * they close, and the answers to refusals of the core. Thrown by codec and handlers, turned into channel.close or
 * connection.close by the connection. Texts follow RabbitMQ, because people and programs search for them.
 */

import { CoreError, type CoreErrorCode } from '../../src/core/index.ts';
import type { CloseReason } from '../../src/host.ts';

/** AMQP 0-9-1 1.2 and RabbitMQ's additions. `closes` is what the code closes unless the thrower says otherwise. */
export const REPLIES = {
  success: { code: 200, name: 'REPLY_SUCCESS', closes: 'connection' },
  'content-too-large': { code: 311, name: 'CONTENT_TOO_LARGE', closes: 'channel' },
  'no-route': { code: 312, name: 'NO_ROUTE', closes: 'nothing' },
  'no-consumers': { code: 313, name: 'NO_CONSUMERS', closes: 'nothing' },
  'connection-forced': { code: 320, name: 'CONNECTION_FORCED', closes: 'connection' },
  'invalid-path': { code: 402, name: 'INVALID_PATH', closes: 'connection' },
  'access-refused': { code: 403, name: 'ACCESS_REFUSED', closes: 'channel' },
  'not-found': { code: 404, name: 'NOT_FOUND', closes: 'channel' },
  'resource-locked': { code: 405, name: 'RESOURCE_LOCKED', closes: 'channel' },
  'precondition-failed': { code: 406, name: 'PRECONDITION_FAILED', closes: 'channel' },
  'frame-error': { code: 501, name: 'FRAME_ERROR', closes: 'connection' },
  'syntax-error': { code: 502, name: 'SYNTAX_ERROR', closes: 'connection' },
  'command-invalid': { code: 503, name: 'COMMAND_INVALID', closes: 'connection' },
  'channel-error': { code: 504, name: 'CHANNEL_ERROR', closes: 'connection' },
  'unexpected-frame': { code: 505, name: 'UNEXPECTED_FRAME', closes: 'connection' },
  'resource-error': { code: 506, name: 'RESOURCE_ERROR', closes: 'channel' },
  'not-allowed': { code: 530, name: 'NOT_ALLOWED', closes: 'connection' },
  'not-implemented': { code: 540, name: 'NOT_IMPLEMENTED', closes: 'connection' },
  'internal-error': { code: 541, name: 'INTERNAL_ERROR', closes: 'connection' },
} as const satisfies Readonly<
  Record<string, { readonly code: number; readonly name: string; readonly closes: string }>
>;

export type ReplyName = keyof typeof REPLIES;

/** Under which reason a connection that ends with a reply is logged and counted; all others are protocol errors. */
const LOGGED_REASONS: { readonly [Reply in ReplyName]?: CloseReason } = {
  'access-refused': 'not-authorized',
  'resource-error': 'limit-reached',
  'connection-forced': 'shutting-down',
  'internal-error': 'internal-error',
};

export function closeReasonOf(reply: ReplyName): CloseReason {
  return LOGGED_REASONS[reply] ?? 'protocol-error';
}

/** A violation or refusal that ends a channel or the connection. */
export class Amqp091Error extends Error {
  readonly reply: ReplyName;
  readonly closes: 'channel' | 'connection';

  constructor(reply: ReplyName, closes: 'channel' | 'connection', explanation: string) {
    super(explanation);
    this.name = 'Amqp091Error';
    this.reply = reply;
    this.closes = closes;
  }

  get code(): number {
    return REPLIES[this.reply].code;
  }

  /** As it stands in the close method, at most 255 bytes. */
  get replyText(): string {
    return replyText(this.reply, this.message);
  }
}

export function replyText(reply: ReplyName, explanation: string): string {
  // What a client sent may stand in it, however long that is.
  let text = `${REPLIES[reply].name} - ${explanation}`.slice(0, 255);
  while (Buffer.byteLength(text) > 255) text = text.slice(0, Math.max(0, text.length - 8));
  // A cut must not leave half of a surrogate pair.
  return text.toWellFormed();
}

export function channelError(reply: ReplyName, explanation: string): Amqp091Error {
  return new Amqp091Error(reply, 'channel', explanation);
}

export function connectionError(reply: ReplyName, explanation: string): Amqp091Error {
  return new Amqp091Error(reply, 'connection', explanation);
}

/** What a refusal of the core becomes. `nack`: a publisher with confirms is told so and keeps its channel. */
export const CORE_REPLIES = {
  'not-found': { reply: 'not-found', nack: false },
  'exists-differently': { reply: 'precondition-failed', nack: false },
  'invalid-name': { reply: 'precondition-failed', nack: false },
  'invalid-argument': { reply: 'precondition-failed', nack: false },
  'in-use': { reply: 'precondition-failed', nack: false },
  'not-empty': { reply: 'precondition-failed', nack: false },
  exclusive: { reply: 'access-refused', nack: false },
  'access-refused': { reply: 'access-refused', nack: false },
  'limit-reached': { reply: 'precondition-failed', nack: true },
  'message-too-large': { reply: 'precondition-failed', nack: false },
  overflow: { reply: 'precondition-failed', nack: true },
  'refused-by-rule': { reply: 'precondition-failed', nack: true },
  'storage-failed': { reply: 'resource-error', nack: true },
  'corrupt-batch': { reply: 'internal-error', nack: true },
  'out-of-order-sequence': { reply: 'internal-error', nack: true },
  'stale-producer': { reply: 'internal-error', nack: true },
  'unknown-producer': { reply: 'internal-error', nack: true },
  'offset-out-of-range': { reply: 'internal-error', nack: true },
  'shutting-down': { reply: 'connection-forced', nack: true },
} as const satisfies Readonly<Record<CoreErrorCode, { readonly reply: ReplyName; readonly nack: boolean }>>;

const VHOST = "in vhost '/'";

/** Explanations that several handlers give. */
export const explain = {
  noQueue: (name: string) => `no queue '${name}' ${VHOST}`,
  noExchange: (name: string) => `no exchange '${name}' ${VHOST}`,
  lockedQueue: (name: string) =>
    `cannot obtain exclusive access to locked queue '${name}' ${VHOST}. It could be originally declared on ` +
    'another connection or the exclusive property value does not match that of the original declaration.',
  exclusiveUse: (name: string) => `queue '${name}' ${VHOST} in exclusive use`,
  reservedPrefix: (kind: 'queue' | 'exchange', name: string) =>
    `${kind} name '${name}' contains reserved prefix 'amq.*'`,
  defaultExchange: () => 'operation not permitted on the default exchange',
  inUse: (kind: 'queue' | 'exchange', name: string) => `${kind} '${name}' ${VHOST} in use`,
  notEmpty: (name: string) => `queue '${name}' ${VHOST} not empty`,
  inequivalent: (
    argument: string,
    kind: 'queue' | 'exchange',
    name: string,
    received: string,
    current: string,
  ) =>
    `inequivalent arg '${argument}' for ${kind} '${name}' ${VHOST}: received ${received} but current is ${current}`,
  invalidArgument: (argument: string, kind: 'queue' | 'exchange', name: string, reason: string) =>
    `invalid arg '${argument}' for ${kind} '${name}' ${VHOST}: ${reason}`,
  refused: (action: string, kind: 'queue' | 'exchange', name: string, user: string) =>
    `${action} access to ${kind} '${name}' ${VHOST} refused for user '${user}'`,
} as const;

/** Null: it is a mistake of ours. */
export function amqp091ErrorFrom(error: unknown): Amqp091Error | null {
  if (error instanceof Amqp091Error) return error;
  if (!(error instanceof CoreError)) return null;
  const { reply } = CORE_REPLIES[error.code];
  return new Amqp091Error(
    reply,
    REPLIES[reply].closes === 'connection' ? 'connection' : 'channel',
    error.message,
  );
}
