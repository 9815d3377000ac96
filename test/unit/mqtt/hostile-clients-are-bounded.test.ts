/** What one client can make the gateway hold or do, and to whom: never more than a named bound, never to others. */

import type { IConnackPacket, IDisconnectPacket, IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { AliasesIn } from '../../../adapters/mqtt/state/aliases.ts';
import { ConnectRates } from '../../../adapters/mqtt/state/connect-rates.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { openMqttWorld } from './mqtt-world.ts';

const byName = authenticatorOf((credentials, { clientId }) => ({
  user: credentials.kind === 'password' ? credentials.user : '',
  groups: [],
  clientId,
}));

it.each([true, false])(
  'nobody has another user refused by its identifier (session kept: %s)',
  async (kept) => {
    const world = await openMqttWorld({
      authenticator: byName,
      mqttLimits: { connectsPerMinuteMax: 2, connectRefusedSeconds: 60 },
    });
    const connect = async (username: string): Promise<number | undefined> => {
      const client = world.client();
      const properties = { sessionExpiryInterval: kept ? 100 : 0 };
      const options = {
        version: 5,
        clientId: 'pump',
        clean: false,
        username,
        password: 'x',
        properties,
      } as const;
      const connack = (await client.connect(options)) as IConnackPacket;
      client.drop();
      return connack.reasonCode;
    };
    expect(await connect('ann')).toBe(0);
    for (let times = 0; times < 6; times++) await connect('mallory');
    expect(await connect('ann')).toBe(0);
    // Who connects too often is refused under its own name.
    expect(await connect('ann')).toBe(0);
    expect(await connect('ann')).toBe(0x9f);
  },
);

it('a name that a proof gives counts, not the one that is claimed', async () => {
  const world = await openMqttWorld({
    authenticator: authenticatorOf((_, { clientId }) => ({ user: 'real', groups: [], clientId })),
    mqttLimits: { connectsPerMinuteMax: 2, connectRefusedSeconds: 60 },
  });
  const codes: unknown[] = [];
  for (let times = 0; times < 4; times++) {
    const client = world.client();
    const options = { version: 5, clientId: 'c', username: `claimed-${times}`, password: 'x' } as const;
    codes.push(((await client.connect(options)) as IConnackPacket).reasonCode);
    client.drop();
  }
  expect(codes).toEqual([0, 0, 0, 0x9f]);
});

it('long identifiers of clients that connect too often take no room', () => {
  const clock = new ManualClock();
  const rates = new ConnectRates(clock, 1, 1_000);
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 2_000; i++) rates.count('u', `${i}`.padEnd(60_000, '\u{20ac}'));
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(60_000_000);
  rates.count('u', '7'.padEnd(60_000, '\u{20ac}'));
  expect(rates.isRefused('u', '7'.padEnd(60_000, '\u{20ac}'))).toBe(true);
  expect(rates.isRefused('u', '8'.padEnd(60_000, '\u{20ac}'))).toBe(false);
});

it('a connection that ends while it rests leaves no timer', async () => {
  const world = await openMqttWorld({ mqttLimits: { bytesPerSecondMax: 10 } });
  const timers = world.clock.timerCount;
  for (let times = 0; times < 5; times++) {
    const client = await world.connected({ version: 5, clientId: `c${times}` });
    await client.publish('t', 'x'.repeat(10_000));
    expect(client.transport.paused).toBe(true);
    client.drop();
  }
  expect(world.clock.timerCount).toBe(timers);
});

it('topic aliases hold bounded text', async () => {
  const world = await openMqttWorld({ mqttLimits: { topicAliasMaximum: 65_535 } });
  const client = await world.connected({ version: 5 });
  let answers: Packet[] = [];
  for (let alias = 1; alias <= 400 && client.ended === null; alias++) {
    answers = await client.publish(`${alias}`.padEnd(60_000, 'x'), '', { properties: { topicAlias: alias } });
  }
  expect(answers).toMatchObject([
    { cmd: 'disconnect', reasonCode: 0x97 },
  ] satisfies Partial<IDisconnectPacket>[]);
  expect(client.ended?.reason).toBe('limit-reached');
});

it('the same alias may change its long topic without end', () => {
  const aliases = new AliasesIn(1);
  const frame = { topicAlias: 1, topic: '', address: '' };
  for (let i = 0; i < 1_000; i++) {
    frame.topic = `${i}`.padEnd(60_000, 'x');
    aliases.resolve(frame as never);
  }
  frame.topic = '';
  aliases.resolve(frame as never);
  expect(frame.topic.slice(0, 4)).toBe('999x');
});

it('a redirection leaves out what passes the maximum packet size', async () => {
  const serverReference = `${'a'.repeat(500)}:1883`;
  const settings = { serverReference, redirect: 'always' } as const;
  const world = await openMqttWorld({ settings });
  const connack = async (maximumPacketSize: number): Promise<IConnackPacket> =>
    (await world.client().connect({ version: 5, properties: { maximumPacketSize } })) as IConnackPacket;
  expect((await connack(1_000)).properties?.serverReference).toBe(serverReference);
  const small = await connack(100);
  expect(small.reasonCode).toBe(0x9d);
  expect(small.properties?.serverReference).toBeUndefined();
  expect(small.length).toBeLessThanOrEqual(98);

  let isDraining = false;
  const draining = await openMqttWorld({ settings: { serverReference }, isDraining: () => isDraining });
  const client = await draining.connected({ version: 5, properties: { maximumPacketSize: 400 } });
  isDraining = true;
  client.handler.disconnect('shutting-down');
  expect(await client.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x9c }]);
});

it('asking for $SYS again and again does not walk all sessions each time', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ version: 5 });
  let walks = 0;
  const { sessions } = world.core;
  const list = sessions.list.bind(sessions);
  sessions.list = () => {
    walks++;
    return list();
  };
  for (let times = 0; times < 50; times++) await client.subscribe('$SYS/#');
  expect(walks).toBeLessThan(5);
  world.clock.advance(2_000);
  await world.connected({ version: 5, clientId: 'more' });
  const answers = (await client.subscribe('$SYS/broker/subscriptions/count')) as Packet[];
  expect(answers.map(({ cmd }) => cmd)).toEqual(['suback', 'publish']);
});

it('what a client asks wrongly is not logged as a fault of the gateway', async () => {
  const world = await openMqttWorld();
  const client = await world.connected({ version: 4 });
  await client.publish('$queue/jobs/$ack', '', { qos: 1, messageId: 1 });
  expect(client.ended?.reason).toBe('protocol-error');
});

it.each([1, 2] as const)(
  'a subscriber that acknowledges nothing does not hold up all publishers (QoS %i)',
  async (qos) => {
    const world = await openMqttWorld({
      limits: { heldBytesMax: 5_000_000, sessionQueueBytesMax: 2_500_000 },
      mqttLimits: { inflightBytesMax: 500_000 },
    });
    const deaf = await world.connected({
      version: 5,
      clientId: 'deaf',
      properties: { sessionExpiryInterval: 100 },
    });
    await deaf.subscribe('t', qos);
    const publisher = await world.connected({ version: 5, clientId: 'p' });
    let got: IPublishPacket[] = [];
    for (let i = 1; i <= 200; i++) {
      await publisher.publish('t', `${i}`.padEnd(10_000), { qos, messageId: i });
      if (qos === 2) publisher.write({ cmd: 'pubrel', messageId: i });
      got.push(...((await deaf.read()) as IPublishPacket[]));
    }
    expect(publisher.transport.paused).toBe(false);
    expect(got.length).toBeGreaterThan(49);
    expect(got.length).toBeLessThan(60);
    // It has lost nothing by it.
    const all: number[] = [];
    for (let rounds = 0; rounds < 20 && all.length < 200; rounds++) {
      for (const { messageId, payload } of got) {
        all.push(Number(String(payload)));
        deaf.write({
          cmd: qos === 1 ? 'puback' : 'pubrec',
          messageId,
          reasonCode: qos === 1 ? 0 : 0x80,
        } as never);
      }
      got = ((await deaf.read()) as IPublishPacket[]).filter(({ cmd }) => cmd === 'publish');
    }
    expect(all).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
  },
);

it('addresses that were published to once are not remembered however long they are', async () => {
  const world = await openMqttWorld();
  const watcher = await world.connected({ version: 5, clientId: 'w' });
  await watcher.subscribe('2999/+');
  const client = await world.connected({ version: 5 });
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 3_000; i++) await client.publish(`${i}/`.padEnd(60_000, 'x'), '');
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(100_000_000);
  expect(await watcher.read()).toHaveLength(1);
  const levels = await client.publish('/'.repeat(2_000), '', { qos: 1, messageId: 1 });
  expect(levels).toMatchObject([{ cmd: 'puback', reasonCode: 0x90 }]);
});

it('topics with one level too many are refused each time, by name and by alias', async () => {
  const world = await openMqttWorld({ mqttLimits: { topicLevelsMax: 3 } });
  const client = await world.connected({ version: 5 });
  let messageId = 0;
  const publish = async (topic: string, topicAlias: number) => {
    const properties = topicAlias === 0 ? {} : { topicAlias };
    const packets = await client.publish(topic, 'x', { qos: 1, messageId: ++messageId, properties });
    return (packets[0] as { readonly reasonCode?: number }).reasonCode;
  };
  const NOBODY = 0x10;
  const said: (number | undefined)[] = [];
  for (let times = 2; times > 0; times--) {
    said.push(await publish('a/b/c', 1), await publish('a/b/c/d', 2));
    said.push(await publish('', 1), await publish('', 2), await publish('', 1));
    said.push(await publish('$a/b/c', 0), await publish('$a/b/c/d', 0));
  }
  const once = [NOBODY, 0x90, NOBODY, 0x90, NOBODY, NOBODY, 0x90];
  expect(said).toEqual([...once, ...once]);
});
