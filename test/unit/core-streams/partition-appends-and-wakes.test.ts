import { beforeEach, describe, expect, it } from 'vitest';
import { CoreError, ONE, type Partition, Pattern } from '../../../src/core/index.ts';
import {
  batchOf,
  Collector,
  compressBatch,
  openWorld,
  plainRecords,
  producerBatch,
  publish,
  Receipts,
  readValues,
  restamp,
  settle,
  spec,
  text,
  type World,
} from './stream-world.ts';

let world: World;
let partition: Partition;

beforeEach(async () => {
  world = await openWorld();
  partition = (await world.streams.declare(spec('t'))).partitions[0] as Partition;
});

function bind(pattern: Pattern): Collector {
  const destination = new Collector('q');
  world.router.add({ pattern, destination, options: null, via: null, match: null, rule: null });
  return destination;
}

function codeOf(task: () => unknown): string {
  try {
    task();
    return 'accepted';
  } catch (error) {
    return error instanceof CoreError ? error.code : `untyped: ${error}`;
  }
}

describe('appendBatch', () => {
  it('stamps offsets one after the other and keeps the bytes as they came', async () => {
    const first = batchOf(['a', 'b']);
    const sent = Buffer.from(first);
    expect(partition.appendBatch(first, null, 0)).toEqual({ baseOffset: 0, duplicate: false });
    expect(partition.appendBatch(batchOf(['c']), null, 0)).toEqual({ baseOffset: 2, duplicate: false });
    expect(partition.endOffset).toBe(3);
    const stored = await partition.read(0, 1);
    expect(stored.subarray(12)).toEqual(sent.subarray(12));
    expect(await readValues(world, 't')).toEqual(['a', 'b', 'c']);
  });

  it('comes after what was published before it in the same turn, and before what comes later', async () => {
    publish(world.router, text('t', 'first'));
    partition.appendBatch(batchOf(['second', 'third']), null, 0);
    publish(world.router, text('t', 'fourth'));
    await settle();
    expect(await readValues(world, 't')).toEqual(['first', 'second', 'third', 'fourth']);
  });

  it('tells the sink only when the batch is on the disk, duplicates as well', async () => {
    const receipts = new Receipts();
    world.storage.holdCommits = true;
    partition.appendBatch(producerBatch(1n, 0, 0), receipts, 11);
    expect(partition.appendBatch(producerBatch(1n, 0, 0), receipts, 12)).toEqual({
      baseOffset: 0,
      duplicate: true,
    });
    await settle();
    expect(receipts.storedTokens).toEqual([]);
    world.storage.finishCommits();
    expect(receipts.storedTokens).toEqual([11, 12]);
    expect(partition.endOffset).toBe(1);
  });

  it('refuses what is wrong and keeps nothing of it', () => {
    const damaged = batchOf(['x']);
    damaged[damaged.length - 1] = 1;
    expect(codeOf(() => partition.appendBatch(damaged, null, 0))).toBe('corrupt-batch');
    expect(codeOf(() => partition.appendBatch(producerBatch(1n, 0, 0), null, 0))).toBe('accepted');
    expect(codeOf(() => partition.appendBatch(producerBatch(1n, 0, 2), null, 0))).toBe(
      'out-of-order-sequence',
    );
    expect(codeOf(() => partition.appendBatch(producerBatch(1n, 1, 0), null, 0))).toBe('accepted');
    expect(codeOf(() => partition.appendBatch(producerBatch(1n, 0, 1), null, 0))).toBe('stale-producer');
    world.storage.failAppends = true;
    expect(codeOf(() => partition.appendBatch(producerBatch(1n, 1, 1), null, 0))).toBe('storage-failed');
    world.storage.failAppends = false;
    // A batch that the disk refused was not appended, so its repetition is none.
    expect(partition.appendBatch(producerBatch(1n, 1, 1), null, 0)).toEqual({
      baseOffset: 2,
      duplicate: false,
    });
  });
});

describe('records of a batch', () => {
  it('are published once each to the address of the stream, in order, and not to the stream itself', async () => {
    const exact = bind(Pattern.of('t'));
    partition.appendBatch(batchOf(['a', 'b']), null, 0);
    await settle();
    expect(exact.seen).toEqual(['t=a', 't=b']);
    expect(await readValues(world, 't')).toEqual(['a', 'b']);
  });

  it('are not published a second time by a duplicate', () => {
    const exact = bind(Pattern.of('t'));
    partition.appendBatch(producerBatch(1n, 0, 0), null, 0);
    partition.appendBatch(producerBatch(1n, 0, 0), null, 0);
    expect(exact.seen).toEqual(['t=0']);
  });

  it('are decompressed when somebody wants them, and not otherwise', () => {
    partition.appendBatch(compressBatch(batchOf(['a'])), null, 0);
    expect(world.decompressed).toEqual([]);
    const exact = bind(Pattern.of('t'));
    partition.appendBatch(compressBatch(batchOf(['b'])), null, 0);
    expect(world.decompressed).toEqual([1]);
    expect(exact.seen).toEqual(['t=b']);
  });

  it('that cannot be read are refused before the append when somebody wants them', () => {
    const malformed = batchOf(['a']);
    malformed[61] = 0x7e;
    restamp(malformed);
    bind(Pattern.of('t'));
    expect(codeOf(() => partition.appendBatch(malformed, null, 0))).toBe('corrupt-batch');
    expect(partition.endOffset).toBe(0);
  });

  it('that ask to be retained are published though nobody listens, compressed or not', async () => {
    const remembering = await openWorld(undefined, {}, { ...plainRecords, retainMarker: 'KEEP' });
    const [first] = (await remembering.streams.declare(spec('t'))).partitions;
    first?.appendBatch(batchOf(['a', 'b']), null, 0);
    expect(remembering.published).toHaveLength(0);
    first?.appendBatch(batchOf(['a', 'KEEP this']), null, 0);
    first?.appendBatch(compressBatch(batchOf(['KEEP that'])), null, 0);
    const bodies = remembering.published.map(({ body }) => Buffer.from(body).toString());
    expect(bodies).toEqual(['a', 'KEEP this', 'KEEP that']);
  });

  it('that are compressed beyond the bound are refused though nobody listens, where they are searched', async () => {
    const limits = { decompressedBytesMax: 4 };
    const remembering = await openWorld(undefined, limits, { ...plainRecords, retainMarker: 'KEEP' });
    const [first] = (await remembering.streams.declare(spec('t'))).partitions;
    expect(codeOf(() => first?.appendBatch(compressBatch(batchOf(['a'])), null, 0))).toBe('corrupt-batch');
    expect(remembering.decompressed).toHaveLength(1);
    first?.appendBatch(batchOf(['a']), null, 0);
    expect(remembering.decompressed).toHaveLength(1);
    expect(first?.endOffset).toBe(1);
  });

  it('go on after one that cannot be translated', async () => {
    const limited = await openWorld(
      undefined,
      {},
      {
        recordFromMessage: () => {
          throw new Error('unused');
        },
        messageFromRecord: (record, address) => {
          if (Buffer.from(record.value ?? []).toString() === 'bad') throw new Error('cannot be a message');
          return text(address, Buffer.from(record.value ?? []).toString());
        },
      },
    );
    const stream = await limited.streams.declare(spec('t'));
    const seen = new Collector('q');
    limited.router.add(exactBinding(seen));
    stream.partitions[0]?.appendBatch(batchOf(['bad', 'good', 'bad']), null, 0);
    expect(seen.seen).toEqual(['t=good']);
    expect(limited.counters.dropped).toBe(2);
    expect(limited.events.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });
});

describe('what was gathered', () => {
  it('becomes one batch at the end of the turn', async () => {
    for (let i = 0; i < 100; i++) publish(world.router, text('t', `${i}`));
    expect(partition.endOffset).toBe(0);
    expect(world.streams.gatheredBytes).toBeGreaterThan(0);
    await settle();
    expect(world.streams.gatheredBytes).toBe(0);
    expect([...world.storage.batchLogs.values()][0]?.batches).toHaveLength(1);
    expect(await readValues(world, 't')).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`));
  });

  it('is written within the turn when it is much', () => {
    const body = 'x'.repeat(100 * 1024);
    for (let i = 0; i < 7; i++) publish(world.router, text('t', body));
    expect(partition.endOffset).toBe(6);
    expect(world.streams.gatheredBytes).toBeLessThan(110 * 1024);
  });

  it('is written within the turn when all streams together hold much', async () => {
    const small = await openWorld(undefined, { uncommittedBytesMax: 2_000 });
    await small.streams.declare(spec('many', { partitions: 64, captures: [new Pattern(['d', ONE])] }));
    for (let i = 0; i < 100; i++) {
      publish(small.router, text(`d/${i}`, 'x'.repeat(100)));
      expect(small.streams.gatheredBytes).toBeLessThanOrEqual(2_000);
    }
    await settle();
    const partitions = small.streams.get('many')?.partitions ?? [];
    expect(partitions.reduce((sum, { endOffset }) => sum + endOffset, 0)).toBe(100);
  });

  it('is in the log before the commit that its receipt waits for', async () => {
    const receipts = new Receipts();
    publish(world.router, text('t', 'a'));
    world.durability.wait(receipts, 1);
    world.storage.holdCommits = true;
    await settle();
    const found = world.storage;
    found.finishCommits();
    expect(receipts.storedTokens).toEqual([1]);
    expect(await readValues(await openWorld(found.afterCrash()), 't')).toEqual(['a']);
  });

  it('is refused to everybody who waits when the disk refuses it, and the next turn begins afresh', async () => {
    const receipts = new Receipts();
    world.storage.failAppends = true;
    publish(world.router, text('t', 'lost'));
    world.durability.wait(receipts, 1);
    await settle();
    expect(receipts.refusedTokens).toEqual([1]);
    expect(world.streams.gatheredBytes).toBe(0);
    world.storage.failAppends = false;
    publish(world.router, text('t', 'kept'));
    world.durability.wait(receipts, 2);
    await settle();
    expect(receipts.storedTokens).toEqual([2]);
    expect(await readValues(world, 't')).toEqual(['kept']);
    expect(world.events.map(({ level }) => level)).toEqual(['error', 'info']);
  });
});

describe('onAppend', () => {
  it('wakes each waiter once, by a batch or by what was gathered', async () => {
    let wakes = 0;
    partition.onAppend(() => wakes++);
    partition.onAppend(() => wakes++);
    partition.appendBatch(batchOf(['a']), null, 0);
    partition.appendBatch(batchOf(['b']), null, 0);
    expect(wakes).toBe(2);
    partition.onAppend(() => wakes++);
    publish(world.router, text('t', 'c'));
    expect(wakes).toBe(2);
    await settle();
    expect(wakes).toBe(3);
  });

  it('can be taken back, and may wait again from inside', () => {
    let wakes = 0;
    const takeBack = partition.onAppend(() => wakes++);
    takeBack();
    const again = () => {
      wakes++;
      partition.onAppend(again);
    };
    partition.onAppend(again);
    partition.appendBatch(batchOf(['a']), null, 0);
    partition.appendBatch(batchOf(['b']), null, 0);
    expect(wakes).toBe(2);
  });
});

it('truncateBefore forgets what is older, and no more than there is', async () => {
  partition.appendBatch(batchOf(['a']), null, 0);
  partition.appendBatch(batchOf(['b']), null, 0);
  partition.truncateBefore(1);
  expect(partition.startOffset).toBe(1);
  expect(await readValues(world, 't')).toEqual(['b']);
  expect(codeOf(() => partition.truncateBefore(3))).toBe('offset-out-of-range');
});

function exactBinding(destination: Collector) {
  return { pattern: Pattern.of('t'), destination, options: null, via: null, match: null, rule: null };
}
