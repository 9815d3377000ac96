/**
 * A WebSocket server for one adapter (RFC 6455), without compression. The path and the subprotocol must be the
 * adapter's. A browser lets any web page connect to this machine, so a page from elsewhere, known by its Origin, is
 * refused unless the settings name it. Imported by `network.ts` when there is such a listener, since HTTP and `ws` take
 * memory.
 */

import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http';
import { BlockList, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Adapter, ListenerSpec } from '../host.ts';
import { type Listener, listen } from './bind.ts';
import type { NetContext } from './context.ts';
import { WebSocketTransport } from './websocket-transport.ts';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

export async function openWebSocketListener(
  context: NetContext,
  spec: ListenerSpec,
  adapter: Adapter,
): Promise<Listener> {
  const { settings } = context;
  const subprotocols = spec.subprotocols ?? [];
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: settings.websocketMessageBytesMax,
    handleProtocols: (offered) => subprotocolOf(offered, subprotocols) ?? false,
  });
  const server = createServer((_request, response) => {
    response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end();
  });
  server.maxConnections = spec.connectionsMax;
  server.on('drop', () => context.countRefused(spec.name));
  const info = { name: spec.name, transport: spec.transport, highWaterBytes: spec.highWaterBytes };

  const connect = (webSocket: WebSocket, socket: Socket): void => {
    const transport = new WebSocketTransport(context, info, webSocket, socket);
    context.add(transport);
    transport.attach();
    try {
      transport.handler = adapter.connect(transport);
    } catch (error) {
      transport.fail(error);
    }
  };

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const refusal = findRefusal(request, spec, subprotocols, settings.allowedOrigins);
    if (refusal !== null) {
      context.countRefused(spec.name);
      context.logger.info(
        { listener: spec.name, remote: request.socket.remoteAddress, detail: refusal.detail },
        'WebSocket refused',
      );
      refuse(socket, refusal.status);
      return;
    }
    const tcp = request.socket;
    tcp.setNoDelay(true);
    if (settings.keepAliveMs > 0) tcp.setKeepAlive(true, settings.keepAliveMs);
    webSockets.handleUpgrade(request, socket, head, (webSocket) => connect(webSocket, tcp));
  });

  const bound = await listen(server, spec, settings.backlog);
  const close = (): void => {
    server.close();
    server.closeIdleConnections();
  };
  return { spec, bound, close };
}

/** The first that the client offers and the adapter speaks. */
function subprotocolOf(offered: Iterable<string>, accepted: readonly string[]): string | undefined {
  for (const name of offered) if (accepted.includes(name)) return name;
  return undefined;
}

interface Refusal {
  readonly status: number;
  readonly detail: string;
}

function findRefusal(
  request: IncomingMessage,
  spec: ListenerSpec,
  subprotocols: readonly string[],
  allowedOrigins: readonly string[],
): Refusal | null {
  const path = (request.url ?? '/').split('?', 1)[0];
  if (spec.path !== undefined && path !== spec.path) return { status: 404, detail: 'another path' };
  if (subprotocols.length > 0) {
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (subprotocolOf(offered, subprotocols) === undefined) {
      return { status: 400, detail: 'none of the subprotocols of this listener was offered' };
    }
  }
  const { origin } = request.headers;
  if (origin !== undefined && !isAllowedOrigin(origin, allowedOrigins)) {
    return {
      status: 403,
      detail: `web pages of ${JSON.stringify(origin)} are not in network.allowedOrigins`,
    };
  }
  return null;
}

function isAllowedOrigin(origin: string, allowed: readonly string[]): boolean {
  if (allowed.includes('*') || allowed.includes(origin)) return true;
  if (!URL.canParse(origin)) return false;
  const host = new URL(origin).hostname.replace(/^\[|\]$/g, '');
  const family = isIP(host);
  return host === 'localhost' || (family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4'));
}

function refuse(socket: Duplex, status: number): void {
  socket.once('error', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    () => socket.destroy(),
  );
}
