/** What is remembered of one client's rights is bounded in bytes, not only in addresses. */

import { expect, it } from 'vitest';
import { Acl } from '../../../src/auth/acl.ts';
import { ruleFromDefinition } from '../../../src/auth/acl-rule.ts';

it('a client that asks for the longest addresses has nothing of them kept', () => {
  const acl = new Acl('deny', 100_000);
  acl.replace('test', [ruleFromDefinition({ effect: 'allow', actions: ['write'], pattern: 'a/#' })]);
  const principal = { user: 'u', groups: [], clientId: 'c' };
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 3_000; i++) {
    // Copied, as an address that was read from a packet is.
    const address = Buffer.from(`a/${i}/`.padEnd(60_000, 'x')).toString('latin1');
    expect(acl.may(principal, 'publish', address)).toBe(true);
    expect(acl.may(principal, 'read', address)).toBe(false);
  }
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(100_000_000);
  expect(acl.may(principal, 'publish', 'a/short')).toBe(true);
  expect(acl.may(principal, 'publish', 'b')).toBe(false);
});
