/** The reader of partitions on a cluster that says what a test wants it to: leaders, answers to fetches, and offsets. */
import { expect, it, onTestFinished } from 'vitest';
import type { Cluster } from '../../../adapters/bridge-kafka/cluster.ts';
import { Lane, PartitionReader } from '../../../adapters/bridge-kafka/partition-reader.ts';
import { FETCH, LIST_OFFSETS } from '../../../adapters/bridge-kafka/wire.ts';
import type { Message } from '../../../src/core/index.ts';
import { LinkError, type TakeAnswer } from '../../../src/outside.ts';

const OUT_OF_RANGE = 1;
const UNKNOWN_TOPIC = 3;
const NOT_LEADER = 6;

type Wanted = readonly {
  readonly topicId: string;
  readonly partitions: readonly { readonly partition: number; readonly fetchOffset: bigint }[];
}[];

interface Part {
  readonly topic?: string;
  readonly partition: number;
  readonly error?: number;
  /** One record for each offset, whose body is the offset. */
  readonly offsets?: readonly number[];
}

class FakeCluster {
  closed = false;
  readonly leaders = new Map<string, number[]>([['t', [1]]]);
  readonly unknown = new Set<string>();
  /** Answers a fetch of a node; undefined: nothing new. */
  fetched: (node: number, wanted: Wanted) => Promise<readonly Part[]> | readonly Part[] | undefined = () =>
    undefined;
  edge: () => Promise<bigint> = async () => 0n;

  topic(name: string): { leaders: readonly number[] } | undefined {
    const leaders = this.leaders.get(name);
    return leaders === undefined ? undefined : { leaders };
  }

  async look(names: readonly string[]): Promise<readonly object[]> {
    return names.map((name) => ({
      name,
      error: this.unknown.has(name) ? 'UNKNOWN_TOPIC_OR_PARTITION' : null,
    }));
  }

  async brokerOf(node: number): Promise<number> {
    return node;
  }

  async request(node: number, versions: unknown, ...args: unknown[]): Promise<unknown> {
    if (versions === LIST_OFFSETS) return { topics: [{ partitions: [{ offset: await this.edge() }] }] };
    if (versions !== FETCH) throw new Error('not expected');
    const parts = (await this.fetched(node, args[6] as Wanted)) ?? [];
    await this.wait();
    return {
      errorCode: 0,
      responses: parts.map(({ topic = 't', partition, error = 0, offsets = [] }) => ({
        topicId: topic,
        partitions: [
          {
            partitionIndex: partition,
            errorCode: error,
            abortedTransactions: null,
            records: offsets.map((offset) => ({
              firstOffset: BigInt(offset),
              lastOffsetDelta: 0,
              attributes: 0,
              producerId: -1n,
              firstTimestamp: 0n,
              maxTimestamp: 0n,
              records: [
                {
                  offsetDelta: 0,
                  timestampDelta: 0n,
                  key: null,
                  value: Buffer.from(String(offset)),
                  headers: [],
                },
              ],
            })),
          },
        ],
      })),
    };
  }

  wait(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }
}

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

function readerOn(
  cluster: FakeCluster,
  take: (bodies: readonly string[]) => Promise<readonly TakeAnswer[]>,
): { reader: PartitionReader; gone: () => number } {
  let gone = 0;
  const reader = new PartitionReader({
    cluster: cluster as unknown as Cluster,
    settings: { fetchBytesMax: 1_000_000, fetchWaitMs: 0 } as never,
    logger: quiet,
    inFlightMax: 100,
    sink: {
      take: (messages: readonly Message[]) => take(messages.map(({ body }) => Buffer.from(body).toString())),
    },
    stored: () => {},
    gone: () => {
      gone++;
    },
  });
  onTestFinished(() => reader.stop());
  return { reader, gone: () => gone };
}

const offsetOf = (wanted: Wanted, partition: number): bigint | undefined =>
  wanted[0]?.partitions.find((each) => each.partition === partition)?.fetchOffset;

const positionsOf = (reader: PartitionReader): readonly string[] =>
  reader.uncommitted().map(({ partition, offset }) => `${partition}:${offset}`);

it('stores what two leaders gave one after the other, and never passes what is not stored', async () => {
  const cluster = new FakeCluster();
  cluster.leaders.set('t', [1, 1]);
  const taken: string[] = [];
  const blocked = Promise.withResolvers<void>();
  let isNewLeaderAsked = false;
  cluster.fetched = (node, wanted) => {
    if (node === 2) {
      const from = offsetOf(wanted, 1);
      isNewLeaderAsked ||= from === 12n;
      return from === 12n ? [{ partition: 1, offsets: [12, 13] }] : [];
    }
    if (offsetOf(wanted, 0) !== 0n) return [];
    return [
      { partition: 0, offsets: [0] },
      { partition: 1, offsets: [10, 11] },
    ];
  };
  const { reader } = readerOn(cluster, async (bodies) => {
    taken.push(...bodies);
    if (bodies.includes('0')) await blocked.promise;
    return bodies.map(() => 'stored' as const);
  });
  reader.add(new Lane('t', 0, 0n, true));
  reader.add(new Lane('t', 1, 10n, true));
  void reader.read().catch(() => {});
  await expect.poll(() => taken).toEqual(['0']);
  cluster.leaders.set('t', [1, 2]);
  reader.follow();
  await expect.poll(() => isNewLeaderAsked).toBe(true);
  for (let turn = 0; turn < 20; turn++) await cluster.wait();
  expect(positionsOf(reader)).toEqual([]);
  blocked.resolve();
  await expect.poll(() => positionsOf(reader)).toEqual(['0:1', '1:14']);
  expect(taken).toEqual(['0', '10', '11', '12', '13']);
});

it('counts the same answer of an old and a new leader once', async () => {
  const cluster = new FakeCluster();
  const late = Promise.withResolvers<void>();
  cluster.fetched = async (node, wanted) => {
    if (offsetOf(wanted, 0) !== 5n) return [];
    if (node === 1) await late.promise;
    return [{ partition: 0, offsets: [5, 6] }];
  };
  const taken: string[] = [];
  const { reader } = readerOn(cluster, async (bodies) => {
    taken.push(...bodies);
    return bodies.map(() => 'stored' as const);
  });
  reader.add(new Lane('t', 0, 5n, true));
  void reader.read().catch(() => {});
  await cluster.wait();
  cluster.leaders.set('t', [2]);
  reader.follow();
  await expect.poll(() => taken).toEqual(['5', '6']);
  late.resolve();
  for (let turn = 0; turn < 20; turn++) await cluster.wait();
  expect(taken).toEqual(['5', '6']);
  expect(positionsOf(reader)).toEqual(['0:7']);
});

it('reads again what came beside a partition whose offsets could not be told', async () => {
  const cluster = new FakeCluster();
  cluster.leaders.set('t', [1, 1]);
  let isReset = false;
  cluster.fetched = (_, wanted) => [
    offsetOf(wanted, 0) === 0n ? { partition: 0, offsets: [0, 1] } : { partition: 0 },
    isReset ? { partition: 1 } : { partition: 1, error: OUT_OF_RANGE },
  ];
  let fails = 60;
  cluster.edge = async () => {
    if (fails-- > 0) throw new LinkError('unreachable', 'gone');
    isReset = true;
    return 7n;
  };
  const taken: string[] = [];
  const { reader } = readerOn(cluster, async (bodies) => {
    taken.push(...bodies);
    return bodies.map(() => 'stored' as const);
  });
  reader.add(new Lane('t', 0, 0n, true));
  reader.add(new Lane('t', 1, 3n, true));
  void reader.read().catch(() => {});
  await expect.poll(() => taken).toEqual(['0', '1']);
  await expect.poll(() => positionsOf(reader)).toEqual(['0:2', '1:7']);
});

it('tells that the group has to share anew when a topic is not to be seen for a while', async () => {
  const cluster = new FakeCluster();
  cluster.leaders.set('u', [1]);
  cluster.fetched = () => [
    { topic: 't', partition: 0 },
    { topic: 'u', partition: 0, error: cluster.unknown.has('u') ? UNKNOWN_TOPIC : NOT_LEADER },
  ];
  const { reader, gone } = readerOn(cluster, async (bodies) => bodies.map(() => 'stored' as const));
  reader.add(new Lane('t', 0, 0n, true));
  reader.add(new Lane('u', 0, 0n, true));
  void reader.read().catch(() => {});
  for (let turn = 0; turn < 20; turn++) await cluster.wait();
  expect(gone()).toBe(0);
  cluster.unknown.add('u');
  await expect.poll(gone).toBe(1);
});
