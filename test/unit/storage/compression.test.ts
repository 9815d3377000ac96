/** Every codec of record batches: what others wrote is read, bounds hold, and bad bytes are an error and nothing else. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32cByTable } from '../../../src/storage/crc32c.ts';
import { CompressionError, compress, crc32c, decompress } from '../../../src/storage/index.ts';
import { lz4FrameBytes } from '../../../src/storage/lz4-frame.ts';
import { flipBits } from './storage-fixture.ts';

const CODECS = [
  { name: 'none', codec: 0 as const, framed: false },
  { name: 'gzip', codec: 1 as const, framed: false },
  { name: 'snappy, raw block', codec: 2 as const, framed: false },
  { name: 'snappy, framed', codec: 2 as const, framed: true },
  { name: 'lz4', codec: 3 as const, framed: false },
  { name: 'zstd', codec: 4 as const, framed: false },
];

describe.each(CODECS)('$name', ({ codec, framed }) => {
  it('gives back what was compressed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), fc.nat(40), (bytes, repeat) => {
        const input = Buffer.concat(Array(repeat).fill(Buffer.from(bytes)));
        expect(decompress(codec, compress(codec, input, framed), input.length).equals(input)).toBe(true);
      }),
      { numRuns: 60 },
    );
    const large = Buffer.alloc(3_000_000, 'sensor reading 21.5 ');
    expect(decompress(codec, compress(codec, large, framed), large.length).equals(large)).toBe(true);
  });

  it('refuses a result above the bound', () => {
    const packed = compress(codec, Buffer.alloc(100_001), framed);
    expect(() => decompress(codec, packed, 100_000)).toThrow(CompressionError);
    expect(decompress(codec, packed, 100_001)).toHaveLength(100_001);
  });

  it.skipIf(codec === 0)('answers damaged bytes with an error or with other bytes, and works on', () => {
    const input = Buffer.alloc(5000, 'abcdefg');
    const packed = compress(codec, input, framed);
    for (let cut = 0; cut < packed.length; cut += Math.ceil(packed.length / 200)) {
      expectSafe(codec, packed.subarray(0, cut));
      const flipped = Buffer.from(packed);
      flipBits(flipped, cut, 0xff);
      expectSafe(codec, flipped);
    }
    expect(decompress(codec, packed, 5000).equals(input)).toBe(true);
  });

  it.skipIf(codec === 0)('answers any bytes with an error or a bounded result', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => expectSafe(codec, bytes)),
      { numRuns: 300 },
    );
  });
});

function expectSafe(codec: number, bytes: Uint8Array): void {
  try {
    expect(decompress(codec, bytes, 10_000).length).toBeLessThanOrEqual(10_000);
  } catch (error) {
    expect(error).toBeInstanceOf(CompressionError);
  }
}

it('an unknown codec is refused', () => {
  expect(() => decompress(5, Buffer.alloc(10), 100)).toThrow(CompressionError);
});

it('a snappy block that claims gigabytes is refused before memory is taken', () => {
  expect(() => decompress(2, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3]), 1 << 20)).toThrow(
    CompressionError,
  );
});

it('an lz4 frame that unfolds to gigabytes is refused before memory is taken', () => {
  const before = process.memoryUsage().rss;
  const bomb = compress(3, Buffer.alloc(64 * 1024 * 1024));
  expect(lz4FrameBytes(bomb, Number.MAX_SAFE_INTEGER)).toBe(64 * 1024 * 1024);
  expect(() => decompress(3, bomb, 1 << 20)).toThrow(CompressionError);
  expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024);
});

it('the lz4 size walk agrees with the decoder', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 60 }), (parts) => {
      const input = Buffer.concat(parts);
      expect(lz4FrameBytes(compress(3, input), Number.MAX_SAFE_INTEGER)).toBe(input.length);
    }),
  );
});

it('CRC-32C has the published check value and the table agrees with the native one', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1000 }), (bytes) => {
      expect(crc32cByTable(bytes)).toBe(crc32c(bytes));
    }),
  );
});
