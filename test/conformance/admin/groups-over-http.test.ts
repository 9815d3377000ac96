/** Groups that read streams over HTTP: how far they are behind, and moved while nobody is in them. */

import { type Consumer, Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

let gateway: GatewayInProcess;
beforeAll(async () => {
  gateway = await GatewayInProcess.start(['kafka.groupInitialDelayMs=0']);
  await gateway.call('PUT', '/v1/streams/readings', {});
});
afterAll(() => gateway.remove());

const publish = (body: string): Promise<unknown> => gateway.call('POST', '/v1/messages/readings', { body });

/** A member of `plant` that keeps what it reads. */
async function join(): Promise<{ readonly consumer: Consumer; readonly read: string[] }> {
  const brokers = [`127.0.0.1:${gateway.port('kafka')}`];
  const consumer = new Kafka({ clientId: 'reader', brokers, logLevel: logLevel.NOTHING }).consumer({
    groupId: 'plant',
    maxWaitTimeInMs: 100,
  });
  onTestFinished(() => consumer.disconnect());
  const read: string[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic: 'readings', fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      read.push(message.value!.toString());
    },
  });
  return { consumer, read };
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(done()).toBe(true);
}

test('a group is shown with its members, its positions and its lag, and moved once its members have gone', async () => {
  for (const body of ['0', '1', '2']) await publish(body);
  const { consumer, read } = await join();
  await until(() => read.length === 3);
  await consumer.commitOffsets([{ topic: 'readings', partition: 0, offset: '3' }]);
  await publish('3');
  await until(() => read.length === 4);
  expect(await gateway.get('/v1/groups/plant')).toMatchObject({
    status: 200,
    body: { name: 'plant', memberCount: 1, members: [{ clientId: 'reader', address: expect.any(String) }] },
  });
  expect(await gateway.call('POST', '/v1/groups/plant/reset', { to: 'earliest' })).toMatchObject({
    status: 409,
    body: { detail: 'group plant has 1 members; stop them first' },
  });
  expect(await gateway.call('DELETE', '/v1/groups/plant')).toMatchObject({ status: 409 });

  await consumer.disconnect();
  await publish('4');
  const { body } = await gateway.get('/v1/groups');
  expect(body).toMatchObject({ items: [{ name: 'plant', memberCount: 0 }], next: null });
  const [position] = ((await gateway.get('/v1/groups/plant')).body as { positions: { lag: number }[] })
    .positions;
  expect(position).toMatchObject({ stream: 'readings', partition: 0, endOffset: 5 });

  const tried = await gateway.call('POST', '/v1/groups/plant/reset?dryRun=true', { offset: 1 });
  expect(tried).toMatchObject({
    status: 200,
    body: { positions: [{ offset: 1, lag: 4, committedAt: null }] },
  });
  expect(await gateway.get('/v1/groups/plant')).toMatchObject({ body: { positions: [position] } });

  expect(await gateway.call('POST', '/v1/groups/plant/reset', { offset: 2 })).toMatchObject({
    status: 200,
    body: { positions: [{ stream: 'readings', offset: 2, lag: 3 }] },
  });
  const again = await join();
  await until(() => again.read.length === 3);
  expect(again.read).toEqual(['2', '3', '4']);
  await again.consumer.disconnect();
  expect(await gateway.call('DELETE', '/v1/groups/plant')).toMatchObject({ status: 204 });
  expect(await gateway.get('/v1/groups/plant')).toMatchObject({ status: 404 });
}, 30_000);

test('a group is made ready at the end, at the start or at a time', async () => {
  const reset = (body: object) =>
    gateway.call('POST', '/v1/groups/fresh/reset', { stream: 'readings', ...body });
  const offsetOf = ({ body }: { readonly body: object }): unknown =>
    (body as { positions: { offset: number }[] }).positions[0]?.offset;
  expect(offsetOf(await reset({ to: 'latest' }))).toBe(5);
  expect(offsetOf(await reset({ to: 'earliest' }))).toBe(0);
  expect(offsetOf(await reset({ timeMs: 0 }))).toBe(0);
  expect(offsetOf(await reset({ timeMs: Date.now() + 60_000 }))).toBe(5);
  expect(await gateway.get('/v1/groups/fresh')).toMatchObject({ body: { lag: 0 } });
});

test.each([
  [{}, 400, ''],
  [{ to: 'earliest', offset: 1 }, 400, ''],
  [{ offset: 99, stream: 'readings' }, 400, '/offset'],
  [{ to: 'latest', stream: 'none' }, 409, '/stream'],
  [{ to: 'latest', stream: 'readings', partition: 7 }, 409, '/partition'],
  [{ to: 'latest', partition: 0 }, 400, '/stream'],
  [{ to: 'latest' }, 404, '/name'],
])('a reset to %j is refused with %i', async (body, status, pointer) => {
  expect(await gateway.call('POST', '/v1/groups/nobody/reset', body)).toMatchObject({
    status,
    body: { pointer },
  });
});
