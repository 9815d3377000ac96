import amqp, { type ChannelModel, type ConsumeMessage } from 'amqplib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Broker, startBroker } from './broker.ts';
import { RawClient } from './raw-client.ts';

let broker: Broker;
let client: ChannelModel;

beforeAll(async () => {
  broker = await startBroker();
});
afterAll(async () => {
  await broker.close();
  expect(broker.errors).toEqual([]);
});
beforeEach(async () => {
  client = await amqp.connect(broker.url);
});
afterEach(() => client.close());

/** Waits until `count` messages were consumed. */
function collect(count: number): {
  readonly messages: ConsumeMessage[];
  readonly done: Promise<void>;
  take(message: ConsumeMessage | null): void;
} {
  const messages: ConsumeMessage[] = [];
  let finish = () => {};
  const done = new Promise<void>((resolve) => {
    finish = resolve;
  });
  return {
    messages,
    done,
    take(message) {
      if (message === null) return;
      messages.push(message);
      if (messages.length === count) finish();
    },
  };
}

const texts = (messages: readonly ConsumeMessage[]) => messages.map((message) => message.content.toString());

describe('publishing', () => {
  test('all properties and header types arrive as they were sent', async () => {
    const channel = await client.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const headers = {
      text: 'x',
      bool: true,
      byte: -1,
      short: 300,
      int: 100_000,
      long: 2 ** 40,
      double: 1.5,
      none: null,
      bytes: Buffer.from([0, 255]),
      list: [1, 'a', { deep: [true] }],
      map: { inner: { n: 1 } },
    };
    const properties = {
      contentType: 'text/plain',
      contentEncoding: 'identity',
      headers,
      deliveryMode: 2,
      priority: 3,
      correlationId: 'c',
      replyTo: 'r',
      expiration: '60000',
      messageId: 'm',
      timestamp: 1_700_000_000,
      type: 't',
      userId: 'guest',
      appId: 'a',
    };
    channel.sendToQueue(queue, Buffer.from('body'), properties);
    await channel.waitForConfirms();
    const message = await channel.get(queue, { noAck: true });
    expect(message).not.toBe(false);
    if (message === false) return;
    expect(message.properties).toMatchObject(properties);
    expect(message.fields).toMatchObject({ exchange: '', routingKey: queue, redelivered: false });
    expect(message.content.toString()).toBe('body');
  });

  test('bodies of every size come whole, also in many frames', async () => {
    const small = await amqp.connect(`${broker.url}?frameMax=4096`);
    const channel = await small.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const sizes = [0, 1, 4087, 4088, 4089, 8176, 8177, 100_000, 1_000_000];
    const bodies = sizes.map((size) => Buffer.alloc(size, size % 251));
    for (const body of bodies) channel.sendToQueue(queue, body);
    await channel.waitForConfirms();
    const seen = collect(sizes.length);
    await channel.consume(queue, seen.take, { noAck: true });
    await seen.done;
    expect(
      seen.messages.map((message) =>
        message.content.equals(bodies[sizes.indexOf(message.content.length)] as Buffer),
      ),
    ).toEqual(sizes.map(() => true));
    expect(seen.messages.map((message) => message.content.length)).toEqual(sizes);
    await small.close();
  });

  test('an exchange that nobody declared is the subtree of its name', async () => {
    const channel = await client.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'orders', 'eu.*');
    channel.publish('orders', 'eu.new', Buffer.from('1'));
    channel.publish('orders', 'us.new', Buffer.from('2'));
    channel.publish('amq.topic', 'orders.eu.old', Buffer.from('3'));
    await channel.waitForConfirms();
    const seen = collect(2);
    await channel.consume(queue, seen.take, { noAck: true });
    await seen.done;
    expect(texts(seen.messages)).toEqual(['1', '3']);
    expect(seen.messages.map(({ fields }) => [fields.exchange, fields.routingKey])).toEqual([
      ['orders', 'eu.new'],
      ['amq.topic', 'orders.eu.old'],
    ]);
  });

  test('an unroutable mandatory message comes back before its confirm', async () => {
    const channel = await client.createConfirmChannel();
    const events: string[] = [];
    channel.on('return', (message) => {
      const fields = message.fields as unknown as Readonly<Record<string, string | number>>;
      events.push(
        `${fields.replyCode} ${fields.replyText} ${fields.exchange} ${fields.routingKey} ${message.content}`,
      );
    });
    channel.publish('nobody', 'here', Buffer.from('x'), { mandatory: true }, () => events.push('confirmed'));
    channel.publish('nobody', 'here', Buffer.from('y'), {}, () => events.push('confirmed'));
    await channel.waitForConfirms();
    expect(events).toEqual(['312 NO_ROUTE nobody here x', 'confirmed', 'confirmed']);
  });

  test('thousands of confirms come, each once', async () => {
    const channel = await client.createConfirmChannel();
    const { queue } = await channel.assertQueue('confirmed', { durable: true });
    let confirmed = 0;
    for (let i = 0; i < 3000; i++) {
      channel.sendToQueue(queue, Buffer.from(String(i)), { persistent: i % 3 !== 0 }, (error) => {
        if (error === null) confirmed++;
      });
    }
    await channel.waitForConfirms();
    expect(confirmed).toBe(3000);
    expect((await channel.checkQueue(queue)).messageCount).toBe(3000);
    expect(await channel.purgeQueue(queue)).toEqual({ messageCount: 3000 });
    await channel.deleteQueue(queue);
  });

  test('a full queue that refuses answers nack, and the channel lives on', async () => {
    const channel = await client.createConfirmChannel();
    const { queue } = await channel.assertQueue('', {
      exclusive: true,
      arguments: { 'x-max-length': 2, 'x-overflow': 'reject-publish' },
    });
    const outcomes: string[] = [];
    for (let i = 0; i < 4; i++) {
      channel.sendToQueue(queue, Buffer.from('x'), {}, (error) =>
        outcomes.push(error === null ? 'ack' : 'nack'),
      );
    }
    await channel.waitForConfirms().catch(() => {});
    expect(outcomes).toEqual(['ack', 'ack', 'nack', 'nack']);
    expect((await channel.checkQueue(queue)).messageCount).toBe(2);
  });
});

describe('consuming', () => {
  test('prefetch bounds what is unacknowledged, for each consumer', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (let i = 0; i < 20; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
    await channel.prefetch(3);
    const seen = collect(3);
    await channel.consume(queue, seen.take);
    await seen.done;
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(texts(seen.messages)).toEqual(['0', '1', '2']);
    channel.ack(seen.messages[1] as ConsumeMessage, true);
    await expect.poll(() => seen.messages.length).toBe(5);
    expect(texts(seen.messages).slice(3)).toEqual(['3', '4']);
  });

  test('a global prefetch is shared by the consumers of the channel', async () => {
    const channel = await client.createChannel();
    const one = await channel.assertQueue('', { exclusive: true });
    const two = await channel.assertQueue('', { exclusive: true });
    for (let i = 0; i < 10; i++) {
      channel.sendToQueue(one.queue, Buffer.from(`one ${i}`));
      channel.sendToQueue(two.queue, Buffer.from(`two ${i}`));
    }
    await channel.prefetch(4, true);
    const seen: ConsumeMessage[] = [];
    await channel.consume(one.queue, (message) => message !== null && seen.push(message));
    await channel.consume(two.queue, (message) => message !== null && seen.push(message));
    await expect.poll(() => seen.length).toBe(4);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(seen.length).toBe(4);
    for (let acked = 0; acked < 20; acked++) {
      await expect.poll(() => seen.length).toBeGreaterThan(acked);
      expect(seen.length - acked).toBeLessThanOrEqual(4);
      channel.ack(seen[acked] as ConsumeMessage);
    }
    expect(new Set(texts(seen)).size).toBe(20);
  });

  test('a shared prefetch lets another consumer go on when one has room again, or has gone', async () => {
    const channel = await client.createChannel();
    const one = await channel.assertQueue('', { exclusive: true });
    const two = await channel.assertQueue('', { exclusive: true });
    const taken = await channel.assertQueue('', { exclusive: true });
    channel.sendToQueue(taken.queue, Buffer.from('not counted'));
    const got = await channel.get(taken.queue);
    await channel.prefetch(1);
    await channel.prefetch(1, true);
    const seen: ConsumeMessage[] = [];
    const take = (message: ConsumeMessage | null) => message !== null && seen.push(message);
    const first = await channel.consume(one.queue, take);
    await channel.consume(two.queue, take);
    channel.sendToQueue(one.queue, Buffer.from('one'));
    await expect.poll(() => seen.length).toBe(1);
    channel.sendToQueue(two.queue, Buffer.from('two'));
    await channel.checkQueue(two.queue);
    expect(seen.length).toBe(1);
    channel.ack(seen[0] as ConsumeMessage);
    await expect.poll(() => texts(seen)).toEqual(['one', 'two']);
    channel.sendToQueue(one.queue, Buffer.from('three'));
    channel.ack(seen[1] as ConsumeMessage);
    await expect.poll(() => seen.length).toBe(3);
    await channel.cancel(first.consumerTag);
    channel.sendToQueue(two.queue, Buffer.from('four'));
    await channel.checkQueue(two.queue);
    channel.ack(seen[2] as ConsumeMessage);
    await expect.poll(() => texts(seen)).toEqual(['one', 'two', 'three', 'four']);
    if (got !== false) channel.ack(got);
  });

  test('what is requeued comes again, marked, in its old place', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const text of ['a', 'b', 'c', 'd']) channel.sendToQueue(queue, Buffer.from(text));
    const taken: ConsumeMessage[] = [];
    for (let i = 0; i < 3; i++) taken.push((await channel.get(queue)) as unknown as ConsumeMessage);
    channel.nack(taken[1] as ConsumeMessage, false, true);
    channel.reject(taken[0] as ConsumeMessage, true);
    channel.ack(taken[2] as ConsumeMessage);
    const again: [text: string, redelivered: boolean][] = [];
    for (
      let message = await channel.get(queue, { noAck: true });
      message !== false;
      message = await channel.get(queue, { noAck: true })
    ) {
      again.push([message.content.toString(), message.fields.redelivered]);
    }
    expect(again).toEqual([
      ['a', true],
      ['b', true],
      ['d', false],
    ]);
  });

  test('recover gives everything unacknowledged back', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.sendToQueue(queue, Buffer.from('a'));
    channel.sendToQueue(queue, Buffer.from('b'));
    const seen = collect(4);
    await channel.consume(queue, seen.take);
    await expect.poll(() => seen.messages.length).toBe(2);
    await channel.recover();
    await seen.done;
    expect(texts(seen.messages)).toEqual(['a', 'b', 'a', 'b']);
    expect(seen.messages.map((message) => message.fields.deliveryTag)).toEqual([1, 2, 3, 4]);
  });

  test('a channel that closes gives back what it held, in order', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const text of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(text));
    const other = await client.createChannel();
    const seen = collect(3);
    await other.consume(queue, seen.take);
    await seen.done;
    await other.close();
    const again: string[] = [];
    for (let i = 0; i < 3; i++) {
      const message = await channel.get(queue, { noAck: true });
      if (message !== false) again.push(`${message.content} ${message.fields.redelivered}`);
    }
    expect(again).toEqual(['a true', 'b true', 'c true']);
  });

  test('a cancelled consumer may still settle what it has', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.sendToQueue(queue, Buffer.from('a'));
    channel.sendToQueue(queue, Buffer.from('b'));
    const seen = collect(2);
    const { consumerTag } = await channel.consume(queue, seen.take);
    await seen.done;
    await channel.cancel(consumerTag);
    await channel.cancel('never there');
    expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 0, consumerCount: 0 });
    channel.ack(seen.messages[0] as ConsumeMessage);
    channel.nack(seen.messages[1] as ConsumeMessage);
    const back = await channel.get(queue, { noAck: true });
    expect(back === false ? null : back.content.toString()).toBe('b');
  });

  test('the client is told when its queue goes', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const cancelled = new Promise<null>((resolve) => {
      channel.consume(queue, (message) => message === null && resolve(message));
    });
    await channel.checkQueue(queue);
    await channel.deleteQueue(queue);
    expect(await cancelled).toBeNull();
  });

  test('consumers of higher priority come first while they have credit', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.prefetch(2);
    const got: string[] = [];
    const seen = collect(4);
    await channel.consume(queue, (message) => {
      got.push('low');
      seen.take(message);
    });
    await channel.consume(
      queue,
      (message) => {
        got.push('high');
        seen.take(message);
      },
      { priority: 5 },
    );
    for (let i = 0; i < 4; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
    await seen.done;
    expect(got).toEqual(['high', 'high', 'low', 'low']);
  });

  test('two consumers on one connection share a queue without duplicates', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const seen = collect(100);
    await channel.consume(queue, seen.take, { noAck: true });
    await channel.consume(queue, seen.take, { noAck: true });
    for (let i = 0; i < 100; i++) channel.sendToQueue(queue, Buffer.from(String(i)));
    await seen.done;
    expect(new Set(texts(seen.messages)).size).toBe(100);
    expect(new Set(seen.messages.map((message) => message.fields.consumerTag)).size).toBe(2);
  });

  test('a slow reader gets everything, and other connections go on meanwhile', async () => {
    const publisher = await client.createConfirmChannel();
    await publisher.assertQueue('slow');
    const slow = new RawClient(broker.port);
    await slow.open();
    slow.send(1, 'basic.consume', {
      ticket: 0,
      queue: 'slow',
      consumerTag: 'c',
      noLocal: false,
      noAck: true,
      exclusive: false,
      nowait: false,
      arguments: [],
    });
    await slow.next('basic.consume-ok');
    slow.socket.pause();
    const body = Buffer.alloc(100_000, 1);
    for (let i = 0; i < 400; i++) publisher.sendToQueue('slow', body);
    await publisher.waitForConfirms();
    expect(broker.core.queues.get('slow')?.readyCount).toBeGreaterThan(0);
    slow.socket.resume();
    await expect
      .poll(() => slow.received.filter((each) => each.name === 'basic.deliver').length, { timeout: 10_000 })
      .toBe(400);
    await publisher.deleteQueue('slow');
    slow.end();
  });
});

describe('an expiration of 0', () => {
  test('is delivered to who is ready, and else expires, but it has found its queue', async () => {
    const channel = await client.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const returned: unknown[] = [];
    channel.on('return', (message) => returned.push(message));
    const send = (text: string) =>
      channel.sendToQueue(queue, Buffer.from(text), { expiration: '0', mandatory: true });
    send('nobody is ready');
    await expect.poll(async () => (await channel.checkQueue(queue)).messageCount).toBe(0);
    const seen: string[] = [];
    await channel.consume(queue, (message) => message !== null && seen.push(message.content.toString()), {
      noAck: true,
    });
    send('somebody is ready');
    await expect.poll(() => seen).toEqual(['somebody is ready']);
    expect(returned).toEqual([]);
  });
});
