/**
 * An Apache Kafka of its own for a suite: one node that is broker and controller, on free ports, with a data folder that outlives
 * `kill`, so that it can be ended at any moment and started again. Beside the open listener it has one that asks for credentials and one
 * with TLS.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Admin } from '@platformatic/kafka';
import { locatePeer } from '../../peers/programs.ts';
import { type Authority, createAuthority } from '../../support/certificates.ts';
import { pickPort } from '../../support/ports.ts';

const START_MS_MAX = 90_000;
export const USER = 'bridge';
export const PASSWORD = 'correct horse battery staple';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class KafkaBroker {
  readonly port: number;
  readonly saslPort: number;
  readonly tlsPort: number;
  /** Who its certificate is from. */
  readonly authority: Authority = createAuthority('kafka');
  readonly #folder: string;
  readonly #java: readonly string[];
  #child: ChildProcess | null = null;
  #output = '';

  /** Of its one process; empty where it does not run. */
  get pids(): readonly number[] {
    const pid = this.#child?.pid;
    return pid === undefined ? [] : [pid];
  }

  static async start(settings: readonly string[] = []): Promise<KafkaBroker> {
    const ports = [await pickPort(), await pickPort(), await pickPort()] as const;
    const controller = await pickPort();
    const broker = new KafkaBroker(ports, controller, settings);
    await broker.#format();
    await broker.start();
    return broker;
  }

  private constructor(
    ports: readonly [number, number, number],
    controller: number,
    settings: readonly string[],
  ) {
    const [port, saslPort, tlsPort] = ports;
    this.port = port;
    this.saslPort = saslPort;
    this.tlsPort = tlsPort;
    this.#folder = mkdtempSync(join(tmpdir(), 'bridge-kafka-'));
    const listener = (name: string, at: number): string => `${name}://127.0.0.1:${at}`;
    const clients = [
      listener('PLAINTEXT', port),
      listener('SASL_PLAINTEXT', saslPort),
      listener('SSL', tlsPort),
    ].join(',');
    const { key, certificate } = this.authority.issue({ commonName: 'kafka', names: ['ip:127.0.0.1'] });
    writeFileSync(join(this.#folder, 'broker.pem'), key + certificate);
    const login = `required username="${USER}" password="${PASSWORD}" user_${USER}="${PASSWORD}";`;
    writeFileSync(
      join(this.#folder, 'server.properties'),
      [
        'process.roles=broker,controller',
        'node.id=1',
        `controller.quorum.voters=1@127.0.0.1:${controller}`,
        `listeners=${clients},${listener('CONTROLLER', controller)}`,
        `advertised.listeners=${clients}`,
        'controller.listener.names=CONTROLLER',
        'listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT',
        'inter.broker.listener.name=PLAINTEXT',
        'sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
        `listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule ${login}`,
        ...['256', '512'].map(
          (bits) =>
            `listener.name.sasl_plaintext.scram-sha-${bits}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;`,
        ),
        'ssl.keystore.type=PEM',
        `ssl.keystore.location=${this.#folder}/broker.pem`,
        `log.dirs=${this.#folder}/data`,
        'auto.create.topics.enable=false',
        'offsets.topic.replication.factor=1',
        'offsets.topic.num.partitions=1',
        'transaction.state.log.replication.factor=1',
        'transaction.state.log.min.isr=1',
        'transaction.state.log.num.partitions=1',
        'share.coordinator.state.topic.replication.factor=1',
        'share.coordinator.state.topic.min.isr=1',
        'group.initial.rebalance.delay.ms=0',
        ...settings,
        '',
      ].join('\n'),
    );
    writeFileSync(
      join(this.#folder, 'log4j2.properties'),
      'rootLogger.level = warn\nrootLogger.appenderRef.out.ref = out\nappender.out.type = Console\nappender.out.name = out\n',
    );
    this.#java = [`-Dlog4j2.configurationFile=${this.#folder}/log4j2.properties`, '-cp', locatePeer('kafka')];
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async #format(): Promise<void> {
    const settings = join(this.#folder, 'server.properties');
    const scram = ['256', '512'].flatMap((bits) => [
      '--add-scram',
      `SCRAM-SHA-${bits}=[name=${USER},password=${PASSWORD}]`,
    ]);
    const format = [
      'kafka.tools.StorageTool',
      'format',
      '-t',
      'MkU3OEVBNTcwNTJENDM2Qk',
      '-c',
      settings,
      ...scram,
    ];
    const child = spawn(locatePeer('java'), [...this.#java, ...format], { stdio: 'ignore' });
    const code = await new Promise((resolve) => child.once('exit', resolve));
    if (code !== 0) throw new Error(`Kafka's storage cannot be formatted: ${code}`);
  }

  /** Ready when it answers for itself. */
  async start(): Promise<void> {
    const settings = join(this.#folder, 'server.properties');
    const command = ['-Xms256m', '-Xmx512m', ...this.#java, 'kafka.Kafka', settings];
    const child = spawn(locatePeer('java'), command, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-8_000);
      });
    }
    const deadline = Date.now() + START_MS_MAX;
    for (;;) {
      const admin = this.admin();
      try {
        await admin.metadata({ topics: [] });
        return;
      } catch {
        if (child.exitCode !== null || Date.now() > deadline) {
          throw new Error(`Kafka does not answer:\n${this.#output}`);
        }
        await pause(100);
      } finally {
        await admin.close();
      }
    }
  }

  /** An independent client of it. The caller closes it. */
  admin(): Admin {
    return new Admin({
      clientId: 'test',
      bootstrapBrokers: [this.address],
      retries: 0,
      connectTimeout: 2_000,
    });
  }

  async createTopic(
    name: string,
    partitions = 1,
    configs: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const admin = this.admin();
    try {
      await admin.createTopics({
        topics: [name],
        partitions,
        replicas: 1,
        configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
      });
    } finally {
      await admin.close();
    }
  }

  async deleteTopic(name: string): Promise<void> {
    const admin = this.admin();
    try {
      await admin.deleteTopics({ topics: [name] });
    } finally {
      await admin.close();
    }
  }

  /** To a topic that has one. */
  async addPartitions(topic: string, count: number): Promise<void> {
    const assignments = Array.from({ length: count - 1 }, () => ({ brokerIds: [1] }));
    const admin = this.admin();
    try {
      await admin.createPartitions({ topics: [{ name: topic, count, assignments }] });
    } finally {
      await admin.close();
    }
  }

  /** As a crash: nothing is written any more. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await ended;
    }
    this.#child = null;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
