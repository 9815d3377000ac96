/**
 * A backlog: a client with a persistent session goes away, another publishes messages for it at quality of service 1, and
 * then the first one comes back and takes them all. One process, told what to do by one JSON argument and answering
 * with one JSON line. Both ways are gone once before. Time counts from the first message sent to the last one
 * acknowledged, and from the reconnection to the last one received.
 */
import { nowUs, readCpuSeconds, readOwnCpuSeconds, SequenceCheck } from './measure.ts';
import { MqttClient } from './mqtt-client.ts';

export interface BacklogPlan {
  readonly port: number;
  readonly messages: number;
  /** Go the same way before, and count only where one is lost or out of order. */
  readonly warmupMessages: number;
  readonly payloadBytes: number;
  /** Unacknowledged messages of the publisher. */
  readonly window: number;
  /** The broker's processes. */
  readonly pids: readonly number[];
}

export interface BacklogResult {
  readonly inSeconds: number;
  readonly outSeconds: number;
  readonly brokerCpuSeconds: number;
  readonly generatorCpuShare: number;
  readonly lost: number;
  readonly disorder: number;
}

const TOPIC = 'bench/backlog';
const LIMIT_MS = 60_000;

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function runBacklog(plan: BacklogPlan, messages: number): Promise<BacklogResult> {
  const check = new SequenceCheck(1);
  const receiverId = `absent-${process.pid}`;
  const first = new MqttClient(plan.port, null);
  await first.connect(receiverId, false);
  await first.subscribe(TOPIC, 1);
  first.disconnect();
  await pause(200);

  const publisher = new MqttClient(plan.port, null);
  await publisher.connect(`publisher-${process.pid}`);
  publisher.preparePublish({
    publisher: 0,
    topics: [TOPIC],
    qos: 1,
    retain: false,
    payloadBytes: plan.payloadBytes,
  });
  const cpuBefore = readCpuSeconds(plan.pids);
  const ownBefore = readOwnCpuSeconds();
  const deadlineUs = nowUs() + LIMIT_MS * 1000;
  const inBegan = nowUs();
  while (publisher.acknowledged < messages && nowUs() < deadlineUs) {
    const room = plan.window - (publisher.sent - publisher.acknowledged);
    publisher.publish(Math.max(0, Math.min(room, messages - publisher.sent)));
    publisher.flush();
    await nextTurn();
  }
  const inSeconds = (nowUs() - inBegan) / 1e6;

  const outBegan = nowUs();
  const receiver = new MqttClient(plan.port, (bytes, at) => {
    check.take(bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12));
  });
  await receiver.connect(receiverId, false);
  while (check.received < messages && nowUs() < deadlineUs) await nextTurn();
  const outSeconds = (nowUs() - outBegan) / 1e6;

  const result = {
    inSeconds,
    outSeconds,
    brokerCpuSeconds: readCpuSeconds(plan.pids) - cpuBefore,
    generatorCpuShare: (readOwnCpuSeconds() - ownBefore) / (inSeconds + outSeconds),
    lost: messages - check.received,
    disorder: check.disorder,
  };
  receiver.disconnect();
  // A session that stays would get the messages of the next run as well.
  const last = new MqttClient(plan.port, null);
  await last.connect(receiverId);
  for (const client of [first, publisher, last]) client.end();
  return result;
}

const plan = JSON.parse(process.argv[2] ?? '') as BacklogPlan;
const warmup = await runBacklog(plan, plan.warmupMessages);
const result = await runBacklog(plan, plan.messages);
const lost = result.lost + warmup.lost + warmup.disorder;
process.stdout.write(`${JSON.stringify({ ...result, lost } satisfies BacklogResult)}\n`);
process.exit(0);
