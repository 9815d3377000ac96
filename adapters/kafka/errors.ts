/**
 * What this protocol answers when something is wrong: Kafka's error codes as far as this server gives them, and the
 * answers to refusals of the core. Errors are fields of responses and close nothing; what closes a connection is a
 * request that cannot be read (`MalformedRequest`), or an error that has no response to stand in, as in Kafka itself.
 */

import { CoreError, type CoreErrorCode } from '../../src/core/index.ts';

export const ERRORS = {
  NONE: { code: 0, text: '' },
  OFFSET_OUT_OF_RANGE: { code: 1, text: 'The offset is outside the partition.' },
  CORRUPT_MESSAGE: { code: 2, text: 'The batch has a wrong checksum, length or count.' },
  UNKNOWN_TOPIC_OR_PARTITION: { code: 3, text: 'There is no such topic or partition.' },
  NOT_LEADER_OR_FOLLOWER: { code: 6, text: 'The server stops: another one, or this one later.' },
  MESSAGE_TOO_LARGE: { code: 10, text: 'The batch is larger than the server takes.' },
  OFFSET_METADATA_TOO_LARGE: { code: 12, text: 'The metadata of a committed offset is too long.' },
  COORDINATOR_NOT_AVAILABLE: { code: 15, text: 'There is no coordinator of this kind here.' },
  INVALID_TOPIC_EXCEPTION: { code: 17, text: 'The topic name is not legal.' },
  INVALID_REQUIRED_ACKS: { code: 21, text: 'Acknowledgements are -1, 0 or 1.' },
  ILLEGAL_GENERATION: { code: 22, text: 'The generation is not the current one of the group.' },
  INCONSISTENT_GROUP_PROTOCOL: { code: 23, text: 'The group has no protocol in common with this member.' },
  INVALID_GROUP_ID: { code: 24, text: 'The group id is not valid.' },
  UNKNOWN_MEMBER_ID: { code: 25, text: 'The group has no such member.' },
  INVALID_SESSION_TIMEOUT: { code: 26, text: 'The session timeout is outside what the server allows.' },
  REBALANCE_IN_PROGRESS: { code: 27, text: 'The group is rebalancing.' },
  TOPIC_AUTHORIZATION_FAILED: { code: 29, text: 'Access to this topic is refused.' },
  GROUP_AUTHORIZATION_FAILED: { code: 30, text: 'Access to this group is refused.' },
  UNSUPPORTED_SASL_MECHANISM: { code: 33, text: 'The server knows the mechanism PLAIN only.' },
  ILLEGAL_SASL_STATE: { code: 34, text: 'Authentication was not expected now.' },
  UNSUPPORTED_VERSION: { code: 35, text: 'The server does not know this version of the API.' },
  TOPIC_ALREADY_EXISTS: { code: 36, text: 'The topic exists.' },
  INVALID_PARTITIONS: { code: 37, text: 'The number of partitions is not valid.' },
  INVALID_REPLICATION_FACTOR: { code: 38, text: 'The replication factor is not 1, and there is one broker.' },
  INVALID_REPLICA_ASSIGNMENT: { code: 39, text: 'The assignment names a broker that does not exist.' },
  INVALID_CONFIG: { code: 40, text: 'The setting is not valid.' },
  INVALID_REQUEST: { code: 42, text: 'The request contradicts itself.' },
  UNSUPPORTED_FOR_MESSAGE_FORMAT: { code: 43, text: 'Only record batches of format 2 are taken.' },
  POLICY_VIOLATION: { code: 44, text: 'A rule of the server forbids this.' },
  OUT_OF_ORDER_SEQUENCE_NUMBER: { code: 45, text: 'The producer skipped a sequence number.' },
  INVALID_PRODUCER_EPOCH: { code: 47, text: 'A newer epoch of this producer has written.' },
  INVALID_TXN_STATE: { code: 48, text: 'Transactions are not offered.' },
  KAFKA_STORAGE_ERROR: { code: 56, text: 'The disk refused.' },
  SASL_AUTHENTICATION_FAILED: { code: 58, text: 'The credentials were refused.' },
  UNKNOWN_PRODUCER_ID: { code: 59, text: 'The producer id is not known.' },
  NON_EMPTY_GROUP: { code: 68, text: 'The group has members.' },
  GROUP_ID_NOT_FOUND: { code: 69, text: 'There is no such group.' },
  FETCH_SESSION_ID_NOT_FOUND: { code: 70, text: 'There is no such fetch session.' },
  INVALID_FETCH_SESSION_EPOCH: { code: 71, text: 'The epoch is not the next one of the fetch session.' },
  UNKNOWN_LEADER_EPOCH: { code: 75, text: 'The leader epoch is newer than the current one.' },
  UNSUPPORTED_COMPRESSION_TYPE: { code: 76, text: 'This version of the API does not carry the codec.' },
  MEMBER_ID_REQUIRED: { code: 79, text: 'Join again with the given member id.' },
  GROUP_MAX_SIZE_REACHED: { code: 81, text: 'The group has as many members as the server allows.' },
  FENCED_INSTANCE_ID: { code: 82, text: 'Another member has taken this static member id.' },
  INVALID_RECORD: { code: 87, text: 'A record was refused.' },
  THROTTLING_QUOTA_EXCEEDED: { code: 89, text: 'A bound of the server is reached.' },
  UNKNOWN_TOPIC_ID: { code: 100, text: 'There is no topic with this id.' },
} as const satisfies Readonly<Record<string, { readonly code: number; readonly text: string }>>;

export type ErrorName = keyof typeof ERRORS;

export const NONE = ERRORS.NONE.code;

/** What a refusal of the core becomes. */
const CORE_ERRORS = {
  'not-found': 'UNKNOWN_TOPIC_OR_PARTITION',
  'exists-differently': 'TOPIC_ALREADY_EXISTS',
  'invalid-name': 'INVALID_TOPIC_EXCEPTION',
  'invalid-argument': 'INVALID_REQUEST',
  'in-use': 'POLICY_VIOLATION',
  'not-empty': 'POLICY_VIOLATION',
  exclusive: 'POLICY_VIOLATION',
  'access-refused': 'TOPIC_AUTHORIZATION_FAILED',
  'limit-reached': 'POLICY_VIOLATION',
  'message-too-large': 'MESSAGE_TOO_LARGE',
  overflow: 'THROTTLING_QUOTA_EXCEEDED',
  'refused-by-rule': 'INVALID_RECORD',
  'storage-failed': 'KAFKA_STORAGE_ERROR',
  'corrupt-batch': 'CORRUPT_MESSAGE',
  'out-of-order-sequence': 'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'stale-producer': 'INVALID_PRODUCER_EPOCH',
  'unknown-producer': 'UNKNOWN_PRODUCER_ID',
  'offset-out-of-range': 'OFFSET_OUT_OF_RANGE',
  'shutting-down': 'COORDINATOR_NOT_AVAILABLE',
} as const satisfies Readonly<Record<CoreErrorCode, ErrorName>>;

export function codeFromCoreError(error: CoreError): number {
  return ERRORS[CORE_ERRORS[error.code]].code;
}

/** An answer with an error, thrown inside handlers that answer item by item. */
export class KafkaError extends Error {
  readonly errorName: ErrorName;

  constructor(errorName: ErrorName, explanation: string = ERRORS[errorName].text) {
    super(explanation);
    this.name = 'KafkaError';
    this.errorName = errorName;
  }

  get code(): number {
    return ERRORS[this.errorName].code;
  }
}

/** An error of a request that wants no response: all that can tell of it is the end of the connection. */
export class UnansweredError extends Error {}

/** The code of what a handler of one item threw; anything unexpected goes on. */
export function codeFromError(error: unknown): number {
  if (error instanceof KafkaError) return error.code;
  if (error instanceof CoreError) return codeFromCoreError(error);
  throw error;
}

/** The same with its words, for answers that have room for them. */
export function refusalFromError(error: unknown): {
  readonly errorCode: number;
  readonly errorMessage: string;
} {
  return { errorCode: codeFromError(error), errorMessage: (error as Error).message };
}
