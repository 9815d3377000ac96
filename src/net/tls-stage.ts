/**
 * Shakes hands for TLS with a connection, and lets it go on as a TLS socket. The server of `node:tls` never listens: it
 * is given the sockets that the listener has accepted, so that bounds and PROXY headers come first. It is one for each
 * listener, with session tickets of its own: who proved nothing to one listener cannot resume at another that asks for
 * proof. Handshakes take the processor's time and everybody else's, so they are begun at a bounded rate.
 *
 * Node.js tells after the handshake whether a client's certificate holds; one that does not ends the connection there,
 * and so does none at all where one is required. Made by `listener.ts`.
 */

import { randomBytes } from 'node:crypto';
import { createServer, type TLSSocket } from 'node:tls';
import type { ListenerSpec } from '../host.ts';
import type { Arrival } from './arrival.ts';
import type { Certificates } from './certificates.ts';
import { readClientCertificate } from './client-certificate.ts';
import type { NetContext } from './context.ts';
import { TokenBucket } from './token-bucket.ts';

const PACE_MS = 20;

export interface TlsStage {
  accept(arrival: Arrival): void;
  close(): void;
}

/** `next` gets the arrival and its TLS socket once hands are shaken. */
export function createTlsStage(
  context: NetContext,
  spec: ListenerSpec,
  certificates: Certificates,
  next: (arrival: Arrival, socket: TLSSocket) => void,
): TlsStage {
  const asked = spec.tls?.clientCertificate ?? 'none';
  const handshakes = new Map<string, Arrival>();
  const server = createServer({
    requestCert: asked !== 'none',
    rejectUnauthorized: false,
    ...(certificates.picksByName ? { SNICallback: certificates.pick } : {}),
  });
  // The tickets of before could resume what a new revocation list forbids: new keys make them worthless.
  const unfollow = certificates.follow(({ options }) => {
    server.setSecureContext({
      ...options,
      ticketKeys: randomBytes(48),
      sessionIdContext: sessionContextOf(spec),
    });
  });

  server.on('secureConnection', (socket) => {
    const key = keyOf(socket);
    const arrival = handshakes.get(key);
    handshakes.delete(key);
    if (arrival === undefined || !arrival.isWaiting) {
      socket.destroy();
      return;
    }
    const fault = asked === 'none' ? null : findFault(socket, asked, context.clock.nowMs());
    if (fault !== null) {
      arrival.refuse(fault);
      return;
    }
    const certificate = asked === 'none' ? undefined : socket.getPeerX509Certificate();
    if (certificate !== undefined) {
      arrival.certificate = readClientCertificate(certificate);
      certificates.clientTrust.remember(arrival.certificate, certificate);
    }
    // Nobody needs it, and it lets a client make this side work for nothing. TLS 1.3 has none.
    socket.disableRenegotiation();
    next(arrival, socket);
  });
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
    handshakes.get(keyOf(socket))?.refuse(`TLS handshake: ${explain(error)}`);
  });

  const begin = (arrival: Arrival): void => {
    const { socket } = arrival;
    const key = keyOf(socket);
    handshakes.set(key, arrival);
    socket.once('close', () => {
      if (handshakes.get(key) === arrival) handshakes.delete(key);
    });
    server.emit('connection', socket);
  };
  return { accept: pace(context, certificates.handshakesPerSecondMax, begin), close: unfollow };
}

/** Begins as many a second as it may, the others in the order of their coming. */
function pace(
  context: NetContext,
  perSecondMax: number,
  begin: (arrival: Arrival) => void,
): (arrival: Arrival) => void {
  const bucket = new TokenBucket(perSecondMax, (perSecondMax * 2 * PACE_MS) / 1000);
  let waiting: Arrival[] = [];
  const next = (): void => {
    const nowMs = context.clock.nowMs();
    let begun = 0;
    for (const arrival of waiting) {
      // Who has gone meanwhile costs nothing.
      if (arrival.isWaiting) {
        if (!bucket.take(nowMs)) break;
        begin(arrival);
      }
      begun++;
    }
    waiting = waiting.slice(begun);
    if (waiting.length > 0) context.clock.after(PACE_MS, next);
  };
  return (arrival) => {
    if (waiting.length === 0 && bucket.take(context.clock.nowMs())) begin(arrival);
    else if (waiting.push(arrival) === 1) context.clock.after(PACE_MS, next);
  };
}

/** What tells the socket that was accepted and the TLS socket on it, and no others, that they are one connection. */
function keyOf(socket: {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
}): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress}`;
}

function sessionContextOf(spec: ListenerSpec): string {
  // OpenSSL takes 32 bytes.
  return spec.name.slice(0, 32);
}

/** Why the client's certificate, or that it has none, ends the connection; null: it does not. */
function findFault(socket: TLSSocket, asked: 'request' | 'require', nowMs: number): string | null {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    return asked === 'require' ? 'TLS: the client has no certificate, and must have one' : null;
  }
  if (socket.authorized) {
    // OpenSSL looked when the session began; each time that it is resumed the client gets a new ticket for it.
    if (certificate.validToDate.getTime() >= nowMs) return null;
    return "TLS: the client's certificate is refused: CERT_HAS_EXPIRED";
  }
  return `TLS: the client's certificate is refused: ${String(socket.authorizationError)}`;
}

function explain(error: NodeJS.ErrnoException & { readonly reason?: string }): string {
  if (error.code === 'ECONNRESET') return 'ended by the client';
  return error.reason ?? error.code ?? error.message;
}
