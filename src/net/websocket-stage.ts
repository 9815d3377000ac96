/**
 * Answers the request that opens a WebSocket (RFC 6455), without compression, and hands the connection over. The path
 * and the subprotocol must be the adapter's. A browser lets any web page connect to this machine, so a page from
 * elsewhere, known by its Origin, is refused unless the settings name it. The HTTP server never listens: it is given the
 * sockets that the listener has accepted, with TLS or without. Imported by `listener.ts` when there is such a listener,
 * since HTTP and `ws` take memory.
 */

import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { ListenerSpec } from '../host.ts';
import type { Arrival } from './arrival.ts';
import type { NetContext } from './context.ts';
import { isLoopbackHost } from './loopback.ts';
import { WebSocketTransport } from './websocket-transport.ts';

export function createWebSocketStage(
  context: NetContext,
  spec: ListenerSpec,
  connect: (transport: WebSocketTransport) => void,
): (arrival: Arrival, socket: Socket) => void {
  const { settings } = context;
  const subprotocols = spec.subprotocols ?? [];
  const arrivals = new WeakMap<Duplex, Arrival>();
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    autoPong: false,
    maxPayload: settings.websocketMessageBytesMax,
    handleProtocols: (offered) => subprotocolOf(offered, subprotocols) ?? false,
  });
  const server = createServer((request, response) => {
    arrivals
      .get(request.socket)
      ?.refuse('HTTP, and no WebSocket is asked for', () =>
        response.writeHead(426, { connection: 'close', upgrade: 'websocket' }).end(),
      );
  });
  server.on('clientError', (_error, socket) => {
    const arrival = arrivals.get(socket);
    if (arrival?.isWaiting) arrival.refuse('neither HTTP nor a WebSocket', () => answer(socket, 400));
    else socket.destroy();
  });
  webSockets.on('wsClientError', (error, socket) => {
    arrivals.get(socket)?.refuse(`WebSocket: ${error.message}`, () => answer(socket as Duplex, 400));
  });
  const info = { name: spec.name, transport: spec.transport, highWaterBytes: spec.highWaterBytes };

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const arrival = arrivals.get(socket);
    if (arrival === undefined || !arrival.isWaiting) {
      socket.destroy();
      return;
    }
    const refusal = findRefusal(request, spec, subprotocols, settings.allowedOrigins);
    if (refusal !== null) {
      arrival.refuse(`WebSocket: ${refusal.detail}`, () => answer(socket, refusal.status));
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      if (!arrival.pass()) webSocket.terminate();
      else
        connect(
          new WebSocketTransport(context, info, webSocket, request.socket, arrival, spec.unknownBytesMax),
        );
    });
  });

  return (arrival, socket) => {
    arrivals.set(socket, arrival);
    server.emit('connection', socket);
    // What had to be read before may have left it paused.
    if (socket.isPaused()) socket.resume();
  };
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
  return isLoopbackHost(new URL(origin).hostname.replace(/^\[|\]$/g, ''));
}

function answer(socket: Duplex, status: number): void {
  socket.once('error', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n` +
      // RFC 6455 4.2.2: for who asked for another version.
      'Sec-WebSocket-Version: 13\r\n\r\n',
    () => socket.destroy(),
  );
}
