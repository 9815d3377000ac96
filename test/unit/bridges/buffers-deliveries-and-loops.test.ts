import { describe, expect, it } from 'vitest';
import type { Header, Message } from '../../../src/core/index.ts';
import { LinkError, PATH_HEADER } from '../../../src/outside.ts';
import { ReceiptLog } from '../../support/core.ts';
import { GATEWAY_ID, openWorld, sumOf, waitFor } from './bridge-world.ts';

const path = (...ids: string[]): Header => ({
  name: PATH_HEADER,
  value: { kind: 'string', value: ids.join(',') },
});
const stampOf = (message: Message | undefined): unknown => {
  const value = message?.properties.headers.find(({ name }) => name === PATH_HEADER)?.value;
  return value?.kind === 'string' ? value.value : undefined;
};

describe('a buffer', () => {
  const away = async (overflow: string) => {
    const world = await openWorld();
    world.outside.refusal = new LinkError('unreachable', 'nobody there');
    await world.put({ buffer: { messagesMax: 3, overflow } });
    return world;
  };
  const back = async (world: Awaited<ReturnType<typeof away>>) => {
    world.outside.refusal = null;
    world.clock.advance(30_000);
    await waitFor(world, () => world.view().status.lag.messages === 0);
  };

  it('that is full refuses publishers, drops its oldest or drops what comes, as it is told', async () => {
    const blocking = await away('block');
    for (let i = 0; i < 3; i++) blocking.publish('a/1', `${i}`);
    expect(() => blocking.publish('a/1', '3')).toThrow(expect.objectContaining({ code: 'overflow' }));
    expect(blocking.view().mappings[0]).toMatchObject({ in: 4, out: 3, failed: 1 });
    await back(blocking);
    expect(blocking.outside.bodies).toEqual(['0', '1', '2']);

    for (const [policy, left] of [
      ['drop-oldest', ['2', '3', '4']],
      ['drop-new', ['0', '1', '2']],
    ] as const) {
      const world = await away(policy);
      for (let i = 0; i < 5; i++) world.publish('a/1', `${i}`);
      expect(world.view().status).toMatchObject({
        counters: { taken: 5, dropped: { overflow: 2 } },
        lag: { messages: 3 },
      });
      await back(world);
      expect(world.outside.bodies).toEqual(left);
    }
  });

  it('has bounds in bytes too, and they can be changed under it', async () => {
    const world = await openWorld();
    world.outside.refusal = new LinkError('unreachable', 'nobody there');
    await world.put({ buffer: { bytesMax: 1_024, overflow: 'drop-oldest' } });
    for (let i = 0; i < 3; i++) world.publish('a/1', Buffer.alloc(400, `${i}`));
    expect(world.view().status.lag).toMatchObject({ messages: 2, bytes: 800 });
    await world.put({ buffer: { bytesMax: 4_096, overflow: 'drop-oldest' } });
    for (let i = 0; i < 3; i++) world.publish('a/1', Buffer.alloc(400, `${i}`));
    expect(world.view().status.lag).toMatchObject({ messages: 5, bytes: 2_000 });
  });

  it('holds what was acknowledged to its publisher over a restart, whatever its publisher asked', async () => {
    const world = await away('block');
    const receipts = new ReceiptLog();
    world.publish('a/1', 'durable', {}, receipts, 7);
    world.publish('a/1', 'not durable', { reliability: 0 });
    await waitFor(world, () => receipts.tokensStored.length === 1);
    world.clock.advance(5_000);
    expect(world.view().status.lag).toMatchObject({ messages: 2, seconds: 5 });
    await world.close();
    const again = await openWorld({ storage: world.storage });
    await waitFor(again, () => again.outside.got.length === 2);
    expect(again.outside.bodies).toEqual(['durable', 'not durable']);
    expect(again.outside.got.map(({ message }) => message.reliability)).toEqual([1, 0]);
    expect(again.view().status.counters).toMatchObject({ taken: 2, done: 2 });
  });

  it('drops what is too old to be sent, and counts it', async () => {
    const world = await away('block');
    world.publish('a/1', 'soon', { expiresAtMs: world.clock.nowMs() + 1_000 });
    world.publish('a/1', 'late');
    await back(world);
    expect(world.outside.bodies).toEqual(['late']);
    expect(world.view().status.counters).toMatchObject({ taken: 2, done: 1, dropped: { expired: 1 } });
  });

  it('goes with its bridge, and the next of that name begins above its offsets', async () => {
    const world = await openWorld();
    await world.put();
    world.publish('a/1', 'one');
    await waitFor(world, () => world.outside.got.length === 1);
    world.outside.refusal = new LinkError('unreachable', 'nobody there');
    world.outside.link.lose();
    world.publish('a/1', 'never');
    await world.bridges.remove('b');
    world.outside.refusal = null;
    world.clock.advance(10);
    await world.put();
    world.publish('a/1', 'two');
    await waitFor(world, () => world.outside.got.length === 2);
    expect(world.outside.bodies).toEqual(['one', 'two']);
    const [one, two] = world.outside.got;
    expect(two?.offset).toBeGreaterThan(one?.offset as number);
  });
});

describe('delivery', () => {
  it('exactly once sends nothing that the outside is known to have', async () => {
    const world = await openWorld();
    const { outside } = world;
    outside.sentOffset = -1;
    await world.put({ delivery: 'exactly-once', batch: { messagesMax: 2 } });
    for (let i = 0; i < 2; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => outside.got.length === 2);
    // It has the next two, and its answer is lost.
    outside.isHeld = true;
    for (let i = 2; i < 6; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => outside.link.sent.length === 2);
    const [, batch] = outside.link.sent;
    outside.got.push(...(batch ?? []));
    outside.sentOffset = batch?.at(-1)?.offset ?? null;
    outside.link.lose();
    outside.isHeld = false;
    outside.letGo();
    world.clock.advance(1_000);
    await waitFor(world, () => world.view().status.lag.messages === 0);
    expect(outside.bodies).toEqual(['0', '1', '2', '3', '4', '5']);
    expect(world.view().status.counters).toMatchObject({ taken: 6, done: 6, repeated: 0 });
  });

  it('exactly once sends again what was not taken, though the outside has what came after it', async () => {
    const world = await openWorld();
    const { outside } = world;
    outside.sentOffset = -1;
    let isBusy = true;
    outside.answer = ({ message }) =>
      isBusy && Buffer.from(message.body).toString() === '1' ? { reason: 'busy', permanent: false } : null;
    await world.put({ delivery: 'exactly-once' });
    for (let i = 0; i < 3; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => world.view().status.state === 'degraded');
    expect(outside.bodies).toEqual(['0', '2']);
    isBusy = false;
    world.clock.advance(1_000);
    await waitFor(world, () => outside.got.length === 3);
    expect(outside.bodies).toEqual(['0', '2', '1']);
    expect(world.view().status.counters).toMatchObject({ taken: 3, done: 3 });
  });

  it('at most once repeats nothing, and counts what it does not know of', async () => {
    const world = await openWorld();
    const { outside } = world;
    await world.put({ delivery: 'at-most-once', batch: { messagesMax: 2 } });
    outside.isHeld = true;
    for (let i = 0; i < 4; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => outside.link.sent.length === 1);
    expect(world.view().status.lag.messages).toBe(4);
    outside.link.lose();
    outside.isHeld = false;
    outside.letGo();
    world.clock.advance(1_000);
    await waitFor(world, () => outside.got.length === 2);
    expect(outside.bodies).toEqual(['2', '3']);
    expect(world.view().status.counters).toMatchObject({ taken: 4, done: 2, dropped: { lost: 2 } });
    expect(sumOf(world.view())).toEqual({ taken: 4, accounted: 4 });
  });

  it('at most once is not sent again after a crash, however soon that comes', async () => {
    const world = await openWorld();
    const { outside, storage } = world;
    await world.put({ delivery: 'at-most-once', paused: true });
    world.publish('a/1', 'durable');
    await world.turn();
    let found = storage;
    outside.answer = () => {
      found = storage.afterCrash();
      return null;
    };
    await world.put({ delivery: 'at-most-once' });
    await waitFor(world, () => outside.got.length === 1);
    const again = await openWorld({ storage: found, outside });
    await again.turn();
    expect(again.view().status.state).toBe('connected');
    expect(outside.bodies).toEqual(['durable']);
  });

  it('at most once sends nothing while the disk does not take that it is gone', async () => {
    const world = await openWorld();
    const { outside, storage } = world;
    await world.put({ delivery: 'at-most-once' });
    const commit = storage.commit.bind(storage);
    storage.commit = (done) => done(new Error('no space left'));
    world.publish('a/1', 'durable');
    await waitFor(world, () => world.view().status.state === 'degraded');
    expect(outside.got).toEqual([]);
    storage.commit = commit;
    for (let i = 0; i < 5; i++) {
      world.clock.advance(5_000);
      await world.turn();
    }
    expect(outside.bodies).toEqual(['durable']);
    expect(world.view().status).toMatchObject({ state: 'connected', counters: { taken: 1, done: 1 } });
  });

  it('is not made exactly once while something waits that has no place on the disk', async () => {
    const world = await openWorld();
    const { outside } = world;
    outside.sentOffset = -1;
    await world.put({ delivery: 'at-most-once', paused: true });
    world.publish('a/1', 'in memory', { reliability: 0 });
    await expect(world.put({ delivery: 'exactly-once' })).rejects.toMatchObject({
      code: 'in-use',
      field: '/delivery',
    });
    expect(world.view().definition.delivery).toBe('at-most-once');
    await world.put({ delivery: 'at-least-once' });
    await waitFor(world, () => outside.got.length === 1);
    await world.put({ delivery: 'exactly-once' });
    for (let i = 0; i < 3; i++) world.publish('a/1', `${i}`, { reliability: 0 });
    await waitFor(world, () => outside.got.length === 4);
    expect(outside.bodies).toEqual(['in memory', '0', '1', '2']);
  });

  it('that the driver does not know is refused', async () => {
    const world = await openWorld();
    await expect(world.put({ direction: 'in', delivery: 'exactly-once' })).rejects.toMatchObject({
      code: 'invalid-argument',
      field: '/delivery',
    });
  });
});

describe('mappings', () => {
  it('are exchanged between two messages: nothing is lost or doubled', async () => {
    const world = await openWorld();
    await world.put({ mappings: [{ match: 'a/{x}', topic: 'v0/{x}' }] });
    const { links } = world.outside;
    for (let i = 0; i < 100; i++) {
      world.publish('a/1', `${i}`);
      if (i % 10 === 5) void world.put({ mappings: [{ match: 'a/{x}', topic: `v${i}/{x}` }] });
      if (i % 7 === 0) await world.turn();
    }
    await waitFor(world, () => world.outside.got.length >= 100);
    await world.turn();
    expect(world.outside.bodies).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`));
    expect(new Set(world.outside.got.map(({ message }) => message.address)).size).toBeGreaterThan(5);
    expect(links).toHaveLength(1);
  });

  it('in the short form take a prefix away and put another one there', async () => {
    const world = await openWorld();
    await world.put({ mappings: [{ pattern: 'sensors/#', localPrefix: 'hall/', remotePrefix: 'site1/' }] });
    for (const address of ['hall/sensors', 'hall/sensors/a/b', 'sensors/a', 'hall/sensorsx'])
      world.publish(address);
    await waitFor(world, () => world.outside.got.length === 2);
    expect(world.outside.got.map(({ message }) => message.address)).toEqual([
      'site1/sensors',
      'site1/sensors/a/b',
    ]);
  });
});

describe('a loop', () => {
  it('ends where a message has left this gateway before, been at the other side, or at too many', async () => {
    const world = await openWorld();
    const other = 'f'.repeat(32);
    world.outside.peer = other;
    await world.put();
    world.publish('a/1', 'new');
    world.publish('a/1', 'seen', { headers: [path('e'.repeat(32))] });
    world.publish('a/1', 'back', { headers: [path('e'.repeat(32), other)] });
    world.publish('a/1', 'once', { headers: [path(GATEWAY_ID)] });
    world.publish('a/1', 'twice', { headers: [path(GATEWAY_ID, GATEWAY_ID)] });
    world.publish('a/1', 'far', { headers: [path(...Array.from({ length: 8 }, (_, i) => `${i}`))] });
    await waitFor(world, () => world.view().status.lag.messages === 0);
    expect(world.outside.bodies).toEqual(['new', 'seen', 'once']);
    expect(stampOf(world.outside.got[0]?.message)).toBe(GATEWAY_ID);
    expect(stampOf(world.outside.got[1]?.message)).toBe(`${'e'.repeat(32)},${GATEWAY_ID}`);
    expect(world.view().status.counters).toMatchObject({ taken: 6, done: 3, dropped: { loop: 3 } });
  });

  it('is refused when it is defined, where stamps do not reach the other side', async () => {
    const world = await openWorld();
    await world.bridges.connections.put('c', { type: 'fake', stampLost: true }, { dryRun: false });
    await world.put({ mappings: [{ match: 'a/{x}', topic: 'there/{x}' }] });
    const back = {
      direction: 'in',
      mappings: [{ match: 'other/{x}' }, { match: 'there/{x}', topic: 'a/{x}' }],
    };
    await expect(world.put(back, 'back')).rejects.toMatchObject({
      code: 'invalid-argument',
      field: '/mappings/1',
      message: expect.stringContaining('go round'),
    });
    const apart = { direction: 'in', mappings: [{ match: 'there/{x}', topic: 'elsewhere/{x}' }] };
    await world.put(apart, 'back');
    // Where they do reach it, the stamp ends it, and nothing is refused.
    await world.bridges.connections.put('d', { type: 'fake' }, { dryRun: false });
    await world.put({ connection: 'd', mappings: [{ match: 'a/{x}' }] }, 'd-out');
    await world.put({ connection: 'd', direction: 'in', mappings: [{ match: 'a/{x}' }] }, 'd-in');
  });
});
