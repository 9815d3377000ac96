/**
 * An offset that belongs to no transaction any more but was never settled: brokers that were killed under load have been seen
 * to keep one. Whoever asks for stable offsets is then told for ever to ask again.
 */
import { Connection, initProducerIdV4, txnOffsetCommitV3 } from '@platformatic/kafka';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownName } from '../../../adapters/bridge-kafka/names.ts';
import { describeMissing } from '../../peers/programs.ts';
import { KafkaBroker } from './kafka-broker.ts';
import { batchOf, GATEWAY_ID, message, openLink, until } from './kafka-links.ts';
import { readAll } from './kafka-records.ts';

const missing = describeMissing('kafka', 'java', 'kcat');

describe.skipIf(missing !== null)(
  `an offset that no transaction settles${missing === null ? '' : `: ${missing}`}`,
  () => {
    let broker: KafkaBroker;
    beforeAll(async () => {
      // Otherwise the broker refuses what the test does to make one.
      broker = await KafkaBroker.start(['transaction.partition.verification.enable=false']);
      await broker.createTopic('once');
    });
    afterAll(() => broker?.stop());

    const open = () => openLink({ brokers: [broker.address], delivery: 'exactly-once' });

    /** By the name of the bridge, which is fenced with the next link. */
    async function leavePending(offset: number): Promise<void> {
      const name = ownName(GATEWAY_ID, 'test', 'out');
      const connection = new Connection('left-behind');
      await connection.connect('127.0.0.1', broker.port);
      let producer = { producerId: -1n, producerEpoch: -1 };
      // The end of the transaction before may take a moment.
      await until('a producer id', async () => {
        producer = await initProducerIdV4.api.async(connection, name, 60_000, -1n, -1).catch(() => producer);
        return producer.producerId >= 0n;
      });
      const partition = { partitionIndex: 0, committedOffset: BigInt(offset), committedLeaderEpoch: -1 };
      const topics = [{ name: 'once', partitions: [{ ...partition, committedMetadata: '' }] }];
      await txnOffsetCommitV3.api.async(
        connection,
        name,
        name,
        producer.producerId,
        producer.producerEpoch,
        -1,
        '',
        null,
        topics,
      );
      await connection.close();
    }

    it('is given up, and what was sent before stays known', { timeout: 60_000 }, async () => {
      const first = await open();
      expect(await first.link.send(batchOf([message('once', 'a')]))).toEqual([null]);
      await first.link.close();
      await leavePending(7);
      const second = await open();
      expect(second.link.sentOffset).toBe(0);
      expect(await second.link.send(batchOf([message('once', 'a'), message('once', 'b')]))).toEqual([
        null,
        null,
      ]);
      await second.link.close();
      expect((await readAll(broker.address, 'once')).map(({ payload }) => payload)).toEqual(['a', 'b']);
      const third = await open();
      expect(third.link.sentOffset).toBe(1);
      await third.link.close();
    });
  },
);
