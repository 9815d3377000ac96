/**
 * An Apache Artemis of a suite's own, with user `bridge`, that can be killed and started again at the same port with the same
 * journal. Addresses and queues are made when somebody names them.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pickPort } from '../../bench/brokers.ts';
import { listProcessTree } from '../../bench/measure.ts';
import { locatePeer } from '../../peers/programs.ts';
import { waitFor } from '../programs.ts';
import { isListening } from './rabbitmq.ts';

const START_MS_MAX = 90_000;
export const LOGIN = { user: 'bridge', password: 'over troubled water' };

export class Artemis {
  readonly port: number;
  readonly #folder: string;
  #child: ChildProcess | null = null;
  #output = '';

  constructor(folder: string, port: number) {
    this.#folder = folder;
    this.port = port;
  }

  async start(): Promise<void> {
    const child = spawn(join(this.#folder, 'broker/bin/artemis'), ['run'], {
      env: { ...process.env, JAVA_ARGS: '-Xms128m -Xmx512m' },
      stdio: 'pipe',
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-4000);
      });
    }
    await waitFor('Artemis to listen', () => isListening(this.port), START_MS_MAX).catch((error: Error) => {
      throw new Error(`${error.message}:\n${this.#output}`);
    });
  }

  /** All of its processes, at once. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    for (const pid of listProcessTree(child.pid)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended with another.
      }
    }
    await ended;
    this.#child = null;
    await waitFor('its port to be free', async () => !(await isListening(this.port)));
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function startArtemis(): Promise<Artemis> {
  const folder = mkdtempSync(join(tmpdir(), 'artemis-'));
  const port = await pickPort();
  const { user, password } = LOGIN;
  await promisify(execFile)(locatePeer('artemis'), [
    ...['create', join(folder, 'broker'), '--silent', '--require-login', '--user', user],
    ...['--password', password, '--host', '127.0.0.1', '--default-port', String(port)],
    ...['--no-web', '--no-amqp-acceptor', '--no-mqtt-acceptor', '--no-stomp-acceptor'],
    ...['--no-hornetq-acceptor', '--no-autotune', '--nio'],
  ]);
  const broker = new Artemis(folder, port);
  try {
    await broker.start();
  } catch (error) {
    await broker.stop();
    throw error;
  }
  return broker;
}
