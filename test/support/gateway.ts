/**
 * Gateways for tests: in this process (`startTestGateway`) or as a process of its own that may be killed
 * (`spawnGateway`). Ports are chosen by the system, data goes to a new folder under the system's temporary one, which
 * is removed with the gateway unless the test gave a folder of its own (to start again on the same data). Environment
 * variables of the person who runs the tests never reach a gateway.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config/index.ts';
import type { Core } from '../../src/core/index.ts';
import { type Gateway, type GatewayParts, startGateway } from '../../src/gateway.ts';
import { configShape, gatewayParts } from '../../src/main.ts';
import { pickPort } from './ports.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const START_MS_MAX = 15_000;
/** A port is free only until somebody else takes it. */
const SPAWN_ATTEMPTS = 3;

/** 0 where it does not listen. All on 127.0.0.1. */
export interface GatewayPorts {
  readonly mqtt: number;
  readonly mqttWebsocket: number;
  readonly amqp: number;
  readonly kafka: number;
  readonly http: number;
}

export interface TestGateway {
  readonly ports: GatewayPorts;
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** The data folder. */
  readonly folder: string;
  readonly gateway: Gateway;
  readonly core: Core;
  /** Drains and stops; removes the folder unless the test gave it. */
  stop(): Promise<void>;
}

export interface GatewayOptions {
  /** A data folder that stays; absent: a new one that goes. */
  readonly folder?: string;
  /** Settings by their path, such as `{ 'storage.durability': 'os', 'mqtt.limits.receiveMaximum': 10 }`. */
  readonly settings?: Readonly<Record<string, string | number | boolean | null | readonly string[]>>;
}

export async function startTestGateway(
  options: GatewayOptions & { readonly parts?: Partial<GatewayParts> } = {},
): Promise<TestGateway> {
  const folder = options.folder ?? makeDataFolder();
  const removeFolder = (): void => {
    if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
  };
  const config = loadConfig(configShape, {
    file: '/dev/null',
    environment: {},
    assignments: assignmentsFrom(folder, PORTS_BY_SYSTEM, { 'log.level': 'error', ...options.settings }),
    flags: {},
  });
  try {
    const gateway = await startGateway({ ...gatewayParts, ...options.parts }, config);
    const ports = portsOf(gateway);
    const stop = async (): Promise<void> => {
      await gateway.stop();
      removeFolder();
    };
    return { ports, url: `http://127.0.0.1:${ports.http}`, folder, gateway, core: gateway.core, stop };
  } catch (error) {
    removeFolder();
    throw error;
  }
}

export interface SpawnedGateway {
  readonly ports: GatewayPorts;
  readonly url: string;
  readonly folder: string;
  readonly pid: number;
  readonly process: ChildProcess;
  /** Everything it has printed so far, standard output and standard error. */
  output(): string;
  /** Sends the signal and resolves with the exit code, or the signal's name, when the process is gone. */
  kill(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>;
  /** Kills it with SIGTERM where it still runs, and removes the folder unless the test gave it. */
  stop(): Promise<void>;
}

export interface SpawnOptions extends GatewayOptions {
  /** What is run; the second is what is installed. */
  readonly entry?: 'src/main.ts' | 'src/command.ts';
  /** Ports to use again, as after a crash; absent: free ones. */
  readonly ports?: GatewayPorts;
  /** Further arguments of the command line. */
  readonly args?: readonly string[];
}

/** Resolves when it listens everywhere. Throws with its output where it does not come up. */
export async function spawnGateway(options: SpawnOptions = {}): Promise<SpawnedGateway> {
  const folder = options.folder ?? makeDataFolder();
  const removeFolder = (): void => {
    if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
  };
  for (let attempt = 1; ; attempt++) {
    const ports = options.ports ?? (await pickPorts());
    const settings = { 'log.level': 'info', ...options.settings };
    const assignments = assignmentsFrom(folder, ports, settings);
    const args = [...assignments.flatMap((one) => ['--set', one]), ...(options.args ?? [])];
    const child = spawn(
      process.execPath,
      [join(ROOT, options.entry ?? 'src/main.ts'), '--config', '/dev/null', ...args],
      {
        cwd: ROOT,
        env: environmentWithoutOurs(),
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const started = await waitUntilReady(child);
    if (started.isReady) return spawned(child, ports, folder, started.output, removeFolder);
    if (started.output().includes('in use') && options.ports === undefined && attempt < SPAWN_ATTEMPTS)
      continue;
    removeFolder();
    throw new Error(`the gateway did not start:\n${started.output()}`);
  }
}

function spawned(
  child: ChildProcess,
  ports: GatewayPorts,
  folder: string,
  output: () => string,
  removeFolder: () => void,
): SpawnedGateway {
  const ended = new Promise<number | NodeJS.Signals>((resolve) => {
    if (child.exitCode !== null) resolve(child.exitCode);
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'SIGKILL'));
  });
  const kill = (signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> => {
    child.kill(signal);
    return ended;
  };
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) await kill();
    removeFolder();
  };
  return {
    ports,
    url: `http://127.0.0.1:${ports.http}`,
    folder,
    pid: child.pid as number,
    process: child,
    output,
    kill,
    stop,
  };
}

/** The gateway logs one line with the text "ready" when everything listens. */
function waitUntilReady(child: ChildProcess): Promise<{ readonly isReady: boolean; output(): string }> {
  let text = '';
  const output = (): string => text;
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      resolve({ isReady: false, output });
    }, START_MS_MAX);
    const finish = (isReady: boolean): void => {
      clearTimeout(timer);
      resolve({ isReady, output });
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        text += chunk.toString('utf8');
        if (text.includes('"msg":"ready"')) finish(true);
      });
    }
    child.once('exit', () => setImmediate(finish, false));
  });
}

export function makeDataFolder(): string {
  return mkdtempSync(join(tmpdir(), 'rosettamq-test-'));
}

const PORTS_BY_SYSTEM: GatewayPorts = { mqtt: 0, mqttWebsocket: 0, amqp: 0, kafka: 0, http: 0 };

async function pickPorts(): Promise<GatewayPorts> {
  const ports = new Set<number>();
  while (ports.size < 5) ports.add(await pickPort());
  const [mqtt, mqttWebsocket, amqp, kafka, http] = [...ports] as [number, number, number, number, number];
  return { mqtt, mqttWebsocket, amqp, kafka, http };
}

function portsOf(gateway: Gateway): GatewayPorts {
  const portOf = (name: string): number => gateway.listeners.get(name)?.port ?? 0;
  return {
    mqtt: portOf('mqtt'),
    mqttWebsocket: portOf('mqtt-websocket'),
    amqp: portOf('amqp091'),
    kafka: portOf('kafka'),
    http: gateway.http?.port ?? 0,
  };
}

function assignmentsFrom(
  folder: string,
  ports: GatewayPorts,
  settings: NonNullable<GatewayOptions['settings']>,
): string[] {
  const all = {
    'storage.folder': folder,
    'mqtt.port': ports.mqtt,
    'mqtt.websocket.port': ports.mqttWebsocket,
    'amqp091.port': ports.amqp,
    'kafka.port': ports.kafka,
    'http.port': ports.http,
    ...settings,
  };
  return Object.entries(all).map(([path, value]) => {
    return `${path}=${Array.isArray(value) ? JSON.stringify(value) : String(value)}`;
  });
}

function environmentWithoutOurs(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ROSETTAMQ_')));
}
