/**
 * What the core says of a message ⇒ the outcome that an AMQP 1.0 publisher is told in a disposition. Pure; the words are
 * those of AMQP 1.0 part 2, section 2.8.15 and 2.8.16, and part 3, section 3.4. What detaches a link is said as such: a
 * message above the link's bound is not rejected by itself.
 */

import { type CoreErrorCode, NO_ROUTE, type STORED } from '../src/core/index.ts';

/** Section 3.4, and one that ends the link instead (2.6.5). */
export type Amqp10Outcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'released' }
  | {
      readonly kind: 'rejected' | 'detached';
      readonly condition: Amqp10Condition;
      readonly description: string;
    };

export type Amqp10Condition =
  | 'amqp:internal-error'
  | 'amqp:invalid-field'
  | 'amqp:not-found'
  | 'amqp:precondition-failed'
  | 'amqp:resource-limit-exceeded'
  | 'amqp:resource-locked'
  | 'amqp:unauthorized-access'
  | 'amqp:link:message-size-exceeded';

/** `released`: it may be sent again, here later or elsewhere now. */
const OUTCOME_BY_CORE_ERROR = {
  'not-found': 'amqp:not-found',
  'exists-differently': 'amqp:precondition-failed',
  'invalid-name': 'amqp:invalid-field',
  'invalid-argument': 'amqp:invalid-field',
  'in-use': 'amqp:resource-locked',
  'not-empty': 'amqp:precondition-failed',
  exclusive: 'amqp:resource-locked',
  'access-refused': 'amqp:unauthorized-access',
  'limit-reached': 'amqp:resource-limit-exceeded',
  'message-too-large': 'amqp:link:message-size-exceeded',
  overflow: 'amqp:resource-limit-exceeded',
  'refused-by-rule': 'amqp:precondition-failed',
  'storage-failed': 'amqp:resource-limit-exceeded',
  'corrupt-batch': 'amqp:internal-error',
  'out-of-order-sequence': 'amqp:internal-error',
  'stale-producer': 'amqp:internal-error',
  'unknown-producer': 'amqp:internal-error',
  'offset-out-of-range': 'amqp:internal-error',
  'shutting-down': 'released',
} as const satisfies Record<CoreErrorCode, Amqp10Condition | 'released'>;

/** Of a message that the core took; one whose receipt is still to come has no outcome yet. */
export function outcomeFromResult(result: typeof STORED | typeof NO_ROUTE): Amqp10Outcome {
  // Section 3.4.4: nobody wanted it, which is no fault of the message.
  return { kind: result === NO_ROUTE ? 'released' : 'accepted' };
}

/** Of a message that the core refused, at once or by its receipt. */
export function outcomeFromRefusal(code: CoreErrorCode, description: string): Amqp10Outcome {
  const condition = OUTCOME_BY_CORE_ERROR[code];
  if (condition === 'released') return { kind: 'released' };
  const kind = condition === 'amqp:link:message-size-exceeded' ? 'detached' : 'rejected';
  return { kind, condition, description };
}
