/**
 * Produce: each partition's batch is checked, stamped, appended as it is, and answered when the client asked to be:
 * with acks=all when the receipt says that it is on the disk, with acks=1 as soon as it is appended, with acks=0
 * never. The hottest handler: it reads the request by hand and makes one object for a request and one for a partition.
 */

import {
  BATCH_HEADER_BYTES,
  BatchField,
  batchBytes,
  CoreError,
  type Stream,
} from '../../../src/core/index.ts';
import type { Call } from '../call.ts';
import { produceApi } from '../codec/data-apis.ts';
import { decodeProduceRequest, type ProducePartition, type ProduceTopic } from '../codec/produce-request.ts';
import type { ResponseDraft } from '../codec/schema.ts';
import { codeFromCoreError, ERRORS, type ErrorName, NONE, UnansweredError } from '../errors.ts';
import type { Awaiting } from '../state/receipts.ts';
import type { Endpoint } from './endpoint.ts';

const ALL = -1;
const FORMAT_2_FROM = 3;
const ZSTD_FROM = 7;
const ZSTD = 4;
const CODEC_BITS = 7;
const TRANSACTIONAL_BIT = 0x10;
const NOTHING = -1;

/** One partition's part of the answer. */
interface Appended {
  readonly index: number;
  errorCode: number;
  baseOffset: number;
  readonly logAppendTimeMs: number;
  logStartOffset: number;
  errorMessage: string | null;
}

export const produce: Endpoint = {
  api: produceApi,
  handle(call, reader, fail) {
    const request = decodeProduceRequest(call.version, reader);
    const production = new Production(call, request.acks, fail);
    for (const topic of request.topics) production.append(topic, request.transactionalId !== null);
    production.begun();
  },
};

class Production implements Awaiting {
  readonly #call: Call;
  readonly #acks: number;
  readonly #responses: { name: string; topicId: string; partitionResponses: Appended[] }[] = [];
  /** Those that wait for the disk, by the place they were given. */
  readonly #waiting: Appended[] = [];
  #left = 0;
  #begun = false;
  readonly #fail: (error: unknown) => void;

  constructor(call: Call, acks: number, fail: (error: unknown) => void) {
    this.#call = call;
    this.#acks = acks;
    this.#fail = fail;
  }

  append(topic: ProduceTopic, transactional: boolean): void {
    const { topics } = this.#call.services;
    const stream = topic.name === '' ? topics.byId(topic.topicId) : topics.get(topic.name);
    const refusal = this.#refusalOf(topic, stream, transactional);
    const partitionResponses: Appended[] = [];
    for (const partition of topic.partitions) {
      partitionResponses.push(
        refusal === null && stream !== undefined
          ? this.#appendTo(stream, partition)
          : refused(partition.index, refusal ?? 'UNKNOWN_TOPIC_OR_PARTITION'),
      );
    }
    this.#responses.push({ name: topic.name, topicId: topic.topicId, partitionResponses });
  }

  /** Every partition was appended or refused. */
  begun(): void {
    this.#begun = true;
    this.#answerWhenReady();
  }

  appendStored(_place: number): void {
    this.#left--;
    this.#answerWhenReady();
  }

  appendRefused(place: number, error: CoreError): void {
    const appended = this.#waiting[place] as Appended;
    appended.errorCode = codeFromCoreError(error);
    appended.errorMessage = error.message;
    appended.baseOffset = NOTHING;
    this.#left--;
    this.#answerWhenReady();
  }

  #refusalOf(topic: ProduceTopic, stream: Stream | undefined, transactional: boolean): ErrorName | null {
    if (this.#acks < ALL || this.#acks > 1) return 'INVALID_REQUIRED_ACKS';
    // Versions 0 to 2 are offered because clients look for them; what they carry is an older format.
    if (this.#call.version < FORMAT_2_FROM) return 'UNSUPPORTED_FOR_MESSAGE_FORMAT';
    if (transactional) return 'INVALID_TXN_STATE';
    // Who asks for no answer would not hear of it, and look nowhere else.
    if (this.#call.client.isLeaving && this.#acks !== 0) return 'NOT_LEADER_OR_FOLLOWER';
    if (stream === undefined) return topic.name === '' ? 'UNKNOWN_TOPIC_ID' : 'UNKNOWN_TOPIC_OR_PARTITION';
    const { topics } = this.#call.services;
    return topics.may(this.#call.client.principal, 'publish', stream) ? null : 'TOPIC_AUTHORIZATION_FAILED';
  }

  #appendTo(stream: Stream, { index, records }: ProducePartition): Appended {
    const partition = stream.partitions[index];
    if (partition === undefined) return refused(index, 'UNKNOWN_TOPIC_OR_PARTITION');
    const { topics } = this.#call.services;
    const refusal = refusalOfBatch(records, this.#call.version, topics.factsOf(stream).messageBytesMax);
    if (refusal !== null || records === null) return refused(index, refusal ?? 'INVALID_RECORD');
    const appended: Appended = {
      index,
      errorCode: NONE,
      baseOffset: NOTHING,
      logAppendTimeMs: NOTHING,
      logStartOffset: partition.startOffset,
      errorMessage: null,
    };
    const { receipts } = this.#call.client;
    const wait = this.#acks === ALL;
    const token = wait ? receipts.expect(this, this.#waiting.length) : 0;
    try {
      appended.baseOffset = partition.appendBatch(records, wait ? receipts : null, token).baseOffset;
    } catch (error) {
      if (wait) receipts.forget(token);
      if (!(error instanceof CoreError)) throw error;
      appended.errorCode = codeFromCoreError(error);
      appended.errorMessage = error.message;
      return appended;
    }
    if (wait) {
      this.#waiting.push(appended);
      this.#left++;
    }
    return appended;
  }

  #answerWhenReady(): void {
    if (!this.#begun || this.#left > 0) return;
    if (this.#acks === 0) this.#finishUnanswered();
    else this.#call.respond(produceApi, { responses: this.#responses } as ResponseDraft<typeof produceApi>);
  }

  /** A closed connection is all that can be told where no answer is wanted: the client looks around then, as in Kafka. */
  #finishUnanswered(): void {
    for (const { partitionResponses } of this.#responses) {
      for (const { errorCode, errorMessage } of partitionResponses) {
        if (errorCode === NONE) continue;
        this.#fail(new UnansweredError(`acks=0, and refused: ${errorMessage}`));
        return;
      }
    }
    this.#call.finish();
  }
}

function refused(index: number, name: ErrorName): Appended {
  const { code, text } = ERRORS[name];
  return {
    index,
    errorCode: code,
    baseOffset: NOTHING,
    logAppendTimeMs: NOTHING,
    logStartOffset: NOTHING,
    errorMessage: text,
  };
}

/** What must be true before the core looks: exactly one batch of format 2, with a codec that the version has. */
function refusalOfBatch(records: Buffer | null, version: number, bytesMax: number): ErrorName | null {
  if (records === null) return 'INVALID_RECORD';
  if (records.length < BATCH_HEADER_BYTES) return 'CORRUPT_MESSAGE';
  if (records[BatchField.version] !== 2) return 'UNSUPPORTED_FOR_MESSAGE_FORMAT';
  const bytes = batchBytes(records);
  if (bytes > records.length || bytes < BATCH_HEADER_BYTES) return 'CORRUPT_MESSAGE';
  if (bytes < records.length) return 'INVALID_RECORD';
  if (bytes > bytesMax) return 'MESSAGE_TOO_LARGE';
  const attributes = records.readInt16BE(BatchField.attributes);
  if ((attributes & TRANSACTIONAL_BIT) !== 0) return 'INVALID_TXN_STATE';
  if ((attributes & CODEC_BITS) === ZSTD && version < ZSTD_FROM) return 'UNSUPPORTED_COMPRESSION_TYPE';
  return null;
}
