/**
 * Publishers on all three protocols for the crash tests, each counting what was acknowledged, and readers that collect
 * what comes back. They use real client libraries, never retry by themselves and survive that the gateway dies under
 * them: then they just stop. A message's body is its publisher's name and a number that is never used twice.
 */
import { type ChannelModel, connect as connectAmqp } from 'amqplib';
import { Kafka, logLevel, type Producer } from 'kafkajs';
import { connectAsync, connect as connectMqtt, type MqttClient } from 'mqtt';
import type { Ports } from '../interop/gateway.ts';

export const SESSION = 'crash-session';
export const QUEUE = 'crash-queue';
export const PUBLISHERS = ['mqtt', 'amqp', 'kafka'] as const;
export type PublisherName = (typeof PUBLISHERS)[number];
/** The stream of what one publisher sends; its address is `crash/<publisher>`. */
export const streamOf = (publisher: PublisherName): string => `crash.${publisher}`;

const IN_FLIGHT_MAX = 100;
const KAFKA_BATCH = 20;
/** Of the Kafka client, at half a second or less: longer than any start takes. */
const RETRIES_OVER_RESTART = 60;
/** How long a reader waits for more before it takes silence for the end. */
const QUIET_MS = 700;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Numbers handed out, and those whose acknowledgement arrived, over all rounds. */
export class Ledger {
  #next = 0;
  readonly acknowledged: number[] = [];

  take(): number {
    return this.#next++;
  }
}

export type Ledgers = Readonly<Record<PublisherName, Ledger>>;

/** A publisher at work. `halt` ends it however the connection is. */
interface Traffic {
  halt(): Promise<void>;
}

const silence = (): void => {};

export const openMqtt = (port: number, clientId: string, clean: boolean): Promise<MqttClient> =>
  connectAsync(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 5,
    clientId,
    clean,
    reconnectPeriod: 0,
    connectTimeout: 5000,
    ...(clean ? {} : { properties: { sessionExpiryInterval: 3600 } }),
  });

export async function openAmqp(port: number): Promise<ChannelModel> {
  const connection = await connectAmqp(`amqp://guest:guest@127.0.0.1:${port}`);
  connection.on('error', silence);
  return connection;
}

const openKafka = (port: number, retries: number): Kafka =>
  new Kafka({
    clientId: 'crash',
    brokers: [`127.0.0.1:${port}`],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2000,
    requestTimeout: 5000,
    retry: { retries, initialRetryTime: 100, maxRetryTime: 500 },
  });

async function publishMqtt(port: number, ledger: Ledger): Promise<Traffic> {
  const client = await openMqtt(port, 'crash-publisher', true);
  client.on('error', silence);
  let running = true;
  client.on('close', () => {
    running = false;
  });
  let inFlight = 0;
  const pump = (): void => {
    while (running && inFlight < IN_FLIGHT_MAX) {
      const number = ledger.take();
      inFlight++;
      client.publish('crash/mqtt', `mqtt ${number}`, { qos: 1 }, (error) => {
        inFlight--;
        if (!error) ledger.acknowledged.push(number);
        if (inFlight < IN_FLIGHT_MAX / 2) setImmediate(pump);
      });
    }
  };
  pump();
  return {
    halt: async () => {
      running = false;
      client.end(true); // its callback does not come when the connection is gone
    },
  };
}

async function publishAmqp(port: number, ledger: Ledger): Promise<Traffic> {
  const connection = await openAmqp(port);
  const channel = await connection.createConfirmChannel();
  channel.on('error', silence);
  let running = true;
  connection.on('close', () => {
    running = false;
  });
  let inFlight = 0;
  const pump = (): void => {
    while (running && inFlight < IN_FLIGHT_MAX) {
      const number = ledger.take();
      inFlight++;
      try {
        channel.publish('crash', 'amqp', Buffer.from(`amqp ${number}`), { persistent: true }, (error) => {
          inFlight--;
          if (!error) ledger.acknowledged.push(number);
          if (inFlight < IN_FLIGHT_MAX / 2) setImmediate(pump);
        });
      } catch {
        running = false; // the channel has ended
      }
    }
  };
  pump();
  return {
    halt: async () => {
      running = false;
      await connection.close().catch(silence);
    },
  };
}

/**
 * An idempotent producer that lives through the kills: its library sends a batch again, under the old sequence numbers,
 * until the restarted gateway answers, which must not store it twice.
 */
export async function publishKafka(port: number, ledger: Ledger): Promise<Traffic> {
  const kafka = openKafka(port, RETRIES_OVER_RESTART);
  const producer: Producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  let running = true;
  const loop = async (): Promise<void> => {
    while (running) {
      const numbers = Array.from({ length: KAFKA_BATCH }, () => ledger.take());
      const messages = numbers.map((number) => ({ value: `kafka ${number}` }));
      await producer.send({ topic: streamOf('kafka'), acks: -1, messages });
      ledger.acknowledged.push(...numbers);
    }
  };
  let failure: Error | null = null;
  const finished = loop().catch((error: Error) => {
    failure = error;
  });
  return {
    halt: async () => {
      running = false;
      await finished;
      await producer.disconnect().catch(silence);
      if (failure !== null) throw failure;
    },
  };
}

/** Makes the session, the queue and the streams that everything published in the rounds must reach. */
export async function prepareDestinations(ports: Ports): Promise<void> {
  const admin = openKafka(ports.kafka, 3).admin();
  await admin.connect();
  const topics = PUBLISHERS.map((publisher) => ({ topic: streamOf(publisher), numPartitions: 1 }));
  await admin.createTopics({ topics, waitForLeaders: true });
  await admin.disconnect();
  const connection = await openAmqp(ports.amqp);
  const channel = await connection.createChannel();
  await channel.assertQueue(QUEUE, { durable: true });
  await channel.bindQueue(QUEUE, 'amq.topic', 'crash.#');
  await connection.close();
  const client = await openMqtt(ports.mqtt, SESSION, false);
  await client.subscribeAsync('crash/#', { qos: 1 });
  await client.endAsync();
}

/** Starts the publishers that end with a kill: their connection's end is theirs. */
export async function startPublishers(ports: Ports, ledgers: Ledgers): Promise<Traffic> {
  const traffic = await Promise.all([
    publishMqtt(ports.mqtt, ledgers.mqtt),
    publishAmqp(ports.amqp, ledgers.amqp),
  ]);
  return {
    halt: async () => {
      await Promise.all(traffic.map((one) => one.halt()));
    },
  };
}

/** Takes what the session has, acknowledging it, until `halt` or until the connection ends. */
export async function readSession(port: number, received: string[]): Promise<Traffic> {
  const client = connectMqtt(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 5,
    clientId: SESSION,
    clean: false,
    reconnectPeriod: 0,
    properties: { sessionExpiryInterval: 3600 },
  });
  // Before it is connected: what arrives without a listener is acknowledged and gone.
  client.on('message', (_topic, payload) => received.push(payload.toString()));
  await new Promise<void>((resolve, reject) => client.once('connect', () => resolve()).once('error', reject));
  client.on('error', silence);
  return {
    halt: async () => {
      if (client.connected) await client.endAsync().catch(silence);
      else client.end(true);
    },
  };
}

/** Takes what the queue has, acknowledging it. */
export async function readQueue(port: number, received: string[]): Promise<Traffic> {
  const connection = await openAmqp(port);
  const channel = await connection.createChannel();
  channel.on('error', silence);
  await channel.prefetch(500);
  await channel.consume(QUEUE, (message) => {
    if (message === null) return;
    received.push(message.content.toString());
    try {
      channel.ack(message);
    } catch {
      // The connection ended under us: the message will come again.
    }
  });
  return { halt: () => connection.close().catch(silence) };
}

/** Waits until nothing more arrives. */
export async function waitForQuiet(received: readonly string[], secondsMax: number): Promise<void> {
  const deadline = Date.now() + secondsMax * 1000;
  let before = -1;
  while (received.length !== before && Date.now() < deadline) {
    before = received.length;
    await pause(QUIET_MS);
  }
}

/** The whole stream from its first record to its end at the time of asking. */
export async function readStream(port: number, stream: string): Promise<string[]> {
  const kafka = openKafka(port, 3);
  const admin = kafka.admin();
  await admin.connect();
  const offsets = await admin.fetchTopicOffsets(stream);
  await admin.disconnect();
  const end = offsets.reduce((sum, { high }) => sum + Number(high), 0);
  const values: string[] = [];
  if (end === 0) return values;
  const consumer = kafka.consumer({
    groupId: `reader-of-${stream}`,
    maxWaitTimeInMs: 200,
    retry: { retries: 3 },
  });
  await consumer.connect();
  await consumer.subscribe({ topic: stream, fromBeginning: true });
  await new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    const run = consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        for (const { value } of batch.messages) values.push(value!.toString());
        if (values.length >= end) resolve();
      },
    });
    run.catch(reject);
  });
  await consumer.disconnect();
  return values;
}
