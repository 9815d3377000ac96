/** Queue and stream subscriptions when something changes under them: stored before they are answered, repeated, deleted. */
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { MANY, Pattern } from '../../../src/core/index.ts';
import { accessOf } from '../../support/doors.ts';
import { type ConnectOptions, type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

const joining = (group: string, more: Record<string, string> = {}) => ({
  properties: { userProperties: { 'consumer-group': group, ...more } },
});

const KEPT = { clean: false, properties: { sessionExpiryInterval: 600 } };

async function worker(world: MqttWorld, connect: ConnectOptions = {}): Promise<TestClient> {
  const client = await world.connected({ version: 5, clientId: `c${Math.random()}`, ...connect });
  await client.subscribe('$queue/orders/#', 1, joining('workers'));
  return client;
}

async function send(world: MqttWorld, topic: string, ...bodies: string[]): Promise<void> {
  const client = await world.connected({ version: 5, clientId: 'sender' });
  for (const body of bodies) await client.publish(topic, body, { qos: 0 });
  client.drop();
  await world.clock.turn();
}

const bodiesIn = (packets: readonly Packet[]): string[] =>
  packets.flatMap((packet) => (packet.cmd === 'publish' ? [packet.payload.toString()] : []));

const declareReadings = (world: MqttWorld, partitions = 1) =>
  world.core.streams.declare({
    name: 'readings',
    partitions,
    captures: [new Pattern(['readings', MANY])],
    log: { segmentBytes: 1 << 20, retentionBytes: -1, retentionMs: -1 },
    settings: {},
  });

it('a new queue and group are on disk before SUBACK, also for a session that is not', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ version: 5, clientId: 'c' });
  world.storage.holdCommits = true;
  expect(await client.subscribe('$queue/orders/#', 1, joining('workers'))).toEqual([]);
  world.storage.holdCommits = false;
  world.storage.finishCommits();
  expect(await client.read()).toMatchObject([{ cmd: 'suback', granted: [1] }]);
  const restarted = await openMqttWorld({ storage: world.storage.afterCrash() });
  expect([...restarted.core.queues.get('orders')!.groups].map(({ id }) => id)).toEqual(['workers']);
});

it('subscribing again to the same brings nothing twice, and takes up what is new in it', async () => {
  const world = await openMqttWorld();
  const client = await worker(world);
  await send(world, '$queue/orders', 'a', 'b');
  expect(bodiesIn(await client.read())).toEqual(['a', 'b']);
  expect(await client.subscribe('$queue/orders/#', 1, joining('workers'))).toMatchObject([{ granted: [1] }]);
  expect(bodiesIn(await client.read())).toEqual([]);
  expect([...world.core.queues.get('orders')!.groups].map((group) => group.consumerCount)).toEqual([1]);
  const changed = await client.subscribe('$queue/orders/#', 1, joining('workers', { ack: 'puback' }));
  expect(bodiesIn(changed)).toEqual(['a', 'b']);
  expect([...world.core.queues.get('orders')!.groups].map((group) => group.consumerCount)).toEqual([1]);
});

for (const what of ['queue', 'group']) {
  it(`a worker is disconnected when its ${what} is deleted, and is a member of a new one when it comes back`, async () => {
    const world = await openMqttWorld();
    const old = await world.connected({ version: 4, clientId: 'workers-1' });
    await old.subscribe('$queue/orders/#', 1);
    const client = await worker(world, { ...KEPT, clientId: 'keeper' });
    await send(world, '$queue/orders', 'a');
    await client.read();
    if (what === 'queue') world.core.queues.delete('orders', { ifUnused: false, ifEmpty: false });
    else world.core.queues.get('orders')!.removeGroup('workers');
    const [told] = await client.read();
    expect(told).toMatchObject({ cmd: 'disconnect', reasonCode: 0x98 });
    expect((told as { properties?: { reasonString?: string } }).properties?.reasonString).toMatch(/orders/);
    expect([client.ended?.reason, old.ended?.reason]).toEqual(['administrative', 'administrative']);
    const again = await world.connected({ version: 5, ...KEPT, clientId: 'keeper' });
    await send(world, '$queue/orders', 'b');
    expect(bodiesIn(await again.read())).toEqual(['b']);
  });
}

it('a reader is disconnected when its stream is deleted', async () => {
  const world = await openMqttWorld();
  await declareReadings(world);
  const client = await world.connected({ version: 5, clientId: 'c' });
  await client.subscribe('$stream/readings', 1);
  world.core.streams.delete('readings');
  expect(await client.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x98 }]);
});

it('what comes right behind a SUBSCRIBE is not missed in any partition', async () => {
  const world = await openMqttWorld();
  await declareReadings(world, 8);
  const client = await world.connected({ version: 5, clientId: 'c' });
  client.write({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [{ topic: '$stream/readings', qos: 1, nl: false, rap: false, rh: 0 }],
  } as Packet);
  const bodies = Array.from({ length: 40 }, (_, i) => String(i));
  for (const body of bodies) {
    client.write({ cmd: 'publish', topic: `readings/${body}`, payload: body, qos: 0 } as Packet);
  }
  const seen: string[] = [];
  for (let i = 0; i < 10; i++) seen.push(...bodiesIn(await client.read()));
  expect(seen.sort()).toEqual([...bodies].sort());
});

it('a message that is too large for the only worker does not go round and round', async () => {
  const world = await openMqttWorld({ limits: { deliveryAttemptsMax: 0 } });
  const small = await worker(world, { properties: { maximumPacketSize: 250 } });
  await send(world, '$queue/orders', 'x'.repeat(500), 'y');
  expect(bodiesIn(await small.read())).toEqual(['y']);
  const dropped = world.core.counters.dropped;
  for (let i = 0; i < 20; i++) await small.read();
  expect(world.core.counters.dropped).toBe(dropped);
  const large = await worker(world);
  world.clock.advance(2_000);
  expect(bodiesIn(await large.read())).toEqual(['x'.repeat(500)]);
});

it('a will goes to a queue that it makes, and settles nothing', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({
    version: 5,
    clientId: 'c',
    will: { topic: '$q/orders/eu', payload: Buffer.from('gone'), qos: 1, retain: false },
  });
  client.drop();
  expect(world.core.queues.get('orders')?.readyCount).toBe(1);
  const refused = world.client();
  const will = { topic: '$queue/orders/$ack', payload: Buffer.from(''), qos: 1, retain: false };
  expect(await refused.connect({ version: 5, clientId: 'd', will })).toMatchObject({ reasonCode: 0x90 });
});

it('a publish below a reserved root that means nothing there is refused', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ version: 5, clientId: 'c' });
  for (const topic of [
    '$s/readings',
    '$queue',
    '$queue/',
    '$queue//x',
    '$delayed/1/$queue/orders/$ack',
    '$delayed/1/$queue',
  ]) {
    const [answer] = await client.publish(topic, 'x', { qos: 1, messageId: 1 });
    expect(answer, topic).toMatchObject({ cmd: 'puback', reasonCode: 0x90 });
  }
});

it('a worker that may not read any more keeps nothing, and is back when it subscribes again', async () => {
  const mayRead = new Set(['']);
  const access = accessOf((principal, action) => action !== 'read' || mayRead.has(principal.user));
  const world = await openMqttWorld({ access });
  const client = await worker(world);
  mayRead.clear();
  await send(world, '$queue/orders', 'a');
  expect(bodiesIn(await client.read())).toEqual([]);
  expect([...world.core.queues.get('orders')!.groups].map((group) => group.readyCount)).toEqual([1]);
  mayRead.add('');
  // Subscribing again is what brings it back.
  expect(bodiesIn(await client.subscribe('$queue/orders/#', 1, joining('workers')))).toEqual(['a']);
});

it('the message expiry interval that a worker sees is what is left of it', async () => {
  const world = await openMqttWorld();
  const sender = await world.connected({ version: 5, clientId: 'sender' });
  const properties = { messageExpiryInterval: 100 };
  await sender.publish('$queue/orders', 'a', { qos: 1, messageId: 1, properties });
  world.clock.advance(40_000);
  const client = await world.connected({ version: 5, clientId: 'w' });
  const packets = await client.subscribe('$queue/orders/#', 1, joining('workers'));
  const message = packets.find(({ cmd }) => cmd === 'publish') as IPublishPacket;
  expect(message.properties?.messageExpiryInterval).toBe(60);
});
