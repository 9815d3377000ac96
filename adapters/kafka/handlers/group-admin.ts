/**
 * What tools ask about consumer groups: DescribeGroups, ListGroups, DeleteGroups and OffsetDelete. A group without
 * members that has committed offsets exists, and is empty.
 */

import type { Call } from '../call.ts';
import {
  deleteGroupsApi,
  describeGroupsApi,
  listGroupsApi,
  offsetDeleteApi,
} from '../codec/group-admin-apis.ts';
import { ERRORS, NONE } from '../errors.ts';
import { NO_ASSIGNMENT } from '../state/group-member.ts';
import { codeWhenStored, defineEndpoint, groupRefusal } from './endpoint.ts';

const CLASSIC = 'classic';
/** What a group that only has offsets was: nobody else commits any. */
const CONSUMER = 'consumer';
/** Read, describe, delete: bits as in AclOperation. */
const GROUP_OPERATIONS = 0b1_0100_1000;
const NOT_FOUND_FROM = 6;
const OPERATIONS_NOT_ASKED = -2_147_483_648;

export const describeGroups = defineEndpoint(describeGroupsApi, (request, call) => ({
  groups: request.groups.map((groupId) => ({
    ...describe(call, groupId),
    groupId,
    authorizedOperations: request.includeAuthorizedOperations ? GROUP_OPERATIONS : OPERATIONS_NOT_ASKED,
  })),
}));

function describe(call: Call, groupId: string) {
  const { groups } = call.services;
  const refusal = groupRefusal(call, 'read', groupId);
  if (refusal !== NONE) {
    return { errorCode: refusal, errorMessage: ERRORS.GROUP_AUTHORIZATION_FAILED.text, groupState: '' };
  }
  const group = groups.get(groupId);
  if (group === undefined) {
    if (groups.hasOffsets(groupId)) return { errorCode: NONE, groupState: 'Empty', protocolType: CONSUMER };
    const errorCode = call.version >= NOT_FOUND_FROM ? ERRORS.GROUP_ID_NOT_FOUND.code : NONE;
    return {
      errorCode,
      errorMessage: errorCode === NONE ? null : ERRORS.GROUP_ID_NOT_FOUND.text,
      groupState: 'Dead',
    };
  }
  const stable = group.state === 'Stable';
  return {
    errorCode: NONE,
    groupState: group.state,
    protocolType: group.protocolType,
    protocolData: stable ? group.protocolName : '',
    members: [...group.members.values()].map((member) => ({
      memberId: member.id,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      // Before everybody has joined there is no protocol to read them by.
      memberMetadata: stable ? member.metadataFor(group.protocolName) : NO_ASSIGNMENT,
      memberAssignment: stable ? member.assignment : NO_ASSIGNMENT,
    })),
  };
}

export const listGroups = defineEndpoint(listGroupsApi, (request, call) => {
  const { groups } = call.services;
  const states = new Set(request.statesFilter.map((state) => state.toLowerCase()));
  const types = new Set(request.typesFilter.map((type) => type.toLowerCase()));
  const listed = [];
  if (types.size === 0 || types.has(CLASSIC)) {
    for (const groupId of groups.names()) {
      if (groupRefusal(call, 'read', groupId) !== NONE) continue;
      const group = groups.get(groupId);
      const groupState = group?.state ?? 'Empty';
      if (states.size > 0 && !states.has(groupState.toLowerCase())) continue;
      listed.push({ groupId, protocolType: group?.protocolType ?? CONSUMER, groupState, groupType: CLASSIC });
    }
  }
  return { errorCode: NONE, groups: listed };
});

export const deleteGroups = defineEndpoint(deleteGroupsApi, async (request, call) => {
  const results = request.groupsNames.map((groupId) => ({
    groupId,
    errorCode: groupRefusal(call, 'configure', groupId) || call.services.groups.delete(groupId),
  }));
  const stored = await codeWhenStored(call);
  for (const result of results) if (result.errorCode === NONE) result.errorCode = stored;
  return { results };
});

export const offsetDelete = defineEndpoint(offsetDeleteApi, async (request, call) => {
  const { groups, core, topics } = call.services;
  const { groupId } = request;
  const refusal = groupRefusal(call, 'configure', groupId);
  if (refusal !== NONE) return { errorCode: refusal };
  const group = groups.get(groupId);
  if (group !== undefined && group.members.size > 0) return { errorCode: ERRORS.NON_EMPTY_GROUP.code };
  if (!groups.hasOffsets(groupId)) return { errorCode: ERRORS.GROUP_ID_NOT_FOUND.code };
  const answers = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex }) => {
      if (topics.get(name)?.partitions[partitionIndex] === undefined) {
        return { partitionIndex, errorCode: ERRORS.UNKNOWN_TOPIC_OR_PARTITION.code };
      }
      core.cursors.remove(groupId, name, partitionIndex);
      return { partitionIndex, errorCode: NONE };
    }),
  }));
  return { errorCode: await codeWhenStored(call), topics: answers };
});
