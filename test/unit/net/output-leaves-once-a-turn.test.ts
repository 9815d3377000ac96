/** Output of a turn leaves in one write, in order, however it was written; back-pressure is told and ends. */
import { afterEach, describe, expect, it } from 'vitest';
import { SLAB_BYTES, SlabPool } from '../../../src/net/slab-pool.ts';
import { countWrites, type NetWorld, openNetWorld, readBytes } from './net-world.ts';

let world: NetWorld;
afterEach(() => world.close());

const filled = (bytes: number, value: number): Buffer => Buffer.alloc(bytes, value);

describe('output', () => {
  it('of one turn is one write, with what tasks of the turn add', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    const { transport } = handler;
    const spy = countWrites(world.port);
    try {
      handler.onReceived = () => {
        for (let i = 0; i < 100; i++) transport.write(Buffer.from([i]));
        world.clock.afterTurn(() => {
          transport.write(Buffer.from([100]));
          world.clock.afterTurn(() => transport.write(Buffer.from([101])));
        });
      };
      client.write('go');
      const bytes = await readBytes(client, 102);
      expect([...bytes]).toEqual(Array.from({ length: 102 }, (_, index) => index));
      expect(spy.counts.writes).toBe(1);
    } finally {
      spy.restore();
    }
    client.destroy();
  });

  it('keeps its order over small, large and reserved pieces', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    const { transport } = handler;
    const expected: Buffer[] = [];
    const sizes = [1, 9_000, 3, 70_000, 0, 8_191, 8_192, SLAB_BYTES, 60_000, 60_000, 5, 200_000];
    handler.onReceived = () => {
      for (const [index, size] of sizes.entries()) {
        const body = filled(size, index + 1);
        expected.push(body);
        if (index % 2 === 0) transport.write(body);
        else {
          const at = transport.reserve(size);
          body.copy(transport.buffer, at);
        }
      }
    };
    client.write('go');
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const bytes = await readBytes(client, total);
    expect(bytes.equals(Buffer.concat(expected))).toBe(true);
    client.destroy();
  });

  it('that is worth a write of its own leaves with its chunk, though the turn brings more', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    const { transport } = handler;
    const { output } = world.network;
    const body = filled(40_000, 1);
    const deal = (write: () => void): number => {
      write();
      output.chunkDone();
      return transport.pendingBytes;
    };
    const small = (): void => transport.write(filled(1_000, 2));
    expect(deal(small)).toBe(1_000);
    expect(deal(() => transport.write(body))).toBe(0);
    expect(deal(small)).toBe(1_000);
    expect(deal(() => transport.pass(body, 0, body.length))).toBe(0);
    const fill = (count: number) => (): void => {
      for (let i = 0; i < count; i++) small();
    };
    expect(deal(fill(40))).toBe(0);
    expect(deal(fill(70))).toBe(0);
    expect(deal(() => transport.write(filled(20_000, 3)))).toBe(20_000);
    expect(deal(fill(20))).toBe(0);
    expect(await readBytes(client, 232_000)).toHaveLength(232_000);
    client.destroy();
  });

  it('of a few connections leaves in the middle of a chunk, but of no more in one turn', async () => {
    world = await openNetWorld();
    const opened = await Promise.all(Array.from({ length: 6 }, () => world.open()));
    const transports = opened.map(({ handler }) => handler.transport);
    const flushEarly = (writers: readonly number[]): number[] => {
      for (const index of writers) transports[index]!.write(Buffer.from('now'));
      transports[writers[0]!]!.flushEarly();
      return transports.map((transport) => transport.pendingBytes);
    };
    expect(flushEarly([0, 1, 2, 3, 4])).toEqual([3, 3, 3, 3, 3, 0]);
    await Promise.all(opened.slice(0, 5).map(({ client }) => readBytes(client, 3)));
    expect(flushEarly([0, 1])).toEqual([0, 0, 0, 0, 0, 0]);
    expect(flushEarly([2, 3])).toEqual([0, 0, 0, 0, 0, 0]);
    expect(flushEarly([5])).toEqual([0, 0, 0, 0, 0, 3]);
    world.network.output.chunkDone();
    await readBytes(opened[5]!.client, 3);
    expect(flushEarly([5])).toEqual([0, 0, 0, 0, 0, 0]);
    for (const { client } of opened) client.destroy();
  });

  it('stays where it is in the middle of a chunk whose own connection has none', async () => {
    world = await openNetWorld();
    const [one, other] = [await world.open(), await world.open()];
    other.handler.transport.write(Buffer.from('now'));
    one.handler.transport.flushEarly();
    expect(other.handler.transport.pendingBytes).toBe(3);
    one.handler.transport.write(Buffer.from('now'));
    one.handler.transport.flushEarly();
    expect(other.handler.transport.pendingBytes).toBe(0);
    for (const { client } of [one, other]) client.destroy();
  });

  it('is not flushed early from within a flush', async () => {
    world = await openNetWorld({ highWaterBytes: 1_000 });
    const { client, handler } = await world.open();
    const { transport } = handler;
    const ROUNDS = 5;
    let rounds = 0;
    handler.onDrained = () => {
      if (rounds++ < ROUNDS) transport.write(filled(2_000, 1));
      transport.flushEarly();
    };
    transport.write(filled(2_000, 1));
    transport.flushEarly();
    expect([rounds, transport.pendingBytes]).toEqual([1, 2_000]);
    await readBytes(client, (ROUNDS + 1) * 2_000);
    client.destroy();
  });

  it('of a handler that writes more whenever there is room waits for the end of the turn', async () => {
    world = await openNetWorld({ highWaterBytes: 1_000 });
    const { client, handler } = await world.open();
    const { transport } = handler;
    const ROUNDS = 20;
    let rounds = 0;
    const write = (): void => {
      if (rounds++ < ROUNDS) transport.write(filled(40_000, 1));
    };
    handler.onDrained = write;
    write();
    expect(transport.pendingBytes).toBe(40_000);
    world.network.output.chunkDone();
    expect(rounds).toBe(2);
    await readBytes(client, ROUNDS * 40_000);
    client.destroy();
  });

  it('holds no buffer once it is sent', async () => {
    world = await openNetWorld();
    const opened = await Promise.all(Array.from({ length: 20 }, () => world.open()));
    for (const { handler } of opened) handler.transport.write(Buffer.from('hello'));
    await Promise.all(opened.map(({ client }) => readBytes(client, 5)));
    expect(world.network.pool.freeCount).toBe(20);
    expect(opened.every(({ handler }) => handler.transport.buffer.length === 0)).toBe(true);
    // The next ones take the same buffers again.
    for (const { handler } of opened) handler.transport.write(Buffer.from('again'));
    await Promise.all(opened.map(({ client }) => readBytes(client, 5)));
    expect(world.network.pool.freeCount).toBe(20);
    for (const { client } of opened) client.destroy();
  });
});

describe('a slow reader', () => {
  it('sees every byte in order, and the handler hears once that it has caught up', async () => {
    world = await openNetWorld({ highWaterBytes: 1_000_000 });
    const { client, handler } = await world.open();
    const { transport } = handler;
    client.pause();
    // More than the kernel takes for a reader that does not read.
    const CHUNKS = 20_000;
    const CHUNK_BYTES = 1_003;
    let written = 0;
    let pendingMax = 0;
    const writeSome = (): void => {
      for (let i = 0; i < 100 && written < CHUNKS; i++) transport.write(filled(CHUNK_BYTES, written++ % 251));
      pendingMax = Math.max(pendingMax, transport.pendingBytes);
      if (written < CHUNKS) setImmediate(writeSome);
    };
    writeSome();
    await expect.poll(() => written).toBe(CHUNKS);
    expect(pendingMax).toBeGreaterThan(1_000_000);
    expect(handler.drainedCount).toBe(0);
    const bytes = await readBytes(client, CHUNKS * CHUNK_BYTES);
    for (let i = 0; i < CHUNKS; i++) {
      if (bytes[i * CHUNK_BYTES] !== i % 251 || bytes[(i + 1) * CHUNK_BYTES - 1] !== i % 251)
        expect.fail(`chunk ${i}`);
    }
    await expect.poll(() => handler.drainedCount).toBe(1);
    expect(transport.pendingBytes).toBe(0);
    client.destroy();
  });

  it('hears of it also where the kernel took everything at once', async () => {
    world = await openNetWorld({ highWaterBytes: 1_000 });
    const { client, handler } = await world.open();
    handler.transport.write(filled(1_500, 1));
    expect(handler.transport.pendingBytes).toBe(1_500);
    await readBytes(client, 1_500);
    await expect.poll(() => handler.drainedCount).toBe(1);
    client.destroy();
  });

  it('gets what is written when it has caught up', async () => {
    world = await openNetWorld({ highWaterBytes: 4_000_000 });
    const { client, handler } = await world.open();
    client.pause();
    handler.onDrained = () => handler.transport.write(Buffer.from('end'));
    handler.transport.write(filled(12_000_000, 7));
    const bytes = await readBytes(client, 12_000_003);
    expect(bytes.subarray(-3).toString()).toBe('end');
    client.destroy();
  });

  it('costs no more than its output when it is closed', async () => {
    world = await openNetWorld({}, { closeLingerMs: 100 });
    const { client, handler } = await world.open();
    client.pause();
    handler.transport.write(filled(20_000_000, 7));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(handler.transport.pendingBytes).toBeGreaterThan(0);
    handler.transport.destroy('too-slow');
    await expect.poll(() => world.network.connections.size).toBe(0);
    expect(handler.closedWith).toEqual(['too-slow']);
    expect(handler.transport.pendingBytes).toBe(0);
    client.destroy();
  });
});

describe('the pool', () => {
  it('lets go of buffers that nobody needed for a while', async () => {
    world = await openNetWorld();
    const tasks: (() => void)[] = [];
    const clock = {
      nowMs: () => 0,
      afterTurn: () => {},
      afterNextTurn: () => {},
      after: (_delayMs: number, task: () => void) => {
        tasks.push(task);
        return { dueMs: 0, cancel: () => {} };
      },
    };
    const pool = new SlabPool(clock, 100 * SLAB_BYTES);
    const slabs = Array.from({ length: 150 }, () => pool.take());
    for (const slab of slabs) pool.give(slab);
    expect(pool.freeCount).toBe(100);
    // In use since the last look: nothing goes. Not in use: all that is above what is always kept.
    tasks.shift()?.();
    expect(pool.freeCount).toBe(100);
    for (const slab of Array.from({ length: 30 }, () => pool.take())) pool.give(slab);
    tasks.shift()?.();
    expect(pool.freeCount).toBe(30);
    tasks.shift()?.();
    expect(pool.freeCount).toBe(16);
    expect(tasks).toEqual([]);
  });
});

describe('on a quiet gateway', () => {
  it('an answer leaves as soon as its chunk is dealt with', async () => {
    world = await openNetWorld();
    const { client, handler } = await world.open();
    const pending: number[] = [];
    handler.onReceived = (chunk) => {
      handler.transport.write(chunk);
      // Runs before the end of the turn.
      process.nextTick(() => pending.push(handler.transport.pendingBytes));
    };
    for (let i = 0; i < 3; i++) {
      client.write('ping');
      await readBytes(client, 4);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(pending.slice(1)).toEqual([0, 0]);
    client.destroy();
  });
});
