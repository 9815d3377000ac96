/**
 * A gateway beside a service, as it is installed: what it takes when nobody uses it, how soon it listens, and that its memory
 * stays near its bound while consumers are slow. Pages of files, which the kernel takes back, are left out of that. Memory
 * is read from /proc, so this needs Linux.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect as connectAmqp } from 'amqplib';
import { connectAsync } from 'mqtt';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isListening } from '../support/listening.ts';
import { foreignEnvironment, type Ports, portSettings } from './gateway.ts';
import { waitFor } from './programs.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const STARTS = 5;
const IDLE_MEBIBYTES_MAX = 80;
/** To the first accepted connection. Of CPU, because other work on the machine takes none of it away. */
const START_CPU_MS_MAX = 500;
const MEMORY_MEBIBYTES = 128;
/**
 * What is asked for is met by many smaller bounds, and garbage outside of V8's heap grows by some 64 MiB before it is collected.
 */
const MEMORY_EXCESS = 2;
const SLOW_READERS = 20;
const BODY = Buffer.alloc(4_096, 'x');
const MESSAGES = 5_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Sidecar {
  readonly process: ChildProcess;
  readonly ports: Ports;
  readonly folder: string;
  readonly startCpuMs: number;
  readonly ended: Promise<number | null>;
}

const started: Sidecar[] = [];

const readStatus = (pid: number, field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) /
  1024;

/** In ticks of ten milliseconds, as Linux tells everybody. */
function readCpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function startSidecar(): Promise<Sidecar> {
  const folder = mkdtempSync(join(tmpdir(), 'rosettamq-sidecar-'));
  const { env, ports } = await portSettings(folder);
  const child = spawn(process.execPath, [join(ROOT, 'dist/src/command.js'), '--sidecar'], {
    env: { ...foreignEnvironment(), ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  while (!(await isListening(ports.mqtt))) {
    if (child.exitCode !== null) throw new Error('the sidecar ended');
    await pause(3);
  }
  const sidecar = { process: child, ports, folder, startCpuMs: readCpuMs(child.pid!), ended };
  started.push(sidecar);
  return sidecar;
}

const waitUntilReady = ({ ports }: Sidecar): Promise<unknown> =>
  waitFor(
    'readiness',
    async () => (await fetch(`http://127.0.0.1:${ports.http}/readyz`).catch(() => null))?.ok === true,
  );

async function stop({ process: child, ended, folder }: Sidecar): Promise<number | null> {
  child.kill('SIGTERM');
  const code = await ended;
  rmSync(folder, { recursive: true, force: true });
  return code;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;

const isLinux = process.platform === 'linux';
if (!isLinux) process.stdout.write('SKIPPED: the sidecar: there is no /proc here\n');

describe.skipIf(!isLinux)('a sidecar', () => {
  beforeAll(() => {
    execFileSync(process.execPath, [join(ROOT, 'build.ts'), '--when-changed'], { cwd: ROOT });
  });
  afterEach(async () => {
    for (const sidecar of started.splice(0)) await stop(sidecar);
  });

  it('listens soon, and idles in little memory while it answers probes', async () => {
    const startCpuMs: number[] = [];
    const mebibytes: number[] = [];
    for (let start = 0; start < STARTS; start++) {
      const sidecar = await startSidecar();
      startCpuMs.push(sidecar.startCpuMs);
      const health = `http://127.0.0.1:${sidecar.ports.http}`;
      await waitFor(
        'readiness',
        async () => (await fetch(`${health}/readyz`).catch(() => null))?.ok === true,
      );
      expect((await fetch(`${health}/livez`)).status).toBe(200);
      // What the start needed is collected a second after it.
      await pause(1_500);
      mebibytes.push(readStatus(sidecar.process.pid!, 'VmRSS'));
      expect(await stop(started.pop()!)).toBe(0);
    }
    const figures = `${median(startCpuMs)} ms of CPU to listening, ${median(mebibytes).toFixed(1)} MiB idle`;
    process.stdout.write(`sidecar: ${figures}\n`);
    expect(median(mebibytes), figures).toBeLessThan(IDLE_MEBIBYTES_MAX);
    expect(median(startCpuMs), figures).toBeLessThanOrEqual(START_CPU_MS_MAX);
  });

  it('stays within twice its memory while consumers are slow, and loses nothing that it acknowledged', async () => {
    const sidecar = await startSidecar();
    await waitUntilReady(sidecar);
    const { mqtt, amqp } = sidecar.ports;
    const connection = await connectAmqp(`amqp://guest:guest@127.0.0.1:${amqp}`);
    const channel = await connection.createChannel();
    await channel.assertQueue('slow', { durable: true });
    await channel.bindQueue('slow', 'amq.topic', 'load.#');
    // Takes a hundred and settles none of them for now.
    const taken: bigint[] = [];
    await channel.prefetch(100);
    let isSlow = true;
    let count = 0;
    await channel.consume('slow', (message) => {
      if (message === null) return;
      count++;
      if (isSlow) taken.push(message.fields.deliveryTag as unknown as bigint);
      else channel.ack(message);
    });
    // Sessions that are away, and clients that do not read.
    const deaf = [];
    for (let index = 0; index < SLOW_READERS; index++) {
      const client = await connectAsync(`mqtt://127.0.0.1:${mqtt}`, {
        clientId: `slow-${index}`,
        clean: false,
        protocolVersion: 4,
        reconnectPeriod: 0,
      });
      await client.subscribeAsync('load/#', { qos: 1 });
      if (index % 2 === 0) client.stream.pause();
      else await client.endAsync(true);
      deaf.push(client);
    }
    const publisher = await connectAsync(`mqtt://127.0.0.1:${mqtt}`, {
      protocolVersion: 5,
      reconnectPeriod: 0,
    });
    let inFlight = 0;
    let peak = 0;
    for (let number = 0; number < MESSAGES; number++) {
      while (inFlight >= 100) await pause(1);
      inFlight++;
      publisher.publish('load/a', BODY, { qos: 1 }, (error) => {
        if (!error) inFlight--;
      });
      if (number % 250 === 0) peak = Math.max(peak, readStatus(sidecar.process.pid!, 'RssAnon'));
    }
    await waitFor('every acknowledgement', () => inFlight === 0);
    peak = Math.max(peak, readStatus(sidecar.process.pid!, 'RssAnon'));
    const figures = `${MESSAGES} messages of ${BODY.length} bytes to ${SLOW_READERS + 1} slow consumers: at most ${peak.toFixed(0)} MiB`;
    process.stdout.write(`sidecar: ${figures}\n`);
    isSlow = false;
    channel.ackAll();
    await waitFor('the queue to be empty', () => count >= MESSAGES);
    for (const client of deaf) client.end(true);
    await publisher.endAsync(true);
    await connection.close();
    expect(peak, figures).toBeLessThan(MEMORY_MEBIBYTES * MEMORY_EXCESS);
  });
});
