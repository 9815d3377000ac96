import { expect, it } from 'vitest';
import { messageTo } from '../../support/core.ts';
import { openWorld, waitFor } from './bridge-world.ts';

const PEER = 'fedcba9876543210fedcba9876543210';

it('does not lead out again to the gateway that it came from, though nothing there had marked it', async () => {
  const world = await openWorld();
  world.outside.peer = PEER;
  await world.put({ direction: 'in', mappings: [{ match: 'a/{rest...}' }] }, 'in');
  const inward = world.outside.link;
  await world.put({}, 'back');
  world.outside.peer = null;
  await world.put({}, 'on');
  await inward.bring(messageTo('a/1', 'from there', { reliability: 1 }));
  world.publish('a/1', 'from here');
  await waitFor(world, () => world.outside.got.length === 3);
  // To another broker it goes on.
  expect(world.outside.bodies.sort()).toEqual(['from here', 'from here', 'from there']);
  expect(world.view('back').status.counters).toMatchObject({ done: 1, dropped: { loop: 1 } });
  const passed = world.outside.got.find(
    ({ message }) => Buffer.from(message.body).toString() === 'from there',
  );
  const path = passed?.message.properties.headers.find(({ name }) => name === 'gw-path');
  expect(path?.value).toMatchObject({ value: `${PEER},0123456789abcdef0123456789abcdef` });
});
