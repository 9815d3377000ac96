/** A start with a retained row that nobody can read: the others are there, it is reported, and it stays on the disk. */

import { expect, it } from 'vitest';
import { ONE, Pattern } from '../../../src/core/index.ts';
import { bodyOf, messageTo, openTestCore } from '../../support/core.ts';

it('starts with the others, reports the row and leaves it where it is', async () => {
  const before = await openTestCore();
  const publisher = before.core.openPublisher({
    principal: { user: '', groups: [], clientId: 'c' },
    congested: () => undefined,
  });
  const remembered = { retain: true, reliability: 1 as const };
  publisher.publish(messageTo('a/1', 'first', remembered), null, 0);
  const row = before.storage.createRowLog('retained').append(Buffer.from([1, 0, 16]));
  publisher.publish(messageTo('a/2', 'second', remembered), null, 0);
  await before.clock.turn();

  const storage = before.storage.afterCrash();
  const after = await openTestCore({ storage });
  expect([...after.core.retained.match(new Pattern(['a', ONE]))].map(bodyOf)).toEqual(['first', 'second']);
  expect(after.core.retained.count).toBe(2);
  expect(after.events).toMatchObject([
    { level: 'error', details: { error: expect.stringContaining('a stored message cannot be read') } },
  ]);
  expect(storage.createRowLog('retained').rows.has(row)).toBe(true);
  await after.core.close();
});
