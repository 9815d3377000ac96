/**
 * The mapping files of docs/mapping-rules.md, run by `rosettamq mapping test` against a whole gateway; and that a file
 * whose tests do not hold fails, and says where.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CommandLine } from '../admin/command-line.ts';
import { GatewayInProcess } from '../admin/gateway-in-process.ts';

const page = readFileSync(new URL('../../../docs/mapping-rules.md', import.meta.url), 'utf8');
const files = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);
const folder = mkdtempSync(join(tmpdir(), 'rosettamq-rules-'));
let gateway: GatewayInProcess;
let cli: CommandLine;

beforeAll(async () => {
  gateway = await GatewayInProcess.start();
  cli = new CommandLine(gateway.url);
});
afterAll(async () => {
  await gateway.remove();
  rmSync(folder, { recursive: true });
});

function write(text: string): string {
  const path = join(folder, 'mappings.yaml');
  writeFileSync(path, text);
  return path;
}

test.each(files.map((text, index) => [index, text] as const))('example %i', async (_index, text) => {
  const { code, out, err } = await cli.run('mapping', 'test', write(text));
  expect(`${out}${err}`).not.toMatch(/FAILED/);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  const shown = /^\$ npx rosettamq mapping test mappings\.yaml\n([\s\S]*?)^\$/m.exec(page)![1];
  if (text === files[0]) expect(out).toBe(shown);
});

test('tests that do not hold are told with what came instead', async () => {
  const changed = files[0]!
    .replace('key: nord/7', 'key: nord/8')
    .replace('expect: []', 'expect: [{endpoint: core}]');
  const { code, out } = await cli.run('mapping', 'test', write(changed));
  expect(code).toBe(3);
  expect(out).toMatch(/FAILED a reading[\s\S]*output 0\/key: expected "nord\/8", but it is "nord\/7"/);
  expect(out).toMatch(/FAILED without[\s\S]*nothing comes[\s\S]*filtered, qos is not ">=1"/);
});

test('a file is applied, all of it or nothing', async () => {
  const applied = await cli.run('mapping', 'apply', write(files[0]!));
  expect(applied).toMatchObject({ code: 0, out: 'created factory-lines\n' });
  const broken = `${files[1]!.replace('queue:big-orders', 'bridge:x')}`;
  const refused = await cli.run('mapping', 'apply', write(broken), '--prune');
  expect(refused.code).toBe(1);
  expect(refused.err).toMatch(/mappings\/events\/to\/0\/endpoint: there is no bridge x/);
  const { body }: { body: { items: { name: string }[] } } = await gateway.get('/v1/mappings');
  expect(body.items.map(({ name }) => name)).toEqual(['factory-lines']);
  const dry = await cli.run('mapping', 'apply', write(files[1]!), '--prune', '--dry-run');
  expect(dry).toMatchObject({ code: 0, out: 'created events\ndeleted factory-lines\n' });
  expect((await gateway.get('/v1/mappings/events')).status).toBe(404);
});

test('a file that is none is told as such', async () => {
  for (const text of ['- a', 'mappings: 7', 'mappings: {}\ntests: [{}]', 'mappings: {}\nother: 1', '{'])
    expect(await cli.run('mapping', 'test', write(text))).toMatchObject({ code: 2 });
});
