/**
 * Starts the brokers under comparison, each with an empty data folder of its own, on free loopback ports, and bound to
 * one core. Settings differ from a broker's defaults only where docs/performance.md says so. A broker is ready when its
 * slowest listener accepts a connection; stopping it removes its folder.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { locatePeer } from '../peers/programs.ts';
import { pickPort } from '../support/ports.ts';
import { listProcessTree } from './measure.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const BROKER_CORE = '0';
export const GENERATOR_CORE = '1';
const START_MS_MAX = 60_000;

export interface Broker {
  readonly name: string;
  /** 0: it has none. */
  readonly ports: {
    readonly mqtt: number;
    readonly mqttTls: number;
    readonly amqp: number;
    readonly kafka: number;
  };
  /** Null: it lets everybody in. */
  readonly login: { readonly user: string; readonly password: string } | null;
  /** Milliseconds from the start of the process to the first accepted connection. */
  readonly startMs: number;
  pids(): number[];
  stop(): Promise<void>;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function tryConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function waitForPort(port: number, child: ChildProcess, output: () => string): Promise<void> {
  const deadline = Date.now() + START_MS_MAX;
  while (!(await tryConnect(port))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      throw new Error(`the broker does not listen on ${port}:\n${output().slice(-2000)}`);
    }
    await pause(5);
  }
}

export const makeFolder = (name: string): string => mkdtempSync(join(tmpdir(), `bench-${name}-`));

function writeFiles(folder: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

/** Without the caller's settings of a gateway, which would make runs differ. */
const foreignEnvironment = (): Record<string, string | undefined> =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ROSETTAMQ_')));

interface Start {
  readonly name: string;
  readonly folder: string;
  readonly command: readonly string[];
  readonly env?: Record<string, string>;
  readonly ports: Partial<Broker['ports']>;
  readonly login?: Broker['login'];
  /** Runs after the broker has ended. */
  readonly afterwards?: () => void;
}

/** Spawns on the broker's core and waits until every port accepts. */
async function startBroker({
  name,
  folder,
  command,
  env,
  ports,
  login = null,
  afterwards,
}: Start): Promise<Broker> {
  let output = '';
  const begin = performance.now();
  const child = spawn(locatePeer('taskset'), ['-c', BROKER_CORE, ...command], {
    cwd: ROOT,
    env: { ...foreignEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(-10_000);
    });
  }
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    const deadline = setTimeout(() => child.kill('SIGKILL'), 15_000);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await ended;
    clearTimeout(deadline);
    afterwards?.();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    for (const port of Object.values(ports)) await waitForPort(port, child, () => output);
  } catch (error) {
    await stop();
    throw error;
  }
  const startMs = performance.now() - begin;
  return {
    name,
    ports: { mqtt: 0, mqttTls: 0, amqp: 0, kafka: 0, ...ports },
    login,
    startMs,
    pids: () => listProcessTree(child.pid!),
    stop,
  };
}

/** A certificate that nobody checks, the same kind for every broker: P-256, as most have today. */
function makeCertificate(folder: string): { readonly certificateFile: string; readonly keyFile: string } {
  const [certificateFile, keyFile] = [join(folder, 'server.crt'), join(folder, 'server.key')];
  execFileSync(
    'openssl',
    [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ],
      ...['-subj', '/CN=localhost', '-keyout', keyFile, '-out', certificateFile],
    ],
    { stdio: 'ignore' },
  );
  return { certificateFile, keyFile };
}

export type Durability = 'fsync' | 'os';

/** The JavaScript that `npm start` runs, made anew when a source has changed. */
export function buildGateway(): void {
  execFileSync(process.execPath, ['build.ts', '--when-changed'], { cwd: ROOT, stdio: 'ignore' });
}

export async function startGateway(durability: Durability): Promise<Broker> {
  const folder = makeFolder('gateway');
  const ports = { mqtt: await pickPort(), amqp: await pickPort(), kafka: await pickPort() };
  return startGatewayProcess(folder, durability, ports, []);
}

const LOGIN = { user: 'bench', password: 'correct horse battery staple' };
const RIGHTS = 10_000;

/** With TLS beside TCP, a password and ten thousand rights, of which a hundred are the load generator's own. */
export async function startSecuredGateway(): Promise<Broker> {
  const folder = makeFolder('gateway');
  const ports = {
    mqtt: await pickPort(),
    mqttTls: await pickPort(),
    amqp: await pickPort(),
    kafka: await pickPort(),
  };
  const certificate = makeCertificate(folder);
  const rights = Array.from({ length: RIGHTS }, (_, index) => {
    const user = index % 100 === 0 ? LOGIN.user : `user-${index}`;
    return `user ${user}\ntopic readwrite site-${index}/+/telemetry/#\n`;
  });
  writeFiles(folder, {
    passwords: `${LOGIN.user}:${LOGIN.password}\n`,
    rights: `${rights.join('')}user ${LOGIN.user}\ntopic readwrite bench/#\npattern readwrite clients/%c/#\n`,
  });
  execFileSync('mosquitto_passwd', ['-U', join(folder, 'passwords')], { stdio: 'ignore' });
  const settings = {
    'tls.certificates': JSON.stringify([certificate]),
    'mqtt.tls.port': String(ports.mqttTls),
    'mqtt.websocket.tls.port': '0',
    'amqp091.tls.port': '0',
    'kafka.tls.port': '0',
    'auth.passwordFile': join(folder, 'passwords'),
    'auth.acl.file': join(folder, 'rights'),
  };
  const flags = Object.entries(settings).flatMap(([path, value]) => ['--set', `${path}=${value}`]);
  return startGatewayProcess(folder, 'fsync', ports, flags, LOGIN);
}

function startGatewayProcess(
  folder: string,
  durability: Durability,
  ports: Start['ports'],
  flags: readonly string[],
  login: Broker['login'] = null,
): Promise<Broker> {
  return startBroker({
    name: 'RosettaMQ',
    folder,
    command: [process.execPath, 'dist/src/main.js', ...flags],
    env: {
      ROSETTAMQ_DATA: join(folder, 'data'),
      ROSETTAMQ_DURABILITY: durability,
      ROSETTAMQ_MQTT_PORT: String(ports.mqtt),
      ROSETTAMQ_MQTT_WEBSOCKET_PORT: '0',
      ROSETTAMQ_AMQP_PORT: String(ports.amqp),
      ROSETTAMQ_KAFKA_PORT: String(ports.kafka),
      ROSETTAMQ_HTTP_PORT: '0',
    },
    ports,
    login,
  });
}

export async function startMosquitto(): Promise<Broker> {
  const folder = makeFolder('mosquitto');
  const ports = { mqtt: await pickPort(), mqttTls: await pickPort() };
  const { certificateFile, keyFile } = makeCertificate(folder);
  writeFiles(folder, {
    'mosquitto.conf': [
      `user ${userInfo().username}`,
      `listener ${ports.mqtt} 127.0.0.1`,
      `listener ${ports.mqttTls} 127.0.0.1`,
      `certfile ${certificateFile}`,
      `keyfile ${keyFile}`,
      'allow_anonymous true',
      'max_queued_messages 0',
      'max_inflight_messages 0',
      'persistence true',
      `persistence_location ${folder}/`,
      '',
    ].join('\n'),
  });
  const command = [locatePeer('mosquitto'), '-c', join(folder, 'mosquitto.conf')];
  return startBroker({ name: 'Mosquitto', folder, command, ports });
}

/** One node with the MQTT plugin; its port mapper is started here, or it would outlive the run. */
export async function startRabbitMq(): Promise<Broker> {
  const folder = makeFolder('rabbitmq');
  const [amqp, mqtt, mapper, distribution] = [
    await pickPort(),
    await pickPort(),
    await pickPort(),
    await pickPort(),
  ];
  writeFiles(folder, {
    'rabbitmq.conf': [
      `listeners.tcp.1 = 127.0.0.1:${amqp}`,
      `mqtt.listeners.tcp.1 = 127.0.0.1:${mqtt}`,
      'mqtt.allow_anonymous = true',
      'mqtt.prefetch = 1000',
      'log.file.level = warning',
      '',
    ].join('\n'),
    enabled_plugins: '[rabbitmq_mqtt].\n',
  });
  const env = {
    HOME: folder,
    RABBITMQ_NODENAME: `bench${process.pid}@localhost`,
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_DIST_PORT: String(distribution),
    ERL_EPMD_PORT: String(mapper),
    ERL_EPMD_ADDRESS: '127.0.0.1',
  };
  const mapperProcess = spawn('epmd', ['-port', String(mapper), '-address', '127.0.0.1'], {
    stdio: 'ignore',
  });
  const afterwards = (): void => {
    mapperProcess.kill('SIGKILL');
  };
  const command = [locatePeer('rabbitmq')];
  return startBroker({ name: 'RabbitMQ', folder, command, env, ports: { amqp, mqtt }, afterwards });
}

/** One node that is broker and controller, logging warnings only; see docs/performance.md for its settings. */
export async function startKafka(): Promise<Broker> {
  const folder = makeFolder('kafka');
  const [port, controller] = [await pickPort(), await pickPort()];
  writeFiles(folder, {
    'server.properties': [
      'process.roles=broker,controller',
      'node.id=1',
      `controller.quorum.voters=1@127.0.0.1:${controller}`,
      `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
      `advertised.listeners=PLAINTEXT://127.0.0.1:${port}`,
      'controller.listener.names=CONTROLLER',
      'listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
      `log.dirs=${folder}/data`,
      'num.partitions=1',
      'offsets.topic.replication.factor=1',
      'offsets.topic.num.partitions=5',
      'transaction.state.log.replication.factor=1',
      'transaction.state.log.min.isr=1',
      'share.coordinator.state.topic.replication.factor=1',
      'share.coordinator.state.topic.min.isr=1',
      'group.initial.rebalance.delay.ms=0',
      '',
    ].join('\n'),
    'log4j2.properties':
      'rootLogger.level = warn\nrootLogger.appenderRef.out.ref = out\nappender.out.type = Console\nappender.out.name = out\n',
  });
  const settings = join(folder, 'server.properties');
  const java = [
    locatePeer('java'),
    `-Dlog4j2.configurationFile=${folder}/log4j2.properties`,
    '-cp',
    locatePeer('kafka'),
  ];
  const format = spawn(
    java[0]!,
    [...java.slice(1), 'kafka.tools.StorageTool', 'format', '-t', 'MkU3OEVBNTcwNTJENDM2Qk', '-c', settings],
    { stdio: 'ignore' },
  );
  await new Promise((resolve) => format.once('exit', resolve));
  const command = [java[0]!, '-Xms512m', '-Xmx1g', ...java.slice(1), 'kafka.Kafka', settings];
  return startBroker({ name: 'Apache Kafka', folder, command, ports: { kafka: port } });
}
