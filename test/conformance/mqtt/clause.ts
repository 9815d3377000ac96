/**
 * How a conformance test is written: `clause('3.1.1 [MQTT-…] | 5.0 [MQTT-…]', 'what is seen', test)`. It runs once for
 * each specification that it names, with a gateway that all tests of a file share and clients that are dropped after
 * each. Tests use names of their own (`unique`), so that they do not meet. `useGateway` is the gateway as it is
 * delivered; `useGatewayByHand` is adapter, core and network on a storage in memory and a clock that the test turns.
 */

import Value from 'typebox/value';
import { afterAll, afterEach, beforeAll, it } from 'vitest';
import { createMqttAdapter, type MqttSettings, mqttSettings } from '../../../adapters/mqtt/index.ts';
import { mqtt5Codec } from '../../../mappings/mqtt.ts';
import type { Access, CoreOptions, Limits } from '../../../src/core/index.ts';
import type { Authenticator, Logger } from '../../../src/host.ts';
import { Network } from '../../../src/net/network.ts';
import { type NetworkSettings, networkSettings } from '../../../src/net/settings.ts';
import { openTestCore, type TestClock } from '../../support/core.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { type GatewayOptions, startTestGateway } from '../../support/gateway.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import type { ConnectOptions, Version } from './packets.ts';
import { RawClient } from './raw-client.ts';
import { clausesIn, type Specification } from './statements.ts';

const VERSIONS: Readonly<Record<Specification, Version>> = { '3.1.1': 4, '5.0': 5 };

export function clause(clauses: string, text: string, test: (version: Version) => Promise<void>): void {
  for (const [specification, ids] of clausesIn(clauses)) {
    const version = VERSIONS[specification];
    const name = `${specification} ${ids.map((id) => `[${id}]`).join(' ')} ${text}`;
    // In the test file that calls: this one has no tests of its own.
    void it(name, () => test(version));
  }
}

export interface Server {
  readonly port: number;
  readonly websocketPort: number;
  /** A connection without a CONNECT. */
  open(version: Version): Promise<RawClient>;
  /** A connection that was accepted. Without a name it gets one of its own. */
  connected(version: Version, options?: ConnectOptions): Promise<RawClient>;
  /** To be dropped after the test. */
  keep(client: RawClient): RawClient;
}

let lastName = 0;

/** A name that no other test of the file has. */
export function unique(prefix = 't'): string {
  return `${prefix}${++lastName}`;
}

function serverOf(ports: () => { readonly port: number; readonly websocketPort: number }): Server {
  const clients: RawClient[] = [];
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.drop()));
  });
  const keep = (client: RawClient): RawClient => {
    clients.push(client);
    return client;
  };
  const open = async (version: Version): Promise<RawClient> =>
    keep(await RawClient.open(ports().port, version));
  return {
    get port() {
      return ports().port;
    },
    get websocketPort() {
      return ports().websocketPort;
    },
    open,
    async connected(version, options = {}) {
      const client = await open(version);
      const connack = await client.connect({ clientId: unique('c'), ...options });
      if (connack.reason !== 0) throw new Error(`refused with 0x${connack.reason.toString(16)}`);
      return client;
    },
    keep,
  };
}

const ONLY_MQTT = { 'amqp091.enabled': false, 'kafka.enabled': false, 'http.enabled': false };

export function useGateway(settings: GatewayOptions['settings'] = {}): Server {
  let gateway: Awaited<ReturnType<typeof startTestGateway>> | null = null;
  beforeAll(async () => {
    gateway = await startTestGateway({ settings: { ...ONLY_MQTT, 'storage.durability': 'os', ...settings } });
  });
  afterAll(() => gateway?.stop());
  return serverOf(() => ({
    port: gateway?.ports.mqtt ?? 0,
    websocketPort: gateway?.ports.mqttWebsocket ?? 0,
  }));
}

export interface ByHandOptions {
  readonly limits?: Partial<MqttSettings['limits']>;
  readonly coreLimits?: Partial<Limits>;
  readonly settings?: Partial<Omit<MqttSettings, 'limits'>>;
  readonly access?: Access;
  readonly authenticator?: Authenticator;
}

export interface ServerByHand extends Server {
  readonly clock: TestClock;
  /** May be told to fail. */
  readonly storage: MemoryStorage;
  /** Lets this time pass, and what came before and what it brings about happen. */
  pass(ms: number): Promise<void>;
}

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export function useGatewayByHand(options: ByHandOptions = {}): ServerByHand {
  let network: Network | null = null;
  let clock: TestClock | null = null;
  const storage = new MemoryStorage();
  let stop = async (): Promise<void> => {};
  beforeAll(async () => {
    const { access } = options;
    const core: Partial<CoreOptions> = { codecs: [mqtt5Codec], ...(access === undefined ? {} : { access }) };
    const world = await openTestCore({ storage, limits: options.coreLimits ?? {}, core });
    clock = world.clock;
    network = new Network(clock, Value.Default(networkSettings, {}) as NetworkSettings, SILENT);
    const settings = Value.Default(mqttSettings, {
      port: 0,
      websocket: { enabled: false },
      ...options.settings,
      limits: { ...options.limits },
    }) as MqttSettings;
    const adapter = createMqttAdapter(
      {
        core: world.core,
        clock,
        logger: SILENT,
        authenticator:
          options.authenticator ?? authenticatorOf((_, { clientId }) => ({ user: '', groups: [], clientId })),
        clusterId: new Uint8Array(16),
        version: '0.0.0',
        isDraining: () => false,
        listening: () => undefined,
      },
      settings,
    );
    await adapter.start();
    for (const spec of adapter.listeners) await network.listen(spec, adapter);
    stop = async () => {
      network?.stopListening();
      for (const transport of network?.connections.values() ?? []) transport.destroy('shutting-down');
      await adapter.stop();
      await world.core.close();
    };
  });
  afterAll(() => stop());
  const server = serverOf(() => ({ port: network?.listening('mqtt')?.port ?? 0, websocketPort: 0 }));
  const time = (): TestClock => clock as TestClock;
  return Object.defineProperties(server as ServerByHand, {
    clock: { get: time },
    storage: { value: storage },
    pass: {
      value: async (ms: number): Promise<void> => {
        await time().turn();
        time().advance(ms);
        await time().turn();
      },
    },
  });
}
