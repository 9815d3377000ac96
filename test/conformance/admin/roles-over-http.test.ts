/** Who may do what over HTTP: roles of keys, of users and of holders of tokens, and what ends with them. */

import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

const KEYS = {
  admin: 'admin-key-of-sixteen',
  operator: 'operator-key-of-sixteen',
  viewer: 'viewer-key-of-sixteen',
  publisher: 'publisher-key-of-sixteen',
} as const;
const SECRET = 'a-shared-secret-of-at-least-32-bytes';

let gateway: GatewayInProcess;
beforeAll(async () => {
  gateway = await GatewayInProcess.start([
    `http.apiKeys=${KEYS.admin}`,
    `http.roles.operator.apiKeys=${KEYS.operator}`,
    `http.roles.viewer.apiKeys=${KEYS.viewer}`,
    `http.roles.publisher.apiKeys=${KEYS.publisher}`,
    'http.roles.operator.groups=ops',
    'http.roles.viewer.groups=staff',
    'auth.jwt.enabled=true',
    'auth.jwt.algorithms=HS256',
    `auth.jwt.secrets=${SECRET}`,
  ]);
  for (const [name, groups] of Object.entries({ olga: ['staff', 'ops'], stan: ['staff'], nora: ['other'] })) {
    await gateway.call(
      'PUT',
      `/v1/users/${name}`,
      { password: `pw of: ${name}`, groups },
      bearer(KEYS.admin),
    );
  }
});
afterAll(() => gateway.remove());

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});

const CALLS: readonly (readonly [method: string, path: string, body?: object])[] = [
  ['GET', '/openapi.json'],
  ['GET', '/v1/queues'],
  ['POST', '/v1/acl:test', { action: 'read', address: 'a' }],
  ['POST', '/v1/messages/a', { body: 'x' }],
  ['PUT', '/v1/queues/q', {}],
  ['DELETE', '/v1/queues/q/messages'],
  ['PUT', '/v1/users/new', { password: 'x' }],
  ['DELETE', '/v1/acl/none'],
  // The same in another spelling.
  ['DELETE', '/v1/%61cl/none'],
];

describe.each([
  ['admin', [200, 200, 200, 200, 200, 200, 200, 404, 404]],
  ['operator', [200, 200, 200, 200, 200, 200, 403, 403, 403]],
  ['viewer', [200, 200, 200, 403, 403, 403, 403, 403, 403]],
  ['publisher', [200, 403, 403, 200, 403, 403, 403, 403, 403]],
] as const)('a key of role %s', (role, allowed) => {
  test.each(CALLS.map((call, at) => [...call, allowed[at]]))('%s %s', async (...row) => {
    const [method, path] = row as unknown as [string, string];
    const body = CALLS.find((call) => call[0] === method && call[1] === path)![2];
    const wanted = row.at(-1);
    const answer = await gateway.call(method, path, body, bearer(KEYS[role]));
    expect(answer.status === 201 ? 200 : answer.status).toBe(wanted);
    if (wanted === 403) expect(answer.body).toMatchObject({ code: 'access-refused' });
  });
});

test('a publisher makes the queue that it sends to, and nothing else', async () => {
  const publisher = bearer(KEYS.publisher);
  const sent = await gateway.call('POST', '/v1/messages/$queue/made', { body: 'kept' }, publisher);
  expect(sent).toMatchObject({ status: 200, body: { routed: true } });
  expect((await gateway.call('PUT', '/v1/queues/other', {}, publisher)).status).toBe(403);
  const { body } = await gateway.call('GET', '/v1/queues/made', undefined, bearer(KEYS.viewer));
  expect(body).toMatchObject({ name: 'made', readyCount: 1 });
});

describe('users', () => {
  test.each([
    ['olga', 'pw of: olga', 200, 200],
    ['stan', 'pw of: stan', 200, 403],
    ['nora', 'pw of: nora', 403, 403],
    ['olga', 'another', 401, 401],
    ['nobody', 'x', 401, 401],
    ['', '', 401, 401],
  ])('%s with %j', async (user, password, look, operate) => {
    const credentials = basic(user, password);
    const seen = await gateway.call('GET', '/v1/queues', undefined, credentials);
    expect(seen.status).toBe(look);
    expect((await gateway.call('DELETE', '/v1/queues/q/messages', undefined, credentials)).status).toBe(
      operate,
    );
    if (look === 401) expect(seen.headers.get('www-authenticate')).toContain('Basic realm=');
  });

  test('with a token, while it lasts', async () => {
    const sign = (expiry: string, key = SECRET): Promise<string> =>
      new SignJWT({ sub: 'tom', groups: ['ops'] })
        .setProtectedHeader({ alg: 'HS256' })
        .setExpirationTime(expiry)
        .sign(Buffer.from(key));
    const call = async (token: string): Promise<number> =>
      (await gateway.call('PUT', '/v1/queues/of-tom', {}, bearer(token))).status;
    expect(await call(await sign('1 minute'))).toBe(201);
    expect(await call(await sign('1 minute ago'))).toBe(401);
    expect(await call(await sign('1 minute', 'b-shared-secret-of-at-least-32-bytes'))).toBe(401);
  });

  test('who are removed hear no more of what they subscribed to', async () => {
    const admin = bearer(KEYS.admin);
    await gateway.call('PUT', '/v1/users/brief', { password: 'x', groups: ['staff'] }, admin);
    const feed = await fetch(`${gateway.url}/v1/messages/news`, { headers: basic('brief', 'x') });
    expect(feed.status).toBe(200);
    const ended = feed.text();
    await gateway.call('DELETE', '/v1/users/brief', undefined, admin);
    await gateway.call('POST', '/v1/messages/news', { body: 'secret' }, admin);
    expect(await ended).not.toContain('secret');
  });
});

test('without keys, groups close the API on loopback too, and nobody is believed before there is a user', async () => {
  const own = await GatewayInProcess.start(['http.roles.viewer.groups=staff']);
  try {
    expect((await own.get('/v1/queues')).status).toBe(401);
    expect((await own.call('GET', '/v1/queues', undefined, basic('anybody', 'x'))).status).toBe(401);
    expect((await fetch(`${own.url}/livez`)).status).toBe(200);
  } finally {
    await own.remove();
  }
});
