import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import { type Broker, startBroker } from './broker.ts';
import { contentHeader, frame, RawClient } from './raw-client.ts';

let broker: Broker;
let client: RawClient;

beforeAll(async () => {
  broker = await startBroker();
});
afterAll(async () => {
  await broker.close();
  expect(broker.errors).toEqual([]);
});
beforeEach(async () => {
  client = new RawClient(broker.port);
  await client.open();
});
afterEach(() => client.end());

const PUBLISH = { ticket: 0, exchange: '', routingKey: 'q', mandatory: false, immediate: false };

async function declare(): Promise<void> {
  client.send(1, 'queue.declare', {
    ticket: 0,
    queue: 'q',
    passive: false,
    durable: false,
    exclusive: true,
    autoDelete: false,
    nowait: false,
    arguments: [],
  });
  await client.next('queue.declare-ok');
}

async function bodyOfOne(): Promise<Buffer> {
  await expect.poll(() => broker.core.queues.get('q')?.readyCount).toBe(1);
  const delivery = await broker.core.queues.get('q')?.take(true);
  return Buffer.from(delivery?.message.body ?? []);
}

test('a body split at every byte, with empty frames between, comes whole', async () => {
  await declare();
  const body = Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * 7) & 0xff));
  const frames: Buffer[] = [];
  for (const byte of body) frames.push(frame(3, 1, Buffer.of(byte)), frame(3, 1, Buffer.alloc(0)));
  client.write(
    Buffer.concat([encodeMethod(1, 'basic.publish', PUBLISH), contentHeader(1, body.length), ...frames]),
  );
  expect((await bodyOfOne()).equals(body)).toBe(true);
});

test('a body in small and large pieces comes whole', async () => {
  await declare();
  const body = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 11) & 0xff));
  const frames: Buffer[] = [];
  let at = 0;
  for (const length of [1, 5000, 3000, 3000, 3000, 4096, 4095, 1, 20_000, 100, 16_707, 1000]) {
    frames.push(frame(3, 1, body.subarray(at, at + length)));
    at += length;
  }
  expect(at).toBe(body.length);
  client.write(Buffer.concat([encodeMethod(1, 'basic.publish', PUBLISH), contentHeader(1, at), ...frames]));
  expect((await bodyOfOne()).equals(body)).toBe(true);
});

test('a piece as long as the whole body is too much after another piece', async () => {
  await declare();
  client.send(1, 'basic.publish', PUBLISH);
  client.write(
    Buffer.concat([contentHeader(1, 10), frame(3, 1, Buffer.alloc(3)), frame(3, 1, Buffer.alloc(10))]),
  );
  expect(await client.next('connection.close')).toMatchObject({ replyCode: 505 });
});

test('the answer to a close is found behind the frame that caused it, however the bytes are cut', async () => {
  const began = Date.now();
  const heartbeat = frame(8, 0, Buffer.alloc(0));
  const closeOk = encodeMethod(0, 'connection.close-ok', {});
  client.write(Buffer.concat([frame(8, 1, Buffer.alloc(0)), heartbeat.subarray(0, 5)]));
  expect(await client.next('connection.close')).toMatchObject({ replyCode: 505 });
  client.write(Buffer.concat([heartbeat.subarray(5), closeOk]));
  await client.ended();
  expect(Date.now() - began).toBeLessThan(3000);
});

test.each([
  ['exchange', { ...PUBLISH, exchange: 'a\0b' }],
  ['key', { ...PUBLISH, exchange: 'e', routingKey: 'a\0b' }],
])('U+0000 in the %s is refused', async (_where, publish) => {
  client.send(1, 'basic.publish', publish);
  client.write(contentHeader(1, 0));
  expect(await client.next('channel.close')).toMatchObject({ replyCode: 406 });
});
