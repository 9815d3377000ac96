/**
 * `npm run bench:rules`: what ten thousand mapping rules cost. Messages a second and CPU for each of them with ten rules
 * and with ten thousand, in turns; then how long it takes to replace all of them over the HTTP API while a publisher
 * sends one message after the other, and how long its longest message waits meanwhile. Exit status 1 when one
 * of the bounds below was missed; they are meant for a machine that does nothing else.
 */
import { performance } from 'node:perf_hooks';
import { spawnGateway } from '../support/gateway.ts';
import { findMedian, readCpuSeconds } from './measure.ts';
import { MqttClient } from './mqtt-client.ts';

const RULES = 10_000;
const FEW = 10;
const ROUNDS = 3;
const SECONDS = Number(process.argv[2] ?? 3);
const WINDOW = 200;
const RATE_SHARE_LEAST = 0.9;
const REPLACE_MS_MOST = 1_000;
const STALL_MS_MOST = 50;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const rulesTo = (target: string, count: number): Record<string, object> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, n) => [
      `rule-${n}`,
      {
        from: { match: `bench/${n}/{device}/{rest...}`, where: { qos: '<=1' } },
        to: [
          { endpoint: 'core', topic: `${target}/${n}/{device|upper}`, headers: { set: { rest: '{rest}' } } },
        ],
      },
    ]),
  );

const gateway = await spawnGateway({ settings: { 'http.bodyBytesMax': 16_777_216, 'log.level': 'info' } });

/** Milliseconds until the answer. */
async function apply(rules: Record<string, object>): Promise<number> {
  const body = JSON.stringify({ mappings: rules });
  const start = performance.now();
  const response = await fetch(`${gateway.url}/v1/mappings:apply?prune=true`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json' },
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(text);
  return performance.now() - start;
}

async function openPublisher(): Promise<MqttClient> {
  const client = new MqttClient(gateway.ports.mqtt, null);
  await client.connect(`bench-${performance.now()}`);
  const topics = Array.from({ length: FEW }, (_, n) => `bench/${n}/d${n}/telemetry`);
  client.preparePublish({ publisher: 0, topics, qos: 1, retain: false, payloadBytes: 64 });
  return client;
}

async function measureRate(): Promise<{ perSecond: number; cpuUs: number }> {
  const client = await openPublisher();
  const start = performance.now();
  const cpuBefore = readCpuSeconds([gateway.pid]);
  while (performance.now() - start < SECONDS * 1_000) {
    const room = WINDOW - (client.sent - client.acknowledged);
    if (room > WINDOW / 4) {
      client.publish(room);
      client.flush();
    }
    await nextTurn();
  }
  while (client.acknowledged < client.sent) await nextTurn();
  const seconds = (performance.now() - start) / 1_000;
  const cpu = readCpuSeconds([gateway.pid]) - cpuBefore;
  client.disconnect();
  return { perSecond: client.acknowledged / seconds, cpuUs: (cpu * 1e6) / client.acknowledged };
}

/** The longest that one message waited for its acknowledgement while `task` ran. */
async function longestWaitDuring(task: () => Promise<unknown>): Promise<number> {
  const client = await openPublisher();
  let running = true;
  const ended = task().finally(() => {
    running = false;
  });
  let longest = 0;
  while (running) {
    const start = performance.now();
    client.publish(1);
    client.flush();
    while (client.acknowledged < client.sent) await nextTurn();
    longest = Math.max(longest, performance.now() - start);
  }
  await ended;
  client.disconnect();
  return longest;
}

try {
  const few: { perSecond: number; cpuUs: number }[] = [];
  const many: typeof few = [];
  await apply(rulesTo('out', FEW));
  await measureRate();
  for (let round = 0; round < ROUNDS; round++) {
    await apply(rulesTo('out', FEW));
    few.push(await measureRate());
    await apply(rulesTo('out', RULES));
    many.push(await measureRate());
  }
  const replaceMs: number[] = [];
  const stallMs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    stallMs.push(
      await longestWaitDuring(async () => replaceMs.push(await apply(rulesTo(`turn-${round}`, RULES)))),
    );
  }
  const rate = (runs: typeof few) => findMedian(runs.map(({ perSecond }) => perSecond));
  const cpu = (runs: typeof few) => findMedian(runs.map(({ cpuUs }) => cpuUs));
  const share = rate(many) / rate(few);
  const replaced = findMedian(replaceMs);
  const stall = findMedian(stallMs);
  const lines = [
    `${FEW} rules: ${Math.round(rate(few))} messages a second, ${cpu(few).toFixed(2)} µs of CPU each`,
    `${RULES} rules: ${Math.round(rate(many))} messages a second, ${cpu(many).toFixed(2)} µs of CPU each`,
    `rate with ${RULES} rules: ${(share * 100).toFixed(1)} % of that with ${FEW} (at least ${RATE_SHARE_LEAST * 100} %)`,
    `replacing all: ${replaced.toFixed(0)} ms (at most ${REPLACE_MS_MOST}); each: ${replaceMs.map((ms) => ms.toFixed(0)).join(', ')}`,
    `longest wait meanwhile: ${stall.toFixed(1)} ms (at most ${STALL_MS_MOST}); each: ${stallMs.map((ms) => ms.toFixed(1)).join(', ')}`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  if (share < RATE_SHARE_LEAST || replaced > REPLACE_MS_MOST || stall > STALL_MS_MOST) process.exitCode = 1;
} finally {
  await gateway.stop();
}
