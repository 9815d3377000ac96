/**
 * What goes over bridges in `bridges-survive-kills.test.ts`, and what comes of it. Both publishers live through kills of
 * whom they publish to: they connect again and go on with numbers that were never used, so that a message that is there
 * twice was doubled on its way. A body is a device and its number.
 */
import { Producer, stringSerializers } from '@platformatic/kafka';
import { type ConsumeMessage, connect as connectAmqp } from 'amqplib';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { pause } from './traffic.ts';

const DEVICES = ['d0', 'd1', 'd2', 'd3', 'd4'];
/** Between two messages of a device. */
const PERIOD_MS = 10;
const RECONNECT_MS = 50;
const IN_FLIGHT_MAX = 200;
const REQUEST_MS_MAX = 10_000;

const silence = (): void => {};

/** Publishes from its making until `halt`. */
abstract class Traffic {
  readonly acknowledged: string[] = [];
  protected isRunning = true;
  readonly #numbers = DEVICES.map(() => 0);
  readonly #finished: Promise<void>;

  constructor() {
    // When the part of the class that extends it is there.
    this.#finished = Promise.resolve().then(() => this.run());
  }

  protected abstract run(): Promise<void>;

  /** The next message of each device. */
  protected take(): { readonly device: string; readonly body: string }[] {
    return DEVICES.map((device, at) => ({ device, body: `${device} ${this.#numbers[at]!++}` }));
  }

  async halt(): Promise<void> {
    this.isRunning = false;
    await this.#finished;
  }
}

/** MQTT devices with QoS 1 at a gateway, on `devices/` and their name. */
export class DeviceTraffic extends Traffic {
  readonly #port: number;

  constructor(port: number) {
    super();
    this.#port = port;
  }

  protected override async run(): Promise<void> {
    while (this.isRunning) {
      const client = connect(`mqtt://127.0.0.1:${this.#port}`, {
        protocolVersion: 5,
        clientId: 'devices',
        reconnectPeriod: 0,
        connectTimeout: 5_000,
      });
      client.on('error', silence);
      const isOpen = await new Promise<boolean>((resolve) => {
        client.once('connect', () => resolve(true)).once('close', () => resolve(false));
      });
      if (isOpen) await this.#publish(client);
      client.end(true);
      await pause(RECONNECT_MS);
    }
  }

  /** Until the connection ends, or all is acknowledged and no more is wanted. */
  async #publish(client: MqttClient): Promise<void> {
    let inFlight = 0;
    while (client.connected && (this.isRunning || inFlight > 0)) {
      const batch = this.isRunning && inFlight < IN_FLIGHT_MAX ? this.take() : [];
      for (const { device, body } of batch) {
        inFlight++;
        client.publish(`devices/${device}`, body, { qos: 1 }, (error, packet) => {
          inFlight--;
          const code = (packet as { readonly reasonCode?: number } | undefined)?.reasonCode ?? 0;
          if (!error && code < 0x80) this.acknowledged.push(body);
        });
      }
      await pause(PERIOD_MS);
    }
  }
}

/** A producer of an outside Kafka, with the device as key. */
export class CommandTraffic extends Traffic {
  readonly #broker: string;
  readonly #topic: string;

  constructor(broker: string, topic: string) {
    super();
    this.#broker = broker;
    this.#topic = topic;
  }

  protected override async run(): Promise<void> {
    let producer: Producer<string, string, string, string> | null = null;
    while (this.isRunning) {
      producer ??= new Producer({
        clientId: 'commands',
        bootstrapBrokers: [this.#broker],
        retries: 0,
        connectTimeout: 2_000,
        requestTimeout: REQUEST_MS_MAX,
        serializers: stringSerializers,
      });
      const batch = this.take();
      try {
        const messages = batch.map(({ device, body }) => ({ topic: this.#topic, key: device, value: body }));
        await producer.send({ messages, acks: -1 });
        this.acknowledged.push(...batch.map(({ body }) => body));
        await pause(PERIOD_MS);
      } catch {
        await producer.close(true).catch(silence);
        producer = null;
        await pause(RECONNECT_MS);
      }
    }
    await producer?.close().catch(silence);
  }
}

/** Reads what its session has, with QoS 1, and comes back to it after each loss. Resolves when it is subscribed. */
export async function openReader(
  port: number,
  filter: string,
  version: Pick<IClientOptions, 'protocolVersion' | 'properties'>,
): Promise<{ readonly client: MqttClient; readonly received: string[] }> {
  const received: string[] = [];
  const client = connect(`mqtt://127.0.0.1:${port}`, {
    ...version,
    clientId: 'reader',
    clean: false,
    // The session has its subscription.
    resubscribe: false,
    reconnectPeriod: RECONNECT_MS,
    connectTimeout: 5_000,
  });
  // Before it is connected: what comes without a listener is acknowledged and gone.
  client.on('message', (_topic, payload) => received.push(payload.toString()));
  client.on('error', silence);
  await new Promise<void>((resolve) => client.once('connect', () => resolve()));
  await client.subscribeAsync(filter, { qos: 1 });
  return { client, received };
}

/** All that a queue of RabbitMQ has, from its first to its last. */
export async function readQueue(port: number, queue: string): Promise<string[]> {
  const connection = await connectAmqp(`amqp://127.0.0.1:${port}`);
  const channel = await connection.createChannel();
  const { messageCount } = await channel.checkQueue(queue);
  const received: string[] = [];
  if (messageCount > 0) {
    await new Promise<void>((resolve, reject) => {
      const take = (message: ConsumeMessage | null): void => {
        if (message !== null) received.push(message.content.toString());
        if (received.length === messageCount) resolve();
      };
      channel.consume(queue, take, { noAck: true }).catch(reject);
    });
  }
  await connection.close();
  return received;
}

/** What is wrong, of each kind its number and the first few. */
export interface Finding {
  readonly lost: Some;
  /** Those whose first arrival is behind that of a later one of the same device. */
  readonly late: Some;
  readonly twice: Some;
}

interface Some {
  readonly count: number;
  readonly first: readonly string[];
}

export const NONE: Some = { count: 0, first: [] };
export const FAULTLESS: Finding = { lost: NONE, late: NONE, twice: NONE };

const some = (bodies: readonly string[]): Some => ({ count: bodies.length, first: bodies.slice(0, 5) });

export function compare(acknowledged: readonly string[], received: readonly string[]): Finding {
  const seen = new Set<string>();
  const last = new Map<string, number>();
  const late: string[] = [];
  const twice: string[] = [];
  for (const body of received) {
    if (seen.has(body)) {
      twice.push(body);
      continue;
    }
    seen.add(body);
    const [device = '', number = ''] = body.split(' ');
    if (Number(number) < (last.get(device) ?? -1)) late.push(body);
    else last.set(device, Number(number));
  }
  const lost = acknowledged.filter((body) => !seen.has(body));
  return { lost: some(lost), late: some(late), twice: some(twice) };
}
