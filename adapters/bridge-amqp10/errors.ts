/**
 * What went wrong towards an outside broker of AMQP 1.0, as the closed list that status and metrics show: from the errors of
 * the network, and from the conditions of AMQP 1.0 (part 2, section 2.8.15 and after). No text here holds a secret.
 */

import { failureOfCode, LinkError, type LinkFailure } from '../../src/outside.ts';

const FAILURES: Readonly<Record<string, LinkFailure>> = {
  'amqp:not-found': 'no-target',
  'amqp:resource-deleted': 'no-target',
  'amqp:unauthorized-access': 'not-authorized',
  'amqp:not-allowed': 'not-authorized',
  'amqp:resource-locked': 'not-authorized',
  'amqp:connection:forced': 'closed',
  'amqp:connection:redirect': 'closed',
  'amqp:link:detach-forced': 'closed',
  'amqp:internal-error': 'closed',
  'amqp:resource-limit-exceeded': 'closed',
};

/** Of the network, the client library or the other side. */
export interface OutsideFault {
  readonly message?: string;
  readonly code?: unknown;
  readonly condition?: string;
  readonly description?: string;
}

export function textOf({ condition, description, message }: OutsideFault): string {
  const text = description ?? message ?? '';
  if (condition === undefined) return text;
  return text === '' ? condition : `${condition}: ${text}`;
}

export function linkErrorFrom(fault: OutsideFault | Error | undefined, context: string): LinkError {
  if (fault instanceof LinkError) return fault;
  if (fault === undefined) return new LinkError('closed', `${context}: the connection ended`);
  return new LinkError(failureOf(fault), `${context}: ${textOf(fault)}`, { cause: fault });
}

function failureOf({ code, condition, message = '' }: OutsideFault): LinkFailure {
  if (condition !== undefined) return FAILURES[condition] ?? 'protocol';
  const known = failureOfCode(code);
  if (known !== null) return known;
  return /^Failed to authenticate|^No suitable mechanism/.test(message) ? 'authentication' : 'protocol';
}

/** Refused for now, not for good. */
const PASSING_CONDITIONS: ReadonlySet<string> = new Set([
  'amqp:resource-limit-exceeded',
  'amqp:internal-error',
  'amqp:resource-locked',
  'amqp:unauthorized-access',
  'amqp:not-found',
]);

export function isPassing(condition: string | undefined): boolean {
  return condition !== undefined && PASSING_CONDITIONS.has(condition);
}
