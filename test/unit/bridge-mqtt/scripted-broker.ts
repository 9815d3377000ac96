/** A broker that says what a test wants it to: MQTT packets by `mqtt-packet` on a real socket. */
import { createServer, type Socket } from 'node:net';
import mqttPacket, { type IConnectPacket, type Packet } from 'mqtt-packet';
import { onTestFinished } from 'vitest';
import { createMqttBridgeDriver } from '../../../adapters/bridge-mqtt/index.ts';
import { mqttConnectionSettings } from '../../../adapters/bridge-mqtt/settings.ts';
import { SystemClock } from '../../../src/clock.ts';
import { Message, type MessageFields } from '../../../src/core/index.ts';
import type { BridgeDirection, BridgeDriver, BridgeLink, OutsideMessage } from '../../../src/outside.ts';
import { defaultsOf } from '../mqtt/schema-defaults.ts';

export interface BrokerSide {
  readonly connect: IConnectPacket;
  send(packet: Packet): void;
  end(): void;
}

/** Answers CONNECT with success unless `react` returns true for it, and hands everything else to `react`. */
export async function startScriptedBroker(
  react: (packet: Packet, side: BrokerSide) => boolean | undefined,
): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const parser = mqttPacket.parser({ protocolVersion: 4 });
    let connect = {} as IConnectPacket;
    const side: BrokerSide = {
      get connect() {
        return connect;
      },
      send: (packet) => {
        socket.write(mqttPacket.generate(packet, { protocolVersion: connect.protocolVersion ?? 4 }));
      },
      end: () => socket.destroy(),
    };
    parser.on('packet', (packet) => {
      if (packet.cmd === 'connect') connect = packet;
      if (react(packet, side) === true) return;
      if (packet.cmd === 'connect')
        side.send({ cmd: 'connack', sessionPresent: false, returnCode: 0, reasonCode: 0 });
    });
    parser.on('error', () => socket.destroy());
    socket.on('data', (bytes: Buffer) => parser.parse(bytes));
    socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `mqtt://127.0.0.1:${(server.address() as { port: number }).port}`;
}

export interface LinkSettings {
  readonly connection?: Readonly<Record<string, unknown>>;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly driver?: BridgeDriver;
  readonly isTrial?: boolean;
}

/** The link, and the error that it was lost with. */
export async function openLink(
  direction: BridgeDirection,
  url: string,
  settings: LinkSettings = {},
): Promise<{ readonly link: BridgeLink; readonly lost: Promise<Error> }> {
  const driver = settings.driver ?? createMqttBridgeDriver();
  const { promise: lost, resolve } = Promise.withResolvers<Error>();
  const link = await driver.open({
    name: 'test',
    connection: { ...(defaultsOf(mqttConnectionSettings) as object), urls: [url], ...settings.connection },
    options: { ...(defaultsOf(driver.optionsSchema[direction]) as object), ...settings.options },
    direction,
    delivery: 'at-least-once',
    gatewayId: '00112233445566778899aabbccddeeff',
    inFlightMax: 10,
    clock: new SystemClock((error) => {
      throw error;
    }),
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    signal: new AbortController().signal,
    isTrial: settings.isTrial ?? false,
    lost: resolve,
  });
  onTestFinished(() => link.close());
  return { link, lost };
}

export const outside = (offset: number, fields: Partial<MessageFields> = {}): OutsideMessage => ({
  offset,
  message: new Message({ address: 'a', body: Buffer.from(String(offset)), reliability: 1, ...fields }),
});
