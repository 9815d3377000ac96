/** Messages to a client that only listens are gathered in a flood, and not before: waiting costs each a millisecond. */
import { expect, it, vi } from 'vitest';
import type { Clock } from '../../../src/core/index.ts';
import type { BufferedTransport } from '../../../src/net/buffered-transport.ts';
import type { TurnOutput } from '../../../src/net/turn-output.ts';
import { WriteGathering } from '../../../src/net/write-gathering.ts';

/** Asks for two seconds of turns, so many in a millisecond; returns how often output was gathered. */
function countGathered(turnsPerMs: number): number {
  const gathering = new WriteGathering();
  const gather = vi.fn();
  for (let turn = 0; turn < 2_000 * turnsPerMs; turn++) {
    const clock = { nowMs: () => Math.floor(turn / turnsPerMs) } as Clock;
    gathering.waits(100, clock, { gather } as unknown as TurnOutput, {} as BufferedTransport);
  }
  return gather.mock.calls.length;
}

it('five messages a millisecond leave one by one', () => expect(countGathered(5)).toBe(0));

it('fifty do not', () => expect(countGathered(50)).toBeGreaterThan(0));
