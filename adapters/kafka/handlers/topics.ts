/**
 * Topics made, removed and grown by tools: CreateTopics, DeleteTopics and CreatePartitions. Each item is answered for
 * itself; what succeeds is on the disk before the answer.
 */

import type { Stream } from '../../../src/core/index.ts';
import type { Call } from '../call.ts';
import type { RequestOf } from '../codec/schema.ts';
import { createPartitionsApi, createTopicsApi, deleteTopicsApi } from '../codec/topic-apis.ts';
import { KafkaError, NONE, refusalFromError } from '../errors.ts';
import { topicSettingsFrom } from '../state/topic-settings.ts';
import { topicConfigs } from './configs.ts';
import { defineEndpoint } from './endpoint.ts';

const NO_ID = '0'.repeat(32);
const DEFAULT = -1;

// --------------------------------------------------------------------------------------------- CreateTopics

type WantedTopic = RequestOf<typeof createTopicsApi>['topics'][number];

export const createTopics = defineEndpoint(createTopicsApi, async (request, call) => {
  const counts = new Map<string, number>();
  for (const { name } of request.topics) counts.set(name, (counts.get(name) ?? 0) + 1);
  const topics = [];
  for (const wanted of request.topics) {
    const { name } = wanted;
    try {
      if ((counts.get(name) ?? 0) > 1) throw new KafkaError('INVALID_REQUEST', 'the topic is named twice');
      topics.push(await createOne(call, wanted, request.validateOnly));
    } catch (error) {
      topics.push({ name, topicId: NO_ID, configs: null, ...refusalFromError(error) });
    }
  }
  return { topics };
});

async function createOne(call: Call, wanted: WantedTopic, validateOnly: boolean) {
  const { name } = wanted;
  const { topics, settings } = call.services;
  if (!topics.mayByName(call.client.principal, 'configure', name))
    throw new KafkaError('TOPIC_AUTHORIZATION_FAILED');
  topics.checkNewName(name);
  if (topics.get(name) !== undefined)
    throw new KafkaError('TOPIC_ALREADY_EXISTS', `Topic '${name}' already exists.`);
  const partitions = partitionsOf(call, wanted);
  const given = Object.fromEntries(wanted.configs.map((config) => [config.name, config.value]));
  const checked = topicSettingsFrom(given, settings);
  const answer = {
    name,
    errorCode: NONE,
    errorMessage: null,
    numPartitions: partitions,
    replicationFactor: 1,
  };
  const configs = topicConfigs(checked, settings, null).map(
    ({ name: key, value, readOnly, configSource, isSensitive }) => ({
      name: key,
      value,
      readOnly,
      configSource,
      isSensitive,
    }),
  );
  if (validateOnly) return { ...answer, topicId: NO_ID, configs };
  const stream = await topics.create(name, partitions, checked);
  return { ...answer, topicId: topics.factsOf(stream).id, configs };
}

function partitionsOf(call: Call, wanted: WantedTopic): number {
  const { numPartitions, replicationFactor, assignments } = wanted;
  const { settings, core } = call.services;
  const partitionsMax = core.limits.partitionsPerStreamMax;
  if (assignments.length > 0) {
    checkAssignments(assignments, settings.nodeId);
    return assignments.length;
  }
  if (replicationFactor !== 1 && replicationFactor !== DEFAULT)
    throw new KafkaError('INVALID_REPLICATION_FACTOR');
  const partitions = numPartitions === DEFAULT ? settings.defaultPartitions : numPartitions;
  if (partitions < 1 || partitions > partitionsMax) {
    throw new KafkaError('INVALID_PARTITIONS', `A topic has 1 to ${partitionsMax} partitions.`);
  }
  return partitions;
}

function checkAssignments(assignments: WantedTopic['assignments'], nodeId: number): void {
  const indexes = new Set(assignments.map(({ partitionIndex }) => partitionIndex));
  const whole = indexes.size === assignments.length && assignments.every((_, index) => indexes.has(index));
  const here = assignments.every(({ brokerIds }) => brokerIds.length === 1 && brokerIds[0] === nodeId);
  if (!whole || !here) throw new KafkaError('INVALID_REPLICA_ASSIGNMENT');
}

// --------------------------------------------------------------------------------------------- DeleteTopics

const IDS_FROM = 6;

export const deleteTopics = defineEndpoint(deleteTopicsApi, async (request, call) => {
  const asked =
    call.version >= IDS_FROM ? request.topics : request.topicNames.map((name) => ({ name, topicId: NO_ID }));
  const responses = [];
  for (const { name, topicId } of asked) {
    try {
      const stream = await deleteOne(call, name, topicId);
      responses.push({
        name: stream.spec.name,
        topicId: call.services.topics.factsOf(stream).id,
        errorCode: NONE,
        errorMessage: null,
      });
    } catch (error) {
      responses.push({ name, topicId, ...refusalFromError(error) });
    }
  }
  return { responses };
});

async function deleteOne(call: Call, name: string | null, topicId: string): Promise<Stream> {
  const { topics, core } = call.services;
  const stream = name === null ? topics.byId(topicId) : topics.get(name);
  if (stream === undefined)
    throw new KafkaError(name === null ? 'UNKNOWN_TOPIC_ID' : 'UNKNOWN_TOPIC_OR_PARTITION');
  if (!topics.may(call.client.principal, 'configure', stream))
    throw new KafkaError('TOPIC_AUTHORIZATION_FAILED');
  await core.streams.delete(stream.spec.name);
  return stream;
}

// ----------------------------------------------------------------------------------------- CreatePartitions

export const createPartitions = defineEndpoint(createPartitionsApi, async (request, call) => {
  const results = [];
  for (const wanted of request.topics) {
    const { name } = wanted;
    try {
      await growOne(call, wanted, request.validateOnly);
      results.push({ name, errorCode: NONE, errorMessage: null });
    } catch (error) {
      results.push({ name, ...refusalFromError(error) });
    }
  }
  return { results };
});

async function growOne(
  call: Call,
  wanted: RequestOf<typeof createPartitionsApi>['topics'][number],
  validateOnly: boolean,
): Promise<void> {
  const { name, count, assignments } = wanted;
  const { topics, core, settings } = call.services;
  const stream = topics.get(name);
  if (stream === undefined) throw new KafkaError('UNKNOWN_TOPIC_OR_PARTITION');
  if (!topics.may(call.client.principal, 'configure', stream))
    throw new KafkaError('TOPIC_AUTHORIZATION_FAILED');
  const now = stream.partitions.length;
  if (count <= now) {
    throw new KafkaError('INVALID_PARTITIONS', `The topic has ${now} partitions; it can only get more.`);
  }
  if (count > core.limits.partitionsPerStreamMax) {
    throw new KafkaError(
      'INVALID_PARTITIONS',
      `A topic has at most ${core.limits.partitionsPerStreamMax} partitions.`,
    );
  }
  if (assignments !== null) {
    const here = assignments.every(
      ({ brokerIds }) => brokerIds.length === 1 && brokerIds[0] === settings.nodeId,
    );
    if (assignments.length !== count - now || !here) throw new KafkaError('INVALID_REPLICA_ASSIGNMENT');
  }
  if (!validateOnly) await core.streams.change(name, { partitions: count });
}
