/**
 * Accepts the connections of one listener and leads them through what stands before its adapter: bounds, a PROXY header,
 * TLS, a WebSocket. A listener that has none of these hands its sockets over as they come, so they cost nothing more.
 * Connections above the bound are turned away by `node:net` before they cost anything. Made by `network.ts`.
 */

import { createServer, type Socket } from 'node:net';
import type { Adapter, ListenerSpec } from '../host.ts';
import { Admission } from './admission.ts';
import { Arrival } from './arrival.ts';
import { ListenError, type Listener, listen } from './bind.ts';
import type { BufferedTransport } from './buffered-transport.ts';
import type { Certificates } from './certificates.ts';
import type { NetContext } from './context.ts';
import type { Peer } from './peer.ts';
import { TcpTransport } from './tcp-transport.ts';

/** Throws ListenError. */
export async function openListener(
  context: NetContext,
  spec: ListenerSpec,
  adapter: Adapter,
  certificates: Certificates,
): Promise<Listener> {
  const { keepAliveMs } = context.settings;
  const info = { name: spec.name, transport: spec.transport, highWaterBytes: spec.highWaterBytes };
  const connect = (transport: BufferedTransport & { attach(): void }): void => {
    context.add(transport);
    transport.attach();
    try {
      transport.handler = adapter.connect(transport);
    } catch (error) {
      transport.fail(error);
    }
  };
  const carry = (socket: Socket, peer: Peer | null): void =>
    connect(new TcpTransport(context, info, socket, peer));

  const admission = new Admission(context, spec.name);
  const arrivals = new Set<Arrival>();
  const { stages, closers } = await createStages(context, spec, certificates, {
    carry,
    connect,
    admission,
  });
  const server = createServer({
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: keepAliveMs > 0,
    keepAliveInitialDelay: keepAliveMs,
  });
  server.maxConnections = spec.connectionsMax;
  server.on('drop', (dropped) => admission.dropped(dropped?.remoteAddress));
  server.on('connection', (socket: Socket) => {
    if (!admission.admit(socket)) return;
    // Behind a proxy the address is not known yet.
    if (spec.proxyProtocol !== true && !admission.admitAddress(socket, socket.remoteAddress ?? '')) return;
    if (stages === null) carry(socket, peerOfFile(spec));
    else stages(new Arrival(context, spec.name, arrivals, socket));
  });
  const bound = await listen(server, spec, context.settings.backlog);
  const close = (): void => {
    server.close();
    for (const closer of closers) closer();
    for (const arrival of [...arrivals]) arrival.drop();
  };
  return { spec, bound, close };
}

type Stage = (arrival: Arrival, socket: Socket) => void;

interface Ends {
  readonly carry: (socket: Socket, peer: Peer) => void;
  readonly connect: (transport: BufferedTransport & { attach(): void }) => void;
  readonly admission: Admission;
}

/** What a connection goes through, from the last stage to the first; null: nothing. */
async function createStages(
  context: NetContext,
  spec: ListenerSpec,
  certificates: Certificates,
  { carry, connect, admission }: Ends,
): Promise<{ readonly stages: ((arrival: Arrival) => void) | null; readonly closers: (() => void)[] }> {
  const closers: (() => void)[] = [];
  let last = (arrival: Arrival, socket: Socket): void => {
    if (arrival.pass()) carry(socket, arrival);
  };
  if (spec.transport === 'websocket') last = loadWebSocketStage(context, spec, connect);
  let stages = (arrival: Arrival): void => last(arrival, arrival.socket);
  if (spec.tls !== undefined) {
    if (spec.tls.clientCertificate !== 'none' && !certificates.trustsClients) {
      throw new ListenError(
        `${spec.name} asks clients for certificates, but tls.clientAuthoritiesFile does not say whose are believed`,
      );
    }
    const { createTlsStage } = await import('./tls-stage.ts');
    const tls = createTlsStage(context, spec, certificates, last);
    closers.push(tls.close);
    stages = tls.accept;
  }
  if (spec.proxyProtocol === true) {
    if (context.settings.trustedProxies.length === 0) {
      throw new ListenError(
        `${spec.name} expects the PROXY protocol, but network.trustedProxies does not say from whom`,
      );
    }
    const { createProxyStage } = await import('./proxy-stage.ts');
    const behind = stages;
    stages = createProxyStage(context, (arrival) => {
      if (admission.admitAddress(arrival.socket, arrival.remoteAddress)) behind(arrival);
    });
  }
  const isPlain = spec.transport === 'tcp' && spec.tls === undefined && spec.proxyProtocol !== true;
  return { stages: isPlain ? null : stages, closers };
}

/** HTTP and WebSocket take memory, so they are loaded for the first client that comes. */
function loadWebSocketStage(context: NetContext, spec: ListenerSpec, connect: Ends['connect']): Stage {
  let stage: Stage | null = null;
  let loading: Promise<void> | null = null;
  return (arrival, socket) => {
    if (stage !== null) {
      stage(arrival, socket);
      return;
    }
    loading ??= import('./websocket-stage.ts').then(({ createWebSocketStage }) => {
      stage = createWebSocketStage(context, spec, connect);
    });
    loading.then(
      () => {
        if (arrival.isWaiting) stage?.(arrival, socket);
      },
      (error: unknown) => {
        context.logger.error({ err: error, listener: spec.name }, 'a listener cannot serve its clients');
        arrival.drop();
      },
    );
  };
}

/**
 * Whoever may open the file is as near as whoever is on this machine; where everybody may, that says nothing. The mode
 * of the file decides.
 */
function peerOfFile({ socketFile }: ListenerSpec): Peer | null {
  if (socketFile === undefined) return null;
  const remoteAddress = (socketFile.mode & 0o002) === 0 ? 'unix' : 'unix-open';
  return { remoteAddress, remotePort: 0, localAddress: socketFile.path, localPort: 0, certificate: null };
}
