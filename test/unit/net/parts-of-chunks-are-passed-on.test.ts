/**
 * Parts of chunks that are passed on leave in order with everything else that is written, as one piece where they follow
 * each other, and hold on to no chunk of which they are little.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { afterEach, expect, it } from 'vitest';
import { countWrites, type NetWorld, openNetWorld, readBytes } from './net-world.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

let world: NetWorld;
afterEach(() => world.close());

const CHUNK_BYTES = 65_536;

/** Every byte differs from those around it. */
const chunkOf = (seed: number): Buffer =>
  Buffer.from(
    Uint8Array.from({ length: CHUNK_BYTES }, (_, index) => (index * 7 + seed * 31 + (index >> 8)) & 255),
  );
const CHUNKS = [chunkOf(1), chunkOf(2)] as const;

const size = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(8_191, 8_192, 20_000, 40_000));

type Step =
  | { readonly kind: 'pass'; readonly chunk: 0 | 1; readonly bytes: number; readonly follows: boolean }
  | { readonly kind: 'write' | 'reserve'; readonly bytes: number }
  | { readonly kind: 'turn' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      chunk: fc.constantFrom<0 | 1>(0, 0, 0, 1),
      bytes: size,
      follows: fc.constantFrom(true, true, true, false),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('write' as const, 'reserve' as const), bytes: size }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('turn' as const) }) },
);

it('in order with all else, and counted until they are gone', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, isSlow) => {
      world = await openNetWorld();
      const { client, handler } = await world.open();
      const { transport } = handler;
      if (isSlow) client.pause();
      const expected: Buffer[] = [];
      const ends = [0, 0];
      let pending = 0;
      for (const each of steps) {
        if (each.kind === 'turn') {
          await new Promise(setImmediate);
          pending = transport.pendingBytes;
          continue;
        }
        let bytes: Buffer;
        if (each.kind === 'pass') {
          const from = each.follows ? ends[each.chunk]! : 0;
          const to = Math.min(CHUNK_BYTES, from + each.bytes);
          ends[each.chunk] = to;
          bytes = CHUNKS[each.chunk].subarray(from, to);
          transport.pass(CHUNKS[each.chunk], from, to);
        } else {
          bytes = Buffer.alloc(each.bytes, expected.length);
          if (each.kind === 'write') transport.write(bytes);
          else {
            const at = transport.reserve(bytes.length);
            bytes.copy(transport.buffer, at);
          }
        }
        expected.push(bytes);
        pending += bytes.length;
        expect(transport.pendingBytes).toBe(pending);
      }
      const all = Buffer.concat(expected);
      if (all.length > 0) expect((await readBytes(client, all.length)).equals(all)).toBe(true);
      expect(transport.pendingBytes).toBe(0);
      client.destroy();
      await world.close();
    }),
    { numRuns: 60 },
  );
  world = await openNetWorld();
});

it('in one write where they follow each other', async () => {
  world = await openNetWorld();
  const { client, handler } = await world.open();
  const spy = countWrites(world.port);
  try {
    handler.onReceived = () => {
      for (let at = 0; at < CHUNK_BYTES; at += 64) handler.transport.pass(CHUNKS[0], at, at + 64);
    };
    client.write('go');
    expect((await readBytes(client, CHUNK_BYTES)).equals(CHUNKS[0])).toBe(true);
    expect(spy.counts.writes).toBe(1);
  } finally {
    spy.restore();
  }
  client.destroy();
});

it('not to who is gone', async () => {
  world = await openNetWorld();
  const { client, handler } = await world.open();
  handler.transport.pass(CHUNKS[0], 0, 100);
  handler.transport.destroy('too-slow');
  expect(handler.transport.pendingBytes).toBe(0);
  client.destroy();
});

it('and a chunk of which a reader has little to get is not kept for it', async () => {
  world = await openNetWorld({ highWaterBytes: 100_000_000 });
  const { client, handler } = await world.open();
  const { transport } = handler;
  client.pause();
  // More than the kernel takes for a reader that does not read.
  transport.write(Buffer.alloc(16_000_000));
  await new Promise(setImmediate);
  collectGarbage();
  const before = process.memoryUsage().arrayBuffers;
  const PARTS = 300;
  for (let i = 0; i < PARTS; i++) {
    transport.pass(Buffer.alloc(CHUNK_BYTES), 0, 10_000);
    await new Promise(setImmediate);
  }
  expect(transport.pendingBytes).toBeGreaterThanOrEqual(PARTS * 10_000);
  // V8 counts what is collected as gone only when a thread beside this one has swept it.
  const heldBytes = (): number => {
    collectGarbage();
    return process.memoryUsage().arrayBuffers - before;
  };
  await expect.poll(heldBytes).toBeLessThan(PARTS * CHUNK_BYTES * 0.6);
  expect(transport.pendingBytes).toBeGreaterThanOrEqual(PARTS * 10_000);
  transport.destroy('too-slow');
  client.destroy();
});
