/**
 * The cases of the benchmark: what is sent, which brokers take part, and the floor that the gateway's figure is held to
 * against a peer of the same run. A case never starts a broker; `main.ts` gives it one, runs it as often as `runs` says
 * and takes the median of each figure.
 */
import type { Broker } from './brokers.ts';
import { type Crowd, withCrowd } from './footprint.ts';
import type { LoadPlan } from './load.ts';
import { type MqttOptions, PLAIN } from './mqtt-client.ts';
import {
  type Figures,
  runBacklog,
  runKafkaConsumer,
  runKafkaProducer,
  runLoad,
  runPerfTest,
} from './tools.ts';

/** A contender of a case. The gateway appears once for each durability that the case compares. */
export type Contender =
  | 'gateway-fsync'
  | 'gateway-os'
  | 'gateway-secured'
  | 'mosquitto'
  | 'rabbitmq'
  | 'kafka';

export interface Floor {
  readonly text: string;
  readonly figure: keyof Figures;
  readonly of: Contender;
  /** Compared with this peer's figure; without one, `at` is an absolute bound. */
  readonly against?: Contender;
  readonly at: number;
  readonly direction: 'least' | 'most';
}

export interface Case {
  readonly id: string;
  readonly title: string;
  readonly contenders: readonly Contender[];
  readonly runs: number;
  /** Each run has brokers of its own: what V8 makes of the same code differs from process to process by up to a tenth. */
  readonly startsAfresh?: boolean;
  readonly floors: readonly Floor[];
  /** `run` counts from 0, so that each can use names of its own. */
  measure(broker: Broker, run: number, effort: Effort): Promise<Figures>;
}

/** How long to measure: `quick` shows that everything works, its figures are not for publishing. */
export interface Effort {
  readonly seconds: number;
  readonly warmupSeconds: number;
  readonly perfTestSeconds: number;
  readonly perfTestMessages: number;
  /** Times the number of records of the Kafka cases. */
  readonly recordShare: number;
}

export const FULL: Effort = {
  seconds: 4,
  warmupSeconds: 1,
  perfTestSeconds: 15,
  perfTestMessages: 200_000,
  recordShare: 1,
};
export const QUICK: Effort = {
  seconds: 1,
  warmupSeconds: 0.5,
  perfTestSeconds: 6,
  perfTestMessages: 50_000,
  recordShare: 0.1,
};

const RUNS = 3;
const LATENCY_RUNS = 4;
const RUNS_AFRESH = 7;
/** Where one client waits for the disk again and again, whose rate differs from run to run more than the rest. */
const SYNCED_RUNS = 7;
const GATEWAY = 'gateway-fsync';

type Shape = Partial<Omit<LoadPlan, 'port' | 'receiverPort' | 'pids' | 'seconds' | 'warmupSeconds'>>;

const withLoad =
  (shape: Shape): Case['measure'] =>
  (broker, _run, { seconds, warmupSeconds }) =>
    runLoad(broker, {
      publishers: 1,
      qos: 0,
      mqtt: PLAIN,
      retain: false,
      topics: 1,
      payloadBytes: 64,
      rate: 0,
      window: 100,
      credit: 2000,
      receivers: 1,
      receiverProtocol: 'mqtt',
      acknowledgeEvery: 0,
      ...shape,
      seconds,
      warmupSeconds,
    });

const isFaster = (times: number, against: Contender, of: Contender = GATEWAY): Floor => ({
  text: `at least ${times} × its messages a second`,
  figure: 'perSecond',
  of,
  against,
  at: times,
  direction: 'least',
});

const isWithin = (
  figure: 'p50Us' | 'p99Us' | 'cpuUs',
  times: number,
  against: Contender,
  of = GATEWAY,
): Floor => ({
  text: `${{ p50Us: 'p50', p99Us: 'p99', cpuUs: 'CPU for each message' }[figure]} at most ${times} × its`,
  figure,
  of: of as Contender,
  against,
  at: times,
  direction: 'most',
});

const mqttCase = (id: string, title: string, shape: Shape, floor: number): Case => ({
  id,
  title,
  contenders: [GATEWAY, 'mosquitto'],
  runs: RUNS,
  floors: [isFaster(floor, 'mosquitto')],
  measure: withLoad(shape),
});

const BACKLOG_MESSAGES = 100_000;

/** The same load on a gateway without users or rights and on one with both, there with MQTT 5 and properties. */
const securedCase: Case = {
  id: 'secured',
  title: 'MQTT 64 B, QoS 0, one to one; users, 10,000 rights and MQTT 5 properties against none of them',
  contenders: ['gateway-secured', GATEWAY],
  runs: RUNS_AFRESH,
  startsAfresh: true,
  floors: [isFaster(0.85, GATEWAY, 'gateway-secured')],
  measure: (broker, run, effort) => {
    const mqtt: MqttOptions = broker.login === null ? PLAIN : { ...PLAIN, version: 5, login: broker.login };
    return withLoad({ mqtt })(broker, run, effort);
  },
};

const mqttPacedCase = (id: string, qos: 0 | 1): Case => ({
  id,
  title: `MQTT 64 B, QoS ${qos}, one to one, 5,000 a second`,
  contenders: [GATEWAY, 'mosquitto'],
  runs: LATENCY_RUNS,
  floors: [isWithin('p50Us', 1.2, 'mosquitto'), isWithin('p99Us', 1.5, 'mosquitto')],
  measure: withLoad({ qos, rate: 5000 }),
});

const CROWD: Crowd = { idle: 10_000, restless: 1_000 };

/** The paced case again, among ten thousand who say nothing and a thousand who come and go. */
const mqttCrowdedCase: Case = {
  ...mqttPacedCase('crowded', 1),
  title: 'MQTT 64 B, QoS 1, one to one, 5,000 a second, beside 10,000 idle and 1,000 restless connections',
  measure: (broker, run, effort) => {
    const idle = CROWD.idle * effort.recordShare;
    return withCrowd(broker.ports.mqtt, { ...CROWD, idle }, () =>
      withLoad({ qos: 1, rate: 5000 })(broker, run, effort),
    );
  },
};

const amqpCase = (id: string, title: string, gateway: Contender, options: readonly string[]): Case => ({
  id,
  title,
  contenders: [gateway, 'rabbitmq'],
  runs: 1,
  floors: [isFaster(1, 'rabbitmq', gateway), isWithin('cpuUs', 0.5, 'rabbitmq', gateway as typeof GATEWAY)],
  measure: (broker, run, effort) => {
    const named = options.map((option) => option.replace('%', String(run)));
    return runPerfTest(broker, named, effort.perfTestMessages, effort.perfTestSeconds);
  },
});

interface KafkaShape {
  readonly recordBytes: number;
  readonly records: number;
  readonly properties: readonly string[];
}

const topicOf = (id: string, run: number): string => `bench-${id.replace(/^consume/, 'produce')}-${run}`;

const kafkaProducerCase = (id: string, title: string, shape: KafkaShape): Case => ({
  id: `produce-${id}`,
  title: `Kafka produce ${title}`,
  contenders: ['gateway-os', GATEWAY, 'kafka'],
  runs: RUNS,
  floors: [isFaster(0.8, 'kafka', 'gateway-os')],
  measure: (broker, run, { recordShare }) =>
    runKafkaProducer(broker, {
      topic: topicOf(`produce-${id}`, run),
      recordBytes: shape.recordBytes,
      records: shape.records * recordShare,
      properties: ['acks=all', ...shape.properties],
    }),
});

/** Reads what the producer case of the same name has written, so it runs after it on the same broker. */
const kafkaConsumerCase = (id: string, title: string, shape: KafkaShape): Case => ({
  id: `consume-${id}`,
  title: `Kafka consume ${title}`,
  contenders: ['gateway-os', 'kafka'],
  runs: RUNS,
  floors: [isFaster(0.8, 'kafka', 'gateway-os')],
  measure: (broker, run, { recordShare }) =>
    runKafkaConsumer(broker, topicOf(`produce-${id}`, run), shape.records * recordShare),
});

const SMALL: KafkaShape = { recordBytes: 100, records: 2_000_000, properties: [] };
const LARGE: KafkaShape = { recordBytes: 1000, records: 500_000, properties: [] };
const BATCHED = ['batch.size=65536', 'linger.ms=5'];

export interface Group {
  readonly id: string;
  readonly title: string;
  /** All brokers run side by side and take turns; otherwise one after the other, each alone on its core. */
  readonly sideBySide: boolean;
  readonly cases: readonly Case[];
}

export const GROUPS: readonly Group[] = [
  {
    id: 'mqtt',
    title: 'MQTT',
    sideBySide: true, // Mosquitto costs nothing while it waits
    cases: [
      mqttCase('one-to-one', 'MQTT 64 B, QoS 0, one to one', {}, 3),
      mqttCase('fan-in', 'MQTT 64 B, QoS 0, 50 to one', { publishers: 50 }, 3),
      mqttCase('fan-out', 'MQTT 64 B, QoS 0, one to 100', { receivers: 100, credit: 200 }, 3),
      mqttCase('qos1', 'MQTT 64 B, QoS 1, one to one, window of 100', { qos: 1 }, 5),
      mqttCase('qos2', 'MQTT 64 B, QoS 2, one to one, window of 100', { qos: 2 }, 4),
      {
        ...mqttCase(
          'retained',
          'MQTT 64 B, QoS 1, retained, 1,000 topics, one to one, window of 100',
          { qos: 1, retain: true, topics: 1000 },
          2,
        ),
        // As below: the peer never syncs what it retains.
        contenders: [GATEWAY, 'gateway-os', 'mosquitto'],
        runs: SYNCED_RUNS,
        floors: [isFaster(2, 'mosquitto'), isFaster(2, 'mosquitto', 'gateway-os')],
      },
      {
        id: 'backlog',
        title: 'MQTT 64 B, QoS 1, 100,000 messages into a persistent session, then out',
        // The peer never syncs what waits, so `os` is the like of it.
        contenders: [GATEWAY, 'gateway-os', 'mosquitto'],
        runs: SYNCED_RUNS,
        floors: [isFaster(2, 'mosquitto'), isFaster(2, 'mosquitto', 'gateway-os')],
        measure: (broker, _run, { recordShare }) => runBacklog(broker, BACKLOG_MESSAGES * recordShare),
      },
      mqttPacedCase('paced-qos0', 0),
      mqttPacedCase('paced-qos1', 1),
      mqttCrowdedCase,
    ],
  },
  {
    id: 'mqtt-secured',
    title: 'MQTT with users, rights and TLS',
    sideBySide: true,
    cases: [
      securedCase,
      {
        id: 'tls',
        title: 'MQTT 64 B over TLS, QoS 0, one to one; the gateway with users and rights',
        contenders: ['gateway-secured', 'mosquitto'],
        runs: RUNS,
        floors: [isFaster(1, 'mosquitto', 'gateway-secured')],
        measure: (broker, run, effort) =>
          withLoad({ mqtt: { ...PLAIN, tls: true, login: broker.login } })(broker, run, effort),
      },
    ],
  },
  {
    id: 'amqp',
    title: 'AMQP 0-9-1',
    sideBySide: false,
    cases: [
      amqpCase('auto-ack', 'AMQP 100 B, transient, auto-ack', GATEWAY, ['-a', '-s', '100']),
      amqpCase(
        'confirm-os',
        'AMQP 100 B, persistent, 100 outstanding confirms; `os` against the classic queue',
        'gateway-os',
        [...['-a', '-s', '100', '-ad', 'false', '-f', 'persistent', '-c', '100', '-u', 'bench-classic-%']],
      ),
      amqpCase(
        'confirm-fsync',
        'AMQP 100 B, persistent, 100 outstanding confirms, acknowledged; fsync against the quorum queue',
        GATEWAY,
        [
          ...['-qq', '-s', '100', '-ad', 'false', '-f', 'persistent', '-c', '100', '-q', '500', '-A', '50'],
          ...['-u', 'bench-quorum-%'],
        ],
      ),
    ],
  },
  {
    id: 'kafka',
    title: 'Kafka',
    sideBySide: false,
    cases: [
      kafkaProducerCase('small', '100 B, acks=all', SMALL),
      kafkaConsumerCase('small', '100 B', SMALL),
      kafkaProducerCase('large', '1 KB, acks=all', LARGE),
      kafkaConsumerCase('large', '1 KB', LARGE),
      kafkaProducerCase('small-batched', '100 B, acks=all, batches of 64 KB', {
        ...SMALL,
        properties: BATCHED,
      }),
      kafkaProducerCase('large-batched', '1 KB, acks=all, batches of 64 KB', {
        ...LARGE,
        properties: BATCHED,
      }),
    ],
  },
  {
    id: 'cross',
    title: 'From MQTT to the others',
    sideBySide: false,
    cases: [
      {
        id: 'mqtt-amqp',
        title: 'MQTT 64 B QoS 1, window of 100, to an AMQP auto-ack consumer',
        contenders: [GATEWAY, 'rabbitmq'],
        runs: RUNS,
        floors: [isFaster(2, 'rabbitmq')],
        measure: withLoad({ qos: 1, receiverProtocol: 'amqp' }),
      },
      {
        id: 'mqtt-amqp-durable',
        title: 'MQTT 64 B QoS 1, window of 100, to a durable AMQP queue, acknowledged',
        contenders: [GATEWAY, 'gateway-os', 'rabbitmq'],
        runs: RUNS,
        floors: [],
        measure: withLoad({ qos: 1, receiverProtocol: 'amqp', acknowledgeEvery: 50 }),
      },
      {
        id: 'mqtt-kafka',
        title: 'MQTT 64 B QoS 1, window of 100, to a Kafka fetch',
        contenders: [GATEWAY, 'gateway-os'],
        runs: 1, // its topic keeps what an earlier run sent
        floors: [],
        measure: withLoad({ qos: 1, receiverProtocol: 'kafka' }),
      },
    ],
  },
];
