/**
 * Who is at the other end of a connection, where that is not what its socket says: a proxy told it, TLS proved it, or
 * the socket is a file. Made by the stages of a listener, kept by the transport. Null stands for "as the socket says".
 */

import { BlockList, isIP } from 'node:net';
import type { ClientCertificate } from '../host.ts';

export interface Peer {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Where the client dialled. */
  readonly localAddress: string;
  readonly localPort: number;
  readonly certificate: ClientCertificate | null;
}

/** An IPv4 address that came in on an IPv6 listener, as people write it. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return '';
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

/** Throws where a network is none; `setting` is where they stand. */
export function networksOf(networks: readonly string[], setting: string): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const family = isIP(address);
    const bitsMax = family === 6 ? 128 : 32;
    const prefix = bits === undefined ? bitsMax : Number(bits);
    if (family === 0 || prefix > bitsMax) {
      throw new Error(`${setting}: ${JSON.stringify(network)} is not an address or network`);
    }
    list.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

export function isInNetworks(list: BlockList, address: string): boolean {
  const family = isIP(address);
  return family !== 0 && list.check(address, family === 6 ? 'ipv6' : 'ipv4');
}
