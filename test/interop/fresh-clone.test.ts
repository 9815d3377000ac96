/**
 * The README's first command in a fresh clone of the last commit, with Node.js, npm and a shell on the path, an empty
 * home and no cache: it installs without an error, serves, keeps others out of its data folder and its ports with words
 * that help, and stops cleanly. The clone is installed once for all tests here.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listProcessTree } from '../bench/measure.ts';
import { portSettings } from './gateway.ts';
import { waitFor } from './programs.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const INSTALL_MS_MAX = 240_000;

const folder = mkdtempSync(join(tmpdir(), 'fresh-clone-'));
const clone = join(folder, 'clone');

/** The commands of the README's first shell block: one that starts the gateway, one that tests it. */
function readCommands(): string[] {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const block = /```(?:sh|bash|console)\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  return block
    .split('\n')
    .map((line) =>
      line
        .replace(/^\$ /, '')
        .replace(/\s+#.*$/, '')
        .trim(),
    )
    .filter((line) => line !== '' && !line.startsWith('#'));
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false)).on('connect', () => socket.destroy());
  });

/** The machine's own Node.js and npm, not those of this repository's packages. */
function linkPrograms(): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  const outside = process.env.PATH!.split(delimiter).filter((path) => !path.includes('node_modules'));
  for (const program of ['node', 'npm', 'sh', 'env']) {
    const env = { PATH: outside.join(delimiter) };
    const found = execFileSync('sh', ['-c', `command -v ${program}`], { env, encoding: 'utf8' }).trim();
    symlinkSync(found, join(bin, program));
  }
  return bin;
}

/** How npm gets to its registry from this machine, and nothing else of the environment. */
function environment(): Record<string, string> {
  const kept =
    /^(npm_config_(registry|cafile|https?_proxy|proxy)|https?_proxy|no_proxy|node_extra_ca_certs)$/i;
  const network = Object.entries(process.env).filter((entry): entry is [string, string] =>
    kept.test(entry[0]),
  );
  return { ...Object.fromEntries(network), PATH: join(folder, 'bin'), HOME: join(folder, 'home') };
}

interface Command {
  readonly child: ChildProcess;
  output: string;
  readonly ended: Promise<number | null>;
}

const commands: Command[] = [];

function begin(line: string, env: Record<string, string>): Command {
  const child = spawn('/bin/sh', ['-c', line], {
    cwd: clone,
    env: { ...environment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  const command: Command = { child, output: '', ended };
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      command.output += chunk;
    });
  }
  commands.push(command);
  return command;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe('a fresh clone', () => {
  let gateway: Command;
  let settings: Awaited<ReturnType<typeof portSettings>>;

  const waitUntilReady = (command: Command): Promise<true> =>
    waitFor(
      'the gateway to be ready',
      () => {
        if (command.child.exitCode !== null) throw new Error(`it ended:\n${command.output}`);
        return command.output.includes('"msg":"ready"') && true;
      },
      INSTALL_MS_MAX,
    );

  beforeAll(async () => {
    execFileSync('git', ['clone', '-q', ROOT, clone]);
    mkdirSync(join(folder, 'home'));
    linkPrograms();
    settings = await portSettings(join(folder, 'data'));
    gateway = begin(readCommands()[0]!, settings.env);
    await waitUntilReady(gateway);
  }, INSTALL_MS_MAX);

  afterAll(() => {
    for (const { child } of commands) {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
    rmSync(folder, { recursive: true, force: true });
  });

  it('needs the two commands that the README begins with', () => {
    expect(readCommands().slice(0, 2)).toEqual(['npm ci && npm start', 'npm test']);
  });

  it('is installed by npm without an error, and serves', async () => {
    for (const port of Object.values(settings.ports)) expect(await isOpen(port), `port ${port}`).toBe(true);
    expect(gateway.output).not.toMatch(/npm (error|ERR!)|install-scripts|deprecated/);
    const client = await connectAsync(`mqtt://127.0.0.1:${settings.ports.mqtt}`);
    const received = new Promise<string>((resolve) => {
      client.on('message', (_topic, body) => resolve(body.toString()));
    });
    await client.subscribeAsync('sensors/#', { qos: 1 });
    await client.publishAsync('sensors/temp', '22.5', { qos: 1 });
    expect(await received).toBe('22.5');
    await client.endAsync();
  });

  it('says whose the data folder is, or which port is taken, when it is started twice', async () => {
    const sameFolder = begin('npm start', settings.env);
    expect(await sameFolder.ended).toBe(1);
    expect(sameFolder.output).toMatch(/did not start: the data folder .* belongs to process \d+/);
    const samePorts = begin('npm start', { ...settings.env, ROSETTAMQ_DATA: join(folder, 'other') });
    expect(await samePorts.ended).toBe(1);
    expect(samePorts.output).toContain(`127.0.0.1:${settings.ports.mqtt} is in use by another program`);
  });

  it('stops cleanly when npm is told to, and leaves no process', async () => {
    const pids = listProcessTree(gateway.child.pid!);
    const npm = execFileSync('ps', ['-o', 'pid=', '--ppid', String(gateway.child.pid)], { encoding: 'utf8' });
    process.kill(Number(npm.trim().split('\n').at(-1)), 'SIGTERM');
    expect(await gateway.ended).toBe(0);
    expect(gateway.output).toContain('"msg":"stopped"');
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it('stops cleanly on Ctrl+C, which reaches npm and the gateway both', async () => {
    const command = begin('npm start', settings.env);
    await waitUntilReady(command);
    process.kill(-command.child.pid!, 'SIGINT');
    await command.ended;
    expect(command.output).toContain('"msg":"stopped"');
    expect(command.output).not.toContain('again');
  });

  it('says what is missing where install scripts are switched off', async () => {
    const version = execFileSync(join(folder, 'bin/node'), ['-p', 'process.versions.node'], {
      encoding: 'utf8',
    });
    rmSync(join(clone, 'node_modules/.bin/node'));
    const command = begin('npm start', { ...settings.env, npm_config_ignore_scripts: 'true' });
    if (version.localeCompare('24.2', 'en', { numeric: true }) < 0) {
      expect(await command.ended).toBe(1);
      expect(command.output).toContain('RosettaMQ needs Node.js 24.2 or newer');
      expect(command.output).toContain('npm ci --ignore-scripts=false');
    } else {
      await waitUntilReady(command);
      process.kill(-command.child.pid!, 'SIGTERM');
      expect(await command.ended).toBe(0);
    }
  });
});
