import { describe, expect, it } from 'vitest';
import type { Message } from '../../../src/core/index.ts';
import { bodyOf, collect, messageTo, queueSpec } from '../../support/core.ts';
import { openWorld, sumOf, waitFor } from './bridge-world.ts';

describe('a bridge that leads out', () => {
  it('sends what its mappings take, in order, under the names that they make', async () => {
    const world = await openWorld();
    await world.put({
      mappings: [
        { match: 'devices/{device}/telemetry', topic: 'telemetry/{device}', key: '{device}' },
        { match: 'devices/{device}/{rest...}' },
      ],
    });
    expect(world.view().status.state).toBe('connected');
    for (let i = 0; i < 5; i++) world.publish(`devices/d${i % 2}/telemetry`, `${i}`);
    world.publish('devices/d1/state', 'on', { reliability: 0 });
    world.publish('elsewhere', 'no');
    await waitFor(world, () => world.outside.got.length === 6);
    expect(world.outside.bodies).toEqual(['0', '1', '2', '3', '4', 'on']);
    const [first] = world.outside.got;
    expect(first?.message.address).toBe('telemetry/d0');
    expect(Buffer.from(first?.message.key ?? []).toString()).toBe('d0');
    expect(world.outside.got[5]?.message.address).toBe('devices/d1/state');
    expect(world.outside.got[5]?.message.reliability).toBe(0);
    expect(world.view().status.counters).toMatchObject({ taken: 6, done: 6, repeated: 0 });
    expect(world.view().mappings.map(({ out }) => out)).toEqual([5, 1]);
    expect(world.view().status.lag).toEqual({ messages: 0, bytes: 0, seconds: 0 });
  });

  it('gets its copy beside other bridges, other destinations and the rules that come first', async () => {
    const world = await openWorld();
    await world.put();
    await world.put({ mappings: [{ match: 'a/{x}', topic: 'other/{x}' }] }, 'second');
    await world.core.rules.put('user', {
      from: { match: 'a/{x}' },
      to: [{ endpoint: 'core', topic: 'made/{x}' }],
    });
    const queue = await world.core.queues.declare(queueSpec({ name: 'q' }));
    world.core.exchanges.bind({
      exchange: 'amq.topic',
      target: { kind: 'queue', name: 'q' },
      key: '#',
      match: null,
      arguments: [],
    });
    world.publish('a/1', 'hello');
    await waitFor(world, () => world.outside.got.length === 2);
    expect(world.outside.got.map(({ message }) => message.address).sort()).toEqual(['a/1', 'other/1']);
    expect(queue.readyCount).toBeGreaterThan(0);
    expect(world.core.rules.get('user')?.counters).toMatchObject({ in: 1, out: 1 });
    expect(world.core.explain('a/1').filter(({ kind }) => kind === 'bridge')).toEqual([
      { kind: 'bridge', name: 'b', patterns: ['a/+/#'] },
      { kind: 'bridge', name: 'second', patterns: ['a/+'] },
    ]);
  });

  it('never takes addresses of the gateway itself', async () => {
    const world = await openWorld();
    await world.put({ mappings: [{ pattern: '#' }] });
    world.core.queues.provide('q');
    world.publish('$queue/q', 'for the queue');
    world.publish('plain', 'for the bridge');
    await waitFor(world, () => world.outside.got.length > 0);
    expect(world.outside.bodies).toEqual(['for the bridge']);
  });

  it('is led to by mapping rules of the operator as well', async () => {
    const world = await openWorld();
    const definition = { from: { match: 'x/{id}' }, to: [{ endpoint: 'bridge:b', topic: 'ids/{id}' }] };
    await expect(world.core.rules.put('user', definition)).rejects.toMatchObject({
      code: 'invalid-argument',
      field: '/to/0/endpoint',
    });
    await world.put();
    await world.core.rules.put('user', definition);
    world.publish('x/7', 'seven');
    await waitFor(world, () => world.outside.got.length === 1);
    expect(world.outside.got[0]?.message.address).toBe('ids/7');
    await expect(world.bridges.remove('b')).rejects.toMatchObject({ code: 'in-use' });
    world.core.rules.remove('user');
    await world.bridges.remove('b');
    expect(world.bridges.get('b')).toBeUndefined();
  });

  it('keeps its buffer from everybody', async () => {
    const world = await openWorld();
    world.outside.refusal = new Error('not there');
    await world.put();
    world.publish('a/1');
    const { queues } = world.core;
    expect(queues.get('$bridge/b')).toBeUndefined();
    expect([...queues.list()].map(({ spec }) => spec.name)).not.toContain('$bridge/b');
    expect(() => queues.delete('$bridge/b', { ifUnused: false, ifEmpty: false })).toThrow('no queue');
    await expect(queues.declare(queueSpec({ name: '$bridge/b' }))).rejects.toMatchObject({
      code: 'invalid-name',
    });
    world.publish('$queue/$bridge%2Fb', 'smuggled');
    expect(world.view().status.lag.messages).toBe(1);
  });
});

describe('a bridge that leads in', () => {
  const definition = { direction: 'in', mappings: [{ match: 'site/{rest...}', topic: 'here/{rest}' }] };

  it('publishes what comes, under the names that its mappings make, and answers when it is stored', async () => {
    const world = await openWorld();
    await world.put(definition);
    expect(world.outside.link.sources).toEqual(['site/+/#']);
    const queue = await world.core.queues.declare(queueSpec({ name: 'q', durable: true }));
    world.core.exchanges.bind({
      exchange: 'here',
      target: { kind: 'queue', name: 'q' },
      key: '#',
      match: null,
      arguments: [],
    });
    await world.core.exchanges.declare({
      name: 'here',
      type: 'topic',
      durable: true,
      autoDelete: false,
      internal: false,
      alternate: null,
      arguments: [],
    });
    const consumer = collect((delivery) => delivery.settle('accepted'));
    queue.consume(consumer, { settled: false, exclusive: false, priority: 0 }).grant(100);
    const answers = world.outside.link.bring(
      messageTo('site/a', '1', { reliability: 1 }),
      messageTo('site/b/c', '2', { reliability: 1 }),
      messageTo('unknown', '3', { reliability: 1 }),
    );
    expect(world.view().status.lag.messages).toBe(2);
    expect(await answers).toEqual(['stored', 'stored', 'stored']);
    expect(consumer.bodies).toEqual(['1', '2']);
    expect(world.view().status.counters).toMatchObject({ taken: 3, done: 2, dropped: { unmapped: 1 } });
    const { taken, accounted } = sumOf(world.view());
    expect(accounted).toBe(taken);
  });

  it('may publish though no rule of access allows it, and nothing under $', async () => {
    const world = await openWorld({
      core: { access: { unrestricted: false, generation: 1, may: () => false, mayAll: () => false } },
    });
    await world.put({ direction: 'in', mappings: [{ match: 'site/{rest...}', topic: '{rest}' }] });
    const { session } = await world.core.sessions.open('s', { clean: true, durable: false });
    expect(session.id).toBe('s');
    expect(await world.outside.link.bring(messageTo('site/a', '1', { reliability: 1 }))).toEqual(['stored']);
    expect(world.view().status.counters.done).toBe(1);
    expect(await world.outside.link.bring(messageTo('site/$queue/q', '2', { reliability: 1 }))).toEqual([
      'stored',
    ]);
    expect(world.view().status.counters.deadLettered).toBe(1);
    const dead = (await world.core.queues.get('$dlq/bridges')?.take(true))?.message as Message;
    expect(bodyOf(dead)).toBe('2');
  });
});
