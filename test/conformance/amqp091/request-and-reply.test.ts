import amqp, { type ChannelModel, type ConsumeMessage } from 'amqplib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Message } from '../../../src/core/index.ts';
import { type Broker, startBroker } from './broker.ts';

let broker: Broker;
let requester: ChannelModel;
let responder: ChannelModel;

beforeAll(async () => {
  broker = await startBroker();
});
afterAll(async () => {
  await broker.close();
  expect(broker.errors).toEqual([]);
});
beforeEach(async () => {
  requester = await amqp.connect(broker.url);
  responder = await amqp.connect(broker.url);
});
afterEach(async () => {
  await requester.close();
  await responder.close();
});

/** Answers every request that comes to the queue. */
async function answer(queue: string): Promise<ConsumeMessage[]> {
  const requests: ConsumeMessage[] = [];
  const channel = await responder.createChannel();
  await channel.assertQueue(queue, { autoDelete: true });
  await channel.consume(
    queue,
    (request) => {
      if (request === null) return;
      requests.push(request);
      channel.sendToQueue(request.properties.replyTo, Buffer.from(`answer to ${request.content}`), {
        correlationId: request.properties.correlationId,
      });
    },
    { noAck: true },
  );
  return requests;
}

describe('direct reply-to', () => {
  test('answers come without a queue of one’s own', async () => {
    const requests = await answer('rpc');
    const channel = await requester.createChannel();
    const answers: ConsumeMessage[] = [];
    await channel.consume('amq.rabbitmq.reply-to', (message) => message !== null && answers.push(message), {
      noAck: true,
    });
    for (const n of ['1', '2']) {
      channel.sendToQueue('rpc', Buffer.from(n), {
        replyTo: 'amq.rabbitmq.reply-to',
        correlationId: `c${n}`,
      });
    }
    await expect.poll(() => answers.length).toBe(2);
    expect(answers.map((message) => `${message.properties.correlationId} ${message.content}`)).toEqual([
      'c1 answer to 1',
      'c2 answer to 2',
    ]);
    const name = requests[0]?.properties.replyTo as string;
    expect(name).toMatch(/^amq\.rabbitmq\.reply-to\.[\w-]{22}$/);
    const asking = await responder.createChannel();
    const there = { queue: name, messageCount: 0, consumerCount: 1 };
    expect(await asking.checkQueue(name)).toEqual(there);
    // RabbitMQ: there is no way to make it, so declaring it is asking for it.
    expect(await asking.assertQueue(name)).toEqual(there);
    expect(await asking.checkQueue('amq.rabbitmq.reply-to')).toMatchObject({ consumerCount: 1 });
    await channel.close();
    await expect.poll(() => broker.core.queues.get(name)).toBeUndefined();
    const closed = new Promise<Error>((resolve) => asking.once('error', resolve));
    await asking.assertQueue(name).catch(() => {});
    expect((await closed).message).toContain(`NOT_FOUND - no queue '${name}'`);
  });

  test.each([['with acknowledgements', 'reply consumer cannot acknowledge', { noAck: false }]])(
    '%s it is refused',
    async (_what, text, options) => {
      const channel = await requester.createChannel();
      const closed = new Promise<Error>((resolve) => channel.once('error', resolve));
      await channel.consume('amq.rabbitmq.reply-to', () => {}, options).catch(() => {});
      expect((await closed).message).toContain(`PRECONDITION_FAILED - ${text}`);
    },
  );

  test('a channel has one consumer of answers at a time', async () => {
    const channel = await requester.createChannel();
    const { consumerTag } = await channel.consume('amq.rabbitmq.reply-to', () => {}, { noAck: true });
    await channel.cancel(consumerTag);
    await channel.consume('amq.rabbitmq.reply-to', () => {}, { noAck: true });
    const closed = new Promise<Error>((resolve) => channel.once('error', resolve));
    await channel.consume('amq.rabbitmq.reply-to', () => {}, { noAck: true }).catch(() => {});
    expect((await closed).message).toContain('PRECONDITION_FAILED - reply consumer already set');
  });

  test('an answer to a requester that is gone is returned to whoever wants to know', async () => {
    const requests = await answer('rpc-gone');
    const channel = await requester.createChannel();
    await channel.consume('amq.rabbitmq.reply-to', () => {}, { noAck: true });
    channel.sendToQueue('rpc-gone', Buffer.from('1'), { replyTo: 'amq.rabbitmq.reply-to' });
    await expect.poll(() => requests.length).toBe(1);
    await channel.close();
    const server = await responder.createChannel();
    const returned: string[] = [];
    server.on('return', ({ fields }) => returned.push(fields.routingKey));
    const name = requests[0]?.properties.replyTo as string;
    await expect.poll(() => broker.core.queues.get(name)).toBeUndefined();
    server.sendToQueue(name, Buffer.from('late'), { mandatory: true });
    await expect.poll(() => returned).toEqual([name]);
  });

  test('a request without a consumer for its answer is refused', async () => {
    const channel = await requester.createChannel();
    const closed = new Promise<Error>((resolve) => channel.once('error', resolve));
    channel.sendToQueue('rpc', Buffer.from('x'), { replyTo: 'amq.rabbitmq.reply-to' });
    expect((await closed).message).toContain('PRECONDITION_FAILED - fast reply consumer does not exist');
  });
});

describe('requests of other protocols', () => {
  test('an answer to the default exchange arrives at the address that the request named', async () => {
    await answer('rpc-foreign');
    const channel = await requester.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'amq.topic', 'clients.7.answers');
    const publisher = broker.core.openPublisher({
      principal: { user: 'other', groups: [], clientId: '' },
      congested() {},
    });
    publisher.publish(
      new Message({
        address: '$queue/rpc-foreign',
        body: Buffer.from('q'),
        properties: {
          replyTo: 'clients/7/answers',
          correlation: { kind: 'bytes', value: Buffer.from([0, 255]) },
          headers: [],
        },
      }),
      null,
      0,
    );
    await expect.poll(async () => (await channel.checkQueue(queue)).messageCount).toBe(1);
    const message = await channel.get(queue, { noAck: true });
    expect(message === false ? '' : message.content.toString()).toBe('answer to q');
    publisher.close();
  });
});
