/**
 * The APIs with which a client begins: what the server speaks, who the client is, which brokers and topics there are.
 * Each version's layout is what Kafka 4.3 documents (protocol guide); read by `compile.ts`.
 */

import {
  array,
  bool,
  bytes,
  defineApi,
  int8,
  int16,
  int32,
  int64,
  list,
  nullableArray,
  nullableString,
  string,
  uuid,
} from './schema.ts';

export const apiVersionsApi = defineApi(
  18,
  'ApiVersions',
  '0-4',
  '3+',
  [string('clientSoftwareName', '3+'), string('clientSoftwareVersion', '3+')],
  [
    int16('errorCode', '0+'),
    array('apiKeys', '0+', [int16('apiKey', '0+'), int16('minVersion', '0+'), int16('maxVersion', '0+')]),
    int32('throttleTimeMs', '1+'),
    array(
      'supportedFeatures',
      '3+',
      [string('name', '3+'), int16('minVersion', '3+'), int16('maxVersion', '3+')],
      { tag: 0 },
    ),
    int64('finalizedFeaturesEpoch', '3+', { tag: 1, initial: -1 }),
    array(
      'finalizedFeatures',
      '3+',
      [string('name', '3+'), int16('maxVersionLevel', '3+'), int16('minVersionLevel', '3+')],
      { tag: 2 },
    ),
    bool('zkMigrationReady', '3+', { tag: 3 }),
  ],
);

export const metadataApi = defineApi(
  3,
  'Metadata',
  '0-13',
  '9+',
  [
    nullableArray(
      'topics',
      '0+',
      [uuid('topicId', '10+'), nullableString('name', '0+', { nullable: '10+' })],
      { nullable: '1+' },
    ),
    bool('allowAutoTopicCreation', '4+', { initial: true }),
    bool('includeClusterAuthorizedOperations', '8-10'),
    bool('includeTopicAuthorizedOperations', '8+'),
  ],
  [
    int32('throttleTimeMs', '3+'),
    array('brokers', '0+', [
      int32('nodeId', '0+'),
      string('host', '0+'),
      int32('port', '0+'),
      nullableString('rack', '1+', { nullable: '1+', initial: null }),
    ]),
    nullableString('clusterId', '2+', { nullable: '2+', initial: null }),
    int32('controllerId', '1+', { initial: -1 }),
    array('topics', '0+', [
      int16('errorCode', '0+'),
      nullableString('name', '0+', { nullable: '12+' }),
      uuid('topicId', '10+'),
      bool('isInternal', '1+'),
      array('partitions', '0+', [
        int16('errorCode', '0+'),
        int32('partitionIndex', '0+'),
        int32('leaderId', '0+'),
        int32('leaderEpoch', '7+', { initial: -1 }),
        list('replicaNodes', '0+', 'int32'),
        list('isrNodes', '0+', 'int32'),
        list('offlineReplicas', '5+', 'int32'),
      ]),
      int32('topicAuthorizedOperations', '8+', { initial: -2147483648 }),
    ]),
    int32('clusterAuthorizedOperations', '8-10', { initial: -2147483648 }),
    int16('errorCode', '13+'),
  ],
);

export const describeClusterApi = defineApi(
  60,
  'DescribeCluster',
  '0-2',
  '0+',
  [
    bool('includeClusterAuthorizedOperations', '0+'),
    int8('endpointType', '1+', { initial: 1 }),
    bool('includeFencedBrokers', '2+'),
  ],
  [
    int32('throttleTimeMs', '0+'),
    int16('errorCode', '0+'),
    nullableString('errorMessage', '0+', { nullable: '0+', initial: null }),
    int8('endpointType', '1+', { initial: 1 }),
    string('clusterId', '0+'),
    int32('controllerId', '0+', { initial: -1 }),
    array('brokers', '0+', [
      int32('brokerId', '0+'),
      string('host', '0+'),
      int32('port', '0+'),
      nullableString('rack', '0+', { nullable: '0+', initial: null }),
      bool('isFenced', '2+'),
    ]),
    int32('clusterAuthorizedOperations', '0+', { initial: -2147483648 }),
  ],
);

export const saslHandshakeApi = defineApi(
  17,
  'SaslHandshake',
  '0-1',
  'none',
  [string('mechanism', '0+')],
  [int16('errorCode', '0+'), list('mechanisms', '0+', 'string')],
);

export const saslAuthenticateApi = defineApi(
  36,
  'SaslAuthenticate',
  '0-2',
  '2+',
  [bytes('authBytes', '0+')],
  [
    int16('errorCode', '0+'),
    nullableString('errorMessage', '0+', { nullable: '0+' }),
    bytes('authBytes', '0+'),
    int64('sessionLifetimeMs', '1+'),
  ],
);

export const findCoordinatorApi = defineApi(
  10,
  'FindCoordinator',
  '0-6',
  '3+',
  [string('key', '0-3'), int8('keyType', '1+'), list('coordinatorKeys', '4+', 'string')],
  [
    int32('throttleTimeMs', '1+'),
    int16('errorCode', '0-3'),
    nullableString('errorMessage', '1-3', { nullable: '1+' }),
    int32('nodeId', '0-3'),
    string('host', '0-3'),
    int32('port', '0-3'),
    array('coordinators', '4+', [
      string('key', '4+'),
      int32('nodeId', '4+'),
      string('host', '4+'),
      int32('port', '4+'),
      int16('errorCode', '4+'),
      nullableString('errorMessage', '4+', { nullable: '4+' }),
    ]),
  ],
);
