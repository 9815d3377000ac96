/** A gateway starts on ports of the system, serves a client, and stops in the order that clients can follow. */
import { existsSync } from 'node:fs';
import mqtt from 'mqtt';
import { expect, it } from 'vitest';
import { startTestGateway } from '../../support/gateway.ts';

it('serves a client over TCP and over WebSocket, and stops', async () => {
  const gateway = await startTestGateway();
  const received: string[] = [];
  const subscriber = await mqtt.connectAsync(`ws://127.0.0.1:${gateway.ports.mqttWebsocket}/mqtt`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  subscriber.on('message', (topic, body) => received.push(`${topic} ${body.toString()}`));
  const told = new Promise<number | undefined>((resolve) => {
    subscriber.on('disconnect', ({ reasonCode }) => resolve(reasonCode));
  });
  await subscriber.subscribeAsync('a/#', { qos: 1 });
  const publisher = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, { reconnectPeriod: 0 });
  await publisher.publishAsync('a/b', 'c', { qos: 1 });
  await expect.poll(() => received).toEqual(['a/b c']);

  expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
  await gateway.stop();
  // 0x8b: server shutting down
  expect(await told).toBe(0x8b);
  expect(existsSync(gateway.folder)).toBe(false);
  publisher.end(true);
  subscriber.end(true);
});
