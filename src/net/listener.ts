/**
 * A TCP server for one adapter. Connections above the bound are turned away by `node:net` before they cost anything.
 * Made by `network.ts`.
 */

import { createServer, type Server, type Socket } from 'node:net';
import type { Adapter, ListenerSpec } from '../host.ts';
import { type Listener, listen } from './bind.ts';
import type { NetContext } from './context.ts';
import { TcpTransport } from './tcp-transport.ts';

export async function openTcpListener(
  context: NetContext,
  spec: ListenerSpec,
  adapter: Adapter,
): Promise<Listener> {
  const { keepAliveMs } = context.settings;
  const server: Server = createServer({
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: keepAliveMs > 0,
    keepAliveInitialDelay: keepAliveMs,
  });
  server.maxConnections = spec.connectionsMax;
  server.on('drop', () => context.countRefused(spec.name));
  const info = { name: spec.name, transport: spec.transport, highWaterBytes: spec.highWaterBytes };
  server.on('connection', (socket: Socket) => {
    const transport = new TcpTransport(context, info, socket);
    context.add(transport);
    transport.attach();
    try {
      transport.handler = adapter.connect(transport);
    } catch (error) {
      transport.fail(error);
    }
  });
  const bound = await listen(server, spec, context.settings.backlog);
  return { spec, bound, close: () => server.close() };
}
