/** Regression: what was paged out while an empty page was on its way from the log was given to nobody until a restart. */
import { expect, it } from 'vitest';
import { collect, messageTo, openTestCore, queueSpec } from '../../support/core.ts';

it('gives out what is published while the last page is read', async () => {
  const before = await openTestCore();
  const stored = await before.core.queues.declare(queueSpec({ name: 'q', durable: true }));
  for (const body of ['0', '1', '2']) {
    before.core.announce(messageTo('$queue/q', body, { reliability: 1 }));
  }
  expect(stored.readyCount).toBe(3);
  await before.clock.turn();
  // The newest row goes before the oldest ones: the log ends after its last row.
  const log = [...before.storage.rowLogs.values()].find(({ rowCount }) => rowCount === 3);
  log?.remove(2);
  before.core.announce(messageTo('$queue/other', '', { reliability: 1 }));
  await before.core.queues.declare(queueSpec({ name: 'other', durable: true }));
  await before.clock.turn();
  const world = await openTestCore({ storage: before.storage.afterCrash() });
  let published = false;
  const seen = collect(() => {
    if (published) return;
    published = true;
    world.core.announce(messageTo('$queue/q', '3', { reliability: 1 }));
  });
  world.core.queues.get('q')?.consume(seen, { settled: false, priority: 0, exclusive: false }).grant(10);
  for (let i = 0; i < 4; i++) await world.clock.turn();
  expect(seen.bodies).toEqual(['0', '1', '3']);
});
