/**
 * What reaches this machine alone. Asked by the settings of a sidecar, by the HTTP API, which is open without a key only
 * then, and for the Origin of web pages that open a WebSocket: all three have to agree.
 */

import { BlockList, isIP } from 'node:net';

// IPv4 addresses written as IPv6 ones are found too.
const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Of an IP address; false for a name, which may mean anything. */
export function isLoopbackAddress(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && loopback.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** Of what stands in settings, requests and origins: an IP address, or the one name that every machine has for itself. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host);
}
