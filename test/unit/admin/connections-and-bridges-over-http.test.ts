/** `/v1/connections` and `/v1/bridges`: put, shown, tried, operated and deleted, by whom, and never with a secret. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_SETTINGS, FakeGateway } from './admin-with-fake-core.ts';

const SECRET = 'a-secret-of-the-outside';
const site = { type: 'fake', host: 'broker.example', password: SECRET };
const out = { connection: 'site', direction: 'out', mappings: [{ match: 'devices/{device}' }] };

let gateway: FakeGateway;
let answers = '';
beforeAll(async () => {
  gateway = await new FakeGateway().start();
  const { fetch } = gateway;
  gateway.fetch = async (...call) => {
    const answer = await fetch.apply(gateway, call);
    answers += JSON.stringify([answer.body, [...answer.headers]]);
    return answer;
  };
});
afterAll(() => gateway.admin.stop());
beforeEach(() => {
  gateway.bridges.stored.clear();
  gateway.bridges.bridges.clear();
  gateway.bridges.calls.splice(0);
  gateway.logged.splice(0);
});
afterEach(() => {
  expect(answers).not.toContain(SECRET);
  expect(JSON.stringify(gateway.logged)).not.toContain(SECRET);
});

const remove = (path: string, headers: Record<string, string> = {}) =>
  gateway.fetch(path, { method: 'DELETE', headers });
const act = (path: string) => gateway.fetch(path, { method: 'POST' });

describe('a connection', () => {
  test('is created, replaced, shown and deleted, its secret kept and never shown', async () => {
    const created = await gateway.put('/v1/connections/site', site);
    expect(created).toMatchObject({
      status: 201,
      body: {
        name: 'site',
        origin: 'stored',
        definition: { type: 'fake', host: 'broker.example', password: { kept: true } },
        bridges: [],
      },
    });
    expect(created.headers.get('location')).toBe('/v1/connections/site');
    expect(gateway.bridges.stored.get('site')).toMatchObject({ definition: site });
    const shown = await gateway.fetch('/v1/connections/site');
    expect(shown.body).toEqual(created.body);
    expect(shown.headers.get('etag')).toBe(created.headers.get('etag'));
    const again = await gateway.put('/v1/connections/site', { ...site, host: 'other.example' });
    expect(again.status).toBe(200);
    expect(again.headers.get('etag')).not.toBe(created.headers.get('etag'));
    expect((await gateway.fetch('/v1/connections')).body).toMatchObject({
      items: [{ name: 'site' }],
      next: null,
    });
    expect(await remove('/v1/connections/site')).toMatchObject({ status: 204, body: '' });
    expect((await gateway.fetch('/v1/connections/site')).status).toBe(404);
  });

  test('that bridges use is not deleted, and says which', async () => {
    await gateway.put('/v1/connections/site', site);
    await gateway.put('/v1/bridges/b', out);
    for (const query of ['', '?dryRun=true'])
      expect(await remove(`/v1/connections/site${query}`)).toMatchObject({
        status: 409,
        body: { code: 'conflict', in: 'path', pointer: '/name', detail: 'bridges use the connection: b' },
      });
  });

  test('is tried without being stored, and tried as it is stored', async () => {
    expect(await gateway.put('/v1/connections/site?dryRun=true', site)).toMatchObject({
      status: 200,
      body: {
        dryRun: true,
        created: true,
        probe: { ok: true, failure: null, detail: 'a broker', milliseconds: 12 },
      },
    });
    expect(gateway.bridges.stored.size).toBe(0);
    expect((await act('/v1/connections/site:probe')).status).toBe(404);
    await gateway.put('/v1/connections/site', site);
    expect(await act('/v1/connections/site:probe')).toMatchObject({ status: 200, body: { ok: true } });
    expect(gateway.bridges.calls).toEqual(['probe site', 'probe site']);
  });

  test('YAML says the same as JSON', async () => {
    const body = 'type: fake\nhost: broker.example\n';
    const headers = { 'content-type': 'application/yaml' };
    expect(await gateway.fetch('/v1/connections/y', { method: 'PUT', body, headers })).toMatchObject({
      status: 201,
      body: { definition: { host: 'broker.example' } },
    });
  });
});

describe('a bridge', () => {
  beforeEach(async () => {
    await gateway.put('/v1/connections/site', site);
  });

  test('is created with its defaults, shown with its state, and deleted', async () => {
    const created = await gateway.put('/v1/bridges/b', out);
    expect(created).toMatchObject({
      status: 201,
      body: {
        name: 'b',
        origin: 'stored',
        definition: { ...out, delivery: 'at-least-once', required: false },
        mappings: [{ in: 0, out: 0 }],
      },
    });
    gateway.bridges.bridges.get('b')!.state = 'disconnected';
    expect((await gateway.fetch('/v1/bridges/b')).body).toMatchObject({
      status: {
        state: 'disconnected',
        since: '2023-11-14T22:13:20.000Z',
        reason: 'connect ECONNREFUSED',
        failure: 'unreachable',
        retryAt: '2023-11-14T22:13:25.000Z',
        attempts: 3,
        errors: [{ at: '2023-11-14T22:13:20.000Z', text: 'connect ECONNREFUSED' }],
        lag: { messages: 7, bytes: 700, seconds: 2.4 },
        counters: { taken: 22, done: 10, dropped: { overflow: 3 } },
      },
    });
    expect((await gateway.fetch('/v1/connections/site')).body).toMatchObject({ bridges: ['b'] });
    expect((await remove('/v1/bridges/b?dryRun=true')).status).toBe(204);
    expect(gateway.bridges.bridges.size).toBe(1);
    expect((await remove('/v1/bridges/b')).status).toBe(204);
    expect((await gateway.fetch('/v1/bridges/b')).status).toBe(404);
  });

  test('is paused, resumed and reset', async () => {
    await gateway.put('/v1/bridges/b', out);
    expect((await act('/v1/bridges/b:pause?dryRun=true')).body).toMatchObject({
      status: { state: 'connected' },
    });
    expect((await act('/v1/bridges/b:pause')).body).toMatchObject({ status: { state: 'paused' } });
    expect((await act('/v1/bridges/b:resume')).body).toMatchObject({ status: { state: 'connecting' } });
    expect((await act('/v1/bridges/b:reset?dryRun=true')).body).toEqual({ count: 7 });
    expect(gateway.bridges.calls).toEqual([]);
    expect((await act('/v1/bridges/b:reset')).body).toEqual({ count: 7 });
    expect(gateway.bridges.calls).toEqual(['reset b']);
    for (const verb of ['probe', 'pause', 'resume', 'reset'])
      expect(await act(`/v1/bridges/none:${verb}`)).toMatchObject({
        status: 404,
        body: { pointer: '/name' },
      });
  });

  test('an action takes a type of nothing, as clients send it with everything', async () => {
    await gateway.put('/v1/bridges/b', out);
    const headers = { 'content-type': 'application/json' };
    expect((await gateway.fetch('/v1/bridges/b:pause', { method: 'POST', headers })).status).toBe(200);
  });

  test('a try that takes long holds up no other change', async () => {
    let finish = (): void => undefined;
    gateway.bridges.untilProbed = new Promise((resolve) => {
      finish = resolve;
    });
    const trial = gateway.put('/v1/bridges/b?dryRun=true', out);
    await expect.poll(() => gateway.bridges.calls).toEqual(['probe b']);
    expect((await gateway.put('/v1/bridges/c', out)).status).toBe(201);
    finish();
    expect(await trial).toMatchObject({ status: 200, body: { created: true, probe: { ok: true } } });
  });
});

describe.each([
  ['connections', site, { ...site, host: 'other.example' }, 'connection'],
  ['bridges', out, { ...out, direction: 'in' }, 'bridge'],
] as const)('%s', (kind, definition, changed, one) => {
  beforeEach(async () => {
    await gateway.put('/v1/connections/site', site);
  });
  const path = `/v1/${kind}/x`;

  test('are changed only as the conditions say', async () => {
    const first = await gateway.put(path, definition, { 'if-none-match': '*' });
    expect(first.status).toBe(201);
    for (const query of ['', '?dryRun=true'])
      expect(await gateway.put(path + query, definition, { 'if-none-match': '*' })).toMatchObject({
        status: 412,
        body: { in: 'header', pointer: '/if-none-match' },
      });
    const stale = { 'if-match': first.headers.get('etag')! };
    expect((await gateway.put(path, changed, stale)).status).toBe(200);
    expect((await gateway.put(path, definition, stale)).status).toBe(412);
    expect((await remove(path, stale)).status).toBe(412);
    const seen = { 'if-match': (await gateway.fetch(path)).headers.get('etag')! };
    const changes = await Promise.all(
      [1, 2, 3].map((note) => gateway.put(path, { ...definition, note }, seen)),
    );
    expect(changes.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
  });

  test('of the configuration are shown, and changed only there', async () => {
    await gateway.put(path, definition);
    const fixed = (kind === 'bridges' ? gateway.bridges.bridges : gateway.bridges.stored).get('x')!;
    fixed.origin = 'configuration';
    expect((await gateway.fetch(path)).body).toMatchObject({ origin: 'configuration' });
    const refused = {
      status: 409,
      body: {
        code: 'conflict',
        in: 'path',
        pointer: '/name',
        detail: `the ${one} stands in the configuration, and can only be changed there`,
      },
    };
    expect(await gateway.put(path, definition)).toMatchObject(refused);
    expect(await gateway.put(`${path}?dryRun=true`, definition)).toMatchObject(refused);
    expect(await remove(path)).toMatchObject(refused);
    expect((await act(`${path}:probe`)).status).toBe(200);
  });

  test('that are wrong are refused at the field, and not stored', async () => {
    const [field, wrong] =
      kind === 'bridges'
        ? ['/connection', { ...out, connection: 'none' }]
        : ['/type', { ...site, type: 'x' }];
    for (const query of ['', '?dryRun=true'])
      expect(await gateway.put(path + query, wrong)).toMatchObject({
        status: 400,
        body: { code: 'invalid-request', in: 'body', pointer: field },
      });
    expect((await gateway.fetch(path)).status).toBe(404);
    for (const name of ['-a', 'Upper', 'a'.repeat(65)])
      expect(await gateway.put(`/v1/${kind}/${name}`, definition)).toMatchObject({
        status: 400,
        body: { in: 'path', pointer: '/name' },
      });
    expect((await act(path)).headers.get('allow')).toBe('DELETE, GET, HEAD, PUT');
    expect((await act(`${path}:explode`)).status).toBe(404);
    const looked = await gateway.fetch(`${path}:probe`);
    expect(looked.status).toBe(405);
    expect(looked.headers.get('allow')).toBe('POST');
    expect((await gateway.fetch(`${path}?full=true`)).status).toBe(400);
  });

  test('leave a line when they are changed, and none when they are tried', async () => {
    await gateway.put(`${path}?dryRun=true`, definition);
    await gateway.put(path, definition);
    await act(`${path}:probe`);
    await remove(path);
    await expect
      .poll(() => gateway.logged)
      .toMatchObject([
        { method: 'PUT', path: '/v1/connections/site', status: 201 },
        { method: 'PUT', path, status: 201 },
        { method: 'DELETE', path, status: 204 },
      ]);
  });
});

describe('roles', () => {
  const KEYS = {
    admin: 'admin-key-of-sixteen',
    operator: 'operator-key-of-sixteen',
    viewer: 'viewer-key-of-16',
  };
  let guarded: FakeGateway;
  beforeAll(async () => {
    guarded = await new FakeGateway().start({
      apiKeys: [KEYS.admin],
      roles: {
        ...DEFAULT_SETTINGS.roles,
        operator: { apiKeys: [KEYS.operator], groups: [] },
        viewer: { apiKeys: [KEYS.viewer], groups: [] },
      },
    });
    const headers = { 'x-api-key': KEYS.admin };
    await guarded.put('/v1/connections/site', site, headers);
    await guarded.put('/v1/bridges/b', out, headers);
  });
  afterAll(() => guarded.admin.stop());

  test.each<[string, string, unknown, viewer: number, operator: number]>([
    ['GET', '/v1/connections/site', undefined, 200, 200],
    ['GET', '/v1/bridges', undefined, 200, 200],
    ['POST', '/v1/connections/site:probe', undefined, 403, 200],
    ['POST', '/v1/bridges/b:probe', undefined, 403, 200],
    ['POST', '/v1/bridges/b:pause', undefined, 403, 200],
    ['POST', '/v1/bridges/b:reset', undefined, 403, 200],
    ['PUT', '/v1/bridges/b', out, 403, 200],
    ['PUT', '/v1/connections/site', site, 403, 403],
    ['PUT', '/v1/connections/site?dryRun=true', site, 403, 403],
    ['DELETE', '/v1/connections/none', undefined, 403, 403],
  ])('%s %s', async (method, path, body, viewer, operator) => {
    for (const [role, status] of [
      ['viewer', viewer],
      ['operator', operator],
      ['admin', null],
    ] as const) {
      const answer = await guarded.fetch(path, {
        method,
        headers: {
          'x-api-key': KEYS[role],
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (status === null) expect(answer.status).not.toBe(403);
      else expect(answer.status, role).toBe(status);
    }
  });
});
