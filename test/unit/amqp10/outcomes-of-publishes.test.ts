/** What an AMQP 1.0 publisher is told: an outcome for everything that the core can say, in the protocol's own words. */

import { expect, test } from 'vitest';
import { outcomeFromRefusal, outcomeFromResult } from '../../../mappings/amqp10-outcome.ts';
import { CORE_ERROR_CODES } from '../../../src/core/errors.ts';
import { type CoreErrorCode, NO_ROUTE, STORED } from '../../../src/core/index.ts';

test('stored is accepted, and what nobody wanted is released', () => {
  expect(outcomeFromResult(STORED)).toEqual({ kind: 'accepted' });
  expect(outcomeFromResult(NO_ROUTE)).toEqual({ kind: 'released' });
});

test.each([
  ['access-refused', 'rejected', 'amqp:unauthorized-access'],
  ['overflow', 'rejected', 'amqp:resource-limit-exceeded'],
  ['limit-reached', 'rejected', 'amqp:resource-limit-exceeded'],
  ['storage-failed', 'rejected', 'amqp:resource-limit-exceeded'],
  ['refused-by-rule', 'rejected', 'amqp:precondition-failed'],
  ['not-found', 'rejected', 'amqp:not-found'],
  ['message-too-large', 'detached', 'amqp:link:message-size-exceeded'],
] as const)('%s is %s with %s', (code, kind, condition) => {
  expect(outcomeFromRefusal(code, 'why')).toEqual({ kind, condition, description: 'why' });
});

test('a gateway that stops releases what another may take', () => {
  expect(outcomeFromRefusal('shutting-down', 'soon')).toEqual({ kind: 'released' });
});

test('no refusal is taken for success', () => {
  for (const code of CORE_ERROR_CODES as readonly CoreErrorCode[])
    expect(outcomeFromRefusal(code, 'why').kind, code).not.toBe('accepted');
});
