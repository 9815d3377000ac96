/**
 * The life of a consumer group's members: FindCoordinator, JoinGroup, SyncGroup, Heartbeat and LeaveGroup. This
 * broker coordinates every group. What the members say is checked and kept by `state/group.ts`; here requests of all
 * versions become one form and answers become what each version can carry.
 */

import type { Call } from '../call.ts';
import { findCoordinatorApi } from '../codec/discovery-apis.ts';
import { heartbeatApi, joinGroupApi, leaveGroupApi, syncGroupApi } from '../codec/group-apis.ts';
import { ERRORS, type ErrorName, NONE } from '../errors.ts';
import { NO_ASSIGNMENT } from '../state/group-member.ts';
import { brokerOf } from './discovery.ts';
import { defineEndpoint, defineWaitingEndpoint, groupRefusal } from './endpoint.ts';

const GROUP_KEY_TYPE = 0;
const TRANSACTION_KEY_TYPE = 1;
const MEMBER_ID_REQUIRED_FROM = 4;
const NULL_PROTOCOL_FROM = 7;
const BATCHED_FROM = 4;

// ------------------------------------------------------------------------------------------ FindCoordinator

export const findCoordinator = defineEndpoint(findCoordinatorApi, (request, call) => {
  const { keyType } = request;
  if (call.version < BATCHED_FROM) return coordinatorFor(call, keyType);
  return { coordinators: request.coordinatorKeys.map((key) => ({ key, ...coordinatorFor(call, keyType) })) };
});

function coordinatorFor(call: Call, keyType: number) {
  if (keyType === GROUP_KEY_TYPE) {
    return { errorCode: NONE, errorMessage: call.version < BATCHED_FROM ? null : '', ...brokerOf(call) };
  }
  const name: ErrorName = keyType === TRANSACTION_KEY_TYPE ? 'UNSUPPORTED_VERSION' : 'INVALID_REQUEST';
  const errorMessage =
    keyType === TRANSACTION_KEY_TYPE ? ERRORS.INVALID_TXN_STATE.text : ERRORS.COORDINATOR_NOT_AVAILABLE.text;
  return { errorCode: ERRORS[name].code, errorMessage, nodeId: -1, host: '', port: -1 };
}

// --------------------------------------------------------------------------------------------------- joining

export const joinGroup = defineWaitingEndpoint(joinGroupApi, (request, call, answer) => {
  const { groups } = call.services;
  const { version, header, client } = call;
  const refusal = groupRefusal(call, 'read', request.groupId);
  if (refusal !== NONE) {
    const { memberId } = request;
    const protocolName = version < NULL_PROTOCOL_FROM ? '' : null;
    answer({
      errorCode: refusal,
      generationId: -1,
      protocolType: null,
      protocolName,
      leader: '',
      skipAssignment: false,
      memberId,
      members: [],
    });
    return;
  }
  groups.join(
    request.groupId,
    {
      memberId: request.memberId,
      groupInstanceId: request.groupInstanceId,
      clientId: header.clientId,
      clientHost: `/${client.origin.remoteAddress}`,
      sessionTimeoutMs: request.sessionTimeoutMs,
      // Version 0 has one timeout for both.
      rebalanceTimeoutMs: Math.max(1, version === 0 ? request.sessionTimeoutMs : request.rebalanceTimeoutMs),
      protocolType: request.protocolType,
      // Copies: what the group keeps must not hold on to the request.
      protocols: request.protocols.map(({ name, metadata }) => ({ name, metadata: Buffer.from(metadata) })),
      knowsMemberIdRequired: version >= MEMBER_ID_REQUIRED_FROM,
    },
    (result) => {
      const protocolName = version < NULL_PROTOCOL_FROM ? (result.protocolName ?? '') : result.protocolName;
      answer({ ...result, protocolName, skipAssignment: false });
    },
  );
});

export const syncGroup = defineWaitingEndpoint(syncGroupApi, (request, call, answer) => {
  const { groupId, generationId, protocolType, protocolName, assignments } = request;
  const protocol = { type: protocolType, name: protocolName };
  const refusal = groupRefusal(call, 'read', groupId);
  if (refusal !== NONE) {
    answer({ errorCode: refusal, protocolType: null, protocolName: null, assignment: NO_ASSIGNMENT });
    return;
  }
  call.services.groups.sync(groupId, request, generationId, protocol, assignments, answer);
});

export const heartbeat = defineEndpoint(heartbeatApi, (request, call) => ({
  errorCode:
    groupRefusal(call, 'read', request.groupId) ||
    call.services.groups.heartbeat(request.groupId, request, request.generationId),
}));

const MEMBERS_FROM = 3;

export const leaveGroup = defineEndpoint(leaveGroupApi, (request, call) => {
  const { groups } = call.services;
  const refusal = groupRefusal(call, 'read', request.groupId);
  if (refusal !== NONE) return { errorCode: refusal, members: [] };
  if (call.version < MEMBERS_FROM) {
    return {
      errorCode: groups.leave(request.groupId, { memberId: request.memberId, groupInstanceId: null }),
    };
  }
  return {
    errorCode: NONE,
    members: request.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      errorCode: groups.leave(request.groupId, member),
    })),
  };
});
