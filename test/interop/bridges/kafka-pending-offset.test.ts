/**
 * An offset that belongs to no transaction any more but was never settled: brokers that were killed under load have been seen
 * to keep one. Whoever asks for stable offsets is then told for ever to ask again.
 */
import {
  addPartitionsToTxnV3,
  Connection,
  describeTransactionsV0,
  endTxnV3,
  initProducerIdV4,
  txnOffsetCommitV3,
} from '@platformatic/kafka';
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
      // With the first link the broker makes what it keeps transactions in.
      await (await open()).link.close();
    });
    afterAll(() => broker?.stop());

    const open = () => openLink({ brokers: [broker.address], delivery: 'exactly-once' });

    /**
     * By the name of the bridge, which is fenced with the next link. `isCommitted`: behind a transaction that has ended so; null:
     * behind none.
     */
    async function leavePending(offset: number, isCommitted: boolean | null): Promise<void> {
      const name = ownName(GATEWAY_ID, 'test', 'out');
      const connection = new Connection('left-behind');
      await connection.connect('127.0.0.1', broker.port);
      let producer = { producerId: -1n, producerEpoch: -1 };
      // The end of the transaction before may take a moment.
      await until('a producer id', async () => {
        producer = await initProducerIdV4.api.async(connection, name, 60_000, -1n, -1).catch(() => producer);
        return producer.producerId >= 0n;
      });
      const { producerId, producerEpoch } = producer;
      if (isCommitted !== null) {
        const transactions = [
          {
            transactionalId: name,
            producerId,
            producerEpoch,
            verifyOnly: false,
            topics: [{ name: 'once', partitions: [0] }],
          },
        ];
        await addPartitionsToTxnV3.api.async(connection, transactions);
        await endTxnV3.api.async(connection, name, producerId, producerEpoch, isCommitted);
        await until('the end of the transaction', async () => {
          const { transactionStates } = await describeTransactionsV0.api.async(connection, [name]);
          return transactionStates[0]?.transactionState.startsWith('Complete') === true;
        });
      }
      const partition = { partitionIndex: 0, committedOffset: BigInt(offset), committedLeaderEpoch: -1 };
      const topics = [{ name: 'once', partitions: [{ ...partition, committedMetadata: '' }] }];
      await txnOffsetCommitV3.api.async(
        connection,
        name,
        name,
        producerId,
        producerEpoch,
        -1,
        '',
        null,
        topics,
      );
      await connection.close();
    }

    it('counts where the transaction was committed, and not where it was taken back', {
      timeout: 60_000,
    }, async () => {
      await leavePending(3, true);
      const first = await open();
      expect(first.link.sentOffset).toBe(3);
      await first.link.close();
      await leavePending(9, false);
      const second = await open();
      expect(second.link.sentOffset).toBe(3);
      await second.link.close();
    });

    it('is given up where nobody knows, and what was sent before stays known', {
      timeout: 60_000,
    }, async () => {
      const first = await open();
      expect(await first.link.send(batchOf([message('once', 'a')], 4))).toEqual([null]);
      await first.link.close();
      await leavePending(70, null);
      const second = await open();
      expect(second.link.sentOffset).toBe(4);
      expect(await second.link.send(batchOf([message('once', 'a'), message('once', 'b')], 4))).toEqual([
        null,
        null,
      ]);
      await second.link.close();
      expect((await readAll(broker.address, 'once')).map(({ payload }) => payload)).toEqual(['a', 'b']);
      const third = await open();
      expect(third.link.sentOffset).toBe(5);
      await third.link.close();
    });
  },
);
