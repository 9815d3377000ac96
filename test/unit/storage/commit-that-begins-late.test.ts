/** A commit that is held back takes what was written meanwhile: also what was only gathered when it was asked for. */

import { expect, it } from 'vitest';
import { GroupCommit } from '../../../src/storage/commit.ts';

it('is prepared when it begins, and not when it begins at once', async () => {
  const commit = new GroupCommit('os');
  const said: string[] = [];
  const part = { flush: () => void said.push('written') };
  let open: (() => void) | null = null;
  let isHeld = false;
  commit.holdBack((begin) => {
    open = begin;
    return !isHeld;
  });
  const ask = (name: string) =>
    new Promise<void>((resolve) => {
      commit.dirty(part);
      commit.commit(
        () => resolve(),
        () => said.push(name),
      );
    });
  await ask('one');
  expect(said.splice(0)).toEqual(['written']);
  isHeld = true;
  const held = ask('two');
  const together = ask('three');
  expect(said).toEqual([]);
  isHeld = false;
  (open as unknown as () => void)();
  const behind = ask('four');
  await Promise.all([held, together, behind]);
  expect(said).toEqual(['two', 'three', 'written', 'four', 'written']);
});
