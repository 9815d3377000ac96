/**
 * Networks whose clients are who they say they are, while nobody is defined. Asked by `index.ts`. The network is that of
 * the connection's remote address, never something that the client says.
 */

import { BlockList, isIP } from 'node:net';

export class TrustedNetworks {
  readonly #networks = new BlockList();

  /** Throws where one of them is none. */
  constructor(networks: readonly string[]) {
    for (const network of networks) addNetwork(this.#networks, network);
  }

  /**
   * `unix`: over the gateway's socket file, whose mode has chosen who on this machine may. Where it lets everybody in,
   * the address is another word.
   */
  has(remoteAddress: string): boolean {
    const address = remoteAddress === 'unix' ? '127.0.0.1' : remoteAddress;
    const family = isIP(address);
    return family !== 0 && this.#networks.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}

function addNetwork(list: BlockList, network: string): void {
  const [address = '', bits] = network.split('/');
  // Not asked of `isIP`, whose pattern for IPv6 a start would have to compile.
  const isIpv6 = address.includes(':');
  try {
    list.addSubnet(
      address,
      bits === undefined ? (isIpv6 ? 128 : 32) : Number(bits),
      isIpv6 ? 'ipv6' : 'ipv4',
    );
  } catch {
    throw new Error(`auth.trustedNetworks: ${JSON.stringify(network)} is not an address or network`);
  }
}
