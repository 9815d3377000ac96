/** What `ws` has of its own in front of the kernel, such as a pong, holds back no output for ever. */
import { EventEmitter } from 'node:events';
import { Socket } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { WebSocket } from 'ws';
import type { ListenerInfo } from '../../../src/host.ts';
import { WebSocketTransport } from '../../../src/net/websocket-transport.ts';
import { type NetWorld, openNetWorld, RecordingHandler } from './net-world.ts';

/** The part of `WebSocket` that a transport uses; the kernel takes each message at once. */
class FakeWebSocket extends EventEmitter {
  bufferedAmount = 0;
  sentBytes = 0;
  closedWith: number[] = [];

  send(piece: Uint8Array, _options: object, sent: () => void): void {
    this.sentBytes += piece.length;
    process.nextTick(sent);
  }

  close(code: number): void {
    this.closedWith.push(code);
  }

  pause(): void {}
  resume(): void {}
  terminate(): void {}
}

let world: NetWorld;
let webSocket: FakeWebSocket;
let transport: WebSocketTransport;
beforeEach(async () => {
  world = await openNetWorld();
  webSocket = new FakeWebSocket();
  const peer = {
    remoteAddress: '127.0.0.1',
    remotePort: 1,
    localAddress: '127.0.0.1',
    localPort: 2,
    certificate: null,
  };
  const listener = { name: 'test', transport: 'websocket', highWaterBytes: 100_000 } as const;
  transport = new WebSocketTransport(
    world.network,
    listener as ListenerInfo,
    webSocket as unknown as WebSocket,
    new Socket(),
    peer,
  );
  transport.handler = new RecordingHandler(transport);
});
afterEach(() => world.close());

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Writes until its output waits for more; returns how many bytes that were. */
async function writeUntilGathered(): Promise<number> {
  const gather = vi.spyOn(world.network.output, 'gather');
  let bytes = 0;
  while (gather.mock.calls.length === 0) {
    transport.write(Buffer.alloc(100));
    bytes += 100;
    await turn();
  }
  return bytes;
}

it('a wait that ends with nothing left to send', async () => {
  let written = await writeUntilGathered();
  // Too much to wait with: it leaves while the wait goes on.
  for (let i = 0; i < 3; i++) transport.write(Buffer.alloc(7_000));
  written += 21_000;
  await turn();
  expect(webSocket.sentBytes).toBe(written);
  webSocket.bufferedAmount = 6;
  await new Promise((resolve) => setTimeout(resolve, 20));
  webSocket.bufferedAmount = 0;
  transport.write(Buffer.alloc(50));
  await expect.poll(() => webSocket.sentBytes).toBe(written + 50);
});

it('an end with nothing left to send', async () => {
  transport.write(Buffer.alloc(100));
  await turn();
  webSocket.bufferedAmount = 6;
  transport.close('shutting-down');
  await expect.poll(() => webSocket.closedWith).toEqual([1001]);
});

it('output above the mark, which the kernel has taken since', async () => {
  const handler = transport.handler as RecordingHandler;
  let taken = (): void => {};
  webSocket.send = (piece, _options, sent) => {
    webSocket.bufferedAmount += piece.length;
    taken = sent;
  };
  transport.write(Buffer.alloc(150_000));
  expect(transport.pendingBytes).toBe(150_000);
  await turn();
  expect(handler.drainedCount).toBe(0);
  // More than half of what tells a handler to stop.
  webSocket.bufferedAmount = 60_000;
  taken();
  await expect.poll(() => handler.drainedCount).toBe(1);
});
