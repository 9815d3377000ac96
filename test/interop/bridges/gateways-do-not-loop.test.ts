/**
 * Two gateways that lead the same messages to each other, by every pair of protocols: each message comes once to the
 * subscribers of each, and goes no further. The gateways are each other's brokers where the protocol has a listener, and
 * meet at a broker of another kind where it has none (AMQP 1.0) or where that is the usual way.
 */
import { type ConsumeMessage, connect as connectAmqp } from 'amqplib';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { describeWith, pause, waitFor } from '../programs.ts';
import { KafkaBroker } from './kafka-broker.ts';
import { readAll } from './kafka-records.ts';
import { startMosquitto } from './mosquitto.ts';
import { type RabbitMq, startRabbitMq } from './rabbitmq.ts';

/** Published at each place. */
const COUNT = 20;
/** What still went round would show within this time. */
const QUIET_MS = 1_000;
const RETRY = { minMs: 50, maxMs: 500 };
const PROTOCOLS = ['mqtt', 'amqp091', 'kafka'] as const;
type Protocol = (typeof PROTOCOLS)[number];
type Definition = Readonly<Record<string, unknown>>;

/** Where a client publishes and listens: a gateway, or a broker. */
interface Place {
  readonly name: string;
  readonly received: string[];
  publish(body: string): Promise<unknown>;
}

class Node {
  readonly name: string;
  readonly gateway: TestGateway;

  constructor(name: string, gateway: TestGateway) {
    this.name = name;
    this.gateway = gateway;
  }

  get #bridges() {
    return this.gateway.gateway.bridges;
  }

  /** A bridge over a connection of its own name, connected; gone with the test. */
  async put(name: string, connection: Definition, bridge: Definition): Promise<void> {
    await this.putOver(name, connection, { [name]: bridge });
  }

  async putOver(
    connection: string,
    definition: Definition,
    bridges: Readonly<Record<string, Definition>>,
  ): Promise<void> {
    await this.#bridges.connections.put(connection, definition, { dryRun: false });
    onTestFinished(() => this.#bridges.connections.remove(connection));
    for (const [name, bridge] of Object.entries(bridges)) {
      await this.#bridges.put(name, { connection, retry: RETRY, ...bridge }, { dryRun: false });
      // Before its connection.
      onTestFinished(() => this.#bridges.remove(name));
      await waitFor(`bridge ${name} of ${this.name}: ${this.reasonOf(name)}`, () => this.isConnected(name));
    }
  }

  isConnected(name: string): boolean {
    return this.#bridges.get(name)?.status.state === 'connected';
  }

  reasonOf(name: string): string {
    return this.#bridges.get(name)?.status.reason ?? 'there is none';
  }

  countersOf(name: string) {
    const { counters, lag } = this.#bridges.get(name)!.status;
    const { taken, done, repeated, deadLettered, refused, dropped } = counters;
    const { loop, ...others } = dropped;
    const lost = Object.values(others).reduce((sum, each) => sum + each, 0);
    return { taken, done, loop, others: repeated + deadLettered + refused + lost + lag.messages };
  }

  /** Of all of its bridges. */
  get taken(): number {
    return [...this.#bridges.list()].reduce((sum, { status }) => sum + status.counters.taken, 0);
  }
}

const clientOf = async (url: string): Promise<MqttClient> => {
  const client = await connectAsync(url, { protocolVersion: 5 });
  onTestFinished(() => client.endAsync(true));
  return client;
};

async function openPlace(name: string, url: string, prefix: string): Promise<Place> {
  const client = await clientOf(url);
  const received: string[] = [];
  client.on('message', (_topic, body) => received.push(body.toString()));
  await client.subscribeAsync(`${prefix}/#`, { qos: 1 });
  return { name, received, publish: (body) => client.publishAsync(`${prefix}/t`, body, { qos: 1 }) };
}

/** What it takes to reach a gateway by one of its listeners. */
function connectionTo({ ports }: TestGateway, protocol: Protocol): Definition {
  if (protocol === 'mqtt') return { type: 'mqtt', urls: [`mqtt://127.0.0.1:${ports.mqtt}`] };
  if (protocol === 'amqp091') return { type: 'amqp091', host: '127.0.0.1', port: ports.amqp };
  return { type: 'kafka', brokers: [`127.0.0.1:${ports.kafka}`] };
}

const everything = (prefix: string): Definition => ({ pattern: `${prefix}/#` });

const outOf = (prefix: string): Definition => ({ direction: 'out', mappings: [everything(prefix)] });

function into(protocol: Protocol, prefix: string): Definition {
  const mapping = everything(prefix);
  if (protocol === 'mqtt') return { direction: 'in', mappings: [mapping] };
  if (protocol === 'amqp091') {
    const queue = `in-${prefix}`;
    return {
      direction: 'in',
      mappings: [{ ...mapping, source: queue }],
      options: {
        declare: { queues: [{ name: queue, bind: [{ exchange: 'amq.topic', key: `${prefix}.#` }] }] },
      },
    };
  }
  return {
    direction: 'in',
    mappings: [{ ...mapping, source: `${prefix}.t` }],
    options: { from: 'earliest', lookAgainMs: 500, fetchWaitMs: 100 },
  };
}

/** Publishes at every place, and sees each message once at each of them; then nothing moves any more. Returns all bodies. */
async function exchange(places: readonly Place[], nodes: readonly Node[]): Promise<string[]> {
  const all: string[] = [];
  for (const { name, publish } of places) {
    for (let number = 0; number < COUNT; number++) {
      const body = `${name} ${number}`;
      all.push(body);
      await publish(body);
    }
  }
  for (const { name, received } of places) {
    await waitFor(`all at ${name}`, () => new Set(received).size === all.length).catch((error: Error) => {
      throw new Error(`${error.message}: ${all.filter((body) => !received.includes(body))}`);
    });
  }
  const moved = (): number =>
    nodes.reduce((sum, { taken }) => sum + taken, 0) +
    places.reduce((sum, { received }) => sum + received.length, 0);
  let before = -1;
  // What was on its way when the last arrived may still come to its end, but it does not go on for ever.
  for (let waits = 0; waits < 3 && moved() !== before; waits++) {
    before = moved();
    await pause(QUIET_MS);
  }
  expect(moved(), 'messages go round').toBe(before);
  for (const { name, received } of places) {
    expect({ name, received: received.toSorted() }).toEqual({ name, received: all.toSorted() });
  }
  return all;
}

let run = 0;
/** Of addresses that no other test has. */
const nextPrefix = (): string => `sensors${run++}`;

let a: Node;
let b: Node;
beforeAll(async () => {
  a = new Node('a', await startTestGateway());
  b = new Node('b', await startTestGateway());
});
afterAll(async () => {
  await Promise.all([a?.gateway.stop(), b?.gateway.stop()]);
});

const openPlaces = (prefix: string): Promise<Place[]> =>
  Promise.all(
    [a, b].map(({ name, gateway }) => openPlace(name, `mqtt://127.0.0.1:${gateway.ports.mqtt}`, prefix)),
  );

/** Its own went on, and what came from the other ended here. */
const HALF_AND_HALF = { taken: 2 * COUNT, done: COUNT, loop: COUNT, others: 0 };

const pairs = PROTOCOLS.flatMap((there) => PROTOCOLS.map((back) => ({ there, back })));

describe('two gateways that are each other’s brokers', () => {
  it.each(pairs)('send each other everything once: $there there, $back back', async ({ there, back }) => {
    const prefix = nextPrefix();
    const places = await openPlaces(prefix);
    await a.put('to-b', connectionTo(b.gateway, there), outOf(prefix));
    await b.put('to-a', connectionTo(a.gateway, back), outOf(prefix));
    await exchange(places, [a, b]);
    expect(a.countersOf('to-b')).toEqual(HALF_AND_HALF);
    expect(b.countersOf('to-a')).toEqual(HALF_AND_HALF);
  });

  it.each(pairs)('of which one sends and fetches: $there there, $back back', async ({ there, back }) => {
    const prefix = nextPrefix();
    const places = await openPlaces(prefix);
    await a.put('to-b', connectionTo(b.gateway, there), outOf(prefix));
    await a.put('from-b', connectionTo(b.gateway, back), into(back, prefix));
    await exchange(places, [a, b]);
    expect(a.countersOf('to-b')).toEqual(HALF_AND_HALF);
    expect(a.countersOf('from-b')).toEqual(HALF_AND_HALF);
  });
});

describeWith(['rabbitmq'], 'two gateways and a RabbitMQ', () => {
  let broker: RabbitMq;
  beforeAll(async () => {
    broker = await startRabbitMq(['rabbitmq_amqp1_0']);
  });
  afterAll(() => broker?.stop());

  const byAmqp10 = (): Definition => ({
    type: 'amqp10',
    host: '127.0.0.1',
    port: broker.port,
    user: 'guest',
    password: 'guest',
  });
  const outTo = (node: string, prefix: string): Definition => ({
    ...outOf(prefix),
    options: { target: node },
  });
  const inFrom = (node: string, prefix: string): Definition => ({
    direction: 'in',
    mappings: [{ ...everything(prefix), source: node }],
  });
  /** From one to the other through a node of the broker. */
  async function relay(from: Node, to: Node, prefix: string): Promise<void> {
    const node = `/topic/${from.name}.${prefix}`;
    await to.put('by-amqp10-in', byAmqp10(), inFrom(node, prefix));
    await from.put('by-amqp10-out', byAmqp10(), outTo(node, prefix));
  }

  it.each(PROTOCOLS)('exchange everything once: AMQP 1.0 through it there, %s back', async (back) => {
    const prefix = nextPrefix();
    const places = await openPlaces(prefix);
    await relay(a, b, prefix);
    await b.put('to-a', connectionTo(a.gateway, back), outOf(prefix));
    await exchange(places, [a, b]);
    expect(b.countersOf('to-a')).toEqual(HALF_AND_HALF);
    // The broker is no gateway, so it is at the other side that they turn out to have been there.
    expect(b.countersOf('by-amqp10-in')).toEqual(HALF_AND_HALF);
  });

  it('exchange everything once: AMQP 1.0 through it there and back', async () => {
    const prefix = nextPrefix();
    const places = await openPlaces(prefix);
    await relay(a, b, prefix);
    await relay(b, a, prefix);
    await exchange(places, [a, b]);
    for (const node of [a, b]) expect(node.countersOf('by-amqp10-in')).toEqual(HALF_AND_HALF);
  });

  it('show it everything once where both lead the same out and in by AMQP 0-9-1', async () => {
    const prefix = nextPrefix();
    const places = await openPlaces(prefix);
    const connection = { type: 'amqp091', host: '127.0.0.1', port: broker.port };
    for (const node of [a, b]) {
      const queue = `${node.name}-${prefix}`;
      const declare = { queues: [{ name: queue, bind: [{ exchange: 'amq.topic', key: `${prefix}.#` }] }] };
      await node.putOver('shared', connection, {
        out: outOf(prefix),
        in: { direction: 'in', mappings: [{ ...everything(prefix), source: queue }], options: { declare } },
      });
    }
    const model = await connectAmqp(`amqp://127.0.0.1:${broker.port}`);
    onTestFinished(() => model.close());
    const channel = await model.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'amq.topic', `${prefix}.#`);
    const received: string[] = [];
    const take = (message: ConsumeMessage | null): unknown => received.push(message!.content.toString());
    await channel.consume(queue, take, { noAck: true });
    const publish = async (body: string): Promise<void> => {
      channel.publish('amq.topic', `${prefix}.t`, Buffer.from(body));
      await channel.waitForConfirms();
    };
    await exchange([...places, { name: 'broker', received, publish }], [a, b]);
    for (const node of [a, b]) expectBothWays(node, 3);
  });
});

describeWith(['mosquitto'], 'two gateways and a Mosquitto', () => {
  it('show it everything once where both lead the same out and in', async () => {
    const prefix = nextPrefix();
    const broker = await startMosquitto();
    const places = await openPlaces(prefix);
    for (const node of [a, b]) {
      await node.putOver(
        'shared',
        { type: 'mqtt', urls: [broker.url] },
        { out: outOf(prefix), in: { direction: 'in', mappings: [everything(prefix)] } },
      );
    }
    await exchange([...places, await openPlace('broker', broker.url, prefix)], [a, b]);
    for (const node of [a, b]) expectBothWays(node, 3);
  });
});

describeWith(['kafka', 'java', 'kcat'], 'two gateways and an Apache Kafka', () => {
  let broker: KafkaBroker;
  beforeAll(async () => {
    broker = await KafkaBroker.start();
  });
  afterAll(() => broker?.stop());

  it('show it everything once where both lead the same out and in', async () => {
    const prefix = nextPrefix();
    await broker.createTopic(`${prefix}.t`);
    const places = await openPlaces(prefix);
    for (const node of [a, b]) {
      await node.putOver(
        'shared',
        { type: 'kafka', brokers: [broker.address] },
        { out: outOf(prefix), in: into('kafka', prefix) },
      );
    }
    const all = await exchange(places, [a, b]);
    const found = (await readAll(broker.address, `${prefix}.t`)).map(({ payload }) => payload);
    expect(found.toSorted()).toEqual(all.toSorted());
    for (const node of [a, b]) expectBothWays(node, 2);
  });
});

/** Of what so many places publish, out: its own; in: the others', and its own that comes back. */
function expectBothWays(node: Node, places: number): void {
  const others = { taken: places * COUNT, others: 0 };
  expect(node.countersOf('out')).toEqual({ ...others, done: COUNT, loop: (places - 1) * COUNT });
  expect(node.countersOf('in')).toEqual({ ...others, done: (places - 1) * COUNT, loop: COUNT });
}
