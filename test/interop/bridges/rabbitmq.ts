/**
 * A RabbitMQ of a suite's own that can be killed and started again at the same port with the same data, and asked to run
 * out of memory. With the plugin for AMQP 1.0 where a suite wants it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { pickPort } from '../../bench/brokers.ts';
import { listProcessTree } from '../../bench/measure.ts';
import { locatePeer } from '../../peers/programs.ts';
import { waitFor } from '../programs.ts';

const START_MS_MAX = 90_000;

export const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

export class RabbitMq {
  readonly port: number;
  readonly #folder: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #mapper: ChildProcess;
  #child: ChildProcess | null = null;
  #output = '';

  constructor(folder: string, port: number, env: Readonly<Record<string, string>>, mapper: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#env = env;
    this.#mapper = mapper;
  }

  async start(): Promise<void> {
    const child = spawn(locatePeer('rabbitmq'), { env: { ...process.env, ...this.#env }, stdio: 'pipe' });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-4000);
      });
    }
    await waitFor('RabbitMQ to listen', () => isListening(this.port), START_MS_MAX).catch((error: Error) => {
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

  async control(...command: string[]): Promise<string> {
    const program = join(dirname(locatePeer('rabbitmq')), 'rabbitmqctl');
    const { stdout } = await promisify(execFile)(program, command, { env: { ...process.env, ...this.#env } });
    return stdout;
  }

  async stop(): Promise<void> {
    await this.kill();
    this.#mapper.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function startRabbitMq(plugins: readonly string[] = []): Promise<RabbitMq> {
  const folder = mkdtempSync(join(tmpdir(), 'rabbitmq-'));
  const [port, mapperPort, distribution] = [await pickPort(), await pickPort(), await pickPort()];
  writeFileSync(
    join(folder, 'rabbitmq.conf'),
    `listeners.tcp.1 = 127.0.0.1:${port}\nlog.file.level = warning\n`,
  );
  writeFileSync(join(folder, 'enabled_plugins'), `[${plugins.join(',')}].\n`);
  const env = {
    HOME: folder,
    RABBITMQ_NODENAME: `bridge${mapperPort}@localhost`,
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_DIST_PORT: String(distribution),
    ERL_EPMD_PORT: String(mapperPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  };
  const mapper = spawn('epmd', ['-port', String(mapperPort), '-address', '127.0.0.1'], { stdio: 'ignore' });
  const broker = new RabbitMq(folder, port, env, mapper);
  try {
    await broker.start();
  } catch (error) {
    await broker.stop();
    throw error;
  }
  return broker;
}
