/** A client that only listens gets a flood of small messages in few writes; one that talks gets each at once. */
import { EventEmitter, once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterEach, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createAuthority, writeFolder } from '../../support/certificates.ts';
import { countWrites, type NetWorld, openNetWorld, type RecordingHandler } from './net-world.ts';

let world: NetWorld;
afterEach(() => world.close());

const TURNS = 5_000;
/** More than it takes to be a flood, by a clock of the test's own: a slow machine would have fewer. */
const TURNS_A_MS = 25;
const MESSAGE_BYTES = 100;
const PIECE = '.'.repeat(MESSAGE_BYTES);

/** Writes a numbered message in each of many turns; `before` runs in each. Returns what the client got. */
async function flood(
  client: NodeJS.EventEmitter,
  { transport }: RecordingHandler,
  before: (turn: number) => Promise<void> | void,
): Promise<number[]> {
  const chunks: Buffer[] = [];
  client.on('data', (chunk: Buffer) => chunks.push(chunk));
  vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
  try {
    for (let turn = 0; turn < TURNS; turn++) {
      await before(turn);
      const message = Buffer.alloc(MESSAGE_BYTES);
      message.writeUInt32BE(turn);
      transport.write(message);
      await new Promise((resolve) => setImmediate(resolve));
      if (turn % TURNS_A_MS === 0) vi.advanceTimersByTime(1);
    }
    vi.advanceTimersByTime(1);
  } finally {
    vi.useRealTimers();
  }
  await expect.poll(() => chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(TURNS * MESSAGE_BYTES);
  const bytes = Buffer.concat(chunks);
  return Array.from({ length: TURNS }, (_, index) => bytes.readUInt32BE(index * MESSAGE_BYTES));
}

const IN_ORDER = Array.from({ length: TURNS }, (_, index) => index);

it('many small writes in a millisecond leave together, in order', async () => {
  world = await openNetWorld();
  const { client, handler } = await world.open();
  const spy = countWrites(world.port);
  try {
    expect(await flood(client, handler, () => {})).toEqual(IN_ORDER);
    expect(spy.counts.writes).toBeLessThan(TURNS / 4);
  } finally {
    spy.restore();
  }
  client.destroy();
});

it('over TLS too', async () => {
  const authority = createAuthority('Test authority');
  const server = authority.issue({ commonName: 'server', names: ['ip:127.0.0.1'] });
  const folder = writeFolder({ 'server.pem': server.certificate, 'server.key': server.key });
  const certificates = [{ certificateFile: join(folder, 'server.pem'), keyFile: join(folder, 'server.key') }];
  world = await openNetWorld({ tls: { clientCertificate: 'none' } }, {}, { certificates });
  const accepted = world.accepted();
  const client = connect({ port: world.port, host: '127.0.0.1', ca: authority.certificate });
  await once(client, 'secureConnect');
  const spy = countWrites(world.port);
  try {
    expect(await flood(client, await accepted, () => {})).toEqual(IN_ORDER);
    expect(spy.counts.writes).toBeGreaterThan(0);
    expect(spy.counts.writes).toBeLessThan(TURNS / 4);
  } finally {
    spy.restore();
    client.destroy();
    rmSync(folder, { recursive: true });
  }
});

it('over WebSocket too, where they are one message', async () => {
  world = await openNetWorld({ transport: 'websocket', path: '/wire', subprotocols: ['one'] });
  const client = new WebSocket(`ws://127.0.0.1:${world.port}/wire`, ['one']);
  await once(client, 'open');
  const data = new EventEmitter();
  let messages = 0;
  client.on('message', (message: Buffer) => {
    messages++;
    data.emit('data', message);
  });
  expect(await flood(data, await world.accepted(), () => {})).toEqual(IN_ORDER);
  expect(messages).toBeLessThan(TURNS / 4);
  client.terminate();
});

/** Writes until output waits for more of it. */
async function writeUntilGathered({ transport }: RecordingHandler): Promise<void> {
  const gather = vi.spyOn(world.network.output, 'gather');
  while (gather.mock.calls.length === 0) {
    transport.write(Buffer.from(PIECE));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(transport.pendingBytes).toBeGreaterThan(0);
}

it.each([
  ['as much as 16 KiB', 100_000, 16_384],
  ['more than the high-water mark', 4_000, 4_000],
])('%s leaves with its turn, whatever waits', async (_what, highWaterBytes, bytes) => {
  world = await openNetWorld({ highWaterBytes });
  const { client, handler } = await world.open();
  const { transport } = handler;
  await writeUntilGathered(handler);
  transport.write(Buffer.alloc(bytes / 2));
  transport.write(Buffer.alloc(bytes / 2));
  // As adapters look before they write more.
  const isAboveMark = transport.pendingBytes > highWaterBytes;
  await new Promise<void>((resolve) => world.clock.lastInTurn(resolve));
  expect(transport.pendingBytes).toBe(0);
  await expect.poll(() => handler.drainedCount).toBe(isAboveMark ? 1 : 0);
  client.destroy();
});

it('the last of them does not wait for another', async () => {
  world = await openNetWorld();
  const { client, handler } = await world.open();
  await flood(client, handler, () => {});
  const begin = performance.now();
  const answered = new Promise((resolve) => client.once('data', resolve));
  handler.transport.write(Buffer.from('more'));
  await answered;
  // A timer of the wheel would take 50.
  expect(performance.now() - begin).toBeLessThan(40);
  client.destroy();
});

it('what a closing connection still has to say leaves before its end', async () => {
  world = await openNetWorld();
  const { client, handler } = await world.open();
  const { transport } = handler;
  let text = '';
  client.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const ended = new Promise((resolve) => client.once('end', resolve));
  for (let turn = 0; turn < TURNS; turn++) {
    transport.write(Buffer.from(PIECE));
    await new Promise((resolve) => setImmediate(resolve));
  }
  transport.write(Buffer.from('end'));
  transport.close('client-closed');
  await ended;
  expect(text).toBe(`${PIECE.repeat(TURNS)}end`);
  client.destroy();
});

it('a client that sends something meanwhile is answered at once', async () => {
  world = await openNetWorld();
  const { client, handler } = await world.open();
  const spy = countWrites(world.port);
  try {
    const arrived = (count: number) =>
      new Promise<void>((resolve) => {
        const look = (): void => {
          if (handler.chunks.length >= count) resolve();
          else setImmediate(look);
        };
        look();
      });
    let sent = 0;
    const got = await flood(client, handler, async (turn) => {
      if (turn % 8 !== 0) return;
      client.write('x');
      await arrived(++sent);
    });
    expect(got).toEqual(IN_ORDER);
    expect(spy.counts.writes).toBeGreaterThan(TURNS * 0.9);
  } finally {
    spy.restore();
  }
  client.destroy();
});

it('a client that waits for each message before it causes the next is soon left alone', async () => {
  world = await openNetWorld();
  const { client, handler } = await world.open();
  const gather = vi.spyOn(world.network.output, 'gather');
  for (let turn = 0; turn < TURNS; turn++) {
    const arrived = new Promise((resolve) => client.once('data', resolve));
    handler.transport.write(Buffer.from('message'));
    await arrived;
  }
  expect(gather.mock.calls.length).toBeLessThan(TURNS / 100);
  client.destroy();
});
