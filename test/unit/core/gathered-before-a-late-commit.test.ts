/**
 * Tables and streams are committed together: a commit that the storage holds back takes entries that were put meanwhile, so
 * what streams gathered in the same turn has to be in it as well.
 */

import { expect, it } from 'vitest';
import { Durability } from '../../../src/core/durability.ts';
import { CoreError } from '../../../src/core/errors.ts';
import type { CoreCounters } from '../../../src/core/index.ts';
import type { Storage } from '../../../src/core/storage.ts';
import { ReceiptLog, TestClock } from '../../support/core.ts';

it('is written by the commit that begins late, and its failure told to those who wait for the next', async () => {
  const clock = new TestClock();
  const held: { done: (error: Error | null) => void; prepare: (() => void) | undefined }[] = [];
  const storage = {
    commit: (done: (error: Error | null) => void, prepare?: () => void) => void held.push({ done, prepare }),
  } as Pick<Storage, 'commit'> as Storage;
  const durability = new Durability(storage, clock, { commits: 0 } as CoreCounters);
  const gathered: string[] = [];
  const written: string[] = [];
  durability.beforeCommit(() => {
    written.push(...gathered.splice(0));
    if (written.includes('refused')) throw new CoreError('storage-failed', 'no room');
  });
  const receipts = new ReceiptLog();
  const publish = (body: string, token: number) => {
    gathered.push(body);
    durability.written();
    durability.wait(receipts, token);
  };
  publish('first', 1);
  await clock.turn();
  publish('refused', 2);
  expect(written).toEqual(['first']);
  held[0]?.prepare?.();
  expect(written.splice(0)).toEqual(['first', 'refused']);
  held[0]?.done(null);
  expect([receipts.tokensStored, receipts.refusals]).toEqual([[1], []]);
  await clock.turn();
  held[1]?.done(null);
  expect([receipts.tokensStored, receipts.refusals]).toEqual([[1], [[2, 'storage-failed']]]);
  await clock.turn();
  expect(held).toHaveLength(2);
});
