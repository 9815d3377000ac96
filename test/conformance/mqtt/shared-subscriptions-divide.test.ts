/** mqtt.js clients that share a subscription, against a whole gateway with its disk: v4 and v5, and over a restart. */
import { rmSync } from 'node:fs';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, describe, expect, it } from 'vitest';
import { makeDataFolder, startTestGateway, type TestGateway } from '../../support/gateway.ts';

const ALONE = { 'amqp091.enabled': false, 'kafka.enabled': false, 'http.enabled': false };

let gateway: TestGateway | null = null;
let clients: MqttClient[] = [];

afterEach(async () => {
  await Promise.all(clients.map((client) => client.endAsync(true)));
  clients = [];
  await gateway?.stop();
  gateway = null;
});

async function connect(options: IClientOptions, bodies: string[] = []): Promise<MqttClient> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${gateway?.ports.mqtt}`, { reconnectPeriod: 0, ...options });
  clients.push(client);
  client.on('message', (_topic, payload) => bodies.push(String(payload)));
  await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject));
  return client;
}

async function until(condition: () => boolean): Promise<void> {
  const endMs = Date.now() + 5_000;
  while (!condition() && Date.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('clients of one group', () => {
  for (const version of [4, 5] as const) {
    it(`[MQTT-4.8.2-4] get each message once between them, version ${version}, all QoS`, async () => {
      gateway = await startTestGateway({ settings: ALONE });
      const inboxes: string[][] = [[], [], [], []];
      for (const inbox of inboxes) {
        const member = await connect({ protocolVersion: version }, inbox);
        await member.subscribeAsync('$share/workers/jobs/#', { qos: 2 });
      }
      const publisher = await connect({ protocolVersion: version });
      // Below the receive maximum, which mqtt.js does not keep by itself.
      for (let from = 0; from < 400; from += 50) {
        await Promise.all(
          Array.from({ length: 50 }, (_, i) =>
            publisher.publishAsync('jobs/a', `${from + i}`, { qos: (i % 3) as 0 | 1 | 2 }),
          ),
        );
      }
      await until(() => inboxes.flat().length >= 400);
      expect(inboxes.map((inbox) => inbox.length)).toEqual([100, 100, 100, 100]);
      expect(new Set(inboxes.flat()).size).toBe(400);
    });
  }

  it('get what waited for them while all were away, over a restart, once and in order', async () => {
    const folder = makeDataFolder();
    try {
      gateway = await startTestGateway({ settings: ALONE, folder });
      const durable: IClientOptions = { protocolVersion: 4, clean: false, clientId: 'worker' };
      const member = await connect(durable);
      await member.subscribeAsync('$share/workers/jobs', { qos: 1 });
      await member.endAsync();
      const publisher = await connect({ protocolVersion: 5 });
      for (let i = 0; i < 50; i++) await publisher.publishAsync('jobs', `${i}`, { qos: 1 });
      await publisher.endAsync();
      await gateway.stop();
      gateway = await startTestGateway({ settings: ALONE, folder });
      const bodies: string[] = [];
      const back = await connect(durable, bodies);
      await until(() => bodies.length >= 50);
      await back.endAsync();
      expect(bodies).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
      await connect(durable, bodies);
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(bodies.length).toBe(50);
    } finally {
      await gateway?.stop();
      gateway = null;
      rmSync(folder, { recursive: true, force: true });
    }
  });

  for (const ends of [false, true]) {
    it(`get what one of them had not acknowledged before a restart, its session ${ends ? 'ended' : 'away'}`, async () => {
      const folder = makeDataFolder();
      try {
        gateway = await startTestGateway({ settings: ALONE, folder });
        const durable: IClientOptions = { protocolVersion: 4, clean: false };
        const rest = await connect({ ...durable, clientId: 'rest' });
        await rest.subscribeAsync('$share/workers/jobs', { qos: 1 });
        await rest.endAsync();
        const holder = await connect({ ...durable, clientId: 'holder' });
        // Receives, and never acknowledges.
        let received = 0;
        holder.handleMessage = () => received++;
        await holder.subscribeAsync('$share/workers/jobs', { qos: 1 });
        const publisher = await connect({ protocolVersion: 5 });
        for (let i = 0; i < 20; i++) await publisher.publishAsync('jobs', `${i}`, { qos: 1 });
        await until(() => received > 0);
        await gateway.stop();
        gateway = await startTestGateway({ settings: ALONE, folder });
        if (ends) await connect({ protocolVersion: 4, clean: true, clientId: 'holder' });
        const bodies: string[] = [];
        await connect({ ...durable, clientId: 'rest' }, bodies);
        await until(() => bodies.length >= 20);
        expect([...bodies].sort((a, b) => Number(a) - Number(b))).toEqual(
          Array.from({ length: 20 }, (_, i) => `${i}`),
        );
      } finally {
        await gateway?.stop();
        gateway = null;
        rmSync(folder, { recursive: true, force: true });
      }
    });
  }
});
