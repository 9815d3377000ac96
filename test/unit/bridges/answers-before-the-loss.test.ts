/** A link that is lost in the middle of a batch: what the other side had acknowledged is not sent again. */
import { expect, it } from 'vitest';
import { answersOfLost, LinkError } from '../../../src/outside.ts';
import { openWorld, waitFor } from './bridge-world.ts';

it('sends only what had no answer again, first and in order', async () => {
  const world = await openWorld();
  const { outside, clock } = world;
  await world.put({ retry: { minMs: 1_000, maxMs: 8_000 } });
  const { link } = outside;
  const gone = new LinkError('closed', 'gone');
  link.send = async (batch) => {
    // As an event of a socket, which is never in a task of the clock.
    await new Promise((resolve) => setImmediate(resolve));
    clock.afterTurn(() => link.lose(gone));
    const answers = answersOfLost(
      batch.map(({ message }) => (Number(Buffer.from(message.body)) % 2 === 0 ? null : undefined)),
      gone,
    );
    if (answers === null) throw gone;
    return answers;
  };
  for (let i = 0; i < 6; i++) world.publish('a/1', `${i}`);
  await waitFor(world, () => world.view().status.state === 'disconnected');
  expect(world.view().status).toMatchObject({ reason: 'gone', lag: { messages: 3 }, counters: { done: 3 } });
  world.publish('a/1', '6');
  clock.advance(1_000);
  await waitFor(world, () => outside.got.length === 4);
  expect(outside.bodies).toEqual(['1', '3', '5', '6']);
  expect(world.view().status.counters).toMatchObject({ taken: 7, done: 7, repeated: 3 });
});

it('knows nothing of a batch of which nothing was acknowledged', () => {
  const gone = new LinkError('closed', 'gone');
  expect(answersOfLost([undefined, { reason: 'full', permanent: false }], gone)).toBeNull();
  expect(answersOfLost([undefined, { reason: 'bad', permanent: true }], gone)).toEqual([
    { reason: 'gone', permanent: false, general: true },
    { reason: 'bad', permanent: true },
  ]);
});
