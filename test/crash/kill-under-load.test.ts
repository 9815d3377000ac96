/**
 * Kills the gateway with SIGKILL at random moments while publishers on all three protocols write to a persistent MQTT
 * session, a durable AMQP queue and Kafka streams at once, starts it again, and at the end compares every acknowledged
 * message with what came back from each of them. `ROSETTAMQ_CRASH_KILLS` says how often, `ROSETTAMQ_CRASH_SEED` repeats
 * the moments of a run; the seed is printed.
 */
import { expect, it, onTestFinished } from 'vitest';
import { startGateway } from '../interop/gateway.ts';
import { KILLS, makeRandom, SEED } from './seed.ts';
import {
  Ledger,
  type Ledgers,
  PUBLISHERS,
  pause,
  prepareDestinations,
  publishKafka,
  readQueue,
  readSession,
  readStream,
  startPublishers,
  streamOf,
  waitForQuiet,
} from './traffic.ts';

/** The shortest and longest time that traffic runs before a kill. */
const LOAD_MS = [60, 1000] as const;
const DRAIN_SECONDS_MAX = 60;
/** More than all rounds publish: a session whose limit is reached drops its oldest messages, as it should. */
const SESSION_LIMITS = JSON.stringify({
  sessionQueueMessagesMax: 100_000_000,
  sessionQueueBytesMax: 2 ** 40,
});

it(`loses nothing that was acknowledged when killed ${KILLS} times under load (seed ${SEED})`, {
  timeout: (60 + KILLS * 10) * 1000,
}, async () => {
  process.stdout.write(`crash seed ${SEED}: ROSETTAMQ_CRASH_SEED=${SEED} repeats it\n`);
  const random = makeRandom(SEED);
  const gateway = await startGateway({ direct: true, env: { ROSETTAMQ_LIMITS: SESSION_LIMITS } });
  onTestFinished(() => gateway.stop());
  await prepareDestinations(gateway.ports);
  const ledgers: Ledgers = { mqtt: new Ledger(), amqp: new Ledger(), kafka: new Ledger() };
  const fromSession: string[] = [];
  const fromQueue: string[] = [];

  const producer = await publishKafka(gateway.ports.kafka, ledgers.kafka);
  for (let kill = 0; kill < KILLS; kill++) {
    const traffic = [await startPublishers(gateway.ports, ledgers)];
    // In every other round readers acknowledge while the gateway dies; in the others everything waits for them.
    if (kill % 2 === 1) {
      traffic.push(
        await readSession(gateway.ports.mqtt, fromSession),
        await readQueue(gateway.ports.amqp, fromQueue),
      );
    }
    await pause(LOAD_MS[0] + random() * (LOAD_MS[1] - LOAD_MS[0]));
    await gateway.kill();
    await Promise.all(traffic.map((one) => one.halt()));
    await gateway.start();
  }
  await producer.halt();

  const readers = [
    await readSession(gateway.ports.mqtt, fromSession),
    await readQueue(gateway.ports.amqp, fromQueue),
  ];
  await waitForQuiet(fromSession, DRAIN_SECONDS_MAX);
  await waitForQuiet(fromQueue, DRAIN_SECONDS_MAX);
  await Promise.all(readers.map((one) => one.halt()));

  const counts = PUBLISHERS.map((name) => `${name} ${ledgers[name].acknowledged.length}`).join(', ');
  process.stdout.write(`crash: acknowledged over ${KILLS} kills: ${counts}\n`);
  for (const publisher of PUBLISHERS) {
    const fromStream = await readStream(gateway.ports.kafka, streamOf(publisher));
    const { acknowledged } = ledgers[publisher];
    expect(acknowledged.length, `${publisher} got nothing acknowledged`).toBeGreaterThan(0);
    const places = { session: fromSession, queue: fromQueue, stream: fromStream };
    for (const [place, received] of Object.entries(places)) {
      const seen = new Set(received);
      const lost = acknowledged.filter((number) => !seen.has(`${publisher} ${number}`));
      expect({ publisher, place, lost: lost.length, first: lost.slice(0, 5) }).toEqual({
        publisher,
        place,
        lost: 0,
        first: [],
      });
    }
    // Nothing is sent twice but by the idempotent producer, so a stream has each message once, in the order of sending.
    const numbers = fromStream.map((body) => Number(body.split(' ')[1]));
    const disorder = numbers.filter((number, index) => index > 0 && number <= numbers[index - 1]!);
    expect({ publisher, disorder }).toEqual({ publisher, disorder: [] });
  }
});
