import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LinkError } from '../../../src/outside.ts';
import { FakeOutside } from '../../support/fake-driver.ts';
import { openWorld, waitFor } from './bridge-world.ts';

const BRIDGE = { connection: 'c', direction: 'out', mappings: [{ match: 'a/{x}' }] };
const STORED = { dryRun: false };

async function errorOf(task: Promise<unknown> | (() => unknown)): Promise<unknown> {
  try {
    await (typeof task === 'function' ? task() : task);
  } catch (error) {
    return error;
  }
  throw new Error('nothing was refused');
}

describe('a definition', () => {
  it.each<[change: Record<string, unknown>, field: string, reason: RegExp]>([
    [{ connection: 'x' }, '/connection', /no connection x/],
    [{ connection: undefined }, '/connection', /must be text/],
    [{ direction: 'both' }, '/direction', /"out", "in"/],
    [{ mappings: [] }, '/mappings', /at least 1/],
    [{ mappings: {} }, '/mappings', /must be a list/],
    [{ mapping: [] }, '/mapping', /did you mean mappings\?/],
    [{ mappings: [{}] }, '/mappings/0/match', /is missing/],
    [{ mappings: [{ match: 'a/{x}' }, { match: 'b/+' }] }, '/mappings/1/match', /write \{name\}/],
    [{ mappings: [{ match: '$SYS/{x...}' }] }, '/mappings/0/match', /belong to the gateway/],
    [{ mappings: [{ match: 'a/{x}', topic: '{y}' }] }, '/mappings/0/topic', /captures \{x\}/],
    [{ mappings: [{ match: 'a/{x}', topic: '{payload.t}' }] }, '/mappings/0/maxTopics', /is missing/],
    [{ mappings: [{ match: 'a/{x}', where: { qos: 'high' } }] }, '/mappings/0/where/qos', /./],
    [{ mappings: [{ match: 'a/{x}', source: 's' }] }, '/mappings/0/source', /lead in only/],
    [{ mappings: [{ match: 'a/{x}', endpoint: 'core' }] }, '/mappings/0/endpoint', /unknown field/],
    [{ mappings: [{ pattern: 'a/#/b' }] }, '/mappings/0/pattern', /at the end/],
    [{ mappings: [{ pattern: '#', localPrefix: 'a' }] }, '/mappings/0/localPrefix', /level of its own/],
    [
      { mappings: [{ pattern: 'a', remotePrefix: '$x/' }] },
      '/mappings/0/remotePrefix',
      /belong to the gateway/,
    ],
    [{ delivery: 'twice' }, '/delivery', /"at-least-once"/],
    [{ buffer: { bytesMax: 1 } }, '/buffer/bytesMax', /at least 1024/],
    [{ buffer: { overflow: 'x' } }, '/buffer/overflow', /"block"/],
    [{ batch: { messagesMax: 1.5 } }, '/batch/messagesMax', /whole number/],
    [{ retry: { minMs: 5_000, maxMs: 1_000 } }, '/retry/minMs', /longer than maxMs/],
    [{ options: { level: 10 } }, '/options/level', /at most 9/],
    [{ options: { levle: 1 } }, '/options/levle', /did you mean level\?/],
    [{ direction: 'in', mappings: [{ match: '{x}' }] }, '/mappings/0/source', /is missing/],
    [{ direction: 'in', mappings: [{ match: 'a', source: 'a b' }] }, '/mappings/0/source', /holds a blank/],
    [{ required: 'yes' }, '/required', /true or false/],
  ])('is refused: %j at %s', async (change, field, reason) => {
    const world = await openWorld();
    await world.bridges.connections.put('c', { type: 'fake' }, STORED);
    const error = await errorOf(world.bridges.put('b', { ...BRIDGE, ...change }, STORED));
    expect(error).toMatchObject({ code: 'invalid-argument', field, message: expect.stringMatching(reason) });
    expect([...world.bridges.list()]).toEqual([]);
  });

  it('of a connection is refused too, by the schema of its type', async () => {
    const world = await openWorld();
    const put = (definition: unknown) => errorOf(world.bridges.connections.put('c', definition, STORED));
    expect(await put('x')).toMatchObject({ code: 'invalid-argument', field: '' });
    expect(await put({ type: 'none' })).toMatchObject({ field: '/type', message: 'must be one of fake' });
    expect(await put({ type: 'fake', hots: 'x' })).toMatchObject({
      field: '/hots',
      message: /did you mean host/,
    });
    expect(await put({ type: 'fake', host: '' })).toMatchObject({ field: '/host' });
    expect(await put({ type: 'fake', password: 7 })).toMatchObject({ field: '/password' });
    expect(await put({ type: 'fake', password: { kept: true } })).toMatchObject({ field: '/password' });
    const named = (name: string) => errorOf(world.bridges.connections.put(name, { type: 'fake' }, STORED));
    for (const name of ['', 'A', '-a', 'a b', 'a'.repeat(65)])
      expect(await named(name)).toMatchObject({ code: 'invalid-argument', field: '' });
  });

  it('beyond the bounds is refused, and so is what others need', async () => {
    const world = await openWorld({ limits: { bridgesMax: 1, outsideConnectionsMax: 1 } });
    await world.put();
    const { connections } = world.bridges;
    expect(await errorOf(world.put({}, 'second'))).toMatchObject({ code: 'limit-reached' });
    expect(await errorOf(connections.put('d', { type: 'fake' }, STORED))).toMatchObject({
      code: 'limit-reached',
    });
    expect(await errorOf(connections.remove('c', { dryRun: true }))).toMatchObject({ code: 'in-use' });
    expect(await errorOf(connections.remove('c'))).toMatchObject({ code: 'in-use' });
    await world.bridges.remove('b', { dryRun: true });
    expect(world.bridges.get('b')).toBeDefined();
    await world.bridges.remove('b');
    await connections.remove('c', { dryRun: true });
    await connections.remove('c');
    expect(await errorOf(connections.remove('c'))).toMatchObject({ code: 'not-found' });
    expect(await errorOf(world.bridges.pause('b'))).toMatchObject({ code: 'not-found' });
  });

  it('is there again after a restart, as it was put', async () => {
    const world = await openWorld();
    const given = { ...BRIDGE, options: { level: 3 }, required: true };
    await world.put(given);
    await world.close();
    const again = await openWorld({ storage: world.storage });
    expect(again.view()).toMatchObject({
      origin: 'stored',
      definition: { options: { level: 3 }, required: true },
    });
    await waitFor(again, () => again.view().status.state === 'connected');
    expect(again.outside.opened[0]).toMatchObject({ name: 'b', direction: 'out', options: { level: 3 } });
  });

  it('that the disk refuses is not in force', async () => {
    const world = await openWorld();
    await world.put();
    const { storage } = world;
    const commit = storage.commit.bind(storage);
    storage.commit = (done) => done(new Error('no space left'));
    const changed = { ...BRIDGE, required: true };
    expect(await errorOf(world.bridges.put('b', changed, STORED))).toMatchObject({ code: 'storage-failed' });
    expect(await errorOf(world.bridges.put('n', BRIDGE, STORED))).toMatchObject({ code: 'storage-failed' });
    storage.commit = commit;
    expect(world.view().definition.required).toBe(false);
    expect(world.bridges.get('n')).toBeUndefined();
  });

  it('of the configuration is shown, paused and reset, but not changed', async () => {
    const configured = { connections: { c: { type: 'fake' } }, bridges: { b: BRIDGE } };
    const world = await openWorld({ configured });
    expect(world.view()).toMatchObject({ origin: 'configuration', status: { state: 'connected' } });
    expect(world.bridges.connections.get('c')).toMatchObject({ origin: 'configuration', bridges: ['b'] });
    expect(await errorOf(world.put())).toMatchObject({ code: 'in-use' });
    expect(await errorOf(world.bridges.remove('b'))).toMatchObject({ code: 'in-use' });
    expect(await errorOf(world.bridges.connections.remove('c'))).toMatchObject({ code: 'in-use' });
    await world.bridges.pause('b');
    await world.close();
    const again = await openWorld({ storage: world.storage, configured });
    expect(again.view().status.state).toBe('paused');
    await again.bridges.resume('b');
    expect(await again.bridges.reset('b')).toBe(0);
    const wrong = { ...configured, bridges: { b: { ...BRIDGE, mappings: [{ match: '+' }] } } };
    expect(await errorOf(openWorld({ configured: wrong }))).toMatchObject({
      message: expect.stringMatching(/^bridges\.b\.mappings\.0\.match in the configuration: /),
    });
  });

  it('loads the driver of its type, and nothing does that needs none', async () => {
    const world = await openWorld();
    expect(world.loads()).toBe(0);
    await world.put();
    await world.put({}, 'second');
    expect(world.loads()).toBe(1);
  });
});

describe('a change of a connection', () => {
  it('makes its bridges connect anew, and is refused where one could not use it', async () => {
    const world = await openWorld();
    await world.put();
    await world.put({ direction: 'in', mappings: [{ match: 'a/{x}' }] }, 'back');
    const lost = { type: 'fake', stampLost: true };
    expect(await errorOf(world.bridges.connections.put('c', lost, STORED))).toMatchObject({
      code: 'invalid-argument',
      message: expect.stringContaining('go round'),
    });
    await world.bridges.connections.put('c', { type: 'fake', host: 'elsewhere' }, STORED);
    await waitFor(world, () => world.outside.opened.length === 4);
    expect(world.outside.opened.slice(2).map(({ connection }) => connection)).toMatchObject([
      { host: 'elsewhere' },
      { host: 'elsewhere' },
    ]);
    expect(world.outside.links.slice(0, 2).every(({ isClosed }) => isClosed)).toBe(true);
  });

  it('of direction takes the buffer away', async () => {
    const world = await openWorld();
    world.outside.refusal = new LinkError('unreachable', 'nobody there');
    await world.put();
    world.publish('a/1');
    expect(world.view().status.lag.messages).toBe(1);
    world.outside.refusal = null;
    await world.put({ direction: 'in', mappings: [{ match: 'a/{x}' }] });
    expect(world.view().status).toMatchObject({ state: 'connected', lag: { messages: 0 } });
  });
});

describe('secrets', () => {
  it('are hidden when shown, kept when put as shown, and read anew at each try', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'secrets-'));
    try {
      const file = join(folder, 'password');
      writeFileSync(file, 'from a file\n');
      const environment: Record<string, string> = { SECRET: 'from the environment' };
      const world = await openWorld({ environment });
      const { connections } = world.bridges;
      await connections.put('c', { type: 'fake', password: 'plain' }, STORED);
      expect(connections.get('c')?.definition).toEqual({ type: 'fake', password: { kept: true } });
      await world.put();
      await connections.put('c', { ...connections.get('c')?.definition, host: 'other' }, STORED);
      await waitFor(world, () => world.outside.opened.length === 2);
      await connections.put('c', { type: 'fake', password: { env: 'SECRET' } }, STORED);
      expect(connections.get('c')?.definition.password).toEqual({ env: 'SECRET' });
      await waitFor(world, () => world.outside.opened.length === 3);
      await connections.put('c', { type: 'fake', password: { file } }, STORED);
      await expect.poll(() => world.outside.opened.length).toBe(4);
      expect(world.outside.opened.map(({ connection }) => connection)).toMatchObject([
        { password: 'plain' },
        { password: 'plain', host: 'other' },
        { password: 'from the environment' },
        { password: 'from a file' },
      ]);
      await connections.put('c', { type: 'fake', password: { env: 'NONE' } }, STORED);
      await waitFor(world, () => world.view().status.state === 'disconnected');
      expect(world.view().status).toMatchObject({
        failure: 'authentication',
        reason: '/password: the environment variable NONE is not set',
      });
      expect(JSON.stringify(world.lines)).not.toMatch(/plain|from a file|from the environment/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('a try', () => {
  it('really opens and closes a link, of what is there and of what is not, and changes nothing', async () => {
    const world = await openWorld();
    const { connections } = world.bridges;
    const tried = await connections.put('c', { type: 'fake', host: 'h' }, { dryRun: true });
    expect(tried).toMatchObject({ created: true, probe: { ok: true, failure: null } });
    expect(connections.get('c')).toBeUndefined();
    expect(world.outside.link.isClosed).toBe(true);
    await world.put();
    expect(await connections.probe('c')).toMatchObject({ ok: true });
    expect(world.outside.opened.at(-1)).toMatchObject({ name: 'c.probe', isTrial: true });
    expect(world.view().status.state).toBe('connected');
    world.outside.refusal = new LinkError('tls', 'the certificate has expired');
    expect(await world.bridges.probe('b')).toMatchObject({
      ok: false,
      failure: 'tls',
      detail: 'the certificate has expired',
    });
    expect(await world.bridges.put('new', BRIDGE, { dryRun: true })).toMatchObject({
      created: true,
      probe: { ok: false },
    });
    expect(world.bridges.get('new')).toBeUndefined();
    expect(await errorOf(world.bridges.probe('new'))).toMatchObject({ code: 'not-found' });
  });

  it('of what hangs ends in time, and holds up no change', async () => {
    const outside = new FakeOutside();
    const world = await openWorld({ outside });
    await world.put({ paused: true });
    outside.hanging.add('open');
    const trying = world.bridges.probe('b');
    await world.turn();
    await world.put({ paused: true, required: true });
    expect(world.view().definition.required).toBe(true);
    world.clock.advance(15_000);
    expect(await trying).toMatchObject({ ok: false, failure: 'timeout' });
    expect(outside.opened[0]?.signal.aborted).toBe(true);
  });
});
