/**
 * What brokers and topics there are: Metadata, DescribeCluster, DescribeTopicPartitions and
 * ListPartitionReassignments. There is one broker, at the address that the client dialled unless the settings name
 * another; it leads every partition. Metadata also makes topics that are named for the first time.
 */

import { isTopicName } from '../../../mappings/kafka.ts';
import { CoreError, type Stream } from '../../../src/core/index.ts';
import type { Call } from '../call.ts';
import { describeClusterApi, metadataApi } from '../codec/discovery-apis.ts';
import type { ResponseDraft } from '../codec/schema.ts';
import { describeTopicPartitionsApi, listPartitionReassignmentsApi } from '../codec/topic-apis.ts';
import { codeFromCoreError, ERRORS, KafkaError, NONE } from '../errors.ts';
import { TLS_LISTENER } from '../services.ts';
import { defineEndpoint } from './endpoint.ts';

/** There is one term of office: the broker has always led. */
export const LEADER_EPOCH = 0;
const NO_ID = '0'.repeat(32);
const OPERATIONS_NOT_ASKED = -2_147_483_648;
/** Read, write, create, delete, alter, describe, describe configs, alter configs: bits as in AclOperation. */
const TOPIC_OPERATIONS = 0b1101_1111_1000;
const CLUSTER_OPERATIONS = 0b1111_1010_0000;

export interface Endpoints {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}

export function brokerOf(call: Call): Endpoints {
  const { nodeId, advertised: plain, tls } = call.services.settings;
  const advertised = call.client.origin.listener === TLS_LISTENER ? tls.advertised : plain;
  if (advertised !== null) {
    const colon = advertised.lastIndexOf(':');
    return { nodeId, host: advertised.slice(0, colon), port: Number(advertised.slice(colon + 1)) };
  }
  return { nodeId, host: call.client.localAddress, port: call.client.localPort };
}

// ------------------------------------------------------------------------------------------------- Metadata

type MetadataResponse = ResponseDraft<typeof metadataApi>;
type MetadataTopic = NonNullable<MetadataResponse['topics']>[number];

export const metadata = defineEndpoint(metadataApi, async (request, call) => {
  const { settings, clusterId } = call.services;
  const asked = request.topics;
  // Version 0 asks for everything with an empty list, later ones with null.
  const all = asked === null || (call.version === 0 && asked.length === 0);
  // Version 4 brought the wish not to create (KIP-361).
  const asksToCreate = call.version < 4 || request.allowAutoTopicCreation;
  const create = settings.autoCreate && (asksToCreate || settings.autoCreateUnasked);
  const operations = request.includeTopicAuthorizedOperations;
  const topics: MetadataTopic[] = [];
  if (all) {
    for (const stream of call.services.topics.list()) {
      if (call.services.topics.maySee(call.client.principal, stream)) {
        topics.push(metadataOf(call, stream, operations));
      }
    }
  } else {
    for (const { name, topicId } of asked) {
      topics.push(
        name === null
          ? metadataById(call, topicId, operations)
          : await metadataByName(call, name, create, operations),
      );
    }
  }
  return {
    brokers: [brokerOf(call)].map((broker) => ({ ...broker, rack: null })),
    clusterId,
    controllerId: settings.nodeId,
    topics,
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
      ? CLUSTER_OPERATIONS
      : OPERATIONS_NOT_ASKED,
  };
});

function metadataById(call: Call, topicId: string, operations: boolean): MetadataTopic {
  const stream = call.services.topics.byId(topicId);
  if (stream === undefined || !call.services.topics.maySee(call.client.principal, stream)) {
    return { errorCode: ERRORS.UNKNOWN_TOPIC_ID.code, name: null, topicId };
  }
  return metadataOf(call, stream, operations);
}

async function metadataByName(
  call: Call,
  name: string,
  create: boolean,
  operations: boolean,
): Promise<MetadataTopic> {
  const { topics } = call.services;
  const refuse = (errorCode: number): MetadataTopic => ({ errorCode, name, topicId: NO_ID });
  const { principal } = call.client;
  const existing = topics.get(name);
  if (existing !== undefined) {
    return topics.maySee(principal, existing)
      ? metadataOf(call, existing, operations)
      : refuse(ERRORS.TOPIC_AUTHORIZATION_FAILED.code);
  }
  if (!isTopicName(name)) return refuse(ERRORS.INVALID_TOPIC_EXCEPTION.code);
  if (!create) return refuse(ERRORS.UNKNOWN_TOPIC_OR_PARTITION.code);
  try {
    return metadataOf(call, await topics.ensure(name, principal), operations);
  } catch (error) {
    if (error instanceof KafkaError) return refuse(error.code);
    if (error instanceof CoreError) return refuse(codeFromCoreError(error));
    throw error;
  }
}

function metadataOf(call: Call, stream: Stream, operations: boolean): MetadataTopic {
  const { nodeId } = call.services.settings;
  const facts = call.services.topics.factsOf(stream);
  return {
    errorCode: NONE,
    name: stream.spec.name,
    topicId: facts.id,
    isInternal: facts.internal,
    partitions: stream.partitions.map(({ index }) => partitionOf(nodeId, index)),
    topicAuthorizedOperations: operations ? TOPIC_OPERATIONS : OPERATIONS_NOT_ASKED,
  };
}

function partitionOf(nodeId: number, partitionIndex: number) {
  return {
    errorCode: NONE,
    partitionIndex,
    leaderId: nodeId,
    leaderEpoch: LEADER_EPOCH,
    replicaNodes: [nodeId],
    isrNodes: [nodeId],
    offlineReplicas: [],
  };
}

// ------------------------------------------------------------------------------------- cluster and partitions

export const describeCluster = defineEndpoint(describeClusterApi, (request, call) => {
  const { nodeId, host, port } = brokerOf(call);
  // Endpoints of brokers are 1; there are no controllers to talk to.
  if (request.endpointType !== 1) {
    return {
      errorCode: ERRORS.UNSUPPORTED_VERSION.code,
      errorMessage: 'clients reach brokers only',
      endpointType: request.endpointType,
      clusterId: call.services.clusterId,
    };
  }
  return {
    errorCode: NONE,
    errorMessage: null,
    endpointType: 1,
    clusterId: call.services.clusterId,
    controllerId: nodeId,
    brokers: [{ brokerId: nodeId, host, port, rack: null, isFenced: false }],
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
      ? CLUSTER_OPERATIONS
      : OPERATIONS_NOT_ASKED,
  };
});

type PartitionsTopic = NonNullable<ResponseDraft<typeof describeTopicPartitionsApi>['topics']>[number];
const PARTITIONS_PER_ANSWER_MAX = 2_000;

/** KIP-966: in the order of names, cut after so many partitions, with a cursor to go on from. */
export const describeTopicPartitions = defineEndpoint(describeTopicPartitionsApi, (request, call) => {
  const { topics, settings } = call.services;
  const { cursor } = request;
  const limit = Math.min(Math.max(1, request.responsePartitionLimit), PARTITIONS_PER_ANSWER_MAX);
  const asked = request.topics.map(({ name }) => name);
  const names = (asked.length > 0 ? [...new Set(asked)] : topics.list().map(({ spec }) => spec.name))
    .filter((name) => cursor === null || name >= cursor.topicName)
    .sort();
  const described: PartitionsTopic[] = [];
  let left = limit;
  for (const name of names) {
    const stream = topics.get(name);
    if (stream === undefined || !topics.maySee(call.client.principal, stream)) {
      const error = stream === undefined ? 'UNKNOWN_TOPIC_OR_PARTITION' : 'TOPIC_AUTHORIZATION_FAILED';
      if (asked.length > 0) described.push({ errorCode: ERRORS[error].code, name, topicId: NO_ID });
      continue;
    }
    const from = cursor !== null && cursor.topicName === name ? Math.max(0, cursor.partitionIndex) : 0;
    if (left === 0) return { topics: described, nextCursor: { topicName: name, partitionIndex: from } };
    const partitions = stream.partitions.slice(from, from + left);
    left -= partitions.length;
    described.push({
      errorCode: NONE,
      name,
      topicId: topics.factsOf(stream).id,
      isInternal: topics.factsOf(stream).internal,
      partitions: partitions.map(({ index }) => ({
        ...partitionOf(settings.nodeId, index),
        eligibleLeaderReplicas: [],
        lastKnownElr: [],
      })),
      topicAuthorizedOperations: TOPIC_OPERATIONS,
    });
    const next = from + partitions.length;
    if (next < stream.partitions.length) {
      return { topics: described, nextCursor: { topicName: name, partitionIndex: next } };
    }
  }
  return { topics: described, nextCursor: null };
});

/** With one broker no partition ever moves. */
export const listPartitionReassignments = defineEndpoint(listPartitionReassignmentsApi, () => ({
  errorCode: NONE,
  errorMessage: null,
  topics: [],
}));
