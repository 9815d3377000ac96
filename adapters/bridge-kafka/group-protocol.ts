/**
 * What members of a consumer group tell each other in bytes that brokers only pass on (Kafka's consumer protocol, version 0), and
 * how partitions are shared. Called by `membership.ts`. Pure.
 *
 * | subscription               | assignment                                            |
 * |----------------------------|-------------------------------------------------------|
 * | version i16                | version i16                                           |
 * | topics: count i32, strings | topics: count i32, each a string and partitions i32[] |
 * | user data: length i32      | user data: length i32                                 |
 *
 * A string is its length (i16) and UTF-8.
 */

/** As every client knows it, so that others may be members too. */
export const ASSIGNOR = 'range';

/** Partitions by topic. */
export type Assignment = ReadonlyMap<string, readonly number[]>;

function stringBytes(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(2);
  length.writeInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function intBytes(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeInt32BE(value, 4 * index);
  return bytes;
}

const VERSION = Buffer.alloc(2);
const NO_USER_DATA = intBytes(-1);

export function encodeSubscription(topics: readonly string[]): Buffer {
  return Buffer.concat([VERSION, intBytes(topics.length), ...topics.map(stringBytes), NO_USER_DATA]);
}

/** Throws RangeError where it ends too early. Later versions only add to its end. */
export function decodeSubscription(bytes: Buffer): readonly string[] {
  const reader = new Reader(bytes);
  reader.skipVersion();
  return Array.from({ length: reader.count() }, () => reader.string());
}

export function encodeAssignment(assignment: Assignment): Buffer {
  const topics = [...assignment].map(([topic, partitions]) =>
    Buffer.concat([stringBytes(topic), intBytes(partitions.length, ...partitions)]),
  );
  return Buffer.concat([VERSION, intBytes(topics.length), ...topics, NO_USER_DATA]);
}

/** Of no bytes: nothing. Throws RangeError where it ends too early. */
export function decodeAssignment(bytes: Buffer): Assignment {
  const assignment = new Map<string, number[]>();
  if (bytes.length === 0) return assignment;
  const reader = new Reader(bytes);
  reader.skipVersion();
  for (let left = reader.count(); left > 0; left--) {
    const topic = reader.string();
    assignment.set(
      topic,
      Array.from({ length: reader.count() }, () => reader.int32()),
    );
  }
  return assignment;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  skipVersion(): void {
    this.#at += 2;
  }

  int32(): number {
    const value = this.#bytes.readInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  /** Of things that take at least two bytes each. */
  count(): number {
    const count = this.int32();
    if (count < 0 || count * 2 > this.#bytes.length - this.#at) throw new RangeError('more than there is');
    return count;
  }

  string(): string {
    const length = this.#bytes.readInt16BE(this.#at);
    const end = this.#at + 2 + length;
    if (length < 0 || end > this.#bytes.length) throw new RangeError('more than there is');
    const text = this.#bytes.toString('utf8', this.#at + 2, end);
    this.#at = end;
    return text;
  }
}

/**
 * Each topic's partitions in a row among the members that want it, in the order of their ids: the first get one more where it does not
 * come out even.
 */
export function assignRange(
  members: readonly { readonly id: string; readonly topics: readonly string[] }[],
  partitionsOf: (topic: string) => number,
): ReadonlyMap<string, Assignment> {
  const assignments = new Map<string, Map<string, number[]>>(members.map(({ id }) => [id, new Map()]));
  const topics = new Set(members.flatMap((member) => member.topics));
  for (const topic of topics) {
    const takers = members
      .filter((member) => member.topics.includes(topic))
      .map(({ id }) => id)
      .sort();
    const partitions = partitionsOf(topic);
    let next = 0;
    for (const [index, id] of takers.entries()) {
      const share = Math.floor(partitions / takers.length) + (index < partitions % takers.length ? 1 : 0);
      if (share === 0) continue;
      assignments.get(id)?.set(
        topic,
        Array.from({ length: share }, (_, at) => next + at),
      );
      next += share;
    }
  }
  return assignments;
}
