/**
 * The state of idempotent producers against a naive model that remembers every batch ever appended: whatever a
 * producer sends, in whatever order, a batch is appended once and in its place, or refused with the right code.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CoreError } from '../../../src/core/index.ts';
import { ProducerState } from '../../../src/core/producer-state.ts';
import { producerBatch } from './stream-world.ts';

function tryAppend(state: ProducerState, batch: Buffer, offset: number): number | string {
  try {
    const before = state.check(batch);
    if (before >= 0) return before;
    state.appended(batch, offset);
    return offset;
  } catch (error) {
    return error instanceof CoreError ? error.code : `untyped: ${error}`;
  }
}

interface ModelProducer {
  epoch: number;
  next: number;
  readonly appended: { readonly first: number; readonly count: number; readonly offset: number }[];
}

class Model {
  readonly producers = new Map<bigint, ModelProducer>();

  append(id: bigint, epoch: number, first: number, count: number, offset: number): number | string {
    const known = this.producers.get(id);
    if (known !== undefined && epoch < known.epoch) return 'stale-producer';
    if (known !== undefined && epoch > known.epoch && first !== 0) return 'out-of-order-sequence';
    if (known !== undefined && epoch === known.epoch) {
      const same = known.appended.slice(-5).find((old) => old.first === first && old.count === count);
      if (same !== undefined) return same.offset;
      if (first !== known.next) return 'out-of-order-sequence';
    }
    const producer = known?.epoch === epoch ? known : { epoch, next: 0, appended: [] };
    producer.appended.push({ first, count, offset });
    producer.next = (first + count) % 2 ** 31;
    this.producers.set(id, producer);
    return offset;
  }
}

const step = fc.record({
  id: fc.constantFrom(1n, 2n, 3n),
  epoch: fc.constantFrom(0, 0, 0, 1, 2),
  /** Where to send relative to what comes next: 0 is right, below it a repetition or an overlap, above it a gap. */
  shift: fc.constantFrom(0, 0, 0, 0, -1, -2, -3, -6, 1),
  count: fc.constantFrom(1, 1, 2, 3),
});

describe('idempotent producers', () => {
  it('are judged like the model, also after a snapshot and across the wrap of sequences', () => {
    const start = fc.constantFrom(0, 2 ** 31 - 4);
    fc.assert(
      fc.property(
        start,
        fc.array(step, { maxLength: 60 }),
        fc.nat({ max: 60 }),
        (first, steps, snapshotAt) => {
          const model = new Model();
          let state = new ProducerState(100);
          let offset = 0;
          for (const [i, { id, epoch, shift, count }] of steps.entries()) {
            if (i === snapshotAt) {
              const restored = new ProducerState(100);
              expect(restored.restore(state.snapshot(offset), offset)).toBe(offset);
              state = restored;
            }
            const known = model.producers.get(id);
            const next = known === undefined ? first : known.epoch < epoch ? 0 : known.next;
            const sequence = (next + shift + 2 ** 31) % 2 ** 31;
            const said = tryAppend(state, producerBatch(id, epoch, sequence, count), offset);
            expect(said).toBe(model.append(id, epoch, sequence, count, offset));
            if (said === offset) offset += count;
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('are answered with the first offset for each of the last five batches, and no older one', () => {
    const state = new ProducerState(10);
    for (let i = 0; i < 6; i++) expect(tryAppend(state, producerBatch(9n, 0, i), 100 + i)).toBe(100 + i);
    for (let i = 1; i < 6; i++) expect(tryAppend(state, producerBatch(9n, 0, i), 999)).toBe(100 + i);
    expect(tryAppend(state, producerBatch(9n, 0, 0), 999)).toBe('out-of-order-sequence');
  });

  it('begin again at 0 after the greatest sequence', () => {
    const state = new ProducerState(10);
    expect(tryAppend(state, producerBatch(9n, 0, 2 ** 31 - 2, 2), 0)).toBe(0);
    expect(tryAppend(state, producerBatch(9n, 0, 1), 2)).toBe('out-of-order-sequence');
    expect(tryAppend(state, producerBatch(9n, 0, 0), 2)).toBe(2);
  });

  it('are forgotten beyond the bound, least recently used first', () => {
    const state = new ProducerState(2);
    for (const id of [1n, 2n]) tryAppend(state, producerBatch(id, 0, 0), Number(id));
    tryAppend(state, producerBatch(1n, 0, 1), 3);
    tryAppend(state, producerBatch(3n, 0, 0), 4);
    expect(state.producerCount).toBe(2);
    expect(tryAppend(state, producerBatch(1n, 0, 1), 9)).toBe(3);
    // Producer 2 is not known any more, so it may go on anywhere.
    expect(tryAppend(state, producerBatch(2n, 0, 7), 9)).toBe(9);
  });

  it('batches without producer are not looked at', () => {
    const state = new ProducerState(2);
    expect(tryAppend(state, producerBatch(-1n, -1, -1), 5)).toBe(5);
    expect(tryAppend(state, producerBatch(-1n, -1, -1), 6)).toBe(6);
    expect(state.producerCount).toBe(0);
  });

  it('a snapshot that is damaged, cut anywhere or ahead of the log is not used', () => {
    const state = new ProducerState(10);
    for (let i = 0; i < 8; i++) tryAppend(state, producerBatch(BigInt(i % 3), 0, Math.floor(i / 3)), i);
    const snapshot = Buffer.from(state.snapshot(8));
    expect(new ProducerState(10).restore(undefined, 8)).toBe(-1);
    expect(new ProducerState(10).restore(snapshot, 7)).toBe(-1);
    for (let bytes = 0; bytes < snapshot.length; bytes++) {
      const restored = new ProducerState(10);
      expect(restored.restore(snapshot.subarray(0, bytes), 8)).toBe(-1);
      expect(restored.producerCount).toBe(0);
    }
    expect(new ProducerState(10).restore(snapshot, 8)).toBe(8);
  });
});
