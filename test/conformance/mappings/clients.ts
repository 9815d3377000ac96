/** One real client of each protocol on one gateway: mqtt.js, amqplib and kafkajs, and what each of them receives. */

import amqplib, { type Channel, type ChannelModel, type ConsumeMessage, type GetMessage } from 'amqplib';
import type { IHeaders, Kafka, KafkaMessage, Message as ProducerRecord } from 'kafkajs';
import mqtt, { type IClientPublishOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import type { TestGateway } from '../../support/gateway.ts';
import { fresh, kafkajsOn, until } from '../kafka/clients.ts';

export class Clients {
  readonly gateway: TestGateway;
  readonly mqtt: MqttClient;
  readonly amqp: Channel;
  readonly #kafka: Kafka;
  readonly #connection: ChannelModel;
  readonly #endings: (() => Promise<unknown>)[] = [];

  private constructor(gateway: TestGateway, client: MqttClient, connection: ChannelModel, channel: Channel) {
    this.gateway = gateway;
    this.mqtt = client;
    this.#connection = connection;
    this.amqp = channel;
    this.#kafka = kafkajsOn(gateway.ports.kafka);
  }

  static async on(gateway: TestGateway): Promise<Clients> {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, { protocolVersion: 5 });
    const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${gateway.ports.amqp}`);
    return new Clients(gateway, client, connection, await connection.createConfirmChannel());
  }

  async end(): Promise<void> {
    await Promise.all(this.#endings.map((end) => end()));
    await this.mqtt.endAsync(true);
    await this.#connection.close();
  }

  async publishMqtt(
    topic: string,
    body: string | Buffer,
    options: IClientPublishOptions = {},
  ): Promise<void> {
    await this.mqtt.publishAsync(topic, body, { qos: 1, ...options });
  }

  async publishAmqp(
    exchange: string,
    key: string,
    body: Buffer,
    options: amqplib.Options.Publish = {},
  ): Promise<void> {
    this.amqp.publish(exchange, key, body, { persistent: true, ...options });
    await (this.amqp as amqplib.ConfirmChannel).waitForConfirms();
  }

  async produce(topic: string, record: ProducerRecord): Promise<void> {
    const producer = this.#kafka.producer();
    await producer.connect();
    await producer.send({ topic, messages: [record] });
    await producer.disconnect();
  }

  /** What arrives at an MQTT 5 client from now on, and what was remembered. */
  async subscribeMqtt(filter: string): Promise<IPublishPacket[]> {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${this.gateway.ports.mqtt}`, {
      protocolVersion: 5,
    });
    this.#endings.push(() => client.endAsync(true));
    const packets: IPublishPacket[] = [];
    client.on('message', (_topic, _payload, packet) => packets.push(packet));
    await client.subscribeAsync(filter, { qos: 1 });
    return packets;
  }

  async bindQueue(exchange: string, key: string): Promise<string> {
    const { queue } = await this.amqp.assertQueue('', { exclusive: true });
    await this.amqp.bindQueue(queue, exchange, key);
    return queue;
  }

  /** The next message of the queue. */
  async get(queue: string): Promise<GetMessage> {
    let message: GetMessage | false = false;
    await until('a message in the queue', async () => {
      message = await this.amqp.get(queue, { noAck: true });
      return message !== false;
    });
    return message as unknown as GetMessage;
  }

  async consume(queue: string): Promise<ConsumeMessage[]> {
    const messages: ConsumeMessage[] = [];
    await this.amqp.consume(queue, (message) => message !== null && messages.push(message), { noAck: true });
    return messages;
  }

  /** The records of a topic from its beginning on. */
  async readTopic(topic: string): Promise<KafkaMessage[]> {
    const consumer = this.#kafka.consumer({ groupId: fresh('reader'), maxWaitTimeInMs: 100 });
    this.#endings.push(() => consumer.disconnect());
    const records: KafkaMessage[] = [];
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({ eachMessage: async ({ message }) => void records.push(message) });
    return records;
  }

  async ensureTopic(topic: string): Promise<void> {
    const admin = this.#kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] });
    await admin.disconnect();
  }
}

/** Header values as text; kafkajs gives them as bytes. */
export function textHeaders(headers: IHeaders | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name, String(value)]));
}

export async function first<Each>(list: readonly Each[], what: string): Promise<Each> {
  await until(what, () => list.length > 0);
  return list[0] as Each;
}
