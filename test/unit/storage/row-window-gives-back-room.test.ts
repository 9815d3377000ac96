/** Rows in memory: one that stays must not keep the room of all that come and go after it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Row } from '../../../src/core/storage.ts';
import { RowWindow } from '../../../src/storage/memory/row-window.ts';
import { cpuMs } from '../../support/cpu-time.ts';

const row = Buffer.from('row');

describe('a window of rows', () => {
  it('needs little room for one old row before millions that went', () => {
    const window = new RowWindow(0);
    window.append(row);
    const before = process.memoryUsage().heapUsed;
    for (let i = 1; i <= 3_000_000; i++) window.remove(window.append(row));
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * 1024 * 1024);
    expect(window.get(0)).toBe(row);
    expect(window.endOffset).toBe(3_000_001);
    const rows: Row[] = [];
    const begin = cpuMs();
    for (let i = 0; i < 100; i++) window.collect(rows, 1, 10, 1_000, 0);
    expect(cpuMs() - begin).toBeLessThan(100);
    expect(rows).toEqual([]);
  });

  it('holds what a map would', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('append' as const), count: fc.nat(3_000) }) },
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('remove' as const),
          at: fc.nat(6_000),
          step: fc.integer({ min: 1, max: 7 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('before' as const), at: fc.nat(6_000) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), fc.nat(10_000), (steps, first) => {
        const window = new RowWindow(first);
        const model = new Map<number, Uint8Array>();
        let end = first;
        for (const action of steps) {
          if (action.kind === 'append') {
            for (let i = 0; i < action.count; i++) {
              model.set(end, row);
              expect(window.append(row)).toBe(end++);
            }
          } else if (action.kind === 'remove') {
            for (let offset = first + action.at; offset < end; offset += action.step)
              expect(window.remove(offset)).toBe(model.delete(offset));
          } else {
            window.removeBefore(first + action.at);
            for (const offset of model.keys()) if (offset < first + action.at) model.delete(offset);
          }
          expect([window.count, window.endOffset]).toEqual([model.size, end]);
          expect(window.bytes).toBe(3 * model.size);
          const oldest = [...model.keys()][0];
          if (oldest !== undefined) expect(window.firstOffset).toBeLessThanOrEqual(oldest);
          const rows: Row[] = [];
          window.collect(rows, first + 100, 1_000_000, Number.POSITIVE_INFINITY, 0);
          expect(rows.map(({ offset }) => offset)).toEqual(
            [...model.keys()].filter((at) => at >= first + 100),
          );
        }
      }),
      { numRuns: 15 },
    );
  });
});
