/**
 * A link to an outside Kafka for a bridge that sends, at most or at least once. One batch of the bridge is some record batches, one
 * after the other for each partition; at least once, sequence numbers keep what is sent again after a lost answer from being there
 * twice as long as the link lives. `transactions.ts` sends exactly once.
 */

import type { Logger } from '../../src/host.ts';
import {
  type AddressTurns,
  type BridgeDelivery,
  type BridgeLink,
  type InboundSink,
  LinkError,
  type LinkOptions,
  type OutsideMessage,
  type SendAnswer,
} from '../../src/outside.ts';
import { Cluster } from './cluster.ts';
import { linkErrorOf } from './errors.ts';
import { ownName } from './names.ts';
import { type Answers, Producer } from './producer.ts';
import {
  type Chunk,
  chunksOf,
  type OutRecord,
  RECORD_BYTES_MAX,
  recordFrom,
  type Spread,
} from './records.ts';
import type { ConnectionSettings, OutSettings } from './settings.ts';
import { Topics } from './topics.ts';

const ACKS = { all: -1, leader: 1, none: 0 } as const;

const PERMANENTLY_NAMELESS: SendAnswer = {
  reason: 'its address is no name of a Kafka topic',
  permanent: true,
};

/** How the messages of a batch get there. */
export interface Sending {
  readonly sentOffset: number | null;
  readonly markOffset: number | null;
  /** Before the first batch. */
  begin(): Promise<void>;
  send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]>;
}

/** What both ways to send have in common: from messages to chunks that can be sent. */
export class Batcher {
  readonly cluster: Cluster;
  readonly settings: OutSettings;
  readonly #topics: Topics;
  readonly #spread: Spread = new Map();

  constructor(cluster: Cluster, settings: OutSettings) {
    this.cluster = cluster;
    this.settings = settings;
    this.#topics = new Topics(cluster, settings);
  }

  /** Answers what cannot be sent; what is left are the records that can. */
  async prepare(batch: readonly OutsideMessage[], answers: Answers): Promise<readonly OutRecord[]> {
    const records: OutRecord[] = [];
    const names = new Set<string>();
    for (const [index, { message }] of batch.entries()) {
      if (answers[index] !== undefined) continue;
      const record = recordFrom(message, index, this.settings.keyless);
      if (record === null) answers[index] = PERMANENTLY_NAMELESS;
      else if (record.bytes > RECORD_BYTES_MAX) {
        answers[index] = { reason: `larger than ${RECORD_BYTES_MAX} bytes`, permanent: true };
      } else {
        records.push(record);
        names.add(record.topic);
      }
    }
    const refusals = await this.#topics.prepare(names);
    if (refusals.size === 0) return records;
    return records.filter(({ index, topic }) => {
      const refusal = refusals.get(topic);
      if (refusal !== undefined) answers[index] = { reason: refusal.reason, permanent: refusal.permanent };
      return refusal === undefined;
    });
  }

  place(records: readonly OutRecord[]): Chunk[][] {
    const partitionsOf = (topic: string): number =>
      Math.max(1, this.cluster.topic(topic)?.leaders.length ?? 1);
    return chunksOf(records, partitionsOf, this.#spread, this.settings.batchBytesMax);
  }
}

export function answersOf(answers: Answers): readonly SendAnswer[] {
  return answers.map((answer) => (answer === undefined ? NOT_SENT : answer));
}

const NOT_SENT: SendAnswer = { reason: 'not sent yet', permanent: false };

class PlainSending implements Sending {
  readonly sentOffset = null;
  readonly markOffset = null;
  readonly #batcher: Batcher;
  readonly #producer: Producer;
  readonly #isIdempotent: boolean;

  constructor(batcher: Batcher, connection: ConnectionSettings, delivery: BridgeDelivery) {
    const { acks, compression, deliveryTimeoutMs, transactionTimeoutMs } = batcher.settings;
    this.#batcher = batcher;
    this.#isIdempotent = delivery === 'at-least-once' && acks === 'all';
    this.#producer = new Producer(batcher.cluster, {
      acks: ACKS[acks],
      compression,
      deliveryTimeoutMs,
      requestTimeoutMs: connection.requestTimeoutMs,
      identity: this.#isIdempotent ? 'idempotent' : null,
      transactionalId: null,
      transactionTimeoutMs,
      once: delivery === 'at-most-once',
    });
  }

  async begin(): Promise<void> {
    if (this.#isIdempotent) await this.#producer.identify();
  }

  async send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    const answers: Answers = new Array(batch.length).fill(undefined);
    const records = await this.#batcher.prepare(batch, answers);
    await this.#producer.send(this.#batcher.place(records), answers);
    return answersOf(answers);
  }
}

export class OutLink implements BridgeLink {
  readonly #cluster: Cluster;
  readonly #sending: Sending;
  readonly #lost: (error: Error) => void;
  readonly #logger: Logger;
  #isSending = false;
  #isLooking = false;
  #closed = false;

  /** Connects; throws a LinkError. `makeSending` for exactly-once. */
  static async open(
    options: LinkOptions,
    turns: AddressTurns,
    makeSending: ((batcher: Batcher, name: string) => Sending) | null,
  ): Promise<OutLink> {
    const connection = options.connection as ConnectionSettings;
    const settings = options.options as OutSettings;
    if (settings.acks !== 'all' && options.delivery === 'exactly-once') {
      throw new LinkError('protocol', 'delivery exactly-once needs acks: all');
    }
    if (settings.acks === 'none' && options.delivery !== 'at-most-once') {
      throw new LinkError('protocol', 'acks: none goes with delivery at-most-once only');
    }
    const link: { current: OutLink | null } = { current: null };
    const cluster = new Cluster({
      bridge: options,
      turns,
      settings: connection,
      clock: options.clock,
      logger: options.logger,
      patienceMs: {},
      disconnected: () => link.current?.disconnected(),
    });
    const abort = (): void => void cluster.close();
    options.signal.addEventListener('abort', abort, { once: true });
    try {
      if (options.signal.aborted) throw new LinkError('closed', 'given up');
      await cluster.look([]);
      const batcher = new Batcher(cluster, settings);
      const sending =
        makeSending?.(batcher, ownName(options.gatewayId, options.name, 'out')) ??
        new PlainSending(batcher, connection, options.delivery);
      await sending.begin();
      if (options.signal.aborted) throw new LinkError('closed', 'given up');
      link.current = new OutLink(cluster, sending, options);
      return link.current;
    } catch (error) {
      await cluster.close();
      throw linkErrorOf(error, 'the outside broker');
    } finally {
      options.signal.removeEventListener('abort', abort);
    }
  }

  private constructor(cluster: Cluster, sending: Sending, options: LinkOptions) {
    this.#cluster = cluster;
    this.#sending = sending;
    this.#lost = (error) => options.lost(error);
    this.#logger = options.logger;
  }

  get peer(): string | null {
    return this.#cluster.gatewayId;
  }

  get sentOffset(): number | null {
    return this.#sending.sentOffset;
  }

  get markOffset(): number | null {
    return this.#sending.markOffset;
  }

  async send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    if (batch.length === 0) return [];
    this.#isSending = true;
    try {
      return await this.#sending.send(batch);
    } catch (error) {
      await this.close();
      throw linkErrorOf(error, 'the outside broker');
    } finally {
      this.#isSending = false;
    }
  }

  receive(_sources: readonly string[], _sink: InboundSink): Promise<void> {
    return Promise.reject(new LinkError('protocol', 'this link only sends'));
  }

  /** Brokers close idle connections, which is nothing; but that nobody answers any more should be known before the next message. */
  disconnected(): void {
    if (this.#isSending || this.#isLooking || this.#closed) return;
    this.#isLooking = true;
    this.#cluster
      .look([])
      .catch((error: unknown) => {
        if (this.#closed || this.#isSending) return;
        this.#logger.debug({ err: String(error) }, 'outside broker: gone while nothing was sent');
        void this.close();
        this.#lost(linkErrorOf(error, 'the outside broker'));
      })
      .finally(() => {
        this.#isLooking = false;
      });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#cluster.close();
  }
}
