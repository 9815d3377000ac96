/** Every API that the server answers, by its key; what ApiVersions tells clients comes from here. */

import { GATEWAY_FEATURE } from '../../../mappings/kafka-peers.ts';
import type { Call } from '../call.ts';
import { apiVersionsApi } from '../codec/discovery-apis.ts';
import { ERRORS } from '../errors.ts';
import { saslAuthenticate, saslHandshake } from './authentication.ts';
import { alterConfigs, describeConfigs, incrementalAlterConfigs } from './configs.ts';
import {
  describeCluster,
  describeTopicPartitions,
  listPartitionReassignments,
  metadata,
} from './discovery.ts';
import { defineEndpoint, type Endpoint } from './endpoint.ts';
import { fetch } from './fetch.ts';
import { deleteGroups, describeGroups, listGroups, offsetDelete } from './group-admin.ts';
import { offsetCommit, offsetFetch } from './group-offsets.ts';
import { findCoordinator, heartbeat, joinGroup, leaveGroup, syncGroup } from './groups.ts';
import { deleteRecords, initProducerId, listOffsets, offsetForLeaderEpoch } from './offsets.ts';
import { produce } from './produce.ts';
import { createPartitions, createTopics, deleteTopics } from './topics.ts';

const SASL_HANDSHAKE_KEY = 17;
export const API_VERSIONS_KEY = 18;
const SASL_AUTHENTICATE_KEY = 36;

const apiVersions = defineEndpoint(apiVersionsApi, (request, call) => {
  const { clientSoftwareName, clientSoftwareVersion } = request;
  const software = `${clientSoftwareName} ${clientSoftwareVersion}`.trim().slice(0, 128);
  if (software !== '') call.client.software = software;
  return { errorCode: ERRORS.NONE.code, apiKeys: OFFERED, supportedFeatures: [GATEWAY_FEATURE] };
});

export const ENDPOINTS: ReadonlyMap<number, Endpoint> = new Map(
  [
    produce,
    fetch,
    listOffsets,
    metadata,
    offsetCommit,
    offsetFetch,
    findCoordinator,
    joinGroup,
    heartbeat,
    leaveGroup,
    syncGroup,
    describeGroups,
    listGroups,
    saslHandshake,
    apiVersions,
    createTopics,
    deleteTopics,
    deleteRecords,
    initProducerId,
    offsetForLeaderEpoch,
    describeConfigs,
    alterConfigs,
    saslAuthenticate,
    createPartitions,
    deleteGroups,
    incrementalAlterConfigs,
    listPartitionReassignments,
    offsetDelete,
    describeCluster,
    describeTopicPartitions,
  ].map((endpoint) => [endpoint.api.key, endpoint]),
);

const OFFERED = [...ENDPOINTS.values()].map(({ api }) => ({
  apiKey: api.key,
  minVersion: api.versionMin,
  maxVersion: api.versionMax,
}));

/** KIP-511: in the layout of version 0, with the versions that a client may ask with instead. */
export function answerUnknownVersion(call: Call): void {
  call.respond(apiVersionsApi, { errorCode: ERRORS.UNSUPPORTED_VERSION.code, apiKeys: OFFERED });
}

/** What a client may ask before the server knows who it is. */
export function isBeforeAuthentication(apiKey: number): boolean {
  return apiKey === API_VERSIONS_KEY || apiKey === SASL_HANDSHAKE_KEY || apiKey === SASL_AUTHENTICATE_KEY;
}
