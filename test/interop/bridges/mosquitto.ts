/**
 * A Mosquitto of its own for each test of bridges to MQTT brokers: on a free port and a folder that is removed, ended and
 * started again as the test says.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { locatePeer } from '../../peers/programs.ts';
import { isListening } from '../../support/listening.ts';
import { pickPort } from '../../support/ports.ts';
import { waitFor } from '../programs.ts';

export class Mosquitto {
  readonly port: number;
  readonly folder: string;
  readonly #config: string;
  #child: ChildProcess | null = null;
  output = '';

  constructor(folder: string, port: number, config: string) {
    this.folder = folder;
    this.port = port;
    this.#config = config;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const child = spawn(locatePeer('mosquitto'), ['-c', this.#config], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.output = (this.output + chunk.toString()).slice(-100_000);
      });
    }
    await waitFor(`Mosquitto on ${this.port}: ${this.output}`, () => isListening(this.port));
  }

  /** Its process stands still: the other side sees a broker that says nothing. */
  halt(): void {
    this.#child?.kill('SIGSTOP');
  }

  proceed(): void {
    this.#child?.kill('SIGCONT');
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }
}

/** `lines`: of its configuration; `FOLDER` stands for its folder, in which `files` are. */
export async function startMosquitto(
  lines: readonly string[] = [],
  files: Readonly<Record<string, string>> = {},
): Promise<Mosquitto> {
  const folder = mkdtempSync(join(tmpdir(), 'rosettamq-mosquitto-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const port = await pickPort();
  const config = join(folder, 'mosquitto.conf');
  const own = [`user ${userInfo().username}`, `listener ${port} 127.0.0.1`];
  const given = lines.length === 0 ? ['allow_anonymous true', 'max_queued_messages 0'] : lines;
  writeFileSync(config, `${[...own, ...given].join('\n').replaceAll('FOLDER', folder)}\n`);
  const mosquitto = new Mosquitto(folder, port, config);
  onTestFinished(async () => {
    mosquitto.proceed();
    await mosquitto.end('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  await mosquitto.start();
  return mosquitto;
}
