/** The command line as a process of its own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
const COMMAND = join(ROOT, 'src/command.ts');

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export class CommandLine {
  readonly #environment: NodeJS.ProcessEnv;

  /** `url` is where it finds the API; null: where it looks by default. */
  constructor(url: string | null, environment: NodeJS.ProcessEnv = {}) {
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith('ROSETTAMQ_'));
    this.#environment = {
      ...Object.fromEntries(own),
      ...(url === null ? {} : { ROSETTAMQ_API: url }),
      ...environment,
    };
  }

  start(...args: readonly string[]): ChildProcess {
    return spawn(process.execPath, [COMMAND, ...args], {
      env: this.#environment,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }

  run(...args: readonly string[]): Promise<Ended> {
    return this.runWith('', ...args);
  }

  /** With this on standard input. */
  async runWith(input: string, ...args: readonly string[]): Promise<Ended> {
    const child = this.start(...args);
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
    const out = collect(child.stdout);
    const err = collect(child.stderr);
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, out: out(), err: err() };
  }
}

export function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}
