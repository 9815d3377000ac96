import { describe, expect, it } from 'vitest';
import { redrive, wayBack } from '../../../src/admin/redrive.ts';
import { Message, pastDeathsOf } from '../../../src/core/index.ts';
import { LinkError } from '../../../src/outside.ts';
import { openWorld, type World, waitFor } from './bridge-world.ts';

const STORED = { dryRun: false };

describe('a link', () => {
  it('is opened again after longer and longer pauses, and the state says why and until when', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    outside.refusal = new LinkError('authentication', 'wrong password');
    await world.put({ retry: { minMs: 1_000, maxMs: 8_000 } });
    const first = world.view().status;
    expect(first).toMatchObject({
      state: 'disconnected',
      failure: 'authentication',
      reason: 'wrong password',
      attempts: 1,
      retryAtMs: clock.nowMs() + 1_000,
      sinceMs: clock.nowMs(),
    });
    const pauses: number[] = [];
    for (let i = 0; i < 5; i++) {
      const { retryAtMs } = world.view().status;
      pauses.push((retryAtMs as number) - clock.nowMs());
      clock.advance(pauses.at(-1) as number);
      await world.turn();
    }
    expect(pauses).toEqual([1_000, 2_000, 3_500, 5_750, 8_000]);
    expect(world.view().status).toMatchObject({ sinceMs: first.sinceMs, attempts: 6 });
    // One line, however often it is tried.
    expect(world.lines.filter(({ details }) => details.state === 'disconnected')).toHaveLength(1);
    outside.refusal = null;
    clock.advance(8_000);
    await waitFor(world, () => world.view().status.state === 'connected');
    expect(world.view().status).toMatchObject({ failure: null, reason: '', retryAtMs: null });
    expect(world.view().status.errors.map(({ text }) => text)).toEqual(['wrong password']);
  });

  it('that is lost has what had no answer sent again first, in order, and counted', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    await world.put({ batch: { messagesMax: 3 } });
    outside.isHeld = true;
    for (let i = 0; i < 8; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => outside.link.sent.length === 1);
    outside.link.lose();
    expect(world.view().status).toMatchObject({
      state: 'disconnected',
      failure: 'closed',
      lag: { messages: 8 },
    });
    outside.isHeld = false;
    outside.letGo();
    await world.turn();
    expect(outside.got).toEqual([]);
    clock.advance(1_000);
    await waitFor(world, () => outside.got.length === 8);
    expect(outside.bodies).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
    expect(world.view().status.counters).toMatchObject({ taken: 8, done: 8, repeated: 3 });
  });

  it('that never answers is given up in time, and holds up neither other bridges nor the stop', async () => {
    for (const hanging of ['open', 'send', 'close', 'receive'] as const) {
      const world = await openWorld();
      const { outside, clock } = world;
      outside.hanging.add(hanging);
      await world.put(hanging === 'receive' ? { direction: 'in' } : {});
      world.publish('a/1', 'x');
      await world.turn();
      if (hanging === 'close') outside.link.lose();
      expect(world.view().status.state).toBe(
        { open: 'connecting', receive: 'connecting', send: 'connected', close: 'disconnected' }[hanging],
      );
      clock.advance(61_000);
      await world.turn();
      if (hanging !== 'close') {
        expect(world.view().status).toMatchObject({ failure: 'timeout' });
        expect(outside.opened.length).toBe(1);
      }
      outside.hanging.delete(hanging);
      clock.advance(30_000);
      await waitFor(world, () => world.view().status.state === 'connected');
      outside.hanging.add('close').add('send');
      world.publish('a/1', 'y');
      await world.turn();
      let isStopped = false;
      const startedMs = clock.nowMs();
      world.bridges.stop(1_000).then(() => {
        isStopped = true;
      });
      await waitFor(world, () => {
        if (!isStopped) clock.advance(500);
        return isStopped;
      });
      expect(clock.nowMs() - startedMs).toBeLessThan(10_000);
    }
  });

  it('that is not opened in time says what it waited for', async () => {
    const { outside, clock, put, turn, view } = await openWorld();
    outside.hanging.add('open');
    await put();
    outside.opened[0]?.waiting?.('a producer id: CONCURRENT_TRANSACTIONS');
    clock.advance(30_000);
    await turn();
    const reason = 'it did not connect within 30 seconds: a producer id: CONCURRENT_TRANSACTIONS';
    expect(view().status).toMatchObject({ failure: 'timeout', reason });
    clock.advance(1_000);
    await turn();
    clock.advance(30_000);
    await turn();
    // Each try for itself.
    expect(view().status).toMatchObject({ reason: 'it did not connect within 30 seconds' });
  });

  it('that is slow and answers now and then has its time for each answer', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    await world.put();
    outside.isHeld = true;
    world.publish('a/1', 'x');
    await waitFor(world, () => outside.link.sent.length === 1);
    for (let i = 0; i < 5; i++) {
      clock.advance(50_000);
      outside.opened.at(-1)?.answered?.();
      await world.turn();
    }
    expect(world.view().status.state).toBe('connected');
    clock.advance(61_000);
    await waitFor(world, () => world.view().status.failure === 'timeout');
  });

  it('that opens after its time is closed', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    let open: (() => void) | undefined;
    const real = outside.open.bind(outside);
    outside.open = (options) =>
      new Promise((resolve) => {
        open = () => void real(options).then(resolve);
      });
    await world.put();
    await world.turn();
    clock.advance(30_000);
    expect(world.view().status).toMatchObject({ state: 'disconnected', failure: 'timeout' });
    open?.();
    await waitFor(world, () => outside.links.length === 1 && outside.link.isClosed);
    expect(world.view().status.state).toBe('disconnected');
  });

  it('is given the time to finish what is on its way when the gateway stops', async () => {
    const world = await openWorld();
    const { outside } = world;
    await world.put({ batch: { messagesMax: 2 } });
    outside.isHeld = true;
    for (let i = 0; i < 5; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => outside.link.sent.length === 1);
    const stopping = world.bridges.stop(10_000);
    outside.letGo();
    await stopping;
    expect(outside.bodies).toEqual(['0', '1']);
    expect(outside.link.isClosed).toBe(true);
    await world.core.close();
    const again = await openWorld({ storage: world.storage, outside });
    outside.isHeld = false;
    outside.letGo();
    await waitFor(again, () => outside.got.length === 5);
    expect(outside.bodies).toEqual(['0', '1', '2', '3', '4']);
    expect(again.view().status.counters).toMatchObject({ taken: 3, done: 3 });
  });

  it.each<[what: string, change: (world: World) => unknown]>([
    ['paused', (world) => world.bridges.pause('b')],
    ['given other options', (world) => world.put({ options: { level: 2 } })],
    [
      'connected elsewhere',
      (world) => world.bridges.connections.put('c', { type: 'fake', host: 'h' }, STORED),
    ],
  ])('is given a time to finish what is on its way when the bridge is %s', async (_, change) => {
    const world = await openWorld();
    const { outside, clock } = world;
    await world.put({ batch: { messagesMax: 2 } });
    outside.isHeld = true;
    for (let i = 0; i < 4; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => outside.link.sent.length === 1);
    await change(world);
    expect(outside.links).toHaveLength(1);
    expect(outside.link.isClosed).toBe(false);
    outside.isHeld = false;
    outside.letGo();
    await waitFor(world, () => outside.links[0]?.isClosed === true);
    await world.bridges.resume('b');
    await waitFor(world, () => outside.got.length === 4);
    expect(outside.bodies).toEqual(['0', '1', '2', '3']);
    expect(world.view().status.counters).toMatchObject({ done: 4, repeated: 0 });
    // And no longer than that, though no answer comes.
    outside.hanging.add('send');
    world.publish('a/1', 'hangs');
    await world.turn();
    await world.put({ options: { level: 3 } });
    const { link } = outside;
    expect(link.isClosed).toBe(false);
    outside.hanging.delete('send');
    clock.advance(5_000);
    await waitFor(world, () => outside.got.length === 5);
    expect(link.isClosed).toBe(true);
  });

  it('that is lost while it finishes does not disturb the one that follows', async () => {
    const world = await openWorld();
    const { outside } = world;
    await world.put();
    outside.isHeld = true;
    world.publish('a/1', 'x');
    await waitFor(world, () => outside.link.sent.length === 1);
    await world.put({ options: { level: 2 } });
    outside.link.lose();
    outside.answer = () => {
      outside.answer = () => null;
      throw new LinkError('closed', 'gone');
    };
    outside.isHeld = false;
    outside.letGo();
    await waitFor(world, () => outside.got.length === 1);
    await waitFor(world, () => world.view().status.state === 'connected');
    await world.turn();
    expect(outside.links).toHaveLength(2);
  });

  it('is not there while the bridge is paused, also after a restart; what it would send waits', async () => {
    const world = await openWorld();
    const { outside } = world;
    await world.put();
    await world.bridges.pause('b');
    expect(outside.link.isClosed).toBe(true);
    expect(world.view()).toMatchObject({ status: { state: 'paused' }, definition: { paused: true } });
    world.publish('a/1', 'later');
    await world.turn();
    await world.close();
    const again = await openWorld({ storage: world.storage, outside });
    expect(again.view()).toMatchObject({ status: { state: 'paused', lag: { messages: 1 } } });
    expect(outside.links).toHaveLength(1);
    await again.bridges.resume('b');
    await waitFor(again, () => outside.got.length === 1);
    expect(again.view()).toMatchObject({ status: { state: 'connected' }, definition: { paused: false } });
  });
});

describe('a bridge', () => {
  it('is degraded while the other side takes nothing, and tries the same messages in order', async () => {
    const world = await openWorld();
    const { outside, clock } = world;
    outside.answer = ({ message }) =>
      Buffer.from(message.body).toString() === '1' ? { reason: 'no leader', permanent: false } : null;
    await world.put({ batch: { messagesMax: 2 } });
    for (let i = 0; i < 4; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => world.view().status.state === 'degraded');
    expect(world.view().status).toMatchObject({ reason: 'no leader', lag: { messages: 3 } });
    outside.answer = () => null;
    clock.advance(5_000);
    await waitFor(world, () => outside.got.length === 4);
    expect(outside.bodies).toEqual(['0', '1', '2', '3']);
    expect(world.view().status).toMatchObject({ state: 'connected', reason: '' });
    expect(world.view().status.counters).toMatchObject({ done: 4, repeated: 1 });
  });

  it('gives what the other side will never take to the dead letters, with the reason', async () => {
    const world = await openWorld();
    world.outside.answer = () => ({ reason: 'schema 7 says no', permanent: true });
    await world.put();
    world.publish('a/1', 'bad', { reliability: 0 });
    await waitFor(world, () => world.view().status.counters.deadLettered === 1);
    const dead = (await world.core.queues.get('$dlq/bridges')?.take(true))?.message;
    expect(dead?.durable).toBe(true);
    const history = dead?.properties.headers.find(({ name }) => name === 'x-death')?.value;
    expect(
      JSON.stringify(history, (_, value) => (typeof value === 'bigint' ? Number(value) : value)),
    ).toMatch(/"rejected".*"bridge".*"value":"b".*schema 7 says no/);
    expect(world.view().status).toMatchObject({ state: 'connected', lag: { messages: 0 } });
  });

  it('sends a dead letter again that is sent back to it', async () => {
    const world = await openWorld();
    const { outside, core } = world;
    outside.answer = () => ({ reason: 'too large', permanent: true });
    await world.put({ mappings: [{ match: 'a/{x}', topic: 'there/{x}' }] });
    world.publish('a/1', 'bad');
    await waitFor(world, () => world.view().status.counters.deadLettered === 1);
    outside.answer = () => null;
    const dead = core.queues.provide('$dlq/bridges');
    const [waiting] = await dead.browse(null, 1, 1);
    const way = wayBack(core, waiting!.message, dead, undefined);
    expect(way.queue).toBe('$bridge/b');
    expect(await redrive(core, dead, waiting!.offset, way)).toBeNull();
    await waitFor(world, () => outside.got.length === 1);
    expect(outside.got[0]?.message.address).toBe('there/1');
    expect(outside.got[0]?.message.properties.headers.map(({ name }) => name)).toEqual(['gw-path']);
    expect(dead.readyCount).toBe(0);
    expect(world.view().status.counters).toMatchObject({ taken: 2, done: 1, deadLettered: 1 });
  });

  it('does not get back what it brought in: that says where it is to go, or that it has no way back', async () => {
    const world = await openWorld();
    const { core } = world;
    await world.put({ direction: 'in', mappings: [{ match: 'a/{x}', topic: '{payload.id}', maxTopics: 1 }] });
    const bad = new Message({ address: 'a/1', body: Buffer.from('no JSON'), reliability: 1 });
    expect(await world.outside.link.bring(bad)).toEqual(['stored']);
    const dead = core.queues.provide('$dlq/bridges');
    const [waiting] = await dead.browse(null, 1, 1);
    expect(pastDeathsOf(waiting!.message)).toMatchObject([
      { bridge: 'b', mapping: '', queue: '', reason: 'payload' },
    ]);
    expect(() => wayBack(core, waiting!.message, dead, undefined)).toThrow(/bridge b brought it in/);
    const queue = core.queues.provide('looked-at');
    expect(
      await redrive(core, dead, waiting!.offset, wayBack(core, waiting!.message, dead, 'looked-at')),
    ).toBeNull();
    expect((await queue.take(true))?.message.address).toBe('a/1');
    // Of one that led out and does not any more the text names the bridge too.
    await world.put({}, 'out');
    world.outside.answer = () => ({ reason: 'too large', permanent: true });
    world.publish('a/1');
    await waitFor(world, () => dead.readyCount === 1);
    await world.bridges.remove('out');
    const [left] = await dead.browse(null, 1, 1);
    expect(() => wayBack(core, left!.message, dead, undefined)).toThrow(/no bridge out leads out/);
  });

  it('forgets all that waits, its counters and its errors when it is reset', async () => {
    const world = await openWorld();
    world.outside.answer = () => ({ reason: 'busy', permanent: false });
    await world.put({ batch: { messagesMax: 2 } });
    for (let i = 0; i < 9; i++) world.publish('a/1', `${i}`);
    await waitFor(world, () => world.view().status.state === 'degraded');
    world.outside.answer = () => null;
    expect(await world.bridges.reset('b')).toBe(9);
    await waitFor(world, () => world.view().status.state === 'connected');
    expect(world.view().status).toMatchObject({
      errors: [],
      counters: { taken: 0, done: 0 },
      lag: { messages: 0 },
    });
    world.publish('a/1', 'new');
    await waitFor(world, () => world.outside.got.length === 1);
    expect(world.outside.bodies).toEqual(['new']);
  });
});
