/**
 * Stops the gateway with SIGTERM at random moments while clients publish and consume, and starts it again: nothing that
 * was published is lost, and nothing comes twice. MQTT clients with persistent sessions find their way back by
 * themselves and send again what was not acknowledged; an AMQP publisher sends again what was not confirmed. So a
 * message comes twice where it was stored and its publisher never heard, or where it was consumed and the gateway
 * never heard. `ROSETTAMQ_CRASH_KILLS` says how often, `ROSETTAMQ_CRASH_SEED` repeats the moments of a run.
 */
import { once } from 'node:events';
import { connect, type MqttClient } from 'mqtt';
import { expect, it, onTestFinished } from 'vitest';
import { makeDataFolder, type SpawnedGateway, spawnGateway } from '../support/gateway.ts';
import { KILLS, makeRandom, SEED } from './seed.ts';
import { openAmqp, pause, waitForQuiet } from './traffic.ts';

/** The shortest and longest time that traffic runs before a stop. */
const LOAD_MS = [60, 700] as const;
const IN_FLIGHT_MAX = 100;
const QUIET_SECONDS_MAX = 60;
const RECONNECT_MS = 50;

/** What came, by its publisher: the numbers in the order in which they came. */
type Received = string[];

function countOf(bodies: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const body of bodies) counts.set(body, (counts.get(body) ?? 0) + 1);
  return counts;
}

function openSession(port: number, clientId: string, protocolVersion: 4 | 5): MqttClient {
  const client = connect(`mqtt://127.0.0.1:${port}`, {
    protocolVersion,
    clientId,
    clean: false,
    reconnectPeriod: RECONNECT_MS,
    connectTimeout: 2_000,
    ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 3_600 } } : {}),
  });
  client.on('error', () => {});
  return client;
}

/** Publishes for as long as it is told to, over restarts. `halt` resolves when all is acknowledged. */
function publishMqtt(client: MqttClient, name: string): { sent: string[]; halt(): Promise<void> } {
  const sent: string[] = [];
  let running = true;
  let inFlight = 0;
  let whenIdle = (): void => {};
  const send = (body: string): void => {
    client.publish(`load/${name}`, body, { qos: 1 }, (error) => {
      // The connection went before the client had sent it; once sent it is the client's to send again.
      if (error) {
        setImmediate(send, body);
        return;
      }
      inFlight--;
      if (inFlight === 0) whenIdle();
      if (inFlight < IN_FLIGHT_MAX / 2) setImmediate(pump);
    });
  };
  const pump = (): void => {
    while (running && inFlight < IN_FLIGHT_MAX) {
      const body = `${name} ${sent.length}`;
      sent.push(body);
      inFlight++;
      send(body);
    }
  };
  pump();
  return {
    sent,
    async halt() {
      running = false;
      if (inFlight > 0) await new Promise<void>((resolve) => (whenIdle = resolve));
    },
  };
}

/** Sends again, on its next connection, what was not confirmed on the last one. */
function publishAmqp(port: () => number): { sent: string[]; halt(): Promise<void> } {
  const sent: string[] = [];
  const unconfirmed = new Set<string>();
  let running = true;
  const runOnce = async (): Promise<void> => {
    const connection = await openAmqp(port());
    const closed = once(connection, 'close');
    const channel = await connection.createConfirmChannel();
    channel.on('error', () => {});
    let isOpen = true;
    void closed.then(() => {
      isOpen = false;
    });
    const send = (body: string): void => {
      channel.publish('load', 'amqp', Buffer.from(body), { persistent: true }, (error) => {
        if (!error) unconfirmed.delete(body);
      });
    };
    try {
      for (const body of [...unconfirmed]) send(body);
      while (isOpen && (running || unconfirmed.size > 0)) {
        while (running && unconfirmed.size < IN_FLIGHT_MAX) {
          const body = `amqp ${sent.length}`;
          sent.push(body);
          unconfirmed.add(body);
          send(body);
        }
        await pause(1);
      }
    } catch {
      // The channel ended while it was written to.
    }
    if (isOpen) await connection.close().catch(() => {});
    else await closed;
  };
  const loop = (async () => {
    while (running || unconfirmed.size > 0) {
      await runOnce().catch(() => {});
      await pause(RECONNECT_MS);
    }
  })();
  return {
    sent,
    async halt() {
      running = false;
      await loop;
    },
  };
}

/** Consumes and acknowledges each message as it comes, over restarts. */
function consumeAmqp(port: () => number, received: Received): { halt(): Promise<void> } {
  let running = true;
  let leave = (): void => {};
  const runOnce = async (): Promise<void> => {
    const connection = await openAmqp(port());
    const closed = once(connection, 'close');
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    await channel.prefetch(200);
    await channel.consume('load', (message) => {
      if (message === null) return;
      received.push(message.content.toString());
      try {
        channel.ack(message);
      } catch {
        // The connection has ended.
      }
    });
    leave = () => void connection.close().catch(() => {});
    if (!running) leave();
    await closed;
  };
  const loop = (async () => {
    while (running) {
      await runOnce().catch(() => {});
      await pause(RECONNECT_MS);
    }
  })();
  return {
    async halt() {
      running = false;
      leave();
      await loop;
    },
  };
}

it(`loses and doubles nothing when it is stopped ${KILLS} times under load (seed ${SEED})`, {
  timeout: (60 + KILLS * 20) * 1000,
}, async () => {
  process.stdout.write(`stop seed ${SEED}: ROSETTAMQ_CRASH_SEED=${SEED} repeats it\n`);
  const random = makeRandom(SEED);
  const folder = makeDataFolder();
  let gateway: SpawnedGateway = await spawnGateway({ folder });
  const { ports } = gateway;
  onTestFinished(async () => {
    await gateway.stop();
  });
  const setup = await openAmqp(ports.amqp);
  const channel = await setup.createChannel();
  await channel.assertQueue('load', { durable: true });
  await channel.bindQueue('load', 'amq.topic', 'load.#');
  await setup.close();

  const fromSessions: Received[] = [[], []];
  const subscribers = ([4, 5] as const).map((version, index) => {
    const client = openSession(ports.mqtt, `subscriber-${version}`, version);
    client.on('message', (_topic, payload) => fromSessions[index]!.push(payload.toString()));
    return client;
  });
  for (const subscriber of subscribers) await subscriber.subscribeAsync('load/#', { qos: 1 });
  const fromQueue: Received = [];
  const consumer = consumeAmqp(() => ports.amqp, fromQueue);
  const clients = ([4, 5] as const).map((version) =>
    openSession(ports.mqtt, `publisher-${version}`, version),
  );
  for (const client of clients)
    if (!client.connected) await new Promise<void>((resolve) => client.once('connect', () => resolve()));
  const publishers = [
    ...clients.map((client, index) => publishMqtt(client, `mqtt-${index}`)),
    publishAmqp(() => ports.amqp),
  ];

  const stopMs: number[] = [];
  for (let stop = 0; stop < KILLS; stop++) {
    await pause(LOAD_MS[0] + random() * (LOAD_MS[1] - LOAD_MS[0]));
    const begunAt = performance.now();
    expect(await gateway.kill('SIGTERM'), gateway.output()).toBe(0);
    stopMs.push(Math.round(performance.now() - begunAt));
    gateway = await spawnGateway({ folder, ports });
  }
  for (const publisher of publishers) await publisher.halt();
  for (const received of [...fromSessions, fromQueue]) await waitForQuiet(received, QUIET_SECONDS_MAX);
  await consumer.halt();
  for (const client of [...subscribers, ...clients]) await client.endAsync(true);

  const sent = publishers.flatMap((publisher) => publisher.sent);
  process.stdout.write(
    `stop: ${sent.length} messages over ${KILLS} stops, which took ${stopMs.join(', ')} ms\n`,
  );
  for (const [place, received] of Object.entries({
    session4: fromSessions[0]!,
    session5: fromSessions[1]!,
    queue: fromQueue,
  })) {
    const counts = countOf(received);
    const lost = sent.filter((body) => !counts.has(body));
    const doubled = [...counts].filter(([, count]) => count > 1).map(([body]) => body);
    expect({
      place,
      lost: lost.slice(0, 5),
      lostCount: lost.length,
      doubled: doubled.slice(0, 5),
      doubledCount: doubled.length,
    }).toEqual({
      place,
      lost: [],
      lostCount: 0,
      doubled: [],
      doubledCount: 0,
    });
  }
});
