/** A gateway that stops lets each client acknowledge what it was sent, and acknowledges what it took, before it says so. */
import type { IPublishPacket } from 'mqtt-packet';
import { expect, it } from 'vitest';
import type { ConnectionEvents } from '../../../adapters/mqtt/state/client.ts';
import type { ConnectionHandler } from '../../../src/host.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import { openMqttWorld } from './mqtt-world.ts';

it('sends nothing new, waits for the acknowledgement, and keeps the rest for the next connection', async () => {
  const world = await openMqttWorld();
  const properties = { sessionExpiryInterval: 100 };
  const reader = await world.connected({ version: 5, clientId: 'reader', clean: false, properties });
  const writer = await world.connected({ version: 5, clientId: 'writer' });
  await reader.subscribe('t', 1);
  await writer.publish('t', 'first', { qos: 1, messageId: 1 });
  const [first] = (await reader.read()) as IPublishPacket[];
  expect(first?.payload.toString()).toBe('first');

  let isSettled = false;
  reader.handler.settle?.(() => {
    isSettled = true;
  });
  await writer.publish('t', 'second', { qos: 1, messageId: 2 });
  expect(await reader.read()).toEqual([]);
  expect(isSettled).toBe(false);
  reader.write({ cmd: 'puback', messageId: first!.messageId!, reasonCode: 0 });
  expect(isSettled).toBe(true);
  expect(reader.transport.paused).toBe(true);
  reader.handler.disconnect('shutting-down');
  expect(await reader.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }]);

  const again = await world.connected({ version: 5, clientId: 'reader', clean: false, properties });
  const came = (await again.read()) as IPublishPacket[];
  expect(came.map(({ payload, dup }) => [payload.toString(), dup])).toEqual([['second', false]]);
});

it('acknowledges what it took before it is settled', async () => {
  const storage = new MemoryStorage();
  const world = await openMqttWorld({ storage });
  const reader = await world.connected({
    version: 5,
    clientId: 'reader',
    clean: false,
    properties: { sessionExpiryInterval: 100 },
  });
  await reader.subscribe('t', 1);
  reader.drop();
  const writer = await world.connected({ version: 5, clientId: 'writer' });
  writer.write({
    cmd: 'publish',
    topic: 't',
    payload: 'x',
    qos: 1,
    messageId: 7,
    dup: false,
    retain: false,
  });
  let written: readonly number[] | null = null;
  writer.handler.settle?.(() => {
    written = [...writer.transport.take()];
  });
  expect(written).toBe(null);
  expect(writer.transport.paused).toBe(true);
  await world.clock.turn();
  await world.clock.advance(100);
  // PUBACK of packet 7.
  expect(written).toEqual([0x40, 2, 0, 7]);
});

it('is settled at once where nothing is under way, also before CONNECT', async () => {
  const world = await openMqttWorld();
  let settledCount = 0;
  const done = (): void => {
    settledCount++;
  };
  world.client().handler.settle?.(done);
  (await world.connected({ version: 4 })).handler.settle?.(done);
  expect(settledCount).toBe(2);
});

it('waits for what is settled by publishing, whoever publishes it, and reads that', async () => {
  const world = await openMqttWorld();
  const worker = await world.connected({ version: 5, clientId: 'worker' });
  const group = { properties: { userProperties: { 'consumer-group': 'workers' } } };
  await worker.subscribe('$queue/orders/#', 1, group);
  const other = await world.connected({ version: 5, clientId: 'other' });
  for (const body of ['a', 'b']) await other.publish('$queue/orders', body);
  const messages = (await worker.read()) as IPublishPacket[];
  expect(messages).toHaveLength(2);
  for (const { messageId } of messages) worker.write({ cmd: 'puback', messageId: messageId!, reasonCode: 0 });

  let isSettled = false;
  worker.handler.settle?.(() => {
    isSettled = true;
  });
  const settlementOf = (messageId: string) => ({
    properties: { userProperties: { 'message-id': messageId, 'group-id': 'workers' } },
  });
  expect(worker.transport.paused).toBe(false);
  await worker.publish('$queue/orders/$ack', '', settlementOf('orders:0'));
  await other.publish('$queue/orders', 'c');
  expect(isSettled).toBe(false);
  await other.publish('$queue/orders/$ack', '', settlementOf('orders:1'));
  expect(isSettled).toBe(true);
  expect(worker.transport.paused).toBe(true);
  expect(await worker.read()).toEqual([]);
  worker.handler.disconnect('shutting-down');
  const [left] = world.core.queues.get('orders')!.groups;
  expect([left?.unsettledCount, left?.readyCount]).toEqual([0, 1]);
});

it('reads the acknowledgement of who is not read otherwise, because memory runs short', async () => {
  const world = await openMqttWorld();
  const reader = await world.connected({ version: 5, clientId: 'reader' });
  await reader.subscribe('t', 1);
  const writer = await world.connected({ version: 5, clientId: 'writer' });
  await writer.publish('t', 'first', { qos: 1, messageId: 1 });
  const [first] = (await reader.read()) as IPublishPacket[];
  const handler = reader.handler as ConnectionHandler & ConnectionEvents;
  handler.congested(true);
  expect(reader.transport.paused).toBe(true);
  let isSettled = false;
  handler.settle?.(() => {
    isSettled = true;
  });
  expect(reader.transport.paused).toBe(false);
  handler.congested(true);
  expect(reader.transport.paused).toBe(false);
  reader.write({ cmd: 'puback', messageId: first!.messageId!, reasonCode: 0 });
  expect([isSettled, reader.transport.paused]).toEqual([true, true]);
});
