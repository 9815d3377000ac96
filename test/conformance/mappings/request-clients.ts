/**
 * Clients that ask and answer as their own documentation shows, for the tests of requests across protocols. `closeClients`
 * ends all that a test made.
 */

import { type Channel, type ChannelModel, type ConsumeMessage, connect as connectAmqp } from 'amqplib';
import { connectAsync, type IPublishPacket, type MqttClient } from 'mqtt';
import type { TestGateway } from '../../support/gateway.ts';

const closers: (() => Promise<unknown>)[] = [];

/** What is to be done when the test is over, the last first. */
export function atEnd(...tasks: (() => Promise<unknown>)[]): void {
  closers.push(...tasks);
}

export async function closeClients(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close().catch(() => {});
}

export interface Heard {
  readonly topic: string;
  readonly body: string;
  readonly properties: NonNullable<IPublishPacket['properties']>;
}

export interface Listener {
  readonly client: MqttClient;
  readonly heard: Heard[];
}

export async function mqtt(at: TestGateway, username: string, ...filters: string[]): Promise<Listener> {
  const client = await connectAsync(`mqtt://127.0.0.1:${at.ports.mqtt}`, {
    username,
    password: 'x',
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  atEnd(() => client.endAsync(true));
  const heard: Heard[] = [];
  client.on('message', (topic, payload, packet) =>
    heard.push({ topic, body: payload.toString(), properties: packet.properties ?? {} }),
  );
  if (filters.length > 0) await client.subscribeAsync(filters, { qos: 1 });
  return { client, heard };
}

export async function amqp(
  at: TestGateway,
  user: string,
): Promise<{ model: ChannelModel; channel: Channel }> {
  const model = await connectAmqp(`amqp://${user}:x@127.0.0.1:${at.ports.amqp}`);
  model.on('error', () => {});
  atEnd(() => model.close());
  const channel = await model.createChannel();
  channel.on('error', () => {});
  return { model, channel };
}

/** The server of RabbitMQ's tutorial six, as amqplib has it. */
export async function serveRpc(at: TestGateway, user: string, queue: string): Promise<ConsumeMessage[]> {
  const { channel } = await amqp(at, user);
  const requests: ConsumeMessage[] = [];
  await channel.assertQueue(queue, { durable: false });
  await channel.prefetch(1);
  await channel.consume(queue, (msg) => {
    if (msg === null) return;
    requests.push(msg);
    channel.sendToQueue(msg.properties.replyTo, Buffer.from(`answer to ${msg.content}`), {
      correlationId: msg.properties.correlationId,
    });
    channel.ack(msg);
  });
  return requests;
}

/** Answers whatever has a response topic, as the MQTT 5 specification says in 4.10. */
export async function serveMqtt(at: TestGateway, user: string, filter: string): Promise<Heard[]> {
  const { client, heard } = await mqtt(at, user, filter);
  client.on('message', (_topic, payload, { properties }) => {
    if (properties?.responseTopic === undefined) return;
    const { correlationData } = properties;
    client.publish(properties.responseTopic, `answer to ${payload}`, {
      qos: 1,
      properties: correlationData === undefined ? {} : { correlationData },
    });
  });
  return heard;
}

export async function ask(
  { client }: Listener,
  topic: string,
  body: string,
  responseTopic: string,
  correlationData?: Buffer,
): Promise<void> {
  const properties = { responseTopic, ...(correlationData === undefined ? {} : { correlationData }) };
  await client.publishAsync(topic, body, { qos: 1, properties });
}

export async function poll<T>(get: () => Promise<T | false>, msMax = 2000): Promise<T> {
  for (let tries = 0; tries < msMax / 10; tries++) {
    const found = await get();
    if (found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('nothing came');
}
