/**
 * The MQTT adapter: versions 3.1, 3.1.1 and 5 on one port, over TCP, TLS, WebSocket and socket files. Built once by the composition
 * with its settings and a host; makes one connection object for each transport.
 */

import type { SharingStrategy } from '../../src/core/index.ts';
import type { Adapter, Host, ListenerSpec, Transport } from '../../src/host.ts';
import { PublishEncoder } from './codec/publish-encoder.ts';
import { Connection } from './connection.ts';
import type { MqttContext } from './context.ts';
import type { MqttSettings } from './settings.ts';
import { ConnectRates } from './state/connect-rates.ts';
import { Traffic } from './state/traffic.ts';
import { Wills } from './state/wills.ts';
import { SysTopics } from './sys/topics.ts';

export { type MqttSettings, mqttSettings } from './settings.ts';

/** `[MQTT-6.0.0-3]`; `mqttv3.1` is what clients of that version offer. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1'];

/** What the core calls the strategies. */
const SHARING: Readonly<Record<MqttSettings['sharedSubscriptions']['strategy'], SharingStrategy>> = {
  'round-robin': 'round-robin',
  random: 'random',
  sticky: 'sticky',
  'least-loaded': 'least-loaded',
  'hash-client': 'hash-publisher',
  'hash-address': 'hash-address',
};

export function createMqttAdapter(host: Host, settings: MqttSettings): Adapter {
  const { core, logger, authenticator } = host;
  const traffic = new Traffic();
  const clients: MqttContext['clients'] = new Map();
  const context: MqttContext = {
    core,
    logger,
    authenticator,
    settings,
    gatewayId: Buffer.from(host.clusterId).toString('hex'),
    encoder: new PublishEncoder(core.clock, traffic, core.replies),
    wills: new Wills(core, logger),
    connectRates: new ConnectRates(
      core.clock,
      settings.limits.connectsPerMinuteMax,
      settings.limits.connectRefusedSeconds * 1000,
    ),
    isDraining: () => host.isDraining?.() === true,
    clients,
    traffic,
    sys: new SysTopics({
      core,
      traffic,
      version: host.version,
      intervalSeconds: settings.sysIntervalSeconds,
      clientCount: () => clients.size,
    }),
  };
  return {
    name: 'mqtt',
    listeners: listenersFrom(settings),
    start: () => {
      core.sessions.shareBy(SHARING[settings.sharedSubscriptions.strategy]);
      context.wills.restore();
      context.sys.start();
      return Promise.resolve();
    },
    connect: (transport: Transport) => new Connection(context, transport),
    stop: () => {
      context.sys.stop();
      context.wills.stop();
      return Promise.resolve();
    },
  };
}

function listenersFrom(settings: MqttSettings): ListenerSpec[] {
  const { host, port, proxyProtocol, tls, websocket, unix, connectionsMax, limits } = settings;
  const bounds = { host, connectionsMax, highWaterBytes: limits.outputBytesSoft };
  const listeners: ListenerSpec[] = [{ name: 'mqtt', transport: 'tcp', port, proxyProtocol, ...bounds }];
  if (tls.enabled) listeners.push({ name: 'mqtt-tls', transport: 'tcp', ...securedBy(tls), ...bounds });
  const web = {
    transport: 'websocket',
    path: websocket.path,
    subprotocols: SUBPROTOCOLS,
    // A message of a client that is not known may be no larger than its packet may be.
    unknownBytesMax: limits.connectPacketBytesMax,
    ...bounds,
  } as const;
  if (websocket.enabled) {
    const { port, proxyProtocol } = websocket;
    listeners.push({ name: 'mqtt-websocket', port, proxyProtocol, ...web });
  }
  if (websocket.tls.enabled) {
    listeners.push({ name: 'mqtt-websocket-tls', ...securedBy(websocket.tls), ...web });
  }
  if (unix.path !== '') {
    const socketFile = { path: unix.path, mode: Number.parseInt(unix.mode, 8) };
    listeners.push({ name: 'mqtt-unix', transport: 'tcp', port: 0, socketFile, ...bounds });
  }
  return listeners;
}

function securedBy({ port, proxyProtocol, clientCertificate }: MqttSettings['tls']) {
  return { port, proxyProtocol, tls: { clientCertificate } };
}
