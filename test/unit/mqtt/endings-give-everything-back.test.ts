/** However a connection ends, and whenever: nothing of it is left, and nothing of it can hold up the server. */
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import type { PublisherInfo } from '../../../src/core/index.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import { type MqttWorld, openMqttWorld } from './mqtt-world.ts';

const DURABLE_5 = {
  version: 5,
  clientId: 's',
  clean: false,
  properties: { sessionExpiryInterval: 100 },
} as const;

/** The publishers that are open. */
function watchPublishers(world: MqttWorld): Set<PublisherInfo> {
  const open = new Set<PublisherInfo>();
  const openPublisher = world.core.openPublisher.bind(world.core);
  world.core.openPublisher = (info) => {
    const publisher = openPublisher(info);
    open.add(info);
    return {
      publish: publisher.publish,
      close: () => {
        open.delete(info);
        publisher.close();
      },
    };
  };
  return open;
}

/** A storage that opens logs when the test says so. */
class SlowStorage extends MemoryStorage {
  opening: (() => void)[] | null = null;

  override async openRowLog(...args: Parameters<MemoryStorage['openRowLog']>) {
    if (this.opening !== null) await new Promise<void>((resolve) => this.opening?.push(resolve));
    return super.openRowLog(...args);
  }
}

describe('a connection that ends before CONNACK', () => {
  it('leaves no publisher, whether lost while its session is stored or refused for want of room', async () => {
    const world = await openMqttWorld();
    const publishers = watchPublishers(world);
    const storeds: (() => void)[] = [];
    const { whenStored } = world.core;
    world.core.whenStored = (done) => storeds.push(() => done(null));
    const lost = world.client();
    const connecting = lost.connect(DURABLE_5).catch(() => undefined);
    await world.clock.turn();
    expect(storeds).toHaveLength(1);
    lost.drop();
    for (const stored of storeds) stored();
    await connecting;
    world.core.whenStored = whenStored;
    await world.client().connect({ version: 5, clientId: 'small', properties: { maximumPacketSize: 10 } });
    expect(publishers.size).toBe(0);
    expect(world.core.sessions.get('s')?.attached).toBe(false);
  });

  it('is not accepted into a session that was deleted meanwhile', async () => {
    const world = await openMqttWorld();
    const storeds: (() => void)[] = [];
    world.core.whenStored = (done) => storeds.push(() => done(null));
    const client = world.client();
    const connecting = client.connect(DURABLE_5).catch(() => undefined);
    await world.clock.turn();
    world.core.sessions.end('s');
    for (const stored of storeds) stored();
    await connecting;
    expect(client.ended?.reason).toBe('administrative');
  });

  it('ends its session before the next client of its name has it', async () => {
    const storage = new SlowStorage();
    const world = await openMqttWorld({ storage });
    storage.opening = [];
    const first = world.client();
    const second = world.client();
    const third = world.client();
    const connects: Promise<unknown>[] = [];
    connects.push(first.connect(DURABLE_5).catch(() => undefined));
    await world.clock.turn();
    first.drop();
    connects.push(second.connect({ version: 5, clientId: 's', clean: false }).catch(() => undefined));
    await world.clock.turn();
    second.drop();
    connects.push(third.connect(DURABLE_5).catch(() => undefined));
    await world.clock.turn();
    const opening = storage.opening;
    storage.opening = null;
    for (const open of opening) open();
    await Promise.all(connects);
    for (let i = 0; i < 5; i++) await world.clock.turn();
    expect(third.ended).toBeNull();
    expect(world.core.sessions.get('s')?.attached).toBe(true);
  });
});

it('a delayed will goes with a session that an operator deletes', async () => {
  const world = await openMqttWorld();
  const watcher = await world.connected({ clientId: 'watcher' });
  await watcher.subscribe('will');
  const properties = { willDelayInterval: 50 };
  await world.connected({
    ...DURABLE_5,
    will: { topic: 'will', payload: Buffer.from('gone'), qos: 0, retain: false, properties },
  });
  world.core.sessions.end('s');
  expect(await watcher.read()).toMatchObject([{ payload: Buffer.from('gone') }]);
});

it('a will goes only where a client may publish', async () => {
  const world = await openMqttWorld();
  for (const topic of ['$share/g/t', '$stream/s', '$delayed/1/t', 'a/'.repeat(128)]) {
    const will = { topic, payload: Buffer.from('x'), qos: 0, retain: false };
    expect(await world.client().connect({ version: 5, will }), topic).toMatchObject({ reasonCode: 0x90 });
  }
});

it('a client that completes nothing gets nothing when all identifiers wait for it, and holds up nobody', async () => {
  const world = await openMqttWorld();
  const client = await world.connected(DURABLE_5);
  await client.subscribe('t', 1);
  client.drop();
  const session = world.core.sessions.get('s');
  for (let id = 1; id <= 65_535; id++) session?.putState(`r${id}`, new Uint8Array(4));
  const publisher = await world.connected({ clientId: 'p' });
  await publisher.publish('t', 'x', { qos: 1, messageId: 1 });
  const again = await world.connected(DURABLE_5);
  const released = await again.read();
  expect(released.filter(({ cmd }) => cmd === 'publish')).toEqual([]);
  again.write({ cmd: 'pubcomp', messageId: 77 });
  expect(await again.read()).toMatchObject([{ cmd: 'publish', messageId: 77 }]);
});

it('[MQTT-4.9.0-1] what an earlier connection left counts nothing towards the Receive Maximum', async () => {
  const world = await openMqttWorld({ mqttLimits: { receiveMaximum: 2 } });
  const client = await world.connected(DURABLE_5);
  await client.publish('t', '1', { qos: 2, messageId: 1 });
  await client.publish('t', '2', { qos: 2, messageId: 2 });
  client.drop();
  const again = await world.connected(DURABLE_5);
  await again.publish('t', '3', { qos: 2, messageId: 3 });
  await again.publish('t', '4', { qos: 2, messageId: 4 });
  expect(again.ended).toBeNull();
  again.write({ cmd: 'pubrel', messageId: 1 } as Packet);
  await again.publish('t', '5', { qos: 2, messageId: 5 });
  expect(again.ended?.detail).toContain('unacknowledged');
});

it('a PUBREC that cannot be stored ends the connection instead of waiting for ever', async () => {
  const storage = new MemoryStorage();
  const world = await openMqttWorld({ storage });
  const client = await world.connected(DURABLE_5);
  await client.subscribe('t', 2);
  const publisher = await world.connected({ clientId: 'p' });
  await publisher.publish('t', 'x', { qos: 2, messageId: 1 });
  const [packet] = (await client.read()) as IPublishPacket[];
  storage.commit = (done) => setImmediate(() => done(new Error('disk full')));
  client.write({ cmd: 'pubrec', messageId: packet?.messageId as number });
  await client.readBytes();
  await client.readBytes();
  expect(client.ended?.reason).toBe('internal-error');
});

it('time in which the gateway did not read does not count as silence', async () => {
  const world = await openMqttWorld();
  const publishers = watchPublishers(world);
  const client = await world.connected({ keepalive: 10 });
  await client.publish('t', 'x');
  const [info] = publishers;
  info?.congested(true);
  world.clock.advance(29_000);
  info?.congested(false);
  world.clock.advance(1_500);
  expect(client.ended).toBeNull();
  // Read only now, though it was sent long before.
  client.writeBytes('c000');
  world.clock.advance(10_000);
  expect(client.ended).toBeNull();
  info?.congested(true);
  info?.congested(false);
  world.clock.advance(10_000);
  expect(client.ended?.reason).toBe('keep-alive-timeout');
});
