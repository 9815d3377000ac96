import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameReader } from '../../../adapters/amqp091/codec/frame-reader.ts';
import { Amqp091Error } from '../../../adapters/amqp091/errors.ts';

interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly payload: string;
}

function encode({ type, channel, payload }: Frame): Buffer {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, Buffer.from(payload, 'latin1'), Buffer.of(206)]);
}

function collector(frameBytesMax = 4096): { reader: FrameReader; frames: Frame[] } {
  const frames: Frame[] = [];
  const reader = new FrameReader(
    {
      frame: (type, channel, bytes, start, end) =>
        frames.push({ type, channel, payload: bytes.toString('latin1', start, end) }),
    },
    frameBytesMax,
  );
  return { reader, frames };
}

const frame: fc.Arbitrary<Frame> = fc.record({
  type: fc.constantFrom(1, 2, 3, 8),
  channel: fc.integer({ min: 0, max: 65_535 }),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
});

describe('frame reader', () => {
  test('gives the same frames however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 10 }),
        fc.array(fc.integer({ min: 1, max: 50 })),
        (given, cuts) => {
          const { reader, frames } = collector();
          let rest = Buffer.concat(given.map(encode));
          for (const cut of cuts) {
            reader.push(rest.subarray(0, cut));
            rest = rest.subarray(cut);
          }
          reader.push(rest);
          expect(frames).toEqual(given);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('holds everything back, in order, while stalled', () => {
    fc.assert(
      fc.property(
        fc.array(frame, { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 80 })),
        (given, cuts) => {
          const seen: Frame[] = [];
          const reader: FrameReader = new FrameReader(
            {
              frame(type, channel, bytes, start, end) {
                seen.push({ type, channel, payload: bytes.toString('latin1', start, end) });
                if (channel % 2 === 0) reader.stall();
              },
            },
            4096,
          );
          let rest = Buffer.concat(given.map(encode));
          for (const cut of cuts) {
            reader.push(rest.subarray(0, cut));
            rest = rest.subarray(cut);
          }
          reader.push(rest);
          for (let i = 0; i < given.length + 1; i++) reader.resume();
          expect(seen).toEqual(given);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('refuses a frame above the agreed size before it comes', () => {
    const { reader } = collector(4096);
    const largest = encode({ type: 3, channel: 1, payload: 'x'.repeat(4088) });
    reader.push(largest);
    const head = Buffer.alloc(7);
    head[0] = 3;
    head.writeUInt32BE(4089, 3);
    expect(() => reader.push(head)).toThrow(Amqp091Error);
  });

  test('refuses a frame whose last octet is not 206', () => {
    const { reader } = collector();
    const bytes = encode({ type: 3, channel: 1, payload: 'x' });
    bytes[bytes.length - 1] = 0;
    expect(() => reader.push(bytes)).toThrow(/206/);
  });
});
