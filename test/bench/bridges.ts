/**
 * `npm run bench:bridges -- kafka|rabbitmq [seconds] [messages a second] [MiB of memory for each gateway]`: devices publish by
 * MQTT to one gateway, which bridges them to a real outside broker; another gateway bridges them in from there, and a
 * subscriber by MQTT gets them. Without a bound of its memory each gateway is as it is by default.
 * For a fifth of the time the outside broker is killed. Afterwards every message is accounted for: lost, doubled, out of
 * order for its device; and what both gateways' memory and lag did meanwhile. Exit status 1 when one was lost or out of order.
 */
import { KafkaBroker } from '../interop/bridges/kafka-broker.ts';
import { startRabbitMq } from '../interop/bridges/rabbitmq.ts';
import { type SpawnedGateway, spawnGateway } from '../support/gateway.ts';
import {
  Histogram,
  nowUs,
  readAnonymousBytes,
  readCpuSeconds,
  readOwnCpuSeconds,
  readResidentBytes,
} from './measure.ts';
import { MqttClient } from './mqtt-client.ts';

const OUTSIDES = ['kafka', 'rabbitmq'] as const;
const [which = 'kafka', secondsText = '300', rateText = '20000', memoryMebibytes] = process.argv.slice(2);
const SECONDS = Number(secondsText);
const RATE = Number(rateText);
const DEVICES = 100;
const PAYLOAD_BYTES = 128;
/** Unacknowledged messages of one device. */
const WINDOW = 500;
const TICK_MS = 5;
/** Or as long as was published, where that is longer. */
const CATCH_UP_MS_MAX = 180_000;
const MIB = 1024 * 1024;
/** For a fifth of the time at the rate, and more: a full one refuses publishers. */
const BUFFER = { messagesMax: 10_000_000, bytesMax: 4_096 * MIB };

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

const MATCH = 'devices/{device}/telemetry';

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
        declare: { queues: [{ name: 'fleet', bind: [{ exchange: 'amq.topic', key: 'devices.#' }] }] },
      },
    },
    in: { mappings: [{ source: 'fleet', match: MATCH, topic: 'fleet/{device}' }] },
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

/** Which messages of each device came, how often and in which order. */
class Arrivals {
  readonly latencies = new Histogram();
  readonly #seen: Uint8Array[] = [];
  readonly #next: number[] = [];
  unique = 0;
  doubled = 0;
  disorder = 0;

  constructor(sequencesMax: number) {
    for (let device = 0; device < DEVICES; device++) {
      this.#seen.push(new Uint8Array(sequencesMax));
      this.#next.push(0);
    }
  }

  take(device: number, sequence: number, sentUs: number): void {
    const seen = this.#seen[device] as Uint8Array;
    if (seen[sequence] === 1) {
      this.doubled++;
      return;
    }
    seen[sequence] = 1;
    this.unique++;
    const next = this.#next[device] as number;
    // One that comes after a later one of its device.
    if (sequence < next) this.disorder++;
    else this.#next[device] = sequence + 1;
    this.latencies.add(nowUs() - sentUs);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function openDevices(port: number): Promise<MqttClient[]> {
  const devices: MqttClient[] = [];
  for (let device = 0; device < DEVICES; device++) {
    const client = new MqttClient(port, null);
    await client.connect(`device-${device}`);
    client.preparePublish({
      publisher: device,
      topics: [`devices/d${device}/telemetry`],
      qos: 1,
      retain: false,
      payloadBytes: PAYLOAD_BYTES,
    });
    client.autoFlush = false;
    devices.push(client);
  }
  return devices;
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

/** A line for each twentieth of the time: what both gateways hold, and what waits. */
function timelineOf(samples: readonly Sample[]): string[] {
  const step = Math.max(1, Math.round(samples.length / 20));
  const both = ({ resident, anonymous }: Memory): string =>
    `${Math.round(resident / MIB)} (${Math.round(anonymous / MIB)})`;
  return samples
    .map((sample, second) => ({ ...sample, second }))
    .filter(({ second }) => second % step === 0)
    .map(({ sender, receiver, lag, second }) => `${second} | ${both(sender)} | ${both(receiver)} | ${lag}`);
}

/** Publishes at the rate for the time; what is refused or slow only makes it later, never fewer. */
async function publish(devices: readonly MqttClient[], seconds: number): Promise<void> {
  const beginUs = nowUs();
  let sent = 0;
  let turn = 0;
  for (let elapsed = 0; elapsed < seconds; elapsed = (nowUs() - beginUs) / 1e6) {
    let due = Math.floor(elapsed * RATE) - sent;
    for (let tried = 0; tried < DEVICES && due > 0; tried++) {
      const client = devices[turn++ % DEVICES] as MqttClient;
      const count = Math.min(due, 8, WINDOW - (client.sent - client.acknowledged));
      if (count <= 0 || client.blocked) continue;
      client.publish(count);
      due -= count;
      sent += count;
    }
    for (const client of devices) client.flush();
    await pause(TICK_MS);
  }
}

const makeDefinitions = definitionsOf[which];
if (makeDefinitions === undefined) throw new Error(`the outside broker is one of ${OUTSIDES.join(', ')}`);
const outside: Outside = which === 'kafka' ? await KafkaBroker.start() : await startRabbitMq();
const settings = memoryMebibytes === undefined ? {} : { 'gateway.memoryMebibytes': memoryMebibytes };
const sender = await spawnGateway({ settings });
const receiver = await spawnGateway({ settings });
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

  const arrivals = new Arrivals(Math.ceil((RATE * SECONDS * 2) / DEVICES) + 1_000);
  const subscriber = new MqttClient(receiver.ports.mqtt, (bytes, at) => {
    arrivals.take(bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12), bytes.readDoubleLE(at));
  });
  await subscriber.connect('subscriber', false);
  await subscriber.subscribe('fleet/+', 1);
  const devices = await openDevices(sender.ports.mqtt);
  // What is to be read there is made by the first messages.
  await publish(devices, 2);
  await put(receiver, 'bridges/down', { connection: 'outside', direction: 'in', ...definitions.in });
  await untilConnected(receiver, 'down');

  // What waited for the way in to begin is no measure of it.
  while (arrivals.unique < devices.reduce((sum, { sent }) => sum + sent, 0)) await pause(100);

  const samples: Sample[] = [];
  let lag = 0;
  let lagMax = 0;
  const sampling = setInterval(() => {
    samples.push({ sender: readMemory(sender.pid), receiver: readMemory(receiver.pid), lag });
    readBridge(sender, 'up').then(
      (status) => {
        lag = status.lag.messages;
        lagMax = Math.max(lagMax, lag);
      },
      () => {},
    );
  }, 1_000);
  const cpu = () => ({
    sender: readCpuSeconds([sender.pid]),
    receiver: readCpuSeconds([receiver.pid]),
    outside: readCpuSeconds(outside.pids),
    own: readOwnCpuSeconds(),
  });
  const part = SECONDS / 5;
  const publishing = publish(devices, SECONDS);
  arrivals.latencies.clear();
  const before = cpu();
  await pause(part * 1_000);
  const after = cpu();
  const latency = { p50: arrivals.latencies.quantile(0.5), p99: arrivals.latencies.quantile(0.99) };
  await outside.kill();
  await pause(part * 1_000);
  await outside.start();
  const restartedMs = Date.now();
  let caughtUpMs = -1;
  const watching = setInterval(() => {
    readBridge(sender, 'up').then(
      ({ lag }) => {
        if (caughtUpMs < 0 && lag.messages < RATE / 10) caughtUpMs = Date.now() - restartedMs;
      },
      () => {},
    );
  }, 250);
  await publishing;
  const countSent = (): number => devices.reduce((sum, { sent }) => sum + sent, 0);
  const countAcknowledged = (): number => devices.reduce((sum, { acknowledged }) => sum + acknowledged, 0);
  const deadline = Date.now() + Math.max(CATCH_UP_MS_MAX, SECONDS * 1_000);
  while ((arrivals.unique < countSent() || countAcknowledged() < countSent()) && Date.now() < deadline)
    await pause(100);
  await pause(2_000);
  clearInterval(sampling);
  clearInterval(watching);

  const mib = (of: (sample: Sample) => number): string => {
    const first = Math.max(...samples.slice(0, 10).map(of));
    const last = Math.max(...samples.slice(-10).map(of));
    return `${Math.round(first / MIB)} → ${Math.round(last / MIB)} (peak ${Math.round(Math.max(...samples.map(of)) / MIB)})`;
  };
  const sent = countSent();
  const lost = sent - arrivals.unique;
  failed = lost > 0 || arrivals.disorder > 0;
  const caughtUp =
    caughtUpMs < 0
      ? 'not up to date in time'
      : `sent again and up to date ${(caughtUpMs / 1000).toFixed(1)} s`;
  const share = (name: keyof ReturnType<typeof cpu>) => ((after[name] - before[name]) / part).toFixed(2);
  process.stdout.write(
    `${[
      `${which}: ${sent} messages of ${PAYLOAD_BYTES} B from ${DEVICES} devices in ${SECONDS} s, ${Math.round(sent / (SECONDS + 2))} a second`,
      `killed for ${part} s; ${caughtUp} after it was back; most that waited: ${lagMax}`,
      `lost ${lost}, doubled ${arrivals.doubled}, out of order for their device ${arrivals.disorder}`,
      `publish to delivery while all was well: p50 ${(latency.p50 / 1000).toFixed(1)} ms, p99 ${(latency.p99 / 1000).toFixed(1)} ms`,
      `CPU cores while all was well: bridge out ${share('sender')}, bridge in ${share('receiver')}, outside broker ${share('outside')}, generator ${share('own')}`,
      `resident MiB, first ten seconds → last ten: bridge out ${mib((one) => one.sender.resident)}, bridge in ${mib((one) => one.receiver.resident)}`,
      `of it in no file: bridge out ${mib((one) => one.sender.anonymous)}, bridge in ${mib((one) => one.receiver.anonymous)}`,
      'second | bridge out, MiB (in no file) | bridge in, MiB (in no file) | waiting',
      ...timelineOf(samples),
      `bridge out ${JSON.stringify((await readBridge(sender, 'up')).counters)}`,
      `bridge in ${JSON.stringify((await readBridge(receiver, 'down')).counters)}`,
    ].join('\n')}\n`,
  );
  for (const client of [...devices, subscriber]) client.end();
} finally {
  await sender.stop();
  await receiver.stop();
  await outside.stop();
}
process.exit(failed ? 1 : 0);
