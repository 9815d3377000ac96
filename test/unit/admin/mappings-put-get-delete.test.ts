/** `/v1/mappings`: idempotent PUT, ETags and preconditions, pages, and problems that point at the field. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CoreError, newMappingCounters } from '../../../src/core/index.ts';
import { FakeGateway } from './admin-with-fake-core.ts';

const telemetry = {
  match: 'devices/{device}/telemetry',
  stream: 'telemetry',
  key: '{device}',
  partitions: 6,
};
let gateway: FakeGateway;

beforeAll(async () => {
  gateway = await new FakeGateway().start();
});
afterAll(() => gateway.admin.stop());
beforeEach(() => {
  gateway.rules.clear();
  gateway.failure = null;
});

test('put creates, put again replaces, get shows, delete deletes', async () => {
  const created = await gateway.put('/v1/mappings/telemetry', telemetry);
  expect(created.status).toBe(201);
  expect(created.headers.get('location')).toBe('/v1/mappings/telemetry');
  expect(created.body).toEqual({
    name: 'telemetry',
    definition: telemetry,
    pattern: 'devices/+/telemetry',
    stream: 'telemetry',
    partitions: 6,
    targets: ['stream:telemetry'],
    bothWays: true,
    oneWayReason: null,
    inverse: null,
    counters: newMappingCounters(),
    warnings: [],
  });
  await expect
    .poll(() => gateway.logged)
    .toContainEqual({
      who: 'local',
      role: 'admin',
      status: 201,
      method: 'PUT',
      path: '/v1/mappings/telemetry',
      remoteAddress: '127.0.0.1',
    });
  const again = await gateway.put('/v1/mappings/telemetry', telemetry);
  expect(again.status).toBe(200);
  expect(again.headers.get('etag')).toBe(created.headers.get('etag'));
  const changed = await gateway.put('/v1/mappings/telemetry', { ...telemetry, key: null });
  expect(changed.body).toMatchObject({ bothWays: false, oneWayReason: expect.stringMatching(/key is null/) });
  expect(changed.headers.get('etag')).not.toBe(created.headers.get('etag'));
  expect((await gateway.fetch('/v1/mappings/telemetry')).headers.get('etag')).toBe(
    changed.headers.get('etag'),
  );
  const deleted = await gateway.fetch('/v1/mappings/telemetry', { method: 'DELETE' });
  expect(deleted).toMatchObject({ status: 204, body: '' });
  expect(await gateway.fetch('/v1/mappings/telemetry')).toMatchObject({
    status: 404,
    body: { code: 'not-found', in: 'path', pointer: '/name' },
  });
});

test('YAML says the same as JSON, and what is no YAML is refused', async () => {
  const put = (body: string) =>
    gateway.fetch('/v1/mappings/y', { method: 'PUT', body, headers: { 'content-type': 'application/yaml' } });
  const written = 'match: devices/{device}/telemetry\nstream: telemetry\nkey: "{device}"\npartitions: 6\n';
  expect(await put(written)).toMatchObject({ status: 201, body: { definition: telemetry } });
  expect(await put('match: [')).toMatchObject({ status: 400, body: { code: 'invalid-body', in: 'body' } });
  const bomb = `a: &a [${'x,'.repeat(50)}]\n${'bcdefgh'
    .split('')
    .map((name, at) => `${name}: &${name} [${`*${'abcdefgh'[at]},`.repeat(50)}]`)
    .join('\n')}`;
  expect(await put(bomb)).toMatchObject({ status: 400 });
});

test('if-match and if-none-match guard against changes of others', async () => {
  const first = await gateway.put('/v1/mappings/t', telemetry, { 'if-none-match': '*' });
  expect(first.status).toBe(201);
  expect(await gateway.put('/v1/mappings/t', telemetry, { 'if-none-match': '*' })).toMatchObject({
    status: 412,
    body: { code: 'precondition-failed', in: 'header', pointer: '/if-none-match' },
  });
  const stale = first.headers.get('etag')!;
  const second = await gateway.put('/v1/mappings/t', { ...telemetry, partitions: 7 }, { 'if-match': stale });
  expect(second.status).toBe(200);
  expect(await gateway.put('/v1/mappings/t', telemetry, { 'if-match': stale })).toMatchObject({
    status: 412,
    body: { pointer: '/if-match' },
  });
  expect(await gateway.put('/v1/mappings/other', telemetry, { 'if-match': '*' })).toMatchObject({
    status: 412,
  });
  expect(
    await gateway.fetch('/v1/mappings/t', { method: 'DELETE', headers: { 'if-match': stale } }),
  ).toMatchObject({ status: 412 });
});

test('of two concurrent changes with one ETag only one wins', async () => {
  const first = await gateway.put('/v1/mappings/t', telemetry);
  const tag = first.headers.get('etag')!;
  const changes = await Promise.all(
    [1, 2, 3, 4].map((partitions) =>
      gateway.put('/v1/mappings/t', { ...telemetry, partitions }, { 'if-match': tag }),
    ),
  );
  expect(changes.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412]);
});

test('pages walk the whole list in order of names', async () => {
  for (const name of ['d', 'a', 'c', 'e', 'b']) await gateway.put(`/v1/mappings/${name}`, telemetry);
  const names: string[] = [];
  let next: string | null = null;
  do {
    const query: string = next === null ? '' : `&after=${next}`;
    const page = (await gateway.fetch(`/v1/mappings?limit=2${query}`)).body as {
      items: { name: string }[];
      next: string | null;
    };
    expect(page.items.length).toBeLessThanOrEqual(2);
    names.push(...page.items.map(({ name }) => name));
    next = page.next;
  } while (next !== null);
  expect(names).toEqual(['a', 'b', 'c', 'd', 'e']);
});

describe('problems point at the field', () => {
  test.each<[string, unknown, string, RegExp]>([
    ['unknown field', { ...telemetry, partition: 1 }, '/partition', /unknown field/],
    ['bad stream', { ...telemetry, stream: 'a b' }, '/stream', /letters/],
    ['unknown capture', { ...telemetry, key: '{x}' }, '/key', /not captured/],
    ['no object', 'text', '', /object/],
  ])('%s', async (_, definition, pointer, detail) => {
    const answer = await gateway.put('/v1/mappings/t', definition);
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(answer.body).toMatchObject({
      type: 'urn:rosettamq:problem:invalid-request',
      status: 400,
      instance: '/v1/mappings/t',
      in: 'body',
      pointer,
      errors: [{ in: 'body', pointer, detail: expect.stringMatching(detail) }],
    });
    expect(gateway.rules.size).toBe(0);
  });

  test('a name that is none', async () => {
    expect(await gateway.put('/v1/mappings/-a', telemetry)).toMatchObject({
      status: 400,
      body: { in: 'path', pointer: '/name' },
    });
    expect(await gateway.put(`/v1/mappings/${'a'.repeat(65)}`, telemetry)).toMatchObject({ status: 400 });
  });

  test('a refusal of the core', async () => {
    gateway.failure = new CoreError('exists-differently', 'the stream has 3 partitions', {
      field: '/partitions',
    });
    expect(await gateway.put('/v1/mappings/t', telemetry)).toMatchObject({
      status: 409,
      body: { code: 'conflict', pointer: '/partitions', detail: 'the stream has 3 partitions' },
    });
  });

  test('a failure of the gateway is logged and shows nothing of itself', async () => {
    gateway.failure = new Error('secret detail');
    const answer = await gateway.put('/v1/mappings/t', telemetry);
    expect(answer.status).toBe(500);
    expect(JSON.stringify(answer.body)).not.toMatch(/secret|node_modules|\.ts:/);
    expect(gateway.logged).toContainEqual({ err: gateway.failure });
  });
});
