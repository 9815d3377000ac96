import { describe, expect, it } from 'vitest';
import { checksOf } from '../../../src/bridges/samples.ts';
import { LinkError } from '../../../src/outside.ts';
import type { MemoryTable } from '../../support/memory-storage.ts';
import { openWorld, waitFor } from './bridge-world.ts';

describe('a stored bridge whose connection has gone from the configuration', () => {
  const configured = { connections: { c: { type: 'fake' } } };

  async function withoutConnection() {
    const world = await openWorld({ configured });
    await world.put({ required: true });
    world.publish('a/1', '0');
    await waitFor(world, () => world.outside.got.length === 1);
    await world.bridges.stop(1_000);
    world.publish('a/1', '1');
    await world.turn();
    await world.close();
    return openWorld({ storage: world.storage, outside: world.outside });
  }

  it('lets nothing pass, says why it is not connected, and holds up readiness where it is required', async () => {
    const world = await withoutConnection();
    world.publish('a/1', '2');
    expect(world.view()).toMatchObject({
      definition: { connection: 'c', required: true },
      status: {
        state: 'disconnected',
        failure: 'no-target',
        reason: '/connection there is no connection c',
        lag: { messages: 2 },
      },
    });
    expect(checksOf(world.bridges.list())).toMatchObject([{ name: 'bridge:b', ok: false }]);
    expect(world.lines).toContainEqual(
      expect.objectContaining({ level: 'error', text: expect.stringContaining('cannot be used') }),
    );
    expect(world.outside.links).toHaveLength(1);
  });

  it('goes on when that is put again, or is there at the next start', async () => {
    const world = await withoutConnection();
    world.publish('a/1', '2');
    await world.bridges.connections.put('c', { type: 'fake' }, { dryRun: false });
    await waitFor(world, () => world.outside.got.length === 3);
    expect(world.outside.bodies).toEqual(['0', '1', '2']);
    expect(world.view().status).toMatchObject({ state: 'connected', lag: { messages: 0 } });

    const other = await withoutConnection();
    other.publish('a/1', '2');
    await other.turn();
    await other.close();
    const again = await openWorld({ storage: other.storage, outside: other.outside, configured });
    await waitFor(again, () => other.outside.got.length === 3);
    expect(other.outside.bodies).toEqual(['0', '1', '2']);
  });
});

describe('a stored bridge that cannot be read any more', () => {
  const WHOLE = { connection: 'c', direction: 'out', mappings: [{ match: 'a/{rest...}' }] };

  /** Two messages wait in its buffer, and its definition is another now. */
  async function withDefinition(definition: unknown) {
    const world = await openWorld();
    await world.bridges.connections.put('c', { type: 'fake' }, { dryRun: false });
    world.outside.refusal = new LinkError('unreachable', 'nobody there');
    await world.put({ buffer: { messagesMax: 3 } });
    for (const body of ['0', '1']) world.publish('a/1', body);
    await world.turn();
    await world.close();
    const table = world.storage.tables.get('bridges') as MemoryTable;
    table.put('bridge/b', Buffer.from(JSON.stringify(definition)));
    world.outside.refusal = null;
    return openWorld({ storage: world.storage, outside: world.outside });
  }

  it.each([
    ['a mapping', { ...WHOLE, mappings: [{ match: 'a/{' }] }, '/mappings/0/match '],
    ['a field', { ...WHOLE, delivery: 'by-pigeon' }, '/delivery '],
    ['a field that is missing', { connection: 'c', mappings: WHOLE.mappings }, '/direction '],
    ['all of it', 'gone', ''],
  ])('because of %s is listed as failed, with the reason, and holds what waits', async (_, given, place) => {
    const world = await withDefinition(given);
    world.publish('a/1', 'is not known to be for it');
    await world.turn();
    expect([...world.bridges.list()]).toMatchObject([
      {
        name: 'b',
        origin: 'stored',
        status: {
          state: 'failed',
          reason: expect.stringContaining(place),
          failure: null,
          retryAtMs: null,
          lag: { messages: 2, bytes: 2 },
          counters: { taken: 2 },
        },
        mappings: [],
      },
    ]);
    expect(world.view().status.reason).not.toBe('');
    expect(world.lines).toContainEqual(
      expect.objectContaining({ level: 'error', text: expect.stringContaining('cannot be read') }),
    );
    expect(world.outside.opened).toHaveLength(1);
  });

  it('shows what of it can be read', async () => {
    const world = await withDefinition({ ...WHOLE, mappings: 7, required: true, buffer: { bytesMax: 4096 } });
    expect(world.view().definition).toMatchObject({
      connection: 'c',
      direction: 'out',
      mappings: [],
      required: true,
      buffer: { bytesMax: 4096, overflow: 'block' },
    });
    expect(checksOf(world.bridges.list())).toEqual([{ name: 'bridge:b', ok: false, detail: 'failed' }]);
  });

  it('sends what waited when it is put again', async () => {
    const world = await withDefinition({ ...WHOLE, mappings: [{ match: 'a/{' }] });
    await world.put();
    world.publish('a/1', '2');
    await waitFor(world, () => world.outside.got.length === 3);
    expect(world.outside.bodies).toEqual(['0', '1', '2']);
    expect(world.view()).toMatchObject({
      status: { state: 'connected', reason: '', lag: { messages: 0 }, counters: { taken: 3, done: 3 } },
      mappings: [{ in: 1 }],
    });
  });

  it('is only paused when it is put again as such', async () => {
    const world = await withDefinition({ ...WHOLE, paused: true, mappings: [{ match: 'a/{' }] });
    expect(world.view().status.state).toBe('failed');
    await world.put({ paused: true });
    expect(world.view().status).toMatchObject({ state: 'paused', reason: '', lag: { messages: 2 } });
    await world.bridges.resume('b');
    await waitFor(world, () => world.outside.got.length === 2);
  });

  it('stays failed whatever else is done, keeps nobody from changing its connection, and can be removed', async () => {
    const world = await withDefinition({ ...WHOLE, mappings: [{ match: 'a/{' }] });
    const { bridges } = world;
    for (const change of [bridges.pause('b'), bridges.resume('b')])
      await expect(change).rejects.toMatchObject({ code: 'in-use' });
    await bridges.connections.put('c', { type: 'fake' }, { dryRun: false });
    expect(await bridges.probe('b')).toMatchObject({ ok: false, failure: 'no-target' });
    expect(world.view().status).toMatchObject({ state: 'failed', lag: { messages: 2 } });
    expect(await bridges.reset('b')).toBe(2);
    expect(world.view().status).toMatchObject({ state: 'failed', lag: { messages: 0 } });
    await bridges.remove('b');
    expect([...bridges.list()]).toEqual([]);
  });

  it('is mended by the next start where that can read it again', async () => {
    const world = await withDefinition({ ...WHOLE, delivery: 'of-a-newer-version' });
    await world.close();
    const table = world.storage.tables.get('bridges') as MemoryTable;
    expect(JSON.parse(Buffer.from(table.entries.get('bridge/b') as Uint8Array).toString())).toEqual({
      ...WHOLE,
      delivery: 'of-a-newer-version',
    });
    table.put('bridge/b', Buffer.from(JSON.stringify(WHOLE)));
    const again = await openWorld({ storage: world.storage, outside: world.outside });
    await waitFor(again, () => again.outside.got.length === 2);
  });

  it('is led to by mapping rules of the operator all the same', async () => {
    const world = await withDefinition({ ...WHOLE, mappings: [{ match: 'a/{' }] });
    await world.core.rules.put('user', {
      from: { match: 'x/{id}' },
      to: [{ endpoint: 'bridge:b', topic: 'a/{id}' }],
    });
    world.publish('x/7', '2');
    expect(world.view().status.lag.messages).toBe(3);
  });
});

describe('a bridge that is put while the gateway stops', () => {
  it('is not started, for nobody would stop it', async () => {
    const world = await openWorld();
    await world.bridges.connections.put('c', { type: 'fake' }, { dryRun: false });
    world.storage.holdCommits = true;
    const putting = world.put();
    await world.turn();
    await world.bridges.stop(0);
    world.storage.holdCommits = false;
    world.storage.finishCommits();
    await putting;
    await world.turn();
    expect(world.outside.opened).toHaveLength(0);
  });
});
