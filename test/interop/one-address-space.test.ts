/**
 * Names that other brokers mix up: dots inside MQTT levels, Sparkplug's version, wildcards at the same depth. Three
 * addresses stay three addresses for every client.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, messagesOf, python, run, start, subscribe } from './programs.ts';

/** MQTT topic, AMQP routing key on amq.topic, Kafka topic. */
const NAMES = [
  ['a.b/c', 'a/b.c', 'a-x2Eb.c'],
  ['a/b/c', 'a.b.c', 'a.b.c'],
  ['a/b.c', 'a.b/c', 'a.b-x2Ec'],
] as const;

describeWith(['mosquitto-clients', 'python', 'kcat'], 'one address space', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());
  const server = (): string => `127.0.0.1:${gateway.ports.kafka}`;
  const publish = (options: string): Promise<string[]> =>
    run(`mosquitto_pub -h 127.0.0.1 -p ${gateway.ports.mqtt} ${options}`);

  it('a.b/c, a/b/c and a/b.c are three addresses on every protocol', async () => {
    const queues = [];
    for (const [topic, key, stream] of NAMES) {
      await run(`kcat -L -b ${server()} -t ${stream}`); // naming it makes it
      const queue = start(python('pika-consume.py', gateway.ports.amqp, 'amq.topic', `q ${topic}`, key, 3));
      await queue.waitForLine('ready');
      queues.push(queue);
    }
    const subscriber = await subscribe(gateway.ports.mqtt, "-q 1 -t '+/c' -t '+/b/c' -t 'a/b.c' -v");
    for (const [topic, key, stream] of NAMES) {
      await publish(`-t ${topic} -m mqtt:${topic} -q 1`);
      await run(python('pika-publish.py', gateway.ports.amqp, 'amq.topic', key, `amqp:${topic}`));
      await run(`kcat -P -b ${server()} -t ${stream}`, `kafka:${topic}\n`);
    }
    const bodiesOf = (topic: string): string[] => [`amqp:${topic}`, `kafka:${topic}`, `mqtt:${topic}`];
    for (const [index, [topic, key, stream]] of NAMES.entries()) {
      const rows = (await queues[index]!.waitForLines(4)).slice(1).map((line) => JSON.parse(line));
      expect(rows.map((row) => row.body).sort(), key).toEqual(bodiesOf(topic));
      expect(new Set(rows.map((row) => row.routing_key))).toEqual(new Set([key]));
      const records = await run(`kcat -C -b ${server()} -t ${stream} -o beginning -e -q -f '%s\\n'`);
      expect(records.sort(), stream).toEqual(bodiesOf(topic));
      for (const body of bodiesOf(topic)) await subscriber.waitForLine(`${topic} ${body}`);
    }
    expect(messagesOf(subscriber).length).toBe(9);
  });

  it('a wildcard level matches at its own depth only', async () => {
    const subscriber = await subscribe(gateway.ports.mqtt, "-q 1 -t 'depth/+' -v");
    await publish('-t depth/x.y -m one -q 1');
    await publish('-t depth/x/y -m deeper -q 1');
    await publish('-t depth/z -m two -q 1');
    await subscriber.waitForLine('depth/z two');
    expect(messagesOf(subscriber)).toEqual(['depth/x.y one', 'depth/z two']);
  });

  it('Sparkplug topics are consumable by AMQP and Kafka without configuration', async () => {
    const topic = 'spBv1.0/plant/NDATA/node';
    await run(`kcat -L -b ${server()} -t spBv1-x2E0.plant.NDATA.node`);
    const queue = start(
      python('pika-consume.py', gateway.ports.amqp, 'amq.topic', 'sparkplug', 'spBv1/0.*.NDATA.#', 1),
    );
    await queue.waitForLine('ready');
    await publish(`-t ${topic} -m reading -q 1`);
    const [, row] = await queue.waitForLines(2);
    expect(JSON.parse(row!)).toMatchObject({ routing_key: 'spBv1/0.plant.NDATA.node', body: 'reading' });
    expect(
      await run(`kcat -C -b ${server()} -t spBv1-x2E0.plant.NDATA.node -o beginning -e -q -f '%s\\n'`),
    ).toEqual(['reading']);
  });

  it('a queue is one thing: an exchange named like a topic root and amq.topic see the same message', async () => {
    const own = start(python('pika-consume.py', gateway.ports.amqp, 'plant', 'own', 'line.*', 1));
    const root = start(python('pika-consume.py', gateway.ports.amqp, 'amq.topic', 'root', 'plant.line.#', 1));
    for (const program of [own, root]) await program.waitForLine('ready');
    await publish('-t plant/line/7 -m on -q 1');
    expect(JSON.parse((await own.waitForLines(2))[1]!)).toMatchObject({
      exchange: 'plant',
      routing_key: 'line.7',
    });
    expect(JSON.parse((await root.waitForLines(2))[1]!)).toMatchObject({
      exchange: 'amq.topic',
      routing_key: 'plant.line.7',
    });
  });
});
