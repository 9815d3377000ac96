/**
 * The load generator: one process, one thread, told what to do by one JSON argument and answering with one JSON line.
 * MQTT publishers drive receivers of any protocol in a closed loop: never more than `credit` messages are published and
 * not yet received, so no broker is pushed into dropping and every loss counts. At a paced rate the loop spins
 * instead of sleeping, because a timer of one millisecond would be the latency measured.
 */
import { AmqpReceiver } from './amqp-client.ts';
import { KafkaReceiver } from './kafka-client.ts';
import { Histogram, nowUs, readCpuSeconds, readOwnCpuSeconds, SequenceCheck } from './measure.ts';
import { MqttClient, type MqttOptions, type PayloadListener, type Qos } from './mqtt-client.ts';
import type { WireClient } from './wire.ts';

export interface LoadPlan {
  /** Port of the MQTT listener that takes the messages. */
  readonly port: number;
  readonly publishers: number;
  readonly qos: Qos;
  /** How publishers and MQTT receivers connect. */
  readonly mqtt: MqttOptions;
  readonly retain: boolean;
  /** 1, or so many that the publishers go round. */
  readonly topics: number;
  readonly payloadBytes: number;
  /** Messages a second over all publishers; 0 is as many as possible. */
  readonly rate: number;
  /** Messages of one publisher that are not acknowledged for good, at quality of service 1 and 2. */
  readonly window: number;
  readonly credit: number;
  readonly receivers: number;
  readonly receiverProtocol: 'mqtt' | 'amqp' | 'kafka';
  readonly receiverPort: number;
  /** AMQP only: acknowledge every so many deliveries from a durable queue, 0 for none from a transient one. */
  readonly acknowledgeEvery: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** The broker's processes. */
  readonly pids: readonly number[];
}

export interface LoadResult {
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
  readonly brokerCpuUsPerMessage: number;
  readonly brokerCpuShare: number;
  readonly generatorCpuShare: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly lost: number;
  readonly disorder: number;
  readonly unacknowledged: number;
}

/** Messages that one publisher adds before the loop looks at the sockets again, and those of one write. */
const BURST = 64;
/** Nor does it write before this many fit, or one message for each acknowledgement would cost it a system call. */
const BURST_MIN = 16;
const DRAIN_MS = 10_000;
const TOPIC = 'bench/load';

/** Of this run alone, because an earlier one may have left retained messages. */
const TOPICS_ROOT = `${TOPIC}-${process.pid}`;

/** A single topic is subscribed to by its name, many by a filter. */
const topicsOf = (count: number): string[] =>
  count === 1 ? [TOPIC] : Array.from({ length: count }, (_, index) => `${TOPICS_ROOT}/${index}`);

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Waits until a socket has been read, and then for the end of that turn, so that everything which arrived together is
 * answered together. Without it the loop would spin and its CPU share would say nothing.
 */
class Activity {
  #wake: (() => void) | null = null;

  noteRead(): void {
    if (this.#wake === null) return;
    setImmediate(this.#wake);
    this.#wake = null;
  }

  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const latencies = new Histogram();
  const checks: SequenceCheck[] = [];
  const clients: WireClient[] = [];
  const measureLatency = plan.rate > 0;

  const openReceiver = async (index: number): Promise<void> => {
    const check = new SequenceCheck(plan.publishers);
    checks.push(check);
    const onPayload: PayloadListener = (bytes, at) => {
      check.take(bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12));
      if (measureLatency) latencies.add(nowUs() - bytes.readDoubleLE(at));
    };
    if (plan.receiverProtocol === 'mqtt') {
      const client = new MqttClient(plan.receiverPort, onPayload, plan.mqtt);
      clients.push(client);
      await client.connect(`receiver-${process.pid}-${index}`);
      await client.subscribe(plan.topics === 1 ? TOPIC : `${TOPICS_ROOT}/+`, plan.qos);
    } else if (plan.receiverProtocol === 'amqp') {
      const client = new AmqpReceiver(plan.receiverPort, onPayload, plan.acknowledgeEvery);
      clients.push(client);
      await client.receive(`bench-${process.pid}`, TOPIC.replaceAll('/', '.'), plan.acknowledgeEvery > 0);
    } else {
      const client = new KafkaReceiver(plan.receiverPort, onPayload, TOPIC.replaceAll('/', '.'));
      clients.push(client);
      await client.receive();
    }
  };
  for (let index = 0; index < plan.receivers; index++) await openReceiver(index);

  const publishers: MqttClient[] = [];
  for (let index = 0; index < plan.publishers; index++) {
    const client = new MqttClient(plan.port, null, plan.mqtt);
    clients.push(client);
    publishers.push(client);
    await client.connect(`publisher-${process.pid}-${index}`);
    client.preparePublish({
      publisher: index,
      topics: topicsOf(plan.topics),
      qos: plan.qos,
      retain: plan.retain,
      payloadBytes: plan.payloadBytes,
    });
  }

  const countReceived = (): number => checks.reduce((sum, check) => sum + check.received, 0);
  const countSent = (): number => publishers.reduce((sum, client) => sum + client.sent, 0);
  const countAcknowledged = (): number => publishers.reduce((sum, client) => sum + client.acknowledged, 0);
  const countSlowest = (): number =>
    checks.reduce((least, check) => Math.min(least, check.received), Number.POSITIVE_INFINITY);

  let next = 0;
  /** Publishes as much as credit and windows allow, at most `wanted` messages and a burst for each publisher. */
  const publish = (wanted: number): number => {
    let left = Math.min(wanted, plan.credit - (countSent() - countSlowest()));
    let published = 0;
    const least = Math.min(wanted, BURST_MIN, plan.window, plan.credit);
    for (let tried = 0; tried < publishers.length && left > 0; tried++) {
      const client = publishers[next]!;
      next = (next + 1) % publishers.length;
      if (client.blocked) continue;
      const window = plan.qos > 0 ? plan.window - (client.sent - client.acknowledged) : BURST;
      const count = Math.min(left, window, BURST);
      if (count < least) continue;
      client.publish(count);
      client.flush();
      left -= count;
      published += count;
    }
    return published;
  };

  const activity = new Activity();
  for (const client of clients) {
    client.autoFlush = false;
    client.onRead = () => activity.noteRead();
  }
  // Ends a wait in which the broker says nothing at all.
  const clock = setInterval(() => activity.noteRead(), 20);
  const beginUs = nowUs();
  const warmUs = beginUs + plan.warmupSeconds * 1e6;
  const endUs = warmUs + plan.seconds * 1e6;
  let warm = false;
  let at = { us: beginUs, sent: 0, received: 0, brokerCpu: 0, ownCpu: 0 };
  const mark = (): typeof at => ({
    us: nowUs(),
    sent: countSent(),
    received: countReceived(),
    brokerCpu: readCpuSeconds(plan.pids),
    ownCpu: readOwnCpuSeconds(),
  });
  let paced = 0;
  for (let us = beginUs; us < endUs; us = nowUs()) {
    if (!warm && us >= warmUs) {
      warm = true;
      latencies.clear();
      at = mark();
    }
    if (plan.rate > 0) {
      if (((us - beginUs) * plan.rate) / 1e6 > paced) paced += publish(1);
      await nextTurn();
    } else if (publish(Number.POSITIVE_INFINITY) === 0) await activity.wait();
    else await nextTurn();
    // Everything that arrived in this turn is acknowledged in one write.
    for (const client of clients) client.flush();
  }
  const end = mark();

  const deadlineUs = nowUs() + DRAIN_MS * 1000;
  const isDone = (): boolean =>
    countReceived() >= countSent() * plan.receivers && (plan.qos === 0 || countAcknowledged() >= countSent());
  while (!isDone() && nowUs() < deadlineUs) {
    await nextTurn();
    for (const client of clients) client.flush();
  }

  const seconds = (end.us - at.us) / 1e6;
  const received = end.received - at.received;
  const result = {
    sentPerSecond: (end.sent - at.sent) / seconds,
    receivedPerSecond: received / seconds,
    brokerCpuUsPerMessage: ((end.brokerCpu - at.brokerCpu) * 1e6) / received,
    brokerCpuShare: (end.brokerCpu - at.brokerCpu) / seconds,
    generatorCpuShare: (end.ownCpu - at.ownCpu) / seconds,
    p50Us: measureLatency ? latencies.quantile(0.5) : Number.NaN,
    p99Us: measureLatency ? latencies.quantile(0.99) : Number.NaN,
    lost: countSent() * plan.receivers - countReceived(),
    disorder: checks.reduce((sum, check) => sum + check.disorder, 0),
    unacknowledged: plan.qos > 0 ? countSent() - countAcknowledged() : 0,
  };
  clearInterval(clock);
  for (const client of clients) client.end();
  return result;
}

const result = await runLoad(JSON.parse(process.argv[2] ?? '') as LoadPlan);
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit(0);
