/** Connections and bridges of a whole gateway over HTTP: only the client of the outside broker is played. */

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { gatewayParts } from '../../../src/main.ts';
import { LinkError } from '../../../src/outside.ts';
import { FakeOutside } from '../../support/fake-driver.ts';
import { CommandLine } from './command-line.ts';
import { GatewayInProcess } from './gateway-in-process.ts';

const SECRET = 'a-secret-of-the-outside';
const site = { type: 'fake', host: 'broker.example', password: SECRET };
const out = { connection: 'site', direction: 'out', mappings: [{ match: 'devices/{device}' }] };

// biome-ignore lint/suspicious/noExplicitAny: answers are compared whole, whatever they are
type Json = any;

let outside = new FakeOutside();
const drivers = [{ type: 'fake', load: async () => outside }];
const parts = { ...gatewayParts, drivers };
let gateway: GatewayInProcess;
let answers = '';
beforeAll(async () => {
  gateway = await GatewayInProcess.start([], parts);
});
afterAll(() => gateway.remove());
afterEach(() => {
  expect(answers).not.toContain(SECRET);
});

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }> {
  const answer = await gateway.call(method, path, body);
  answers += JSON.stringify(answer.body);
  return answer;
}

const publish = (address: string, body: string) =>
  call('POST', `/v1/messages/${address}`, { body, reliability: 1 });
const statusOf = async (name: string): Promise<Json> =>
  (await call('GET', `/v1/bridges/${name}`)).body.status;

test('a secret reaches the outside broker, and nobody else; put back as it was shown, it is kept', async () => {
  expect((await call('PUT', '/v1/connections/site', site)).status).toBe(201);
  const shown = (await call('GET', '/v1/connections/site')).body;
  expect(shown.definition).toEqual({ ...site, password: { kept: true } });
  const other = { ...shown.definition, host: 'other.example' };
  expect((await call('PUT', '/v1/connections/site', other)).status).toBe(200);
  expect((await call('POST', '/v1/connections/site:probe')).body).toMatchObject({ ok: true, failure: null });
  expect(outside.opened.at(-1)?.connection).toMatchObject({ host: 'other.example', password: SECRET });
  const unknown = await call('PUT', '/v1/connections/new', { type: 'fake', password: { kept: true } });
  expect(unknown).toMatchObject({ status: 400, body: { in: 'body', pointer: '/password' } });
});

test('a bridge sends what it takes, and says so', async () => {
  expect(await call('PUT', '/v1/bridges/b', out)).toMatchObject({
    status: 201,
    body: { name: 'b', definition: { ...out, delivery: 'at-least-once', buffer: { overflow: 'block' } } },
  });
  await expect.poll(() => statusOf('b')).toMatchObject({ state: 'connected', failure: null });
  expect((await publish('devices/d7', '21.5')).body).toMatchObject({ routed: true });
  await expect.poll(() => outside.bodies).toEqual(['21.5']);
  await expect
    .poll(() => statusOf('b'))
    .toMatchObject({ lag: { messages: 0, seconds: 0 }, counters: { taken: 1, done: 1, doneBytes: 4 } });
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
  expect(metrics).toMatch(/^rosettamq_bridge_state\{bridge="b",state="connected"\} 1$/m);
  expect(metrics).toMatch(/^rosettamq_bridge_done_total\{bridge="b"\} 1$/m);
});

test('while it is paused messages wait; they go when it is resumed, or are forgotten by a reset', async () => {
  expect((await call('POST', '/v1/bridges/b:pause')).body).toMatchObject({
    definition: { paused: true },
    status: { state: 'paused' },
  });
  await publish('devices/d7', 'later');
  expect((await statusOf('b')).lag).toMatchObject({ messages: 1, bytes: 5 });
  expect((await call('POST', '/v1/bridges/b:reset?dryRun=true')).body).toEqual({ count: 1 });
  await call('POST', '/v1/bridges/b:resume');
  await expect.poll(() => outside.bodies).toEqual(['21.5', 'later']);
  await call('POST', '/v1/bridges/b:pause');
  await publish('devices/d7', 'never');
  expect((await call('POST', '/v1/bridges/b:reset')).body).toEqual({ count: 1 });
  await call('POST', '/v1/bridges/b:resume');
  await publish('devices/d7', 'after');
  await expect.poll(() => outside.bodies).toEqual(['21.5', 'later', 'after']);
});

test('what the other side will never take is a dead letter, which can be sent again', async () => {
  outside.answer = () => ({ reason: 'too large', permanent: true });
  await publish('devices/d9', 'unwanted');
  await expect
    .poll(() => statusOf('b'))
    .toMatchObject({ counters: { deadLettered: 1 }, lag: { messages: 0 } });
  const { items } = (await call('GET', '/v1/queues/%24dlq%2Fbridges/messages')).body;
  expect(items).toMatchObject([{ deaths: [{ note: 'too large' }], message: { body: 'unwanted' } }]);
  outside.answer = () => null;
  const sent = await call('POST', '/v1/queues/%24dlq%2Fbridges/redrive', {});
  expect(sent).toMatchObject({ status: 200, body: { redrivenCount: 1, skippedCount: 0 } });
  await expect.poll(() => outside.bodies.at(-1)).toBe('unwanted');
});

test('what does not connect is told by a trial, in the state, and by readiness where it is required', async () => {
  outside.refusal = new LinkError('authentication', 'user or password is wrong');
  const tried = await call('PUT', '/v1/bridges/x?dryRun=true', { ...out, required: true });
  expect(tried).toMatchObject({
    status: 200,
    body: {
      dryRun: true,
      created: true,
      probe: { ok: false, failure: 'authentication', detail: 'user or password is wrong' },
    },
  });
  expect((await call('GET', '/v1/bridges/x')).status).toBe(404);
  expect((await call('PUT', '/v1/bridges/x', { ...out, required: true })).status).toBe(201);
  await expect
    .poll(() => statusOf('x'))
    .toMatchObject({ state: 'disconnected', failure: 'authentication', reason: 'user or password is wrong' });
  const status = await statusOf('x');
  expect(Date.parse(status.retryAt)).toBeGreaterThan(Date.parse(status.since));
  expect(status.errors).toMatchObject([{ text: 'user or password is wrong' }]);
  expect((await call('GET', '/readyz')).body).toMatchObject({ failing: ['bridge:x'] });
  outside.refusal = null;
  expect((await call('DELETE', '/v1/bridges/x')).status).toBe(204);
  expect((await call('GET', '/readyz')).status).toBe(200);
});

test.each([
  ['connections', { type: 'smtp' }, '/type'],
  ['connections', { type: 'fake', hots: 'x' }, '/hots'],
  ['connections', { type: 'fake', password: 7 }, '/password'],
  ['connections', 'text', ''],
  ['bridges', { ...out, connection: 'none' }, '/connection'],
  ['bridges', { ...out, direction: 'up' }, '/direction'],
  ['bridges', { ...out, mappings: [] }, '/mappings'],
  ['bridges', { ...out, mappings: [{ match: 'a/{b' }] }, '/mappings/0/match'],
  ['bridges', { ...out, retry: { minMs: 1 } }, '/retry/minMs'],
  ['bridges', { ...out, options: { level: 99 } }, '/options/level'],
])('%s that say %j are refused where they are wrong', async (kind, definition, pointer) => {
  for (const query of ['', '?dryRun=true'])
    expect(await call('PUT', `/v1/${kind}/wrong${query}`, definition)).toMatchObject({
      status: 400,
      body: { code: 'invalid-request', in: 'body', pointer },
    });
  expect((await call('GET', `/v1/${kind}/wrong`)).status).toBe(404);
});

test('a bridge to which a mapping leads stays, and a trial says so too', async () => {
  const mapping = { from: { match: 'm/{x}' }, to: [{ endpoint: 'bridge:b', topic: 'devices/{x}' }] };
  expect((await call('PUT', '/v1/mappings/to-b', mapping)).status).toBe(201);
  for (const query of ['?dryRun=true', ''])
    expect(await call('DELETE', `/v1/bridges/b${query}`)).toMatchObject({
      status: 409,
      body: { in: 'path', pointer: '/name', detail: 'mapping to-b leads to bridge b' },
    });
  await publish('m/d8', 'by a mapping');
  await expect.poll(() => outside.bodies.at(-1)).toBe('by a mapping');
  expect((await call('DELETE', '/v1/mappings/to-b')).status).toBe(204);
});

test('the command line puts what stands on standard input', async () => {
  const cli = new CommandLine(gateway.url);
  const put = await cli.runWith(`type: fake\npassword: ${SECRET}\n`, 'connections', 'put', 'from-stdin');
  expect(put).toEqual({ code: 0, out: 'created from-stdin\n', err: '' });
  expect((await call('GET', '/v1/connections/from-stdin')).body).toMatchObject({
    definition: { type: 'fake', password: { kept: true } },
  });
  expect((await call('DELETE', '/v1/connections/from-stdin')).status).toBe(204);
});

test('everything is there after a restart, and is undone by DELETE', async () => {
  await gateway.stop();
  outside = new FakeOutside();
  await gateway.start([], parts);
  await expect.poll(() => statusOf('b')).toMatchObject({ state: 'connected' });
  expect(outside.opened.at(-1)?.connection).toMatchObject({ password: SECRET });
  expect((await call('DELETE', '/v1/connections/site')).status).toBe(409);
  expect((await call('DELETE', '/v1/bridges/b')).status).toBe(204);
  expect((await call('DELETE', '/v1/connections/site')).status).toBe(204);
  expect((await call('GET', '/v1/bridges')).body).toEqual({ items: [], next: null });
  expect((await call('GET', '/v1/connections')).body).toEqual({ items: [], next: null });
});

test('what stands in the configuration is paused and reset, but not changed, and its secrets are not shown', async () => {
  await gateway.stop();
  const assignments = [`connections=${JSON.stringify({ site })}`, `bridges=${JSON.stringify({ b: out })}`];
  await gateway.start(assignments, parts);
  expect((await call('GET', '/v1/connections/site')).body).toMatchObject({
    origin: 'configuration',
    definition: { password: { kept: true } },
    bridges: ['b'],
  });
  expect((await call('PUT', '/v1/connections/site', site)).status).toBe(409);
  expect((await call('DELETE', '/v1/bridges/b')).status).toBe(409);
  expect((await call('POST', '/v1/bridges/b:pause')).body).toMatchObject({ status: { state: 'paused' } });
  expect((await call('POST', '/v1/bridges/b:reset')).body).toEqual({ count: 0 });
  expect((await call('POST', '/v1/bridges/b:probe')).body).toMatchObject({ ok: true });
  expect((await call('GET', '/v1/configuration/connections')).body).toMatchObject({ value: null });
});
