import { describe, expect, it } from 'vitest';
import { Wills } from '../../../adapters/mqtt/state/wills.ts';
import { redrive, wayBack } from '../../../src/admin/redrive.ts';
import { ANONYMOUS } from '../../../src/core/index.ts';
import type { Logger } from '../../../src/host.ts';
import { LinkError } from '../../../src/outside.ts';
import { messageTo, queueSpec } from '../../support/core.ts';
import { openWorld, sumOf, waitFor } from './bridge-world.ts';

const NO_LOGGER: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const away = new LinkError('unreachable', 'nobody there');

describe('a buffer that is over its bounds', () => {
  it('and refuses publishers keeps all that it acknowledged, over lowered bounds and a restart', async () => {
    const world = await openWorld();
    world.outside.refusal = away;
    await world.put({ buffer: { messagesMax: 10 } });
    for (let i = 0; i < 8; i++) world.publish('a/1', `${i}`);
    await world.put({ buffer: { messagesMax: 3 } });
    expect(() => world.publish('a/1', 'x')).toThrow(expect.objectContaining({ code: 'overflow' }));
    await world.turn();
    await world.close();
    const again = await openWorld({ storage: world.storage });
    await waitFor(again, () => again.outside.got.length === 8);
    expect(again.outside.bodies).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    expect(again.view().status.counters).toMatchObject({ done: 8, dropped: { overflow: 0 } });
  });

  it.each([
    ['block', { taken: 400, dropped: { overflow: 0 } }],
    ['drop-new', { taken: 405, dropped: { overflow: 5 } }],
    ['drop-oldest', { taken: 405, dropped: { overflow: 5 } }],
  ])('in bytes is so after a restart too, where its policy is %s', async (overflow, counters) => {
    const world = await openWorld();
    world.outside.refusal = away;
    await world.put({ buffer: { bytesMax: 40_000, overflow } });
    for (let i = 0; i < 400; i++) world.publish('a/1', 'x'.repeat(100));
    await world.turn();
    await world.close();
    const again = await openWorld({ storage: world.storage, outside: world.outside });
    await waitFor(again, () => again.view().status.lag.bytes === 40_000);
    for (let i = 0; i < 5; i++) {
      const publish = () => again.publish('a/1', 'x'.repeat(100));
      if (overflow === 'block') expect(publish).toThrow(expect.objectContaining({ code: 'overflow' }));
      else publish();
    }
    await waitFor(again, () => again.view().status.lag.messages === 400);
    expect(again.view().status).toMatchObject({ lag: { messages: 400, bytes: 40_000 }, counters });
    const { taken, accounted } = sumOf(again.view());
    expect(accounted).toBe(taken);
  });

  it('counts what it goes without because nobody could be refused: what was delayed, and dead letters', async () => {
    const world = await openWorld();
    const { core, clock } = world;
    world.outside.refusal = away;
    await world.put({ buffer: { messagesMax: 1 }, mappings: [{ match: 'a/{x}' }, { match: 'dead/{x}' }] });
    world.publish('a/1', 'fills it');
    core.schedule.add(
      messageTo('a/1', 'delayed', { reliability: 1 }),
      clock.nowMs() + 5_000,
      ANONYMOUS,
      null,
      0,
    );
    await world.turn();
    clock.advance(5_000);
    await world.turn();
    expect(world.view().status.counters).toMatchObject({ taken: 2, dropped: { overflow: 1 } });
    await core.queues.declare(
      queueSpec({ name: 'q', durable: true, deadLetter: { exchange: 'dead', key: 'x' } }),
    );
    world.publish('$queue/q', 'dies');
    (await core.queues.get('q')?.take(false))?.settle('rejected');
    await world.turn();
    expect(world.view().status.counters).toMatchObject({ taken: 3, dropped: { overflow: 2 } });
    // A publisher who is refused keeps it: that is no loss of the bridge.
    expect(() => world.publish('a/1', 'refused')).toThrow(expect.objectContaining({ code: 'overflow' }));
    const { taken, accounted } = sumOf(world.view());
    expect([taken, accounted]).toEqual([3, 3]);
  });

  it('counts the will that it goes without, for whoever left that is gone', async () => {
    const world = await openWorld();
    world.outside.refusal = away;
    await world.put({ buffer: { messagesMax: 1 } });
    world.publish('a/1', 'fills it');
    const wills = new Wills(world.core, NO_LOGGER);
    const will = {
      topic: 'a/1',
      body: Buffer.from('gone'),
      qos: 1,
      retain: false,
      priority: 4,
      expirySeconds: -1,
      native: null,
      isText: false,
      delaySeconds: 5,
    } as const;
    wills.schedule('at once', { ...will, delaySeconds: 0 }, ANONYMOUS, 60_000);
    wills.schedule('later', will, ANONYMOUS, 60_000);
    world.clock.advance(5_000);
    const { counters, lag } = world.view().status;
    expect({ counters, lag }).toMatchObject({
      counters: { taken: 3, dropped: { overflow: 2 } },
      lag: { messages: 1 },
    });
    const { taken, accounted } = sumOf(world.view());
    expect(accounted).toBe(taken);
  });

  it.each(['block', 'drop-new', 'drop-oldest'])(
    'takes no dead letter back where its policy is %s, and that stays where it is',
    async (overflow) => {
      const world = await openWorld();
      const { core, outside } = world;
      outside.answer = () => ({ reason: 'too large', permanent: true });
      await world.put({ buffer: { messagesMax: 2, overflow } });
      world.publish('a/1', 'bad');
      await waitFor(world, () => world.view().status.counters.deadLettered === 1);
      outside.refusal = away;
      outside.link.lose();
      for (let i = 0; i < 2; i++) world.publish('a/1', `${i}`);
      const dead = core.queues.provide('$dlq/bridges');
      const [waiting] = await dead.browse(null, 1, 1);
      const send = () =>
        redrive(core, dead, waiting!.offset, wayBack(core, waiting!.message, dead, undefined));
      expect(await send()).toMatchObject({ message: expect.stringContaining('full') });
      expect(dead.readyCount).toBe(1);
      expect(world.view().status).toMatchObject({
        lag: { messages: 2 },
        counters: { taken: 3, dropped: { overflow: 0 } },
      });
      outside.refusal = null;
      outside.answer = () => null;
      world.clock.advance(30_000);
      await waitFor(world, () => outside.got.length === 2);
      expect(await send()).toBeNull();
      await waitFor(world, () => outside.got.length === 3);
      expect(outside.bodies).toEqual(['0', '1', 'bad']);
      const { taken, accounted } = sumOf(world.view());
      expect(accounted).toBe(taken);
    },
  );
});
