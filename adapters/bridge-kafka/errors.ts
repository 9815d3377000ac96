/**
 * What went wrong at an outside Kafka, as the closed list that status, logs and metrics show, and what an error code of a
 * broker means for a record. Called wherever an answer of a broker or of the network is looked at. No text here holds a
 * secret: the library's errors carry none.
 */

import { AuthenticationError, TimeoutError } from '@platformatic/kafka';
import { failureOfCode, LinkError, type LinkFailure } from '../../src/outside.ts';

/** One error of a tree of causes. */
interface AnyError {
  readonly message?: unknown;
  readonly code?: unknown;
  readonly apiId?: unknown;
  readonly serverErrorMessage?: unknown;
  readonly cause?: unknown;
  readonly errors?: unknown;
  readonly response?: unknown;
}

const DEPTH_MAX = 8;

/** The error itself and all that it was caused by, outermost first. */
function* causesOf(error: unknown, depth = 0): Generator<AnyError> {
  if (typeof error !== 'object' || error === null || depth > DEPTH_MAX) return;
  const one = error as AnyError;
  yield one;
  yield* causesOf(one.cause, depth + 1);
  if (Array.isArray(one.errors)) for (const each of one.errors) yield* causesOf(each, depth + 1);
}

/** The names of the protocol's errors in it, such as `NOT_LEADER_OR_FOLLOWER`. */
export function errorCodesOf(error: unknown): readonly string[] {
  const codes: string[] = [];
  for (const { apiId } of causesOf(error)) if (typeof apiId === 'string') codes.push(apiId);
  return codes;
}

export const hasErrorCode = (error: unknown, ...codes: readonly string[]): boolean =>
  errorCodesOf(error).some((code) => codes.includes(code));

/** The broker's whole answer where the library threw because of an error in it. */
export function responseOf<T>(error: unknown): T | null {
  for (const { response } of causesOf(error))
    if (typeof response === 'object' && response !== null) return response as T;
  return null;
}

/** The connection failed, not the request. */
export function isNetworkError(error: unknown): boolean {
  if (errorCodesOf(error).length > 0) return false;
  for (const one of causesOf(error)) {
    if (one instanceof LinkError) return NETWORK_FAILURES.has(one.failure);
    if (one.code === 'PLT_KFK_NETWORK' || isOfNetwork(one)) return true;
  }
  return false;
}

const NETWORK_FAILURES: ReadonlySet<LinkFailure> = new Set(['unreachable', 'closed', 'timeout']);

/** The connection could not be opened, or ended. */
const isOfNetwork = ({ code }: AnyError): boolean => {
  const failure = failureOfCode(code);
  return failure === 'unreachable' || failure === 'closed';
};

/** By the protocol's error code; what is not here is `protocol`. */
const FAILURES: Readonly<Record<string, LinkFailure>> = {
  SASL_AUTHENTICATION_FAILED: 'authentication',
  UNSUPPORTED_SASL_MECHANISM: 'authentication',
  ILLEGAL_SASL_STATE: 'authentication',
  TOPIC_AUTHORIZATION_FAILED: 'not-authorized',
  GROUP_AUTHORIZATION_FAILED: 'not-authorized',
  CLUSTER_AUTHORIZATION_FAILED: 'not-authorized',
  TRANSACTIONAL_ID_AUTHORIZATION_FAILED: 'not-authorized',
  UNKNOWN_TOPIC_OR_PARTITION: 'no-target',
  UNKNOWN_TOPIC_ID: 'no-target',
  REQUEST_TIMED_OUT: 'timeout',
  NOT_ENOUGH_REPLICAS: 'timeout',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 'timeout',
  LEADER_NOT_AVAILABLE: 'unreachable',
  NOT_LEADER_OR_FOLLOWER: 'unreachable',
  COORDINATOR_NOT_AVAILABLE: 'unreachable',
  COORDINATOR_LOAD_IN_PROGRESS: 'unreachable',
  NOT_COORDINATOR: 'unreachable',
  INVALID_PRODUCER_EPOCH: 'closed',
  PRODUCER_FENCED: 'closed',
  FENCED_INSTANCE_ID: 'closed',
};

/** For status and logs: `what` was tried. A LinkError stays as it is. */
export function linkErrorOf(error: unknown, what: string): LinkError {
  if (error instanceof LinkError) return error;
  return new LinkError(failureOf(error), `${what}: ${textOf(error)}`, { cause: error });
}

function failureOf(error: unknown): LinkFailure {
  const causes = [...causesOf(error)];
  for (const { apiId } of causes) if (typeof apiId === 'string') return FAILURES[apiId] ?? 'protocol';
  if (causes.some((one) => one instanceof AuthenticationError)) return 'authentication';
  if (causes.some((one) => failureOfCode(one.code) === 'tls' || /\bTLS\b/.test(String(one.message))))
    return 'tls';
  if (causes.some((one) => one instanceof TimeoutError || one.code === 'ETIMEDOUT')) return 'timeout';
  if (causes.some(isOfNetwork)) return 'unreachable';
  if (causes.some((one) => one.code === 'PLT_KFK_NETWORK')) return 'closed';
  return 'protocol';
}

/** The innermost that says something: what the network or the broker itself said. */
export function textOf(error: unknown): string {
  let text = '';
  for (const { message, apiId, serverErrorMessage, code } of causesOf(error)) {
    if (typeof apiId === 'string') {
      const said =
        typeof serverErrorMessage === 'string' && serverErrorMessage !== '' ? serverErrorMessage : message;
      return `${apiId}: ${String(said)}`;
    }
    if (typeof message === 'string' && message !== '') text = message;
    else if (typeof code === 'string') text = code;
  }
  return text === '' ? String(error) : text;
}

// ------------------------------------------------------------------------------------------ what it means for a record

/**
 * `split`: something in the batch, which may be one record of it; alone it is never taken. `never`: nothing of it. `again`: passes
 * by itself or with other metadata. `later`: somebody has to do something. `producer`: the producer's identity is of no use any more.
 */
export type Verdict = 'stored' | 'split' | 'never' | 'again' | 'later' | 'producer';

const VERDICTS: Readonly<Record<string, Verdict>> = {
  // It was there before: the answer to it was lost.
  DUPLICATE_SEQUENCE_NUMBER: 'stored',
  MESSAGE_TOO_LARGE: 'split',
  RECORD_LIST_TOO_LARGE: 'split',
  INVALID_RECORD: 'split',
  INVALID_TIMESTAMP: 'split',
  POLICY_VIOLATION: 'split',
  INVALID_TOPIC_EXCEPTION: 'never',
  CORRUPT_MESSAGE: 'again',
  UNKNOWN_TOPIC_OR_PARTITION: 'again',
  LEADER_NOT_AVAILABLE: 'again',
  NOT_LEADER_OR_FOLLOWER: 'again',
  FENCED_LEADER_EPOCH: 'again',
  UNKNOWN_LEADER_EPOCH: 'again',
  REPLICA_NOT_AVAILABLE: 'again',
  REQUEST_TIMED_OUT: 'again',
  NETWORK_EXCEPTION: 'again',
  NOT_ENOUGH_REPLICAS: 'again',
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 'again',
  KAFKA_STORAGE_ERROR: 'again',
  THROTTLING_QUOTA_EXCEEDED: 'again',
  CONCURRENT_TRANSACTIONS: 'again',
  COORDINATOR_LOAD_IN_PROGRESS: 'again',
  COORDINATOR_NOT_AVAILABLE: 'again',
  NOT_COORDINATOR: 'again',
  OUT_OF_ORDER_SEQUENCE_NUMBER: 'producer',
  UNKNOWN_PRODUCER_ID: 'producer',
  INVALID_PRODUCER_EPOCH: 'producer',
  PRODUCER_FENCED: 'producer',
  INVALID_PRODUCER_ID_MAPPING: 'producer',
  INVALID_TXN_STATE: 'producer',
  TRANSACTION_ABORTABLE: 'producer',
};

/** What is not known needs somebody to look at it: `later`. */
export const verdictOf = (code: string): Verdict => VERDICTS[code] ?? 'later';

/** Try again, perhaps elsewhere: of the requests that concern no record. */
export const isPassing = (error: unknown): boolean =>
  isNetworkError(error) || errorCodesOf(error).some((code) => verdictOf(code) === 'again');
