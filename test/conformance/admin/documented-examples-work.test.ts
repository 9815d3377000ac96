/**
 * Runs every example of docs/api.md, docs/mappings.md, docs/mapping-rules.md and docs/bridges.md that calls the API, as
 * written but for the port, in the order of the pages, and compares the answers that the pages show. Nobody is at the other
 * end of the bridges: what is shown is that they are made, tried, operated and undone.
 */

import { execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayParts } from '../../../src/main.ts';
import { GatewayInProcess } from './gateway-in-process.ts';

const run = promisify(execFile);
const BLOCK = /^```(sh|json)\n([\s\S]*?)^```$/gm;

interface Example {
  readonly script: string;
  /** What the page shows below it. */
  answer?: unknown;
}

function examplesOf(page: string): Example[] {
  const examples: Example[] = [];
  for (const [, language, text] of readFileSync(
    new URL(`../../../docs/${page}`, import.meta.url),
    'utf8',
  ).matchAll(BLOCK)) {
    if (language === 'sh' && text!.includes('127.0.0.1:8080')) examples.push({ script: text! });
    const last = examples.at(-1);
    if (language === 'json' && last !== undefined && last.answer === undefined)
      last.answer = JSON.parse(text!);
  }
  return examples;
}

/** Where nobody listens, in place of the brokers that the pages name. */
const NOWHERE = [
  ['"host": "rabbit.example.com"', '"host": "127.0.0.1", "port": 1'],
  ['kafka.example.com:9092', '127.0.0.1:1'],
  ['mosquitto.example.com:1883', '127.0.0.1:1'],
] as const;

const missing = spawnSync('curl', ['--version']).status === 0 ? '' : ' (skipped: curl is not installed)';

let gateway: GatewayInProcess;
beforeAll(async () => {
  gateway = await GatewayInProcess.start();
});
afterAll(() => gateway.remove());

const PAGES = ['mappings.md', 'mapping-rules.md', 'api.md'];
/** Where this gateway can make connections of all the types that the page has. */
if (['kafka', 'amqp091', 'mqtt'].every((type) => gatewayParts.drivers.some((part) => part.type === type)))
  PAGES.push('bridges.md');

describe.skipIf(missing !== '').each(PAGES)(`%s${missing}`, (page) => {
  const examples = examplesOf(page);

  test('has examples', () => {
    expect(examples.length).toBeGreaterThan(0);
  });

  test.each(examples)('$script', async ({ script, answer }) => {
    const { host } = new URL(gateway.url);
    // One answer a line, whatever the server ends it with.
    let commands = script.replaceAll('127.0.0.1:8080', host).replaceAll('curl -s ', "curl -s -w '\\n' ");
    for (const [named, nowhere] of NOWHERE) commands = commands.replaceAll(named, nowhere);
    const { stdout } = await run('sh', ['-ec', commands]);
    const answers = stdout.split('\n').filter((line) => line.startsWith('{'));
    const calls = script.match(/^curl/gm)!.length;
    // What is deleted leaves nothing to say.
    const silent = Math.max(1, script.match(/-X DELETE/g)?.length ?? 0);
    if (!script.includes('/metrics')) expect(answers.length).toBeGreaterThanOrEqual(calls - silent);
    if (answer === undefined) {
      for (const each of answers) expect(JSON.parse(each)).not.toHaveProperty('pointer');
      return;
    }
    const shown = JSON.parse(answers[0]!) as { items?: unknown[] };
    // A list shows what exists, which pages before have made.
    if (shown.items === undefined) expect(shown).toMatchObject(answer as object);
    else expect(Object.keys(shown)).toEqual(Object.keys(answer as object));
  });
});
