/**
 * The APIs with which tools look after consumer groups. Each version's layout is what Kafka 4.3 documents (protocol
 * guide); read by `compile.ts`.
 */

import { array, bool, bytes, defineApi, int16, int32, list, nullableString, string } from './schema.ts';

export const describeGroupsApi = defineApi(
  15,
  'DescribeGroups',
  '0-6',
  '5+',
  [list('groups', '0+', 'string'), bool('includeAuthorizedOperations', '3+')],
  [
    int32('throttleTimeMs', '1+'),
    array('groups', '0+', [
      int16('errorCode', '0+'),
      nullableString('errorMessage', '6+', { nullable: '6+', initial: null }),
      string('groupId', '0+'),
      string('groupState', '0+'),
      string('protocolType', '0+'),
      string('protocolData', '0+'),
      array('members', '0+', [
        string('memberId', '0+'),
        nullableString('groupInstanceId', '4+', { nullable: '4+', initial: null }),
        string('clientId', '0+'),
        string('clientHost', '0+'),
        bytes('memberMetadata', '0+'),
        bytes('memberAssignment', '0+'),
      ]),
      int32('authorizedOperations', '3+', { initial: -2147483648 }),
    ]),
  ],
);

export const listGroupsApi = defineApi(
  16,
  'ListGroups',
  '0-5',
  '3+',
  [list('statesFilter', '4+', 'string'), list('typesFilter', '5+', 'string')],
  [
    int32('throttleTimeMs', '1+'),
    int16('errorCode', '0+'),
    array('groups', '0+', [
      string('groupId', '0+'),
      string('protocolType', '0+'),
      string('groupState', '4+'),
      string('groupType', '5+'),
    ]),
  ],
);

export const deleteGroupsApi = defineApi(
  42,
  'DeleteGroups',
  '0-2',
  '2+',
  [list('groupsNames', '0+', 'string')],
  [
    int32('throttleTimeMs', '0+'),
    array('results', '0+', [string('groupId', '0+'), int16('errorCode', '0+')]),
  ],
);

export const offsetDeleteApi = defineApi(
  47,
  'OffsetDelete',
  '0',
  'none',
  [
    string('groupId', '0+'),
    array('topics', '0+', [string('name', '0+'), array('partitions', '0+', [int32('partitionIndex', '0+')])]),
  ],
  [
    int16('errorCode', '0+'),
    int32('throttleTimeMs', '0+'),
    array('topics', '0+', [
      string('name', '0+'),
      array('partitions', '0+', [int32('partitionIndex', '0+'), int16('errorCode', '0+')]),
    ]),
  ],
);
