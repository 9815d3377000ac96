/** Requests that are wrong before any route sees them, and who may call at all. */

import { createHash } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FakeGateway } from './admin-with-fake-core.ts';

const KEY = 'correct-horse-battery';

describe('on loopback without keys', () => {
  let gateway: FakeGateway;
  beforeAll(async () => {
    gateway = await new FakeGateway().start({ allowedHosts: ['console.example'] });
  });
  afterAll(() => gateway.admin.stop());

  const json = { 'content-type': 'application/json' };
  test.each<[string, string, RequestInit, number, object]>([
    ['unknown path', '/nowhere', {}, 404, { code: 'not-found', in: 'path', pointer: '' }],
    [
      'wrong method',
      '/v1/queues',
      { method: 'POST', body: '{}', headers: json },
      405,
      { code: 'method-not-allowed' },
    ],
    ['wrong method with a name', '/v1/mappings/a', { method: 'POST' }, 405, { code: 'method-not-allowed' }],
    ['wrong method of the test', '/v1/mappings:test', {}, 405, { code: 'method-not-allowed' }],
    [
      'wrong media type',
      '/v1/mappings/a',
      { method: 'PUT', body: 'x', headers: { 'content-type': 'text/plain' } },
      415,
      { in: 'header', pointer: '/content-type' },
    ],
    [
      'no JSON',
      '/v1/mappings/a',
      { method: 'PUT', body: '{"a"', headers: json },
      400,
      { code: 'invalid-body' },
    ],
    [
      'empty body',
      '/v1/mappings/a',
      { method: 'PUT', body: '', headers: json },
      400,
      { code: 'invalid-body' },
    ],
    [
      'a poisoned name',
      '/v1/mappings/a',
      { method: 'PUT', body: '{"__proto__": {"a": 1}}', headers: json },
      400,
      { code: 'invalid-body' },
    ],
    [
      'body too large',
      '/v1/mappings/a',
      { method: 'PUT', body: JSON.stringify('x'.repeat(5_000)), headers: json },
      413,
      { code: 'body-too-large', in: 'body', pointer: '' },
    ],
    ['limit too large', '/v1/queues?limit=1001', {}, 400, { in: 'query', pointer: '/limit' }],
    ['limit no number', '/v1/queues?limit=ten', {}, 400, { in: 'query', pointer: '/limit' }],
    ['unknown query', '/v1/queues?limt=3', {}, 400, { in: 'query', pointer: '/limt' }],
    [
      'a query where there is none',
      '/v1/users/ann?dryRun=true',
      { method: 'DELETE' },
      400,
      { in: 'query', pointer: '/dryRun' },
    ],
    ['a made-up cursor', '/v1/queues?after=!', {}, 400, { in: 'query', pointer: '/after' }],
    ['an unreadable path', '/v1/queues/%zz', {}, 400, { code: 'invalid-request', in: 'path' }],
    ['no such queue', '/v1/queues/none', {}, 404, { in: 'path', pointer: '/name' }],
    ['no such client', '/v1/clients/7', {}, 404, { in: 'path', pointer: '/id' }],
    ['an id that is none', '/v1/clients/x', {}, 400, { in: 'path', pointer: '/id' }],
  ])('%s', async (_, path, init, status, body) => {
    const answer = await gateway.fetch(path, init);
    expect(answer.body).toMatchObject({ status, ...body });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
  });

  test.each(['application/json', 'text/plain'])(
    'a type of nothing changes nothing: %s without a body',
    async (type) => {
      const headers = { 'content-type': type };
      const answer = await gateway.fetch('/v1/sessions/s%2F1?dryRun=true', { method: 'DELETE', headers });
      expect(answer.status).toBe(204);
      expect((await gateway.fetch('/v1/mappings/a', { method: 'PUT', headers })).status).toBe(
        type === 'application/json' ? 400 : 415,
      );
    },
  );

  test('405 says which methods there are', async () => {
    expect((await gateway.fetch('/v1/mappings/a', { method: 'POST' })).headers.get('allow')).toBe(
      'DELETE, GET, HEAD, PUT',
    );
  });

  test.each([
    ['what is no HTTP', 'NONSENSE\r\n\r\n', 400, 'invalid-request'],
    ['no Host', 'GET /v1/queues HTTP/1.1\r\nconnection: close\r\n\r\n', 403, 'host-not-allowed'],
  ])('%s is answered with a problem', async (_, request, status, code) => {
    const { port } = gateway.admin.address!;
    const text = await new Promise<string>((resolve, reject) => {
      let answer = '';
      const socket = net.connect(port, '127.0.0.1', () => socket.write(request));
      socket.on('data', (chunk) => {
        answer += chunk;
      });
      socket.on('end', () => resolve(answer)).on('error', reject);
    });
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(text).toContain('content-type: application/problem+json');
    expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toMatchObject({ status, code });
  });

  test.each([
    ['evil.example', 403],
    ['evil.example:8080', 403],
    ['127.0.0.1.evil.example', 403],
    ['localhost', 200],
    ['LOCALHOST:1', 200],
    ['[::1]:8080', 200],
    ['127.9.9.9', 200],
    ['Console.example:443', 200],
  ])('Host: %s gives %i', async (host, status) => {
    const { port } = gateway.admin.address!;
    const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
      http
        .get({ host: '127.0.0.1', port, path: '/v1/queues', headers: { host } }, resolve)
        .on('error', reject);
    });
    answer.resume();
    expect(answer.statusCode).toBe(status);
  });
});

describe('with keys', () => {
  let gateway: FakeGateway;
  const hash = createHash('sha256').update('another-key-of-16').digest('hex');
  beforeAll(async () => {
    gateway = await new FakeGateway().start({ apiKeys: [KEY, `sha256:${hash}`] });
  });
  afterAll(() => gateway.admin.stop());

  test.each<[string, Record<string, string>, number]>([
    ['none', {}, 401],
    ['a wrong one', { authorization: 'Bearer wrong-horse-battery' }, 401],
    ['the hash instead of its key', { 'x-api-key': hash }, 401],
    ['basic', { authorization: `Basic ${KEY}` }, 401],
    ['bearer', { authorization: `Bearer ${KEY}` }, 200],
    ['own header', { 'x-api-key': KEY }, 200],
    ['one stored as its hash', { 'x-api-key': 'another-key-of-16' }, 200],
  ])('%s', async (_, headers, status) => {
    const answer = await gateway.fetch('/v1/queues', { headers });
    expect(answer.status).toBe(status);
    if (status === 401) {
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
      expect(answer.body).toMatchObject({ code: 'unauthorized', in: 'header' });
    }
  });

  test('health needs none, metrics and unknown paths do', async () => {
    expect((await gateway.fetch('/livez')).status).toBe(200);
    expect((await gateway.fetch('/readyz?verbose')).status).toBe(200);
    expect((await gateway.fetch('/metrics')).status).toBe(401);
    expect((await gateway.fetch('/nowhere')).status).toBe(401);
  });
});

test('beyond loopback it does not start without a key, and does with one whatever the Host', async () => {
  await expect(new FakeGateway().start({ host: '0.0.0.0' })).rejects.toThrow(/http\.apiKeys/);
  await expect(new FakeGateway().start({ host: '::' })).rejects.toThrow(/http\.apiKeys/);
  const gateway = await new FakeGateway().start({ host: '0.0.0.0', apiKeys: [KEY] });
  const { port } = gateway.admin.address!;
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const headers = { host: 'gateway.example', 'x-api-key': KEY };
    http.get({ host: '127.0.0.1', port, path: '/v1/queues', headers }, resolve).on('error', reject);
  });
  answer.resume();
  expect(answer.statusCode).toBe(200);
  await gateway.admin.stop();
});
