/**
 * Exactly once into an outside Kafka. Each batch of the bridge is one transaction (KIP-98) of a producer whose name is the
 * gateway's and the bridge's: the records, and in the same transaction the offset of the batch's last message, committed for a
 * group of that name. Whoever opens the link again first takes the name over, which ends what the one before left open and shuts it
 * out, and then reads the offset: so it knows what is there, whoever was killed and whenever.
 *
 * What has to wait (a topic that is not there) ends the transaction in front of it, because the offset says "everything up to here".
 * What is refused for good does not: it is named in the text of the commit.
 */

import { LinkError, type OutsideMessage, type SendAnswer } from '../../src/outside.ts';
import { type Broker, errorName } from './cluster.ts';
import { errorCodesOf, isPassing, linkErrorOf, responseOf, verdictOf } from './errors.ts';
import { answersOf, type Batcher, type Sending } from './out-link.ts';
import { type Answers, Producer } from './producer.ts';
import type { Chunk } from './records.ts';
import { forgettableOffset, isThere, markFrom, type SentMark, textOfRefused } from './sent-mark.ts';
import type { ConnectionSettings } from './settings.ts';
import {
  ADD_OFFSETS_TO_TXN,
  ADD_PARTITIONS_TO_TXN,
  DESCRIBE_TRANSACTIONS,
  END_TXN,
  STABLE_OFFSET_FETCH,
  TXN_OFFSET_COMMIT,
} from './wire.ts';

/** Topics of a transaction at which its offset is left: more than one, in case one is deleted. */
const MARKED_TOPICS_MAX = 8;
/** So long an offset may be pending where nobody knows how the transaction has ended. */
const PENDING_MS_MAX = 3_000;
const PENDING_PAUSE_MS = 20;
const SENT_OFFSET = 'the offset of what was sent';
/** How many refused messages the text of a commit may still name. */
const REFUSED_MAX = 200;

/** Whether what a transaction has brought is there, by the state in which it has ended. */
const IS_COMMITTED: ReadonlyMap<string, boolean> = new Map([
  ['CompleteCommit', true],
  ['CompleteAbort', false],
]);

const BEHIND: SendAnswer = { reason: 'waits for a message before it', permanent: false };

export class TransactionalSending implements Sending {
  readonly #batcher: Batcher;
  /** The transactional id, and the group that the offset is committed for. */
  readonly #name: string;
  readonly #producer: Producer;
  #mark: SentMark | null = null;
  /** How the last transaction of whoever had the name before has ended; null: nobody knows. */
  #wasCommitted: boolean | null = null;

  constructor(batcher: Batcher, name: string, connection: ConnectionSettings) {
    const { compression, deliveryTimeoutMs, transactionTimeoutMs } = batcher.settings;
    this.#batcher = batcher;
    this.#name = name;
    this.#producer = new Producer(batcher.cluster, {
      acks: -1,
      compression,
      deliveryTimeoutMs,
      requestTimeoutMs: connection.requestTimeoutMs,
      identity: 'transactional',
      transactionalId: name,
      transactionTimeoutMs,
      once: false,
    });
  }

  get sentOffset(): number | null {
    return this.#mark === null ? null : forgettableOffset(this.#mark);
  }

  get markOffset(): number | null {
    return this.#mark?.offset ?? null;
  }

  async begin(): Promise<void> {
    await this.#producer.identify((coordinator) => this.#lookBack(coordinator));
    if (this.#wasCommitted !== null) await this.#settlePending(this.#wasCommitted);
    this.#mark = await this.#readMark();
  }

  /** Once the name is taken over, perhaps by an attempt whose answer was lost, the broker does not tell any more. */
  async #lookBack(coordinator: Broker): Promise<void> {
    try {
      const { transactionStates } = await this.#batcher.cluster.request(coordinator, DESCRIBE_TRANSACTIONS, [
        this.#name,
      ]);
      const state = transactionStates[0]?.transactionState ?? '';
      this.#wasCommitted = IS_COMMITTED.get(state) ?? this.#wasCommitted;
    } catch (error) {
      // A broker that does not know the request or the name, or must not tell, is done without.
      if (isPassing(error)) throw error;
    }
  }

  async #readMark(): Promise<SentMark | null> {
    const cluster = this.#batcher.cluster;
    const startedMs = cluster.nowMs();
    let isGivenUp = false;
    for (;;) {
      try {
        return await this.#retryingGroup(SENT_OFFSET, () => this.#fetchMark());
      } catch (error) {
        if (!isPending(error) || cluster.closed) throw error;
        cluster.waits(linkErrorOf(error, SENT_OFFSET));
      }
      if (isGivenUp || cluster.nowMs() - startedMs < PENDING_MS_MAX) await cluster.wait(PENDING_PAUSE_MS);
      else {
        isGivenUp = true;
        await this.#settlePending(false);
      }
    }
  }

  async #fetchMark(): Promise<SentMark | null> {
    const cluster = this.#batcher.cluster;
    const broker = await cluster.coordinatorOf('group', this.#name, 'requests');
    const group = { groupId: this.#name, memberId: null, memberEpoch: -1, topics: null };
    const { groups } = await cluster.request(broker, STABLE_OFFSET_FETCH, [group], true);
    const partitions = (groups[0]?.topics ?? []).flatMap((topic) => topic.partitions);
    return markFrom(
      partitions.map(({ committedOffset, metadata }) => ({ offset: committedOffset, text: metadata })),
    );
  }

  /**
   * A broker may keep an offset pending though its transaction has ended, and then nothing ever ends it: Kafka 4.3.1 when it was
   * killed in the middle of the end, and after its start wrote that to the other partitions alone. The end of another
   * transaction of the same producer settles it, and has to be as that of the first. It does not always tell of such an
   * offset, so it is done each time. Where nobody knows how the first ended, records come twice rather than never.
   */
  async #settlePending(isCommitted: boolean): Promise<void> {
    await this.#addOffsets();
    await this.#end(isCommitted);
    // It is given only when that has come everywhere.
    await this.#producer.identify();
  }

  #retryingGroup<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    return this.#producer.retrying(what, async () => {
      try {
        return await attempt();
      } catch (error) {
        if (!isPending(error)) this.#batcher.cluster.forgetCoordinator('group', this.#name);
        throw error;
      }
    });
  }

  async send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    let end = batch.length;
    const answers: Answers = new Array(batch.length).fill(undefined);
    for (;;) {
      const attempt: Answers = batch.map(({ offset }) => (isThere(this.#mark, offset) ? null : undefined));
      const blocked = await this.#sendUntil(batch.slice(0, end), attempt);
      if (blocked < 0) {
        for (let index = 0; index < end; index++) answers[index] = attempt[index];
        return answersOf(answers);
      }
      // What is at `blocked` has to wait, and so has everything after it.
      answers[blocked] = attempt[blocked];
      for (let index = blocked + 1; index < batch.length; index++) answers[index] = BEHIND;
      end = blocked;
      if (end === 0) return answersOf(answers);
    }
  }

  /** Sends all of it in one transaction. Otherwise nothing, and the place of the first message that has to wait; -1 for none. */
  async #sendUntil(batch: readonly OutsideMessage[], answers: Answers): Promise<number> {
    const records = await this.#batcher.prepare(batch, answers);
    const missing = firstWaiting(answers, batch.length);
    if (missing >= 0) return missing;
    if (records.length === 0) return -1;
    const lists = this.#batcher.place(records);
    const denied = await this.#addPartitions(lists, answers);
    if (denied) {
      await this.#abort();
      return firstWaiting(answers, batch.length);
    }
    await this.#producer.send(lists, answers);
    const waiting = firstWaiting(answers, batch.length);
    if (waiting >= 0) {
      await this.#abort();
      return waiting;
    }
    const mark = this.#markAfter(batch, answers);
    await this.#commit(mark, [...new Set(records.map(({ topic }) => topic))]);
    this.#mark = mark;
    return -1;
  }

  #markAfter(batch: readonly OutsideMessage[], answers: Answers): SentMark {
    const offsets = new Set(batch.map(({ offset }) => offset));
    const refused = (this.#mark?.refused ?? []).filter((offset) => !offsets.has(offset));
    for (const [index, { offset }] of batch.entries()) if (answers[index] !== null) refused.push(offset);
    const last = Math.max(this.#mark?.offset ?? -1, (batch.at(-1) as OutsideMessage).offset);
    return { offset: last, refused: refused.slice(-REFUSED_MAX) };
  }

  /** True where the broker denies one: answers then say which have to wait. */
  async #addPartitions(lists: readonly Chunk[][], answers: Answers): Promise<boolean> {
    const cluster = this.#batcher.cluster;
    const topics = new Map<string, number[]>();
    for (const [chunk] of lists) {
      if (chunk === undefined) continue;
      const partitions = topics.get(chunk.topic);
      if (partitions === undefined) topics.set(chunk.topic, [chunk.partition]);
      else partitions.push(chunk.partition);
    }
    const transaction = {
      transactionalId: this.#name,
      producerId: this.#producer.id,
      producerEpoch: this.#producer.epoch,
      verifyOnly: false,
      topics: [...topics].map(([name, partitions]) => ({ name, partitions })),
    };
    try {
      await this.#producer.retrying('begin of a transaction', async () => {
        const broker = await cluster.coordinatorOf('transaction', this.#name, 'requests');
        await cluster.request(broker, ADD_PARTITIONS_TO_TXN, [transaction]).catch((error: unknown) => {
          // The others are not attempted because of those that are refused for good.
          if (deniedTopics(error).size > 0) throw new Denied(deniedTopics(error));
          throw error;
        });
      });
      return false;
    } catch (error) {
      const denied = error instanceof LinkError && error.cause instanceof Denied ? error.cause : error;
      if (!(denied instanceof Denied)) throw error;
      for (const list of lists) {
        const code = denied.topics.get(list[0]?.topic ?? '');
        if (code === undefined) continue;
        for (const { topic, records } of list) {
          for (const { index } of records)
            answers[index] = { reason: `topic ${topic}: ${code}`, permanent: false };
        }
      }
      return true;
    }
  }

  async #commit(mark: SentMark, topics: readonly string[]): Promise<void> {
    const cluster = this.#batcher.cluster;
    const { id, epoch } = this.#producer;
    await this.#addOffsets();
    const marks = topics.slice(0, MARKED_TOPICS_MAX).map((name) => ({
      name,
      partitions: [
        {
          partitionIndex: 0,
          committedOffset: BigInt(mark.offset),
          committedLeaderEpoch: -1,
          committedMetadata: textOfRefused(mark.refused),
        },
      ],
    }));
    await this.#retryingGroup('offset of a transaction', async () => {
      const broker = await cluster.coordinatorOf('group', this.#name, 'requests');
      return cluster.request(
        broker,
        TXN_OFFSET_COMMIT,
        this.#name,
        this.#name,
        id,
        epoch,
        -1,
        '',
        null,
        marks,
      );
    });
    await this.#end(true);
  }

  async #addOffsets(): Promise<void> {
    const cluster = this.#batcher.cluster;
    const { id, epoch } = this.#producer;
    await this.#producer.retrying('offset of a transaction', async () => {
      const broker = await cluster.coordinatorOf('transaction', this.#name, 'requests');
      return cluster.request(broker, ADD_OFFSETS_TO_TXN, this.#name, id, epoch, this.#name);
    });
  }

  async #end(commit: boolean): Promise<void> {
    const cluster = this.#batcher.cluster;
    const { id, epoch } = this.#producer;
    await this.#producer.retrying('end of a transaction', async () => {
      const broker = await cluster.coordinatorOf('transaction', this.#name, 'requests');
      return cluster.request(broker, END_TXN, this.#name, id, epoch, commit);
    });
  }

  /** A new identity ends what is open, and its sequence numbers begin anew. */
  #abort(): Promise<void> {
    return this.#producer.identify();
  }
}

/** An offset belongs to a transaction that has not ended. */
const isPending = (error: unknown): boolean => errorCodesOf(error).includes('UNSTABLE_OFFSET_COMMIT');

class Denied extends Error {
  readonly topics: ReadonlyMap<string, string>;

  constructor(topics: ReadonlyMap<string, string>) {
    super('denied');
    this.topics = topics;
  }
}

/** Topics that cannot be in the transaction, and why. */
function deniedTopics(error: unknown): ReadonlyMap<string, string> {
  const denied = new Map<string, string>();
  const response = responseOf<{
    resultsByTransaction?: {
      topicResults: { name: string; resultsByPartition: { partitionErrorCode: number }[] }[];
    }[];
  }>(error);
  for (const { topicResults } of response?.resultsByTransaction ?? []) {
    for (const { name, resultsByPartition } of topicResults) {
      for (const { partitionErrorCode } of resultsByPartition) {
        const code = errorName(partitionErrorCode);
        if (code === null || code === 'OPERATION_NOT_ATTEMPTED') continue;
        if (code === 'UNKNOWN_TOPIC_OR_PARTITION' || verdictOf(code) === 'later') denied.set(name, code);
      }
    }
  }
  return denied;
}

/** The first message that is neither there nor refused for good, but has an answer; -1 for none. */
function firstWaiting(answers: Answers, length: number): number {
  for (let index = 0; index < length; index++) {
    const answer = answers[index];
    if (answer !== undefined && answer !== null && !answer.permanent) return index;
  }
  return -1;
}
