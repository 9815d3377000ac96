/**
 * The reader of record batches under mutated input: whatever comes, it either reads records or throws CoreError
 * `corrupt-batch`, quickly, and never asks for more memory than the input could fill. Checksums are made right
 * after each mutation, so that mutations reach the code behind them.
 */

import { crc32c } from '@node-rs/crc32';
import { expect, it } from 'vitest';
import { encodeBatch } from '../../../src/core/batch-builder.ts';
import { decodeRecords, iterateBatches } from '../../../src/core/batch-records.ts';
import { validateBatch } from '../../../src/core/batch-validation.ts';
import { CoreError, type StreamRecord } from '../../../src/core/index.ts';
import { ProducerState } from '../../../src/core/producer-state.ts';

const INPUTS = Number(process.env.ROSETTAMQ_FUZZ_COUNT ?? 50_000);
const SEED = Number(process.env.ROSETTAMQ_FUZZ_SEED ?? Date.now() % 2 ** 31);
const crc = (bytes: Uint8Array) => crc32c(bytes as Buffer);
/** A "codec" that gives back what it got, up to the bound. */
const options = { decompress: (_codec: number, bytes: Uint8Array) => bytes, bytesMax: 1 << 20 };

/** Small and repeatable: the seed of a failure is printed. */
function randomSource(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

function seeds(): Buffer[] {
  const record = (
    key: string | null,
    value: string | null,
    headers: number,
    timestampMs: number,
  ): StreamRecord => ({
    key: key === null ? null : Buffer.from(key),
    value: value === null ? null : Buffer.from(value),
    headers: Array.from({ length: headers }, (_, i) => ({
      name: `header-${i}`,
      value: i % 3 === 0 ? null : Buffer.from(`value ${i}`),
    })),
    timestampMs,
  });
  const many = Array.from({ length: 20 }, (_, i) =>
    record(`k${i}`, `value ${i}`, i % 4, 1_700_000_000_000 - i),
  );
  return [
    encodeBatch([record(null, null, 0, -1)], crc),
    encodeBatch([record('', '', 1, 0), record('key', 'x'.repeat(300), 5, 2 ** 40)], crc),
    encodeBatch(many, crc, { id: 12n, epoch: 3, baseSequence: 2 ** 31 - 4 }),
  ];
}

const TELLING = [0, 1, 2, 3, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff];

function mutate(batch: Buffer, random: (below: number) => number): Buffer {
  let mutated = Buffer.from(batch);
  for (let times = 1 + random(4); times > 0; times--) {
    // Half of the changes go to the first record, where lengths and counts stand close together.
    const at = random(2) === 0 ? Math.min(61 + random(12), mutated.length - 1) : random(mutated.length);
    const kind = random(6);
    if (kind < 2) mutated[at] = random(256);
    else if (kind < 4) mutated[at] = TELLING[random(TELLING.length)] as number;
    else if (kind === 4) mutated = Buffer.concat([mutated.subarray(0, at), mutated.subarray(at + random(5))]);
    else
      mutated = Buffer.concat([
        mutated.subarray(0, at),
        Buffer.alloc(random(12), 0xff),
        mutated.subarray(at),
      ]);
    if (mutated.length < 62) mutated = Buffer.from(batch);
  }
  // Most inputs have the envelope of a good batch, so that what is inside is reached.
  if (random(8) !== 0) {
    mutated.writeInt32BE(mutated.length - 12, 8);
    mutated[16] = 2;
    mutated.writeUInt32BE(crc(mutated.subarray(21)), 17);
  }
  return mutated;
}

it(`reads or refuses ${INPUTS} mutated batches, seed ${SEED}`, { timeout: 600_000 }, () => {
  const random = randomSource(SEED);
  const sources = seeds();
  const producers = new ProducerState(50);
  let read = 0;
  let refused = 0;
  let slowestMs = 0;
  const heapBefore = process.memoryUsage().heapUsed;
  for (let i = 0; i < INPUTS; i++) {
    const input = mutate(sources[random(sources.length)] as Buffer, random);
    const started = performance.now();
    try {
      for (const batch of iterateBatches(input)) {
        const records = decodeRecords(batch, options);
        if (records.length > input.length / 7) throw new Error('more records than bytes allow');
      }
      validateBatch(input, 1 << 20, crc);
      if (producers.check(input) < 0) producers.appended(input, i);
      read++;
    } catch (error) {
      if (!(error instanceof CoreError)) {
        throw new Error(`input ${i} of seed ${SEED}: ${input.toString('hex')}`, { cause: error });
      }
      refused++;
    }
    slowestMs = Math.max(slowestMs, performance.now() - started);
  }
  // The mutations must reach both ends, or they show nothing.
  expect(read).toBeGreaterThan(INPUTS / 100);
  expect(refused).toBeGreaterThan(INPUTS / 100);
  expect(slowestMs).toBeLessThan(1_000);
  expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(256 * 1024 * 1024);
});

it(`reads back every snapshot of producers or refuses it, ${INPUTS / 10} mutations`, {
  timeout: 600_000,
}, () => {
  const random = randomSource(SEED);
  const state = new ProducerState(50);
  for (let i = 0; i < 20; i++) {
    const batch = encodeBatch([{ key: null, value: null, headers: [], timestampMs: 0 }], crc, {
      id: BigInt(i % 6),
      epoch: 0,
      baseSequence: Math.floor(i / 6),
    });
    state.appended(batch, i);
  }
  const snapshot = Buffer.from(state.snapshot(20));
  for (let i = 0; i < INPUTS / 10; i++) {
    const restored = new ProducerState(50);
    const offset = restored.restore(mutate(snapshot, random), Number.MAX_SAFE_INTEGER);
    if (restored.producerCount > (offset < 0 ? 0 : 50)) throw new Error(`mutation ${i} of seed ${SEED}`);
  }
});
