/**
 * A full disk: publishers of each protocol are refused with its own code, readers go on being served, the process
 * lives, and everything works again once there is room. The data folder is a small file system in memory that a foreign
 * file fills up. Mounting it needs root; without that the test is skipped and says so.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startGateway } from '../interop/gateway.ts';
import { openAmqp, openMqtt, pause, readStream } from './traffic.ts';

/** An error of one of the three clients: MQTT has a reason code, Kafka the name of its error. */
type Refusal = Error & { readonly code?: number; readonly type?: string };

const SIZE_MEBIBYTES = 96;
const REFUSALS_MAX = 5000;

function mountSmallDisk(): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'rosettamq-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE_MEBIBYTES}m`, 'tmpfs', folder], {
      stdio: 'ignore',
    });
    return folder;
  } catch {
    rmSync(folder, { recursive: true });
    return null;
  }
}

function unmount(folder: string): void {
  execFileSync('umount', ['-l', folder]);
  rmSync(folder, { recursive: true, force: true });
}

/** Writes until the disk takes nothing more. */
function fillDisk(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (const bytes of [1 << 20, 4096, 1]) {
      const block = Buffer.alloc(bytes, 1);
      try {
        while (writeSync(file, block) === bytes);
      } catch {
        // No space for a block of this size: go on with a smaller one.
      }
    }
  } finally {
    closeSync(file);
  }
}

const disk = mountSmallDisk();
if (disk === null) process.stdout.write('SKIPPED: a full disk: mounting a small file system needs root\n');

describe.skipIf(disk === null)('a full disk', () => {
  it('refuses publishers with their codes, serves readers, and works again after room is made', {
    timeout: 60_000,
  }, async () => {
    const folder = disk!;
    onTestFinished(() => unmount(folder));
    const gateway = await startGateway({ folder: join(folder, 'data') });
    onTestFinished(() => gateway.stop());
    const { ports } = gateway;
    const body = Buffer.alloc(2000, 'x');

    const amqp = await openAmqp(ports.amqp);
    const channel = await amqp.createConfirmChannel();
    await channel.assertQueue('full', { durable: true });
    const subscriber = await openMqtt(ports.mqtt, 'full-session', false);
    await subscriber.subscribeAsync('full/mqtt', { qos: 1 });
    await subscriber.endAsync();
    const publisher = await openMqtt(ports.mqtt, 'full-publisher', true);
    const kafka = new Kafka({
      brokers: [`127.0.0.1:${ports.kafka}`],
      logLevel: logLevel.NOTHING,
      retry: { retries: 0 },
    });
    const producer = kafka.producer();
    await producer.connect();
    onTestFinished(async () => {
      await Promise.allSettled([publisher.endAsync(true), amqp.close(), producer.disconnect()]);
    });

    const publishMqtt = (): Promise<unknown> => publisher.publishAsync('full/mqtt', body, { qos: 1 });
    const publishAmqp = (): Promise<void> =>
      new Promise((resolve, reject) => {
        channel.sendToQueue('full', body, { persistent: true }, (error) =>
          error ? reject(new Error('nack')) : resolve(),
        );
      });
    const publishKafka = (): Promise<unknown> =>
      producer.send({ topic: 'full.kafka', acks: -1, messages: [{ value: body }] });

    // With room everything is taken.
    for (const publish of [publishMqtt, publishAmqp, publishKafka]) await publish();

    fillDisk(join(folder, 'filler'));
    /** Free pages inside files may take a few more; then it must say no, and go on saying no. */
    const publishUntilRefused = async (publish: () => Promise<unknown>): Promise<Refusal> => {
      for (let attempt = 0; attempt < REFUSALS_MAX; attempt++) {
        try {
          await publish();
        } catch (error) {
          // The Kafka client wraps the answer when it may not try again.
          return ((error as Error).cause ?? error) as Refusal;
        }
      }
      throw new Error(`${REFUSALS_MAX} messages were taken by a full disk`);
    };
    const kafkaError = await publishUntilRefused(publishKafka);
    expect(kafkaError.type, String(kafkaError)).toBe('KAFKA_STORAGE_ERROR');
    const mqttError = await publishUntilRefused(publishMqtt);
    expect(mqttError.code, String(mqttError)).toBe(0x97);
    expect((await publishUntilRefused(publishAmqp)).message).toBe('nack');

    // Whoever balances load sees it.
    const readyz = `http://127.0.0.1:${ports.http}/readyz`;
    const refusing = await fetch(readyz);
    expect(refusing.status).toBe(503);
    expect(await refusing.json()).toMatchObject({ failing: ['storage'] });

    // Readers of all three protocols still get what is there.
    const stored = await readStream(ports.kafka, 'full.kafka');
    expect(stored.length).toBeGreaterThan(0);
    const message = await channel.get('full', { noAck: true });
    expect(message ? message.content.length : null).toBe(body.length);
    const live = await openMqtt(ports.mqtt, 'live', true);
    onTestFinished(() => live.endAsync(true));
    const seen: string[] = [];
    live.on('message', (_topic, payload) => seen.push(payload.toString()));
    await live.subscribeAsync('live/#', { qos: 0 });
    await publisher.publishAsync('live/x', 'not stored anywhere', { qos: 0 });
    for (let wait = 0; seen.length === 0 && wait < 100; wait++) await pause(20);
    expect(seen).toEqual(['not stored anywhere']);

    unlinkSync(join(folder, 'filler'));
    const deadline = Date.now() + 15_000;
    for (const publish of [publishMqtt, publishAmqp, publishKafka]) {
      for (;;) {
        const error = await publish().then(
          () => null,
          (reason: Error) => reason,
        );
        if (error === null) break;
        if (Date.now() > deadline) throw error;
        await pause(100);
      }
    }
    expect((await fetch(readyz)).status).toBe(200);
    await gateway.restart();
    expect((await readStream(ports.kafka, 'full.kafka')).length).toBeGreaterThan(stored.length);
  });
});
