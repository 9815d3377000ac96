/**
 * Sockets to the addresses of a connection: TCP, TLS and WebSocket. Called by `index.ts`, which speaks MQTT on what it
 * gets. A socket that cannot be opened in time is closed, and the error says at which step and where.
 */

import { connect as connectTcp, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { Clock } from '../../src/core/index.ts';
import { LinkError, tlsOptionsOf } from '../../src/outside.ts';
import { errorFromSocket } from './errors.ts';
import type { MqttConnection } from './settings.ts';

const SUBPROTOCOL = 'mqtt';

interface Address {
  /** As people say it. */
  readonly where: string;
  readonly host: string;
  readonly port: number;
  readonly isSecure: boolean;
  /** Null where it is no WebSocket. */
  readonly path: string | null;
}

export interface DialOptions {
  readonly connection: MqttConnection;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Rejects with a LinkError. */
export async function dial(url: string, options: DialOptions): Promise<Duplex> {
  const address = addressFrom(url, options.connection.tls.enabled);
  return address.path === null ? dialSocket(address, options) : dialWebSocket(address, options);
}

function addressFrom(url: string, isTls: boolean): Address {
  const parsed = URL.parse(url);
  if (parsed === null) throw new LinkError('unreachable', `${url} is no address`);
  const scheme = parsed.protocol.slice(0, -1);
  const isWeb = scheme === 'ws' || scheme === 'wss';
  const isSecure = isTls || ['mqtts', 'tls', 'ssl', 'wss'].includes(scheme);
  const host = parsed.hostname.replace(/^\[|\]$/g, '');
  const defaultPort = isWeb ? (isSecure ? 443 : 80) : isSecure ? 8883 : 1883;
  const port = parsed.port === '' ? defaultPort : Number(parsed.port);
  return {
    where: `${parsed.hostname}:${port}`,
    host,
    port,
    isSecure,
    path: isWeb ? (parsed.pathname === '' || parsed.pathname === '/' ? '/mqtt' : parsed.pathname) : null,
  };
}

function secureOptions({ connection }: DialOptions, host: string) {
  const options = tlsOptionsOf({ ...connection.tls, enabled: true }) ?? {};
  // A name is what the other side has to prove; an address is no server name. RFC 6066 section 3.
  return isIP(host) === 0 && options.servername === undefined ? { ...options, servername: host } : options;
}

/** Waits for `opened`, the time or the signal, whichever comes first. */
function whenOpen(
  { connection, clock, signal }: DialOptions,
  { where }: Address,
  begin: (opened: (socket: Duplex) => void, failed: (error: LinkError) => void) => () => void,
): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    let isSettled = false;
    const settle = (): boolean => {
      if (isSettled) return false;
      isSettled = true;
      timer.cancel();
      signal.removeEventListener('abort', abort);
      return true;
    };
    const failed = (error: LinkError): void => {
      if (!settle()) return;
      giveUp();
      reject(error);
    };
    const abort = (): void => failed(new LinkError('closed', 'given up'));
    const timer = clock.after(connection.connectTimeoutMs, () =>
      failed(new LinkError('timeout', `${where} does not answer`)),
    );
    signal.addEventListener('abort', abort, { once: true });
    const giveUp = begin((socket) => settle() && resolve(socket), failed);
    if (signal.aborted) abort();
  });
}

function dialSocket(address: Address, options: DialOptions): Promise<Duplex> {
  const { host, port, isSecure, where } = address;
  return whenOpen(options, address, (opened, failed) => {
    let phase: 'connecting' | 'handshake' | 'open' = 'connecting';
    const socket: Socket = isSecure
      ? connectTls({ host, port, ...secureOptions(options, host) })
      : connectTcp({ host, port });
    // It stays: a socket that is given up may still report something.
    socket.on('error', (error) => failed(errorFromSocket(error, phase, where)));
    socket.once('close', () =>
      failed(new LinkError(phase === 'handshake' ? 'tls' : 'unreachable', `${where} closed the connection`)),
    );
    socket.once('connect', () => {
      phase = isSecure ? 'handshake' : 'open';
      socket.setNoDelay(true);
      if (!isSecure) opened(socket);
    });
    socket.once('secureConnect', () => {
      phase = 'open';
      opened(socket);
    });
    return () => socket.destroy();
  });
}

async function dialWebSocket(address: Address, options: DialOptions): Promise<Duplex> {
  const { WebSocket, createWebSocketStream } = await import('ws');
  const { host, port, isSecure, where, path } = address;
  const name = isIP(host) === 6 ? `[${host}]` : host;
  return whenOpen(options, address, (opened, failed) => {
    let phase: 'connecting' | 'handshake' | 'open' = 'connecting';
    const socket = new WebSocket(`${isSecure ? 'wss' : 'ws'}://${name}:${port}${path}`, [SUBPROTOCOL], {
      ...(isSecure ? secureOptions(options, host) : {}),
      perMessageDeflate: false,
    });
    socket.on('error', (error) => failed(errorFromSocket(error, phase, where)));
    socket.once('unexpected-response', (_request, { statusCode = 0 }) => {
      const failure = statusCode === 401 || statusCode === 403 ? 'authentication' : 'protocol';
      failed(new LinkError(failure, `${where} refuses a WebSocket at ${path}: status ${statusCode}`));
    });
    socket.once('open', () => {
      phase = 'open';
      opened(createWebSocketStream(socket));
    });
    return () => socket.terminate();
  });
}
