/**
 * Committed offsets: OffsetCommit, answered when they are on the disk, and OffsetFetch. They are kept by the core
 * under group, stream and partition, and outlive the group's members and this process.
 */

import { CoreError, type Cursor } from '../../../src/core/index.ts';
import type { Call } from '../call.ts';
import { offsetCommitApi, offsetFetchApi } from '../codec/group-apis.ts';
import { codeFromCoreError, ERRORS, NONE } from '../errors.ts';
import { codeWhenStored, defineEndpoint, groupRefusal } from './endpoint.ts';

const IDS_FROM = 10;
const BATCHED_FROM = 8;

// --------------------------------------------------------------------------------------------- OffsetCommit

interface CommittedPartition {
  readonly partitionIndex: number;
  errorCode: number;
}

export const offsetCommit = defineEndpoint(offsetCommitApi, async (request, call) => {
  const { groups } = call.services;
  const refusal =
    groupRefusal(call, 'read', request.groupId) ||
    groups.checkCommit(request.groupId, request, request.generationIdOrMemberEpoch);
  let committed = false;
  const topics = request.topics.map(({ name, topicId, partitions }) => {
    const answers = partitions.map((partition): CommittedPartition => {
      const errorCode =
        refusal === NONE ? commitOne(call, request.groupId, { name, topicId }, partition) : refusal;
      committed ||= errorCode === NONE;
      return { partitionIndex: partition.partitionIndex, errorCode };
    });
    return { name, topicId, partitions: answers };
  });
  if (!committed) return { topics };
  const stored = await codeWhenStored(call);
  for (const { partitions } of topics) {
    for (const answer of partitions) if (answer.errorCode === NONE) answer.errorCode = stored;
  }
  return { topics };
});

function commitOne(
  call: Call,
  groupId: string,
  topic: { readonly name: string; readonly topicId: string },
  partition: {
    readonly partitionIndex: number;
    readonly committedOffset: number;
    readonly committedLeaderEpoch: number;
    readonly committedMetadata: string | null;
  },
): number {
  const { topics, settings, core, clock } = call.services;
  const byId = call.version >= IDS_FROM;
  const stream = byId ? topics.byId(topic.topicId) : topics.get(topic.name);
  if (stream === undefined) return ERRORS[byId ? 'UNKNOWN_TOPIC_ID' : 'UNKNOWN_TOPIC_OR_PARTITION'].code;
  if (!topics.may(call.client.principal, 'read', stream)) return ERRORS.TOPIC_AUTHORIZATION_FAILED.code;
  if (stream.partitions[partition.partitionIndex] === undefined)
    return ERRORS.UNKNOWN_TOPIC_OR_PARTITION.code;
  // No partition gets as far as where numbers lose their last digits.
  if (!Number.isSafeInteger(partition.committedOffset)) return ERRORS.OFFSET_OUT_OF_RANGE.code;
  const metadata = partition.committedMetadata ?? '';
  if (Buffer.byteLength(metadata) > settings.offsetMetadataBytesMax)
    return ERRORS.OFFSET_METADATA_TOO_LARGE.code;
  try {
    core.cursors.commit(groupId, stream.spec.name, partition.partitionIndex, {
      offset: partition.committedOffset,
      leaderEpoch: partition.committedLeaderEpoch,
      metadata,
      committedAtMs: clock.nowMs(),
    });
    return NONE;
  } catch (error) {
    if (error instanceof CoreError) return codeFromCoreError(error);
    throw error;
  }
}

// ---------------------------------------------------------------------------------------------- OffsetFetch

interface AskedTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitionIndexes: readonly number[];
}

export const offsetFetch = defineEndpoint(offsetFetchApi, (request, call) => {
  if (call.version >= BATCHED_FROM) {
    return {
      groups: request.groups.map(({ groupId, topics }) => {
        const errorCode = groupRefusal(call, 'read', groupId);
        if (errorCode !== NONE) return { groupId, topics: [], errorCode };
        return {
          groupId,
          topics: topics === null ? committedOf(call, groupId) : fetchedOf(call, groupId, topics),
          errorCode,
        };
      }),
    };
  }
  const { groupId, topics } = request;
  const refusal = groupRefusal(call, 'read', groupId);
  if (refusal !== NONE) return { topics: refusedOf(topics ?? [], refusal), errorCode: refusal };
  const asked = topics?.map((topic) => ({ ...topic, topicId: '' })) ?? null;
  return {
    topics: asked === null ? committedOf(call, groupId) : fetchedOf(call, groupId, asked),
    errorCode: NONE,
  };
});

/** Before version 2 an error stands only with the partitions. */
function refusedOf(
  topics: readonly { readonly name: string; readonly partitionIndexes: readonly number[] }[],
  errorCode: number,
) {
  return topics.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partition) => told(partition, undefined, errorCode)),
  }));
}

/** Everything that the group has committed. */
function committedOf(call: Call, groupId: string) {
  const { core, topics } = call.services;
  const byName = new Map<string, ReturnType<typeof told>[]>();
  for (const [name, partition, cursor] of core.cursors.list(groupId)) {
    const stream = topics.get(name);
    if (stream === undefined || !topics.may(call.client.principal, 'read', stream)) continue;
    const partitions = byName.get(name) ?? [];
    partitions.push(told(partition, cursor, NONE));
    byName.set(name, partitions);
  }
  return [...byName].map(([name, partitions]) => {
    const stream = topics.get(name);
    return { name, topicId: stream === undefined ? '' : topics.factsOf(stream).id, partitions };
  });
}

/** What was asked for, with -1 where nothing was committed. */
function fetchedOf(call: Call, groupId: string, asked: readonly AskedTopic[]) {
  const { core, topics } = call.services;
  const byId = call.version >= IDS_FROM;
  return asked.map(({ name: askedName, topicId, partitionIndexes }) => {
    const stream = byId ? topics.byId(topicId) : topics.get(askedName);
    const name = stream?.spec.name ?? askedName;
    let errorCode: number = NONE;
    if (byId && stream === undefined) errorCode = ERRORS.UNKNOWN_TOPIC_ID.code;
    else if (!topics.mayByName(call.client.principal, 'read', name)) {
      errorCode = ERRORS.TOPIC_AUTHORIZATION_FAILED.code;
    }
    return {
      name,
      topicId,
      partitions: partitionIndexes.map((partition) =>
        told(
          partition,
          errorCode === NONE ? core.cursors.get(groupId, name, partition) : undefined,
          errorCode,
        ),
      ),
    };
  });
}

function told(partitionIndex: number, cursor: Cursor | undefined, errorCode: number) {
  return {
    partitionIndex,
    committedOffset: cursor?.offset ?? -1,
    committedLeaderEpoch: cursor?.leaderEpoch ?? -1,
    metadata: cursor?.metadata ?? '',
    errorCode,
  };
}
