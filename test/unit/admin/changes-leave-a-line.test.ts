/** Each change over HTTP leaves one line in the log: who, what, and what became of it; no secret is in it. */

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { DEFAULT_SETTINGS, FakeGateway } from './admin-with-fake-core.ts';

const KEY = 'correct-horse-battery';
const VIEWER = 'viewers-horse-battery';
const NAME = `key:${createHash('sha256').update(KEY).digest('hex').slice(0, 8)}`;
const RULE = { match: 'secret-{device}/x', stream: 's', key: '{device}' };

let gateway: FakeGateway;
beforeAll(async () => {
  const { roles } = DEFAULT_SETTINGS;
  gateway = await new FakeGateway().start({
    apiKeys: [KEY],
    roles: { ...roles, viewer: { apiKeys: [VIEWER], groups: [] } },
  });
});
afterAll(() => gateway.admin.stop());
beforeEach(() => gateway.logged.splice(0));

const auth = (key: string) => ({ authorization: `Bearer ${key}` });
const who = { who: NAME, role: 'admin', remoteAddress: '127.0.0.1' };

test('a change', async () => {
  await gateway.put('/v1/mappings/m', RULE, auth(KEY));
  await expect
    .poll(() => gateway.logged)
    .toEqual([{ ...who, method: 'PUT', path: '/v1/mappings/m', status: 201 }]);
});

test('a change that is refused, for what it says or for who asks', async () => {
  await gateway.put('/v1/mappings/m', { match: 1 }, auth(KEY));
  await gateway.put('/v1/mappings/m', RULE, auth(VIEWER));
  await expect
    .poll(() => gateway.logged)
    .toMatchObject([
      { ...who, status: 400 },
      { role: 'viewer', status: 403 },
    ]);
});

test('not what only looks, tries or publishes, and not strangers', async () => {
  await gateway.fetch('/v1/queues', { headers: auth(KEY) });
  await gateway.fetch('/v1/sessions/s%2F1?dryRun=true', { method: 'DELETE' });
  await gateway.put('/v1/mappings/m', RULE, auth('wrong-horse-battery'));
  await gateway.put('/v1/queues/q?dryRun=true', {}, auth(KEY));
  // Lines are written when answers are on their way: the next one is behind all of these.
  await gateway.put('/v1/mappings/last', RULE, auth(KEY));
  await expect.poll(() => gateway.logged).toMatchObject([{ path: '/v1/mappings/last' }]);
});

test('no key and no body is in the log', async () => {
  await gateway.put('/v1/mappings/m', RULE, auth(KEY));
  await expect.poll(() => gateway.logged.length).toBe(1);
  const text = JSON.stringify(gateway.logged);
  expect(text).not.toContain(KEY);
  expect(text).not.toContain('secret-');
});
