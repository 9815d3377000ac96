import { describe, expect, it } from 'vitest';
import type { OutsideMessage, SendAnswer } from '../../../src/outside.ts';
import { openWorld, sumOf, waitFor } from './bridge-world.ts';

const missing =
  (...addresses: readonly string[]) =>
  ({ message }: OutsideMessage): SendAnswer =>
    addresses.includes(message.address) ? { reason: `no ${message.address}`, permanent: false } : null;

describe('what goes to an address that the other side does not have', () => {
  it('holds nothing else up, though there is more of it than a batch holds', async () => {
    const world = await openWorld();
    const { outside } = world;
    outside.answer = missing('a/gone');
    await world.put({ batch: { messagesMax: 4 } });
    for (let i = 0; i < 20; i++) {
      for (let k = 0; k < 3; k++) world.publish('a/gone', `${i}.${k}`);
      world.publish('a/there', `${i}`);
    }
    // Not a moment passes but the pause after a batch in which nothing else was.
    world.clock.advance(1_000);
    await waitFor(world, () => outside.got.length === 20);
    expect(outside.bodies).toEqual(Array.from({ length: 20 }, (_, i) => `${i}`));
    expect(world.view().status).toMatchObject({
      state: 'degraded',
      reason: 'no a/gone',
      lag: { messages: 60 },
    });
    outside.answer = () => null;
    world.clock.advance(30_000);
    await waitFor(world, () => outside.got.length === 80);
    const rest = outside.bodies.slice(20);
    expect(rest).toEqual(Array.from({ length: 60 }, (_, i) => `${Math.floor(i / 3)}.${i % 3}`));
    expect(world.view().status).toMatchObject({
      state: 'connected',
      reason: '',
      lag: { messages: 0, bytes: 0 },
    });
    const { taken, accounted } = sumOf(world.view());
    expect(accounted).toBe(taken);
  });

  it('is tried with one message after longer and longer pauses of its own, and those count as repeated', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    outside.answer = missing('a/gone');
    await world.put();
    world.publish('a/there', 'first');
    for (let i = 0; i < 5; i++) world.publish('a/gone', `${i}`);
    await waitFor(world, () => outside.link.sent.length === 1);
    const startMs = clock.nowMs();
    const triedMs: number[] = [];
    for (let second = 0; second < 40; second++) {
      const before = outside.link.sent.length;
      clock.advance(1_000);
      world.publish('a/there', 'more');
      await world.turn();
      const tried = outside.link.sent.slice(before).flat();
      const gone = tried.filter(({ message }) => message.address === 'a/gone');
      if (gone.length > 0) triedMs.push(clock.nowMs() - startMs);
      expect(gone.length).toBeLessThanOrEqual(1);
    }
    expect(triedMs).toEqual([1_000, 3_000, 7_000, 13_000, 23_000, 38_000]);
    expect(world.view().status.counters).toMatchObject({ done: 41, repeated: 6 });
    outside.answer = () => null;
    clock.advance(30_000);
    await waitFor(world, () => world.view().status.lag.messages === 0);
    expect(outside.bodies.slice(-5)).toEqual(['0', '1', '2', '3', '4']);
  });

  it('is set aside within a bound, behind which all waits', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    outside.answer = missing('a/gone');
    await world.put();
    const large = Buffer.alloc(1024 * 1024);
    world.publish('a/there', 'before');
    for (let i = 0; i < 12; i++) world.publish('a/gone', large);
    world.publish('a/there', 'behind');
    for (let i = 0; i < 20; i++) await world.turn();
    expect(outside.bodies).toEqual(['before']);
    outside.answer = () => null;
    clock.advance(30_000);
    await waitFor(world, () => world.view().status.lag.messages === 0);
    expect(outside.got.map(({ message }) => message.body.length)).toEqual([
      6,
      ...Array.from({ length: 12 }, () => large.length),
      6,
    ]);
  });

  it('is tried apart from all else, so that it takes nothing with it', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    outside.answer = missing('a/gone', 'a/lost');
    await world.put();
    for (const address of ['a/there', 'a/gone', 'a/lost']) world.publish(address);
    await waitFor(world, () => outside.link.sent.length === 1);
    clock.advance(1_000);
    for (let i = 0; i < 3; i++) world.publish('a/there');
    await waitFor(world, () => outside.got.length === 4);
    expect(outside.link.sent.map((batch) => batch.map(({ message }) => message.address))).toEqual([
      ['a/there', 'a/gone', 'a/lost'],
      ['a/gone', 'a/lost'],
      ['a/there', 'a/there', 'a/there'],
    ]);
  });

  it('is not what is refused for a reason of all: that is sent again first, and nothing passes it', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    let credit = 2;
    outside.answer = () => (credit-- > 0 ? null : { reason: 'no credit', permanent: false, general: true });
    await world.put({ batch: { messagesMax: 4 } });
    for (let i = 0; i < 9; i++) world.publish(`a/${i}`, `${i}`);
    await waitFor(world, () => world.view().status.state === 'degraded');
    for (let i = 0; i < 20 && outside.got.length < 9; i++) {
      credit = 1;
      clock.advance(5_000);
      await world.turn();
      await world.turn();
    }
    expect(outside.bodies).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8']);
  });

  it('goes back to its place when the link is lost, and is not counted as repeated before it was sent', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    outside.answer = missing('a/gone');
    await world.put({ batch: { messagesMax: 2 } });
    world.publish('a/there', '0');
    world.publish('a/gone', '1');
    world.publish('a/gone', '2');
    world.publish('a/there', '3');
    await waitFor(world, () => outside.got.length === 2);
    outside.link.lose();
    outside.answer = () => null;
    clock.advance(1_000);
    await waitFor(world, () => outside.got.length === 4);
    expect(outside.bodies).toEqual(['0', '3', '1', '2']);
    expect(world.view().status.counters).toMatchObject({ done: 4, repeated: 1 });
  });

  it('exactly once is passed by nothing, because the other side remembers how far it came', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    outside.sentOffset = -1;
    let isMissing = true;
    let isBehind = false;
    outside.answer = ({ message }) => {
      isBehind ||= isMissing && message.address === 'a/gone';
      return isBehind ? { reason: 'waits', permanent: false } : null;
    };
    await world.put({ delivery: 'exactly-once' });
    for (const address of ['a/there', 'a/gone', 'a/there', 'a/gone', 'a/there']) world.publish(address);
    await waitFor(world, () => world.view().status.state === 'degraded');
    for (let i = 0; i < 3; i++) {
      isBehind = false;
      clock.advance(30_000);
      await world.turn();
    }
    expect(outside.got.length).toBe(1);
    isMissing = false;
    isBehind = false;
    clock.advance(30_000);
    await waitFor(world, () => outside.got.length === 5);
    const offsets = outside.got.map(({ offset }) => offset);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
  });
});
