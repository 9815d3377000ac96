/** Unix domain sockets: who may open the file may connect; what a killed process left is replaced, nothing else is. */
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type NetWorld, openNetWorld, readBytes } from './net-world.ts';

let folder: string;
let path: string;
let world: NetWorld | null = null;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rosettamq-socket-'));
  path = join(folder, 'wire.sock');
});
afterEach(async () => {
  await world?.close();
  world = null;
  rmSync(folder, { recursive: true });
});

const openWorld = (mode = 0o660): Promise<NetWorld> => openNetWorld({ socketFile: { path, mode } });

async function dial(): Promise<Socket> {
  const socket = connect(path);
  await once(socket, 'connect');
  return socket;
}

it('carries bytes, and tells where the client is', async () => {
  world = await openWorld();
  const socket = await dial();
  const handler = await world.accepted();
  handler.onReceived = (chunk) => handler.transport.write(chunk);
  socket.write('hello');
  expect((await readBytes(socket, 5)).toString()).toBe('hello');
  expect(handler.transport).toMatchObject({
    remoteAddress: 'unix',
    remotePort: 0,
    localAddress: path,
    localPort: 0,
  });
  expect(world.network.listening('test')).toEqual({ host: path, port: 0 });
  socket.destroy();
  await expect.poll(() => handler.closedWith).toEqual(['connection-lost']);
});

it('has the mode that it should have, and is no trusted place where everybody may connect', async () => {
  world = await openWorld(0o600);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await world.close();
  world = await openWorld(0o666);
  expect(statSync(path).mode & 0o777).toBe(0o666);
  const socket = await dial();
  expect((await world.accepted()).transport.remoteAddress).toBe('unix-open');
  socket.destroy();
});

it('goes with the gateway', async () => {
  world = await openWorld();
  expect(existsSync(path)).toBe(true);
  await world.close();
  await expect.poll(() => existsSync(path)).toBe(false);
});

it('replaces a socket that nobody listens on any more', async () => {
  const left = createServer();
  left.listen(join(folder, 'other.sock'));
  await once(left, 'listening');
  // A link keeps the socket when its server closes, as a kill does.
  const { linkSync } = await import('node:fs');
  linkSync(join(folder, 'other.sock'), path);
  left.close();
  await once(left, 'close');
  await expect(dial()).rejects.toThrow('ECONNREFUSED');
  world = await openWorld();
  (await dial()).destroy();
});

it('takes the place of no gateway that runs, and of no file', async () => {
  world = await openWorld();
  await expect(openWorld()).rejects.toThrow('another program listens on it');
  (await dial()).destroy();
  path = join(folder, 'file');
  writeFileSync(path, 'something');
  await expect(openWorld()).rejects.toThrow('no socket');
  expect(existsSync(path)).toBe(true);
});
