import { once } from 'node:events';
import amqp from 'amqplib';
import rhea from 'rhea';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import { encodeTable } from '../../../mappings/amqp091.ts';
import type { Header } from '../../../src/core/index.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { type Broker, startBroker } from './broker.ts';
import { contentHeader, frame, PROTOCOL_HEADER, RawClient } from './raw-client.ts';

let broker: Broker;
const clients: RawClient[] = [];

beforeAll(async () => {
  broker = await startBroker({ users: { guest: 'guest' }, settings: { handshakeTimeoutMs: 300 } });
});
afterAll(async () => {
  await broker.close();
  expect(broker.errors).toEqual([]);
});
afterEach(() => {
  for (const client of clients.splice(0)) client.end();
});

function rawClient(readFrames = true, port = broker.port): RawClient {
  const client = new RawClient(port, readFrames);
  clients.push(client);
  return client;
}

function capabilities(...names: string[]): Header[] {
  const value = names.map((name): Header => ({ name, value: { kind: 'bool', value: true } }));
  return [{ name: 'capabilities', value: { kind: 'map', value } }];
}

const PUBLISH = { ticket: 0, exchange: 'e', routingKey: 'k', mandatory: false, immediate: false };

describe('protocol header', () => {
  test('may come byte by byte', async () => {
    const client = rawClient();
    for (const byte of PROTOCOL_HEADER) {
      client.write(Buffer.of(byte));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const start = await client.next('connection.start');
    expect([start.versionMajor, start.versionMinor]).toEqual([0, 9]);
    expect(Buffer.from(start.mechanisms).toString()).toBe('PLAIN AMQPLAIN ANONYMOUS');
    expect(start.serverProperties.find((each) => each.name === 'product')?.value).toEqual({
      kind: 'string',
      value: 'RosettaMQ',
    });
  });

  test.each([
    ['AMQP 1.0', 'AMQP\x00\x01\x00\x00'],
    ['AMQP 1.0 with SASL', 'AMQP\x03\x01\x00\x00'],
    ['AMQP 0-8', 'AMQP\x01\x01\x08\x00'],
    ['HTTP', 'GET / HTTP/1.1\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x02\x00'],
  ])('of %s is answered with ours, and the connection closed', async (_what, bytes) => {
    const client = rawClient(false);
    client.write(Buffer.from(bytes, 'latin1'));
    await client.ended();
    expect(Buffer.concat(client.bytes)).toEqual(PROTOCOL_HEADER);
  });

  test('rhea, an AMQP 1.0 client, is turned away', async () => {
    const connection = rhea
      .create_container()
      .connect({ port: broker.port, host: '127.0.0.1', reconnect: false });
    connection.on('error', () => {});
    const [context] = (await once(connection, 'disconnected')) as [{ error?: Error }];
    expect(context).toBeDefined();
  });

  test('a client that says nothing is closed after the handshake timeout', async () => {
    const client = rawClient();
    await client.start();
    await client.ended();
  });
});

describe('authentication', () => {
  test('PLAIN, AMQPLAIN with a table without its length', async () => {
    const table = encodeTable([
      { name: 'LOGIN', value: { kind: 'string', value: 'guest' } },
      { name: 'PASSWORD', value: { kind: 'string', value: 'guest' } },
    ]).subarray(4);
    for (const [mechanism, response] of [
      ['PLAIN', Buffer.from('\0guest\0guest')],
      ['AMQPLAIN', table],
    ] as const) {
      const client = rawClient();
      await client.start();
      client.startOk({ mechanism, response });
      expect(await client.next('connection.tune')).toEqual({
        channelMax: 2047,
        frameMax: 131_072,
        heartbeat: 60,
      });
    }
  });

  test('a wrong password is told to clients that understand it, others are closed', async () => {
    const told = rawClient();
    await told.start();
    told.startOk({
      response: Buffer.from('\0guest\0no'),
      properties: capabilities('authentication_failure_close'),
    });
    expect(await told.next('connection.close')).toEqual({
      replyCode: 403,
      replyText:
        'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.',
      classId: 0,
      methodId: 0,
    });
    told.send(0, 'connection.close-ok', {});
    await told.ended();
    const closed = rawClient();
    await closed.start();
    closed.startOk({ response: Buffer.from('\0guest\0no') });
    await closed.ended();
    expect(closed.received).toEqual([]);
  });

  test.each([
    ['an unknown mechanism', { mechanism: 'SECRET' }, 503],
    ['a malformed response', { response: Buffer.from('guest') }, 502],
    ['a malformed AMQPLAIN table', { mechanism: 'AMQPLAIN', response: Buffer.from('LOGIN') }, 502],
  ])('%s', async (_what, options, code) => {
    const client = rawClient();
    await client.start();
    client.startOk(options);
    expect((await client.next('connection.close')).replyCode).toBe(code);
  });
});

describe('tune and open', () => {
  test.each([
    ['a larger frame', { channelMax: 0, frameMax: 200_000, heartbeat: 0 }, 530],
    ['more channels', { channelMax: 4000, frameMax: 0, heartbeat: 0 }, 530],
    ['a frame below the minimum', { channelMax: 0, frameMax: 4095, heartbeat: 0 }, 530],
  ])('%s is refused', async (_what, tuned, code) => {
    const client = rawClient();
    await client.start();
    client.startOk();
    await client.next('connection.tune');
    client.send(0, 'connection.tune-ok', tuned);
    expect((await client.next('connection.close')).replyCode).toBe(code);
  });

  test('another virtual host is refused', async () => {
    const client = rawClient();
    await client.start();
    client.startOk();
    await client.next('connection.tune');
    client.send(0, 'connection.tune-ok', { channelMax: 0, frameMax: 0, heartbeat: 0 });
    client.send(0, 'connection.open', { virtualHost: 'other', capabilities: '', insist: false });
    expect(await client.next('connection.close')).toEqual({
      replyCode: 530,
      replyText: 'NOT_ALLOWED - vhost other not found',
      classId: 10,
      methodId: 40,
    });
  });

  test('methods out of turn are refused with 503', async () => {
    const client = rawClient();
    await client.start();
    client.send(0, 'connection.open', { virtualHost: '/', capabilities: '', insist: false });
    expect((await client.next('connection.close')).replyCode).toBe(503);
  });
});

describe('violations close the connection with code, class and method', () => {
  const cases: readonly (readonly [
    what: string,
    code: number,
    culprit: readonly [classId: number, methodId: number],
    bytes: () => Buffer,
  ])[] = [
    ['a frame with a wrong end', 501, [0, 0], () => Buffer.of(1, 0, 1, 0, 0, 0, 1, 0, 0)],
    ['an unknown frame type', 501, [20, 10], () => frame(9, 1, Buffer.alloc(1))],
    ['a frame that is too large', 501, [0, 0], () => Buffer.of(3, 0, 1, 0, 2, 0, 0)],
    ['an unknown method', 503, [60, 999], () => frame(1, 1, Buffer.of(0, 60, 3, 231))],
    [
      'a method of the server',
      503,
      [60, 60],
      () =>
        encodeMethod(1, 'basic.deliver', {
          consumerTag: '',
          deliveryTag: 1,
          redelivered: false,
          exchange: '',
          routingKey: '',
        }),
    ],
    ['a channel that is not open', 504, [0, 0], () => encodeMethod(2, 'basic.publish', PUBLISH)],
    ['a channel opened twice', 504, [20, 10], () => encodeMethod(1, 'channel.open', { outOfBand: '' })],
    ['a body out of turn', 505, [20, 10], () => frame(3, 1, Buffer.alloc(1))],
    ['a content header out of turn', 505, [20, 10], () => contentHeader(1, 1)],
    ['a heartbeat on a channel', 505, [0, 0], () => frame(8, 1, Buffer.alloc(0))],
    [
      'a method within a message',
      505,
      [85, 10],
      () =>
        Buffer.concat([
          encodeMethod(1, 'basic.publish', PUBLISH),
          encodeMethod(1, 'confirm.select', { nowait: false }),
        ]),
    ],
    [
      'more body than announced',
      505,
      [60, 40],
      () =>
        Buffer.concat([
          encodeMethod(1, 'basic.publish', PUBLISH),
          contentHeader(1, 3),
          frame(3, 1, Buffer.alloc(2)),
          frame(3, 1, Buffer.alloc(2)),
        ]),
    ],
    [
      'malformed properties',
      501,
      [60, 40],
      () =>
        Buffer.concat([
          encodeMethod(1, 'basic.publish', PUBLISH),
          contentHeader(1, 0, Buffer.of(0x80, 0, 5, 1)),
        ]),
    ],
    ['immediate', 540, [60, 40], () => encodeMethod(1, 'basic.publish', { ...PUBLISH, immediate: true })],
    [
      'a prefetch size',
      540,
      [60, 10],
      () => encodeMethod(1, 'basic.qos', { prefetchSize: 1, prefetchCount: 0, global: false }),
    ],
    ['a flow that stops us', 540, [20, 20], () => encodeMethod(1, 'channel.flow', { active: false })],
    ['a transaction', 540, [90, 10], () => encodeMethod(1, 'tx.select', {})],
    ['a channel above the maximum', 530, [0, 0], () => encodeMethod(3000, 'channel.open', { outOfBand: '' })],
  ];
  test.each(cases)('%s', async (_what, code, [classId, methodId], bytes) => {
    const client = rawClient();
    await client.open();
    client.write(bytes());
    const close = await client.next('connection.close');
    expect(close).toMatchObject({ replyCode: code, classId, methodId });
    client.send(0, 'connection.close-ok', {});
    await client.ended();
  });

  test('a message above the limit closes its channel', async () => {
    const client = rawClient();
    await client.open();
    client.send(1, 'basic.publish', PUBLISH);
    client.write(contentHeader(1, 2 ** 40));
    expect(await client.next('channel.close')).toMatchObject({ replyCode: 406, classId: 60, methodId: 40 });
  });

  test('what comes on a closed channel is dropped until the client agrees', async () => {
    const client = rawClient();
    await client.open();
    client.send(1, 'basic.ack', { deliveryTag: 5, multiple: false });
    client.send(1, 'basic.ack', { deliveryTag: 6, multiple: false });
    client.send(1, 'basic.publish', PUBLISH);
    client.write(contentHeader(1, 0));
    await client.next('channel.close');
    client.send(1, 'channel.close-ok', {});
    client.send(1, 'channel.open', { outOfBand: '' });
    await client.next('channel.open-ok');
    expect(client.received).toEqual([]);
  });
});

describe('heartbeats', () => {
  test('are sent while nothing else is, and their absence ends the connection', async () => {
    const clock = new ManualClock();
    const quiet = await startBroker({ clock });
    try {
      const client = rawClient(true, quiet.port);
      await client.open({ heartbeat: 1 });
      const heartbeats = (): number => client.received.filter((each) => each.name === 'frame 8').length;
      for (const sent of [1, 2, 3]) {
        clock.advance(500);
        await expect.poll(heartbeats).toBe(sent);
        expect(quiet.network.connections.size).toBe(1);
      }
      clock.advance(1_000);
      await client.ended();
      expect(quiet.network.counters.closed['keep-alive-timeout']).toBe(1);
    } finally {
      await quiet.close();
    }
  });

  test('of the client keep a silent connection open', async () => {
    const clock = new ManualClock();
    const quiet = await startBroker({ clock });
    try {
      const client = rawClient(true, quiet.port);
      await client.open({ heartbeat: 1 });
      for (let half = 1; half <= 10; half++) {
        client.write(frame(8, 0, Buffer.alloc(0)));
        // The answer tells that the heartbeat before it was read.
        client.send(1, 'basic.qos', { prefetchSize: 0, prefetchCount: half, global: false });
        await client.next('basic.qos-ok');
        clock.advance(500);
      }
      expect(quiet.network.connections.size).toBe(1);
    } finally {
      await quiet.close();
    }
  });
});

describe('administration', () => {
  test('a connection that must go is told with 320', async () => {
    const client = rawClient();
    await client.open();
    for (const id of broker.network.connections.keys()) broker.network.disconnect(id, 'shutting-down');
    expect(await client.next('connection.close')).toMatchObject({ replyCode: 320 });
  });

  test('old clients get a ticket', async () => {
    const client = rawClient();
    await client.open();
    client.send(1, 'access.request', {
      realm: '/data',
      exclusive: false,
      passive: true,
      active: true,
      write: true,
      read: true,
    });
    expect(await client.next('access.request-ok')).toEqual({ ticket: 1 });
  });
});

describe('congestion', () => {
  test('a publisher is told that it is blocked, and when it is not any more', async () => {
    const small = await startBroker({ limits: { heldBytesMax: 200_000 } });
    const publisher = rawClient(true, small.port);
    await publisher.open({ properties: capabilities('connection.blocked') });
    publisher.send(1, 'queue.declare', {
      ticket: 0,
      queue: 'full',
      passive: false,
      durable: false,
      exclusive: false,
      autoDelete: false,
      nowait: false,
      arguments: [],
    });
    await publisher.next('queue.declare-ok');
    for (let i = 0; i < 10; i++) {
      publisher.send(1, 'basic.publish', { ...PUBLISH, exchange: '', routingKey: 'full' });
      publisher.write(contentHeader(1, 50_000));
      publisher.write(frame(3, 1, Buffer.alloc(50_000)));
    }
    await publisher.next('connection.blocked');
    expect(small.core.queues.get('full')?.readyCount).toBeLessThan(10);
    const reader = await amqp.connect(small.url);
    const channel = await reader.createChannel();
    let count = 0;
    await channel.consume('full', () => count++, { noAck: true });
    await publisher.next('connection.unblocked');
    await expect.poll(() => count).toBe(10);
    await reader.close();
    await small.close();
  });
});
