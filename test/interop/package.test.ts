/**
 * The package as `npm publish` would send it: packed, run by npx in a folder that has nothing else, and installed. It has
 * what the gateway needs, the libraries of every kind of bridge included, and nothing that only developers need.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { pickPort } from '../support/ports.ts';
import { foreignEnvironment, portSettings } from './gateway.ts';
import { waitFor } from './programs.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const INSTALL_MS_MAX = 240_000;
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

describe('the package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'package-'));
  const empty = join(folder, 'empty');
  const outside = process.env.PATH!.split(delimiter).filter((path) => !path.includes('node_modules'));
  let tarball = '';

  /** A home and so a cache of its own, nothing of this repository's, and no settings of a gateway or of the npm that runs this. */
  const environment = (): Record<string, string | undefined> => ({
    ...Object.fromEntries(
      Object.entries(foreignEnvironment()).filter(
        ([name]) => !/^npm_/i.test(name) || /^npm_config_(registry|cafile|https?_proxy|proxy)$/i.test(name),
      ),
    ),
    PATH: [join(folder, 'bin'), ...outside].join(delimiter),
    HOME: join(folder, 'home'),
  });

  const sh = (line: string, cwd = empty): string =>
    execFileSync('sh', ['-c', line], { cwd, env: environment(), encoding: 'utf8', stdio: 'pipe' }).trim();

  beforeAll(() => {
    for (const name of [empty, join(folder, 'home'), join(folder, 'bin')]) mkdirSync(name);
    // The Node.js of this test, which may not be the machine's own.
    symlinkSync(process.execPath, join(folder, 'bin/node'));
    execFileSync('npm', ['pack', '--pack-destination', folder], { cwd: ROOT, stdio: 'pipe' });
    tarball = join(folder, `rosettamq-${version}.tgz`);
  }, INSTALL_MS_MAX);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('has the compiled program, its settings and examples, and neither sources nor tests', () => {
    const names = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n');
    for (const name of [
      'dist/src/command.js',
      'config/rosettamq.yaml',
      'config/examples/compose/rosettamq.yaml',
      'README.md',
      'CHANGELOG.md',
      'LICENSE',
    ])
      expect(names).toContain(`package/${name}`);
    // What is loaded only when it is needed.
    for (const part of ['bridge-amqp091', 'bridge-amqp10', 'bridge-kafka', 'bridge-mqtt'])
      expect(names).toContainEqual(expect.stringMatching(`^package/dist/parts/${part}-[^/]+\\.js$`));
    expect(
      names.filter((name) => /(^package\/(src|adapters|mappings|test|docs)\/|\.ts$)/.test(name)),
    ).toEqual([]);
  });

  it(
    'tells its version, and serves, by npx in an empty folder',
    async () => {
      const npx = `npx --yes --package='${tarball}' -- rosettamq`;
      expect(sh(`${npx} --version`)).toBe(version);

      const { env, ports } = await portSettings(join(folder, 'data'));
      let output = '';
      const child = spawn('sh', ['-c', `exec ${npx} serve`], {
        cwd: empty,
        env: { ...environment(), ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      });
      const ended = new Promise((resolve) => child.once('close', resolve));
      onTestFinished(async () => {
        try {
          process.kill(-child.pid!, 'SIGKILL');
        } catch {
          // It has ended.
        }
        await ended;
      });
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (chunk: string) => {
          output += chunk;
        });
      await waitFor(
        'the gateway to be ready',
        () => {
          if (child.exitCode !== null) throw new Error(`it ended:\n${output}`);
          return output.includes('"msg":"ready"');
        },
        INSTALL_MS_MAX,
      );
      const client = await connectAsync(`mqtt://127.0.0.1:${ports.mqtt}`);
      const received = new Promise<string>((resolve) => {
        client.on('message', (topic, body) => resolve(`${topic} ${body}`));
      });
      await client.subscribeAsync('sensors/#', { qos: 1 });
      await client.publishAsync('sensors/temp', '22.5', { qos: 1 });
      expect(await received).toBe('sensors/temp 22.5');
      await client.endAsync();

      await expectEveryKindOfBridge(`http://127.0.0.1:${ports.http}`);
      process.kill(-child.pid!, 'SIGTERM');
      await ended;
      expect(output).toContain('"msg":"stopped"');
    },
    INSTALL_MS_MAX,
  );

  /** A connection that nobody answers is told to be unreachable: so the library that would speak to it was found. */
  async function expectEveryKindOfBridge(api: string): Promise<void> {
    const port = await pickPort();
    const connections = {
      amqp091: { host: '127.0.0.1', port },
      amqp10: { host: '127.0.0.1', port },
      kafka: { brokers: [`127.0.0.1:${port}`] },
      mqtt: { urls: [`mqtt://127.0.0.1:${port}`] },
    };
    for (const [type, settings] of Object.entries(connections)) {
      const answer = await fetch(`${api}/v1/connections/${type}?dryRun=true`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ type, ...settings }),
      });
      expect(await answer.json(), type).toMatchObject({
        probe: { ok: false, failure: 'unreachable', detail: expect.stringContaining('ECONNREFUSED') },
      });
    }
  }

  it(
    'is a dependency like others, with its command',
    async () => {
      const home = join(folder, 'project');
      mkdirSync(home);
      writeFileSync(join(home, 'package.json'), '{"name": "project", "private": true}\n');
      sh(`npm install --no-audit --no-fund '${tarball}'`, home);
      expect(sh('npx rosettamq --version', home)).toBe(version);
      expect(sh('npx rosettamq validate', home)).toBe('the settings are valid');
      const installed = JSON.parse(sh('npm ls --all --json', home)) as { problems?: string[] };
      expect(installed.problems ?? []).toEqual([]);
    },
    INSTALL_MS_MAX,
  );
});
