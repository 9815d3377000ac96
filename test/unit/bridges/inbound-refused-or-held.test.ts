import { describe, expect, it } from 'vitest';
import { PATH_HEADER } from '../../../src/outside.ts';
import { messageTo, queueSpec } from '../../support/core.ts';
import { GATEWAY_ID, openWorld, sumOf, waitFor } from './bridge-world.ts';

const definition = { direction: 'in', mappings: [{ match: 'site/{x}', topic: 'here/{x}' }] };
const coming = (address: string, body = 'x') => messageTo(address, body, { reliability: 1 });

/** A queue for what comes. */
async function openInbound(spec: { readonly messagesMax?: number } = {}, bridge: object = definition) {
  const world = await openWorld();
  const queue = await world.core.queues.declare(
    queueSpec({ name: 'q', durable: true, overflow: 'reject', messagesMax: -1, ...spec }),
  );
  world.core.exchanges.bind({
    exchange: 'amq.topic',
    target: { kind: 'queue', name: 'q' },
    key: 'here/#',
    match: null,
    arguments: [],
  });
  await world.put(bridge as Record<string, unknown>);
  return { ...world, queue };
}

describe('what comes in', () => {
  it('is given back with all that came after it while there is no room, and the state says so', async () => {
    const world = await openInbound({ messagesMax: 1 });
    const { link } = world.outside;
    expect(await link.bring(coming('site/1'), coming('site/2'), coming('other'))).toEqual([
      'stored',
      'refused',
      'refused',
    ]);
    expect(world.view().status).toMatchObject({ state: 'degraded', reason: expect.stringContaining('full') });
    expect(world.view().status.counters).toMatchObject({ taken: 3, done: 1, refused: 2 });
    world.queue.purge();
    expect(await link.bring(coming('site/2'), coming('other'))).toEqual(['stored', 'stored']);
    expect(world.view().status).toMatchObject({
      state: 'connected',
      counters: { taken: 5, done: 2, refused: 2 },
    });
    const { taken, accounted } = sumOf(world.view());
    expect(accounted).toBe(taken);
  });

  it('does not pass what was given back before it, until that was told', async () => {
    const world = await openInbound({ messagesMax: 1 });
    const { storage } = world;
    const { link } = world.outside;
    storage.holdCommits = true;
    const first = link.bring(coming('site/1', '1'), coming('site/2', '2'));
    world.queue.purge();
    expect(await link.bring(coming('site/3', '3'))).toEqual(['refused']);
    storage.holdCommits = false;
    storage.finishCommits();
    await world.turn();
    storage.finishCommits();
    expect(await first).toEqual(['stored', 'refused']);
    expect(await link.bring(coming('site/2', '2'))).toEqual(['stored']);
    world.queue.purge();
    // All at once: the client could not hear that the first of them was given back.
    world.publish('here/fill');
    const both = [link.bring(coming('site/4', '4'))];
    world.queue.purge();
    both.push(link.bring(coming('site/5', '5')));
    expect(await Promise.all(both)).toEqual([['refused'], ['refused']]);
    expect(await link.bring(coming('site/4', '4'))).toEqual(['stored']);
    const { taken, accounted } = sumOf(world.view());
    expect(accounted).toBe(taken);
  });

  it('is refused where the disk refuses', async () => {
    const world = await openInbound();
    const { storage } = world;
    const commit = storage.commit.bind(storage);
    storage.commit = (done) => done(new Error('no space left'));
    expect(await world.outside.link.bring(coming('site/1'))).toEqual(['refused']);
    expect(world.view().status).toMatchObject({
      state: 'degraded',
      reason: expect.stringContaining('no space left'),
    });
    storage.commit = commit;
    world.clock.advance(1_000);
    await world.turn();
    expect(await world.outside.link.bring(coming('site/1'))).toEqual(['stored']);
  });

  it('is dropped where it left this gateway, and no more taken than may be on its way', async () => {
    const world = await openInbound({}, { ...definition, inFlightMax: 2 });
    const { link } = world.outside;
    const mine = coming('site/1').with({
      properties: { headers: [{ name: PATH_HEADER, value: { kind: 'string', value: `e,${GATEWAY_ID}` } }] },
    });
    expect(await link.bring(mine)).toEqual(['stored']);
    expect(world.view().status.counters).toMatchObject({ dropped: { loop: 1 }, done: 0 });
    const first = link.bring(coming('site/1'), coming('site/2'));
    expect(await link.bring(coming('site/3'))).toEqual(['refused']);
    expect(await first).toEqual(['stored', 'stored']);
    expect(world.queue.readyCount).toBe(2);
  });

  it('that a mapping can make nothing of is dead-lettered, dropped or given back, as the mapping says', async () => {
    const world = await openInbound(
      {},
      {
        direction: 'in',
        mappings: [
          { match: 'a/{x}', topic: 'here/{payload.id}', maxTopics: 10 },
          { match: 'b/{x}', topic: 'here/{payload.id}', maxTopics: 10, onError: 'drop' },
          { match: 'c/{x}', topic: 'here/{payload.id}', maxTopics: 1, onError: 'nack-source' },
        ],
      },
    );
    const { link } = world.outside;
    expect(await link.bring(coming('a/1', '{"id":"ok"}'), coming('a/1', 'no'), coming('b/1', 'no'))).toEqual([
      'stored',
      'stored',
      'stored',
    ]);
    expect(await link.bring(coming('c/1', '{"id":1}'), coming('c/1', '{"id":2}'))).toEqual([
      'stored',
      'refused',
    ]);
    expect(world.view().status.counters).toMatchObject({
      taken: 5,
      done: 2,
      deadLettered: 1,
      refused: 1,
      dropped: { mapping: 1 },
    });
    expect(world.core.queues.get('$dlq/bridges')?.readyCount).toBe(1);
    for (const counters of world.view().mappings) {
      const dropped = Object.values(counters.dropped).reduce((sum, each) => sum + each, 0);
      const { out, filtered, failed, deadLettered, inFlight } = counters;
      expect(out + filtered + failed + dropped + deadLettered + inFlight).toBe(counters.in);
    }
  });

  it('gets no answers while the gateway is short of memory', async () => {
    const world = await openWorld({ coreLimits: { heldBytesMax: 10_000 } });
    await world.put(definition);
    const { link } = world.outside;
    const queue = await world.core.queues.declare(queueSpec({ name: 'q' }));
    world.core.exchanges.bind({
      exchange: 'amq.topic',
      target: { kind: 'queue', name: 'q' },
      key: '#',
      match: null,
      arguments: [],
    });
    // As much as may be held: publishers are told to wait.
    world.publish('fill', Buffer.alloc(20_000), { reliability: 0 });
    let answered = false;
    const answer = link.bring(coming('site/1')).then((said) => {
      answered = true;
      return said;
    });
    await world.turn();
    expect(answered).toBe(false);
    queue.purge();
    await waitFor(world, () => answered);
    expect(await answer).toEqual(['stored']);
  });
});
