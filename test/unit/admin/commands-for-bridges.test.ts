/** `rosettamq connections` and `bridges`, run in this process against the API over fake bridges. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { runApiCommand } from '../../../src/cli/api-commands.ts';
import { FakeGateway } from './admin-with-fake-core.ts';

const folder = mkdtempSync(join(tmpdir(), 'rosettamq-bridges-cli-'));
const yaml = join(folder, 'site.yaml');
const json = join(folder, 'out.json');
let gateway: FakeGateway;
let printed = '';
let told = '';

beforeAll(async () => {
  gateway = await new FakeGateway().start();
  writeFileSync(yaml, 'type: fake\npassword: a-secret\n');
  writeFileSync(
    json,
    JSON.stringify({ connection: 'site', direction: 'out', mappings: [{ match: '{address...}' }] }),
  );
});
afterAll(async () => {
  await gateway.admin.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  vi.spyOn(console, 'log').mockImplementation((text) => {
    printed += `${text}\n`;
  });
  vi.spyOn(console, 'error').mockImplementation((text) => {
    told += `${text}\n`;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = 0;
});

async function run(...args: string[]): Promise<{ code: unknown; out: string; err: string }> {
  printed = '';
  told = '';
  process.exitCode = 0;
  const listening = process.stdout.listeners('error');
  await runApiCommand('1', ['node', 'rosettamq', ...args, '--api', gateway.url]);
  // A process runs one command; this one runs many.
  for (const listener of process.stdout.listeners('error'))
    if (!listening.includes(listener)) process.stdout.off('error', listener as () => void);
  expect(printed + told).not.toContain('a-secret');
  return { code: process.exitCode, out: printed, err: told };
}

test('connections and bridges are put from files, listed, operated and deleted', async () => {
  expect(await run('connections', 'put', 'site', yaml)).toEqual({ code: 0, out: 'created site\n', err: '' });
  expect(await run('connections', 'put', 'site', yaml)).toMatchObject({ out: 'replaced site\n' });
  expect(await run('bridges', 'put', 'to-site', json)).toMatchObject({ code: 0, out: 'created to-site\n' });
  expect((await run('connections', 'list')).out).toMatch(
    /^NAME +TYPE +BRIDGES +ORIGIN\nsite +fake +to-site +stored\n$/,
  );
  expect((await run('connections', 'show', 'site')).out).toMatch(/"password": \{\n +"kept": true/);
  expect((await run('bridges', 'list')).out).toMatch(
    /^NAME +CONNECTION +DIRECTION +STATE +REASON +LAG +DONE\nto-site +site +out +connected +7 +10\n$/,
  );
  gateway.bridges.bridges.get('to-site')!.state = 'disconnected';
  const shown = (await run('bridges', 'show', 'to-site')).out;
  expect(shown).toMatch(/REASON +connect ECONNREFUSED\n/);
  expect(shown).toMatch(/DROPPED +overflow 3, expired 1\n/);
  expect(shown).toMatch(/AT +ERROR\n2023-11-14T22:13:20\.000Z +connect ECONNREFUSED\n/);
  expect(JSON.parse((await run('bridges', 'show', 'to-site', '-o', 'json')).out)).toMatchObject({
    status: { lag: { messages: 7 } },
  });
  expect((await run('bridges', 'pause', 'to-site')).out).toMatch(/STATE +paused\n/);
  expect((await run('bridges', 'resume', 'to-site')).out).toMatch(/STATE +connecting\n/);
  expect((await run('bridges', 'reset', 'to-site')).out).toBe('7 messages forgotten\n');
  expect(await run('connections', 'delete', 'site')).toMatchObject({
    code: 1,
    err: expect.stringMatching(/bridges use the connection: to-site/),
  });
  expect((await run('bridges', 'delete', 'to-site')).code).toBe(0);
  expect((await run('connections', 'delete', 'site')).code).toBe(0);
  expect((await run('bridges', 'delete', 'to-site')).code).toBe(3);
});

test('a try says whether it connects, by its exit code too', async () => {
  const dry = await run('connections', 'put', 'new', yaml, '--dry-run');
  expect(dry).toMatchObject({ code: 0, err: '' });
  expect(dry.out).toMatch(/^would create new\nCONNECTS +yes\n/);
  expect(gateway.bridges.stored.has('new')).toBe(false);
  gateway.bridges.result = { ok: false, failure: 'tls', detail: 'certificate has expired', milliseconds: 3 };
  expect(await run('connections', 'put', 'new', yaml, '--dry-run', '-o', 'json')).toMatchObject({
    code: 3,
    out: expect.stringMatching(/"failure": "tls"/),
    err: expect.stringMatching(/it does not connect: certificate has expired/),
  });
  await run('connections', 'put', 'new', yaml);
  expect(await run('connections', 'probe', 'new')).toMatchObject({
    code: 3,
    out: expect.stringMatching(/FAILURE +tls\n/),
  });
});

test('what is no definition is refused before anything is asked, and what is wrong where it is wrong', async () => {
  writeFileSync(yaml, 'type: [');
  expect(await run('connections', 'put', 'site', yaml)).toMatchObject({ code: 2, out: '' });
  writeFileSync(yaml, '');
  expect(await run('connections', 'put', 'site', yaml)).toMatchObject({
    code: 2,
    err: expect.stringMatching(/is empty/),
  });
  expect(await run('bridges', 'put', 'x', join(folder, 'none'))).toMatchObject({ code: 2 });
  writeFileSync(yaml, 'type: other');
  expect(await run('connections', 'put', 'site', yaml)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^rosettamq: type: there is no such type/),
  });
});
