/** Each change over HTTP leaves one line in the log: who, what, and what became of it; no secret is in it. */

import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { RefusedLogins } from '../../../src/admin/refused-logins.ts';
import type { Clock } from '../../../src/core/index.ts';
import type { Logger } from '../../../src/host.ts';
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

test('a change whose caller does not wait for the answer', async () => {
  const { port, hostname } = new URL(gateway.url);
  let isStored = (): void => {};
  const stored = new Promise<void>((resolve) => {
    isStored = resolve;
  });
  const asked = new Promise<void>((resolve) => {
    gateway.beforePut = () => {
      resolve();
      return stored;
    };
  });
  const body = JSON.stringify(RULE);
  const socket = connect(Number(port), hostname);
  socket.write(
    `PUT /v1/mappings/left HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: Bearer ${KEY}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await asked;
  gateway.beforePut = () => Promise.resolve();
  socket.destroy();
  // Two answers behind it its connection's end is known.
  for (const _ of [1, 2]) await gateway.fetch('/v1/queues', { headers: auth(KEY) });
  isStored();
  await expect
    .poll(() => gateway.logged)
    .toEqual([{ ...who, method: 'PUT', path: '/v1/mappings/left', status: 201 }]);
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
  // The one line that strangers at this address get in this minute.
  await gateway.fetch('/v1/queues', { headers: auth('wrong-horse-battery') });
  gateway.logged.splice(0);

  await gateway.fetch('/v1/queues', { headers: auth(KEY) });
  await gateway.fetch('/v1/sessions/s%2F1?dryRun=true', { method: 'DELETE' });
  await gateway.put('/v1/mappings/m', RULE, auth('wrong-horse-battery'));
  await gateway.put('/v1/queues/q?dryRun=true', {}, auth(KEY));
  // Lines are written when answers are on their way: the next one is behind all of these.
  await gateway.put('/v1/mappings/last', RULE, auth(KEY));
  await expect.poll(() => gateway.logged).toMatchObject([{ path: '/v1/mappings/last' }]);
});

test('a refused login, whose lines are few and hold no credential', () => {
  const lines: object[] = [];
  const logger = { warn: (details: object) => lines.push(details) } as unknown as Logger;
  let nowMs = 0;
  const refused = new RefusedLogins(logger, { nowMs: () => nowMs } as Clock);
  for (let count = 0; count < 5; count++) refused.tell('192.0.2.1', 'key', 'this key is not known');
  refused.tell('192.0.2.2', 'password', 'x');
  expect(lines).toEqual([
    { remoteAddress: '192.0.2.1', shown: 'key', reason: 'this key is not known', alsoRefused: 0 },
    { remoteAddress: '192.0.2.2', shown: 'password', reason: 'x', alsoRefused: 4 },
  ]);
  nowMs = 60_000;
  for (let host = 0; host < 1_000; host++) refused.tell(`2001:db8:0:${host.toString(16)}::1`, 'key', 'x');
  expect(lines).toHaveLength(102);
});

test.each([
  ['a key', { 'x-api-key': 'wrong-horse-battery' }, 'key'],
  ['a key or token', { authorization: 'Bearer wrong-horse-battery' }, 'key or token'],
  ['a password', { authorization: `Basic ${btoa('ann:wrong-horse-battery')}` }, 'password'],
  ['nothing', {}, null],
])('a caller who shows %s', async (_, headers, shown) => {
  const own = await new FakeGateway().start({ apiKeys: [KEY] });
  expect((await own.fetch('/v1/queues', { headers: headers as Record<string, string> })).status).toBe(401);
  expect(own.logged).toMatchObject(shown === null ? [] : [{ remoteAddress: '127.0.0.1', shown }]);
  expect(JSON.stringify(own.logged)).not.toMatch(/horse|ann/);
  await own.admin.stop();
});

test('no key and no body is in the log', async () => {
  await gateway.put('/v1/mappings/m', RULE, auth(KEY));
  await expect.poll(() => gateway.logged.length).toBe(1);
  const text = JSON.stringify(gateway.logged);
  expect(text).not.toContain(KEY);
  expect(text).not.toContain('secret-');
});
