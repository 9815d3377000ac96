/**
 * Membership of a consumer group of an outside Kafka (the classic protocol: JoinGroup, SyncGroup, Heartbeat), and its committed
 * offsets. Made by a link in. While a member it gives a sign of life by itself; `ended` tells why the membership is over, and the
 * link joins again. Each bridge is a static member (KIP-345): a link that follows one that was lost takes its place at once instead of
 * waiting until the session of the lost one ends. A commit carries the generation, so that a member that was shut out cannot move what is another's now.
 */

import type { Clock, Timer } from '../../src/core/index.ts';
import type { Broker, Cluster } from './cluster.ts';
import { errorCodesOf, hasErrorCode, isPassing, linkErrorOf, responseOf } from './errors.ts';
import {
  ASSIGNOR,
  type Assignment,
  assignRange,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from './group-protocol.ts';
import { HEARTBEAT, JOIN_GROUP, LEAVE_GROUP, OFFSET_COMMIT, OFFSET_FETCH, SYNC_GROUP } from './wire.ts';

/** How long the others of a group are waited for, and how long this one may take to finish what it has. */
export const REBALANCE_MS_MAX = 60_000;
/** Signs of life in a session. */
const HEARTBEATS = 4;
const PAUSE_MS = 100;
const TRIES_MAX = 60;

/** The group goes on without this member until it joins again. Not when another link of the same bridge has taken its place. */
const REJOIN: readonly string[] = ['REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID'];

export interface GroupPosition {
  readonly topic: string;
  readonly partition: number;
  /** The next to read. */
  readonly offset: bigint;
}

export class Membership {
  readonly #cluster: Cluster;
  readonly #clock: Clock;
  readonly #groupId: string;
  /** The same for every link of the bridge. */
  readonly #instanceId: string;
  readonly #sessionTimeoutMs: number;
  #memberId = '';
  #generation = -1;
  #heartbeat: Timer | null = null;
  #lastSignMs = 0;
  /** The group has another generation, or has to have one. */
  #isOver = true;
  #ended: (error: Error | null) => void = () => {};

  constructor(
    cluster: Cluster,
    clock: Clock,
    group: { readonly id: string; readonly instanceId: string; readonly sessionTimeoutMs: number },
  ) {
    this.#cluster = cluster;
    this.#clock = clock;
    this.#groupId = group.id;
    this.#instanceId = group.instanceId;
    this.#sessionTimeoutMs = group.sessionTimeoutMs;
  }

  /** Called once after each `join`: null where it is enough to join again. */
  set ended(listener: (error: Error | null) => void) {
    this.#ended = listener;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Waits for the others. Throws a LinkError. */
  async join(topics: readonly string[]): Promise<Assignment> {
    this.#stopHeartbeat();
    for (let tries = 1; ; tries++) {
      try {
        return await this.#tryToJoin(topics);
      } catch (error) {
        const codes = errorCodesOf(error);
        const told = responseOf<{ memberId?: string }>(error)?.memberId;
        if (codes.includes('MEMBER_ID_REQUIRED') && told) this.#memberId = told;
        else if (codes.includes('UNKNOWN_MEMBER_ID')) this.#memberId = '';
        else if (!codes.some((code) => REJOIN.includes(code)) && !isPassing(error)) {
          throw linkErrorOf(error, `group ${this.#groupId}`);
        } else {
          this.#cluster.forgetCoordinator('group', this.#groupId);
          if (tries >= TRIES_MAX || this.#cluster.closed) throw linkErrorOf(error, `group ${this.#groupId}`);
          await this.#cluster.wait(PAUSE_MS);
        }
      }
    }
  }

  async #tryToJoin(topics: readonly string[]): Promise<Assignment> {
    const broker = await this.#coordinator();
    let joined = await this.#askToJoin(broker, topics);
    // In the place of a link before it: whether what was shared then still holds is found out by sharing anew.
    if (joined.skipAssignment) joined = await this.#askToJoin(broker, topics);
    this.#generation = joined.generationId;
    const shares =
      joined.leader === joined.memberId
        ? await this.#share(joined.members.map(({ memberId, metadata }) => ({ id: memberId, metadata })))
        : [];
    const synced = await this.#cluster.request(
      broker,
      SYNC_GROUP,
      this.#groupId,
      this.#generation,
      this.#memberId,
      this.#instanceId,
      'consumer',
      ASSIGNOR,
      shares,
    );
    this.#isOver = false;
    this.#lastSignMs = this.#clock.nowMs();
    this.#scheduleHeartbeat();
    return decodeAssignment(Buffer.from(synced.assignment));
  }

  async #askToJoin(broker: Broker, topics: readonly string[]) {
    const joined = await this.#cluster.request(
      broker,
      JOIN_GROUP,
      this.#groupId,
      this.#sessionTimeoutMs,
      REBALANCE_MS_MAX,
      this.#memberId,
      this.#instanceId,
      'consumer',
      [{ name: ASSIGNOR, metadata: encodeSubscription(topics) }],
      null,
    );
    this.#memberId = joined.memberId;
    return joined;
  }

  async #share(
    members: readonly { readonly id: string; readonly metadata: Buffer }[],
  ): Promise<{ memberId: string; assignment: Buffer }[]> {
    const wishes = members.map(({ id, metadata }) => ({
      id,
      topics: decodeSubscription(Buffer.from(metadata)),
    }));
    const names = [...new Set(wishes.flatMap(({ topics }) => topics))];
    const counts = new Map<string, number>();
    for (const { name, error, leaders } of await this.#cluster.look(names)) {
      if (error === null) counts.set(name, leaders.length);
    }
    const shares = assignRange(wishes, (topic) => counts.get(topic) ?? 0);
    return [...shares].map(([memberId, share]) => ({ memberId, assignment: encodeAssignment(share) }));
  }

  #coordinator(): Promise<Broker> {
    return this.#cluster.coordinatorOf('group', this.#groupId, 'membership');
  }

  // ------------------------------------------------------------------------------------------- signs of life

  #scheduleHeartbeat(): void {
    this.#heartbeat = this.#clock.after(Math.floor(this.#sessionTimeoutMs / HEARTBEATS), () => {
      void this.#beat();
    });
  }

  async #beat(): Promise<void> {
    try {
      const broker = await this.#coordinator();
      await this.#cluster.request(
        broker,
        HEARTBEAT,
        this.#groupId,
        this.#generation,
        this.#memberId,
        this.#instanceId,
      );
      this.#lastSignMs = this.#clock.nowMs();
    } catch (error) {
      if (this.#isOver || this.#cluster.closed) return;
      if (hasErrorCode(error, ...REJOIN)) return this.rejoin();
      const isLate = this.#clock.nowMs() - this.#lastSignMs > this.#sessionTimeoutMs;
      if (!isPassing(error) || isLate) return this.#end(linkErrorOf(error, `group ${this.#groupId}`));
      this.#cluster.forgetCoordinator('group', this.#groupId);
    }
    if (!this.#isOver) this.#scheduleHeartbeat();
  }

  /** The group has to share anew: others came or went, or there are other partitions. */
  rejoin(): void {
    this.#end(null);
  }

  #end(error: Error | null): void {
    if (this.#isOver) return;
    this.#stopHeartbeat();
    this.#ended(error);
  }

  #stopHeartbeat(): void {
    this.#isOver = true;
    this.#heartbeat?.cancel();
    this.#heartbeat = null;
  }

  // ------------------------------------------------------------------------------------------------- offsets

  /** Where the group goes on; partitions that it has not read are left out. */
  async positions(assignment: Assignment): Promise<readonly GroupPosition[]> {
    const topics = [...assignment].map(([name, partitions]) => ({ name, partitionIndexes: [...partitions] }));
    const response = await this.#retrying('offsets', async () => {
      const broker = await this.#coordinator();
      const group = { groupId: this.#groupId, memberId: null, memberEpoch: -1, topics };
      return this.#cluster.request(broker, OFFSET_FETCH, [group], false);
    });
    return (response.groups[0]?.topics ?? []).flatMap(({ name, partitions }) =>
      partitions
        .filter(({ committedOffset }) => committedOffset >= 0n)
        .map(({ partitionIndex, committedOffset }) => ({
          topic: name,
          partition: partitionIndex,
          offset: committedOffset,
        })),
    );
  }

  /** True: kept. False: the group has gone on without this member, so whoever has the partitions reads them again. */
  async commit(positions: readonly GroupPosition[]): Promise<boolean> {
    const topics = new Map<
      string,
      { partitionIndex: number; committedOffset: bigint; committedLeaderEpoch: number }[]
    >();
    for (const { topic, partition, offset } of positions) {
      const entry = { partitionIndex: partition, committedOffset: offset, committedLeaderEpoch: -1 };
      const list = topics.get(topic);
      if (list === undefined) topics.set(topic, [entry]);
      else list.push(entry);
    }
    const generation = this.#generation;
    const named = [...topics].map(([name, partitions]) => ({
      name,
      partitions: partitions.map((entry) => ({ ...entry, committedMetadata: null })),
    }));
    try {
      await this.#retrying('commit', async () => {
        const broker = await this.#coordinator();
        return this.#cluster.request(
          broker,
          OFFSET_COMMIT,
          this.#groupId,
          generation,
          this.#memberId,
          this.#instanceId,
          named,
        );
      });
      return true;
    } catch (error) {
      if (!hasErrorCode(error, ...REJOIN)) throw error;
      this.rejoin();
      return false;
    }
  }

  async #retrying<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    const deadlineMs = this.#clock.nowMs() + this.#sessionTimeoutMs;
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (!isPassing(error) || this.#cluster.closed || this.#clock.nowMs() > deadlineMs) {
          throw linkErrorOf(error, `${what} of group ${this.#groupId}`);
        }
        this.#cluster.forgetCoordinator('group', this.#groupId);
        await this.#cluster.wait(PAUSE_MS);
      }
    }
  }

  /** So that others need not wait for its session to end. Never rejects. */
  async leave(): Promise<void> {
    this.#stopHeartbeat();
    if (this.#memberId === '') return;
    try {
      const broker = await this.#coordinator();
      await this.#cluster.request(broker, LEAVE_GROUP, this.#groupId, [
        { memberId: this.#memberId, groupInstanceId: this.#instanceId },
      ]);
    } catch {
      // Its session ends by itself.
    }
  }
}
