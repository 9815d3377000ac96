/**
 * Kills the gateway and the outside broker of its bridges with SIGKILL, each at random moments, while MQTT devices publish
 * at the gateway and a producer at the broker, and compares every acknowledged message with what is on the other side.
 * `ROSETTAMQ_CRASH_BRIDGE_KILLS` says how often the broker is killed, the gateway twice as often; `ROSETTAMQ_CRASH_SEED`
 * repeats the moments of a run. The brokers run at the same time, each with a gateway of its own: what takes time is their
 * start.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { KafkaBroker } from '../interop/bridges/kafka-broker.ts';
import { readAll } from '../interop/bridges/kafka-records.ts';
import { Mosquitto } from '../interop/bridges/mosquitto.ts';
import { startRabbitMq } from '../interop/bridges/rabbitmq.ts';
import { waitFor } from '../interop/programs.ts';
import { describeMissing, type Peer } from '../peers/programs.ts';
import { makeDataFolder, type SpawnedGateway, spawnGateway } from '../support/gateway.ts';
import { pickPort } from '../support/ports.ts';
import {
  CommandTraffic,
  compare,
  DeviceTraffic,
  FAULTLESS,
  type Finding,
  NONE,
  openReader,
  readQueue,
} from './bridged-traffic.ts';
import { makeRandom, SEED } from './seed.ts';
import { pause } from './traffic.ts';

const KILLS = Number(process.env.ROSETTAMQ_CRASH_BRIDGE_KILLS ?? 3);
/** Whoever is killed is killed within this time after everything is connected. */
const MOMENT_MS_MAX = 1_500;
const STANDSTILL_MS = 50;
const RECOVERY_MS_MAX = 90_000;
const RETRY = { minMs: 50, maxMs: 500 };
const TIMEOUT_MS = (180 + KILLS * 45) * 1_000;

interface Victim {
  kill(): Promise<unknown>;
  start(): Promise<unknown>;
}

/** A gateway whose bridges come back with it, from its configuration. */
class BridgedGateway implements Victim {
  readonly #folder = makeDataFolder();
  readonly #settings: Readonly<Record<string, string>>;
  readonly #names: readonly string[];
  #process: SpawnedGateway | null = null;

  constructor(connection: object, bridges: Readonly<Record<string, object>>) {
    const named = Object.entries(bridges).map(([name, bridge]) => [
      name,
      { connection: 'outside', retry: RETRY, ...bridge },
    ]);
    this.#names = Object.keys(bridges);
    this.#settings = {
      connections: JSON.stringify({ outside: connection }),
      bridges: JSON.stringify(Object.fromEntries(named)),
    };
  }

  get #running(): SpawnedGateway {
    if (this.#process === null) throw new Error('the gateway has not started');
    return this.#process;
  }

  get mqttPort(): number {
    return this.#running.ports.mqtt;
  }

  async start(): Promise<void> {
    const ports = this.#process?.ports;
    this.#process = await spawnGateway({
      folder: this.#folder,
      settings: this.#settings,
      ...(ports === undefined ? {} : { ports }),
    });
  }

  /** Before it dies it stands still, while the broker finishes what it was sent: the gateway never hears of that. */
  async kill(): Promise<void> {
    this.#running.process.kill('SIGSTOP');
    await pause(STANDSTILL_MS);
    await this.#running.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Every bridge is connected, and has at most so many messages that wait. */
  async untilConnected(lagMax = Number.POSITIVE_INFINITY): Promise<void> {
    for (const name of this.#names) {
      let seen = '';
      const isThere = async (): Promise<boolean> => {
        // A connection that is kept open may still be one to the process before.
        const answer = await fetch(`${this.#running.url}/v1/bridges/${name}`).catch(() => null);
        if (answer === null) return false;
        const { status } = (await answer.json()) as {
          status: { state: string; reason: string; lag: { messages: number } };
        };
        seen = `${status.state} ${status.reason}, ${status.lag.messages} wait`;
        return status.state === 'connected' && status.lag.messages <= lagMax;
      };
      await waitFor(`bridge ${name}`, isThere, RECOVERY_MS_MAX).catch((error: Error) => {
        throw new Error(`${error.message}: ${seen}`);
      });
    }
  }
}

/**
 * In each round the gateway dies while the broker is there, then the broker, and the gateway once more, about when the
 * broker does or while it is away. Who died is started again at once.
 */
async function killInTurns(
  gateway: Victim,
  broker: Victim,
  salt: number,
  untilReady: () => Promise<void>,
): Promise<void> {
  const random = makeRandom(SEED + salt);
  const killAt = async (victim: Victim, ms: number): Promise<void> => {
    await pause(ms);
    await victim.kill();
    await victim.start();
  };
  for (let round = 0; round < KILLS; round++) {
    const [alone, first, second] = [random(), random(), random()].map((part) => part * MOMENT_MS_MAX);
    await untilReady();
    await killAt(gateway, alone!);
    await untilReady();
    await Promise.all([killAt(broker, first!), killAt(gateway, second!)]);
  }
  await untilReady();
}

const out = (more: object): object => ({
  direction: 'out',
  mappings: [{ match: 'devices/{device}' }],
  ...more,
});

function itWith(peers: readonly Peer[], title: string, body: () => Promise<void>): void {
  const missing = describeMissing(...peers);
  if (missing !== null) process.stdout.write(`SKIPPED: bridges under kills: ${title}: ${missing}\n`);
  it.skipIf(missing !== null)(
    missing === null ? title : `${title} (${missing})`,
    { timeout: TIMEOUT_MS },
    body,
  );
}

const told = (way: string, acknowledged: readonly string[], { twice }: Finding): void =>
  void process.stdout.write(
    `crash: ${way}: ${acknowledged.length} acknowledged over ${KILLS} kills of the broker, ${twice.count} twice\n`,
  );

describe.concurrent(`bridges whose broker is killed ${KILLS} times, and their gateway twice as often (seed ${SEED})`, () => {
  itWith(
    ['kafka', 'java', 'kcat'],
    'to Kafka and from it lose nothing, and double nothing exactly once',
    async () => {
      const broker = await KafkaBroker.start();
      const gateway = new BridgedGateway(
        { type: 'kafka', brokers: [broker.address] },
        {
          least: out({ mappings: [{ match: 'devices/{device}', topic: 'least', key: '{device}' }] }),
          once: out({
            mappings: [{ match: 'devices/{device}', topic: 'once', key: '{device}' }],
            delivery: 'exactly-once',
          }),
          commands: {
            direction: 'in',
            mappings: [{ match: 'commands', source: 'commands' }],
            options: { from: 'earliest' },
          },
        },
      );
      try {
        for (const topic of ['least', 'once', 'commands']) await broker.createTopic(topic, 3);
        await gateway.start();
        const session = { protocolVersion: 5, properties: { sessionExpiryInterval: 3_600 } } as const;
        const reader = await openReader(gateway.mqttPort, 'commands', session);
        const devices = new DeviceTraffic(gateway.mqttPort);
        const commands = new CommandTraffic(broker.address, 'commands');
        await killInTurns(gateway, broker, 1, () => gateway.untilConnected());
        await Promise.all([devices.halt(), commands.halt()]);
        await gateway.untilConnected(0);
        const isLost = (): boolean => compare(commands.acknowledged, reader.received).lost.count > 0;
        // What is lost is told below.
        await waitFor('the commands', () => !isLost(), RECOVERY_MS_MAX).catch(() => {});
        reader.client.end(true);

        const bodiesOf = async (topic: string): Promise<string[]> =>
          (await readAll(broker.address, topic)).map(({ payload }) => payload ?? '');
        const least = compare(devices.acknowledged, await bodiesOf('least'));
        told('to Kafka, at least once', devices.acknowledged, least);
        const once = compare(devices.acknowledged, await bodiesOf('once'));
        told('to Kafka, exactly once', devices.acknowledged, once);
        const fetched = compare(commands.acknowledged, reader.received);
        told('from Kafka to a session', commands.acknowledged, fetched);
        expect(devices.acknowledged.length).toBeGreaterThan(100);
        expect(commands.acknowledged.length).toBeGreaterThan(100);
        expect({ ...least, twice: NONE }, 'at least once').toEqual(FAULTLESS);
        expect(once, 'exactly once').toEqual(FAULTLESS);
        expect({ ...fetched, twice: NONE }, 'in').toEqual(FAULTLESS);
      } finally {
        await gateway.stop();
        await broker.stop();
      }
    },
  );

  itWith(['rabbitmq'], 'to RabbitMQ lose nothing', async () => {
    const broker = await startRabbitMq();
    const declare = { queues: [{ name: 'devices', bind: [{ exchange: 'amq.topic', key: 'devices.#' }] }] };
    const gateway = new BridgedGateway(
      { type: 'amqp091', host: '127.0.0.1', port: broker.port },
      { out: out({ options: { declare, unroutable: 'wait' } }) },
    );
    try {
      await gateway.start();
      const devices = new DeviceTraffic(gateway.mqttPort);
      await killInTurns(gateway, broker, 2, () => gateway.untilConnected());
      await devices.halt();
      await gateway.untilConnected(0);
      const found = compare(devices.acknowledged, await readQueue(broker.port, 'devices'));
      told('to RabbitMQ', devices.acknowledged, found);
      expect(devices.acknowledged.length).toBeGreaterThan(100);
      expect({ ...found, twice: NONE }).toEqual(FAULTLESS);
    } finally {
      await gateway.stop();
      await broker.stop();
    }
  });

  // Mosquitto keeps no promise for what it acknowledged and has not passed on when it is killed: that is in its memory until
  // it saves. A subscriber who is there gets a message before its publisher is told; so nothing is lost to one who has no
  // bound on what is in flight and whose session was saved, as here, before the first kill.
  itWith(['mosquitto'], 'to Mosquitto lose nothing of what it has passed on', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rosettamq-mosquitto-'));
    const port = await pickPort();
    const lines = [
      `user ${userInfo().username}`,
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'max_queued_messages 0',
      'max_inflight_messages 0',
      'persistence true',
      `persistence_location ${folder}/`,
      'autosave_interval 1',
      'autosave_on_changes true',
    ];
    writeFileSync(join(folder, 'mosquitto.conf'), `${lines.join('\n')}\n`);
    const mosquitto = new Mosquitto(folder, port, join(folder, 'mosquitto.conf'));
    const broker = { kill: () => mosquitto.end('SIGKILL'), start: () => mosquitto.start() };
    const gateway = new BridgedGateway({ type: 'mqtt', urls: [mosquitto.url] }, { out: out({}) });
    try {
      await Promise.all([broker.start(), gateway.start()]);
      const { client, received } = await openReader(port, 'devices/#', { protocolVersion: 4 });
      const devices = new DeviceTraffic(gateway.mqttPort);
      await killInTurns(gateway, broker, 3, async () => {
        await gateway.untilConnected();
        await waitFor('the subscriber', () => client.connected);
      });
      await devices.halt();
      await gateway.untilConnected(0);
      const isLost = (): boolean => compare(devices.acknowledged, received).lost.count > 0;
      await waitFor('the last', () => !isLost(), 10_000).catch(() => {});
      client.end(true);
      const found = compare(devices.acknowledged, received);
      told('to Mosquitto', devices.acknowledged, found);
      expect(devices.acknowledged.length).toBeGreaterThan(100);
      expect({ ...found, twice: NONE }).toEqual(FAULTLESS);
    } finally {
      await gateway.stop();
      await broker.kill();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
