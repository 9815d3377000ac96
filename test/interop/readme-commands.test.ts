/**
 * The README's first command in a fresh clone of the last commit, with nothing but Node.js and npm on the path: it
 * must install and start the gateway. The README's second command is what the caller of this test runs.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { portSettings } from './gateway.ts';
import { describeWith, waitFor } from './programs.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The commands of the README's first shell block. */
export function readCommands(): string[] {
  const block = /```(?:sh|bash|console)\n([\s\S]*?)```/.exec(
    readFileSync(join(ROOT, 'README.md'), 'utf8'),
  )?.[1];
  return (block ?? '')
    .split('\n')
    .map((line) =>
      line
        .replace(/^\$ /, '')
        .replace(/\s+#.*$/, '')
        .trim(),
    )
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** A folder with links to just these programs, so that nothing else of this machine is found. */
function makePath(folder: string, programs: readonly string[]): string {
  for (const program of programs) {
    const found = execFileSync('which', ['-a', program], { encoding: 'utf8' }).split('\n');
    const outside = found.find((path) => path !== '' && !path.includes('node_modules'));
    symlinkSync(outside!, join(folder, program));
  }
  return folder;
}

describeWith([], 'the README', () => {
  it('has two commands: one that starts the gateway, one that tests it', () => {
    expect(readCommands().slice(0, 2)).toEqual(['npm ci && npm start', 'npm test']);
  });

  it('starts the gateway with its first command in a fresh clone', { timeout: 180_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'readme-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    execFileSync('git', ['clone', '-q', ROOT, join(folder, 'clone')]);
    execFileSync('mkdir', [join(folder, 'bin')]);
    const path = makePath(join(folder, 'bin'), ['node', 'npm', 'sh', 'bash', 'env', 'git']);
    const { env, ports } = await portSettings(join(folder, 'data'));
    const child = spawn('sh', ['-c', readCommands()[0]!], {
      cwd: join(folder, 'clone'),
      env: { ...keepNetworkSettings(), ...env, PATH: path, HOME: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString('utf8');
      });
    }
    onTestFinished(() => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // It has ended.
      }
    });
    const isOpen = (port: number): Promise<boolean> =>
      new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(true));
        socket.on('error', () => resolve(false)).on('connect', () => socket.destroy());
      });
    for (const [name, port] of Object.entries(ports)) {
      await waitFor(
        `the ${name} listener`,
        async () => {
          if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${output}`);
          return isOpen(port);
        },
        150_000,
      );
    }
  });

  /** What npm needs to reach its registry through this machine's settings, and nothing else. */
  function keepNetworkSettings(): Record<string, string> {
    const kept =
      /^(npm_config_(registry|cafile|strict_ssl|https?_proxy|proxy)|https?_proxy|no_proxy|node_extra_ca_certs|ssl_cert_file)$/i;
    return Object.fromEntries(
      Object.entries(process.env).filter((entry): entry is [string, string] => kept.test(entry[0])),
    );
  }
});
