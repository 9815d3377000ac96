/**
 * A gateway of its own for each suite, started as the README says, on free ports and with an empty data folder that is
 * removed at the end. Restarting keeps folder and ports, so that clients find their way back.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { listProcessTree } from '../bench/measure.ts';
import { isListening } from '../support/listening.ts';
import { pickPort } from '../support/ports.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const START_MS_MAX = 30_000;
const STOP_MS_MAX = 20_000;

export interface Ports {
  readonly mqtt: number;
  readonly webSocket: number;
  readonly amqp: number;
  readonly kafka: number;
  readonly http: number;
}

export interface Gateway {
  readonly ports: Ports;
  readonly folder: string;
  /** Of the process that `npm start` became; the gateway itself is it or below it. */
  readonly pid: number;
  /** What it wrote to its outputs since it was started last. */
  readonly output: string;
  /** Ends it as an operator would and starts it again. */
  restart(): Promise<void>;
  /** Ends it with SIGKILL, at once. */
  kill(): Promise<void>;
  /** Starts it again after `kill`. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Environment variables that put a gateway's data into `folder` and its listeners on free ports. */
export async function portSettings(folder: string): Promise<{ env: Record<string, string>; ports: Ports }> {
  const ports = {
    mqtt: await pickPort(),
    webSocket: await pickPort(),
    amqp: await pickPort(),
    kafka: await pickPort(),
    http: await pickPort(),
  };
  const env = {
    ROSETTAMQ_DATA: folder,
    ROSETTAMQ_MQTT_PORT: String(ports.mqtt),
    ROSETTAMQ_MQTT_WEBSOCKET_PORT: String(ports.webSocket),
    ROSETTAMQ_AMQP_PORT: String(ports.amqp),
    ROSETTAMQ_KAFKA_PORT: String(ports.kafka),
    ROSETTAMQ_HTTP_PORT: String(ports.http),
  };
  return { env, ports };
}

/** This process's environment without settings of a gateway: they are given by the test alone. */
export const foreignEnvironment = (): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ROSETTAMQ_')));

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

class StartedGateway implements Gateway {
  readonly ports: Ports;
  readonly folder: string;
  readonly #env: Record<string, string>;
  readonly #removeFolder: boolean;
  readonly #direct: boolean;
  #child: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  output = '';

  constructor(options: GatewayOptions, folder: string, ports: Ports, env: Record<string, string>) {
    this.folder = folder;
    this.#removeFolder = options.folder === undefined;
    this.#direct = options.direct ?? false;
    this.ports = ports;
    this.#env = env;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  async start(): Promise<void> {
    this.output = '';
    const command = this.#direct ? [process.execPath, 'src/main.ts'] : ['npm', 'start', '--silent'];
    const child = spawn(command[0]!, command.slice(1), {
      cwd: ROOT,
      env: { ...foreignEnvironment(), ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.output = (this.output + chunk.toString('utf8')).slice(-100_000);
      });
    }
    this.#ended = new Promise((resolve) => child.once('exit', () => resolve()));
    const deadline = Date.now() + START_MS_MAX;
    for (const [name, port] of Object.entries(this.ports)) {
      while (!(await isListening(port))) {
        if (child.exitCode !== null || Date.now() > deadline) {
          throw new Error(`the gateway's ${name} listener does not open:\n${this.output}`);
        }
        await pause(20);
      }
    }
  }

  /** npm passes no signal on to be relied upon, so every process below it gets it, the gateway first. */
  #signal(signal: NodeJS.Signals): void {
    for (const pid of listProcessTree(this.pid).reverse()) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended already.
      }
    }
  }

  async kill(): Promise<void> {
    const pids = listProcessTree(this.pid);
    this.#signal('SIGKILL');
    await this.#ended;
    // npm is ours to wait for, but what it had started is not: a process that still ends owns its data folder.
    while (pids.some(isRunning)) await pause(5);
  }

  async restart(): Promise<void> {
    await this.#end();
    await this.start();
  }

  async #end(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gateway = listProcessTree(this.pid).at(-1)!;
    process.kill(gateway, 'SIGTERM');
    const limit = setTimeout(() => this.#signal('SIGKILL'), STOP_MS_MAX);
    await this.#ended;
    clearTimeout(limit);
  }

  async stop(): Promise<void> {
    await this.#end();
    if (this.#removeFolder) rmSync(this.folder, { recursive: true, force: true });
  }
}

export interface GatewayOptions {
  /** A data folder of the caller's, which is left alone; without one, a new one that goes with the gateway. */
  readonly folder?: string;
  /** Without npm between, so that a killed gateway is gone at once: its parent is this process. */
  readonly direct?: boolean;
  readonly env?: Record<string, string>;
}

/** Between the choice of a port and its use another program may take it: then others are chosen. */
const START_ATTEMPTS = 3;

export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'rosettamq-'));
  for (let attempt = 1; ; attempt++) {
    const { env, ports } = await portSettings(folder);
    const gateway = new StartedGateway(options, folder, ports, { ...env, ...options.env });
    try {
      await gateway.start();
      return gateway;
    } catch (error) {
      await gateway.kill();
      if (attempt < START_ATTEMPTS && String(error).includes('in use by another program')) continue;
      await gateway.stop();
      throw error;
    }
  }
}
