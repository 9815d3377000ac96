/** A gateway that stops reads on what clients settle, though publishers be held back and answers wait to be read. */
import { beforeEach, expect, test } from 'vitest';
import { encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import { contentHeader } from '../../conformance/amqp091/raw-client.ts';
import { messageTo, openTestCore, queueSpec, type TestCore } from '../../support/core.ts';
import { OfflineClient, settled } from './offline-client.ts';

let world: TestCore;
let client: OfflineClient;
let isSettled: boolean;

beforeEach(async () => {
  world = await openTestCore({ limits: { heldBytesMax: 100_000 } });
  client = new OfflineClient(world);
  await client.open();
  isSettled = false;
});

async function fill(name: string, count: number): Promise<void> {
  await world.core.queues.declare(queueSpec({ name }));
  const publisher = world.core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested() {},
  });
  for (let i = 0; i < count; i++) publisher.publish(messageTo(`$queue/${name}`, 'x'.repeat(100)), null, 0);
  publisher.close();
}

const settle = (): void =>
  client.handler.settle?.(() => {
    isSettled = true;
  });

const acknowledge = (): void => client.send(1, 'basic.ack', { deliveryTag: 1, multiple: true });

/** A client that has not settled a message asks for more than it reads while the gateway stops: it is not read any more. */
async function stopWithUnreadAnswers(): Promise<void> {
  await fill('q', 1);
  await fill('other', 100);
  client.consume(1, 'q', false);
  await settled();
  client.transport.pendingBytes = 0;
  settle();
  const get = encodeMethod(2, 'basic.get', { ticket: 0, queue: 'other', noAck: true });
  client.handler.received(Buffer.concat(Array.from({ length: 12 }, () => get)));
  for (let i = 0; i < 20; i++) await settled();
  expect(client.transport.paused).toBe(true);
}

test('what is settled is read though memory runs short', async () => {
  await fill('q', 1);
  client.consume(1, 'q', false);
  await settled();
  client.send(1, 'basic.publish', {
    ticket: 0,
    exchange: 'nowhere',
    routingKey: 'k',
    mandatory: false,
    immediate: false,
  });
  client.handler.received(contentHeader(1, 0));
  for (const name of ['a', 'b', 'c', 'd', 'e']) await fill(name, 100);
  expect(client.transport.paused).toBe(true);
  settle();
  expect([isSettled, client.transport.paused]).toEqual([false, false]);
  acknowledge();
  expect([isSettled, client.transport.paused]).toEqual([true, true]);
});

test('it is read again when the client has read its answers, and is sent nothing new', async () => {
  await stopWithUnreadAnswers();
  await fill('q', 1);
  for (let i = 0; i < 12; i++) {
    client.drain();
    for (let j = 0; j < 20; j++) await settled();
  }
  expect(client.transport.count('basic.get-ok 2')).toBe(12);
  expect(client.transport.count('basic.deliver 1')).toBe(1);
  expect([isSettled, client.transport.paused]).toEqual([false, false]);
  acknowledge();
  expect([isSettled, client.transport.paused]).toEqual([true, true]);
  client.drain();
  expect(client.transport.paused).toBe(true);
});

test('also where the socket took them before anybody looked', async () => {
  await stopWithUnreadAnswers();
  client.transport.pendingBytes = 0;
  await world.clock.turn();
  expect(client.transport.count('basic.get-ok 2')).toBe(12);
});
