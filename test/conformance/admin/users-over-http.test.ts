/** Users made, changed and removed over HTTP let real clients in and out at once, and no secret comes back. */

import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CommandLine } from './command-line.ts';
import { GatewayInProcess } from './gateway-in-process.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are compared whole, whatever they are
type Json = any;

let gateway: GatewayInProcess;
const clients: MqttClient[] = [];
beforeAll(async () => {
  gateway = await GatewayInProcess.start(['auth.passwords.scryptCostLog2=10']);
});
afterAll(() => gateway.remove());
afterEach(async () => {
  for (const client of clients.splice(0)) await client.endAsync(true);
});

async function connect(username: string, password: string): Promise<MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, {
    username,
    password,
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  clients.push(client);
  return client;
}

async function call(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: Json; text: string }> {
  const response = await fetch(gateway.url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text), text };
}

describe('a user', () => {
  test('comes in with its password as soon as it is made, and nobody else any more', async () => {
    const made = await call('PUT', '/v1/users/ann', { password: 'first secret', groups: ['staff'] });
    expect(made).toMatchObject({
      status: 201,
      body: { name: 'ann', groups: ['staff'], source: 'api', scram: true },
    });
    await connect('ann', 'first secret');
    await expect(connect('ann', 'wrong')).rejects.toMatchObject({ code: 0x86 });
    await expect(connect('bob', 'first secret')).rejects.toMatchObject({ code: 0x86 });
  });

  test('that gets another password is disconnected, and comes in with that one alone', async () => {
    const client = await connect('ann', 'first secret');
    const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
    expect((await call('PUT', '/v1/users/ann', { password: 'second secret' })).body).toMatchObject({
      groups: ['staff'],
    });
    await ended;
    await expect(connect('ann', 'first secret')).rejects.toMatchObject({ code: 0x86 });
    await connect('ann', 'second secret');
  });

  test('is there after a restart', async () => {
    await gateway.stop();
    await gateway.start(['auth.passwords.scryptCostLog2=10']);
    await connect('ann', 'second secret');
  });

  test('that is removed is disconnected', async () => {
    await call('PUT', '/v1/users/eve', { password: 'a secret' });
    const client = await connect('eve', 'a secret');
    const ended = new Promise<void>((resolve) => client.once('close', () => resolve()));
    expect((await call('DELETE', '/v1/users/eve')).status).toBe(204);
    await ended;
    await expect(connect('eve', 'a secret')).rejects.toMatchObject({ code: 0x86 });
    expect((await call('DELETE', '/v1/users/eve')).status).toBe(404);
    expect((await call('GET', '/v1/users/eve')).status).toBe(404);
  });

  test('is never shown with password or hash', async () => {
    const list = await call('GET', '/v1/users');
    expect(list.body.items).toEqual([{ name: 'ann', groups: ['staff'], source: 'api', scram: true }]);
    expect(list.text + (await call('GET', '/v1/users/ann')).text).not.toMatch(/secret|scrypt|\$/);
  });

  test('is made or changed only as the conditions say', async () => {
    const onlyNew = { 'if-none-match': '*' };
    expect(await call('PUT', '/v1/users/ann', { password: 'x' }, onlyNew)).toMatchObject({ status: 412 });
    expect(await call('PUT', '/v1/users/tom', { password: 'x' }, { 'if-match': '*' })).toMatchObject({
      status: 412,
    });
    expect((await call('GET', '/v1/users/tom')).status).toBe(404);
    await call('PUT', '/v1/users/kim', { password: 'x' });
    const seen = (await fetch(`${gateway.url}/v1/users/kim`)).headers.get('etag') ?? '';
    const onlyAsSeen = { 'if-match': seen };
    expect((await call('PUT', '/v1/users/kim', { groups: ['day'] }, onlyAsSeen)).status).toBe(200);
    expect((await call('PUT', '/v1/users/kim', { groups: ['late'] }, onlyAsSeen)).status).toBe(412);
    expect((await call('DELETE', '/v1/users/kim', undefined, onlyAsSeen)).status).toBe(412);
    expect((await call('DELETE', '/v1/users/kim')).status).toBe(204);
  });

  test.each([
    ['/v1/users/new', {}, 'body', '/password'],
    ['/v1/users/new', { password: '' }, 'body', '/password'],
    ['/v1/users/new', { password: 7 }, 'body', '/password'],
    ['/v1/users/new', { password: 'x', passwordHash: '$7$x' }, 'body', '/passwordHash'],
    ['/v1/users/new', { passwordHash: 'plain text' }, 'body', '/passwordHash'],
    ['/v1/users/new', { password: 'x', groups: 'staff' }, 'body', '/groups'],
    ['/v1/users/new', { password: 'x', groups: ['a\u0000'] }, 'body', '/groups'],
    ['/v1/users/new', { password: 'x', admin: true }, 'body', '/admin'],
    ['/v1/users/a%00b', { password: 'x' }, 'path', '/name'],
  ])('%s with %j is refused where it is wrong', async (path, body, place, pointer) => {
    const answer = await call('PUT', path, body);
    expect(answer).toMatchObject({ status: 400, body: { in: place, pointer } });
    expect(answer.text).not.toContain('plain text');
  });
});

test('the command line makes, changes, lists and removes users', async () => {
  const cli = new CommandLine(gateway.url);
  const add = await cli.runWith(
    'from stdin\n',
    'users',
    'add',
    'sam',
    '--group',
    'night',
    '--password-stdin',
  );
  expect(add).toEqual({ code: 0, out: '', err: '' });
  await connect('sam', 'from stdin');
  expect(await cli.runWith('other\n', 'users', 'add', 'sam', '--password-stdin')).toMatchObject({
    code: 1,
    err: expect.stringMatching(/user sam is there/),
  });
  expect((await cli.runWith('changed\n', 'users', 'passwd', 'sam', '--password-stdin')).code).toBe(0);
  await connect('sam', 'changed');
  expect((await cli.run('users', 'groups', 'sam', 'day', 'late')).code).toBe(0);
  expect((await cli.run('users', 'list')).out).toMatch(
    /^NAME +GROUPS +SOURCE\nann +staff +api\nsam +day,late +api\n$/,
  );
  expect((await cli.runWith('x\n', 'users', 'passwd', 'nobody', '--password-stdin')).code).toBe(3);
  expect((await cli.run('users', 'add', 'tom')).err).toMatch(/--password-stdin/);
  expect((await cli.run('users', 'remove', 'sam')).code).toBe(0);
  expect((await cli.run('users', 'remove', 'sam')).code).toBe(3);
  const hashed = await cli.runWith('of a file\n', 'users', 'hash', 'joe', '--password-stdin');
  expect(hashed.out).toMatch(/^joe:\$scrypt\$\S+\n$/);
  const passwordHash = hashed.out.trim().slice('joe:'.length);
  expect((await call('PUT', '/v1/users/joe', { passwordHash })).status).toBe(201);
  await connect('joe', 'of a file');
});

test('users of the configuration are listed, and changed only there', async () => {
  const hash = (await new CommandLine(null).runWith('secret\n', 'users', 'hash', 'boss', '--password-stdin'))
    .out;
  const users = JSON.stringify([
    { name: 'boss', password: hash.trim().slice('boss:'.length), groups: ['all'] },
  ]);
  const own = await GatewayInProcess.start([`auth.users=${users}`]);
  try {
    const answer = await fetch(`${own.url}/v1/users/boss`);
    expect(await answer.json()).toEqual({
      name: 'boss',
      groups: ['all'],
      source: 'configuration',
      scram: false,
    });
    const removed = await fetch(`${own.url}/v1/users/boss`, { method: 'DELETE' });
    expect(removed.status).toBe(409);
    const changed = await own.put('/v1/users/boss', { password: 'other' });
    expect(changed).toBe(409);
  } finally {
    await own.remove();
  }
});
