/**
 * The first bridges of docs/bridges.md with real brokers at the other end: put with the page's own commands, in its order, and
 * only hosts and ports are ours. Messages go through each of them, and the page's last commands leave nothing behind.
 */

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import amqplib from 'amqplib';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Broker, startKafka, startMosquitto, startRabbitMq } from '../../bench/brokers.ts';
import { GatewayInProcess } from '../../conformance/admin/gateway-in-process.ts';
import { describeWith, start, waitFor } from '../programs.ts';

const execute = promisify(execFile);
const page = readFileSync(new URL('../../../docs/bridges.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);

const TITLE = 'the first bridges of the page';
const PEERS = ['mosquitto', 'rabbitmq', 'kafka', 'kcat', 'curl', 'taskset'] as const;

describeWith(PEERS, TITLE, testPage);

function testPage(): void {
  let gateway: GatewayInProcess;
  let kafka: Broker;
  let rabbit: Broker;
  let mosquitto: Broker;
  const clients: MqttClient[] = [];

  beforeAll(async () => {
    process.env.SHOP_PASSWORD = 'guest';
    [kafka, rabbit, mosquitto] = await Promise.all([startKafka(), startRabbitMq(), startMosquitto()]);
    const connection = await amqplib.connect(`amqp://127.0.0.1:${rabbit.ports.amqp}`);
    const channel = await connection.createChannel();
    await channel.assertExchange('orders', 'topic');
    await connection.close();
    gateway = await GatewayInProcess.start();
  });
  afterAll(async () => {
    delete process.env.SHOP_PASSWORD;
    for (const client of clients) await client.endAsync(true);
    await Promise.all([gateway?.remove(), kafka?.stop(), rabbit?.stop(), mosquitto?.stop()]);
  });

  /** The answers of the page's block that holds this text. */
  async function runBlock(part: string): Promise<string[]> {
    const [block, ...others] = blocks.filter((text) => text.includes(part));
    expect(block, `a block with ${part}`).toBeDefined();
    expect(others).toEqual([]);
    const commands = block!
      .replaceAll('http://127.0.0.1:8080', gateway.url)
      .replaceAll('kafka.example.com:9092', `127.0.0.1:${kafka.ports.kafka}`)
      .replaceAll('mosquitto.example.com:1883', `127.0.0.1:${mosquitto.ports.mqtt}`)
      .replaceAll(
        '"host": "rabbit.example.com", "user": "bridge"',
        `"host": "127.0.0.1", "port": ${rabbit.ports.amqp}, "user": "guest"`,
      )
      .replaceAll('curl -s ', "curl -s -w '\\n' ");
    expect(commands).not.toContain('example.com');
    const { stdout } = await execute('sh', ['-ec', commands]);
    return stdout.split('\n').filter((line) => line !== '');
  }

  async function untilConnected(...names: string[]): Promise<void> {
    for (const name of names)
      await waitFor(`bridge ${name}`, async () => {
        const { body } = await gateway.get(`/v1/bridges/${name}`);
        return (body as { status: { state: string } }).status.state === 'connected';
      });
  }

  /** A reader of Kafka that comes before the topic goes away again. */
  const untilDone = (name: string): Promise<unknown> =>
    waitFor(`what bridge ${name} took`, async () => {
      const { body } = await gateway.get(`/v1/bridges/${name}`);
      return (body as { status: { counters: { done: number } } }).status.counters.done > 0;
    });

  async function connectTo(port: number): Promise<MqttClient> {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5 });
    clients.push(client);
    return client;
  }

  async function firstOf(client: MqttClient, filter: string, act: () => Promise<unknown>): Promise<string> {
    const first = new Promise<string>((resolve) =>
      client.once('message', (topic, body) => resolve(`${topic} ${body.toString()}`)),
    );
    await client.subscribeAsync(filter, { qos: 1 });
    await act();
    return first;
  }

  test('devices to Kafka', async () => {
    await runBlock('/v1/bridges/devices -H');
    await untilConnected('devices');
    const device = await connectTo(gateway.port('mqtt'));
    await device.publishAsync('devices/d7/telemetry', '21.5', { qos: 1 });
    await untilDone('devices');
    const broker = `127.0.0.1:${kafka.ports.kafka}`;
    const consumer = start(`kcat -C -b ${broker} -t telemetry -c 1 -u -q -f '%k: %s\\n'`);
    await waitFor('the record', () => consumer.lines.length > 0);
    expect(consumer.lines).toEqual(['d7: 21.5']);
  });

  test('in from RabbitMQ', async () => {
    await runBlock('/v1/bridges/orders -H');
    await untilConnected('orders');
    const connection = await amqplib.connect(`amqp://127.0.0.1:${rabbit.ports.amqp}`);
    const channel = await connection.createConfirmChannel();
    const came = firstOf(await connectTo(gateway.port('mqtt')), 'orders/#', async () => {
      channel.publish('orders', 'eu.new', Buffer.from('4711'), { persistent: true });
      await channel.waitForConfirms();
    });
    expect(await came).toBe('orders/eu/new 4711');
    await connection.close();
  });

  test('Mosquitto, both ways', async () => {
    await runBlock('/v1/bridges/hall-out -H');
    await untilConnected('hall-out', 'hall-in');
    const here = await connectTo(gateway.port('mqtt'));
    const there = await connectTo(mosquitto.ports.mqtt);
    const out = firstOf(there, 'site1/sensors/#', () => here.publishAsync('sensors/t', '22', { qos: 1 }));
    expect(await out).toBe('site1/sensors/t 22');
    const back = firstOf(here, 'commands/#', () =>
      there.publishAsync('site1/commands/light', 'on', { qos: 1 }),
    );
    expect(await back).toBe('commands/light on');
  });

  test('seen, tried, paused and undone', async () => {
    const [shown, probed, paused, resumed, reset] = (await runBlock('devices:pause')).map(
      (line) => JSON.parse(line) as { status: object },
    );
    expect(shown).toMatchObject({ status: { state: 'connected', counters: { taken: 1, done: 1 } } });
    expect(probed).toMatchObject({ ok: true, failure: null });
    expect(paused).toMatchObject({ status: { state: 'paused' } });
    expect(resumed!.status).not.toMatchObject({ state: 'paused' });
    expect(reset).toEqual({ count: 0 });
    expect(await runBlock('-X DELETE')).toEqual([]);
    for (const kind of ['bridges', 'connections'])
      expect((await gateway.get(`/v1/${kind}`)).body).toEqual({ items: [], next: null });
  });
}
