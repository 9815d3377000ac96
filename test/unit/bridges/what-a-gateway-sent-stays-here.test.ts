import { expect, it } from 'vitest';
import { LinkError } from '../../../src/outside.ts';
import { messageTo } from '../../support/core.ts';
import { openWorld, type World, waitFor } from './bridge-world.ts';

const PEER = 'fedcba9876543210fedcba9876543210';

/** A second connection, beside the one that bridges use unless they say otherwise. */
const connectElsewhere = (world: World) =>
  world.bridges.connections.put('elsewhere', { type: 'fake' }, { dryRun: false });

const sent = ({ outside }: World): string[] =>
  outside.got.map(({ message }) => `${message.address} ${Buffer.from(message.body)}`).sort();

it('does not lead out again to the gateway that it came from, though nothing there had marked it', async () => {
  const world = await openWorld();
  world.outside.peer = PEER;
  await world.put({ direction: 'in', mappings: [{ match: 'a/{rest...}' }] }, 'in');
  const inward = world.outside.link;
  await world.put({}, 'back');
  world.outside.peer = null;
  await connectElsewhere(world);
  await world.put({ connection: 'elsewhere' }, 'on');
  await inward.bring(messageTo('a/1', 'from there', { reliability: 1 }));
  world.publish('a/1', 'from here');
  for (const name of ['back', 'on']) await waitFor(world, () => world.view(name).status.lag.messages === 0);
  // To another broker it goes on.
  expect(world.outside.bodies.sort()).toEqual(['from here', 'from here', 'from there']);
  expect(world.view('back').status.counters).toMatchObject({ done: 1, dropped: { loop: 1 } });
  const passed = world.outside.got.find(
    ({ message }) => Buffer.from(message.body).toString() === 'from there',
  );
  const path = passed?.message.properties.headers.find(({ name }) => name === 'gw-path');
  expect(path?.value).toMatchObject({ value: `${PEER},0123456789abcdef0123456789abcdef` });
});

it('does not lead back to a broker what came from it and would be the same there', async () => {
  const world = await openWorld();
  await world.put({ direction: 'in', mappings: [{ match: 'a/{rest...}', topic: 'here/{rest}' }] }, 'in');
  const inward = world.outside.link;
  const out = (topic: string) => ({ mappings: [{ match: 'here/{rest...}', topic }] });
  await world.put(out('a/{rest}'), 'back');
  // Made into something else, it goes there; and to another broker as it is.
  await world.put(out('made/{rest}'), 'relay');
  await connectElsewhere(world);
  await world.put({ ...out('a/{rest}'), connection: 'elsewhere' }, 'on');
  await inward.bring(messageTo('a/1', 'came', { reliability: 1 }));
  world.publish('here/2', 'published');
  for (const name of ['back', 'relay', 'on'])
    await waitFor(world, () => world.view(name).status.lag.messages === 0);
  expect(sent(world)).toEqual([
    'a/1 came',
    'a/2 published',
    'a/2 published',
    'made/1 came',
    'made/2 published',
  ]);
  expect(world.view('back').status.counters).toMatchObject({ taken: 2, done: 1, dropped: { loop: 1 } });
  expect(world.view('relay').status.counters).toMatchObject({ taken: 2, done: 2 });
  expect(world.view('on').status.counters).toMatchObject({ taken: 2, done: 2 });
});

it('leads back what a rule has made of what came', async () => {
  const world = await openWorld();
  await world.put({ direction: 'in' }, 'in');
  const inward = world.outside.link;
  await world.put({}, 'back');
  await world.core.rules.put('alarms', {
    from: { match: 'a/{id}/heat' },
    to: [{ endpoint: 'core', topic: 'a/{id}/alarm' }],
  });
  await inward.bring(messageTo('a/7/heat', '99', { reliability: 1 }));
  await waitFor(world, () => world.view('back').status.counters.dropped.loop === 1);
  await waitFor(world, () => world.outside.got.length === 1);
  expect(sent(world)).toEqual(['a/7/alarm 99']);
});

it('knows what came from where over a restart', async () => {
  const world = await openWorld();
  await world.put({ direction: 'in' }, 'in');
  const inward = world.outside.link;
  world.outside.refusal = new LinkError('unreachable', 'nobody there');
  await world.put({}, 'back');
  await inward.bring(messageTo('a/1', 'came', { reliability: 1 }));
  world.publish('a/2', 'published');
  await world.turn();
  expect(world.view('back').status.lag.messages).toBe(2);
  await world.close();
  const again = await openWorld({ storage: world.storage });
  await waitFor(again, () => again.view('back').status.lag.messages === 0);
  expect(sent(again)).toEqual(['a/2 published']);
  expect(again.view('back').status.counters).toMatchObject({ done: 1, dropped: { loop: 1 } });
});

it('asks the driver what a message would come back as', async () => {
  const world = await openWorld();
  world.outside.comesBackAs = (address, options) =>
    (options as { readonly level: number }).level === 9 ? null : `there/${address}`;
  await world.put({ direction: 'in', mappings: [{ match: 'there/{rest...}', topic: '{rest}' }] }, 'in');
  const inward = world.outside.link;
  await world.put({}, 'back');
  await world.put({ options: { level: 9 } }, 'unknown');
  await inward.bring(messageTo('there/a/1', 'came', { reliability: 1 }));
  await waitFor(world, () => world.view('back').status.counters.dropped.loop === 1);
  await waitFor(world, () => world.view('unknown').status.counters.done === 1);
  expect(world.view('unknown').status.counters.dropped.loop).toBe(0);
});
