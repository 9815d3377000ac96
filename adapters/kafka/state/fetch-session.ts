/**
 * A fetch session (KIP-227): the partitions that a client fetches again and again, so that it names only what changed
 * and is told only what changed. A connection has at most one; a client that comes back on another connection, or
 * begins a second session, is told that its session is gone and starts anew, as the protocol provides.
 */

import { randomInt } from 'node:crypto';

/** What one fetch wants of one partition. */
export interface FetchTarget {
  readonly topic: string;
  /** 32 hexadecimal digits; all zero where the version names topics. */
  readonly topicId: string;
  readonly partition: number;
  readonly fetchOffset: number;
  readonly currentLeaderEpoch: number;
  readonly bytesMax: number;
}

/** What the client was last told, to see what is new to it. */
interface Remembered {
  target: FetchTarget;
  highWatermark: number;
  logStartOffset: number;
}

const FIRST_EPOCH = 1;
const EPOCH_MAX = 0x7fff_ffff;

export class FetchSession {
  readonly id: number;
  /** What the next request of the session must carry. */
  #epoch = FIRST_EPOCH;
  /** In the order in which partitions are served. */
  readonly #partitions = new Map<string, Remembered>();

  constructor(targets: readonly FetchTarget[]) {
    this.id = randomInt(1, 2 ** 31 - 1);
    this.#update(targets);
  }

  get epoch(): number {
    return this.#epoch;
  }

  get size(): number {
    return this.#partitions.size;
  }

  /** The next request: what it changed, then everything that is fetched. */
  advance(
    changed: readonly FetchTarget[],
    forgotten: readonly { readonly topic: string; readonly topicId: string; readonly partition: number }[],
  ): FetchTarget[] {
    this.#epoch = this.#epoch === EPOCH_MAX ? FIRST_EPOCH : this.#epoch + 1;
    for (const each of forgotten) this.#partitions.delete(keyOf(each));
    this.#update(changed);
    return [...this.#partitions.values()].map((remembered) => remembered.target);
  }

  /**
   * Whether an incremental answer must tell of this partition. Those that had records go to the end, so that a
   * bound on the answer's size does not starve others.
   */
  isNews(
    target: FetchTarget,
    errorCode: number,
    highWatermark: number,
    logStart: number,
    bytes: number,
  ): boolean {
    const key = keyOf(target);
    const remembered = this.#partitions.get(key);
    if (remembered === undefined) return true;
    const news =
      bytes > 0 ||
      errorCode !== 0 ||
      remembered.highWatermark !== highWatermark ||
      remembered.logStartOffset !== logStart;
    // After an error everything is told again.
    remembered.highWatermark = errorCode === 0 ? highWatermark : -1;
    remembered.logStartOffset = logStart;
    if (bytes > 0) {
      this.#partitions.delete(key);
      this.#partitions.set(key, remembered);
    }
    return news;
  }

  #update(targets: readonly FetchTarget[]): void {
    for (const target of targets) {
      const key = keyOf(target);
      const remembered = this.#partitions.get(key);
      if (remembered === undefined)
        this.#partitions.set(key, { target, highWatermark: -1, logStartOffset: -1 });
      else remembered.target = target;
    }
  }
}

function keyOf(each: {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
}): string {
  return `${each.partition}:${each.topicId}:${each.topic}`;
}
