/** A connection ends once, for one reason, whoever ends it; failures cost only the connection they happen on. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { ListenError } from '../../../src/net/bind.ts';
import { type NetWorld, openNetWorld, readBytes } from './net-world.ts';

let world: NetWorld;
afterEach(() => world.close());

const closeLines = (): unknown[] =>
  world.logged.filter(({ text }) => text === 'connection closed').map(({ details }) => details.reason);

describe('an end', () => {
  it('by the gateway sends what is left, then ends, and is told when the turn is over', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    const ended = once(client, 'end');
    handler.onReceived = () => {
      handler.transport.write(Buffer.from('last words'));
      handler.transport.close('protocol-error', 'why');
      handler.transport.close('too-slow');
      expect(handler.closedWith).toEqual([]);
    };
    client.write('x');
    expect((await readBytes(client, 10)).toString()).toBe('last words');
    client.write('too late');
    await ended;
    await expect.poll(() => world.network.connections.size).toBe(0);
    expect(handler.closedWith).toEqual(['protocol-error']);
    expect(Buffer.concat(handler.chunks).toString()).toBe('x');
    const [line] = world.logged.filter(({ text }) => text === 'connection closed');
    expect(line).toMatchObject({
      level: 'info',
      details: { reason: 'protocol-error', detail: 'why', listener: 'test', client: 'c', user: 'u' },
    });
    expect(closeLines()).toEqual(['protocol-error']);
    expect(world.network.counters.closed['protocol-error']).toBe(1);
  });

  it('by the client lets what was written for it leave', async () => {
    world = await openNetWorld();
    const client = connect({ port: world.port, host: '127.0.0.1', allowHalfOpen: true });
    const handler = await world.accepted();
    handler.onReceived = () => handler.transport.write(Buffer.from('answer'));
    client.end('question');
    expect((await readBytes(client, 6)).toString()).toBe('answer');
    await expect.poll(() => world.network.connections.size).toBe(0);
    expect(handler.closedWith).toEqual(['connection-lost']);
    client.destroy();
  });

  it('by a reset is a lost connection', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    client.resetAndDestroy();
    await expect.poll(() => handler.closedWith).toEqual(['connection-lost']);
    await expect.poll(() => world.network.connections.size).toBe(0);
  });

  it('does not wait for ever for a client that does not end too', async () => {
    world = await openNetWorld({}, { closeLingerMs: 100 });
    const client = connect({ port: world.port, host: '127.0.0.1', allowHalfOpen: true });
    const handler = await world.accepted();
    client.on('error', () => {});
    handler.transport.close('administrative');
    await expect.poll(() => handler.closedWith).toEqual(['administrative']);
    await expect.poll(() => world.network.connections.size, { timeout: 2_000 }).toBe(0);
    client.destroy();
  });

  it('does not wait for ever for a client that does not read', async () => {
    world = await openNetWorld({}, { closeLingerMs: 100 });
    const { client, handler } = await world.open();
    client.pause();
    client.on('error', () => {});
    handler.transport.write(Buffer.alloc(20_000_000));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(handler.transport.pendingBytes).toBeGreaterThan(0);
    handler.transport.close('too-slow');
    await expect.poll(() => world.network.connections.size, { timeout: 2_000 }).toBe(0);
    expect(handler.closedWith).toEqual(['too-slow']);
    client.destroy();
  });

  it('leaves time to a client that goes on reading', async () => {
    world = await openNetWorld({}, { closeLingerMs: 1_000 });
    const { client, handler } = await world.open();
    client.pause();
    for (let i = 0; i < 20; i++) handler.transport.write(Buffer.alloc(1_000_000));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(handler.transport.pendingBytes).toBeGreaterThan(0);
    handler.transport.close('administrative');
    let read = 0;
    client.on('data', (chunk) => {
      read += chunk.length;
    });
    client.resume();
    await expect.poll(() => world.network.connections.size, { timeout: 5_000 }).toBe(0);
    expect(read).toBe(20_000_000);
  });

  it('by destroying drops what is left', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    const received: Buffer[] = [];
    client.on('data', (chunk) => received.push(chunk));
    handler.transport.write(Buffer.from('never'));
    handler.transport.destroy('not-authorized');
    await once(client, 'close');
    await expect.poll(() => handler.closedWith).toEqual(['not-authorized']);
    expect(received).toEqual([]);
    // Too late, and harmless.
    handler.transport.write(Buffer.from('more'));
    handler.transport.reserve(100_000);
    handler.transport.close('client-closed');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(handler.closedWith).toEqual(['not-authorized']);
  });

  it('takes late output without harm', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    handler.transport.close('administrative');
    await once(client, 'end');
    for (let i = 0; i < 10; i++) handler.transport.write(Buffer.alloc(20_000));
    await expect.poll(() => world.network.connections.size).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(world.logged.filter(({ level }) => level === 'error')).toEqual([]);
  });
});

describe('a handler that throws', () => {
  it('costs its connection and no other', async () => {
    world = await openNetWorld();
    const bad = await world.open();
    const good = await world.open();
    bad.handler.onReceived = () => {
      throw new Error('a mistake');
    };
    good.handler.onReceived = (chunk) => good.handler.transport.write(chunk);
    bad.client.write('x');
    await once(bad.client, 'close');
    good.client.write('y');
    expect((await readBytes(good.client, 1)).toString()).toBe('y');
    await expect.poll(() => bad.handler.closedWith).toEqual(['internal-error']);
    expect(world.logged.some(({ level, text }) => level === 'error' && text === 'a connection failed')).toBe(
      true,
    );
    good.client.destroy();
  });

  it('when it has caught up costs its connection only', async () => {
    world = await openNetWorld({ highWaterBytes: 1_000 });
    const { client, handler } = await world.open();
    handler.onDrained = () => {
      throw new Error('a mistake');
    };
    client.resume();
    handler.transport.write(Buffer.alloc(5_000));
    await once(client, 'close');
    expect(handler.closedWith).toEqual(['internal-error']);
  });
});

describe('a listener', () => {
  it('turns connections above the bound away and counts them', async () => {
    world = await openNetWorld({ connectionsMax: 2 });
    const first = await world.open();
    const second = await world.open();
    const third = connect(world.port, '127.0.0.1');
    third.on('error', () => {});
    await once(third, 'close');
    expect(world.network.counters.refused.get('test')).toBe(1);
    first.client.destroy();
    await expect.poll(() => world.network.connections.size).toBe(1);
    const fourth = await world.open();
    expect(world.network.counters.accepted.get('test')).toBe(3);
    second.client.destroy();
    fourth.client.destroy();
  });

  it('says which setting to change when its port is taken', async () => {
    world = await openNetWorld();
    const taken = openNetWorld({ name: 'test-other', port: world.port });
    await expect(taken).rejects.toThrow(ListenError);
    await expect(taken).rejects.toThrow(
      `127.0.0.1:${world.port} is in use by another program; stop it, or set test.other.port`,
    );
  });

  it('shows addresses as people write them', async () => {
    world = await openNetWorld({ host: '::' });
    const client = connect(world.port, '127.0.0.1');
    const { transport } = await world.accepted();
    expect(transport.remoteAddress).toBe('127.0.0.1');
    expect(transport.localAddress).toBe('127.0.0.1');
    expect(transport.localPort).toBe(world.port);
    expect(transport.remotePort).toBe(client.localPort);
    client.destroy();
  });
});

describe('reading', () => {
  it('stops and starts', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    handler.transport.pause();
    client.write('x');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(handler.chunks).toEqual([]);
    handler.transport.resume();
    await expect.poll(() => Buffer.concat(handler.chunks).toString()).toBe('x');
    client.destroy();
  });

  it('of a paused connection does not hide that it ended', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    handler.transport.pause();
    client.end();
    handler.transport.close('administrative');
    await expect.poll(() => world.network.connections.size).toBe(0);
  });
});

describe('draining', () => {
  it('tells everybody and waits no longer than it may', async () => {
    world = await openNetWorld();
    const willing = await world.open();
    const deaf = await world.open();
    deaf.handler.disconnect = () => {};
    const begunMs = performance.now();
    world.network.stopListening();
    await world.network.disconnectAll(200);
    expect(performance.now() - begunMs).toBeGreaterThan(150);
    expect(performance.now() - begunMs).toBeLessThan(1_500);
    expect(willing.handler.closedWith).toEqual(['shutting-down']);
    await expect.poll(() => deaf.handler.closedWith).toEqual(['shutting-down']);
  });

  it('tells each as soon as nothing of it is under way, and who takes too long when the time is up', async () => {
    world = await openNetWorld();
    const told: string[] = [];
    const open = async (name: string, settle?: (done: () => void) => void) => {
      const opened = await world.open();
      const { handler } = opened;
      const disconnect = handler.disconnect.bind(handler);
      handler.disconnect = (reason) => {
        told.push(name);
        disconnect(reason);
      };
      if (settle !== undefined) Object.assign(handler, { settle });
      return opened;
    };
    let settled = (): void => {};
    await open('without');
    await open('settling', (done) => {
      settled = done;
    });
    await open('never', () => {});
    const failing = await open('failing', () => {
      throw new Error('cannot settle');
    });
    const over = world.network.disconnectAll(1_000, 300);
    expect(told).toEqual(['without']);
    settled();
    settled();
    expect(told).toEqual(['without', 'settling']);
    await over;
    expect(told).toEqual(['without', 'settling', 'never']);
    expect(failing.handler.closedWith).toEqual(['internal-error']);
  });
});

it('a stop waits for nobody who has gone by itself or cannot settle', async () => {
  world = await openNetWorld();
  const [leaving, failing, staying] = [await world.open(), await world.open(), await world.open()];
  let isAsked = (): void => {};
  const asked = new Promise<void>((resolve) => {
    isAsked = resolve;
  });
  Object.assign(leaving.handler, { settle: isAsked });
  Object.assign(failing.handler, {
    settle: () => {
      throw new Error('a fault');
    },
  });
  Object.assign(staying.handler, { settle: (done: () => void) => done(), disconnect: () => {} });
  const stopped = world.network.disconnectAll(0, 60_000);
  await asked;
  leaving.client.destroy();
  await stopped;
  expect(leaving.handler.closedWith).toEqual(['connection-lost']);
  await expect.poll(() => staying.handler.closedWith).toEqual(['shutting-down']);
});
