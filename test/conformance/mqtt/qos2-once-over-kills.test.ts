/**
 * Exactly once when the gateway is killed at any moment: a publisher and a subscriber at QoS 2, both mqtt.js with their
 * own memory of packet identifiers, come back each time, and every message arrives once.
 */

import { rmSync } from 'node:fs';
import mqtt, { type MqttClient } from 'mqtt';
import { expect, it } from 'vitest';
import { makeDataFolder, type SpawnedGateway, spawnGateway } from '../../support/gateway.ts';

const KILLS = Number(process.env.ROSETTAMQ_MQTT_KILLS ?? 3);
const SETTINGS = { 'amqp091.enabled': false, 'kafka.enabled': false, 'http.enabled': false };

function connect(port: number, clientId: string): MqttClient {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    clientId,
    clean: false,
    protocolVersion: 4,
    reconnectPeriod: 30,
    resubscribe: false,
  });
  client.on('error', () => {});
  return client;
}

it(`QoS 2 arrives once over ${KILLS} kills`, { timeout: 60_000 }, async () => {
  const folder = makeDataFolder();
  let gateway: SpawnedGateway = await spawnGateway({ folder, settings: SETTINGS });
  const { ports } = gateway;
  const seen: number[] = [];
  const subscriber = connect(ports.mqtt, 'subscriber');
  subscriber.on('message', (_topic, payload) => seen.push(Number(payload)));
  await new Promise((resolve) => subscriber.once('connect', resolve));
  await subscriber.subscribeAsync('once', { qos: 2 });
  const publisher = connect(ports.mqtt, 'publisher');
  let sent = 0;
  let acknowledged = 0;
  let publishing = true;
  const pump = (): void => {
    while (publishing && sent - acknowledged < 20) {
      publisher.publish('once', String(sent++), { qos: 2 }, (error) => {
        if (error === undefined || error === null) acknowledged++;
        setImmediate(pump);
      });
    }
  };
  pump();
  try {
    for (let kill = 0; kill < KILLS; kill++) {
      const before = acknowledged;
      const until = Date.now() + 8_000;
      while (acknowledged < before + 20 && Date.now() < until)
        await new Promise((resolve) => setTimeout(resolve, 5));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 200));
      await gateway.kill('SIGKILL');
      gateway = await spawnGateway({ folder, settings: SETTINGS, ports });
    }
    publishing = false;
    const until = Date.now() + 15_000;
    while ((acknowledged < sent || seen.length < sent) && Date.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(acknowledged).toBe(sent);
    const counts = new Map<number, number>();
    for (const n of seen) counts.set(n, (counts.get(n) ?? 0) + 1);
    expect([...counts].filter(([, count]) => count > 1)).toEqual([]);
    expect(counts.size).toBe(sent);
  } finally {
    publishing = false;
    await Promise.all([subscriber.endAsync(true), publisher.endAsync(true)]);
    await gateway.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
