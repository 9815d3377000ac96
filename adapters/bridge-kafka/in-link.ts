/**
 * A link from an outside Kafka: a member of a consumer group that hands what it reads to the bridge, and commits how far it came only
 * when the bridge has it. Each time that the group shares its partitions is a turn: the partitions of a turn are read until it is
 * over, what was handed over is waited for and committed, and the link joins again. For each broker that leads one of them one
 * answer is being stored and at most one more waits; while the bridge refuses, nothing else is read. Any failure that does not pass
 * ends the link: nothing is lost by it, because the group goes on where it committed.
 */

import type { Timer } from '../../src/core/index.ts';
import {
  type AddressTurns,
  type BridgeLink,
  type InboundSink,
  LinkError,
  type LinkOptions,
  type SendAnswer,
} from '../../src/outside.ts';
import { Cluster, type Topic } from './cluster.ts';
import { isNetworkError, linkErrorOf } from './errors.ts';
import type { Assignment } from './group-protocol.ts';
import { type GroupPosition, Membership, REBALANCE_MS_MAX } from './membership.ts';
import { ownName, Sources } from './names.ts';
import { Lane, laneName, PartitionReader } from './partition-reader.ts';
import type { ConnectionSettings, InSettings } from './settings.ts';

const CLOSE_MS_MAX = 1_000;
/** What a turn leaves unfinished after so long is read again by whoever has the partition then. */
const FINISH_MS_MAX = REBALANCE_MS_MAX / 2;
const COMMIT_PAUSE_MS = 100;
const MISSING_PAUSE_MS = 1_000;

export class InLink implements BridgeLink {
  readonly sentOffset = null;
  readonly #options: LinkOptions;
  readonly #settings: InSettings;
  readonly #cluster: Cluster;
  readonly #membership: Membership;
  #sources = new Sources([]);
  #reader: PartitionReader | null = null;
  /** Topics and how many partitions they have, as they were when the group shared them. */
  #shared = '';
  #isFirstTurn = true;
  #lookTimer: Timer | null = null;
  #isCommitting: Promise<void> | null = null;
  #closing: Promise<void> | null = null;

  /** Connects; throws a LinkError. */
  static async open(options: LinkOptions, turns: AddressTurns): Promise<InLink> {
    const settings = options.options as InSettings;
    const cluster = new Cluster({
      bridge: options,
      turns,
      settings: options.connection as ConnectionSettings,
      clock: options.clock,
      logger: options.logger,
      patienceMs: { fetches: settings.fetchWaitMs + 10_000, membership: REBALANCE_MS_MAX + 10_000 },
      disconnected: () => {},
    });
    const abort = (): void => void cluster.close();
    options.signal.addEventListener('abort', abort, { once: true });
    try {
      if (options.signal.aborted) throw new LinkError('closed', 'given up');
      await cluster.look([]);
      if (options.signal.aborted) throw new LinkError('closed', 'given up');
      return new InLink(options, cluster);
    } catch (error) {
      await cluster.close();
      throw linkErrorOf(error, 'the outside broker');
    } finally {
      options.signal.removeEventListener('abort', abort);
    }
  }

  private constructor(options: LinkOptions, cluster: Cluster) {
    this.#options = options;
    this.#settings = options.options as InSettings;
    this.#cluster = cluster;
    const instanceId = ownName(options.gatewayId, options.name, 'in');
    const { groupId, sessionTimeoutMs } = this.#settings;
    this.#membership = new Membership(cluster, options.clock, {
      id: groupId || instanceId,
      instanceId,
      sessionTimeoutMs,
    });
  }

  get peer(): string | null {
    return this.#cluster.gatewayId;
  }

  send(): Promise<readonly SendAnswer[]> {
    return Promise.reject(new LinkError('protocol', 'this link only receives'));
  }

  async receive(sources: readonly string[], sink: InboundSink): Promise<void> {
    try {
      this.#sources = new Sources(sources);
      const topics = await this.#findTopics();
      if (topics.length === 0 && !this.#sources.hasExpressions) {
        throw new LinkError('no-target', `${this.#sources.names.join(', ')}: no such topic there`);
      }
      const reader = await this.#beginTurn(topics, sink);
      this.#isFirstTurn = false;
      void this.#run(reader, sink);
    } catch (error) {
      await this.close();
      throw linkErrorOf(error, 'the outside broker');
    }
  }

  // ---------------------------------------------------------------------------------------------------- turns

  /** Turn after turn until the link is closed or fails. Never rejects. */
  async #run(first: PartitionReader | null, sink: InboundSink): Promise<void> {
    let reader = first;
    try {
      while (this.#closing === null) {
        if (reader === null) await this.#cluster.wait(Math.min(MISSING_PAUSE_MS, this.#settings.lookAgainMs));
        else {
          await this.#turnOver(reader);
          await reader.finish(FINISH_MS_MAX);
          await this.#commit(reader);
        }
        if (this.#closing !== null) return;
        reader = await this.#beginTurn(await this.#findTopics(), sink);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Resolves when the group shares anew, rejects when the link is of no use any more. */
  #turnOver(reader: PartitionReader): Promise<void> {
    const over = new Promise<void>((resolve, reject) => {
      this.#membership.ended = (error) => (error === null ? resolve() : reject(error));
      if (this.#membership.isOver) resolve();
    });
    this.#lookLater();
    return Promise.race([over, reader.read()]);
  }

  /** Null where there is nothing to read yet. */
  async #beginTurn(topics: readonly Topic[], sink: InboundSink): Promise<PartitionReader | null> {
    this.#lookTimer?.cancel();
    if (topics.length === 0) return null;
    this.#shared = signatureOf(topics);
    const assignment = await this.#membership.join(topics.map(({ name }) => name));
    const reader = new PartitionReader({
      cluster: this.#cluster,
      settings: this.#settings,
      logger: this.#options.logger,
      inFlightMax: this.#options.inFlightMax,
      sink,
      stored: () => this.#commitSoon(),
      gone: () => this.#membership.rejoin(),
    });
    for (const lane of await this.#lanesOf(assignment, topics, reader)) reader.add(lane);
    this.#reader = reader;
    // So that a group that begins at the end does so once.
    await this.#commit(reader);
    return reader;
  }

  async #lanesOf(
    assignment: Assignment,
    topics: readonly Topic[],
    reader: PartitionReader,
  ): Promise<readonly Lane[]> {
    const whole = new Map(
      topics.map(({ name, leaders }) => [name, leaders.map((_, partition) => partition)]),
    );
    for (const [topic, partitions] of assignment) if (!whole.has(topic)) whole.set(topic, [...partitions]);
    const positions = new Map<string, GroupPosition>();
    for (const position of await this.#membership.positions(whole)) {
      positions.set(laneName(position.topic, position.partition), position);
    }
    // In a group that has read before, a partition without a position is new; so is a topic that was not there at first.
    const from = positions.size === 0 && this.#isFirstTurn ? this.#settings.from : 'earliest';
    const lanes: Lane[] = [];
    for (const [topic, partitions] of assignment) {
      for (const partition of partitions) {
        const position = positions.get(laneName(topic, partition));
        if (position !== undefined) lanes.push(new Lane(topic, partition, position.offset, true));
        else lanes.push(new Lane(topic, partition, await reader.edgeOf(topic, partition, from), false));
      }
    }
    return lanes;
  }

  async #findTopics(): Promise<readonly Topic[]> {
    const found = await this.#cluster.look(this.#sources.hasExpressions ? null : this.#sources.names);
    const denied = found.find(
      ({ name, error }) => error === 'TOPIC_AUTHORIZATION_FAILED' && this.#sources.has(name, false),
    );
    if (denied !== undefined) throw new LinkError('not-authorized', `topic ${denied.name} may not be read`);
    return found.filter(
      ({ name, error, isInternal }) => error === null && this.#sources.has(name, isInternal),
    );
  }

  /** Whether there are other topics or partitions now. */
  #lookLater(): void {
    this.#lookTimer?.cancel();
    this.#lookTimer = this.#options.clock.after(this.#settings.lookAgainMs, () => void this.#lookNow());
  }

  async #lookNow(): Promise<void> {
    if (this.#closing !== null) return;
    try {
      const topics = await this.#findTopics();
      if (signatureOf(topics) !== this.#shared) return this.#membership.rejoin();
      this.#reader?.follow();
    } catch (error) {
      // While brokers cannot be reached, reading finds out.
      if (!isNetworkError(error)) return this.#fail(error);
    }
    if (this.#closing === null && !this.#membership.isOver) this.#lookLater();
  }

  // -------------------------------------------------------------------------------------------------- commits

  #commitSoon(): void {
    if (this.#isCommitting !== null || this.#closing !== null) return;
    this.#isCommitting = this.#commitAndPause()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#isCommitting = null;
        const reader = this.#reader;
        if (reader !== null && !this.#membership.isOver && reader.uncommitted().length > 0)
          this.#commitSoon();
      });
  }

  async #commitAndPause(): Promise<void> {
    if (this.#reader !== null) await this.#commit(this.#reader);
    await this.#cluster.wait(COMMIT_PAUSE_MS);
  }

  async #commit(reader: PartitionReader): Promise<void> {
    const positions = reader.uncommitted();
    if (positions.length > 0 && (await this.#membership.commit(positions))) reader.committed(positions);
  }

  // ------------------------------------------------------------------------------------------------------ end

  #fail(error: unknown): void {
    if (this.#closing !== null) return;
    void this.close();
    this.#options.lost(linkErrorOf(error, 'the outside broker'));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#lookTimer?.cancel();
    const reader = this.#reader;
    let late = (): void => {};
    const timer = this.#options.clock.after(CLOSE_MS_MAX, () => late());
    const goodbye = async (): Promise<void> => {
      if (reader !== null) {
        await reader.finish(CLOSE_MS_MAX);
        await this.#isCommitting;
        await this.#commit(reader);
      }
      await this.#membership.leave();
    };
    const tooLate = new Promise<void>((resolve) => {
      late = resolve;
    });
    await Promise.race([goodbye().catch(() => {}), tooLate]);
    timer.cancel();
    reader?.stop();
    await this.#cluster.close();
  }
}

function signatureOf(topics: readonly Topic[]): string {
  return topics
    .map(({ name, leaders }) => `${name} ${leaders.length}`)
    .sort()
    .join('\n');
}
