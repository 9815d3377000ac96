/**
 * An MQTT adapter on a real core, with transports in memory and a clock turned by hand. Clients write packets made by
 * `mqtt-packet` or raw bytes, and what the adapter answers is read back by `mqtt-packet`.
 */

import mqttPacket, { type Packet } from 'mqtt-packet';
import { createMqttAdapter, type MqttSettings, mqttSettings } from '../../../adapters/mqtt/index.ts';
import { mqtt5Codec } from '../../../mappings/mqtt.ts';
import type { Access, Limits, Principal } from '../../../src/core/index.ts';
import type {
  Adapter,
  Authenticator,
  CloseReason,
  ConnectionHandler,
  ListenerInfo,
  Logger,
  Transport,
} from '../../../src/host.ts';
import { openTestCore, type TestClock, type TestCore } from '../../support/core.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import { defaultsOf } from './schema-defaults.ts';

const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export class FakeTransport implements Transport {
  readonly id = 1;
  readonly listener: ListenerInfo = { name: 'mqtt', transport: 'tcp', highWaterBytes: 262_144 };
  readonly remoteAddress = '127.0.0.1';
  readonly remotePort = 40_000;
  readonly localAddress = '127.0.0.1';
  readonly certificate = null;
  readonly localPort = 1883;
  buffer: Buffer = Buffer.alloc(0);
  pendingBytes = 0;
  paused = false;
  ended: { readonly reason: CloseReason; readonly detail: string } | null = null;
  handler: ConnectionHandler | null = null;
  #written: Buffer[] = [];

  reserve(bytes: number): number {
    this.buffer = Buffer.alloc(bytes);
    this.#written.push(this.buffer);
    return 0;
  }

  write(bytes: Uint8Array): void {
    this.#written.push(Buffer.from(bytes));
  }

  pass(chunk: Buffer, start: number, end: number): void {
    this.write(chunk.subarray(start, end));
  }

  flushEarly(): void {}

  /** Everything written since the last call. */
  take(): Buffer {
    const all = Buffer.concat(this.#written);
    this.#written = [];
    return all;
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  close(reason: CloseReason, detail = ''): void {
    if (this.ended !== null) return;
    this.ended = { reason, detail };
    this.handler?.closed(reason);
  }

  destroy(reason: CloseReason, detail = ''): void {
    this.close(reason, detail);
  }
}

export interface ConnectOptions {
  readonly clientId?: string;
  readonly version?: 3 | 4 | 5;
  readonly clean?: boolean;
  readonly keepalive?: number;
  readonly properties?: Record<string, unknown>;
  readonly will?: Record<string, unknown>;
  readonly username?: string;
  readonly password?: string;
}

export class TestClient {
  readonly transport = new FakeTransport();
  readonly handler: ConnectionHandler;
  readonly #clock: TestClock;
  readonly #parser: mqttPacket.Parser;
  #packets: Packet[] = [];
  version = 4;

  constructor(adapter: Adapter, clock: TestClock) {
    this.#clock = clock;
    this.handler = adapter.connect(this.transport);
    this.transport.handler = this.handler;
    this.#parser = mqttPacket.parser({ protocolVersion: 4 });
    this.#listen(this.#parser);
  }

  #listen(parser: mqttPacket.Parser): void {
    parser.on('packet', (packet) => this.#packets.push(packet));
    parser.on('error', (error) => {
      throw error;
    });
  }

  get ended(): FakeTransport['ended'] {
    return this.transport.ended;
  }

  async connect(options: ConnectOptions = {}): Promise<Packet> {
    this.version = options.version ?? 4;
    this.#speak(this.version);
    this.write({
      cmd: 'connect',
      protocolId: this.version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: this.version,
      clean: options.clean ?? true,
      clientId: options.clientId ?? 'client',
      keepalive: options.keepalive ?? 0,
      ...(options.properties === undefined ? {} : { properties: options.properties }),
      ...(options.will === undefined ? {} : { will: options.will }),
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(options.password === undefined ? {} : { password: Buffer.from(options.password) }),
    } as Packet);
    const packets = await this.read();
    const [connack] = packets;
    if (connack === undefined) throw new Error(`no CONNACK: ${JSON.stringify(this.ended)}`);
    this.#packets = [...packets.slice(1), ...this.#packets];
    return connack;
  }

  #speak(version: number): void {
    (this.#parser as unknown as { settings: { protocolVersion: number } }).settings.protocolVersion = version;
  }

  write(packet: Packet): void {
    this.writeBytes(mqttPacket.generate(packet, { protocolVersion: this.version }));
  }

  /** Bytes in hexadecimal, spaces allowed, or as they are. */
  writeBytes(bytes: Buffer | string): void {
    if (this.ended !== null) return;
    this.handler.received(typeof bytes === 'string' ? Buffer.from(bytes.replaceAll(' ', ''), 'hex') : bytes);
  }

  /** What came since the last call, after everything that was begun has come to its end. */
  async read(): Promise<Packet[]> {
    await this.#clock.turn();
    const bytes = this.transport.take();
    if (bytes.length > 0) this.#parser.parse(bytes);
    const packets = this.#packets;
    this.#packets = [];
    return packets;
  }

  async readBytes(): Promise<Buffer> {
    await this.#clock.turn();
    return this.transport.take();
  }

  /** The socket ends without a word. */
  drop(): void {
    this.transport.close('connection-lost');
  }

  async publish(topic: string, payload: string, options: Record<string, unknown> = {}): Promise<Packet[]> {
    this.write({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false, ...options } as Packet);
    return this.read();
  }

  async subscribe(
    topic: string,
    qos: 0 | 1 | 2 = 0,
    options: Record<string, unknown> = {},
  ): Promise<Packet[]> {
    const { properties, ...rest } = options;
    this.write({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic, qos, nl: false, rap: false, rh: 0, ...rest }],
      ...(properties === undefined ? {} : { properties }),
    } as Packet);
    return this.read();
  }
}

export interface MqttWorld extends TestCore {
  readonly adapter: Adapter;
  client(): TestClient;
  /** A client that is connected. */
  connected(options?: ConnectOptions): Promise<TestClient>;
}

export interface WorldOptions {
  readonly storage?: MemoryStorage;
  /** Where its clock begins. */
  readonly nowMs?: number;
  readonly limits?: Partial<Limits>;
  readonly settings?: Partial<Omit<MqttSettings, 'limits'>>;
  readonly mqttLimits?: Partial<MqttSettings['limits']>;
  readonly access?: Access;
  readonly authenticator?: Authenticator;
  readonly isDraining?: () => boolean;
}

const ANYBODY: Principal = { user: '', groups: [], clientId: '' };

export function settingsWith(options: WorldOptions = {}): MqttSettings {
  const settings = defaultsOf(mqttSettings) as MqttSettings;
  return { ...settings, ...options.settings, limits: { ...settings.limits, ...options.mqttLimits } };
}

export async function openMqttWorld(options: WorldOptions = {}): Promise<MqttWorld> {
  const world = await openTestCore({
    storage: options.storage ?? new MemoryStorage(),
    limits: options.limits ?? {},
    ...(options.nowMs === undefined ? {} : { nowMs: options.nowMs }),
    core: { codecs: [mqtt5Codec], ...(options.access === undefined ? {} : { access: options.access }) },
  });
  const adapter = createMqttAdapter(
    {
      core: world.core,
      clock: world.clock,
      logger: SILENT,
      authenticator: options.authenticator ?? authenticatorOf(() => ANYBODY),
      clusterId: new Uint8Array(16),
      version: '0.0.0',
      isDraining: options.isDraining ?? (() => false),
      listening: () => undefined,
    },
    settingsWith(options),
  );
  await adapter.start();
  return {
    ...world,
    adapter,
    client: () => new TestClient(adapter, world.clock),
    connected: async (connect = {}) => {
      const client = new TestClient(adapter, world.clock);
      await client.connect(connect);
      return client;
    },
  };
}
