/**
 * Sends batches of records and finds out what became of every single one. Used by the links out, with one batch at a time.
 *
 * A chunk is sent to its partition's leader until there is an answer, with the same sequence numbers each time, so that a broker
 * that has it already says so and does not append it again (idempotent producer, KIP-98). Chunks of one partition go one after
 * the other. A broker refuses a chunk as a whole: it is cut in two until what cannot be taken stands alone. Nothing is
 * appended of a chunk that is refused, so its sequence numbers are used again for its parts.
 */

import { type CompressionAlgorithmValue, NumericMap } from '@platformatic/kafka';
import { LinkError, type SendAnswer } from '../../src/outside.ts';
import { type Broker, type Cluster, errorName } from './cluster.ts';
import {
  errorCodesOf,
  isNetworkError,
  isPassing,
  linkErrorOf,
  responseOf,
  type Verdict,
  verdictOf,
} from './errors.ts';
import { type Chunk, halvesOf, messagesOf } from './records.ts';
import { INIT_PRODUCER_ID, PRODUCE } from './wire.ts';

const PAUSE_MIN_MS = 20;
const PAUSE_MAX_MS = 1_000;
const SEQUENCE_MAX = 0x7fff_ffff;
/** Identities that one batch may use up before the link is given up. */
const IDENTITIES_MAX = 3;

/** Errors after which the records may be there. */
const UNCLEAR: ReadonlySet<string> = new Set([
  'REQUEST_TIMED_OUT',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'NETWORK_EXCEPTION',
]);

/** In the order of the batch; undefined: none yet. */
export type Answers = (SendAnswer | undefined)[];

export interface ProducerOptions {
  /** -1: every replica in sync; 1: the leader; 0: nobody. */
  readonly acks: -1 | 0 | 1;
  readonly compression: CompressionAlgorithmValue;
  readonly deliveryTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Null: not idempotent. */
  readonly identity: 'idempotent' | 'transactional' | null;
  readonly transactionalId: string | null;
  readonly transactionTimeoutMs: number;
  /** What may be there already is not sent again. */
  readonly once: boolean;
}

/** What one partition still has to take. */
interface Lane {
  chunks: Chunk[];
}

interface Outcome {
  readonly verdict: Verdict;
  readonly reason: string;
  /** Places in the chunk of records that are to blame, where the broker says so. */
  readonly blamed: readonly number[];
}

const STORED: Outcome = { verdict: 'stored', reason: '', blamed: [] };

export class Producer {
  readonly #cluster: Cluster;
  readonly #options: ProducerOptions;
  #id = -1n;
  #epoch = -1;
  /** The next number of each partition, as the library reads them. */
  readonly #sequences = new NumericMap();

  constructor(cluster: Cluster, options: ProducerOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  get id(): bigint {
    return this.#id;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /**
   * Asks for an identity. With a transactional id every earlier producer of that name is shut out, and what it left open is ended
   * first. `before`: asked of its coordinator just before, each time.
   */
  async identify(before?: (coordinator: Broker) => Promise<void>): Promise<void> {
    const { transactionalId, transactionTimeoutMs } = this.#options;
    const identity = await this.retrying('a producer id', async () => {
      const broker =
        transactionalId === null
          ? await this.#cluster.anyBroker()
          : await this.#cluster.coordinatorOf('transaction', transactionalId, 'requests');
      await before?.(broker);
      return this.#cluster.request(broker, INIT_PRODUCER_ID, transactionalId, transactionTimeoutMs);
    });
    this.#id = identity.producerId;
    this.#epoch = identity.producerEpoch;
    this.#sequences.clear();
  }

  /** Tries again over what passes by itself, and finds the coordinator anew; otherwise throws a LinkError. */
  async retrying<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    const deadlineMs = this.#cluster.nowMs() + this.#options.deliveryTimeoutMs;
    let pauseMs = 2;
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (!isPassing(error) || this.#cluster.closed || this.#cluster.nowMs() > deadlineMs)
          throw linkErrorOf(error, what);
        this.#cluster.waits(linkErrorOf(error, what));
        const { transactionalId } = this.#options;
        const isBusy =
          errorCodesOf(error).every((code) => code === 'CONCURRENT_TRANSACTIONS') && !isNetworkError(error);
        if (!isBusy && transactionalId !== null)
          this.#cluster.forgetCoordinator('transaction', transactionalId);
        await this.#cluster.wait(pauseMs);
        pauseMs = Math.min(PAUSE_MAX_MS, pauseMs * (isBusy ? 1.5 : 4));
      }
    }
  }

  /**
   * Sends the chunks, each list in its order, and writes the answers. Throws a LinkError where what became of some of them
   * cannot be found out within the time for it.
   */
  async send(lists: readonly Chunk[][], answers: Answers): Promise<void> {
    const deadlineMs = this.#cluster.nowMs() + this.#options.deliveryTimeoutMs;
    let lanes: Lane[] = lists.map((chunks) => ({ chunks: [...chunks] }));
    let pauseMs = PAUSE_MIN_MS;
    let identities = 0;
    while (lanes.length > 0) {
      const { again, isIdentityLost } = await this.#sendRound(lanes, answers);
      lanes = lanes.filter(({ chunks }) => chunks.length > 0);
      if (isIdentityLost !== null) {
        if (this.#options.identity !== 'idempotent' || ++identities > IDENTITIES_MAX) {
          throw new LinkError('closed', `the producer is shut out: ${isIdentityLost}`);
        }
        await this.identify();
      }
      if (again === null) {
        pauseMs = PAUSE_MIN_MS;
        continue;
      }
      if (this.#cluster.closed || this.#cluster.nowMs() > deadlineMs) throw again;
      await this.#cluster.wait(pauseMs);
      pauseMs = Math.min(PAUSE_MAX_MS, pauseMs * 2);
      await this.#lookAgain(lanes, answers);
    }
  }

  /** The first chunk of every lane, to all leaders at once. */
  async #sendRound(
    lanes: readonly Lane[],
    answers: Answers,
  ): Promise<{ again: LinkError | null; isIdentityLost: string | null }> {
    const byLeader = new Map<number, Lane[]>();
    for (const lane of lanes) {
      const { topic, partition } = lane.chunks[0] as Chunk;
      const leader = this.#cluster.topic(topic)?.leaders[partition] ?? -1;
      const led = byLeader.get(leader);
      if (led === undefined) byLeader.set(leader, [lane]);
      else led.push(lane);
    }
    let again: LinkError | null = null;
    let isIdentityLost: string | null = null;
    const round = [...byLeader].map(async ([leader, led]) => {
      const outcomes = await this.#request(leader, led);
      for (const [index, lane] of led.entries()) {
        const outcome = outcomes[index] as Outcome | LinkError;
        if (outcome instanceof LinkError) again = outcome;
        else if (outcome.verdict === 'again') again = new LinkError('timeout', outcome.reason);
        else if (outcome.verdict === 'producer') isIdentityLost = outcome.reason;
        else this.#settle(lane, outcome, answers);
        if (!(outcome instanceof LinkError)) this.#cluster.answered();
      }
    });
    const results = await Promise.allSettled(round);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    return { again, isIdentityLost };
  }

  async #request(leader: number, lanes: readonly Lane[]): Promise<readonly (Outcome | LinkError)[]> {
    const chunks = lanes.map((lane) => lane.chunks[0] as Chunk);
    try {
      if (leader < 0) throw new LinkError('unreachable', `nobody leads ${chunks[0]?.topic}`);
      const broker = await this.#cluster.brokerOf(leader, 'requests');
      return await this.#produce(broker, chunks);
    } catch (error) {
      if (!isNetworkError(error)) throw linkErrorOf(error, 'produce');
      const failure = linkErrorOf(error, `broker ${leader}`);
      if (this.#options.once && leader >= 0) throw failure;
      return chunks.map(() => failure);
    }
  }

  async #produce(broker: Broker, chunks: readonly Chunk[]): Promise<readonly Outcome[]> {
    const { acks, requestTimeoutMs, compression, identity, transactionalId } = this.#options;
    const response = await this.#cluster
      .request(broker, PRODUCE, acks, requestTimeoutMs, chunks.flatMap(messagesOf), {
        compression,
        transactionalId,
        ...(identity === null
          ? {}
          : { producerId: this.#id, producerEpoch: this.#epoch, sequences: this.#sequences }),
      })
      .catch((error: unknown) => {
        const whole = responseOf<{ responses?: unknown }>(error);
        if (whole === null || !Array.isArray(whole.responses)) throw error;
        return whole as Exclude<Awaited<ReturnType<(typeof PRODUCE)[number]['async']>>, boolean>;
      });
    if (typeof response === 'boolean' || acks === 0) return chunks.map(() => STORED);
    return chunks.map(({ topic, partition }) => {
      const found = response.responses
        .find(({ name }) => name === topic)
        ?.partitionResponses.find(({ index }) => index === partition);
      if (found === undefined) throw new LinkError('protocol', `the broker answers nothing for ${topic}`);
      const code = errorName(found.errorCode);
      if (code === null) return STORED;
      const reason = found.errorMessage ? `${code}: ${found.errorMessage}` : code;
      if (this.#options.once && UNCLEAR.has(code)) throw new LinkError('timeout', reason);
      const blamed = (found.recordErrors ?? []).map(({ batchIndex }) => batchIndex);
      return { verdict: verdictOf(code), reason, blamed };
    });
  }

  /** Takes the lane's first chunk off it, or cuts it. */
  #settle(lane: Lane, outcome: Outcome, answers: Answers): void {
    const chunk = lane.chunks.shift() as Chunk;
    const { verdict, reason, blamed } = outcome;
    if (verdict === 'stored') {
      for (const { index } of chunk.records) answers[index] = null;
      const name = `${chunk.topic}:${chunk.partition}`;
      this.#sequences.set(name, sequenceAfter(this.#sequences.getWithDefault(name, 0), chunk.records.length));
      return;
    }
    if (verdict === 'split' && chunk.records.length > 1) {
      const guilty = new Set(blamed);
      for (const place of guilty) {
        const index = chunk.records[place]?.index;
        if (index !== undefined) answers[index] = { reason, permanent: true };
      }
      const innocent = chunk.records.filter((_, place) => !guilty.has(place));
      if (innocent.length === chunk.records.length) lane.chunks.unshift(...halvesOf(chunk));
      else if (innocent.length > 0) lane.chunks.unshift({ ...chunk, records: innocent });
      return;
    }
    const permanent = verdict !== 'later';
    for (const { index } of chunk.records) answers[index] = { reason, permanent };
    // What follows in this partition must not overtake it.
    if (!permanent) refuse(lane, reason, answers);
  }

  /** Where leaders have changed. What is for a topic that is gone waits for it. */
  async #lookAgain(lanes: Lane[], answers: Answers): Promise<void> {
    const names = [...new Set(lanes.map(({ chunks }) => chunks[0]?.topic ?? ''))];
    try {
      for (const { name, error } of await this.#cluster.look(names)) {
        if (error === null || verdictOf(error) !== 'later') {
          if (error !== 'UNKNOWN_TOPIC_OR_PARTITION') continue;
        }
        for (const lane of lanes)
          if (lane.chunks[0]?.topic === name) refuse(lane, `${name}: ${error}`, answers);
      }
    } catch (error) {
      if (!isNetworkError(error)) throw linkErrorOf(error, 'metadata');
    }
    let at = 0;
    for (const lane of lanes) if (lane.chunks.length > 0) lanes[at++] = lane;
    lanes.length = at;
  }
}

/** Everything that is left of it may be sent later. */
function refuse(lane: Lane, reason: string, answers: Answers): void {
  for (const { records } of lane.chunks) {
    for (const { index } of records) answers[index] = { reason, permanent: false };
  }
  lane.chunks = [];
}

/** Numbers wrap to 0 after the largest. */
function sequenceAfter(sequence: number, count: number): number {
  return count > SEQUENCE_MAX - sequence ? count - (SEQUENCE_MAX - sequence) - 1 : sequence + count;
}
