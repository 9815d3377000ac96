/**
 * Kills the gateway with SIGKILL at random moments under MQTT clients that publish and receive at quality of service 2
 * with sessions of their own, and counts: every message arrives once, in the order of its publisher. The variables of
 * `kill-under-load.test.ts` apply.
 */
import { expect, it, onTestFinished } from 'vitest';
import { startGateway } from '../interop/gateway.ts';
import { Qos2Publisher, Qos2Subscriber } from './qos2-client.ts';
import { KILLS, makeRandom, SEED } from './seed.ts';
import { pause } from './traffic.ts';

const TOPIC = 'crash/qos2';
const NAMES = ['a', 'b', 'c'];
/** Of each publisher; below the receive maximum that the gateway gives. */
const WINDOW = 30;
const LOAD_MS = [40, 600] as const;
const DRAIN_MS_MAX = 30_000;

it(`delivers exactly once when killed ${KILLS} times under QoS 2 (seed ${SEED})`, {
  timeout: (60 + KILLS * 10) * 1000,
}, async () => {
  const random = makeRandom(SEED);
  const gateway = await startGateway({ direct: true });
  onTestFinished(() => gateway.stop());
  const subscriber = new Qos2Subscriber();
  const publishers = NAMES.map((name) => new Qos2Publisher(name, TOPIC));
  const ends = [subscriber, ...publishers];
  await Promise.all(ends.map((end) => end.open(gateway.ports.mqtt, false)));
  await subscriber.subscribe(TOPIC);

  for (let kill = 0; kill < KILLS; kill++) {
    const until = performance.now() + LOAD_MS[0] + random() * (LOAD_MS[1] - LOAD_MS[0]);
    while (performance.now() < until) {
      for (const publisher of publishers) {
        while (publisher.unfinishedCount < WINDOW) publisher.publish();
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await gateway.kill();
    for (const end of ends) end.close();
    await gateway.start();
    await Promise.all(ends.map((end) => end.open(gateway.ports.mqtt, true)));
  }

  const sent = publishers.reduce((sum, publisher) => sum + publisher.sent, 0);
  const deadline = performance.now() + DRAIN_MS_MAX;
  const isDone = (): boolean =>
    subscriber.received.length >= sent && publishers.every((each) => each.unfinishedCount === 0);
  while (!isDone() && performance.now() < deadline) await pause(20);
  // What comes twice comes late.
  await pause(300);
  process.stdout.write(`crash: ${sent} QoS 2 messages over ${KILLS} kills\n`);
  for (const end of ends) {
    expect(end.complaints).toEqual([]);
    end.close();
  }
  for (const [index, name] of NAMES.entries()) {
    const numbers = subscriber.received
      .filter((body) => body.startsWith(`${name} `))
      .map((body) => Number(body.slice(2)));
    expect(numbers).toEqual(Array.from({ length: publishers[index]!.sent }, (_, number) => number));
  }
});
