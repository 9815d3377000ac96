/**
 * The MQTT adapter: versions 3.1, 3.1.1 and 5 on one port, over TCP and WebSocket. Built once by the composition
 * with its settings and a host; makes one connection object for each transport.
 */

import type { Adapter, Host, ListenerSpec, Transport } from '../../src/host.ts';
import { PublishEncoder } from './codec/publish-encoder.ts';
import { Connection } from './connection.ts';
import type { MqttContext } from './context.ts';
import type { MqttSettings } from './settings.ts';
import { ConnectRates } from './state/connect-rates.ts';
import { Wills } from './state/wills.ts';

export { type MqttSettings, mqttSettings } from './settings.ts';

/** `[MQTT-6.0.0-3]`; `mqttv3.1` is what clients of that version offer. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1'];

export function createMqttAdapter(host: Host, settings: MqttSettings): Adapter {
  const { core, logger, authenticator } = host;
  const context: MqttContext = {
    core,
    logger,
    authenticator,
    settings,
    encoder: new PublishEncoder(core.clock),
    wills: new Wills(core, logger),
    connectRates: new ConnectRates(
      core.clock,
      settings.limits.connectsPerMinuteMax,
      settings.limits.connectRefusedSeconds * 1000,
    ),
    isDraining: () => host.isDraining?.() === true,
    clients: new Map(),
  };
  return {
    name: 'mqtt',
    listeners: listenersFrom(settings),
    start: () => {
      context.wills.restore();
      return Promise.resolve();
    },
    connect: (transport: Transport) => new Connection(context, transport),
    stop: () => {
      context.wills.stop();
      return Promise.resolve();
    },
  };
}

function listenersFrom(settings: MqttSettings): ListenerSpec[] {
  const { host, port, websocket, connectionsMax, limits } = settings;
  const bounds = { host, connectionsMax, highWaterBytes: limits.outputBytesSoft };
  const listeners: ListenerSpec[] = [{ name: 'mqtt', transport: 'tcp', port, ...bounds }];
  if (websocket.enabled) {
    listeners.push({
      name: 'mqtt-websocket',
      transport: 'websocket',
      port: websocket.port,
      path: websocket.path,
      subprotocols: SUBPROTOCOLS,
      ...bounds,
    });
  }
  return listeners;
}
