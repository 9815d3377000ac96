import { beforeEach, describe, expect, it } from 'vitest';
import { CoreError, MANY, ONE, Pattern } from '../../../src/core/index.ts';
import {
  batchOf,
  Collector,
  decodeAll,
  openWorld,
  publish,
  readValues,
  restamp,
  settle,
  spec,
  text,
  type World,
} from './stream-world.ts';

const TELEMETRY = { match: 'devices/+/telemetry', stream: 'telemetry', partitions: 6 };

let world: World;

beforeEach(async () => {
  world = await openWorld();
});

async function codeOf(task: Promise<unknown>): Promise<string> {
  try {
    await task;
    return 'accepted';
  } catch (error) {
    return error instanceof CoreError ? error.code : `untyped: ${error}`;
  }
}

function bind(pattern: Pattern): Collector {
  const destination = new Collector('q');
  world.router.add({ pattern, destination, options: null, via: null, match: null, rule: null });
  return destination;
}

async function recordsOf(stream: string): Promise<{ partition: number; key: string; value: string }[]> {
  const found: { partition: number; key: string; value: string }[] = [];
  for (const part of world.streams.get(stream)?.partitions ?? []) {
    for (const { key, value } of decodeAll(await part.read(part.startOffset, 1 << 20)))
      found.push({ partition: part.index, key: `${key}`, value: `${value}` });
  }
  return found;
}

describe('a rule', () => {
  it('brings its stream into being and captures by key, each key in one partition and in order', async () => {
    await world.rules.put('r', TELEMETRY);
    expect(world.streams.get('telemetry')?.partitions).toHaveLength(6);
    for (let i = 0; i < 60; i++) publish(world.router, text(`devices/d${i % 12}/telemetry`, `${i}`));
    await settle();
    const records = await recordsOf('telemetry');
    expect(records).toHaveLength(60);
    for (let device = 0; device < 12; device++) {
      const own = records.filter(({ key }) => key === `d${device}`);
      expect(own.map(({ value }) => Number(value))).toEqual([0, 1, 2, 3, 4].map((n) => device + 12 * n));
      expect(new Set(own.map(({ partition }) => partition)).size).toBe(1);
    }
    expect(new Set(records.map(({ partition }) => partition)).size).toBeGreaterThan(1);
  });

  it('leads records back to the address that their key says, and others to that of the stream', async () => {
    await world.rules.put('r', TELEMETRY);
    const all = bind(new Pattern([MANY]));
    const partition = world.streams.get('telemetry')?.partitions[0];
    partition?.appendBatch(batchOf(['on'], 'd7'), null, 0);
    partition?.appendBatch(batchOf(['nobody'], null), null, 0);
    expect(all.seen).toEqual(['devices/d7/telemetry=on', 'telemetry=nobody']);
    await settle();
    expect(await recordsOf('telemetry')).toHaveLength(2);
  });

  it('says that there is no key where it has none', async () => {
    await world.rules.put('r', { ...TELEMETRY, keyless: true });
    publish(world.router, text('devices/d1/telemetry', 'x'));
    await settle();
    expect((await recordsOf('telemetry'))[0]?.key).toBe('null');
  });

  it('wants decoding only for addresses under its pattern', async () => {
    await world.rules.put('r', TELEMETRY);
    bind(Pattern.of('elsewhere'));
    bind(new Pattern(['devices', ONE, 'state']));
    const unreadable = () => {
      const batch = batchOf(['x'], 'd1');
      batch[61] = 0x7e;
      return restamp(batch);
    };
    const partition = world.streams.get('telemetry')?.partitions[0];
    expect(partition?.appendBatch(unreadable(), null, 0).baseOffset).toBe(0);
    const one = bind(Pattern.of('devices/d1/telemetry'));
    partition?.appendBatch(batchOf(['y'], 'd1'), null, 0);
    expect(one.seen).toEqual(['devices/d1/telemetry=y']);
    expect(() => partition?.appendBatch(unreadable(), null, 0)).toThrow(CoreError);
  });

  it('takes a stream as it is, but lets it grow', async () => {
    await world.streams.declare(spec('telemetry', { partitions: 2 }));
    await world.rules.put('r', TELEMETRY);
    expect(world.streams.get('telemetry')?.partitions).toHaveLength(6);
    await world.rules.put('r', { ...TELEMETRY, partitions: 3 });
    expect(world.streams.get('telemetry')?.partitions).toHaveLength(6);
  });

  it('that cannot be compiled is refused with the reason and changes nothing', async () => {
    await world.rules.put('r', TELEMETRY);
    expect(await codeOf(world.rules.put('r', { stream: 'x' }))).toBe('invalid-argument');
    expect(await codeOf(world.rules.put('', TELEMETRY))).toBe('invalid-name');
    expect(world.rules.get('r')?.definition).toEqual(TELEMETRY);
    expect(await codeOf(world.rules.put('s', { ...TELEMETRY, partitions: 1_000_000 }))).toBe('limit-reached');
    expect([...world.rules.list()]).toHaveLength(1);
  });

  it('that the disk refuses is not applied', async () => {
    await world.rules.put('r', TELEMETRY);
    world.storage.failCommits = true;
    expect(await codeOf(world.rules.put('r', { ...TELEMETRY, match: 'other/+' }))).toBe('storage-failed');
    expect(world.rules.get('r')?.definition).toEqual(TELEMETRY);
    expect(publish(world.router, text('other/1', 'x'))).toBe(false);
  });

  it('keeps its stream from being deleted', async () => {
    await world.rules.put('r', TELEMETRY);
    expect(await codeOf(world.streams.delete('telemetry'))).toBe('in-use');
    expect(world.rules.remove('r')).toBe(true);
    expect(await codeOf(world.streams.delete('telemetry'))).toBe('accepted');
  });
});

describe('changing rules', () => {
  it('while messages flow loses none and stores none twice', async () => {
    await world.rules.put('r', TELEMETRY);
    let sent = 0;
    let running = true;
    const traffic = (async () => {
      while (running) {
        for (let i = 0; i < 20; i++) publish(world.router, text('devices/d1/telemetry', `${sent++}`));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let i = 0; i < 20; i++) {
      await world.rules.put('r', { ...TELEMETRY, stream: i % 2 === 0 ? 'a' : 'b', partitions: 1 });
    }
    running = false;
    await traffic;
    await settle();
    const values: number[] = [];
    for (const stream of ['telemetry', 'a', 'b']) {
      const own = (await recordsOf(stream)).map(({ value }) => Number(value));
      expect(own).toEqual([...own].sort((x, y) => x - y));
      values.push(...own);
    }
    expect(values.sort((x, y) => x - y)).toEqual(Array.from({ length: sent }, (_, i) => i));
  });

  it('removing one ends capture and inverse', async () => {
    await world.rules.put('r', TELEMETRY);
    const all = bind(new Pattern([MANY]));
    expect(world.rules.remove('r')).toBe(true);
    expect(world.rules.remove('r')).toBe(false);
    publish(world.router, text('devices/d1/telemetry', 'x'));
    world.streams.get('telemetry')?.partitions[0]?.appendBatch(batchOf(['y'], 'd1'), null, 0);
    expect(all.seen).toEqual(['devices/d1/telemetry=x', 'telemetry=y']);
  });

  it('lets two rules share a stream: a message is stored once, the first by name leads back', async () => {
    await world.rules.put('z', { match: 'late/+', stream: 'both', partitions: 1 });
    await world.rules.put('a', { match: 'early/+', stream: 'both', partitions: 1 });
    await world.rules.put('b', { match: '+/1', stream: 'both', partitions: 1 });
    publish(world.router, text('early/1', 'once'));
    await settle();
    expect(await readValues(world, 'both')).toEqual(['once']);
    const all = bind(new Pattern([MANY]));
    world.streams.get('both')?.partitions[0]?.appendBatch(batchOf(['x'], '7'), null, 0);
    expect(all.seen).toEqual(['early/7=x']);
    world.rules.remove('a');
    world.streams.get('both')?.partitions[0]?.appendBatch(batchOf(['y'], '7'), null, 0);
    expect(all.seen).toEqual(['early/7=x', '7/1=y']);
  });
});

describe('after a restart', () => {
  it('rules are as they were', async () => {
    await world.rules.put('r', TELEMETRY);
    await world.rules.put('gone', { ...TELEMETRY, stream: 'other' });
    world.rules.remove('gone');
    await settle();
    world = await openWorld(world.storage.afterCrash());
    expect([...world.rules.list()].map(([name, { definition }]) => [name, definition])).toEqual([
      ['r', TELEMETRY],
    ]);
    publish(world.router, text('devices/d1/telemetry', 'x'));
    await settle();
    expect((await recordsOf('telemetry')).map(({ key }) => key)).toEqual(['d1']);
  });

  it('one that no longer compiles is told and left where it is, the others work', async () => {
    await world.rules.put('r', TELEMETRY);
    const broken = Buffer.from(JSON.stringify({ stream: 'x' }));
    (await world.storage.openTable('mappings')).put('broken', broken);
    world = await openWorld(world.storage);
    expect(world.events.map(({ details }) => details.rule)).toEqual(['broken']);
    expect(world.rules.get('r')).toBeDefined();
    expect(world.rules.get('broken')).toBeUndefined();
    expect((await world.storage.openTable('mappings')).entries.get('broken')).toEqual(broken);
  });
});
