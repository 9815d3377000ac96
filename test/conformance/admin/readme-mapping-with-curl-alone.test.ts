/** From a fresh start to a working mapping with the README and curl alone: its lines are run as they stand, but for the port. */

import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { GatewayInProcess } from './gateway-in-process.ts';

const LINES_MAX = 10;
const missing = spawnSync('curl', ['--version']).status === 0 ? '' : ' (skipped: curl is not installed)';

test.skipIf(missing !== '')(`the README's mapping works in under ten lines${missing}`, async () => {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
  const blocks = [...readme.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);
  const [block, ...others] = blocks.filter((text) => text.includes('/v1/mappings/'));
  expect(others).toEqual([]);
  const lines = block!.trimEnd().split('\n');
  const isCommand = (line: string, at: number): boolean =>
    line.startsWith('$ ') || (at > 0 && lines[at - 1]!.endsWith('\\'));
  const commands = lines.filter(isCommand);
  expect(commands.length).toBeLessThan(LINES_MAX);
  expect(commands.filter((line) => line.startsWith('$ ')).every((line) => line.startsWith('$ curl '))).toBe(
    true,
  );
  const gateway = await GatewayInProcess.start();
  onTestFinished(() => gateway.remove());
  const script = commands
    .map((line) => line.replace(/^\$ /, ''))
    .join('\n')
    .replaceAll('localhost:8080', new URL(gateway.url).host);
  const { stdout } = await promisify(execFile)('bash', ['-ec', script]);
  expect(stdout.trimEnd().split('\n')).toEqual(lines.filter((line, at) => !isCommand(line, at)));
});
