/** A bridge gives a batch up when nothing of it is answered for a time, so each broker's answer is told, not only the last. */

import { expect, it } from 'vitest';
import type { Broker, Cluster } from '../../../adapters/bridge-kafka/cluster.ts';
import { type Answers, Producer } from '../../../adapters/bridge-kafka/producer.ts';
import { recordFrom } from '../../../adapters/bridge-kafka/records.ts';
import { Message } from '../../../src/core/index.ts';

const stored = (index: number) => ({
  responses: [{ name: 't', partitionResponses: [{ index, errorCode: 0, recordErrors: [] }] }],
});

it('the answer of one broker is told while another takes its time', async () => {
  let told = 0;
  let answerLate = (_response: unknown): void => {};
  const cluster = {
    closed: false,
    nowMs: () => 0,
    topic: () => ({ leaders: [1, 2] }),
    brokerOf: (node: number) => Promise.resolve(node as unknown as Broker),
    request: (node: unknown) =>
      node === 1 ? Promise.resolve(stored(0)) : new Promise((resolve) => (answerLate = resolve)),
    answered: () => told++,
  } as unknown as Cluster;
  const producer = new Producer(cluster, {
    acks: -1,
    compression: 'none',
    deliveryTimeoutMs: 1_000,
    requestTimeoutMs: 1_000,
    identity: null,
    transactionalId: null,
    transactionTimeoutMs: 1_000,
    once: false,
  });
  const chunkOf = (partition: number) => {
    const message = new Message({ address: 't', body: Buffer.from('x') });
    const record = recordFrom(message, partition, 'spread');
    return { topic: 't', partition, records: record === null ? [] : [record] };
  };
  const answers: Answers = [undefined, undefined];
  const sending = producer.send([[chunkOf(0)], [chunkOf(1)]], answers);
  await expect.poll(() => told).toBe(1);
  expect(answers).toEqual([null, undefined]);
  answerLate(stored(1));
  await sending;
  expect([told, answers]).toEqual([2, [null, null]]);
});
