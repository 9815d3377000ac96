/**
 * Takes the PROXY header from the beginning of a connection, and lets it go on as the one that the header tells of. Only
 * proxies in `network.trustedProxies` are believed; everybody else on such a listener is turned away, for a connection
 * without a header could be anybody's. Before TLS. Made by `listener.ts`.
 */

import type { Arrival } from './arrival.ts';
import type { NetContext } from './context.ts';
import { isInNetworks, networksOf } from './peer.ts';
import { type ProxyHeader, ProxyHeaderError, readProxyHeader } from './proxy-header.ts';

/** `next` gets the arrival once its header is read. */
export function createProxyStage(
  context: NetContext,
  next: (arrival: Arrival) => void,
): (arrival: Arrival) => void {
  const { trustedProxies, trustProxyCertificate } = context.settings;
  const trusted = networksOf(trustedProxies, 'network.trustedProxies');
  return (arrival) => {
    if (!isInNetworks(trusted, arrival.remoteAddress)) {
      arrival.refuse('not from a proxy in network.trustedProxies');
      return;
    }
    readHeader(arrival, (header) => {
      if (header.addresses !== null) {
        arrival.remoteAddress = header.addresses.source;
        arrival.remotePort = header.addresses.sourcePort;
        arrival.localAddress = header.addresses.destination;
        arrival.localPort = header.addresses.destinationPort;
      }
      if (trustProxyCertificate && header.commonName !== null) {
        arrival.certificate = { commonName: header.commonName, alternativeNames: [], fingerprint: '' };
      }
      next(arrival);
    });
  };
}

/** What comes behind the header goes back into the socket, which is left paused. */
function readHeader(arrival: Arrival, done: (header: ProxyHeader) => void): void {
  const { socket } = arrival;
  let bytes: Buffer = Buffer.alloc(0);
  const take = (chunk: Buffer): void => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    let header: ProxyHeader | null;
    try {
      header = readProxyHeader(bytes);
    } catch (error) {
      arrival.refuse(error instanceof ProxyHeaderError ? error.message : String(error));
      return;
    }
    if (header === null) return;
    socket.off('data', take);
    socket.off('end', ended);
    socket.pause();
    if (bytes.length > header.bytes) socket.unshift(bytes.subarray(header.bytes));
    done(header);
  };
  const ended = (): void => arrival.refuse('ended before its PROXY header did');
  socket.on('data', take);
  socket.once('end', ended);
}
