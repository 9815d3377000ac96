/**
 * The APIs of a consumer group's members: joining, assignments, heartbeats and committed offsets. Each version's
 * layout is what Kafka 4.3 documents (protocol guide); read by `compile.ts`.
 */

import {
  array,
  bool,
  bytes,
  defineApi,
  int16,
  int32,
  int64,
  list,
  nullableArray,
  nullableString,
  string,
  uuid,
} from './schema.ts';

export const joinGroupApi = defineApi(
  11,
  'JoinGroup',
  '0-9',
  '6+',
  [
    string('groupId', '0+'),
    int32('sessionTimeoutMs', '0+'),
    int32('rebalanceTimeoutMs', '1+', { initial: -1 }),
    string('memberId', '0+'),
    nullableString('groupInstanceId', '5+', { nullable: '5+', initial: null }),
    string('protocolType', '0+'),
    array('protocols', '0+', [string('name', '0+'), bytes('metadata', '0+')]),
    nullableString('reason', '8+', { nullable: '8+', initial: null }),
  ],
  [
    int32('throttleTimeMs', '2+'),
    int16('errorCode', '0+'),
    int32('generationId', '0+', { initial: -1 }),
    nullableString('protocolType', '7+', { nullable: '7+', initial: null }),
    nullableString('protocolName', '0+', { nullable: '7+' }),
    string('leader', '0+'),
    bool('skipAssignment', '9+'),
    string('memberId', '0+'),
    array('members', '0+', [
      string('memberId', '0+'),
      nullableString('groupInstanceId', '5+', { nullable: '5+', initial: null }),
      bytes('metadata', '0+'),
    ]),
  ],
);

export const syncGroupApi = defineApi(
  14,
  'SyncGroup',
  '0-5',
  '4+',
  [
    string('groupId', '0+'),
    int32('generationId', '0+'),
    string('memberId', '0+'),
    nullableString('groupInstanceId', '3+', { nullable: '3+', initial: null }),
    nullableString('protocolType', '5+', { nullable: '5+', initial: null }),
    nullableString('protocolName', '5+', { nullable: '5+', initial: null }),
    array('assignments', '0+', [string('memberId', '0+'), bytes('assignment', '0+')]),
  ],
  [
    int32('throttleTimeMs', '1+'),
    int16('errorCode', '0+'),
    nullableString('protocolType', '5+', { nullable: '5+', initial: null }),
    nullableString('protocolName', '5+', { nullable: '5+', initial: null }),
    bytes('assignment', '0+'),
  ],
);

export const heartbeatApi = defineApi(
  12,
  'Heartbeat',
  '0-4',
  '4+',
  [
    string('groupId', '0+'),
    int32('generationId', '0+'),
    string('memberId', '0+'),
    nullableString('groupInstanceId', '3+', { nullable: '3+', initial: null }),
  ],
  [int32('throttleTimeMs', '1+'), int16('errorCode', '0+')],
);

export const leaveGroupApi = defineApi(
  13,
  'LeaveGroup',
  '0-5',
  '4+',
  [
    string('groupId', '0+'),
    string('memberId', '0-2'),
    array('members', '3+', [
      string('memberId', '3+'),
      nullableString('groupInstanceId', '3+', { nullable: '3+', initial: null }),
      nullableString('reason', '5+', { nullable: '5+', initial: null }),
    ]),
  ],
  [
    int32('throttleTimeMs', '1+'),
    int16('errorCode', '0+'),
    array('members', '3+', [
      string('memberId', '3+'),
      nullableString('groupInstanceId', '3+', { nullable: '3+' }),
      int16('errorCode', '3+'),
    ]),
  ],
);

export const offsetCommitApi = defineApi(
  8,
  'OffsetCommit',
  '2-10',
  '8+',
  [
    string('groupId', '0+'),
    int32('generationIdOrMemberEpoch', '1+', { initial: -1 }),
    string('memberId', '1+'),
    nullableString('groupInstanceId', '7+', { nullable: '7+', initial: null }),
    int64('retentionTimeMs', '2-4', { initial: -1 }),
    array('topics', '0+', [
      string('name', '0-9'),
      uuid('topicId', '10+'),
      array('partitions', '0+', [
        int32('partitionIndex', '0+'),
        int64('committedOffset', '0+'),
        int32('committedLeaderEpoch', '6+', { initial: -1 }),
        nullableString('committedMetadata', '0+', { nullable: '0+' }),
      ]),
    ]),
  ],
  [
    int32('throttleTimeMs', '3+'),
    array('topics', '0+', [
      string('name', '0-9'),
      uuid('topicId', '10+'),
      array('partitions', '0+', [int32('partitionIndex', '0+'), int16('errorCode', '0+')]),
    ]),
  ],
);

export const offsetFetchApi = defineApi(
  9,
  'OffsetFetch',
  '1-10',
  '6+',
  [
    string('groupId', '0-7'),
    nullableArray('topics', '0-7', [string('name', '0-7'), list('partitionIndexes', '0-7', 'int32')], {
      nullable: '2+',
    }),
    array('groups', '8+', [
      string('groupId', '8+'),
      nullableString('memberId', '9+', { nullable: '9+', initial: null }),
      int32('memberEpoch', '9+', { initial: -1 }),
      nullableArray(
        'topics',
        '8+',
        [string('name', '8-9'), uuid('topicId', '10+'), list('partitionIndexes', '8+', 'int32')],
        { nullable: '8+' },
      ),
    ]),
    bool('requireStable', '7+'),
  ],
  [
    int32('throttleTimeMs', '3+'),
    array('topics', '0-7', [
      string('name', '0-7'),
      array('partitions', '0-7', [
        int32('partitionIndex', '0-7'),
        int64('committedOffset', '0-7'),
        int32('committedLeaderEpoch', '5-7', { initial: -1 }),
        nullableString('metadata', '0-7', { nullable: '0+' }),
        int16('errorCode', '0-7'),
      ]),
    ]),
    int16('errorCode', '2-7'),
    array('groups', '8+', [
      string('groupId', '8+'),
      array('topics', '8+', [
        string('name', '8-9'),
        uuid('topicId', '10+'),
        array('partitions', '8+', [
          int32('partitionIndex', '8+'),
          int64('committedOffset', '8+'),
          int32('committedLeaderEpoch', '8+', { initial: -1 }),
          nullableString('metadata', '8+', { nullable: '8+' }),
          int16('errorCode', '8+'),
        ]),
      ]),
      int16('errorCode', '8+'),
    ]),
  ],
);
