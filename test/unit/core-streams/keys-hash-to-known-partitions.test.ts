/** The partitioner's hash against values that the Java client's own test holds, and against kafkajs on any bytes. */

import { createRequire } from 'node:module';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { murmur2, partitionOf } from '../../../src/core/stream-partitioner.ts';

const kafkajs = createRequire(import.meta.url)('kafkajs/src/producer/partitioners/default/murmur2.js') as (
  key: Buffer,
) => number;

it.each([
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
])('hashes %s to %d', (text, hash) => {
  expect(murmur2(Buffer.from(text))).toBe(hash);
});

it('hashes any bytes as kafkajs does', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      expect(murmur2(bytes)).toBe(kafkajs(Buffer.from(bytes)));
    }),
    { numRuns: 2_000 },
  );
});

it('chooses a partition that exists, the same for text and its bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 1_024 }), (text, partitions) => {
      const partition = partitionOf(text, partitions);
      expect(partition).toBeGreaterThanOrEqual(0);
      expect(partition).toBeLessThan(partitions);
      expect(partitionOf(Buffer.from(text), partitions)).toBe(partition);
    }),
  );
});
