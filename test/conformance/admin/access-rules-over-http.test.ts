/** Access rules put over HTTP apply to connected clients at once; what is wrong in them is pointed at. */

import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are compared whole, whatever they are
type Json = any;

const NOT_AUTHORIZED = 0x87;
const configured = [{ effect: 'allow', actions: ['all'], pattern: '#' }];
const settings = [`auth.acl.rules=${JSON.stringify(configured)}`, 'auth.acl.rulesMax=5'];
let gateway: GatewayInProcess;
let client: MqttClient;

beforeAll(async () => {
  gateway = await GatewayInProcess.start(settings);
  client = await connect();
});
afterAll(async () => {
  await client.endAsync(true);
  await gateway.remove();
});

const connect = (): Promise<MqttClient> =>
  mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port('mqtt')}`, {
    clientId: 'c1',
    username: 'ann',
    password: 'x',
    protocolVersion: 5,
    reconnectPeriod: 0,
  });

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }> {
  const response = await fetch(gateway.url + path, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? null : JSON.parse(text) };
}

const mayPublish = async (topic: string): Promise<boolean> => {
  try {
    await client.publishAsync(topic, 'x', { qos: 1 });
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: NOT_AUTHORIZED });
    return false;
  }
};

const deny = (pattern: string) => ({ effect: 'deny', user: 'ann', actions: ['write'], pattern });

test('a rule is made, shown, replaced and removed, and a connected client feels each', async () => {
  expect(await mayPublish('a/1')).toBe(true);
  expect(await call('PUT', '/v1/acl/no-a', deny('a/#'))).toEqual({
    status: 201,
    body: { name: 'no-a', source: 'api', definition: deny('a/#') },
  });
  expect(await mayPublish('a/1')).toBe(false);
  expect((await call('PUT', '/v1/acl/no-a', deny('b/#'))).status).toBe(200);
  expect([await mayPublish('a/1'), await mayPublish('b/1')]).toEqual([true, false]);
  expect((await call('GET', '/v1/acl/no-a')).body.definition).toEqual(deny('b/#'));
  expect((await call('DELETE', '/v1/acl/no-a')).status).toBe(204);
  expect(await mayPublish('b/1')).toBe(true);
  expect((await call('GET', '/v1/acl/no-a')).status).toBe(404);
  expect((await call('DELETE', '/v1/acl/no-a')).status).toBe(404);
});

test('all are replaced at once, or none, and are there after a restart', async () => {
  await call('PUT', '/v1/acl/old', deny('old'));
  expect((await call('PUT', '/v1/acl', { one: deny('one'), two: deny('two') })).status).toBe(204);
  const wrong = await call('PUT', '/v1/acl', {
    three: deny('three'),
    four: { ...deny('four'), pattern: 'a/#/b' },
  });
  expect(wrong).toMatchObject({ status: 400, body: { in: 'body', pointer: '/four/pattern' } });
  expect([await mayPublish('old'), await mayPublish('one'), await mayPublish('three')]).toEqual([
    true,
    false,
    true,
  ]);
  await client.endAsync();
  await gateway.stop();
  await gateway.start(settings);
  client = await connect();
  const { items } = (await call('GET', '/v1/acl')).body;
  expect(items.map(({ name, source }: Json) => [name, source])).toEqual([
    ['auth.acl.rules[0]', 'configuration'],
    ['one', 'api'],
    ['two', 'api'],
  ]);
  expect(await mayPublish('two')).toBe(false);
  const many = Object.fromEntries([1, 2, 3, 4, 5, 6].map((n) => [`r${n}`, deny('x')]));
  expect((await call('PUT', '/v1/acl', many)).status).toBe(429);
  await call('PUT', '/v1/acl', {});
  expect((await call('GET', '/v1/acl')).body.items).toHaveLength(1);
});

describe('refused', () => {
  test.each([
    [{ actions: ['write'], pattern: 'a' }, '/effect'],
    [{ effect: 'maybe', actions: ['write'], pattern: 'a' }, '/effect'],
    [{ effect: 'deny', pattern: 'a' }, '/actions'],
    [{ effect: 'deny', actions: [], pattern: 'a' }, '/actions'],
    [{ effect: 'deny', actions: ['fly'], pattern: 'a' }, '/actions'],
    [{ effect: 'deny', actions: ['write'] }, '/pattern'],
    [{ effect: 'deny', actions: ['write'], pattern: 'a+' }, '/pattern'],
    [{ effect: 'deny', actions: ['write'], pattern: '' }, '/pattern'],
    [{ effect: 'deny', actions: ['write'], pattern: 'a', usr: 'x' }, '/usr'],
    [{ effect: 'deny', actions: ['write'], pattern: 'a', user: 7 }, '/user'],
    [{ effect: 'deny', actions: ['write'], pattern: 'a', user: 'x', group: 'y' }, '/group'],
    [[], ''],
  ])('%j points at %s', async (definition, pointer) => {
    expect(await call('PUT', '/v1/acl/wrong', definition)).toMatchObject({
      status: 400,
      body: { in: 'body', pointer },
    });
    expect((await call('GET', '/v1/acl/wrong')).status).toBe(404);
  });

  test('a name that is none, and what stands in a file', async () => {
    const misnamed = await call('PUT', '/v1/acl/a%20b', deny('a'));
    expect(misnamed).toMatchObject({ status: 400, body: { in: 'path', pointer: '/name' } });
    const fixed = encodeURIComponent('auth.acl.rules[0]');
    expect((await call('GET', `/v1/acl/${fixed}`)).body).toMatchObject({ source: 'configuration' });
    expect((await call('DELETE', `/v1/acl/${fixed}`)).status).toBe(409);
  });

  test('a question that is none', async () => {
    const question = { user: 'ann', action: 'fly', address: 'a' };
    expect((await call('POST', '/v1/acl:test', question)).body).toMatchObject({ pointer: '/action' });
    expect((await call('POST', '/v1/acl:test', { action: 'read' })).body).toMatchObject({
      pointer: '/address',
    });
  });
});

test('a rule is changed only as it was seen, and tried without being put', async () => {
  const rule = { effect: 'deny', actions: ['write'], pattern: 'tried/#' };
  expect(await gateway.call('PUT', '/v1/acl/tried?dryRun=true', rule)).toMatchObject({ status: 201 });
  expect(await gateway.call('PUT', '/v1/acl/tried?dryRun=true', { effect: 'no' })).toMatchObject({
    status: 400,
  });
  for (const query of ['', '?dryRun=true']) {
    expect(await gateway.call('PUT', `/v1/acl/tried${query}`, null)).toMatchObject({ status: 400 });
  }
  expect(await gateway.get('/v1/acl/tried')).toMatchObject({ status: 404 });
  const { headers } = await gateway.call('PUT', '/v1/acl/tried', rule);
  const seen = { 'if-match': headers.get('etag')! };
  const other = { ...rule, pattern: 'other/#' };
  const both = await Promise.all([1, 2].map(() => gateway.call('PUT', '/v1/acl/tried', other, seen)));
  expect(both.map(({ status }) => status).sort()).toEqual([200, 412]);
  expect(await gateway.call('DELETE', '/v1/acl/tried', undefined, seen)).toMatchObject({ status: 412 });
  expect(await gateway.call('DELETE', '/v1/acl/tried?dryRun=true')).toMatchObject({ status: 204 });
  expect(await gateway.call('DELETE', '/v1/acl/tried')).toMatchObject({ status: 204 });
});
