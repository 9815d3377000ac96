/** What a bridge to Kafka promises, while the outside broker or the process that sends is killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeMissing } from '../../peers/programs.ts';
import { KafkaBroker } from './kafka-broker.ts';
import { batchOf, Collector, message, type OpenLink, openLink, until } from './kafka-links.ts';
import { type FoundRecord, readAll } from './kafka-records.ts';

const missing = describeMissing('kafka', 'java', 'kcat');
const SENDER = join(import.meta.dirname, 'kafka-sender.ts');
const MS_MAX = 240_000;

describe.skipIf(missing !== null)(
  `a bridge to Kafka, killed${missing === null ? '' : `: ${missing}`}`,
  () => {
    let broker: KafkaBroker;
    beforeAll(async () => {
      broker = await KafkaBroker.start();
    });
    afterAll(() => broker?.stop());

    /** Numbers of each key, in the order of their partition. */
    function numbersByKey(records: readonly FoundRecord[]): Map<string, number[]> {
      const byKey = new Map<string, number[]>();
      for (const { key, payload } of records) {
        const numbers = byKey.get(`${key}`) ?? [];
        numbers.push(Number(payload));
        byKey.set(`${key}`, numbers);
      }
      return byKey;
    }

    it('at least once: loses none of 50,000 when the broker is killed, and keeps the order of each key', {
      timeout: MS_MAX,
    }, async () => {
      const [count, size] = [50_000, 500];
      await broker.createTopic('many', 6);
      let open: OpenLink | null = null;
      let links = 0;
      let back: Promise<void> | null = null;
      for (let next = 0; next < count; ) {
        if (next >= 20_000 && back === null) {
          // While a batch is under way.
          back = broker.kill().then(() => broker.start());
        }
        try {
          open ??= await openLink({ brokers: [broker.address] }).finally(() => links++);
          const batch = Array.from({ length: size }, (_, index) =>
            message('many', String(next + index), { key: Buffer.from(`key-${(next + index) % 50}`) }),
          );
          const answers = await open.link.send(batchOf(batch, next));
          expect(answers.every((answer) => answer === null)).toBe(true);
          next += size;
        } catch (error) {
          if (open === null) await new Promise((resolve) => setTimeout(resolve, 100));
          open = null;
          if (links > 1_000) throw error;
        }
      }
      await back;
      await open?.link.close();
      const byKey = numbersByKey(await readAll(broker.address, 'many'));
      const all = new Set([...byKey.values()].flat());
      expect(all.size).toBe(count);
      for (const numbers of byKey.values()) {
        // What is there twice may come again later; the first of each is in order.
        const firsts = [...new Set(numbers)];
        expect(firsts).toEqual([...firsts].sort((a, b) => a - b));
      }
    });

    it('exactly once: none lost and none twice over five kills of the sender and two of the broker', {
      timeout: MS_MAX,
    }, async () => {
      const count = 30_000;
      await broker.createTopic('once', 6);
      let sent = 0;
      let errors = '';
      const startSender = (): ChildProcess => {
        const child = spawn(process.execPath, [SENDER, broker.address, 'once', String(count)], {
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        child.stdout?.on('data', (chunk: Buffer) => {
          sent = Math.max(sent, ...chunk.toString().trim().split('\n').map(Number));
        });
        child.stderr?.on('data', (chunk: Buffer) => {
          errors = (errors + chunk).slice(-2_000);
        });
        return child;
      };
      let sender = startSender();
      const ended = (child: ChildProcess): Promise<unknown> =>
        child.exitCode !== null ? Promise.resolve() : new Promise((resolve) => child.once('exit', resolve));
      try {
        for (let kill = 1; kill <= 5; kill++) {
          const goal = kill * 4_000;
          await until(`${goal} are sent: ${errors}`, () => sent >= goal);
          if (kill === 2 || kill === 4) await broker.kill();
          sender.kill('SIGKILL');
          await ended(sender);
          sender = startSender();
          if (kill === 2 || kill === 4) await broker.start();
        }
        await ended(sender);
        expect(sender.exitCode, errors).toBe(0);
      } finally {
        sender.kill('SIGKILL');
      }
      const byKey = numbersByKey(await readAll(broker.address, 'once'));
      const all = [...byKey.values()].flat();
      expect(all.length).toBe(count);
      expect(new Set(all).size).toBe(count);
      for (const numbers of byKey.values()) expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    });

    it('in: loses none when the broker is killed while it reads', { timeout: MS_MAX }, async () => {
      const count = 20_000;
      await broker.createTopic('read', 3);
      const out = await openLink({ brokers: [broker.address] });
      for (let next = 0; next < count; next += 1_000) {
        const batch = Array.from({ length: 1_000 }, (_, index) =>
          message('read', String(next + index), { key: Buffer.from(`${(next + index) % 20}`) }),
        );
        await out.link.send(batchOf(batch, next));
      }
      await out.link.close();
      const collector = new Collector();
      let back: Promise<void> | null = null;
      let links = 0;
      const deadline = Date.now() + 120_000;
      while (new Set(collector.bodies()).size < count) {
        if (Date.now() > deadline)
          throw new Error(`only ${collector.messages.length} came over ${links} links`);
        try {
          const options = { from: 'earliest', fetchBytesMax: 16_384 };
          const { link, lost } = await openLink({
            brokers: [broker.address],
            direction: 'in',
            name: 'reader',
            options,
          });
          links++;
          await link.receive(['read'], collector);
          await until('the end, or a kill', () => {
            if (collector.messages.length > 5_000 && back === null)
              back = broker.kill().then(() => broker.start());
            return lost() !== null || new Set(collector.bodies()).size >= count;
          });
          await link.close();
        } catch {
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
      await back;
      expect(links).toBeGreaterThan(1);
    });
  },
);
