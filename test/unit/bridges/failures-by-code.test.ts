/** What a code of a socket or of TLS means, the same for every driver and for the state of a bridge. */
import { expect, it } from 'vitest';
import { linkErrorFrom as fromAmqp10 } from '../../../adapters/bridge-amqp10/errors.ts';
import { linkErrorFrom as fromAmqp091 } from '../../../adapters/bridge-amqp091/errors.ts';
import { failureOf } from '../../../src/bridges/status-board.ts';
import { failureOfCode } from '../../../src/outside.ts';

it.each([
  ['ECONNREFUSED', 'unreachable'],
  ['EADDRNOTAVAIL', 'unreachable'],
  ['EAI_AGAIN', 'unreachable'],
  ['EHOSTDOWN', 'unreachable'],
  ['ECONNABORTED', 'closed'],
  ['EPIPE', 'closed'],
  ['ETIMEDOUT', 'timeout'],
  ['CERT_HAS_EXPIRED', 'tls'],
  ['ERR_OSSL_PEM_NO_START_LINE', 'tls'],
  ['HOSTNAME_MISMATCH', 'tls'],
  ['EPROTO', 'tls'],
  ['EPROTONOSUPPORT', 'protocol'],
])('%s is %s', (code, failure) => {
  const error = Object.assign(new Error('x'), { code });
  expect(failureOfCode(code) ?? 'protocol').toBe(failure);
  expect(failureOf(error)).toBe(failure);
  expect(fromAmqp091(error, '').failure).toBe(failure);
  expect(fromAmqp10(error, '').failure).toBe(failure);
});
