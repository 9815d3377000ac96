/** Kafka clients ask and answer by record headers: kafkajs with mqtt.js and amqplib. */

import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { amqp, ask, atEnd, closeClients, mqtt, poll, serveMqtt } from './request-clients.ts';

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ settings: { 'kafka.groupInitialDelayMs': 10 } });
});
afterEach(() => closeClients());
afterAll(() => gateway.stop());

describe('Kafka', () => {
  function kafka(): Kafka {
    const brokers = [`127.0.0.1:${gateway.ports.kafka}`];
    return new Kafka({ clientId: 'test', brokers, logLevel: logLevel.NOTHING, retry: { retries: 3 } });
  }

  it('a consumer answers by a record to the topic that the header reply-to names', async () => {
    const admin = kafka().admin();
    await admin.connect();
    atEnd(() => admin.disconnect());
    await admin.createTopics({ topics: [{ topic: 'questions' }] });
    const consumer = kafka().consumer({ groupId: 'answering', maxWaitTimeInMs: 100 });
    const producer = kafka().producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await Promise.all([consumer.connect(), producer.connect()]);
    atEnd(
      () => producer.disconnect(),
      () => consumer.disconnect(),
    );
    await consumer.subscribe({ topic: 'questions', fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        const { 'reply-to': topic, 'correlation-id': correlation } = message.headers ?? {};
        await producer.send({
          topic: `${topic}`,
          messages: [
            { value: `answer to ${message.value}`, headers: { 'correlation-id': correlation as Buffer } },
          ],
        });
      },
    });
    const requester = await mqtt(gateway, 'requester', 'clients/k/replies');
    const correlation = Buffer.from([0, 255, 7]);
    await ask(requester, 'questions', '42', 'clients/k/replies', correlation);
    await expect.poll(() => requester.heard, { timeout: 10_000 }).toHaveLength(1);
    expect(requester.heard[0]).toMatchObject({ topic: 'clients/k/replies', body: 'answer to 42' });
    expect(requester.heard[0]?.properties.correlationData).toEqual(correlation);

    const { channel } = await amqp(gateway, 'requester');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.publish('questions', '', Buffer.from('43'), { replyTo: queue, correlationId: 'c1' });
    const answer = await poll(() => channel.get(queue, { noAck: true }), 10_000);
    expect([answer.content.toString(), answer.properties.correlationId]).toEqual(['answer to 43', 'c1']);
  });

  it('makes no topic of the addresses that answers of others go to', async () => {
    const admin = kafka().admin();
    await admin.connect();
    atEnd(() => admin.disconnect());
    const made = admin.createTopics({ topics: [{ topic: '-x24reply.AAAA' }] });
    await expect(made).rejects.toThrow();
    expect(await admin.listTopics()).not.toContain('-x24reply.AAAA');
  });

  it('a producer’s reply-to is a topic of its own: an MQTT and an AMQP server answer there', async () => {
    const admin = kafka().admin();
    const producer = kafka().producer({ createPartitioner: Partitioners.DefaultPartitioner });
    const consumer = kafka().consumer({ groupId: 'asking', maxWaitTimeInMs: 100 });
    await Promise.all([admin.connect(), producer.connect(), consumer.connect()]);
    atEnd(
      () => admin.disconnect(),
      () => producer.disconnect(),
      () => consumer.disconnect(),
    );
    await admin.createTopics({ topics: [{ topic: 'kafka.answers' }, { topic: 'rpc.kafka' }] });
    await serveMqtt(gateway, 'responder', 'rpc/kafka');
    const { channel } = await amqp(gateway, 'server');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'rpc', 'kafka');
    await channel.consume(
      queue,
      (msg) => {
        if (msg === null) return;
        channel.sendToQueue(msg.properties.replyTo, Buffer.from(`amqp to ${msg.content}`), {
          correlationId: msg.properties.correlationId,
        });
      },
      { noAck: true },
    );
    const answers: string[] = [];
    await consumer.subscribe({ topic: 'kafka.answers', fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        const correlation = message.headers?.['correlation-id'] as Buffer;
        answers.push(`${correlation.toString('hex')} ${message.value}`);
      },
    });
    await producer.send({
      topic: 'rpc.kafka',
      messages: [
        { value: '1', headers: { 'reply-to': 'kafka.answers', 'correlation-id': Buffer.from([255, 0]) } },
      ],
    });
    await expect
      .poll(() => answers.sort(), { timeout: 10_000 })
      .toEqual(['ff00 amqp to 1', 'ff00 answer to 1']);
  });
});
