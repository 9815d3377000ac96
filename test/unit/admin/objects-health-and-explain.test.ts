/** What the API shows: objects, health, metrics, the OpenAPI document, explanations and tried messages. */

import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileRule } from '../../../mappings/rules.ts';
import { newMappingCounters, Pattern } from '../../../src/core/index.ts';
import { FakeGateway } from './admin-with-fake-core.ts';

let gateway: FakeGateway;
beforeAll(async () => {
  gateway = await new FakeGateway().start();
  for (const name of ['q2', 'q/1', 'q3']) gateway.addQueue(name, 5);
  gateway.streams.push({ name: 'other', captures: [Pattern.of('devices/d7/telemetry')] });
  const definition = { match: 'devices/{device}/telemetry', stream: 'telemetry', key: '{device}' };
  gateway.rules.set('telemetry', {
    definition,
    rule: compileRule(definition),
    counters: newMappingCounters(),
  });
  for (const id of [9, 10]) {
    gateway.clients.push({
      id,
      listener: 'l',
      remoteAddress: '127.0.0.1',
      remotePort: 1,
      connectedAtMs: 0,
      description: { protocol: 'P 1', clientId: 'c', user: 'u', details: { keepAliveMs: 1 } },
    });
  }
});
afterAll(() => gateway.admin.stop());

test('a queue, also one whose name holds a slash', async () => {
  expect((await gateway.fetch('/v1/queues/q%2F1')).body).toMatchObject({
    name: 'q/1',
    readyCount: 5,
    exclusive: false,
    arguments: { 'x-big': '1152921504606846976' },
  });
  expect((await gateway.fetch('/v1/queues')).body).toMatchObject({
    items: [{ name: 'q/1' }, { name: 'q2' }, { name: 'q3' }],
    next: null,
  });
});

test('sessions, streams and bindings', async () => {
  expect((await gateway.fetch('/v1/sessions/s%2F1')).body).toMatchObject({
    id: 's/1',
    subscriptions: [{ pattern: 'a/b', reliability: 1 }],
  });
  expect((await gateway.fetch('/v1/streams')).body).toMatchObject({
    items: [
      { name: 'other', captures: ['devices/d7/telemetry'], mappings: [], partitions: [{ endOffset: 5 }] },
    ],
  });
  const page = (await gateway.fetch('/v1/bindings?limit=2')).body as { items: object[]; next: string };
  expect(page.items).toHaveLength(2);
  const rest = (await gateway.fetch(`/v1/bindings?limit=2&after=${page.next}`)).body;
  expect(rest).toMatchObject({ items: [{ key: 'c' }], next: null });
});

test('clients in the order of their numbers, and the end of one', async () => {
  expect((await gateway.fetch('/v1/clients')).body).toMatchObject({
    items: [{ id: 9, connectedAt: '1970-01-01T00:00:00.000Z', protocol: 'P 1' }, { id: 10 }],
  });
  expect((await gateway.fetch('/v1/clients/9')).body).toMatchObject({
    id: 9,
    details: { keepAliveMs: 1 },
  });
  expect((await gateway.fetch('/v1/clients/9', { method: 'DELETE' })).status).toBe(204);
  expect(gateway.disconnected).toEqual([9]);
});

test('readiness names what fails', async () => {
  expect(await gateway.fetch('/readyz')).toMatchObject({ status: 200, body: { status: 'ok', failing: [] } });
  gateway.checks = [
    { name: 'listeners', ok: true },
    { name: 'draining', ok: false, detail: 'stopping' },
  ];
  expect(await gateway.fetch('/readyz')).toMatchObject({
    status: 503,
    body: { status: 'failing', failing: ['draining'] },
  });
  expect((await gateway.fetch('/readyz?verbose')).body).toMatchObject({ checks: gateway.checks });
  expect((await gateway.fetch('/livez')).status).toBe(200);
});

test('metrics count the same at every scrape and bound what they show one by one', async () => {
  await gateway.fetch('/metrics');
  const text = (await gateway.fetch('/metrics')).body as string;
  expect(text).toMatch(/^rosettamq_messages_published_total 7$/m);
  expect(text).toMatch(/^rosettamq_queues 3$/m);
  expect(text).toMatch(/^rosettamq_queues_messages_ready 15$/m);
  expect(text.match(/^rosettamq_queue_messages_ready\{/gm)).toHaveLength(2);
  expect(text).toMatch(/^rosettamq_listener_refused_total\{listener="a"\} 3$/m);
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m);
});

test('the OpenAPI document lists every route with its answers', async () => {
  const document = (await gateway.fetch('/openapi.json')).body as {
    openapi: string;
    paths: Record<string, Record<string, { responses: object; summary: string; operationId: string }>>;
  };
  expect(document.openapi).toMatch(/^3\.1/);
  expect(Object.keys(document.paths).sort()).toEqual([
    '/healthz',
    '/livez',
    '/metrics',
    '/openapi.json',
    '/readyz',
    '/startupz',
    '/v1/acl',
    '/v1/acl/{name}',
    '/v1/acl:test',
    '/v1/bindings',
    '/v1/bindings/{id}',
    '/v1/bridges',
    '/v1/bridges/{name}',
    '/v1/bridges/{name}:pause',
    '/v1/bridges/{name}:probe',
    '/v1/bridges/{name}:reset',
    '/v1/bridges/{name}:resume',
    '/v1/clients',
    '/v1/clients/{id}',
    '/v1/configuration',
    '/v1/configuration/{name}',
    '/v1/connections',
    '/v1/connections/{name}',
    '/v1/connections/{name}:probe',
    '/v1/dead-letters',
    '/v1/exchanges',
    '/v1/exchanges/{name}',
    '/v1/explain',
    '/v1/groups',
    '/v1/groups/{name}',
    '/v1/groups/{name}/reset',
    '/v1/import/{format}',
    '/v1/mappings',
    '/v1/mappings/{name}',
    '/v1/mappings:apply',
    '/v1/mappings:test',
    '/v1/messages/{address}',
    '/v1/queues',
    '/v1/queues/{name}',
    '/v1/queues/{name}/groups',
    '/v1/queues/{name}/groups/{group}',
    '/v1/queues/{name}/messages',
    '/v1/queues/{name}/messages/{offset}',
    '/v1/queues/{name}/messages/{offset}/redrive',
    '/v1/queues/{name}/redrive',
    '/v1/retained',
    '/v1/retained/{address}',
    '/v1/sessions',
    '/v1/sessions/{name}',
    '/v1/streams',
    '/v1/streams/{name}',
    '/v1/streams/{name}/records',
    '/v1/users',
    '/v1/users/{name}',
  ]);
  expect(Object.keys(document.paths['/v1/mappings/{name}']!)).toEqual(
    expect.arrayContaining(['get', 'put', 'delete']),
  );
  for (const methods of Object.values(document.paths)) {
    for (const { summary } of Object.values(methods)) expect(summary).toBeTruthy();
  }
  const operations = Object.values(document.paths).flatMap((methods) =>
    Object.values(methods).map(({ operationId }) => operationId),
  );
  expect(operations).toContain('putMappingsName');
  expect(new Set(operations).size).toBe(operations.length);
  const put = document.paths['/v1/mappings/{name}']!.put!;
  expect(put.responses).toMatchObject({ '4XX': { content: { 'application/problem+json': {} } } });
});

test('explain: names, streams and destinations of an address', async () => {
  expect((await gateway.fetch('/v1/explain?address=devices/d7/telemetry')).body).toEqual({
    address: 'devices/d7/telemetry',
    names: { dotted: { name: { topic: 'devices.d7.telemetry' }, reason: 'dots for slashes' } },
    placements: [
      {
        stream: 'telemetry',
        key: 'd7',
        mapping: 'telemetry',
        reason: 'mapping telemetry takes devices/+/telemetry',
      },
      { stream: 'other', key: null, mapping: null, reason: 'the stream takes devices/d7/telemetry' },
    ],
    destinations: [{ kind: 'queue', name: 'q', patterns: ['devices/d7/telemetry'] }],
    destinationCount: 1,
  });
});

test('explain: a record of a mapped stream belongs where its key leads', async () => {
  expect((await gateway.fetch('/v1/explain?protocol=dotted&address=telemetry&key=d7')).body).toMatchObject({
    address: 'devices/d7/telemetry',
    placements: [{ stream: 'telemetry', key: 'd7', mapping: null }, { stream: 'other' }],
  });
  expect((await gateway.fetch('/v1/explain?protocol=dotted&address=telemetry')).body).toMatchObject({
    address: 'telemetry',
  });
});

test('explain: what is refused', async () => {
  expect(await gateway.fetch('/v1/explain')).toMatchObject({
    status: 400,
    body: { in: 'query', pointer: '/address' },
  });
  expect(await gateway.fetch('/v1/explain?protocol=smtp&address=a')).toMatchObject({
    status: 400,
    body: { pointer: '/protocol', detail: 'is none of address, dotted' },
  });
  expect(await gateway.fetch('/v1/explain?protocol=dotted&address=a/b')).toMatchObject({
    status: 400,
    body: { in: 'query', pointer: '/address', detail: 'no slash in a name' },
  });
});

test('a tried message shows every view, with stored or tried mappings', async () => {
  const message = { address: 'devices/d7/telemetry', body: '22.5' };
  expect((await gateway.post('/v1/mappings:test', { message })).body).toMatchObject({
    address: 'devices/d7/telemetry',
    placements: [{ stream: 'telemetry', key: 'd7', mapping: 'telemetry' }, { stream: 'other' }],
    views: { dotted: { message: { body: '22.5', streams: ['telemetry', 'other'] } } },
  });
  const mappings = { mine: { match: 'devices/{rest...}', stream: 'all', key: null } };
  expect((await gateway.post('/v1/mappings:test', { message, mappings })).body).toMatchObject({
    placements: [{ stream: 'all', key: null, mapping: 'mine' }, { stream: 'other' }],
  });
  expect(gateway.rules.size).toBe(1);
});

test('a tried message: problems point into the body', async () => {
  const message = { address: 'a', body: '' };
  const mappings = { 'x/y': { match: 'a', stream: '?' } };
  expect(await gateway.post('/v1/mappings:test', { message, mappings })).toMatchObject({
    status: 400,
    body: { in: 'body', pointer: '/mappings/x~1y/stream' },
  });
  expect(await gateway.post('/v1/mappings:test', { message: { ...message, qos: 1 } })).toMatchObject({
    status: 400,
    body: { in: 'body', pointer: '/message/qos' },
  });
  expect(await gateway.post('/v1/mappings:test', {})).toMatchObject({
    status: 400,
    body: { in: 'body', pointer: '/message' },
  });
});
