/** Exchanges bound to exchanges, conditions on the way, alternates of alternates; and names that are too long. */
import { describe, expect, it } from 'vitest';
import {
  type Core,
  type Header,
  type HeaderMatch,
  MANY,
  NO_ROUTE,
  Pattern,
  ROOT_EXCHANGE,
} from '../../../src/core/index.ts';
import { messageTo, openTestCore, queueSpec } from '../../support/core.ts';
import { cpuMs } from '../../support/cpu-time.ts';

async function open(...queues: string[]): Promise<Core> {
  const { core } = await openTestCore();
  for (const name of queues) await core.queues.declare(queueSpec({ name }));
  return core;
}

function declare(core: Core, name: string, type: 'topic' | 'headers', alternate: string | null = null): void {
  core.exchanges.declare({
    name,
    type,
    durable: false,
    autoDelete: false,
    internal: false,
    alternate,
    arguments: [],
  });
}

function bind(
  core: Core,
  exchange: string,
  kind: 'queue' | 'exchange',
  name: string,
  key: string,
  match: HeaderMatch | null = null,
): void {
  const headers = match?.headers ?? [];
  core.exchanges.bind({ exchange, target: { kind, name }, key, match, arguments: headers });
}

function publish(core: Core, address: string, headers: readonly Header[] = []): number {
  const publisher = core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested: () => {},
  });
  return publisher.publish(messageTo(address, 'm', { properties: { headers } }), null, 0);
}

const header = (name: string): Header => ({ name, value: { kind: 'null' } });
const wants = (name: string): HeaderMatch => ({ mode: 'all', headers: [header(name)] });
const counts = (core: Core, ...names: string[]) => names.map((name) => core.queues.get(name)?.readyCount);

describe('exchanges bound to exchanges', () => {
  it('forward from the root into a subtree once, with the whole key', async () => {
    const core = await open('q', 'r');
    bind(core, ROOT_EXCHANGE, 'exchange', 'x', '#');
    bind(core, 'x', 'queue', 'q', 'a/b');
    bind(core, 'x', 'exchange', ROOT_EXCHANGE, '#');
    bind(core, ROOT_EXCHANGE, 'queue', 'r', '#');
    publish(core, 'a/b');
    expect(counts(core, 'q', 'r')).toEqual([1, 1]);
    publish(core, 'x/a/b');
    expect(counts(core, 'q', 'r')).toEqual([2, 2]);
  });

  it('may form a chain of any length', async () => {
    const core = await open('q');
    for (let i = 0; i < 20_000; i++) bind(core, `x${i}`, 'exchange', `x${i + 1}`, '#');
    bind(core, 'x20000', 'queue', 'q', '#');
    bind(core, 'x20000', 'exchange', 'x0', '#');
    publish(core, 'x0/k');
    expect(counts(core, 'q')).toEqual([1]);
  });

  it('pass on what meets any one of several conditions', async () => {
    const core = await open('q');
    declare(core, 'h', 'headers');
    bind(core, 'h', 'exchange', 'x', '', wants('one'));
    bind(core, 'h', 'exchange', 'x', '', wants('two'));
    bind(core, 'x', 'queue', 'q', '#');
    publish(core, 'h/k', [header('two')]);
    publish(core, 'h/k', [header('one')]);
    expect(publish(core, 'h/k', [header('three')])).toBe(NO_ROUTE);
    expect(counts(core, 'q')).toEqual([2]);
  });
});

describe('many bindings of one exchange', () => {
  it('are made and go with their queues in little time', async () => {
    const core = await open();
    const count = 10_000;
    for (let i = 0; i < count; i++) await core.queues.declare(queueSpec({ name: `q${i}` }));
    const begin = cpuMs();
    for (let i = 0; i < count; i++) bind(core, 'x', 'queue', `q${i}`, `${i}`);
    for (let i = 0; i < count; i++) core.queues.delete(`q${i}`, { ifUnused: false, ifEmpty: false });
    expect(cpuMs() - begin).toBeLessThan(700);
    expect([...core.exchanges.bindings()]).toEqual([]);
  });
});

describe('an alternate exchange', () => {
  it('gives no second copy to a queue that had the message by another way', async () => {
    const core = await open('q');
    declare(core, 'x', 'topic', 'y');
    bind(core, ROOT_EXCHANGE, 'queue', 'q', '#');
    bind(core, 'y', 'queue', 'q', '#');
    publish(core, 'x/k');
    expect(counts(core, 'q')).toEqual([1]);
  });

  it('may have an alternate itself, and a circle of them ends', async () => {
    const core = await open('q');
    declare(core, 'x', 'topic', 'y');
    declare(core, 'y', 'topic', 'z');
    declare(core, 'z', 'topic', 'x');
    bind(core, 'z', 'queue', 'q', 'k');
    publish(core, 'x/k');
    expect(counts(core, 'q')).toEqual([1]);
    expect(publish(core, 'x/other')).toBe(NO_ROUTE);
  });
});

describe('an address', () => {
  it('is refused above the bounds of bytes and levels, and nothing of the message is kept', async () => {
    const { core } = await openTestCore({ limits: { addressBytesMax: 20, addressLevelsMax: 3 } });
    const publisher = core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested: () => {},
    });
    const send = (address: string) => publisher.publish(messageTo(address, 'm', { retain: true }), null, 0);
    send('a/b/c');
    send('äöü/äöü/äöü');
    for (const address of ['a/b/c/d', 'x'.repeat(21), 'äöü/äöü/äöüä'])
      expect(() => send(address)).toThrow(expect.objectContaining({ code: 'invalid-name' }));
    expect(core.retained.count).toBe(2);
    expect(core.counters.refused).toBe(3);
  });

  it('cannot be asked for by a pattern with more levels than it may have', async () => {
    const { core } = await openTestCore();
    const deep = new Pattern([...new Array<string>(1_000).fill('a'), MANY]);
    const { session } = await core.sessions.open('s', { clean: true, durable: false });
    const wish = { reliability: 1, noLocal: false, keepRetain: false, id: 0 } as const;
    expect(() => session.subscribe(deep, wish)).toThrow(expect.objectContaining({ code: 'invalid-name' }));
    await core.queues.declare(queueSpec({ name: 'q' }));
    expect(() => bind(core, 'x', 'queue', 'q', 'a/'.repeat(1_000))).toThrow(
      expect.objectContaining({ code: 'invalid-name' }),
    );
  });
});
