import amqp from 'amqplib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Broker, startBroker } from './broker.ts';
import { RawClient } from './raw-client.ts';

let broker: Broker;

beforeAll(async () => {
  broker = await startBroker();
});
afterAll(async () => {
  await broker.close();
  expect(broker.errors).toEqual([]);
});

test.each(['channel', 'connection'])(
  'what a %s held when it closed goes once to who waits for it',
  async (what) => {
    const holder = await amqp.connect(broker.url);
    const waiting = await amqp.connect(broker.url);
    const first = await holder.createChannel();
    const second = await waiting.createChannel();
    const queue = `handed-over-by-${what}`;
    await first.assertQueue(queue);
    const held: string[] = [];
    await first.consume(queue, (message) => message !== null && held.push(message.content.toString()));
    for (const text of ['a', 'b', 'c']) first.sendToQueue(queue, Buffer.from(text));
    await expect.poll(() => held).toEqual(['a', 'b', 'c']);
    const seen: string[] = [];
    await second.consume(queue, (message) => message !== null && seen.push(message.content.toString()));
    if (what === 'channel') await first.close();
    else await holder.close();
    await expect.poll(() => seen.length).toBeGreaterThanOrEqual(3);
    await second.checkQueue(queue);
    expect(seen).toEqual(['a', 'b', 'c']);
    if (what === 'channel') await holder.close();
    await waiting.close();
  },
);

test('closes that cross each other are both answered, and the connection goes on', async () => {
  const client = new RawClient(broker.port);
  await client.open();
  client.send(1, 'basic.ack', { deliveryTag: 5, multiple: false });
  client.send(1, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 });
  expect(await client.next('channel.close')).toMatchObject({ replyCode: 406 });
  await client.next('channel.close-ok');
  client.send(1, 'channel.close-ok', {});
  client.send(1, 'channel.open', { outOfBand: '' });
  await client.next('channel.open-ok');
  expect(client.received).toEqual([]);
  client.end();
});
