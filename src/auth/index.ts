/**
 * Who a client is: the one door that every adapter asks before it lets a client in. While no user is defined, clients
 * from trusted networks (this machine, unless set otherwise) are who they say they are, with any password, and clients
 * from elsewhere are refused. The network is that of the connection's remote address, never something that the client
 * says.
 */

import { BlockList, isIP } from 'node:net';
import { ANONYMOUS, type Principal } from '../core/index.ts';
import type { Authenticator, ConnectionOrigin, Credentials } from '../host.ts';
import type { AuthSettings } from './settings.ts';

/** Throws where a network of the settings is none. */
export function createAuthenticator(settings: AuthSettings): Authenticator {
  const trusted = new BlockList();
  for (const network of settings.trustedNetworks) addNetwork(trusted, network);
  return {
    trusting: true,
    authenticate(credentials: Credentials, { remoteAddress, clientId }: ConnectionOrigin): Principal | null {
      // Who may open the gateway's socket file is on this machine, and the file's mode chose whom it lets in.
      const address = remoteAddress === 'unix' ? '127.0.0.1' : remoteAddress;
      const family = isIP(address);
      if (family === 0 || !trusted.check(address, family === 6 ? 'ipv6' : 'ipv4')) return null;
      return credentials.kind === 'anonymous'
        ? { ...ANONYMOUS, clientId }
        : { user: credentials.user, groups: [], clientId };
    },
    mechanisms: [],
    begin: () => null,
    isCurrent: () => true,
    onChange: () => {},
  };
}

function addNetwork(list: BlockList, network: string): void {
  const [address = '', bits] = network.split('/');
  const family = isIP(address);
  const bitsMax = family === 6 ? 128 : 32;
  const prefix = bits === undefined ? bitsMax : Number(bits);
  if (family === 0 || prefix > bitsMax) {
    throw new Error(`auth.trustedNetworks: ${JSON.stringify(network)} is not an address or network`);
  }
  list.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4');
}
