/** Who is turned away before a connection costs anything, and what a client may send before anybody knows it. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { TokenBucket } from '../../../src/net/token-bucket.ts';
import { type NetWorld, openNetWorld } from './net-world.ts';

let world: NetWorld | null = null;
afterEach(async () => {
  await world?.close();
  world = null;
});

async function dial({ port }: NetWorld, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  // Whoever is turned away may hear of the reset first.
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return socket;
}

it('a listener takes so many connections a second, and counts the others', async () => {
  world = await openNetWorld({}, { connectionsPerSecondMax: 5 });
  const { counters } = world.network;
  const sockets = await Promise.all(Array.from({ length: 20 }, () => dial(world as NetWorld)));
  await expect
    .poll(() => (counters.accepted.get('test') ?? 0) + (counters.refused.get('test') ?? 0))
    .toBe(20);
  expect(counters.accepted.get('test')).toBeLessThan(8);
  expect(world.logged.filter(({ text }) => text === 'connections refused')).toHaveLength(1);
  await new Promise((resolve) => setTimeout(resolve, 250));
  const before = counters.accepted.get('test');
  sockets.push(await dial(world));
  await expect.poll(() => counters.accepted.get('test')).toBe((before ?? 0) + 1);
  for (const socket of sockets) socket.destroy();
});

it('an address has so many connections at a time', async () => {
  world = await openNetWorld({}, { connectionsPerAddressMax: 2 });
  const { counters } = world.network;
  const sockets = [await dial(world), await dial(world), await dial(world), await dial(world, '127.0.0.2')];
  await expect.poll(() => counters.accepted.get('test')).toBe(3);
  expect(counters.refused.get('test')).toBe(1);
  sockets[0]?.destroy();
  await expect.poll(() => world?.network.connections.size).toBe(2);
  await dial(world);
  await expect.poll(() => counters.accepted.get('test')).toBe(4);
  for (const socket of sockets) socket.destroy();
});

it('a full listener counts those that it closes, and tells the log once', async () => {
  world = await openNetWorld({ connectionsMax: 1 });
  const { counters } = world.network;
  const sockets = [await dial(world)];
  await expect.poll(() => counters.accepted.get('test')).toBe(1);
  for (let i = 0; i < 5; i++) sockets.push(await dial(world));
  await expect.poll(() => counters.refused.get('test')).toBe(5);
  const lines = world.logged.filter(({ text }) => text === 'connections refused');
  expect(lines).toHaveLength(1);
  expect(lines[0]?.details).toMatchObject({
    remote: '127.0.0.1',
    detail: expect.stringMatching(/connectionsMax/),
  });
  for (const socket of sockets) socket.destroy();
});

describe('a WebSocket of a client that nobody knows', () => {
  const spec = { transport: 'websocket', path: '/wire', unknownBytesMax: 1_000 } as const;

  it('may send no large message', async () => {
    world = await openNetWorld(spec);
    const client = new WebSocket(`ws://127.0.0.1:${world.port}/wire`);
    client.on('error', () => {});
    await once(client, 'open');
    const handler = await world.accepted();
    const closed = once(client, 'close');
    client.send(Buffer.alloc(10_000_000));
    await closed;
    expect(handler.chunks).toEqual([]);
    await expect.poll(() => handler.closedWith).toEqual(['limit-reached']);
  });

  it('may send many small ones, and large ones once it is known', async () => {
    world = await openNetWorld(spec);
    const client = new WebSocket(`ws://127.0.0.1:${world.port}/wire`);
    await once(client, 'open');
    const handler = await world.accepted();
    for (let i = 0; i < 400; i++) client.send(Buffer.alloc(1_000));
    const received = (): number => handler.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    await expect.poll(received).toBe(400_000);
    Object.assign(handler, { identity: { user: 'u', groups: [], clientId: 'c' } });
    client.send(Buffer.alloc(10_000_000));
    await expect.poll(received, { timeout: 5_000 }).toBe(10_400_000);
    expect(handler.closedWith).toEqual([]);
    client.terminate();
  });
});

it('an upgrade that does not come is not waited for', async () => {
  world = await openNetWorld({ transport: 'websocket' }, { handshakeTimeoutMs: 100 });
  const socket = await dial(world);
  socket.write('GET /');
  socket.resume();
  await once(socket, 'close');
  expect(world.network.counters.refused.get('test')).toBe(1);
});

describe('a token bucket', () => {
  it('gives what a second brings, and no more than it holds', () => {
    const bucket = new TokenBucket(10, 2);
    const take = (ms: number): boolean => bucket.take(ms);
    expect([take(0), take(0), take(0)]).toEqual([true, true, false]);
    expect([take(100), take(100)]).toEqual([true, false]);
    expect([take(10_000), take(10_000), take(10_000)]).toEqual([true, true, false]);
    expect([take(5_000), take(5_050), take(5_100)]).toEqual([false, false, true]);
  });
});
