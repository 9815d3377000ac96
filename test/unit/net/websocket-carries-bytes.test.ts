/** WebSocket connections: binary messages carry one stream of bytes, and what does not belong is refused. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type RawData, WebSocket } from 'ws';
import type { NetworkSettings } from '../../../src/net/settings.ts';
import { type NetWorld, openNetWorld, type RecordingHandler } from './net-world.ts';

let world: NetWorld;
afterEach(() => world.close());

const openWorld = (settings: Partial<NetworkSettings> = {}): Promise<NetWorld> =>
  openNetWorld({ transport: 'websocket', path: '/wire', subprotocols: ['one', 'two'] }, settings);

async function open(): Promise<{ client: WebSocket; handler: RecordingHandler; messages: Buffer[] }> {
  const client = new WebSocket(`ws://127.0.0.1:${world.port}/wire`, ['other', 'two']);
  const messages: Buffer[] = [];
  client.on('message', (data: RawData) => messages.push(data as Buffer));
  await once(client, 'open');
  return { client, handler: await world.accepted(), messages };
}

/** The status of an upgrade that is refused. */
async function refusedWith(path: string, protocols: string[], origin?: string): Promise<number | undefined> {
  const options = origin === undefined ? {} : { origin };
  const client = new WebSocket(`ws://127.0.0.1:${world.port}${path}`, protocols, options);
  return new Promise((resolve, reject) => {
    client.on('unexpected-response', (_request, response) => {
      response.destroy();
      resolve(response.statusCode);
    });
    client.on('open', () => {
      client.terminate();
      resolve(101);
    });
    client.on('error', reject);
  });
}

describe('a WebSocket', () => {
  it('gets the output of a turn in one binary message, and its subprotocol', async () => {
    world = await openWorld();
    const { client, handler, messages } = await open();
    expect(client.protocol).toBe('two');
    handler.onReceived = (chunk) => {
      for (const byte of chunk) handler.transport.write(Buffer.from([byte + 1]));
    };
    client.send(Buffer.from([1, 2, 3]));
    await expect.poll(() => messages.length).toBe(1);
    expect([...(messages[0] ?? [])]).toEqual([2, 3, 4]);
    expect(handler.transport.remotePort).toBeGreaterThan(0);
    client.terminate();
    await expect.poll(() => handler.closedWith).toEqual(['connection-lost']);
  });

  it('gets large and many bytes in order, also when it reads slowly', async () => {
    world = await openWorld();
    const { client, handler, messages } = await open();
    client.pause();
    const pieces = Array.from({ length: 400 }, (_, index) =>
      Buffer.alloc(index % 2 === 0 ? 50_000 : 100, index % 251),
    );
    for (const piece of pieces) {
      handler.transport.write(piece);
      if (Math.random() < 0.2) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(handler.transport.pendingBytes).toBeGreaterThan(0);
    client.resume();
    const expected = Buffer.concat(pieces);
    await expect.poll(() => messages.reduce((sum, one) => sum + one.length, 0)).toBe(expected.length);
    expect(Buffer.concat(messages).equals(expected)).toBe(true);
    await expect.poll(() => handler.transport.pendingBytes).toBe(0);
    await expect.poll(() => handler.drainedCount).toBeGreaterThan(0);
    client.terminate();
  });

  it('that sends text is closed', async () => {
    world = await openWorld();
    const { client, handler } = await open();
    client.send('text');
    const [code] = await once(client, 'close');
    expect(code).toBe(1003);
    expect(handler.closedWith).toEqual(['protocol-error']);
    expect(handler.chunks).toEqual([]);
  });

  it('that sends more than it may is closed', async () => {
    world = await openWorld({ websocketMessageBytesMax: 1_024 });
    const { client, handler } = await open();
    client.send(Buffer.alloc(2_000));
    const [code] = await once(client, 'close');
    expect(code).toBe(1009);
    expect(handler.closedWith).toEqual(['limit-reached']);
  });

  it('gets the last words before the close', async () => {
    world = await openWorld();
    const { client, handler, messages } = await open();
    handler.disconnect('shutting-down');
    const [code] = await once(client, 'close');
    expect(code).toBe(1001);
    expect(messages.map(String)).toEqual(['bye']);
    await expect.poll(() => world.network.connections.size).toBe(0);
    expect(handler.closedWith).toEqual(['shutting-down']);
  });

  it('that pings without reading gets no more than it may have waiting', async () => {
    world = await openWorld();
    const { client, handler } = await open();
    client.ping('first');
    expect(String((await once(client, 'pong'))[0])).toBe('first');
    client.pause();
    handler.transport.write(Buffer.alloc(20_000_000));
    await expect.poll(() => handler.transport.pendingBytes).toBeGreaterThan(1_000_000);
    const before = handler.transport.pendingBytes;
    for (let i = 0; i < 1_000; i++) client.ping(Buffer.alloc(125));
    client.send(Buffer.from('x'));
    await expect.poll(() => handler.chunks.length).toBe(1);
    expect(handler.transport.pendingBytes).toBeLessThan(before + 1_000);
    client.terminate();
  });
});

describe('an upgrade', () => {
  it('with another path, no known subprotocol or from a strange page is refused', async () => {
    world = await openWorld();
    expect(await refusedWith('/else', ['one'])).toBe(404);
    expect(await refusedWith('/wire', ['three'])).toBe(400);
    expect(await refusedWith('/wire', ['one'], 'https://example.com')).toBe(403);
    expect(await refusedWith('/wire', ['one'], 'null')).toBe(403);
    expect(world.network.counters.refused.get('test')).toBe(4);
    expect(await refusedWith('/wire?x=1', ['one'], 'http://localhost:3000')).toBe(101);
    expect(await refusedWith('/wire', ['one'], 'http://127.0.0.1:3000')).toBe(101);
  });

  it('from a page that the settings name is let in', async () => {
    world = await openWorld({ allowedOrigins: ['https://app.example.com'] });
    expect(await refusedWith('/wire', ['one'], 'https://app.example.com')).toBe(101);
    expect(await refusedWith('/wire', ['one'], 'https://app.example.com.evil.net')).toBe(403);
  });

  it('is asked for where plain HTTP comes', async () => {
    world = await openWorld();
    expect((await fetch(`http://127.0.0.1:${world.port}/wire`)).status).toBe(426);
    expect(world.network.counters.refused.get('test')).toBe(1);
  });

  it.each([
    ['no HTTP at all', 'EHLO\r\n\r\n'],
    [
      'a WebSocket without a key',
      'GET /wire HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: one\r\n\r\n',
    ],
  ])('that is %s is answered, counted once and logged', async (_what, request) => {
    world = await openWorld({ handshakeTimeoutMs: 100 });
    const socket = connect(world.port, '127.0.0.1');
    let answer = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      answer += text;
    });
    socket.write(request);
    await once(socket, 'close');
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(world.network.counters.refused.get('test')).toBe(1);
    expect(world.logged.filter(({ text }) => text === 'connection refused')).toHaveLength(1);
  });
});
