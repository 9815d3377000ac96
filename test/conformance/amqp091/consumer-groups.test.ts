/** Consumer groups with amqplib: copies, filters, time limits and dead letters of groups; what has no group is as ever. */
import { type ChannelModel, connect } from 'amqplib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

let gateway: TestGateway;
let connection: ChannelModel;

beforeEach(async () => {
  gateway = await startTestGateway({ settings: { 'limits.visibilityTimeoutMs': 300 } });
  connection = await connect(`amqp://127.0.0.1:${gateway.ports.amqp}`);
  connection.on('error', () => {});
});
afterEach(async () => {
  await connection.close();
  await gateway.stop();
});

async function until(check: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!check()) {
    if (Date.now() > deadline) throw new Error('waited for too long');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function consume(queue: string, group: string | null, how: 'ack' | 'keep' | 'reject' = 'ack') {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  const got: string[] = [];
  await channel.consume(
    queue,
    (message) => {
      if (message === null) return;
      got.push(message.content.toString());
      if (how === 'ack') channel.ack(message);
      else if (how === 'reject') channel.reject(message, false);
    },
    { arguments: group === null ? {} : { 'x-consumer-group': group } },
  );
  return { channel, got };
}

it('groups get copies, filters select, the queue under its own name is as ever', async () => {
  const publisher = await connection.createConfirmChannel();
  await publisher.assertQueue('orders', { durable: true });
  const all = await consume('orders', 'all');
  const eu = await consume('$queue/orders/eu/#', 'eu');
  const plain = await consume('orders', null);
  publisher.publish('', 'orders', Buffer.from('name'), { persistent: true });
  publisher.publish('', '$queue/orders/eu/new', Buffer.from('eu'));
  publisher.publish('', '$queue/orders/us', Buffer.from('us'));
  await publisher.waitForConfirms();
  await until(() => all.got.length === 3 && plain.got.length === 3 && eu.got.length === 1);
  expect([all.got, plain.got, eu.got]).toEqual([['name', 'eu', 'us'], ['name', 'eu', 'us'], ['eu']]);
});

it('a member that does not answer in time loses its message to another, and its late ack does nothing', async () => {
  const slow = await consume('$queue/work', 'g', 'keep');
  slow.channel.publish('', '$queue/work', Buffer.from('x'), { persistent: true });
  await until(() => slow.got.length === 1);
  const quick = await consume('$queue/work', 'g');
  await until(() => quick.got.length === 1);
  slow.channel.ackAll();
  await slow.channel.checkQueue('work');
  expect([...gateway.core.queues.get('work')!.groups].map((group) => group.unsettledCount)).toEqual([0]);
});

it('what a group rejects is a dead letter under its own root, with its history', async () => {
  const publisher = await connection.createConfirmChannel();
  await consume('$queue/work/#', 'g', 'reject');
  publisher.publish('', '$queue/work/a.b', Buffer.from('bad'), { persistent: true });
  await publisher.waitForConfirms();
  await until(() => gateway.core.queues.get('$dlq/work')?.readyCount === 1);
  const dead = await publisher.get('$dlq/work', { noAck: true });
  if (dead === false) throw new Error('no dead letter');
  expect(dead.content.toString()).toBe('bad');
  expect(dead.properties.headers?.['x-death']).toMatchObject([
    { queue: 'work', reason: 'rejected', count: 1, 'routing-keys': ['$queue/work/a.b'] },
  ]);
});

it('a filter without a group, and a queue that nobody made, are refused', async () => {
  await expect(consume('$queue/work/eu/#', null)).rejects.toThrow(/PRECONDITION_FAILED.*x-consumer-group/);
  await expect(consume('work', 'g')).rejects.toThrow(/NOT_FOUND/);
  const channel = await connection.createConfirmChannel();
  const returned = new Promise((resolve) => channel.once('return', resolve));
  channel.publish('', 'nobody', Buffer.from('x'), { mandatory: true });
  await returned;
  expect(gateway.core.queues.get('nobody')).toBeUndefined();
});
