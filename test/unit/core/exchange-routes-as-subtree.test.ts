/** Exchanges as subtrees: the four types, exchanges bound to exchanges, alternates, lifetime and restarts. */
import { describe, expect, it } from 'vitest';
import {
  type Core,
  type ExchangeSpec,
  type Header,
  type HeaderMatch,
  NO_ROUTE,
  ROOT_EXCHANGE,
} from '../../../src/core/index.ts';
import { messageTo, openTestCore, queueSpec } from '../../support/core.ts';

function exchangeSpec(spec: Partial<ExchangeSpec> & { readonly name: string }): ExchangeSpec {
  return {
    type: 'topic',
    durable: true,
    autoDelete: false,
    internal: false,
    alternate: null,
    arguments: [],
    ...spec,
  };
}

function bind(
  core: Core,
  exchange: string,
  queue: string,
  key: string,
  match: HeaderMatch | null = null,
): void {
  core.exchanges.bind({
    exchange,
    target: { kind: 'queue', name: queue },
    key,
    match,
    arguments: match?.headers ?? [],
  });
}

function link(core: Core, exchange: string, target: string, key: string): void {
  core.exchanges.bind({
    exchange,
    target: { kind: 'exchange', name: target },
    key,
    match: null,
    arguments: [],
  });
}

function publish(core: Core, address: string, headers: readonly Header[] = []): number {
  const publisher = core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested: () => {},
  });
  return publisher.publish(messageTo(address, 'm', { properties: { headers } }), null, 0);
}

async function counts(core: Core, ...names: string[]): Promise<number[]> {
  return names.map((name) => {
    const queue = core.queues.get(name);
    return queue === undefined ? -1 : queue.purge();
  });
}

async function queues(core: Core, ...names: string[]): Promise<void> {
  for (const name of names) await core.queues.declare(queueSpec({ name, durable: true }));
}

const text = (name: string, value: string): Header => ({ name, value: { kind: 'string', value } });

describe('exchange', () => {
  it('routes by topic words, the whole key, everything or headers, as its type says', async () => {
    const { core } = await openTestCore();
    await queues(core, 'a', 'b', 'c');
    core.exchanges.declare(exchangeSpec({ name: 't' }));
    core.exchanges.declare(exchangeSpec({ name: 'd', type: 'direct' }));
    core.exchanges.declare(exchangeSpec({ name: 'f', type: 'fanout' }));
    core.exchanges.declare(exchangeSpec({ name: 'h', type: 'headers' }));
    bind(core, 't', 'a', 'x/*');
    bind(core, 't', 'b', 'x/#/z');
    publish(core, 't/x/y');
    publish(core, 't/x/z');
    publish(core, 't/x/1/2/z');
    expect(await counts(core, 'a', 'b')).toEqual([2, 2]);
    bind(core, 'd', 'a', '*');
    bind(core, 'd', 'b', 'key');
    publish(core, 'd/key');
    publish(core, 'd/*');
    publish(core, 'd/other');
    expect(await counts(core, 'a', 'b')).toEqual([1, 1]);
    bind(core, 'f', 'c', 'ignored');
    publish(core, 'f/any/key');
    publish(core, 'f');
    expect(await counts(core, 'c')).toEqual([2]);
    bind(core, 'h', 'a', '', {
      mode: 'all',
      headers: [text('k', '1'), text('l', '2'), text('x-ignored', '')],
    });
    bind(core, 'h', 'b', '', { mode: 'any', headers: [text('k', '1'), text('l', '2')] });
    publish(core, 'h', [text('k', '1')]);
    publish(core, 'h/key', [text('k', '1'), text('l', '2')]);
    expect(publish(core, 'h', [text('k', 'other')])).toBe(NO_ROUTE);
    expect(await counts(core, 'a', 'b')).toEqual([1, 2]);
  });

  it('gives a queue one copy however many bindings match', async () => {
    const { core } = await openTestCore();
    await queues(core, 'q');
    bind(core, 'x', 'q', '#');
    bind(core, 'x', 'q', 'a/*');
    bind(core, ROOT_EXCHANGE, 'q', 'x/#');
    publish(core, 'x/a/b');
    expect(await counts(core, 'q')).toEqual([1]);
  });

  it('takes bindings before anybody declares it, and reads them by its type once it has one', async () => {
    const { core } = await openTestCore();
    await queues(core, 'q');
    bind(core, 'later', 'q', '*');
    publish(core, 'later/one');
    expect(await counts(core, 'q')).toEqual([1]);
    core.exchanges.declare(exchangeSpec({ name: 'later', type: 'direct' }));
    publish(core, 'later/one');
    publish(core, 'later/*');
    expect(await counts(core, 'q')).toEqual([1]);
  });

  it('keeps a name with a slash in one level', async () => {
    const { core } = await openTestCore();
    await queues(core, 'q');
    bind(core, 'a/b', 'q', '#');
    expect(publish(core, 'a/b/c')).toBe(NO_ROUTE);
    publish(core, 'a%2Fb/c');
    expect(await counts(core, 'q')).toEqual([1]);
  });

  it('passes on through exchanges bound to exchanges, in circles too, one copy each', async () => {
    const { core } = await openTestCore();
    await queues(core, 'q', 'r');
    link(core, 'one', 'two', '#');
    link(core, 'two', 'three', 'k/*');
    link(core, 'three', 'one', '#');
    bind(core, 'three', 'q', 'k/v');
    bind(core, 'two', 'r', '#');
    bind(core, 'one', 'q', '#');
    publish(core, 'one/k/v');
    expect(await counts(core, 'q', 'r')).toEqual([1, 1]);
    publish(core, 'one/other');
    expect(await counts(core, 'q', 'r')).toEqual([1, 1]);
    publish(core, 'two/k/v');
    expect(await counts(core, 'q', 'r')).toEqual([1, 1]);
  });

  it('tries the alternate exchange when nothing bound to it took the message', async () => {
    const { core } = await openTestCore();
    await queues(core, 'q', 'lost');
    core.exchanges.declare(exchangeSpec({ name: 'main', alternate: 'rest' }));
    bind(core, 'main', 'q', 'known');
    bind(core, 'rest', 'lost', '#');
    publish(core, 'main/known');
    publish(core, 'main/unknown');
    expect(await counts(core, 'q', 'lost')).toEqual([1, 1]);
    bind(core, 'main', 'q', 'unknown');
    publish(core, 'main/unknown');
    expect(await counts(core, 'q', 'lost')).toEqual([1, 0]);
  });

  it('goes with its last binding if it should, and takes its bindings along', async () => {
    const { core } = await openTestCore();
    await queues(core, 'q');
    core.exchanges.declare(exchangeSpec({ name: 'auto', autoDelete: true }));
    bind(core, 'auto', 'q', 'k');
    expect(() => core.exchanges.delete('auto', { ifUnused: true })).toThrow(/in use/);
    const [binding] = [...core.exchanges.bindings()];
    if (binding !== undefined) core.exchanges.unbind(binding);
    expect(core.exchanges.get('auto')).toBeUndefined();
    core.exchanges.declare(exchangeSpec({ name: 'gone' }));
    bind(core, 'gone', 'q', 'k');
    core.exchanges.delete('gone', { ifUnused: false });
    expect([...core.exchanges.bindings()]).toEqual([]);
    expect(publish(core, 'gone/k')).toBe(NO_ROUTE);
  });

  it('is there again after a restart with its bindings', async () => {
    const first = await openTestCore();
    await queues(first.core, 'q');
    first.core.exchanges.declare(exchangeSpec({ name: 'd', type: 'direct' }));
    bind(first.core, 'd', 'q', 'k');
    link(first.core, 'undeclared', 'd', '#');
    await first.clock.turn();
    const { core } = await openTestCore({ storage: first.storage.afterCrash() });
    publish(core, 'undeclared/k');
    publish(core, 'd/k');
    publish(core, 'd/other');
    expect(await counts(core, 'q')).toEqual([2]);
  });

  it('reaches a queue by its name through the default exchange, whatever the name holds', async () => {
    const { core } = await openTestCore();
    await queues(core, 'a/b%2Fc');
    publish(core, '$queue/a%2Fb%252Fc');
    expect(await counts(core, 'a/b%2Fc')).toEqual([1]);
  });
});
