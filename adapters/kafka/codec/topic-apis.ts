/**
 * The APIs with which tools create, change and describe topics. Each version's layout is what Kafka 4.3 documents
 * (protocol guide); read by `compile.ts`.
 */

import {
  array,
  bool,
  defineApi,
  int8,
  int16,
  int32,
  list,
  nullableArray,
  nullableList,
  nullableString,
  string,
  struct,
  uuid,
} from './schema.ts';

export const createTopicsApi = defineApi(
  19,
  'CreateTopics',
  '2-7',
  '5+',
  [
    array('topics', '0+', [
      string('name', '0+'),
      int32('numPartitions', '0+'),
      int16('replicationFactor', '0+'),
      array('assignments', '0+', [int32('partitionIndex', '0+'), list('brokerIds', '0+', 'int32')]),
      array('configs', '0+', [string('name', '0+'), nullableString('value', '0+', { nullable: '0+' })]),
    ]),
    int32('timeoutMs', '0+', { initial: 60000 }),
    bool('validateOnly', '1+'),
  ],
  [
    int32('throttleTimeMs', '2+'),
    array('topics', '0+', [
      string('name', '0+'),
      uuid('topicId', '7+'),
      int16('errorCode', '0+'),
      nullableString('errorMessage', '1+', { nullable: '0+' }),
      int16('topicConfigErrorCode', '5+', { tag: 0 }),
      int32('numPartitions', '5+', { initial: -1 }),
      int16('replicationFactor', '5+', { initial: -1 }),
      nullableArray(
        'configs',
        '5+',
        [
          string('name', '5+'),
          nullableString('value', '5+', { nullable: '5+' }),
          bool('readOnly', '5+'),
          int8('configSource', '5+', { initial: -1 }),
          bool('isSensitive', '5+'),
        ],
        { nullable: '5+' },
      ),
    ]),
  ],
);

export const deleteTopicsApi = defineApi(
  20,
  'DeleteTopics',
  '1-6',
  '4+',
  [
    array('topics', '6+', [
      nullableString('name', '6+', { nullable: '6+', initial: null }),
      uuid('topicId', '6+'),
    ]),
    list('topicNames', '0-5', 'string'),
    int32('timeoutMs', '0+'),
  ],
  [
    int32('throttleTimeMs', '1+'),
    array('responses', '0+', [
      nullableString('name', '0+', { nullable: '6+' }),
      uuid('topicId', '6+'),
      int16('errorCode', '0+'),
      nullableString('errorMessage', '5+', { nullable: '5+', initial: null }),
    ]),
  ],
);

export const createPartitionsApi = defineApi(
  37,
  'CreatePartitions',
  '0-3',
  '2+',
  [
    array('topics', '0+', [
      string('name', '0+'),
      int32('count', '0+'),
      nullableArray('assignments', '0+', [list('brokerIds', '0+', 'int32')], { nullable: '0+' }),
    ]),
    int32('timeoutMs', '0+'),
    bool('validateOnly', '0+'),
  ],
  [
    int32('throttleTimeMs', '0+'),
    array('results', '0+', [
      string('name', '0+'),
      int16('errorCode', '0+'),
      nullableString('errorMessage', '0+', { nullable: '0+', initial: null }),
    ]),
  ],
);

export const describeTopicPartitionsApi = defineApi(
  75,
  'DescribeTopicPartitions',
  '0',
  '0+',
  [
    array('topics', '0+', [string('name', '0+')]),
    int32('responsePartitionLimit', '0+', { initial: 2000 }),
    struct('cursor', '0+', { nullable: '0+' }, [string('topicName', '0+'), int32('partitionIndex', '0+')]),
  ],
  [
    int32('throttleTimeMs', '0+'),
    array('topics', '0+', [
      int16('errorCode', '0+'),
      nullableString('name', '0+', { nullable: '0+' }),
      uuid('topicId', '0+'),
      bool('isInternal', '0+'),
      array('partitions', '0+', [
        int16('errorCode', '0+'),
        int32('partitionIndex', '0+'),
        int32('leaderId', '0+'),
        int32('leaderEpoch', '0+', { initial: -1 }),
        list('replicaNodes', '0+', 'int32'),
        list('isrNodes', '0+', 'int32'),
        nullableList('eligibleLeaderReplicas', '0+', 'int32', { nullable: '0+', initial: null }),
        nullableList('lastKnownElr', '0+', 'int32', { nullable: '0+', initial: null }),
        list('offlineReplicas', '0+', 'int32'),
      ]),
      int32('topicAuthorizedOperations', '0+', { initial: -2147483648 }),
    ]),
    struct('nextCursor', '0+', { nullable: '0+' }, [
      string('topicName', '0+'),
      int32('partitionIndex', '0+'),
    ]),
  ],
);

export const listPartitionReassignmentsApi = defineApi(
  46,
  'ListPartitionReassignments',
  '0',
  '0+',
  [
    int32('timeoutMs', '0+', { initial: 60000 }),
    nullableArray('topics', '0+', [string('name', '0+'), list('partitionIndexes', '0+', 'int32')], {
      nullable: '0+',
      initial: null,
    }),
  ],
  [
    int32('throttleTimeMs', '0+'),
    int16('errorCode', '0+'),
    nullableString('errorMessage', '0+', { nullable: '0+' }),
    array('topics', '0+', [
      string('name', '0+'),
      array('partitions', '0+', [
        int32('partitionIndex', '0+'),
        list('replicas', '0+', 'int32'),
        list('addingReplicas', '0+', 'int32'),
        list('removingReplicas', '0+', 'int32'),
      ]),
    ]),
  ],
);
