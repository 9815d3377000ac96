/** MQTT and AMQP 0-9-1 clients on one address: pika and the Mosquitto clients, both directions, with the properties. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, python, run, start, subscribe } from './programs.ts';

interface Received {
  readonly exchange: string;
  readonly routing_key: string;
  readonly body: string;
  readonly content_type: string | null;
  readonly correlation_id: string | null;
  readonly delivery_mode: number | null;
  readonly expiration: string | null;
  readonly headers: Record<string, unknown>;
}

describeWith(['mosquitto-clients', 'python'], 'MQTT and AMQP 0-9-1', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  /** Binds a queue with pika and returns what then arrives in it, once `publish` has run. */
  async function receive(
    exchange: string,
    queue: string,
    key: string,
    count: number,
    publish: () => Promise<unknown>,
  ): Promise<Received[]> {
    const consumer = start(python('pika-consume.py', gateway.ports.amqp, exchange, queue, key, count));
    await consumer.waitForLine('ready');
    await publish();
    const lines = await consumer.waitForLines(count + 1);
    return lines.slice(1).map((line) => JSON.parse(line) as Received);
  }
  const publish = (options: string): Promise<string[]> =>
    run(`mosquitto_pub -h 127.0.0.1 -p ${gateway.ports.mqtt} ${options}`);

  it('a queue bound to an exchange that nobody declared gets what MQTT publishes under its name', async () => {
    const [message] = await receive('orders', 'order-processing', 'eu.new', 1, () =>
      publish('-t orders/eu/new -m 4711 -q 1'),
    );
    expect(message).toMatchObject({
      exchange: 'orders',
      routing_key: 'eu.new',
      body: '4711',
      delivery_mode: 2,
    });
  });

  it('MQTT 5 properties and user properties become AMQP properties and headers', async () => {
    const properties = [
      'content-type application/json',
      'correlation-data call-7',
      'message-expiry-interval 60',
      'user-property source sensor-7',
      'user-property unit celsius',
    ].map((property) => `-D publish ${property}`);
    const [message] = await receive('orders', 'with-properties', 'eu.props', 1, () =>
      publish(`-V 5 -t orders/eu/props -m '{}' -q 1 ${properties.join(' ')}`),
    );
    expect(message).toMatchObject({
      content_type: 'application/json',
      correlation_id: 'call-7',
      headers: { source: 'sensor-7', unit: 'celsius' },
    });
    expect(Number(message?.expiration)).toBeGreaterThan(50_000);
    expect(Number(message?.expiration)).toBeLessThanOrEqual(60_000);
  });

  it('amq.topic is the whole space, with words for wildcards', async () => {
    const messages = await receive('amq.topic', 'everything-red', '*.*.red', 2, async () => {
      await publish('-t a/b/red -m 1 -q 1');
      await publish('-t a/b/blue -m no -q 1');
      await publish('-t a/red -m no -q 1');
      await publish('-t x/y/red -m 2 -q 1');
    });
    expect(messages.map(({ exchange, routing_key, body }) => [exchange, routing_key, body])).toEqual([
      ['amq.topic', 'a.b.red', '1'],
      ['amq.topic', 'x.y.red', '2'],
    ]);
  });

  it('QoS 0 arrives as a transient message', async () => {
    const [message] = await receive('orders', 'transient', 'eu.q0', 1, () =>
      publish('-t orders/eu/q0 -m 0 -q 0'),
    );
    expect(message?.delivery_mode ?? 1).toBe(1);
  });

  it('what AMQP publishes to an exchange reaches MQTT under its name', async () => {
    const exact = await subscribe(gateway.ports.mqtt, '-t sensors/temperature/us/california -v');
    const wild = await subscribe(gateway.ports.mqtt, "-t 'sensors/+/us/#' -v");
    await run(python('pika-publish.py', gateway.ports.amqp, 'sensors', 'temperature.us.california', '31.4'));
    await exact.waitForLine('sensors/temperature/us/california 31.4');
    await wild.waitForLine('sensors/temperature/us/california 31.4');
  });

  it('AMQP properties and headers become MQTT 5 properties', async () => {
    const format = "-F '%t|%q|%C|%D|%P|%p'";
    const subscriber = await subscribe(gateway.ports.mqtt, `-V 5 -q 1 -t 'alarms/#' ${format}`);
    const properties = {
      content_type: 'text/plain',
      correlation_id: 'call-8',
      headers: { floor: '3' },
    };
    await run(
      python('pika-publish.py', gateway.ports.amqp, 'alarms', 'fire', 'now', JSON.stringify(properties)),
    );
    const line = await subscriber.waitForLine(/^alarms\/fire\|/);
    expect(line).toMatch(/^alarms\/fire\|1\|text\/plain\|call-8\|.*floor:3.*\|now$/);
  });

  it('a durable queue keeps its messages over a restart of the gateway', async () => {
    await receive('orders', 'kept', 'eu.kept', 1, () => publish('-t orders/eu/kept -m first -q 1'));
    await publish('-t orders/eu/kept -m second -q 1');
    await gateway.restart();
    const [message] = await receive('orders', 'kept', 'eu.kept', 1, async () => {});
    expect(message?.body).toBe('second');
  });
});
