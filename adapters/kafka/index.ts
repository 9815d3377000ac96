/**
 * A server that speaks Kafka's wire protocol to unmodified clients: one broker that leads every partition, with the
 * streams of the core as topics. The gateway builds it once and calls `connect` for each connection. What it offers
 * and what it does not is in docs/protocols/kafka.md.
 */

import type { Adapter, Host, ListenerSpec } from '../../src/host.ts';
import { KafkaConnection } from './connection.ts';
import { type KafkaServices, PLAIN_LISTENER, TLS_LISTENER } from './services.ts';
import type { KafkaSettings } from './settings.ts';
import { GroupCoordinator } from './state/group-coordinator.ts';
import { Topics } from './state/topics.ts';

export { type KafkaSettings, kafkaSettings } from './settings.ts';

export function createKafkaAdapter(host: Host, settings: KafkaSettings): Adapter {
  const { core, clock, logger, authenticator } = host;
  const groups = new GroupCoordinator(core, clock, settings);
  const services: KafkaServices = {
    core,
    clock,
    settings,
    logger,
    authenticator,
    topics: new Topics(core, clock, settings),
    groups,
    clusterId: Buffer.from(host.clusterId).toString('base64url'),
    listening: (name) => host.listening(name),
    unfinishedBytes: 0,
  };
  return {
    name: 'kafka',
    listeners: listenersFrom(settings),
    async start() {},
    connect: (transport) => new KafkaConnection(services, transport),
    async stop() {
      groups.close();
    },
  };
}

function listenersFrom(settings: KafkaSettings): ListenerSpec[] {
  const { host, port, proxyProtocol, tls, connectionsMax, highWaterBytes } = settings;
  const bounds = { host, connectionsMax, highWaterBytes };
  const listeners: ListenerSpec[] = [
    { name: PLAIN_LISTENER, transport: 'tcp', port, proxyProtocol, ...bounds },
  ];
  if (tls.enabled) {
    const { port, proxyProtocol, clientCertificate } = tls;
    listeners.push({
      name: TLS_LISTENER,
      transport: 'tcp',
      port,
      proxyProtocol,
      tls: { clientCertificate },
      ...bounds,
    });
  }
  return listeners;
}
