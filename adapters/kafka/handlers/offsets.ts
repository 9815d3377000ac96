/**
 * Where records lie: ListOffsets, OffsetForLeaderEpoch, DeleteRecords; and InitProducerId, which numbers idempotent
 * producers. Transactions are not offered: a transactional id is refused with a reason that clients print.
 */

import { CoreError, type Partition } from '../../../src/core/index.ts';
import type { Call } from '../call.ts';
import {
  deleteRecordsApi,
  initProducerIdApi,
  listOffsetsApi,
  offsetForLeaderEpochApi,
} from '../codec/data-apis.ts';
import { codeFromCoreError, ERRORS, KafkaError, NONE } from '../errors.ts';
import { LEADER_EPOCH } from './discovery.ts';
import { defineEndpoint, untilStored } from './endpoint.ts';

/** Timestamps with a meaning of their own (KIP-734, KIP-405, KIP-1005). */
const LATEST = -1;
const EARLIEST = -2;
const GREATEST_TIMESTAMP = -3;
const EARLIEST_LOCAL = -4;
/** Records newer than the one with the greatest time found so far are looked for so often. */
const GREATEST_STEPS_MAX = 1_000;

function partitionOf(call: Call, topic: string, index: number, action: 'subscribe' | 'configure'): Partition {
  const { topics } = call.services;
  const stream = topics.get(topic);
  const partition = stream?.partitions[index];
  if (stream === undefined || partition === undefined) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION');
  if (!topics.may(call.client.principal, action, stream)) throw new KafkaError('TOPIC_AUTHORIZATION_FAILED');
  return partition;
}

/** The code of what a handler of one item threw; anything unexpected goes on. */
export function codeFromError(error: unknown): number {
  if (error instanceof KafkaError) return error.code;
  if (error instanceof CoreError) return codeFromCoreError(error);
  throw error;
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
        const partition = partitionOf(call, name, partitionIndex, 'subscribe');
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

/** Goes up from any record to one with a later time until there is none. */
async function findGreatest(partition: Partition): Promise<Found> {
  let greatest = NOT_FOUND;
  let low = 0;
  for (let step = 0; step < GREATEST_STEPS_MAX; step++) {
    const found = await partition.offsetAt(low);
    if (found === null) return greatest;
    greatest = { offset: found.offset, timestamp: found.timeMs };
    low = found.timeMs + 1;
    // Doubling the stride first finds the neighbourhood of the end in few steps.
    const far = await findFar(partition, found.timeMs);
    if (far !== null) {
      greatest = { offset: far.offset, timestamp: far.timeMs };
      low = far.timeMs + 1;
    }
  }
  return greatest;
}

async function findFar(
  partition: Partition,
  fromMs: number,
): Promise<{ readonly offset: number; readonly timeMs: number } | null> {
  let best = null;
  let from = fromMs;
  for (let stride = 1_000; stride < 2 ** 42; stride *= 2) {
    const found = await partition.offsetAt(from + stride);
    if (found === null) return best;
    best = found;
    from = found.timeMs;
  }
  return best;
}

export const offsetForLeaderEpoch = defineEndpoint(offsetForLeaderEpochApi, (request, call) => ({
  topics: request.topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(({ partition, leaderEpoch, currentLeaderEpoch }) => {
      try {
        const { endOffset } = partitionOf(call, topic, partition, 'subscribe');
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
  await untilStored(call);
  return { topics };
});

export const initProducerId = defineEndpoint(initProducerIdApi, (request, call) => {
  if (request.transactionalId !== null) {
    return { errorCode: ERRORS.UNSUPPORTED_VERSION.code, producerId: -1, producerEpoch: -1 };
  }
  // A producer that met an error it cannot mend asks for a new identity: a new id serves it as a new epoch would.
  return {
    errorCode: NONE,
    producerId: Number(call.services.core.streams.newProducerId()),
    producerEpoch: 0,
  };
});
