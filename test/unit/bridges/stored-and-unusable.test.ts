import { describe, expect, it } from 'vitest';
import { checksOf } from '../../../src/bridges/samples.ts';
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
