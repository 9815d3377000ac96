/**
 * The APIs that move records and tell where they lie: Produce, Fetch, ListOffsets, OffsetForLeaderEpoch,
 * DeleteRecords, InitProducerId. Each version's layout is what Kafka 4.3 documents (protocol guide); read by `compile.ts`.
 */

import {
  array,
  bool,
  defineApi,
  int8,
  int16,
  int32,
  int64,
  list,
  nullableArray,
  nullableString,
  records,
  string,
  struct,
  uuid,
} from './schema.ts';

export const produceApi = defineApi(
  0,
  'Produce',
  '0-13',
  '9+',
  [
    nullableString('transactionalId', '3+', { nullable: '3+', initial: null }),
    int16('acks', '0+'),
    int32('timeoutMs', '0+'),
    array('topicData', '0+', [
      string('name', '0-12'),
      uuid('topicId', '13+'),
      array('partitionData', '0+', [int32('index', '0+'), records('records', '0+', { nullable: '0+' })]),
    ]),
  ],
  [
    array('responses', '0+', [
      string('name', '0-12'),
      uuid('topicId', '13+'),
      array('partitionResponses', '0+', [
        int32('index', '0+'),
        int16('errorCode', '0+'),
        int64('baseOffset', '0+'),
        int64('logAppendTimeMs', '2+', { initial: -1 }),
        int64('logStartOffset', '5+', { initial: -1 }),
        array('recordErrors', '8+', [
          int32('batchIndex', '8+'),
          nullableString('batchIndexErrorMessage', '8+', { nullable: '8+', initial: null }),
        ]),
        nullableString('errorMessage', '8+', { nullable: '8+', initial: null }),
        struct('currentLeader', '10+', { tag: 0 }, [
          int32('leaderId', '10+', { initial: -1 }),
          int32('leaderEpoch', '10+', { initial: -1 }),
        ]),
      ]),
    ]),
    int32('throttleTimeMs', '1+'),
    array(
      'nodeEndpoints',
      '10+',
      [
        int32('nodeId', '10+'),
        string('host', '10+'),
        int32('port', '10+'),
        nullableString('rack', '10+', { nullable: '10+', initial: null }),
      ],
      { tag: 0 },
    ),
  ],
);

export const fetchApi = defineApi(
  1,
  'Fetch',
  '4-18',
  '12+',
  [
    nullableString('clusterId', '12+', { nullable: '12+', tag: 0, initial: null }),
    int32('replicaId', '0-14', { initial: -1 }),
    struct('replicaState', '15+', { tag: 1 }, [
      int32('replicaId', '15+', { initial: -1 }),
      int64('replicaEpoch', '15+', { initial: -1 }),
    ]),
    int32('maxWaitMs', '0+'),
    int32('minBytes', '0+'),
    int32('maxBytes', '3+', { initial: 0x7fff_ffff }),
    int8('isolationLevel', '4+'),
    int32('sessionId', '7+'),
    int32('sessionEpoch', '7+', { initial: -1 }),
    array('topics', '0+', [
      string('topic', '0-12'),
      uuid('topicId', '13+'),
      array('partitions', '0+', [
        int32('partition', '0+'),
        int32('currentLeaderEpoch', '9+', { initial: -1 }),
        int64('fetchOffset', '0+'),
        int32('lastFetchedEpoch', '12+', { initial: -1 }),
        int64('logStartOffset', '5+', { initial: -1 }),
        int32('partitionMaxBytes', '0+'),
        uuid('replicaDirectoryId', '17+', { tag: 0 }),
        int64('highWatermark', '18+', { tag: 1, initial: 2 ** 63 }),
      ]),
    ]),
    array('forgottenTopicsData', '7+', [
      string('topic', '7-12'),
      uuid('topicId', '13+'),
      list('partitions', '7+', 'int32'),
    ]),
    string('rackId', '11+'),
  ],
  [
    int32('throttleTimeMs', '1+'),
    int16('errorCode', '7+'),
    int32('sessionId', '7+'),
    array('responses', '0+', [
      string('topic', '0-12'),
      uuid('topicId', '13+'),
      array('partitions', '0+', [
        int32('partitionIndex', '0+'),
        int16('errorCode', '0+'),
        int64('highWatermark', '0+'),
        int64('lastStableOffset', '4+', { initial: -1 }),
        int64('logStartOffset', '5+', { initial: -1 }),
        struct('divergingEpoch', '12+', { tag: 0 }, [
          int32('epoch', '12+', { initial: -1 }),
          int64('endOffset', '12+', { initial: -1 }),
        ]),
        struct('currentLeader', '12+', { tag: 1 }, [
          int32('leaderId', '12+', { initial: -1 }),
          int32('leaderEpoch', '12+', { initial: -1 }),
        ]),
        struct('snapshotId', '12+', { tag: 2 }, [
          int64('endOffset', '0+', { initial: -1 }),
          int32('epoch', '0+', { initial: -1 }),
        ]),
        nullableArray('abortedTransactions', '4+', [int64('producerId', '4+'), int64('firstOffset', '4+')], {
          nullable: '4+',
        }),
        int32('preferredReadReplica', '11+', { initial: -1 }),
        records('records', '0+', { nullable: '0+' }),
      ]),
    ]),
    array(
      'nodeEndpoints',
      '16+',
      [
        int32('nodeId', '16+'),
        string('host', '16+'),
        int32('port', '16+'),
        nullableString('rack', '16+', { nullable: '16+', initial: null }),
      ],
      { tag: 0 },
    ),
  ],
);

export const listOffsetsApi = defineApi(
  2,
  'ListOffsets',
  '1-11',
  '6+',
  [
    int32('replicaId', '0+'),
    int8('isolationLevel', '2+'),
    array('topics', '0+', [
      string('name', '0+'),
      array('partitions', '0+', [
        int32('partitionIndex', '0+'),
        int32('currentLeaderEpoch', '4+', { initial: -1 }),
        int64('timestamp', '0+'),
      ]),
    ]),
    int32('timeoutMs', '10+'),
  ],
  [
    int32('throttleTimeMs', '2+'),
    array('topics', '0+', [
      string('name', '0+'),
      array('partitions', '0+', [
        int32('partitionIndex', '0+'),
        int16('errorCode', '0+'),
        int64('timestamp', '1+', { initial: -1 }),
        int64('offset', '1+', { initial: -1 }),
        int32('leaderEpoch', '4+', { initial: -1 }),
      ]),
    ]),
  ],
);

export const offsetForLeaderEpochApi = defineApi(
  23,
  'OffsetForLeaderEpoch',
  '2-4',
  '4+',
  [
    int32('replicaId', '3+', { initial: -2 }),
    array('topics', '0+', [
      string('topic', '0+'),
      array('partitions', '0+', [
        int32('partition', '0+'),
        int32('currentLeaderEpoch', '2+', { initial: -1 }),
        int32('leaderEpoch', '0+'),
      ]),
    ]),
  ],
  [
    int32('throttleTimeMs', '2+'),
    array('topics', '0+', [
      string('topic', '0+'),
      array('partitions', '0+', [
        int16('errorCode', '0+'),
        int32('partition', '0+'),
        int32('leaderEpoch', '1+', { initial: -1 }),
        int64('endOffset', '0+', { initial: -1 }),
      ]),
    ]),
  ],
);

export const deleteRecordsApi = defineApi(
  21,
  'DeleteRecords',
  '0-2',
  '2+',
  [
    array('topics', '0+', [
      string('name', '0+'),
      array('partitions', '0+', [int32('partitionIndex', '0+'), int64('offset', '0+')]),
    ]),
    int32('timeoutMs', '0+'),
  ],
  [
    int32('throttleTimeMs', '0+'),
    array('topics', '0+', [
      string('name', '0+'),
      array('partitions', '0+', [
        int32('partitionIndex', '0+'),
        int64('lowWatermark', '0+'),
        int16('errorCode', '0+'),
      ]),
    ]),
  ],
);

export const initProducerIdApi = defineApi(
  22,
  'InitProducerId',
  '0-5',
  '2+',
  [
    nullableString('transactionalId', '0+', { nullable: '0+' }),
    int32('transactionTimeoutMs', '0+'),
    int64('producerId', '3+', { initial: -1 }),
    int16('producerEpoch', '3+', { initial: -1 }),
    bool('enable2Pc', '6+'),
    bool('keepPreparedTxn', '6+'),
  ],
  [
    int32('throttleTimeMs', '0+'),
    int16('errorCode', '0+'),
    int64('producerId', '0+', { initial: -1 }),
    int16('producerEpoch', '0+'),
    int64('ongoingTxnProducerId', '6+', { initial: -1 }),
    int16('ongoingTxnProducerEpoch', '6+', { initial: -1 }),
  ],
);
