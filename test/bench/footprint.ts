/**
 * What a broker costs while nobody talks to it: resident memory when idle, memory for each connected and silent MQTT
 * client, and the time from the start of its process until it accepts a connection.
 */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { locatePeer } from '../peers/programs.ts';
import { type Broker, GENERATOR_CORE } from './brokers.ts';
import { findMedian, readResidentBytes } from './measure.ts';

export interface Footprint {
  readonly name: string;
  readonly startMs: number;
  readonly idleMebibytes: number;
  readonly connections: number;
  readonly kilobytesPerConnection: number;
}

const SETTLE_MS = 2000;
const OPEN_MS_MAX = 60_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Other clients of a broker: `idle` ones stay, `restless` ones come and go once a second. */
export interface Crowd {
  readonly idle: number;
  readonly restless: number;
}

/** Keeps the crowd there while `body` runs. */
export async function withCrowd<T>(port: number, crowd: Crowd, body: () => Promise<T>): Promise<T> {
  const script = join(dirname(fileURLToPath(import.meta.url)), 'crowd.ts');
  const counts = [port, crowd.idle, crowd.restless].map(String);
  const command = ['-c', GENERATOR_CORE, process.execPath, script, ...counts];
  const child = spawn(locatePeer('taskset'), command, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const limit = setTimeout(() => child.kill('SIGKILL'), OPEN_MS_MAX);
  const opened = await new Promise<boolean>((resolve) => {
    child.stdout.once('data', () => resolve(true));
    child.once('exit', () => resolve(false));
  });
  clearTimeout(limit);
  if (!opened) throw new Error(`${crowd.idle} idle connections could not be opened`);
  try {
    return await body();
  } finally {
    child.stdin.end();
    await ended;
  }
}

export async function measureFootprint(
  start: () => Promise<Broker>,
  connections: number,
  starts: number,
): Promise<Footprint> {
  const startMs: number[] = [];
  for (let index = 1; index < starts; index++) {
    const broker = await start();
    startMs.push(broker.startMs);
    await broker.stop();
  }
  const broker = await start();
  try {
    startMs.push(broker.startMs);
    await pause(SETTLE_MS);
    const idle = readResidentBytes(broker.pids());
    let connected = 0;
    await withCrowd(broker.ports.mqtt, { idle: connections, restless: 0 }, async () => {
      await pause(SETTLE_MS);
      connected = readResidentBytes(broker.pids());
    });
    return {
      name: broker.name,
      startMs: findMedian(startMs),
      idleMebibytes: idle / 2 ** 20,
      connections,
      kilobytesPerConnection: (connected - idle) / 1024 / connections,
    };
  } finally {
    await broker.stop();
  }
}
