/**
 * Where records lie: ListOffsets, OffsetForLeaderEpoch, DeleteRecords; and InitProducerId, which numbers idempotent
 * producers. Transactions are not offered: a transactional id is refused with a reason that clients print.
 */

import type { Partition } from '../../../src/core/index.ts';
import type { Call } from '../call.ts';
import {
  deleteRecordsApi,
  initProducerIdApi,
  listOffsetsApi,
  offsetForLeaderEpochApi,
} from '../codec/data-apis.ts';
import { codeFromError, ERRORS, KafkaError, NONE } from '../errors.ts';
import { LEADER_EPOCH } from './discovery.ts';
import { codeWhenStored, defineEndpoint } from './endpoint.ts';

/** Timestamps with a meaning of their own (KIP-734, KIP-405, KIP-1005). */
const LATEST = -1;
const EARLIEST = -2;
const GREATEST_TIMESTAMP = -3;
const EARLIEST_LOCAL = -4;
/** Later than any record. */
const TIME_END = Number.MAX_SAFE_INTEGER;

function partitionOf(call: Call, topic: string, index: number, action: 'read' | 'configure'): Partition {
  const { topics } = call.services;
  const stream = topics.get(topic);
  const partition = stream?.partitions[index];
  if (stream === undefined || partition === undefined) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION');
  if (!topics.may(call.client.principal, action, stream)) throw new KafkaError('TOPIC_AUTHORIZATION_FAILED');
  return partition;
}

// ---------------------------------------------------------------------------------------------- ListOffsets

interface Found {
  readonly offset: number;
  readonly timestamp: number;
}

const NOT_FOUND: Found = { offset: -1, timestamp: -1 };

export const listOffsets = defineEndpoint(listOffsetsApi, async (request, call) => {
  const topics = [];
  for (const { name, partitions } of request.topics) {
    const answers = [];
    for (const { partitionIndex, timestamp, currentLeaderEpoch } of partitions) {
      try {
        const partition = partitionOf(call, name, partitionIndex, 'read');
        if (currentLeaderEpoch > LEADER_EPOCH) throw new KafkaError('UNKNOWN_LEADER_EPOCH');
        const found = await findOffset(partition, timestamp);
        answers.push({
          partitionIndex,
          errorCode: NONE,
          ...found,
          leaderEpoch: found.offset < 0 ? -1 : LEADER_EPOCH,
        });
      } catch (error) {
        answers.push({ partitionIndex, errorCode: codeFromError(error), ...NOT_FOUND, leaderEpoch: -1 });
      }
    }
    topics.push({ name, partitions: answers });
  }
  return { topics };
});

async function findOffset(partition: Partition, timestamp: number): Promise<Found> {
  if (timestamp === LATEST) return { offset: partition.endOffset, timestamp: -1 };
  if (timestamp === EARLIEST || timestamp === EARLIEST_LOCAL) {
    return { offset: partition.startOffset, timestamp: -1 };
  }
  if (timestamp === GREATEST_TIMESTAMP) return findGreatest(partition);
  // What is left below zero asks for tiers of storage that are not here.
  if (timestamp < 0) return NOT_FOUND;
  const found = await partition.offsetAt(timestamp);
  return found === null ? NOT_FOUND : { offset: found.offset, timestamp: found.timeMs };
}

/** Some record is as late as `greatest` and none as late as `none`: the two close in on each other. */
async function findGreatest(partition: Partition): Promise<Found> {
  let greatest = await partition.offsetAt(0);
  if (greatest === null) return NOT_FOUND;
  let none = TIME_END;
  while (none - greatest.timeMs > 1) {
    const middle: number = greatest.timeMs + Math.floor((none - greatest.timeMs) / 2);
    const found = await partition.offsetAt(middle);
    if (found === null) none = middle;
    else greatest = found;
  }
  return { offset: greatest.offset, timestamp: greatest.timeMs };
}

export const offsetForLeaderEpoch = defineEndpoint(offsetForLeaderEpochApi, (request, call) => ({
  topics: request.topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(({ partition, leaderEpoch, currentLeaderEpoch }) => {
      try {
        const { endOffset } = partitionOf(call, topic, partition, 'read');
        if (currentLeaderEpoch > LEADER_EPOCH) throw new KafkaError('UNKNOWN_LEADER_EPOCH');
        const known = leaderEpoch === LEADER_EPOCH;
        return {
          errorCode: NONE,
          partition,
          leaderEpoch: known ? LEADER_EPOCH : -1,
          endOffset: known ? endOffset : -1,
        };
      } catch (error) {
        return { errorCode: codeFromError(error), partition, leaderEpoch: -1, endOffset: -1 };
      }
    }),
  })),
}));

export const deleteRecords = defineEndpoint(deleteRecordsApi, async (request, call) => {
  const topics = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex, offset }) => {
      try {
        const partition = partitionOf(call, name, partitionIndex, 'configure');
        partition.truncateBefore(offset === LATEST ? partition.endOffset : offset);
        return { partitionIndex, lowWatermark: partition.startOffset, errorCode: NONE };
      } catch (error) {
        return { partitionIndex, lowWatermark: -1, errorCode: codeFromError(error) };
      }
    }),
  }));
  const stored = await codeWhenStored(call);
  for (const { partitions } of topics) {
    for (const answer of partitions) if (answer.errorCode === NONE) answer.errorCode = stored;
  }
  return { topics };
});

export const initProducerId = defineEndpoint(initProducerIdApi, (request, call) => {
  if (request.transactionalId !== null) {
    return { errorCode: ERRORS.UNSUPPORTED_VERSION.code, producerId: -1, producerEpoch: -1 };
  }
  // A producer that met an error it cannot mend asks for a new identity: a new id serves it as a new epoch would.
  try {
    const producerId = Number(call.services.core.streams.newProducerId());
    return { errorCode: NONE, producerId, producerEpoch: 0 };
  } catch (error) {
    return { errorCode: codeFromError(error), producerId: -1, producerEpoch: -1 };
  }
});
