/** QoS 2 and resumed sessions with mqtt.js, over TCP and WebSocket, and with paho. */
import { connect, connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { type Gateway, startGateway } from './gateway.ts';
import { describeWith, pause, python, run, waitFor } from './programs.ts';

describeWith(['python'], 'paho', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  for (const version of ['311', '5']) {
    it(`version ${version}: QoS 2 both ways and a resumed session`, async () => {
      expect(await run(python('paho-session.py', gateway.ports.mqtt, version))).toEqual(['ok']);
    });
  }
});

describeWith([], 'mqtt.js', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(() => gateway.stop());

  const urls = {
    TCP: (): string => `mqtt://127.0.0.1:${gateway.ports.mqtt}`,
    WebSocket: (): string => `ws://127.0.0.1:${gateway.ports.webSocket}/mqtt`,
  };

  async function open(url: string, options: IClientOptions): Promise<MqttClient> {
    const client = await connectAsync(url, { reconnectPeriod: 0, ...options });
    onTestFinished(() => client.endAsync(true));
    return client;
  }

  for (const [transport, url] of Object.entries(urls)) {
    for (const protocolVersion of [4, 5] as const) {
      it(`version ${protocolVersion} over ${transport}: QoS 2 once each, and a session resumed after a restart`, async () => {
        const topic = `mqttjs/${transport}/${protocolVersion}`;
        const session: IClientOptions = {
          protocolVersion,
          clientId: `sub-${transport}-${protocolVersion}`,
          clean: false,
          ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
        };
        const received: string[] = [];
        const listen = (client: MqttClient): void => {
          client.on('message', (_topic, payload) => received.push(payload.toString()));
        };
        const subscriber = await open(url(), session);
        listen(subscriber);
        await subscriber.subscribeAsync(topic, { qos: 2 });
        const publisher = await open(url(), { protocolVersion });
        for (let number = 0; number < 50; number++)
          await publisher.publishAsync(topic, String(number), { qos: 2 });
        await waitFor('the live messages', () => received.length >= 50);
        await subscriber.endAsync();
        for (let number = 50; number < 100; number++) {
          await publisher.publishAsync(topic, String(number), { qos: 2 });
        }
        await publisher.endAsync();
        await gateway.restart();

        const resumed = connect(url(), { ...session, reconnectPeriod: 0 });
        listen(resumed); // before it is connected, or the first of what was kept would be missed
        onTestFinished(() => resumed.endAsync(true));
        await waitFor('the kept messages', () => received.length >= 100);
        await pause(200);
        expect(received).toEqual(Array.from({ length: 100 }, (_, number) => String(number)));
      });
    }
  }

  it('MQTT 5 properties pass unchanged, repeated user properties in order', async () => {
    const subscriber = await open(urls.TCP(), { protocolVersion: 5 });
    await subscriber.subscribeAsync('faithful/#', { qos: 1 });
    const packets: { readonly properties: unknown; readonly payload: string }[] = [];
    subscriber.on('message', (_topic, payload, packet) =>
      packets.push({ properties: packet.properties, payload: payload.toString() }),
    );
    const publisher = await open(urls.TCP(), { protocolVersion: 5 });
    const properties = {
      payloadFormatIndicator: true,
      contentType: 'text/plain',
      responseTopic: 'replies/x',
      correlationData: Buffer.from([0, 1, 255]),
      userProperties: { a: ['1', '2'], b: '3' },
    };
    await publisher.publishAsync('faithful/x', 'body', { qos: 1, properties });
    await waitFor('the message', () => packets.length > 0);
    expect(packets[0]?.payload).toBe('body');
    const seen = JSON.parse(JSON.stringify(packets[0]?.properties));
    expect(seen).toEqual(JSON.parse(JSON.stringify(properties)));
  });
});
