/**
 * Fetch: stored batches of the partitions that a client names or that its session remembers (KIP-227). An answer
 * leaves when it holds the least bytes asked for, when anything is wrong with a partition, or when the client has
 * waited long enough. The first batch is always given, however large, so that every client makes progress.
 */

import { CoreError, type Partition } from '../../../src/core/index.ts';
import type { Call } from '../call.ts';
import { decodeRequest } from '../codec/compile.ts';
import { fetchApi } from '../codec/data-apis.ts';
import { encodeFetchResponse, type FetchedPartition, type FetchedTopic } from '../codec/fetch-response.ts';
import type { RequestOf } from '../codec/schema.ts';
import { codeFromCoreError, ERRORS, type ErrorName, NONE } from '../errors.ts';
import { FetchSession, type FetchTarget } from '../state/fetch-session.ts';
import { FetchWait } from '../state/fetch-wait.ts';
import { LEADER_EPOCH } from './discovery.ts';
import type { Endpoint } from './endpoint.ts';

const EMPTY = Buffer.alloc(0);
const IDS_FROM = 13;
const NO_ID = '0'.repeat(32);
const FINAL_EPOCH = -1;
const INITIAL_EPOCH = 0;

type Request = RequestOf<typeof fetchApi>;

export const fetch: Endpoint = {
  api: fetchApi,
  handle(call, reader, fail) {
    const request = decodeRequest(fetchApi, call.version, reader);
    const plan = planOf(request, call);
    if (typeof plan === 'string') {
      respond(call, ERRORS[plan].code, 0, []);
      return;
    }
    new FetchOperation(call, request, plan).run().catch(fail);
  },
};

/** What is to be fetched, and how it is told. */
interface Plan {
  readonly targets: readonly FetchTarget[];
  /** 0: none. */
  readonly session: FetchSession | null;
  /** Only what is news to the client. */
  readonly incremental: boolean;
}

function planOf(request: Request, call: Call): Plan | ErrorName {
  const { client, services } = call;
  const targets = targetsOf(request);
  const { sessionId, sessionEpoch } = request;
  if (sessionEpoch === FINAL_EPOCH || sessionEpoch === INITIAL_EPOCH) {
    if (sessionId !== 0 && client.fetchSession?.id === sessionId) client.fetchSession = null;
    if (sessionEpoch === FINAL_EPOCH) return { targets, session: null, incremental: false };
    const mayRemember = targets.length > 0 && targets.length <= services.settings.fetchSessionPartitionsMax;
    if (mayRemember) client.fetchSession = new FetchSession(targets);
    return { targets, session: mayRemember ? client.fetchSession : null, incremental: false };
  }
  const session = client.fetchSession;
  if (session === null || session.id !== sessionId) return 'FETCH_SESSION_ID_NOT_FOUND';
  if (session.epoch !== sessionEpoch) return 'INVALID_FETCH_SESSION_EPOCH';
  const forgotten = request.forgottenTopicsData.flatMap(({ topic, topicId, partitions }) =>
    partitions.map((partition) => ({ topic, topicId, partition })),
  );
  const all = session.advance(targets, forgotten);
  if (session.size > services.settings.fetchSessionPartitionsMax) {
    client.fetchSession = null;
    return 'FETCH_SESSION_ID_NOT_FOUND';
  }
  return { targets: all, session, incremental: true };
}

function targetsOf(request: Request): FetchTarget[] {
  return request.topics.flatMap(({ topic, topicId, partitions }) =>
    partitions.map((each) => ({
      topic,
      topicId,
      partition: each.partition,
      fetchOffset: each.fetchOffset,
      currentLeaderEpoch: each.currentLeaderEpoch,
      bytesMax: each.partitionMaxBytes,
    })),
  );
}

/** A target with the partition that it names, or why there is none to read. */
interface Source {
  readonly target: FetchTarget;
  readonly partition: Partition | null;
  errorCode: number;
  records: Buffer;
}

class FetchOperation {
  readonly #call: Call;
  readonly #request: Request;
  readonly #plan: Plan;
  readonly #endsAtMs: number;
  #sources: Source[] = [];

  constructor(call: Call, request: Request, plan: Plan) {
    const { clock, settings } = call.services;
    this.#call = call;
    this.#request = request;
    this.#plan = plan;
    this.#endsAtMs = clock.nowMs() + Math.min(Math.max(0, request.maxWaitMs), settings.fetchWaitMsMax);
  }

  async run(): Promise<void> {
    const { minBytes } = this.#request;
    const { clock } = this.#call.services;
    for (;;) {
      this.#sources = this.#plan.targets.map((target) => this.#open(target));
      const bytes = await this.#read();
      if (this.#call.client.isGone) return;
      const leftMs = this.#endsAtMs - clock.nowMs();
      // Nothing to wait for, as where a client only ends its session.
      if (this.#sources.length === 0 || bytes >= minBytes || leftMs <= 0) break;
      if (this.#sources.some(({ errorCode }) => errorCode !== NONE)) break;
      const partitions = this.#sources.flatMap(({ partition }) => (partition === null ? [] : [partition]));
      // What was read is read again then, so it need not be kept.
      for (const source of this.#sources) source.records = EMPTY;
      if (!(await new FetchWait(clock, this.#call.client).until(partitions, minBytes - bytes, leftMs)))
        return;
    }
    this.#respond();
  }

  #open(target: FetchTarget): Source {
    const { topics } = this.#call.services;
    const fail = (name: ErrorName): Source => ({
      target,
      partition: null,
      errorCode: ERRORS[name].code,
      records: EMPTY,
    });
    const byId = this.#call.version >= IDS_FROM;
    const stream = byId ? topics.byId(target.topicId) : topics.get(target.topic);
    if (stream === undefined) return fail(byId ? 'UNKNOWN_TOPIC_ID' : 'UNKNOWN_TOPIC_OR_PARTITION');
    if (!topics.may(this.#call.client.principal, 'read', stream)) return fail('TOPIC_AUTHORIZATION_FAILED');
    const partition = stream.partitions[target.partition];
    if (partition === undefined) return fail('UNKNOWN_TOPIC_OR_PARTITION');
    if (target.currentLeaderEpoch > LEADER_EPOCH) return fail('UNKNOWN_LEADER_EPOCH');
    const { fetchOffset } = target;
    const outside = fetchOffset < partition.startOffset || fetchOffset > partition.endOffset;
    const errorCode = outside ? ERRORS.OFFSET_OUT_OF_RANGE.code : NONE;
    return { target, partition, errorCode, records: EMPTY };
  }

  /** Fills in the records, one partition after the other, within the bound of the whole answer. */
  async #read(): Promise<number> {
    const bound = Math.min(this.#request.maxBytes, this.#call.services.settings.fetchBytesMax);
    let bytes = 0;
    for (const source of this.#sources) {
      const { partition, target } = source;
      if (partition === null || source.errorCode !== NONE || target.fetchOffset >= partition.endOffset)
        continue;
      const left = Math.max(0, bound - bytes);
      if (left === 0 && bytes > 0) break;
      try {
        const records = await partition.read(
          target.fetchOffset,
          Math.max(1, Math.min(left, target.bytesMax)),
        );
        // A batch larger than what is left is only given where the client would get nothing otherwise.
        if (records.length > left && bytes > 0) continue;
        source.records = records;
        bytes += records.length;
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        source.errorCode = codeFromCoreError(error);
      }
    }
    return bytes;
  }

  #respond(): void {
    const { session, incremental } = this.#plan;
    const topics: { topic: string; topicId: string; partitions: FetchedPartition[] }[] = [];
    for (const source of this.#sources) {
      const { target, partition, errorCode, records } = source;
      const highWatermark = partition?.endOffset ?? -1;
      const logStartOffset = partition?.startOffset ?? -1;
      const news = session?.isNews(target, errorCode, highWatermark, logStartOffset, records.length) ?? true;
      if (incremental && !news) continue;
      let topic = topics.at(-1);
      if (topic === undefined || topic.topic !== target.topic || topic.topicId !== target.topicId) {
        topic = { topic: target.topic, topicId: target.topicId || NO_ID, partitions: [] };
        topics.push(topic);
      }
      topic.partitions.push({
        partition: target.partition,
        errorCode,
        highWatermark,
        logStartOffset,
        records,
      });
    }
    respond(this.#call, NONE, session?.id ?? 0, topics);
  }
}

function respond(call: Call, errorCode: number, sessionId: number, topics: readonly FetchedTopic[]): void {
  const { version, correlationId } = call.header;
  call.respondWith(encodeFetchResponse(version, correlationId, { errorCode, sessionId, topics }));
}
