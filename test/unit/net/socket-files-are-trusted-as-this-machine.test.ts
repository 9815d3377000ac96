/** What the address of a socket file means to whoever decides which clients are trusted. */
import { expect, it } from 'vitest';
import { TrustedNetworks } from '../../../src/auth/trusted-networks.ts';

it('a socket file counts as this machine, one that is open to everybody as nowhere', () => {
  const networks = new TrustedNetworks(['127.0.0.0/8']);
  expect(networks.has('unix')).toBe(true);
  expect(networks.has('unix-open')).toBe(false);
  expect(new TrustedNetworks(['10.0.0.0/8']).has('unix')).toBe(false);
});
