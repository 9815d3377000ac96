/** mqtt.js, the client that most programs on Node use, against a whole gateway with its disk. */

import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';

const ALONE = { 'amqp091.enabled': false, 'kafka.enabled': false, 'http.enabled': false };

let gateway: TestGateway;
let clients: MqttClient[] = [];

beforeAll(async () => {
  gateway = await startTestGateway({ settings: ALONE });
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.endAsync(true)));
  clients = [];
});

afterAll(() => gateway.stop());

class Inbox {
  readonly packets: IPublishPacket[] = [];
  #wake: () => void = () => {};

  constructor(client: MqttClient) {
    client.on('message', (topic, _payload, packet) => {
      // The packet itself keeps an empty topic where an alias stood for it.
      this.packets.push({ ...packet, topic });
      this.#wake();
    });
  }

  /** Resolves when that many have come; throws after two seconds. */
  async wait(count: number): Promise<IPublishPacket[]> {
    const until = Date.now() + 2_000;
    while (this.packets.length < count) {
      const left = until - Date.now();
      if (left <= 0) throw new Error(`${this.packets.length} of ${count} messages came`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.packets;
  }

  get texts(): string[] {
    return this.packets.map(({ topic, payload }) => `${topic} ${payload}`);
  }
}

async function connect(
  options: IClientOptions = {},
  url = `mqtt://127.0.0.1:${gateway.ports.mqtt}`,
): Promise<MqttClient> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options });
  clients.push(client);
  return client;
}

const ways: [name: string, options: IClientOptions, url: () => string][] = [
  ['3.1', { protocolVersion: 3, protocolId: 'MQIsdp' }, () => `mqtt://127.0.0.1:${gateway.ports.mqtt}`],
  ['3.1.1', { protocolVersion: 4 }, () => `mqtt://127.0.0.1:${gateway.ports.mqtt}`],
  ['5', { protocolVersion: 5 }, () => `mqtt://127.0.0.1:${gateway.ports.mqtt}`],
  [
    '3.1.1 over WebSocket',
    { protocolVersion: 4 },
    () => `ws://127.0.0.1:${gateway.ports.mqttWebsocket}/mqtt`,
  ],
  ['5 over WebSocket', { protocolVersion: 5 }, () => `ws://127.0.0.1:${gateway.ports.mqttWebsocket}/mqtt`],
];

describe.each(ways)('MQTT %s', (name, options, url) => {
  const root = `c/${name.replaceAll(/\W/g, '-')}`;

  it('carries every QoS, through wildcards, in order', async () => {
    const subscriber = await connect(options, url());
    const inbox = new Inbox(subscriber);
    await subscriber.subscribeAsync(`${root}/+/#`, { qos: 2 });
    const publisher = await connect(options, url());
    for (const qos of [0, 1, 2] as const) await publisher.publishAsync(`${root}/a/b`, `q${qos}`, { qos });
    const packets = await inbox.wait(3);
    expect(packets.map(({ qos, payload }) => `${payload} ${qos}`)).toEqual(['q0 0', 'q1 1', 'q2 2']);
  });

  it('carries large payloads', async () => {
    const subscriber = await connect(options, url());
    const inbox = new Inbox(subscriber);
    await subscriber.subscribeAsync(`${root}/large`, { qos: 1 });
    const payload = Buffer.alloc(900_000, 'x');
    await subscriber.publishAsync(`${root}/large`, payload, { qos: 1 });
    const [packet] = await inbox.wait(1);
    expect(payload.equals(packet?.payload as Buffer)).toBe(true);
  });

  it('remembers what is retained and forgets it', async () => {
    const client = await connect(options, url());
    await client.publishAsync(`${root}/kept`, 'value', { retain: true, qos: 1 });
    const first = await connect(options, url());
    const inbox = new Inbox(first);
    await first.subscribeAsync(`${root}/kept`);
    expect((await inbox.wait(1))[0]).toMatchObject({ retain: true, payload: Buffer.from('value') });
    await client.publishAsync(`${root}/kept`, '', { retain: true, qos: 1 });
    expect((await inbox.wait(2))[1]).toMatchObject({ retain: false });
    const second = await connect(options, url());
    const empty = new Inbox(second);
    await second.subscribeAsync(`${root}/kept`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(empty.packets).toEqual([]);
  });

  it('sends the will of a connection that is lost', async () => {
    const watcher = await connect(options, url());
    const inbox = new Inbox(watcher);
    await watcher.subscribeAsync(`${root}/will`, { qos: 1 });
    const dying = await connect(
      { ...options, will: { topic: `${root}/will`, payload: Buffer.from('gone'), qos: 1, retain: false } },
      url(),
    );
    dying.stream.destroy();
    expect((await inbox.wait(1))[0]?.payload.toString()).toBe('gone');
  });
});

describe('sessions', () => {
  it.each([4, 5] as const)(
    'version %i: what came meanwhile is delivered later, QoS 2 once',
    async (protocolVersion) => {
      const options: IClientOptions = {
        protocolVersion,
        clientId: `durable-${protocolVersion}`,
        clean: false,
        ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 100 } } : {}),
      };
      const topic = `d/${protocolVersion}`;
      const first = await connect(options);
      await first.subscribeAsync(topic, { qos: 2 });
      await first.endAsync(true);
      const publisher = await connect();
      for (let i = 0; i < 100; i++) await publisher.publishAsync(topic, `${i}`, { qos: i % 2 === 0 ? 1 : 2 });
      let present = false;
      const again = mqtt.connect(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, {
        reconnectPeriod: 0,
        ...options,
      });
      clients.push(again);
      again.on('connect', ({ sessionPresent }) => {
        present = sessionPresent;
      });
      const inbox = new Inbox(again);
      await inbox.wait(100);
      expect(present).toBe(true);
      // The client hands QoS 2 out at PUBREL, so only each QoS for itself is in order.
      const numbers = inbox.packets.map(({ payload }) => Number(payload));
      expect(numbers.filter((n) => n % 2 === 0)).toEqual(Array.from({ length: 50 }, (_, i) => 2 * i));
      expect(numbers.filter((n) => n % 2 === 1)).toEqual(Array.from({ length: 50 }, (_, i) => 2 * i + 1));
    },
  );

  it('are taken over by the newest connection', async () => {
    const first = await connect({ clientId: 'twice', protocolVersion: 5 });
    const ended = new Promise<number | undefined>((resolve) => {
      first.on('disconnect', (packet) => resolve(packet.reasonCode));
    });
    await connect({ clientId: 'twice', protocolVersion: 5 });
    expect(await ended).toBe(0x8e);
  });
});

describe('MQTT 5', () => {
  it('properties arrive as they were sent', async () => {
    const subscriber = await connect({ protocolVersion: 5 });
    const inbox = new Inbox(subscriber);
    await subscriber.subscribeAsync('p/#', { qos: 1, properties: { subscriptionIdentifier: 42 } });
    const publisher = await connect({ protocolVersion: 5 });
    const properties = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 100,
      contentType: 'application/json',
      responseTopic: 'answers/1',
      correlationData: Buffer.from([0, 1, 255]),
      userProperties: { a: ['1', '2'], b: '3' },
    };
    await publisher.publishAsync('p/x', '{}', { qos: 1, properties });
    const [packet] = await inbox.wait(1);
    expect(packet?.properties).toMatchObject({ ...properties, subscriptionIdentifier: 42 });
  });

  it('topic aliases work both ways', async () => {
    const subscriber = await connect({ protocolVersion: 5, properties: { topicAliasMaximum: 5 } });
    const inbox = new Inbox(subscriber);
    await subscriber.subscribeAsync('alias/#', { qos: 1 });
    const publisher = await connect({ protocolVersion: 5, autoAssignTopicAlias: true });
    for (let i = 0; i < 20; i++) await publisher.publishAsync(`alias/${i % 3}`, `${i}`, { qos: 1 });
    await inbox.wait(20);
    expect(inbox.texts).toEqual(Array.from({ length: 20 }, (_, i) => `alias/${i % 3} ${i}`));
  });

  it('bounds are told and refused ones answered', async () => {
    const client = await connect({ protocolVersion: 5 });
    const [shared] = await client.subscribeAsync('$share/g/t', { qos: 1 });
    expect(shared).toMatchObject({ topic: '$share/g/t', qos: 1 });
    await expect(client.subscribeAsync('$share/g+/t')).rejects.toThrow();
    const error = await client.publishAsync('$SYS/x', 'x', { qos: 1 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(Error);
  });
});
