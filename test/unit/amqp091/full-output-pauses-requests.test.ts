import { beforeEach, expect, test } from 'vitest';
import { encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import { contentHeader, frame } from '../../conformance/amqp091/raw-client.ts';
import { messageTo, openTestCore, queueSpec, type TestCore } from '../../support/core.ts';
import { OfflineClient, settled } from './offline-client.ts';

let test_: TestCore;
let client: OfflineClient;

beforeEach(async () => {
  test_ = await openTestCore({ limits: { heldBytesMax: 100_000 } });
  client = new OfflineClient(test_);
  await client.open();
});

async function fill(name: string): Promise<void> {
  await test_.core.queues.declare(queueSpec({ name }));
  const publisher = test_.core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested() {},
  });
  for (let i = 0; i < 100; i++) publisher.publish(messageTo(`$queue/${name}`, 'x'.repeat(100)), null, 0);
  publisher.close();
}

test('a client that does not read what is returned to it is not read either', () => {
  const publish = Buffer.concat([
    encodeMethod(1, 'basic.publish', {
      ticket: 0,
      exchange: 'nowhere',
      routingKey: 'k',
      mandatory: true,
      immediate: false,
    }),
    contentHeader(1, 100),
    frame(3, 1, Buffer.alloc(100)),
  ]);
  client.handler.received(Buffer.concat(Array.from({ length: 50 }, () => publish)));
  const first = client.transport.count('basic.return 1');
  expect(first).toBeGreaterThan(1);
  expect(first).toBeLessThan(20);
  expect(client.transport.paused).toBe(true);
  client.drain();
  expect(client.transport.count('basic.return 1')).toBe(2 * first);
  for (let i = 0; i < 50; i++) client.drain();
  expect(client.transport.count('basic.return 1')).toBe(50);
  expect(client.transport.paused).toBe(false);
});

test('nor one that gets messages and does not read them', async () => {
  await fill('q');
  const get = encodeMethod(1, 'basic.get', { ticket: 0, queue: 'q', noAck: true });
  client.handler.received(Buffer.concat(Array.from({ length: 50 }, () => get)));
  for (let i = 0; i < 50; i++) await settled();
  const first = client.transport.count('basic.get-ok 1');
  expect(first).toBeGreaterThan(1);
  expect(first).toBeLessThan(20);
  for (let i = 0; i < 50; i++) {
    client.drain();
    for (let j = 0; j < 20; j++) await settled();
  }
  expect(client.transport.count('basic.get-ok 1')).toBe(50);
  expect(client.transport.paused).toBe(false);
});

test('when it is told to go its answer is read all the same', async () => {
  await fill('q');
  const get = encodeMethod(1, 'basic.get', { ticket: 0, queue: 'q', noAck: true });
  client.handler.received(Buffer.concat(Array.from({ length: 50 }, () => get)));
  for (let i = 0; i < 50; i++) await settled();
  expect(client.transport.paused).toBe(true);
  client.handler.disconnect('administrative');
  expect(client.transport.paused).toBe(false);
  expect(client.transport.methods.at(-1)).toBe('connection.close 0');
});

test('a connection that closes is read though memory runs short', async () => {
  client.send(1, 'basic.publish', {
    ticket: 0,
    exchange: 'nowhere',
    routingKey: 'k',
    mandatory: false,
    immediate: false,
  });
  client.handler.received(contentHeader(1, 0));
  client.handler.disconnect('administrative');
  for (const name of ['a', 'b', 'c', 'd', 'e']) await fill(name);
  expect(client.transport.paused).toBe(false);
});

test.each([
  ['channels', 2],
  ['consumers of a channel', 1],
])('a full output is shared among %s', async (_who, secondChannel) => {
  await fill('one');
  await fill('two');
  client.consume(1, 'one', true);
  client.consume(secondChannel, 'two', true);
  await settled();
  const left = () => [
    test_.core.queues.get('one')?.readyCount ?? 0,
    test_.core.queues.get('two')?.readyCount ?? 0,
  ];
  client.drain();
  client.drain();
  const [one, two] = left();
  expect(one).toBeLessThan(100);
  expect(two).toBeLessThan(100);
});

test('room under a shared prefetch goes to each consumer in turn', async () => {
  await fill('one');
  await fill('two');
  client.send(1, 'basic.qos', { prefetchSize: 0, prefetchCount: 1, global: true });
  client.consume(1, 'one', false);
  client.consume(1, 'two', false);
  for (let tag = 1; tag <= 6; tag++) {
    client.transport.pendingBytes = 0;
    client.send(1, 'basic.ack', { deliveryTag: tag, multiple: false });
  }
  expect(test_.core.queues.get('two')?.readyCount).toBeLessThan(98);
  expect(test_.core.queues.get('one')?.readyCount).toBeLessThan(98);
});
