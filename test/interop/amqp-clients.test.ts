/** Confirms, prefetch, requeue and channel errors with amqplib and pika. */
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, pause, python, run, waitFor } from './programs.ts';

describeWith(['python'], 'pika', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  it('confirms, returns, prefetch, requeue and a missing queue', async () => {
    const lines = await run(python('pika-reliability.py', gateway.ports.amqp));
    expect(lines).toEqual(['confirmed 5', 'returned 1', 'prefetch 2', 'requeued 1', 'ok']);
  });
});

describeWith([], 'amqplib', () => {
  let gateway: Gateway;
  let connection: ChannelModel;
  let channel: ConfirmChannel;
  const open = async (): Promise<void> => {
    connection = await connect(`amqp://guest:guest@127.0.0.1:${gateway.ports.amqp}`);
    connection.on('error', () => {}); // the gateway is restarted under it
    channel = await connection.createConfirmChannel();
  };
  beforeAll(async () => {
    gateway = await startGateway();
    await open();
  });
  afterAll(async () => {
    await connection.close();
    await gateway.stop();
  });

  it('confirms each persistent message, and a restart loses none', async () => {
    await channel.assertQueue('durable', { durable: true });
    for (let number = 0; number < 500; number++) {
      channel.sendToQueue('durable', Buffer.from(String(number)), { persistent: true });
    }
    await channel.waitForConfirms();
    await connection.close();
    await gateway.restart();
    await open();
    const received: number[] = [];
    const { consumerTag } = await channel.consume('durable', (message) => {
      received.push(Number(message!.content.toString()));
      channel.ack(message!);
    });
    await waitFor('all messages', () => received.length >= 500);
    await channel.cancel(consumerTag);
    expect(received).toEqual(Array.from({ length: 500 }, (_, number) => number));
    await channel.deleteQueue('durable');
  });

  it('keeps to the prefetch count, and requeues in order', async () => {
    await channel.assertQueue('prefetch', { durable: true });
    for (let number = 0; number < 10; number++) channel.sendToQueue('prefetch', Buffer.from(String(number)));
    await channel.waitForConfirms();
    const reader = await connection.createChannel();
    await reader.prefetch(3);
    const received: { readonly body: string; readonly redelivered: boolean }[] = [];
    await reader.consume('prefetch', (message) => {
      received.push({ body: message!.content.toString(), redelivered: message!.fields.redelivered });
    });
    await waitFor('three messages', () => received.length >= 3);
    await pause(200);
    expect(received.map(({ body }) => body)).toEqual(['0', '1', '2']);
    await reader.close(); // what it held goes back to the front
    const second = await connection.createChannel();
    const rest: typeof received = [];
    await second.consume('prefetch', (message) => {
      rest.push({ body: message!.content.toString(), redelivered: message!.fields.redelivered });
      second.ack(message!);
    });
    await waitFor('all ten', () => rest.length >= 10);
    expect(rest.map(({ body }) => Number(body))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(rest.map(({ redelivered }) => redelivered)).toEqual([true, true, true, ...Array(7).fill(false)]);
    await second.close();
    await channel.deleteQueue('prefetch');
  });

  it('exchanges of each type route as declared', async () => {
    const routes: [type: string, binding: string, matching: string, other: string][] = [
      ['direct', 'red', 'red', 'blue'],
      ['topic', 'a.*.c', 'a.b.c', 'a.b.d'],
      ['fanout', '', 'anything', ''],
    ];
    for (const [type, binding, matching, other] of routes) {
      await channel.assertExchange(`x-${type}`, type, { durable: true });
      const { queue } = await channel.assertQueue('', { exclusive: true });
      await channel.bindQueue(queue, `x-${type}`, binding);
      channel.publish(`x-${type}`, matching, Buffer.from('yes'));
      if (other !== '') channel.publish(`x-${type}`, other, Buffer.from('no'));
      await channel.waitForConfirms();
      const message = await channel.get(queue, { noAck: true });
      expect(message ? message.content.toString() : null, type).toBe('yes');
      expect(await channel.get(queue, { noAck: true }), type).toBe(false);
      await channel.deleteQueue(queue);
      await channel.deleteExchange(`x-${type}`);
    }
  });

  it('a passive declaration of a missing queue closes the channel with 404, not the connection', async () => {
    const other = await connection.createChannel();
    other.on('error', () => {});
    await expect(other.checkQueue('no-such-queue')).rejects.toThrow(/404/);
    await channel.assertQueue('still-alive', { exclusive: true });
  });
});
