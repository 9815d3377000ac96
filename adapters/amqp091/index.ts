/**
 * AMQP 0-9-1 server in RabbitMQ's dialect. The gateway builds it once, calls `start` before the first connection
 * and `connect` for each. What RabbitMQ predeclares exists here too.
 */

import type { ExchangeType } from '../../src/core/index.ts';
import type { Adapter, Host, ListenerSpec } from '../../src/host.ts';
import { Connection } from './connection.ts';
import type { Shared } from './context.ts';
import type { Amqp091Settings } from './settings.ts';

export { type Amqp091Settings, amqp091Settings } from './settings.ts';

const PREDECLARED: readonly (readonly [name: string, type: ExchangeType])[] = [
  ['amq.direct', 'direct'],
  ['amq.fanout', 'fanout'],
  ['amq.topic', 'topic'],
  ['amq.headers', 'headers'],
  ['amq.match', 'headers'],
];

export function createAmqp091Adapter(host: Host, settings: Amqp091Settings): Adapter {
  const shared: Shared = { host, settings };
  return {
    name: 'amqp091',
    listeners: listenersFrom(settings),
    async start() {
      for (const [name, type] of PREDECLARED) {
        host.core.exchanges.declare({
          name,
          type,
          durable: true,
          autoDelete: false,
          internal: false,
          alternate: null,
          arguments: [],
        });
      }
    },
    connect: (transport) => new Connection(shared, transport),
    async stop() {},
  };
}

function listenersFrom(settings: Amqp091Settings): ListenerSpec[] {
  const { host, port, proxyProtocol, tls, connectionsMax, highWaterBytes } = settings;
  const bounds = { host, connectionsMax, highWaterBytes };
  const listeners: ListenerSpec[] = [{ name: 'amqp091', transport: 'tcp', port, proxyProtocol, ...bounds }];
  if (tls.enabled) {
    const { port, proxyProtocol, clientCertificate } = tls;
    listeners.push({
      name: 'amqp091-tls',
      transport: 'tcp',
      port,
      proxyProtocol,
      tls: { clientCertificate },
      ...bounds,
    });
  }
  return listeners;
}
