/**
 * `npm run bench:bridges`: devices publish by MQTT to one gateway, which bridges them to a real outside broker; another
 * gateway bridges them in from there, and a subscriber by MQTT with a session gets them. Both ways at once, or one after
 * the other where the outside broker has not the processor for both. The outside broker is killed for a fifth of the
 * time (of either way). Afterwards every message is accounted for: lost, doubled, out of order for its device; and what
 * both gateways' memory did meanwhile. Exit status 1 when one was lost or out of order.
 */
import { parseArgs } from 'node:util';
import { KafkaBroker } from '../interop/bridges/kafka-broker.ts';
import { startRabbitMq } from '../interop/bridges/rabbitmq.ts';
import { type SpawnedGateway, spawnGateway } from '../support/gateway.ts';
import { Arrivals, DEVICES, Fleet, PAYLOAD_BYTES, pause } from './bridged-fleet.ts';
import { readAnonymousBytes, readCpuSeconds, readOwnCpuSeconds, readResidentBytes } from './measure.ts';
import { MqttClient } from './mqtt-client.ts';

const USAGE = `npm run bench:bridges -- kafka|rabbitmq [options]

  --seconds N   how long the devices publish: 300
  --rate N      messages a second of all of them: 20000
  --memory N    the bound of each gateway's memory in MiB; without it each is as it is by default
  --apart       all the way out first, and then in from there
`;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '300' },
    rate: { type: 'string', default: '20000' },
    memory: { type: 'string' },
    apart: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const SECONDS = Number(options.seconds);
const RATE = Number(options.rate);
const which = positionals[0] ?? '';
/** All is well for a part, the outside broker is away for one. */
const PART_MS = (SECONDS / 5) * 1_000;
/** Or as long as was published, where that is longer. */
const CATCH_UP_MS = Math.max(180_000, SECONDS * 1_000);
const MIB = 1024 * 1024;
/** For a fifth of the time at the rate, and more: a full one refuses publishers. */
const BUFFER = { messagesMax: 10_000_000, bytesMax: 4_096 * MIB };
const MATCH = 'devices/{device}/telemetry';

interface Outside {
  readonly pids: readonly number[];
  readonly port: number;
  start(): Promise<void>;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

interface Definitions {
  readonly connection: object;
  readonly out: object;
  readonly in: object;
}

const definitionsOf: Record<string, (port: number) => Definitions> = {
  kafka: (port) => ({
    connection: { type: 'kafka', brokers: [`127.0.0.1:${port}`] },
    out: {
      mappings: [{ match: MATCH, topic: 'telemetry', key: '{device}' }],
      options: { createTopics: true, partitions: 6, replicationFactor: 1 },
    },
    in: {
      mappings: [{ source: 'telemetry', match: 'telemetry', topic: 'fleet/{key}', maxTopics: 1_000 }],
      options: { from: 'earliest' },
    },
  }),
  rabbitmq: (port) => ({
    connection: { type: 'amqp091', host: '127.0.0.1', port, user: 'guest', password: 'guest' },
    out: {
      mappings: [{ match: MATCH }],
      // It confirms what is on its disk, some milliseconds later: a small batch would mostly wait for that.
      batch: { messagesMax: 5_000 },
      options: {
        exchange: 'fleet',
        // What costs it the least: a topic exchange takes 13 µs more for each message, a queue in memory 5.
        declare: {
          exchanges: [{ name: 'fleet', type: 'fanout' }],
          queues: [
            {
              name: 'fleet',
              arguments: { 'x-queue-mode': 'lazy' },
              bind: [{ exchange: 'fleet', key: '' }],
            },
          ],
        },
      },
    },
    // The exchange is the first level of the address.
    in: { mappings: [{ source: 'fleet', match: `fleet/${MATCH}`, topic: 'fleet/{device}' }] },
  }),
};

async function put(gateway: SpawnedGateway, path: string, definition: object): Promise<void> {
  const response = await fetch(`${gateway.url}/v1/${path}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(definition),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
}

interface BridgeView {
  readonly status: {
    readonly state: string;
    readonly reason: string;
    readonly lag: { readonly messages: number; readonly seconds: number };
    readonly counters: Record<string, unknown>;
  };
}

async function readBridge(gateway: SpawnedGateway, name: string): Promise<BridgeView['status']> {
  const response = await fetch(`${gateway.url}/v1/bridges/${name}`);
  return ((await response.json()) as BridgeView).status;
}

async function untilConnected(gateway: SpawnedGateway, name: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { state, reason } = await readBridge(gateway, name);
    if (state === 'connected') return;
    if (Date.now() > deadline) throw new Error(`bridge ${name} is ${state}: ${reason}`);
    await pause(100);
  }
}

interface Memory {
  readonly resident: number;
  readonly anonymous: number;
}

interface Sample {
  readonly sender: Memory;
  readonly receiver: Memory;
  /** Messages that the bridge out has not sent. */
  readonly lag: number;
}

const readMemory = (pid: number): Memory => ({
  resident: readResidentBytes([pid]),
  anonymous: readAnonymousBytes([pid]),
});

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

const makeDefinitions = definitionsOf[which];
const areNumbers = [SECONDS, RATE, Number(options.memory ?? 1)].every((number) => number > 0);
if (options.help || makeDefinitions === undefined || positionals.length > 1 || !areNumbers) {
  process.stdout.write(USAGE);
  process.exit(options.help ? 0 : 2);
}
const outside: Outside = which === 'kafka' ? await KafkaBroker.start() : await startRabbitMq();
const settings = options.memory === undefined ? {} : { 'gateway.memoryMebibytes': options.memory };
const sender = await spawnGateway({ settings });
const receiver = await spawnGateway({ settings });
const arrivals = new Arrivals(Math.ceil((RATE * SECONDS * 2) / DEVICES) + 1_000);
const report: string[] = [];
const samples: Sample[] = [];
let lag = 0;

/** A second at a time. */
function sample(): void {
  samples.push({ sender: readMemory(sender.pid), receiver: readMemory(receiver.pid), lag });
  readBridge(sender, 'up').then(
    (status) => {
      lag = status.lag.messages;
    },
    () => {},
  );
}

const readCpu = () => ({
  'bridge out': readCpuSeconds([sender.pid]),
  'bridge in': readCpuSeconds([receiver.pid]),
  'outside broker': readCpuSeconds(outside.pids),
  generator: readOwnCpuSeconds(),
});

/** Lets all be well for a part of the time and kills the outside broker for another. Answers when it was back. */
async function interrupt(way: string): Promise<number> {
  arrivals.latencies.clear();
  const before = readCpu();
  const unique = arrivals.unique;
  await pause(PART_MS);
  const after = readCpu();
  const names = Object.keys(before) as (keyof typeof before)[];
  const shares = names.map(
    (name) => `${name} ${((after[name] - before[name]) / (PART_MS / 1_000)).toFixed(2)}`,
  );
  report.push(`${way}, while all was well: CPU cores: ${shares.join(', ')}`);
  const came = arrivals.unique - unique;
  if (came > 0) report.push(`  ${Math.round(came / (PART_MS / 1_000))} messages a second came`);
  if (came > 0 && !options.apart) {
    const [p50, p99] = [0.5, 0.99].map((share) => (arrivals.latencies.quantile(share) / 1_000).toFixed(1));
    report.push(`  publish to delivery: p50 ${p50} ms, p99 ${p99} ms`);
  }
  await outside.kill();
  await pause(PART_MS);
  const startingMs = Date.now();
  await outside.start();
  const backMs = Date.now();
  report.push(
    `  then killed; started after ${seconds(PART_MS)}, and listening ${seconds(backMs - startingMs)} later`,
  );
  return backMs;
}

/** Until the bridge out has next to nothing waiting. Answers when. */
async function untilUpToDate(): Promise<number> {
  const deadline = Date.now() + SECONDS * 1_000 + CATCH_UP_MS;
  while ((await readBridge(sender, 'up')).lag.messages >= RATE / 10 && Date.now() < deadline)
    await pause(250);
  return Date.now();
}

async function until(isDone: () => boolean): Promise<void> {
  const deadline = Date.now() + CATCH_UP_MS;
  while (!isDone() && Date.now() < deadline) await pause(100);
}

async function publishAndInterrupt(fleet: Fleet): Promise<void> {
  const beginMs = Date.now();
  const publishing = fleet.publish(SECONDS, RATE).then(() => Date.now());
  const backMs = await interrupt(options.apart ? 'out' : 'both ways');
  const upToDateMs = await untilUpToDate();
  const publishedMs = await publishing;
  await until(() => fleet.acknowledged === fleet.sent);
  report.push(
    `  published in ${seconds(publishedMs - beginMs)}; sent again and up to date ${seconds(upToDateMs - backMs)} after it was back; ` +
      `most that waited: ${Math.max(...samples.map((one) => one.lag))}`,
  );
}

async function comeBack(fleet: Fleet, definition: object): Promise<void> {
  await until(() => lag === 0);
  const beginMs = Date.now();
  await put(receiver, 'bridges/down', definition);
  await untilConnected(receiver, 'down');
  await interrupt('in');
  let lastMs = Date.now();
  let seen = arrivals.unique;
  while (arrivals.unique < fleet.sent && Date.now() - lastMs < CATCH_UP_MS) {
    await pause(100);
    if (arrivals.unique > seen) lastMs = Date.now();
    seen = arrivals.unique;
  }
  const tookMs = lastMs - beginMs;
  const runsMs = tookMs - PART_MS;
  report.push(
    `  ${arrivals.unique} messages in ${seconds(tookMs)}; without what it was killed for ${Math.round((arrivals.unique / runsMs) * 1_000)} a second`,
  );
}

function mebibytesOf(of: (sample: Sample) => number): string {
  const first = Math.max(...samples.slice(0, 10).map(of));
  const last = Math.max(...samples.slice(-10).map(of));
  return `${Math.round(first / MIB)} → ${Math.round(last / MIB)} (peak ${Math.round(Math.max(...samples.map(of)) / MIB)})`;
}

/** A line for each twentieth of the time: what both gateways hold, and what waits. */
function timelineOf(): string[] {
  const step = Math.max(1, Math.round(samples.length / 20));
  const both = ({ resident, anonymous }: Memory): string =>
    `${Math.round(resident / MIB)} (${Math.round(anonymous / MIB)})`;
  return samples
    .map((sample, second) => ({ ...sample, second }))
    .filter(({ second }) => second % step === 0)
    .map(({ sender, receiver, lag, second }) => `${second} | ${both(sender)} | ${both(receiver)} | ${lag}`);
}

let failed = false;
try {
  const definitions = makeDefinitions(outside.port);
  for (const gateway of [sender, receiver]) await put(gateway, 'connections/outside', definitions.connection);
  await put(sender, 'bridges/up', {
    connection: 'outside',
    direction: 'out',
    buffer: BUFFER,
    ...definitions.out,
  });
  await untilConnected(sender, 'up');
  const inward = { connection: 'outside', direction: 'in', ...definitions.in };

  const subscriber = new MqttClient(receiver.ports.mqtt, (bytes, at) => {
    arrivals.take(bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12), bytes.readDoubleLE(at));
  });
  await subscriber.connect('subscriber', false);
  await subscriber.subscribe('fleet/+', 1);
  const fleet = await Fleet.connect(sender.ports.mqtt);
  // What is to be read there is made by the first messages.
  await fleet.publish(2, RATE);
  if (!options.apart) {
    await put(receiver, 'bridges/down', inward);
    await untilConnected(receiver, 'down');
    // What waited for the way in to begin is no measure of it.
    await until(() => arrivals.unique === fleet.sent);
  }

  const sampling = setInterval(sample, 1_000);
  await publishAndInterrupt(fleet);
  if (options.apart) await comeBack(fleet, inward);
  else await until(() => arrivals.unique === fleet.sent);
  // One that comes twice may come late.
  await pause(2_000);
  clearInterval(sampling);

  const { sent } = fleet;
  const lost = sent - arrivals.unique;
  failed = lost > 0 || arrivals.disorder > 0;
  process.stdout.write(
    `${[
      `${which}: ${sent} messages of ${PAYLOAD_BYTES} B from ${DEVICES} devices, ${Math.round(sent / (SECONDS + 2))} a second`,
      `lost ${lost}, doubled ${arrivals.doubled}, out of order for their device ${arrivals.disorder}`,
      ...report,
      `resident MiB, first ten seconds → last ten: bridge out ${mebibytesOf((one) => one.sender.resident)}, bridge in ${mebibytesOf((one) => one.receiver.resident)}`,
      `of it in no file: bridge out ${mebibytesOf((one) => one.sender.anonymous)}, bridge in ${mebibytesOf((one) => one.receiver.anonymous)}`,
      'second | bridge out, MiB (in no file) | bridge in, MiB (in no file) | waiting to be sent',
      ...timelineOf(),
      `bridge out ${JSON.stringify((await readBridge(sender, 'up')).counters)}`,
      `bridge in ${JSON.stringify((await readBridge(receiver, 'down')).counters)}`,
    ].join('\n')}\n`,
  );
  fleet.end();
  subscriber.end();
} finally {
  await sender.stop();
  await receiver.stop();
  await outside.stop();
}
process.exit(failed ? 1 : 0);
