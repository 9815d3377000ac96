import { beforeEach, describe, expect, it } from 'vitest';
import { CoreError, type Limits, MANY, Pattern } from '../../../src/core/index.ts';
import { DEFAULT_STREAM_LOG } from '../../../src/core/streams.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import {
  batchOf,
  decodeAll,
  openWorld,
  producerBatch,
  publish,
  readValues,
  settle,
  spec,
  text,
  type World,
} from './stream-world.ts';

let storage: MemoryStorage;
let world: World;

beforeEach(async () => {
  storage = new MemoryStorage();
  world = await openWorld(storage);
});

async function reopen(limits: Partial<Limits> = {}): Promise<void> {
  await settle();
  storage = storage.afterCrash();
  world = await openWorld(storage, limits);
}

async function codeOf(task: Promise<unknown>): Promise<string> {
  try {
    await task;
    return 'accepted';
  } catch (error) {
    return error instanceof CoreError ? error.code : `untyped: ${error}`;
  }
}

describe('declare', () => {
  it('gives all who declare one name at once the same stream', async () => {
    const [a, b, c] = await Promise.all([
      world.streams.declare(spec('t', { partitions: 2 })),
      world.streams.declare(spec('t', { partitions: 5 })),
      world.streams.declare(spec('u')),
    ]);
    expect(b).toBe(a);
    expect(a?.partitions).toHaveLength(2);
    expect(c?.spec.name).toBe('u');
    expect([...world.streams.list()].map(({ name }) => name).sort()).toEqual(['t', 'u']);
  });

  it('is on the disk when it resolves: a crash right after it loses nothing', async () => {
    const before = await world.streams.declare(
      spec('t', { partitions: 3, captures: [new Pattern(['a', MANY])], settings: { k: 'v' } }),
    );
    world = await openWorld(storage.afterCrash());
    const after = world.streams.get('t');
    expect(Buffer.from(after?.id ?? [])).toEqual(Buffer.from(before.id));
    expect(before.id).toHaveLength(16);
    expect(after?.spec).toEqual(before.spec);
    expect(after?.partitions).toHaveLength(3);
  });

  it('refuses what cannot be', async () => {
    const few = await openWorld(undefined, { partitionsPerStreamMax: 4, streamsMax: 1 });
    expect(await codeOf(few.streams.declare(spec('')))).toBe('invalid-name');
    expect(await codeOf(few.streams.declare(spec('x'.repeat(256))))).toBe('invalid-name');
    expect(await codeOf(few.streams.declare(spec('t', { partitions: 0 })))).toBe('invalid-argument');
    expect(await codeOf(few.streams.declare(spec('t', { partitions: 1.5 })))).toBe('invalid-argument');
    expect(await codeOf(few.streams.declare(spec('t', { partitions: 5 })))).toBe('limit-reached');
    expect(await codeOf(few.streams.declare(spec('t', { partitions: 4 })))).toBe('accepted');
    expect(await codeOf(few.streams.declare(spec('u')))).toBe('limit-reached');
  });

  it('that the disk refuses leaves nothing behind', async () => {
    storage.failCommits = true;
    expect(await codeOf(world.streams.declare(spec('t')))).toBe('storage-failed');
    expect(world.streams.get('t')).toBeUndefined();
    storage.failCommits = false;
    await world.streams.declare(spec('u'));
    await reopen();
    expect([...world.streams.list()].map(({ name }) => name)).toEqual(['u']);
  });
});

describe('messages', () => {
  it('are stored once however many captures match, keyed by address where a wildcard captures', async () => {
    await world.streams.declare(
      spec('t', { partitions: 4, captures: [new Pattern(['a', MANY]), new Pattern([MANY, 'x'])] }),
    );
    await world.streams.declare(spec('a.x'));
    publish(world.router, text('a/x', 'one'));
    publish(world.router, text('a/x', 'two'));
    publish(world.router, text('a/x', 'keyed', 'own'));
    await settle();
    const partitions = world.streams.get('t')?.partitions ?? [];
    const found = await Promise.all(partitions.map(async (part) => decodeAll(await part.read(0, 1e6))));
    const records = found.flat().map(({ key, value }) => `${key} ${value}`);
    expect(records.sort()).toEqual(['a/x one', 'a/x two', 'own keyed']);
    expect(found.filter((list) => list.some(({ key }) => `${key}` === 'a/x'))).toHaveLength(1);
    const literal = decodeAll((await world.streams.get('a.x')?.partitions[0]?.read(0, 1e6)) as Buffer);
    expect(literal.map(({ key }) => key?.toString() ?? null)).toEqual([null, null, 'own']);
  });

  it('are all there after a restart, and offsets go on', async () => {
    await world.streams.declare(spec('t'));
    publish(world.router, text('t', 'a'));
    await reopen();
    publish(world.router, text('t', 'b'));
    await settle();
    expect(await readValues(world, 't')).toEqual(['a', 'b']);
    expect(world.streams.get('t')?.partitions[0]?.endOffset).toBe(2);
  });
});

describe('producers', () => {
  it('are known again after a crash from the headers alone', async () => {
    const stream = await world.streams.declare(spec('t'));
    stream.partitions[0]?.appendBatch(batchOf(['other']), null, 0);
    stream.partitions[0]?.appendBatch(producerBatch(5n, 0, 0, 3), null, 0);
    await reopen();
    const partition = world.streams.get('t')?.partitions[0];
    expect(partition?.appendBatch(producerBatch(5n, 0, 0, 3), null, 0)).toEqual({
      baseOffset: 1,
      duplicate: true,
    });
    expect(partition?.appendBatch(producerBatch(5n, 0, 3), null, 0).duplicate).toBe(false);
  });

  it('are known again from a snapshot after an orderly end, without reading the log', async () => {
    const stream = await world.streams.declare(spec('t'));
    for (let i = 0; i < 10; i++) stream.partitions[0]?.appendBatch(producerBatch(5n, 0, i), null, 0);
    await world.streams.close();
    await reopen();
    expect([...storage.batchLogs.values()].map(({ scannedCount }) => scannedCount)).toEqual([0]);
    expect(world.streams.get('t')?.partitions[0]?.appendBatch(producerBatch(5n, 0, 9), null, 0)).toEqual({
      baseOffset: 9,
      duplicate: true,
    });
  });

  it('are not judged by a snapshot of batches that the disk has lost', async () => {
    const stream = await world.streams.declare(spec('t'));
    for (let i = 0; i < 4; i++) stream.partitions[0]?.appendBatch(producerBatch(5n, 0, i), null, 0);
    await world.streams.close();
    await settle();
    const lost = storage.afterCrash();
    for (const log of lost.batchLogs.values()) {
      log.batches.splice(2);
      log.endOffset = 2;
    }
    storage = lost;
    world = await openWorld(storage);
    const partition = world.streams.get('t')?.partitions[0];
    expect(partition?.appendBatch(producerBatch(5n, 0, 2), null, 0)).toEqual({
      baseOffset: 2,
      duplicate: false,
    });
    // The log has grown past the old snapshot; a restart must not believe it now.
    for (let i = 3; i < 8; i++) partition?.appendBatch(producerBatch(5n, 0, i), null, 0);
    await reopen();
    expect(world.streams.get('t')?.partitions[0]?.appendBatch(producerBatch(5n, 0, 7), null, 0)).toEqual({
      baseOffset: 7,
      duplicate: true,
    });
  });

  it('never get an id twice, also not across crashes', async () => {
    const ids = new Set<bigint>();
    for (let life = 0; life < 4; life++) {
      for (let i = 0; i < 7_000; i++) {
        ids.add(world.streams.newProducerId());
        if (i % 1_000 === 0) await settle();
      }
      storage = storage.afterCrash();
      world = await openWorld(storage);
    }
    expect(ids.size).toBe(4 * 7_000);
  });

  it('get no id that the disk does not know of', async () => {
    storage.failCommits = true;
    const take = () => {
      for (let i = 0; i < 20_000; i++) world.streams.newProducerId();
    };
    expect(take).toThrow(CoreError);
    await settle();
    storage.failCommits = false;
    expect(() => world.streams.newProducerId()).toThrow(CoreError);
    await settle();
    expect(world.streams.newProducerId()).toBeGreaterThan(0n);
  });
});

describe('change', () => {
  it('adds partitions and new log settings, for good', async () => {
    const stream = await world.streams.declare(spec('t'));
    publish(world.router, text('t', 'before'));
    const log = { ...DEFAULT_STREAM_LOG, retentionMs: 5 };
    await world.streams.change('t', { partitions: 3, log, settings: { a: 'b' } });
    expect(stream.partitions.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect([...storage.batchLogs.values()].map(({ options }) => options?.retentionMs)).toEqual([5, 5, 5]);
    await reopen();
    expect(world.streams.get('t')?.spec).toMatchObject({ partitions: 3, log, settings: { a: 'b' } });
    expect(await readValues(world, 't')).toEqual(['before']);
  });

  it('refuses fewer partitions, too many and unknown streams', async () => {
    await world.streams.declare(spec('t', { partitions: 2 }));
    expect(await codeOf(world.streams.change('t', { partitions: 1 }))).toBe('invalid-argument');
    expect(await codeOf(world.streams.change('t', { partitions: 1_000_000 }))).toBe('limit-reached');
    expect(await codeOf(world.streams.change('u', { partitions: 3 }))).toBe('not-found');
    expect(world.streams.get('t')?.partitions).toHaveLength(2);
  });
});

describe('delete', () => {
  it('takes logs, captures and cursors with it, for good; a stream created again is another one', async () => {
    const stream = await world.streams.declare(spec('t', { partitions: 2 }));
    publish(world.router, text('t', 'old'));
    world.cursors.commit('g', 't', 0, { offset: 1, leaderEpoch: -1, metadata: '', committedAtMs: 0 });
    let woken = false;
    stream.partitions[0]?.onAppend(() => {
      woken = true;
    });
    await world.streams.delete('t');
    expect(woken).toBe(true);
    expect(storage.batchLogs.size).toBe(0);
    expect(publish(world.router, text('t', 'lost'))).toBe(false);
    expect(() => stream.partitions[0]?.appendBatch(batchOf(['x']), null, 0)).toThrow(CoreError);
    expect(await codeOf(stream.partitions[0]?.read(0, 1) ?? Promise.resolve())).toBe('not-found');
    expect(await codeOf(world.streams.delete('t'))).toBe('not-found');
    await reopen();
    expect(world.streams.get('t')).toBeUndefined();
    expect(world.cursors.get('g', 't', 0)).toBeUndefined();
    const again = await world.streams.declare(spec('t'));
    expect(Buffer.from(again.id)).not.toEqual(Buffer.from(stream.id));
    expect(await readValues(world, 't')).toEqual([]);
  });

  it('that a crash cut short is finished at the next start', async () => {
    await world.streams.declare(spec('t', { partitions: 2 }));
    publish(world.router, text('t', 'old'));
    await settle();
    storage.holdCommits = true;
    const deleting = world.streams.delete('t');
    await settle();
    storage.finishCommits();
    // The commit that marks it as deleted is the last that the crash leaves.
    storage = storage.afterCrash();
    expect(storage.batchLogs.size).toBe(2);
    world = await openWorld(storage);
    expect(storage.batchLogs.size).toBe(0);
    expect(world.streams.get('t')).toBeUndefined();
    await deleting;
  });

  it('and declare of one name, all at once, end in order', async () => {
    await world.streams.declare(spec('t'));
    const deleting = world.streams.delete('t');
    const second = world.streams.delete('t');
    expect(await codeOf(deleting)).toBe('accepted');
    expect(await codeOf(second)).toBe('not-found');
    expect(await codeOf(world.streams.declare(spec('t')))).toBe('accepted');
  });
});

it('logs are asked to drop what is old, from time to time and until the end', async () => {
  await world.streams.declare(spec('t'));
  const log = [...storage.batchLogs.values()][0];
  expect(log?.expiredAtMs).toBeNull();
  world.clock.advance(60_000);
  const first = log?.expiredAtMs;
  expect(first).not.toBeNull();
  world.clock.advance(120_000);
  expect(log?.expiredAtMs).toBe((first ?? 0) + 120_000);
  await world.streams.close();
  expect(world.clock.timerCount).toBe(0);
  expect(await codeOf(world.streams.declare(spec('u')))).toBe('shutting-down');
});
