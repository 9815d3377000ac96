/** A broker that is a program of its own: started until it listens, killed with all of its processes, started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { listProcessTree } from '../../bench/measure.ts';
import { isListening } from '../../support/listening.ts';
import { waitFor } from '../programs.ts';

const START_MS_MAX = 90_000;

export abstract class BrokerProcess {
  readonly port: number;
  readonly #command: readonly string[];
  /** What its environment has beside that of this process. */
  protected readonly env: Readonly<Record<string, string>>;
  #child: ChildProcess | null = null;
  #output = '';

  constructor(port: number, command: readonly string[], env: Readonly<Record<string, string>>) {
    this.port = port;
    this.#command = command;
    this.env = env;
  }

  /** Of all of its processes; empty where it does not run. */
  get pids(): readonly number[] {
    const pid = this.#child?.pid;
    return pid === undefined ? [] : listProcessTree(pid);
  }

  async start(): Promise<void> {
    const [program = '', ...args] = this.#command;
    const child = spawn(program, args, { env: { ...process.env, ...this.env }, stdio: 'pipe' });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-4000);
      });
    }
    await waitFor('it to listen', () => isListening(this.port), START_MS_MAX).catch((error: Error) => {
      throw new Error(`${program}: ${error.message}:\n${this.#output}`);
    });
  }

  /** All of its processes, at once. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    for (const pid of this.pids) {
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

  /** Kills it and removes what it leaves. */
  abstract stop(): Promise<void>;
}

/** What does not start is stopped. */
export async function started<Broker extends BrokerProcess>(broker: Broker): Promise<Broker> {
  try {
    await broker.start();
  } catch (error) {
    await broker.stop();
    throw error;
  }
  return broker;
}
