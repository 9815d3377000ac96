/**
 * docker-compose.yml, brought up as the README says, with its walk-through: a device's message comes out of Kafka's own
 * console consumer, an order comes in from RabbitMQ, and nothing is left in the end. Official images that cannot be
 * pulled are made of this machine's programs by `test/peers/docker-peers.sh`. Both Docker Compose as a plugin and the older
 * program `docker-compose` will do. Only ports, images and the project's name are ours.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { describeMissing } from '../peers/programs.ts';
import { readComposeFile } from '../support/compose-file.ts';
import { pickPort } from '../support/ports.ts';
import {
  BUILD_MS_MAX,
  buildGatewayImage,
  docker,
  findBase,
  findObstacle,
  GATEWAY_IMAGE,
  isImageAvailable,
  ROOT,
} from './docker.ts';
import { Program, waitFor } from './programs.ts';

const TITLE = 'docker-compose.yml';
const UP_MS_MAX = 300_000;
const PROJECT = `rosettamq-test-${process.pid}`;
const PORTS = ['MQTT_PORT', 'WEBSOCKET_PORT', 'AMQP_PORT', 'KAFKA_PORT', 'HTTP_PORT'] as const;
/** By service: the variable that names its image, what is needed to make one, and what `docker-peers.sh` calls it. */
const IMAGES = {
  kafka: { variable: 'KAFKA_IMAGE', peer: 'kafka', make: 'kafka' },
  rabbitmq: { variable: 'RABBITMQ_IMAGE', peer: 'rabbitmq', make: 'rabbitmq' },
  devices: { variable: 'MOSQUITTO_IMAGE', peer: 'mosquitto-clients', make: 'mosquitto' },
} as const;
type Service = keyof typeof IMAGES;
const SERVICES = Object.keys(IMAGES) as Service[];

/** The words that begin each of its commands. */
function findCompose(): string[] | null {
  const found = [['docker', 'compose'], ['docker-compose']].find(
    ([program, ...words]) => spawnSync(program!, [...words, 'version'], { timeout: 30_000 }).status === 0,
  );
  return found ?? null;
}

const nameOf = (service: Service): string | undefined => process.env[IMAGES[service].variable];
const officialOf = (service: Service): string => readComposeFile().services[service]!.image!;

/** The first image that can neither be had nor be made. */
function findMissingImage(): string | null {
  for (const service of SERVICES) {
    const missing = describeMissing(IMAGES[service].peer);
    if (missing !== null && nameOf(service) === undefined && !isImageAvailable(officialOf(service)))
      return `${officialOf(service)} cannot be pulled, and ${missing}`;
  }
  return null;
}

/** The image that the environment names, the one of the file where it can be had, else one made here. */
function findImage(service: Service): string {
  const named = nameOf(service);
  if (named !== undefined) return named;
  if (isImageAvailable(officialOf(service))) return officialOf(service);
  const { make } = IMAGES[service];
  const image = `rosettamq-test/${make}`;
  execFileSync('bash', [join(ROOT, 'test/peers/docker-peers.sh'), make, image], { stdio: 'pipe' });
  return image;
}

const noDaemon = findObstacle();
const program = noDaemon === null ? findCompose() : null;
const obstacle = noDaemon ?? (program === null ? 'Docker Compose is not installed' : findMissingImage());
if (obstacle !== null) process.stdout.write(`SKIPPED: ${TITLE}: ${obstacle}\n`);

describe.skipIf(obstacle !== null)(obstacle === null ? TITLE : `${TITLE} (${obstacle})`, () => {
  const compose = [...(program ?? []), '-p', PROJECT];
  const env: Record<string, string> = {};
  let walk: { readonly commands: readonly string[]; readonly output: readonly string[] };

  const run = (...args: string[]): string =>
    execFileSync(compose[0]!, [...compose.slice(1), ...args], {
      cwd: ROOT,
      env: { ...process.env, ...env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: UP_MS_MAX,
    }).trim();
  const idOf = (service: string): string => run('ps', '-q', service);
  const inspect = (id: string, field: string): string => docker('inspect', '-f', `{{json ${field}}}`, id);
  const leftOf = (kind: string, ...list: string[]): string =>
    docker(kind, ...list, '--filter', `label=com.docker.compose.project=${PROJECT}`, '-q');

  beforeAll(async () => {
    const base = findBase();
    buildGatewayImage(base);
    Object.assign(env, { NODE_IMAGE: base, ROSETTAMQ_IMAGE: GATEWAY_IMAGE });
    for (const service of SERVICES) env[IMAGES[service].variable] = findImage(service);
    for (const name of PORTS) env[name] = String(await pickPort());
    // In place of the README's random ones.
    Object.assign(env, { ROSETTAMQ_API_KEY: 'a-key-for-this-test-alone', RABBITMQ_PASSWORD: 'a-password' });
    walk = readWalkThrough();
  }, BUILD_MS_MAX + UP_MS_MAX);

  afterAll(() => {
    spawnSync(compose[0]!, [...compose.slice(1), 'down', '-v', '--timeout', '5'], {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: 'ignore',
    });
  }, UP_MS_MAX);

  /** The commands of the README, and what they print. */
  function readWalkThrough() {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    const blocks = [...readme.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);
    const [block, ...others] = blocks.filter((text) => text.includes('docker compose up'));
    expect(block, 'a walk-through in the README').toBeDefined();
    expect(others).toEqual([]);
    const commands: string[] = [];
    const output: string[] = [];
    let open = false;
    for (const line of block!.trimEnd().split('\n')) {
      if (line.startsWith('$ ')) commands.push(line.slice(2));
      else if (open) commands.push(`${commands.pop()}\n${line}`);
      else output.push(line);
      open = commands.at(-1)!.endsWith('\\');
    }
    return { commands, output };
  }

  const toOurs = (command: string): string =>
    command
      .replaceAll(/docker compose( exec)?/g, (_, exec = '') => compose.join(' ') + (exec && ' exec -T'))
      .replaceAll('localhost:8080', `127.0.0.1:${env.HTTP_PORT}`);

  /** How many orders there are until somebody looks is for nobody to say. */
  const normalized = (line: string): string => line.trimEnd().replace(/"order":\d+/, '"order":N');

  it(
    'shows in the README’s walk-through what a device said, the state of the bridge, and an order',
    async () => {
      const [keys, up, ...others] = walk.commands as [string, string, ...string[]];
      const down = others.pop();
      expect([up, down]).toEqual(['docker compose up -d', 'docker compose down -v']);
      expect(keys).toMatch(/^export ROSETTAMQ_API_KEY=\$\(\S.*\) RABBITMQ_PASSWORD=\$\(\S.*\)$/);
      const script = [
        `cd '${ROOT}'`,
        ...Object.entries(env).map(([name, value]) => `export ${name}='${value}'`),
        toOurs(up),
        'echo is up',
        ...others.map(toOurs),
      ];
      const shell = new Program(script.join('\n'), '');
      onTestFinished(() => shell.stop());
      await shell.waitForLine('is up', UP_MS_MAX);
      await shell.ended;
      // The older program says first whose log it shows.
      const printed = shell.lines
        .slice(shell.lines.indexOf('is up') + 1)
        .filter((line) => !line.startsWith('Attaching to '));
      expect(printed.map(normalized), shell.errors.slice(-2000)).toEqual(walk.output.map(normalized));
    },
    UP_MS_MAX,
  );

  it('runs the gateway as nobody, with a root that is read-only', async () => {
    const id = idOf('rosettamq');
    expect(docker('exec', id, 'id', '-u')).toBe('1000');
    expect(spawnSync('docker', ['exec', id, 'sh', '-c', 'echo x > /app/x']).status).not.toBe(0);
    expect(inspect(id, '.HostConfig.ReadonlyRootfs')).toBe('true');
    expect(inspect(id, '.HostConfig.CapDrop')).toBe('["ALL"]');
    expect(inspect(id, '.HostConfig.SecurityOpt')).toBe('["no-new-privileges:true"]');
    expect(inspect(id, '.State.Health.Status')).toBe('"healthy"');
  });

  it('publishes the gateway’s ports on loopback alone, and none of the brokers', () => {
    const bindings = (service: string): string[] => {
      const text = inspect(idOf(service), '.HostConfig.PortBindings');
      const ports = JSON.parse(text) as Record<string, { HostIp: string }[]> | null;
      return Object.values(ports ?? {}).flatMap((each) => each.map(({ HostIp }) => HostIp));
    };
    expect(bindings('rosettamq')).toEqual(Array(PORTS.length).fill('127.0.0.1'));
    for (const service of ['kafka', 'rabbitmq']) expect(bindings(service)).toEqual([]);
  });

  it(
    'keeps what is for Kafka while it is down, and leads it there afterwards',
    async () => {
      const headers = { authorization: `Bearer ${env.ROSETTAMQ_API_KEY}` };
      const ask = async (path: string): Promise<Response> =>
        fetch(`http://127.0.0.1:${env.HTTP_PORT}${path}`, { headers });
      const look = async () =>
        (await (await ask('/v1/bridges/telemetry')).json()) as {
          status: { state: string; lag: { messages: number }; counters: { done: number } };
        };
      run('stop', '--timeout', '20', 'kafka');
      const waiting = await waitFor(
        'readings to wait',
        async () => {
          const { status } = await look();
          return status.state !== 'connected' && status.lag.messages > 2 && status;
        },
        UP_MS_MAX,
      );
      expect((await ask('/readyz')).status).toBe(503);
      run('start', 'kafka');
      await waitFor(
        'them to be there',
        async () => {
          const { status } = await look();
          return (
            status.state === 'connected' &&
            status.counters.done >= waiting.counters.done + waiting.lag.messages
          );
        },
        UP_MS_MAX,
      );
    },
    UP_MS_MAX,
  );

  it(
    'goes down cleanly, and leaves nothing behind',
    () => {
      const id = idOf('rosettamq');
      run('stop', 'rosettamq');
      expect(inspect(id, '.State.ExitCode')).toBe('0');
      execFileSync('bash', ['-c', toOurs(walk.commands.at(-1)!)], {
        cwd: ROOT,
        env: { ...process.env, ...env },
        stdio: 'pipe',
      });
      expect(leftOf('container', 'ls', '-a')).toBe('');
      expect(leftOf('volume', 'ls')).toBe('');
      expect(leftOf('network', 'ls')).toBe('');
    },
    UP_MS_MAX,
  );
});
