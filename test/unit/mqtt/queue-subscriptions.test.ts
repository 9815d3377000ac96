/** Queue subscriptions on a connection: modes, refusals, settlement, quota shared with the session, resumption, rights. */
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { accessOf } from '../../support/doors.ts';
import { type ConnectOptions, type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

const joining = (group: string, more: Record<string, string> = {}) => ({
  properties: { userProperties: { 'consumer-group': group, ...more } },
});

async function worker(world: MqttWorld, group: string, connect: ConnectOptions = {}): Promise<TestClient> {
  const client = await world.connected({ version: 5, clientId: `c${Math.random()}`, ...connect });
  expect(granted(await client.subscribe('$queue/orders/#', 1, joining(group)))).toEqual([1]);
  return client;
}

async function send(world: MqttWorld, ...bodies: string[]): Promise<void> {
  const client = await world.connected({ version: 5, clientId: 'sender' });
  for (const body of bodies) await client.publish('$queue/orders', body, { qos: 0 });
  client.drop();
}

const granted = (packets: readonly Packet[]): unknown[] =>
  packets.flatMap((packet) => (packet.cmd === 'suback' ? packet.granted : []));

const messagesIn = (packets: readonly Packet[]): IPublishPacket[] =>
  packets.filter((packet) => packet.cmd === 'publish') as IPublishPacket[];

const bodiesIn = (packets: readonly Packet[]): string[] =>
  messagesIn(packets).map(({ payload }) => payload.toString());

const acknowledge = (client: TestClient, { messageId, qos }: IPublishPacket): void =>
  client.write({ cmd: qos === 2 ? 'pubrec' : 'puback', messageId } as Packet);

async function settle(
  client: TestClient,
  how: string,
  messageId: string,
  group = 'workers',
): Promise<Record<string, unknown>> {
  const packets = await client.publish(`$queue/orders/${how}`, '', {
    qos: 1,
    messageId: 77,
    properties: { userProperties: { 'message-id': messageId, 'group-id': group } },
  });
  return packets.find(({ cmd }) => cmd === 'puback') as unknown as Record<string, unknown>;
}

const orders = (world: MqttWorld) => world.core.queues.get('orders')!;
const pendingIn = (world: MqttWorld): number[] =>
  [...orders(world).groups].map((group) => group.unsettledCount);

describe('a queue subscription', () => {
  it('with a consumer group is settled by publishing to control topics, from any connection', async () => {
    const world = await openMqttWorld();
    const client = await worker(world, 'workers');
    await send(world, 'a', 'b', 'c');
    const messages = messagesIn(await client.read());
    expect(messages.map(({ properties }) => properties?.userProperties)).toMatchObject([
      {
        'message-id': 'orders:0',
        'group-id': 'workers',
        queue: 'orders',
        offset: '0',
        'delivery-attempt': '1',
      },
      { 'message-id': 'orders:1' },
      { 'message-id': 'orders:2' },
    ]);
    for (const message of messages) acknowledge(client, message);
    expect(pendingIn(world)).toEqual([3]);
    const third = await world.connected({ version: 5, clientId: 'third' });
    expect(await settle(third, '$ack', 'orders:0')).toMatchObject({ cmd: 'puback', reasonCode: 0 });
    expect(pendingIn(world)).toEqual([2]);
    expect(await settle(third, '$nack', '1')).toMatchObject({ reasonCode: 0 });
    const [again] = messagesIn(await client.read());
    expect(again?.properties?.userProperties).toMatchObject({
      'message-id': 'orders:1',
      'delivery-attempt': '2',
    });
    expect(await settle(third, '$reject', 'orders:2', 'workers')).toMatchObject({ reasonCode: 0 });
    expect(pendingIn(world)).toEqual([1]);
    expect(world.core.queues.get('$dlq/orders')?.readyCount).toBe(1);
  });

  it('tells why a settlement settles nothing', async () => {
    const world = await openMqttWorld();
    const client = await worker(world, 'workers');
    await send(world, 'a');
    await client.read();
    const refusals: [how: string, id: string, code: number, text: RegExp][] = [
      ['$ack', 'orders:9', 0x83, /not pending/],
      ['$ack', 'others:0', 0x83, /not of queue/],
      ['$ack', 'orders:x', 0x83, /<queue>:<offset>/],
      ['$ack/0', 'orders:0', 0x90, /./],
    ];
    for (const [how, id, reasonCode, text] of refusals) {
      const answer = await settle(client, how, id);
      expect(answer).toMatchObject({ cmd: 'puback', reasonCode });
      expect((answer.properties as { reasonString: string }).reasonString).toMatch(text);
    }
    expect(await settle(client, '$ack', 'orders:0', 'others')).toMatchObject({ reasonCode: 0x83 });
    expect(await settle(client, '$ack', 'orders:0', '')).toMatchObject({ reasonCode: 0 });
    expect(orders(world).readyCount).toBe(0);
  });

  it('is settled by the acknowledgement of the packet where the client asks for that or can do no more', async () => {
    const world = await openMqttWorld();
    const asking = await world.connected({ version: 5, clientId: 'asking' });
    await asking.subscribe('$queue/orders/#', 1, joining('askers', { ack: 'puback' }));
    const old = await world.connected({ version: 4, clientId: 'old-1' });
    await old.subscribe('$q/orders', 2);
    await send(world, 'a');
    for (const client of [asking, old]) {
      const [message] = messagesIn(await client.read());
      expect(message?.topic).toBe('$queue/orders');
      acknowledge(client, message as IPublishPacket);
      await client.read();
    }
    expect([...orders(world).groups].map((group) => [group.id, group.unsettledCount])).toEqual([
      ['askers', 0],
      ['old', 0],
    ]);
  });

  it('without a group is one of the consumers of the queue under its own name', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    expect(granted(await client.subscribe('$queue/orders', 1))).toEqual([1]);
    expect([...orders(world).groups]).toEqual([]);
    expect(orders(world).consumerCount).toBe(1);
    await send(world, 'a');
    const [message] = messagesIn(await client.read());
    expect(message?.properties?.userProperties).toMatchObject({ queue: 'orders', 'delivery-attempt': '1' });
    acknowledge(client, message as IPublishPacket);
    expect(orders(world).unsettledCount).toBe(0);
  });

  it('is refused for what it cannot be', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5 });
    const codes = async (filter: string, qos: 0 | 1, options = {}) =>
      granted(await client.subscribe(filter, qos, options));
    expect(await codes('$queue/orders/#', 0)).toEqual([0x83]);
    expect(await codes('$queue/orders/#', 0, joining('g', { ack: 'puback' }))).toEqual([0x83]);
    expect(await codes('$queue/orders/#', 0, joining('g'))).toEqual([0]);
    for (const filter of [
      '$queue',
      '$queue/',
      '$queue/+/x',
      '$queue/#',
      '$queue/orders/$ack',
      '$queue/a/#/b',
    ]) {
      expect(await codes(filter, 1, joining('g'))).toEqual([0x8f]);
    }
    expect(await codes('$queue/orders/#', 1, joining('a@b'))).toEqual([0x8f]);
    const old = await world.connected({ version: 4, clientId: 'old' });
    expect(granted(await old.subscribe('$queue/orders/#', 0))).toEqual([0x80]);
    client.write({
      cmd: 'unsubscribe',
      messageId: 9,
      unsubscriptions: ['$q/orders/#', '$queue/orders/#'],
    } as Packet);
    expect(await client.read()).toMatchObject([{ cmd: 'unsuback', granted: [0, 0x11] }]);
    expect(orders(world).consumerCount).toBe(0);
  });

  it('gives a worker no more than it may hold, and the others the rest', async () => {
    const world = await openMqttWorld({ mqttLimits: { queueUnsettledMax: 3 } });
    await send(world, ...Array.from({ length: 8 }, (_, i) => String(i)));
    const [one, two] = [await worker(world, 'workers'), await worker(world, 'workers')];
    expect(bodiesIn(await one.read())).toEqual([]);
    expect(pendingIn(world)).toEqual([6]);
    expect(await settle(one, '$ack', 'orders:0')).toMatchObject({ reasonCode: 0 });
    expect(pendingIn(world)).toEqual([6]);
    for (let i = 1; i < 8; i++) await settle(two, '$ack', `orders:${i}`);
    expect(pendingIn(world)).toEqual([0]);
  });

  it('hands everything to others when its connection ends', async () => {
    const world = await openMqttWorld();
    const one = await worker(world, 'workers');
    await send(world, 'a', 'b');
    expect(bodiesIn(await one.read())).toEqual(['a', 'b']);
    const two = await worker(world, 'workers');
    one.drop();
    const again = messagesIn(await two.read());
    expect(again.map(({ payload, dup }) => [payload.toString(), dup])).toEqual([
      ['a', false],
      ['b', false],
    ]);
  });

  it('survives with its session', async () => {
    const world = await openMqttWorld();
    const connect = { clientId: 'keeper', clean: false, properties: { sessionExpiryInterval: 600 } };
    const before = await worker(world, 'workers', connect);
    before.drop();
    await send(world, 'a');
    const again = await world.connected({ version: 5, ...connect });
    expect(bodiesIn(await again.read())).toEqual(['a']);
    again.drop();
    await world.clock.turn();
    const storage = world.storage.afterCrash();
    const restarted = await openMqttWorld({ storage });
    const third = await restarted.connected({ version: 5, ...connect });
    expect(bodiesIn(await third.read())).toEqual(['a']);
    expect(await settle(third, '$ack', 'orders:0')).toMatchObject({ reasonCode: 0 });
    third.write({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['$queue/orders/#'] } as Packet);
    await third.read();
    third.drop();
    const last = await restarted.connected({ version: 5, ...connect });
    await send(restarted, 'b');
    expect(await last.read()).toEqual([]);
  });

  it('asks for rights: to subscribe and read, to make the queue, and still to read when rules change', async () => {
    const denied = new Set<string>();
    const access = accessOf((_principal, action, target) => !denied.has(`${action} ${target}`));
    const world = await openMqttWorld({ access });
    const client = await world.connected({ version: 5, clientId: 'c' });
    const codes = async () => granted(await client.subscribe('$queue/orders/#', 1, joining('workers')));
    for (const right of ['subscribe $queue/orders/#', 'read $queue/orders', 'configure $queue/orders']) {
      denied.add(right);
      expect(await codes()).toEqual([0x87]);
      denied.clear();
    }
    expect(await codes()).toEqual([1]);
    await send(world, 'a');
    expect(bodiesIn(await client.read())).toEqual(['a']);
    denied.add('read $queue/orders');
    expect(await settle(client, '$ack', 'orders:0')).toMatchObject({ reasonCode: 0x87 });
  });
});

describe('a connection with a session and a queue subscription', () => {
  for (const receiveMaximum of [1, 2, 5, 100]) {
    it(`gives both their share of a receive maximum of ${receiveMaximum}, and no identifier twice`, async () => {
      const world = await openMqttWorld();
      const client = await worker(world, 'workers', { properties: { receiveMaximum } });
      await client.subscribe('plain', 1);
      const sender = await world.connected({ version: 5, clientId: 'sender' });
      for (let i = 0; i < 60; i++) {
        await sender.publish('plain', `plain-${i}`, { qos: 1, messageId: 1 });
        await sender.publish('$queue/orders', `queue-${i}`, { qos: 1, messageId: 1 });
      }
      const unacknowledged: IPublishPacket[] = [];
      const seen: string[] = [];
      for (let round = 0; round < 200 && seen.length < 120; round++) {
        unacknowledged.push(...messagesIn(await client.read()));
        expect(unacknowledged.length).toBeLessThanOrEqual(receiveMaximum);
        expect(new Set(unacknowledged.map(({ messageId }) => messageId)).size).toBe(unacknowledged.length);
        const next = unacknowledged.shift();
        if (next === undefined) break;
        seen.push(next.payload.toString());
        acknowledge(client, next);
      }
      const of = (kind: string) => seen.filter((body) => body.startsWith(kind));
      expect(of('plain')).toEqual(Array.from({ length: 60 }, (_, i) => `plain-${i}`));
      expect(of('queue')).toEqual(Array.from({ length: 60 }, (_, i) => `queue-${i}`));
      // Neither waited for the other to be done.
      const first = seen.slice(0, 60);
      for (const kind of ['plain', 'queue']) {
        expect(first.filter((body) => body.startsWith(kind)).length).toBeGreaterThanOrEqual(10);
      }
    });
  }

  it('parks what the transport has no room for, and sends it in order when there is some', async () => {
    const world = await openMqttWorld();
    const client = await worker(world, 'workers');
    client.transport.pendingBytes = 1e9;
    await send(world, ...Array.from({ length: 20 }, (_, i) => String(i)));
    expect(await client.read()).toEqual([]);
    client.transport.pendingBytes = 0;
    client.handler.drained();
    expect(bodiesIn(await client.read())).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  });

  it('QoS 2: settled with PUBREC, released once, across connections', async () => {
    const world = await openMqttWorld();
    const connect = { version: 4, clientId: 'two', clean: false } as const;
    const client = await world.connected(connect);
    await client.subscribe('$queue/orders/#', 2);
    await send(world, 'a');
    const [message] = messagesIn(await client.read());
    expect(message?.qos).toBe(2);
    acknowledge(client, message as IPublishPacket);
    expect((await client.read()).map(({ cmd }) => cmd)).toEqual(['pubrel']);
    expect(pendingIn(world)).toEqual([0]);
    client.drop();
    const again = await world.connected(connect);
    expect((await again.read()).map(({ cmd }) => cmd)).toEqual(['pubrel']);
  });

  it('a message that is too large for one worker goes to another', async () => {
    const world = await openMqttWorld();
    const small = await worker(world, 'workers', { properties: { maximumPacketSize: 250 } });
    const large = await worker(world, 'workers');
    await send(world, 'x'.repeat(500), 'y', 'z'.repeat(500));
    expect(bodiesIn(await large.read()).filter((body) => body.length === 500).length).toBe(2);
    expect(bodiesIn(await small.read()).every((body) => body === 'y')).toBe(true);
  });
});
