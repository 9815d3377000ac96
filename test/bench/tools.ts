/**
 * Runs the generators on their core and reads their answers: our own `load.ts`, RabbitMQ's PerfTest and Kafka's
 * performance tools. Each run has a time limit, and what the broker and the generator used of the CPU is read from
 * /proc around it.
 */
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { locatePeer } from '../peers/programs.ts';
import type { BacklogPlan, BacklogResult } from './backlog.ts';
import { type Broker, GENERATOR_CORE } from './brokers.ts';
import type { LoadPlan, LoadResult } from './load.ts';
import { listProcessTree, readCpuSeconds } from './measure.ts';

const HERE = dirname(fileURLToPath(import.meta.url));

/** What one run of one broker gave; what a tool does not measure is absent. */
export interface Figures {
  readonly perSecond?: number;
  readonly cpuUs?: number;
  readonly p50Us?: number;
  readonly p99Us?: number;
  readonly generatorShare?: number;
  readonly lost?: number;
  readonly kilobytes?: number;
  readonly milliseconds?: number;
}

interface Run {
  readonly lines: string[];
  readonly generatorShare: number;
}

/** Spawns on the generator's core; `onLine` sees each line of standard output as it comes. */
async function run(
  command: readonly string[],
  secondsMax: number,
  onLine: (line: string) => void = () => {},
): Promise<Run> {
  const begin = performance.now();
  const child = spawn(locatePeer('taskset'), ['-c', GENERATOR_CORE, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  let errors = '';
  let cpuSeconds = 0;
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString('utf8')).slice(-4000);
  });
  const output = createInterface(child.stdout).on('line', (line) => {
    lines.push(line);
    onLine(line);
  });
  const sampler = setInterval(() => {
    cpuSeconds = Math.max(cpuSeconds, readCpuSeconds(listProcessTree(child.pid!)));
  }, 100);
  const limit = setTimeout(() => child.kill('SIGKILL'), secondsMax * 1000);
  const [code] = await Promise.all([
    new Promise<number | null>((resolve) => child.once('exit', resolve)),
    new Promise((resolve) => output.once('close', resolve)),
  ]);
  clearInterval(sampler);
  clearTimeout(limit);
  if (code !== 0) {
    const reason = code === null ? `did not end within ${secondsMax} s` : `ended with code ${code}`;
    throw new Error(`${command.slice(0, 6).join(' ')} … ${reason}\n${lines.slice(-3).join('\n')}\n${errors}`);
  }
  return { lines, generatorShare: (cpuSeconds * 1000) / (performance.now() - begin) };
}

/**
 * Keeps the generator's core awake until the function that it returns is called. The more a broker answers at a time, the
 * more often a closed loop waits; a virtual core that waits is given to others, and the time until it is back would count
 * as the broker's.
 */
export function keepGeneratorAwake(): () => void {
  const command = [locatePeer('chrt'), '--idle', '0', process.execPath, join(HERE, 'awake.ts')];
  const child = spawn(locatePeer('taskset'), ['-c', GENERATOR_CORE, ...command], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return () => child.kill('SIGKILL');
}

export async function runLoad(
  broker: Broker,
  plan: Omit<LoadPlan, 'port' | 'receiverPort' | 'pids'>,
): Promise<Figures> {
  const mqttPort = plan.mqtt.tls ? broker.ports.mqttTls : broker.ports.mqtt;
  const whole: LoadPlan = {
    ...plan,
    port: mqttPort,
    receiverPort: plan.receiverProtocol === 'mqtt' ? mqttPort : broker.ports[plan.receiverProtocol],
    pids: broker.pids(),
  };
  const command = [process.execPath, join(HERE, 'load.ts'), JSON.stringify(whole)];
  const { lines } = await run(command, plan.warmupSeconds + plan.seconds + 40);
  const result = JSON.parse(lines.at(-1)!) as LoadResult;
  return {
    perSecond: result.receivedPerSecond,
    cpuUs: result.brokerCpuUsPerMessage,
    generatorShare: result.generatorCpuShare,
    lost: result.lost + result.disorder + result.unacknowledged,
    ...(plan.rate > 0 ? { p50Us: result.p50Us, p99Us: result.p99Us } : {}),
  };
}

/** Messages a second are those of both ways together: the number over the time in and out. */
export async function runBacklog(broker: Broker, messages: number): Promise<Figures> {
  const plan: BacklogPlan = {
    port: broker.ports.mqtt,
    messages,
    // Takes about as long as the warming up of the other rows.
    warmupMessages: messages,
    payloadBytes: 64,
    window: 100,
    pids: broker.pids(),
  };
  const { lines } = await run([process.execPath, join(HERE, 'backlog.ts'), JSON.stringify(plan)], 90);
  const result = JSON.parse(lines.at(-1)!) as BacklogResult;
  return {
    perSecond: messages / (result.inSeconds + result.outSeconds),
    cpuUs: (result.brokerCpuSeconds * 1e6) / messages,
    generatorShare: result.generatorCpuShare,
    lost: result.lost + result.disorder,
  };
}

const PERF_TEST_LINE = /time ([\d.]+) s, .*?received: (\d+) msg\/s/;
const PERF_TEST_LATENCY =
  /consumer latency min\/median\/75th\/95th\/99th (\d+)\/(\d+)\/(\d+)\/(\d+)\/(\d+) µs/;

/**
 * PerfTest twice: `messages` counted ones, which end only when every one was received, then a timed run of which the
 * first seconds are left out.
 */
export async function runPerfTest(
  broker: Broker,
  options: readonly string[],
  messages: number,
  seconds: number,
): Promise<Figures> {
  const uri = `amqp://guest:guest@127.0.0.1:${broker.ports.amqp}`;
  const java = [locatePeer('java'), '-Xmx512m', '-cp', locatePeer('perf-test'), 'com.rabbitmq.perf.PerfTest'];
  const base = [...java, '-h', uri, '-x', '1', '-y', '1', ...options];
  const count = String(messages);
  let lost = 0;
  try {
    await run([...base, '-C', count, '-D', count], 60);
  } catch {
    lost = Number.NaN; // it never ended, so some are missing; PerfTest does not say how many
  }
  const warmSeconds = Math.min(4, seconds / 3);
  const samples: { readonly seconds: number; readonly received: number; readonly cpu: number }[] = [];
  const pids = broker.pids();
  const { lines, generatorShare } = await run([...base, '-z', String(seconds)], seconds + 30, (line) => {
    const match = PERF_TEST_LINE.exec(line);
    if (match === null) return;
    samples.push({ seconds: Number(match[1]), received: Number(match[2]), cpu: readCpuSeconds(pids) });
  });
  const warm = samples.findIndex((sample) => sample.seconds >= warmSeconds);
  const used = samples.slice(warm + 1);
  let received = 0;
  let before = samples[warm]!;
  for (const sample of used) {
    received += sample.received * (sample.seconds - before.seconds);
    before = sample;
  }
  const latency = lines.map((line) => PERF_TEST_LATENCY.exec(line)).find((match) => match !== null);
  return {
    perSecond: received / (before.seconds - samples[warm]!.seconds),
    cpuUs: ((before.cpu - samples[warm]!.cpu) * 1e6) / received,
    generatorShare,
    lost,
    ...(latency ? { p50Us: Number(latency[2]), p99Us: Number(latency[5]) } : {}),
  };
}

const kafkaTool = (name: string): string[] => [
  locatePeer('java'),
  '-Xmx512m',
  '-cp',
  locatePeer('kafka'),
  `org.apache.kafka.tools.${name}`,
];

export async function runKafkaProducer(
  broker: Broker,
  plan: {
    readonly topic: string;
    readonly records: number;
    readonly recordBytes: number;
    readonly properties: readonly string[];
  },
): Promise<Figures> {
  const pids = broker.pids();
  const cpuBefore = readCpuSeconds(pids);
  const options = ['--topic', plan.topic, '--num-records', String(plan.records), '--throughput', '-1'];
  const server = ['--bootstrap-server', `127.0.0.1:${broker.ports.kafka}`];
  const size = ['--record-size', String(plan.recordBytes), '--command-property', ...plan.properties];
  const { lines, generatorShare } = await run(
    [...kafkaTool('ProducerPerformance'), ...options, ...server, ...size],
    120,
  );
  const line = lines.at(-1) ?? '';
  const match = /^(\d+) records sent, ([\d.]+) records\/sec.*?(\d+) ms 50th.*?(\d+) ms 99th/.exec(line);
  if (match === null) throw new Error(`no result of the producer: ${line}`);
  return {
    perSecond: Number(match[2]),
    cpuUs: ((readCpuSeconds(pids) - cpuBefore) * 1e6) / plan.records,
    p50Us: Number(match[3]) * 1000,
    p99Us: Number(match[4]) * 1000,
    generatorShare,
    lost: plan.records - Number(match[1]),
  };
}

/** Reads what a producer run left: fewer records than that are a loss. */
export async function runKafkaConsumer(broker: Broker, topic: string, records: number): Promise<Figures> {
  const pids = broker.pids();
  const cpuBefore = readCpuSeconds(pids);
  const server = ['--bootstrap-server', `127.0.0.1:${broker.ports.kafka}`];
  const options = ['--topic', topic, '--num-records', String(records), '--hide-header', '--timeout', '20000'];
  const { lines, generatorShare } = await run(
    [...kafkaTool('ConsumerPerformance'), ...server, ...options],
    120,
  );
  const fields = lines
    .findLast((line) => line.split(',').length >= 10)
    ?.split(',')
    .map((field) => field.trim());
  if (fields === undefined) throw new Error(`no result of the consumer: ${lines.at(-1)}`);
  return {
    perSecond: Number(fields[9]),
    cpuUs: ((readCpuSeconds(pids) - cpuBefore) * 1e6) / records,
    generatorShare,
    lost: Math.max(0, records - Number(fields[4])),
  };
}
