/** Who waits for what was written to be stored hears of it in the order of asking, whatever commit runs meanwhile. */

import { expect, it } from 'vitest';
import { Durability } from '../../../src/core/durability.ts';
import type { CoreCounters } from '../../../src/core/index.ts';
import type { Storage } from '../../../src/core/storage.ts';
import { ManualClock } from '../../support/manual-clock.ts';

it('one who asks between two commits does not overtake one who waits for the second', () => {
  const commits: ((error: Error | null) => void)[] = [];
  const storage = { commit: (done: (error: Error | null) => void) => commits.push(done) };
  const clock = new ManualClock();
  const counters = { commits: 0 } as CoreCounters;
  const durability = new Durability(storage as unknown as Storage, clock, counters);
  const told: string[] = [];
  durability.written();
  clock.endTurn();
  // The first commit runs.
  durability.whenStored(() => told.push('first'));
  commits.shift()?.(null);
  durability.whenStored(() => told.push('second'));
  expect(told).toEqual([]);
  clock.endTurn();
  commits.shift()?.(null);
  expect(told).toEqual(['first', 'second']);
});
