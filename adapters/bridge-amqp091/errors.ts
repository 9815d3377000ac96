/**
 * What went wrong towards an outside broker of AMQP 0-9-1, as the closed list that status and metrics show. Used while a
 * link is opened, where objects are declared and when it ends. No text here holds a secret.
 */

import { failureOfCode, LinkError, type LinkFailure } from '../../src/outside.ts';

/** Codes of channel.close and connection.close (AMQP 0-9-1 1.2, and RabbitMQ's use of them). */
export const ReplyCode = {
  contentTooLarge: 311,
  connectionForced: 320,
  accessRefused: 403,
  notFound: 404,
  resourceLocked: 405,
  preconditionFailed: 406,
  notAllowed: 530,
} as const;

const FAILURES: Readonly<Record<number, LinkFailure>> = {
  [ReplyCode.connectionForced]: 'closed',
  [ReplyCode.accessRefused]: 'not-authorized',
  [ReplyCode.notFound]: 'no-target',
  [ReplyCode.resourceLocked]: 'not-authorized',
  [ReplyCode.preconditionFailed]: 'protocol',
  [ReplyCode.notAllowed]: 'not-authorized',
};

interface CodedError extends Error {
  readonly code?: string | number;
}

/** The reply text without the library's words around it. */
export function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return /with message "(.*)"$/s.exec(text)?.[1] ?? text;
}

/** An error of the connection, of a channel or of the socket below them. */
export function linkErrorFrom(error: unknown, context: string): LinkError {
  if (error instanceof LinkError) return error;
  return new LinkError(failureOf(error as CodedError), `${context}: ${textOf(error)}`, { cause: error });
}

function failureOf(error: CodedError): LinkFailure {
  const { code, message = '' } = error;
  if (typeof code === 'number') return FAILURES[code] ?? 'protocol';
  const known = failureOfCode(code);
  if (known !== null) return known;
  if (/timeout/i.test(message)) return 'timeout';
  if (/Handshake terminated by server: 403/.test(message)) return 'authentication';
  if (/^SASL mechanism/.test(message)) return 'authentication';
  if (/Socket closed abruptly|Unexpected close|Channel ended|channel closed/i.test(message)) return 'closed';
  return 'protocol';
}

/** An error before the connection was open, told so that it says what to look at. */
export function openErrorFrom(error: unknown, where: string, virtualHost: string): LinkError {
  const text = textOf(error);
  // The library forgets why the broker closed instead of opening it.
  if (/^Expected ConnectionOpenOk; got <ConnectionClose/.test(text)) {
    return new LinkError(
      'not-authorized',
      `${where} does not open the virtual host ${JSON.stringify(virtualHost)}: it is not there, or this user has no right to it`,
    );
  }
  return linkErrorFrom(error, where);
}
