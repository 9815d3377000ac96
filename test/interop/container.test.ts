/**
 * The image as `docker compose up` builds and configures it, on a Docker of this machine: reached through published
 * ports by MQTT, AMQP and Kafka clients, and started again on the same volume. Where the official image of Node.js
 * cannot be pulled, `test/peers/docker-base.sh` makes a base image of this machine's programs. Without a Docker that
 * runs containers the suite is skipped and says why.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { connect as connectAmqp } from 'amqplib';
import { Kafka, logLevel } from 'kafkajs';
import { connectAsync } from 'mqtt';
import { GenericContainer, type StartedTestContainer, Wait } from 'testcontainers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pickPort } from '../support/ports.ts';
import { BUILD_MS_MAX, buildGatewayImage, docker, findObstacle, GATEWAY_IMAGE } from './docker.ts';
import { waitFor } from './programs.ts';

// The helper that removes what a killed test leaves behind is an image of its own, which would have to be pulled.
process.env.TESTCONTAINERS_RYUK_DISABLED = 'true';

const obstacle = findObstacle();
if (obstacle !== null) process.stdout.write(`SKIPPED: the container: ${obstacle}\n`);

describe.skipIf(obstacle !== null)(`the container${obstacle === null ? '' : ` (${obstacle})`}`, () => {
  const volume = `rosettamq-test-${process.pid}`;
  let container: StartedTestContainer;
  let kafkaPort = 0;

  const port = (inside: number): number => container.getMappedPort(inside);
  const start = (): Promise<StartedTestContainer> =>
    new GenericContainer(GATEWAY_IMAGE)
      .withEnvironment({
        ROSETTAMQ_HOST: '0.0.0.0',
        ROSETTAMQ_HTTP__HOST: '0.0.0.0',
        ROSETTAMQ_HTTP__API_KEYS: 'a-key-for-this-test-alone',
        // The network that Docker gives it is unknown before it runs; the ports are published on this machine alone.
        ROSETTAMQ_AUTH__TRUSTED_NETWORKS: '127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16',
        ROSETTAMQ_KAFKA__ADVERTISED: `127.0.0.1:${kafkaPort}`,
      })
      .withExposedPorts(1883, 5672, 8080, { container: 9092, host: kafkaPort })
      .withBindMounts([{ source: volume, target: '/data', mode: 'rw' }])
      .withDroppedCapabilities('ALL')
      .withSecurityOpt('no-new-privileges:true')
      .withWaitStrategy(Wait.forLogMessage(/"msg":"ready"/))
      .start();

  beforeAll(async () => {
    buildGatewayImage();
    kafkaPort = await pickPort();
    container = await start();
  }, BUILD_MS_MAX + 60_000);

  afterAll(async () => {
    await container?.stop();
    spawnSync('docker', ['volume', 'rm', '-f', volume], { stdio: 'ignore' });
  });

  async function publish(topic: string, body: string): Promise<void> {
    const client = await connectAsync(`mqtt://127.0.0.1:${port(1883)}`);
    await client.publishAsync(topic, body, { qos: 1 });
    await client.endAsync();
  }

  async function readRecords(topic: string, count: number): Promise<string[]> {
    const kafka = new Kafka({ brokers: [`127.0.0.1:${kafkaPort}`], logLevel: logLevel.NOTHING });
    const consumer = kafka.consumer({ groupId: `reader-${Math.random()}` });
    const bodies: string[] = [];
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        bodies.push(message.value!.toString());
      },
    });
    await waitFor('the records', () => bodies.length >= count);
    await consumer.disconnect();
    return bodies;
  }

  /** Declares the queue where there is none, and takes one message without settling it, so that it stays. */
  async function peekQueue(): Promise<string | null> {
    const connection = await connectAmqp(`amqp://guest:guest@127.0.0.1:${port(5672)}`);
    const channel = await connection.createChannel();
    await channel.assertQueue('readings', { durable: true });
    await channel.bindQueue('readings', 'amq.topic', 'sensors.#');
    const message = await channel.get('readings');
    await connection.close();
    return message === false ? null : message.content.toString();
  }

  it('takes from MQTT what AMQP and Kafka clients read, also after it started anew on its volume', async () => {
    expect(await peekQueue()).toBe(null);
    // A Kafka topic begins where a client first names it.
    const kafka = new Kafka({ brokers: [`127.0.0.1:${kafkaPort}`], logLevel: logLevel.NOTHING });
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'sensors.temperature', numPartitions: 1 }] });
    await admin.disconnect();

    await publish('sensors/temperature', '22.5');
    expect(await peekQueue()).toBe('22.5');
    expect(await readRecords('sensors.temperature', 1)).toEqual(['22.5']);

    await container.stop({ remove: true, timeout: 20_000 });
    container = await start();
    expect(await peekQueue()).toBe('22.5');
    expect(await readRecords('sensors.temperature', 1)).toEqual(['22.5']);
  });

  it('asks for the API key, tells that it is healthy, and is no root', async () => {
    const api = `http://127.0.0.1:${port(8080)}`;
    expect((await fetch(`${api}/v1/queues`)).status).toBe(401);
    const headers = { authorization: 'Bearer a-key-for-this-test-alone' };
    expect((await fetch(`${api}/v1/queues`, { headers })).status).toBe(200);
    const health = (): string =>
      execFileSync('docker', ['inspect', '-f', '{{.State.Health.Status}}', container.getId()], {
        encoding: 'utf8',
      }).trim();
    await waitFor('the container to be healthy', () => health() === 'healthy');
    expect((await container.exec(['id', '-u'])).output.trim()).not.toBe('0');
  });

  it('ends at once and cleanly when it is told to stop', async () => {
    const id = container.getId();
    const begunAt = performance.now();
    execFileSync('docker', ['stop', '--time', '20', id]);
    expect(performance.now() - begunAt).toBeLessThan(15_000);
    const code = execFileSync('docker', ['inspect', '-f', '{{.State.ExitCode}}', id], { encoding: 'utf8' });
    expect(code.trim()).toBe('0');
  });
});

describe.skipIf(obstacle !== null)(
  `the container, locked up${obstacle === null ? '' : ` (${obstacle})`}`,
  () => {
    beforeAll(() => buildGatewayImage(), BUILD_MS_MAX + 60_000);

    it('runs as a user of its own with a read-only root, also as a sidecar, and stops cleanly', async () => {
      const locked = [
        '--network',
        'none',
        '--read-only',
        '--user',
        '1000:1000',
        '--cap-drop',
        'ALL',
        '--memory',
        '192m',
      ];
      const options = ['--security-opt', 'no-new-privileges', '-e', 'ROSETTAMQ_SIDECAR=true'];
      const id = docker('run', '-d', ...locked, ...options, '-v', '/data', GATEWAY_IMAGE);
      try {
        const ask = (question: string): number | null =>
          spawnSync('docker', ['exec', id, 'rosettamq', 'health', question]).status;
        await waitFor('the sidecar to be ready', () => ask('ready') === 0);
        expect(ask('live')).toBe(0);
        expect(docker('exec', id, 'id', '-u')).toBe('1000');
        expect(spawnSync('docker', ['exec', id, 'sh', '-c', 'echo x > /app/x']).status).not.toBe(0);
        docker('exec', id, 'rosettamq', 'publish', 'a/b', '-m', 'kept', '--retain');
        expect(docker('exec', id, 'rosettamq', 'retained', 'get', 'a/b')).toBe('kept');
        docker('stop', '--time', '20', id);
        expect(docker('inspect', '-f', '{{.State.ExitCode}}', id)).toBe('0');
        docker('start', id);
        await waitFor('the sidecar to be ready again', () => ask('ready') === 0);
        expect(docker('exec', id, 'rosettamq', 'retained', 'get', 'a/b')).toBe('kept');
      } finally {
        docker('rm', '-f', '-v', id);
      }
    });
  },
);
