/** A gateway that stops lets each client acknowledge what it was sent, and acknowledges what it took, before it says so. */
import type { IPublishPacket } from 'mqtt-packet';
import { expect, it } from 'vitest';
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
