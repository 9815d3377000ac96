/** What was led on is held against a plain set of offsets: it may forget a little, and never knows what nobody told. */

import { expect, it } from 'vitest';
import { LedOffsets } from '../../../src/core/led-offsets.ts';
import { makeRandom } from '../../crash/seed.ts';

const END = 400;

it.each([1, 2, 3])('follows a set through appends, crashes and batches that come again, seed %i', (seed) => {
  const random = makeRandom(seed);
  const below = (max: number) => Math.floor(random() * max);
  let led = new LedOffsets();
  const told = new Set<number>();
  let end = 0;
  let rangesMost = 0;
  for (let step = 0; step < 300 && end < END; step++) {
    const count = 1 + below(3);
    const what = random();
    if (what < 0.6) {
      // Appended and led on; or, sometimes, appended by a process that ended before it could tell.
      if (random() < 0.8) {
        led.add(end, end + count);
        for (let offset = end; offset < end + count; offset++) told.add(offset);
      }
      end += count;
    } else if (what < 0.8) {
      const again = below(end);
      led.add(again, again + 1);
      told.add(again);
    } else {
      const stored = led.encode();
      rangesMost = Math.max(rangesMost, stored.length);
      led = new LedOffsets();
      led.restore(stored);
    }
    const known = Array.from({ length: end + 5 }, (_, offset) => offset).filter((offset) => led.has(offset));
    expect(known.every((offset) => told.has(offset))).toBe(true);
    if (rangesMost < 200) expect(known).toHaveLength(told.size);
  }
  expect(rangesMost).toBeGreaterThan(100);
  expect(rangesMost).toBeLessThan(600);
});

it('closes gaps in which nothing can come again, and cuts what was lost', () => {
  const led = new LedOffsets();
  led.add(0, 10);
  led.add(20, 30);
  led.add(35, 40);
  led.closeGaps([5, 12, 25, 41, 90], 50);
  const unknown = Array.from({ length: 55 }, (_, offset) => offset).filter((offset) => !led.has(offset));
  expect(unknown).toEqual([
    10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54,
  ]);
  led.cut(22);
  expect([led.has(21), led.has(22), led.end]).toEqual([true, false, 22]);
  led.cut(0);
  expect(led.end).toBe(0);
});

it('keeps the long ones where there are too many', () => {
  const led = new LedOffsets();
  led.add(0, 1_000);
  for (let at = 0; at < 100; at++) led.add(2_000 + 10 * at, 2_001 + 10 * at);
  led.add(5_000, 5_001);
  expect([led.has(0), led.has(999), led.has(5_000)]).toEqual([true, true, true]);
  expect(led.encode().length).toBeLessThan(600);
});

it('that cannot be read are forgotten', () => {
  const led = new LedOffsets();
  led.add(0, 10);
  const stored = led.encode();
  for (const bytes of [undefined, stored.subarray(1), stored.subarray(0, 9), Buffer.from([9])]) {
    led.restore(bytes);
    expect(led.has(5)).toBe(false);
  }
  led.restore(stored);
  expect(led.has(5)).toBe(true);
});
