/**
 * Reads the partitions that a member of a group was given, for one turn of the group, and hands what it reads to the bridge in each
 * partition's order. Made by the link in. One loop for each broker that leads some of them; a loop ends when its broker leads none
 * any more, and `follow` begins those that are missing. `read` rejects when it cannot go on.
 * While the leader of a partition changes two loops may have to do with it: an answer counts only where the partition has not gone
 * on meanwhile, and what one loop handed over is stored before what the next one did.
 */

import type { Logger } from '../../src/host.ts';
import { type InboundSink, LinkError } from '../../src/outside.ts';
import { type Cluster, errorName } from './cluster.ts';
import { isPassing, linkErrorOf, responseOf, verdictOf } from './errors.ts';
import { type Fetched, type FetchedMessage, messagesFromFetch } from './fetched.ts';
import type { GroupPosition } from './membership.ts';
import type { InSettings } from './settings.ts';
import { FETCH, LIST_OFFSETS } from './wire.ts';

const READ_COMMITTED = 1;
/** Without a fetch session (KIP-227): few partitions, and nothing to lose in step with the broker. */
const SESSION_EPOCH = -1;
const PARTITION_BYTES_SHARE = 4;
const REFUSED_PAUSE_MIN_MS = 100;
const REFUSED_PAUSE_MAX_MS = 5_000;
const FAILURE_PAUSE_MS = 100;
/** Failures of a broker in a row, each with a look for other leaders in between. */
const FAILURES_MAX = 50;
const TIME_OF = { earliest: -2n, latest: -1n } as const;

export const laneName = (topic: string, partition: number): string => `${topic}:${partition}`;

/** One partition. */
export class Lane {
  readonly topic: string;
  readonly partition: number;
  /** The next to ask for. */
  next: bigint;
  /** Everything before it is stored here. */
  stored: bigint;
  /** What the group knows; null: nothing yet. */
  committed: bigint | null;
  /** Resolves when what was handed over is stored, or never will be in this turn. Never rejects. */
  handedOver: Promise<void> = Promise.resolve();

  constructor(topic: string, partition: number, next: bigint, isCommitted: boolean) {
    this.topic = topic;
    this.partition = partition;
    this.next = next;
    this.stored = next;
    this.committed = isCommitted ? next : null;
  }
}

export interface ReaderOptions {
  readonly cluster: Cluster;
  readonly settings: InSettings;
  readonly logger: Logger;
  readonly inFlightMax: number;
  readonly sink: InboundSink;
  /** There is something to commit. */
  stored(): void;
  /** A topic is not there any more, or is not to be seen now: the group has to share what is. */
  gone(): void;
}

/** What one partition gave. */
interface Piece {
  readonly lane: Lane;
  /** What was asked for. */
  readonly from: bigint;
  readonly fetched: Fetched;
}

type FetchAnswer = Awaited<ReturnType<(typeof FETCH)[number]['async']>>;

export class PartitionReader {
  readonly #options: ReaderOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #loops = new Map<number, Promise<void>>();
  readonly #storing = new Set<Promise<void>>();
  #isOver = false;
  #failed: (error: unknown) => void = () => {};
  #inFlight = 0;
  #waiting: (() => void)[] = [];

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  add(lane: Lane): void {
    this.#lanes.set(laneName(lane.topic, lane.partition), lane);
  }

  /** Begins. Never resolves; rejects with a LinkError. */
  read(): Promise<never> {
    return new Promise((_, reject) => {
      this.#failed = (error) => {
        this.stop();
        reject(linkErrorOf(error, 'the outside broker'));
      };
      this.follow();
    });
  }

  /** Leaders may have changed. */
  follow(): void {
    if (this.#isOver) return;
    for (const lane of this.#lanes.values()) {
      const leader = this.#leaderOf(lane);
      if (this.#loops.has(leader)) continue;
      const loop = (leader < 0 ? this.#awaitLeaders() : this.#loop(leader))
        .catch((error: unknown) => this.#failed(error))
        .finally(() => {
          this.#loops.delete(leader);
          this.follow();
        });
      this.#loops.set(leader, loop);
    }
  }

  #leaderOf({ topic, partition }: Lane): number {
    return this.#options.cluster.topic(topic)?.leaders[partition] ?? -1;
  }

  /** Nothing more is read. */
  stop(): void {
    this.#isOver = true;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Stops, and waits for what is with the bridge. Never rejects. */
  async finish(msMax: number): Promise<void> {
    this.stop();
    const busy = this.#storing;
    if (busy.size === 0) return;
    await Promise.race([Promise.allSettled(busy), this.#options.cluster.wait(msMax)]);
  }

  uncommitted(): readonly GroupPosition[] {
    return [...this.#lanes.values()]
      .filter(({ stored, committed }) => stored !== committed)
      .map(({ topic, partition, stored }) => ({ topic, partition, offset: stored }));
  }

  committed(positions: readonly GroupPosition[]): void {
    for (const { topic, partition, offset } of positions) {
      const lane = this.#lanes.get(laneName(topic, partition));
      if (lane !== undefined) lane.committed = offset;
    }
  }

  // ---------------------------------------------------------------------------------------------------- reading

  async #loop(node: number): Promise<void> {
    let storing: Promise<void> | null = null;
    let failures = 0;
    while (!this.#isOver) {
      const lanes = [...this.#lanes.values()].filter((lane) => this.#leaderOf(lane) === node);
      if (lanes.length === 0) break;
      let pieces: readonly Piece[];
      try {
        pieces = await this.#fetch(node, lanes);
        failures = 0;
      } catch (error) {
        if (this.#isOver) break;
        if (!isPassing(error) || ++failures > FAILURES_MAX) throw error;
        await this.#options.cluster.wait(FAILURE_PAUSE_MS);
        await this.#lookAgain();
        continue;
      }
      if (storing !== null) await storing;
      pieces = pieces.filter(({ lane, from }) => lane.next === from);
      if (this.#isOver || pieces.length === 0) continue;
      const current: Promise<void> = this.#store(pieces);
      storing = current;
      this.#storing.add(current);
      // Awaited above or below; a failure must not go unheard in between.
      current.catch(() => {}).finally(() => this.#storing.delete(current));
    }
    if (storing !== null) await storing;
  }

  async #awaitLeaders(): Promise<void> {
    await this.#options.cluster.wait(FAILURE_PAUSE_MS);
    if (!this.#isOver) await this.#lookAgain();
  }

  async #lookAgain(): Promise<void> {
    const names = [...new Set([...this.#lanes.values()].map(({ topic }) => topic))];
    for (const { name, error } of await this.#options.cluster.look(names)) {
      if (error === null || error === 'LEADER_NOT_AVAILABLE') continue;
      // It may be there again at once, under the same name and with as many partitions, so whoever looks for topics may not see it.
      if (error === 'UNKNOWN_TOPIC_OR_PARTITION') {
        this.#forget(name);
        this.#options.gone();
      } else
        throw new LinkError(
          error === 'TOPIC_AUTHORIZATION_FAILED' ? 'not-authorized' : 'protocol',
          `${name}: ${error}`,
        );
    }
    this.follow();
  }

  #forget(topic: string): void {
    for (const [name, lane] of this.#lanes) if (lane.topic === topic) this.#lanes.delete(name);
  }

  /** What is new. */
  async #fetch(node: number, lanes: readonly Lane[]): Promise<readonly Piece[]> {
    const { cluster, settings } = this.#options;
    const broker = await cluster.brokerOf(node, 'fetches');
    const topics = new Map<string, Lane[]>();
    const asked = new Map<string, bigint>();
    for (const lane of lanes) {
      asked.set(laneName(lane.topic, lane.partition), lane.next);
      const list = topics.get(lane.topic);
      if (list === undefined) topics.set(lane.topic, [lane]);
      else list.push(lane);
    }
    const bytesMax = settings.fetchBytesMax;
    const wanted = [...topics].map(([topic, list]) => ({
      topicId: topic,
      partitions: list.map(({ partition, next }) => ({
        partition,
        currentLeaderEpoch: -1,
        fetchOffset: next,
        lastFetchedEpoch: -1,
        partitionMaxBytes: Math.ceil(bytesMax / PARTITION_BYTES_SHARE),
      })),
    }));
    const answer = await cluster
      .request(
        broker,
        FETCH,
        settings.fetchWaitMs,
        1,
        bytesMax,
        READ_COMMITTED,
        0,
        SESSION_EPOCH,
        wanted,
        [],
        '',
      )
      .catch((error: unknown) => {
        const whole = responseOf<FetchAnswer>(error);
        if (whole === null || !Array.isArray(whole.responses) || whole.errorCode !== 0) throw error;
        return whole;
      });
    const pieces: Piece[] = [];
    let passing: LinkError | null = null;
    for (const { topicId, partitions } of answer.responses) {
      for (const partition of partitions) {
        const name = laneName(topicId, partition.partitionIndex);
        const lane = this.#lanes.get(name);
        const from = asked.get(name);
        if (lane === undefined || from === undefined) continue;
        const code = errorName(partition.errorCode);
        if (code === null) {
          const fetched = messagesFromFetch(topicId, partition, from);
          if (fetched.next !== from) pieces.push({ lane, from, fetched });
        } else if (code === 'OFFSET_OUT_OF_RANGE') await this.#reset(lane, from);
        else if (verdictOf(code) === 'again') passing = new LinkError('unreachable', `${topicId}: ${code}`);
        else
          throw new LinkError(
            code === 'TOPIC_AUTHORIZATION_FAILED' ? 'not-authorized' : 'protocol',
            `${topicId}: ${code}`,
          );
      }
    }
    if (passing !== null && pieces.length === 0) throw passing;
    return pieces;
  }

  /** The broker has removed what comes next, or never had it. */
  async #reset(lane: Lane, wanted: bigint): Promise<void> {
    const { topic, partition } = lane;
    const edge = await this.edgeOf(topic, partition, 'earliest');
    await lane.handedOver;
    if (lane.next !== wanted) return;
    lane.next = edge;
    lane.stored = edge;
    this.#options.logger.warn(
      { topic, partition, wanted: String(wanted), from: String(edge) },
      'bridge in: the outside broker does not have the wanted offset, reading from its first',
    );
  }

  /** The first offset of a partition, or the one after its last. */
  async edgeOf(topic: string, partition: number, from: keyof typeof TIME_OF): Promise<bigint> {
    const { cluster } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        const leader = cluster.topic(topic)?.leaders[partition] ?? -1;
        const broker = await cluster.brokerOf(leader, 'requests');
        const wanted = [
          {
            name: topic,
            partitions: [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp: TIME_OF[from] }],
          },
        ];
        const answer = await cluster.request(broker, LIST_OFFSETS, -1, READ_COMMITTED, wanted);
        const offset = answer.topics[0]?.partitions[0]?.offset ?? -1n;
        if (offset >= 0n) return offset;
        throw new LinkError('protocol', `${topic}: the broker tells no offset`);
      } catch (error) {
        if (!isPassing(error) || tries >= FAILURES_MAX || cluster.closed)
          throw linkErrorOf(error, `offsets of ${topic}`);
        await cluster.wait(FAILURE_PAUSE_MS);
        await cluster.look([topic]);
      }
    }
  }

  // ---------------------------------------------------------------------------------------------------- storing

  /** Advances the lanes at once. In each of them what was handed over before comes first, and nothing comes behind a gap. */
  async #store(pieces: readonly Piece[]): Promise<void> {
    const { promise: done, resolve: end } = Promise.withResolvers<void>();
    const inTurn = pieces.map((piece) => {
      const before = piece.lane.handedOver;
      piece.lane.next = piece.fetched.next;
      piece.lane.handedOver = done;
      return { ...piece, before };
    });
    try {
      for (const { lane, from, fetched, before } of inTurn) {
        await before;
        if (lane.stored !== from || !(await this.#storePiece(lane, fetched))) return;
      }
    } finally {
      end();
    }
  }

  /** False when the turn was over before. */
  async #storePiece(lane: Lane, { messages, next }: Fetched): Promise<boolean> {
    const { inFlightMax } = this.#options;
    for (let at = 0; at < messages.length; at += inFlightMax) {
      const some = messages.slice(at, at + inFlightMax);
      if (!(await this.#take(some))) return false;
      lane.stored = (some.at(-1) as FetchedMessage).offset + 1n;
      this.#options.stored();
    }
    lane.stored = next;
    this.#options.stored();
    return true;
  }

  /** True when the bridge has all of it; false when the turn was over before. */
  async #take(piece: readonly FetchedMessage[]): Promise<boolean> {
    let left = piece.map(({ message }) => message);
    let pauseMs = REFUSED_PAUSE_MIN_MS;
    while (!this.#isOver) {
      const size = left.length;
      await this.#enter(size);
      try {
        if (this.#isOver) return false;
        const answers = await this.#options.sink.take(left);
        left = left.filter((_, index) => answers[index] !== 'stored');
      } finally {
        this.#leave(size);
      }
      if (left.length === 0) return true;
      await this.#options.cluster.wait(pauseMs);
      pauseMs = Math.min(REFUSED_PAUSE_MAX_MS, pauseMs * 2);
    }
    return false;
  }

  async #enter(count: number): Promise<void> {
    while (this.#inFlight > 0 && this.#inFlight + count > this.#options.inFlightMax && !this.#isOver) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#inFlight += count;
  }

  #leave(count: number): void {
    this.#inFlight -= count;
    for (const go of this.#waiting.splice(0)) go();
  }
}
