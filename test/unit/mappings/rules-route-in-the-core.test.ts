/** Full rules in a real core: who gets what, in which order, under which policy, and what is never lost or doubled. */

import { describe, expect, test } from 'vitest';
import { ANONYMOUS, CoreError, Message, NO_ROUTE, PENDING, STORED } from '../../../src/core/index.ts';
import { queueSpec } from '../../support/core.ts';
import { header, openRules, textOf } from './rules-world.ts';

const countersOf = (core: Awaited<ReturnType<typeof openRules>>['core'], name: string) =>
  core.rules.get(name)!.counters;

test('one message to an address, a queue and a stream, each under what its templates say', async () => {
  const { core, publish, subscribe, drain, appended } = await openRules();
  await core.rules.put('all', {
    from: { match: 'plant/{site}/line/{line}/{rest...}' },
    to: [
      { endpoint: 'core', topic: 'sites/{site|upper}/{rest}' },
      { endpoint: 'queue:work', topic: 'jobs/{line}' },
      { endpoint: 'stream:plant', key: '{site}/{line}', partitions: 4, partitionBy: 'explicit:2' },
    ],
  });
  const seen = await subscribe('sites/#');
  expect(publish('plant/a/line/7/t/x', 'body')).toBe(STORED);
  await core.whenStored(() => undefined);
  expect(seen.map((m) => `${m.address}=${textOf(m)}`)).toEqual(['sites/A/t/x=body']);
  expect(drain('work').map((m) => m.address)).toEqual(['jobs/7']);
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(appended.map(({ stream, key }) => [stream, key])).toEqual([['plant', 'a/7']]);
  const { partitions } = core.streams.get('plant')!;
  expect(partitions.map(({ endOffset }) => endOffset)).toEqual([0, 0, 1, 0]);
  expect(countersOf(core, 'all')).toMatchObject({ in: 3, out: 3, inFlight: 0 });
  await core.close();
});

test('rules are asked in their order, and the first that takes a message is the last, unless it continues', async () => {
  const { core, publish, subscribe } = await openRules();
  const rule = (topic: string, order: number, more: object = {}, where: object = {}) => ({
    from: { match: 'a/{x}', where },
    to: [{ endpoint: 'core', topic }],
    order,
    ...more,
  });
  await core.rules.put('late', rule('out/late', 30));
  await core.rules.put('urgent', rule('out/urgent', 10, {}, { size: '>3' }));
  await core.rules.put('copy', rule('out/copy', 5, { continue: true }));
  const seen = await subscribe('out/#');
  publish('a/1', 'long body');
  publish('a/2', 'x');
  expect(seen.map(({ address }) => address)).toEqual(['out/copy', 'out/urgent', 'out/copy', 'out/late']);
  expect(countersOf(core, 'urgent')).toMatchObject({ in: 2, out: 1, filtered: 1 });
  expect(countersOf(core, 'late')).toMatchObject({ in: 1, out: 1 });
  await core.close();
});

test('the short form captures beside full rules, as ever', async () => {
  const { core, publish, appended, subscribe } = await openRules();
  await core.rules.put('short', { match: 'd/{x}', stream: 's', key: '{x}' });
  await core.rules.put('full', { from: { match: 'd/{x}' }, to: [{ endpoint: 'core', topic: 'o/{x}' }] });
  const seen = await subscribe('o/+');
  publish('d/1', 'v');
  expect(appended.map(({ stream, key }) => [stream, key])).toEqual([['s', '1']]);
  expect(seen).toHaveLength(1);
  expect(countersOf(core, 'short')).toMatchObject({ in: 1, out: 1 });
  await core.close();
});

test('the original goes on to whoever subscribed to it, before what rules make of it', async () => {
  const { core, publish, subscribe } = await openRules();
  await core.rules.put('r', { from: { match: 'in/{x}' }, to: [{ endpoint: 'core', topic: 'out/{x}' }] });
  const seen = await subscribe('#');
  publish('in/1');
  expect(seen.map(({ address }) => address)).toEqual(['in/1', 'out/1']);
  await core.close();
});

test('records of a stream are led back by key, and not appended to it again', async () => {
  const { core, subscribe, appended } = await openRules();
  await core.rules.put('r', {
    from: { match: 'devices/{d}/t' },
    to: [{ endpoint: 'stream:tele', key: '{d}' }],
  });
  expect(core.rules.get('r')!.rule.oneWayReason).toBeUndefined();
  const rule = core.rules.get('r')!.rule;
  if (!('inverses' in rule)) throw new Error('no routing rule');
  expect(rule.inverses[0]!.addressOf(Buffer.from('d7'))).toBe('devices/d7/t');
  await subscribe('devices/#');
  expect(appended).toEqual([]);
  await expect(core.streams.delete('tele')).rejects.toThrow(/mapping rule/);
  await core.close();
});

describe('what cannot be made', () => {
  const rule = (onError?: string) => ({
    from: { match: 'a/{x}' },
    to: [{ endpoint: 'core', topic: 'o/{payload.id}', maxTopics: 2 }],
    ...(onError === undefined ? {} : { onError }),
  });

  test('goes to the queue for dead letters with the reason', async () => {
    const { core, publish, drain } = await openRules();
    await core.rules.put('r', rule());
    expect(publish('a/1', 'no json', { reliability: 1 })).not.toBe(NO_ROUTE);
    const [dead] = drain('$dlq/mappings');
    expect(dead).toMatchObject({ address: 'a/1', reliability: 1 });
    expect(textOf(dead)).toBe('no json');
    expect(
      JSON.stringify(header(dead, 'x-death'), (_k, v) => (typeof v === 'bigint' ? `${v}` : v)),
    ).toContain('the body is not JSON');
    expect(countersOf(core, 'r')).toMatchObject({ in: 1, deadLettered: 1, out: 0 });
    await core.close();
  });

  test('is dropped and counted by reason where the rule says so', async () => {
    const { core, publish, subscribe } = await openRules();
    await core.rules.put('r', rule('drop'));
    const seen = await subscribe('o/#');
    publish('a/1', 'no json');
    publish('a/1', '{"other": 1}');
    for (const id of ['1', '2', '3', '1']) publish('a/1', JSON.stringify({ id }));
    publish('a/1', JSON.stringify({ id: `${'x/'.repeat(200)}x` }));
    expect(seen.map(({ address }) => address)).toEqual(['o/1', 'o/2', 'o/1']);
    const { dropped, ...counters } = countersOf(core, 'r');
    expect(counters).toMatchObject({ in: 7, out: 3 });
    expect(dropped).toMatchObject({ payload: 1, missing: 1, topics: 1, address: 1 });
    await core.close();
  });

  test('is refused to its publisher where the rule says so', async () => {
    const { core, publish } = await openRules();
    await core.rules.put('r', rule('nack-source'));
    expect(() => publish('a/1', 'no json')).toThrow('mapping r refuses it: the body is not JSON');
    expect(countersOf(core, 'r')).toMatchObject({ in: 1, failed: 1 });
    await core.close();
  });

  test('above maxTopics goes to overflowTopic', async () => {
    const { core, publish, subscribe } = await openRules();
    const [target] = rule().to;
    await core.rules.put('r', { ...rule(), to: [{ ...target, overflowTopic: 'o/other' }] });
    const seen = await subscribe('o/#');
    for (const id of ['1', '2', '3', '4']) publish('a/1', JSON.stringify({ id }));
    expect(seen.map(({ address }) => address)).toEqual(['o/1', 'o/2', 'o/other', 'o/other']);
    await core.close();
  });

  test('above maxTopics of a queue has overflowTopic there, or is kept as it came', async () => {
    const { core, publish, drain } = await openRules();
    const to = { endpoint: 'queue:q', topic: 'jobs/{payload.id}', maxTopics: 2 };
    await core.rules.put('r', { from: { match: 'a/{x}' }, to: [{ ...to, overflowTopic: 'jobs/other' }] });
    const ids = ['1', '2', '3', '1'];
    for (const id of ids) publish('a/1', JSON.stringify({ id }));
    expect(drain('q').map(({ address }) => address)).toEqual(['jobs/1', 'jobs/2', 'jobs/other', 'jobs/1']);
    await core.rules.put('r', { from: { match: 'a/{x}' }, to: [{ ...to, endpoint: 'queue:other' }] });
    for (const id of ids) publish('a/1', JSON.stringify({ id }));
    expect(drain('other').map(({ address }) => address)).toEqual(['jobs/1', 'jobs/2', 'jobs/1']);
    expect(drain('$dlq/mappings').map(({ address }) => address)).toEqual(['a/1']);
    expect(countersOf(core, 'r')).toMatchObject({ in: 8, out: 7, deadLettered: 1 });
    await core.close();
  });

  test('never becomes an address of the gateway', async () => {
    const { core, publish, subscribe } = await openRules();
    await core.rules.put('r', {
      from: { match: 'a/{x}' },
      to: [{ endpoint: 'core', topic: '{x}/y/z', onError: 'drop' }],
    });
    const seen = await subscribe('$SYS/#');
    publish('a/$SYS');
    expect(seen).toEqual([]);
    expect(countersOf(core, 'r').dropped.address).toBe(1);
    await core.close();
  });

  test('a full queue that refuses is an error of the target', async () => {
    const { core, publish, drain } = await openRules();
    await core.queues.declare({
      name: 'small',
      durable: true,
      autoDelete: false,
      owner: null,
      messagesMax: 1,
      bytesMax: -1,
      overflow: 'reject',
      messageTtlMs: -1,
      expiresMs: -1,
      deadLetter: null,
      arguments: [],
    });
    await core.rules.put('r', {
      from: { match: 'a/{x}' },
      to: [{ endpoint: 'queue:small', onError: 'dlq:lost' }],
    });
    publish('a/1', '1', { reliability: 1 });
    publish('a/1', '2', { reliability: 1 });
    expect(drain('lost').map(textOf)).toEqual(['2']);
    expect(countersOf(core, 'r')).toMatchObject({ in: 2, out: 1, deadLettered: 1 });
    await core.close();
  });
});

test('rules follow one another, up to the bound of hops', async () => {
  const { core, publish, subscribe } = await openRules();
  for (let n = 0; n < 7; n++) {
    await core.rules.put(`step-${n}`, {
      from: { match: `s${n}/{x}` },
      to: [{ endpoint: 'core', topic: `s${n + 1}/{x}`, onError: 'drop' }],
      loop: { maxHops: 4 },
    });
  }
  const seen = await subscribe('+/x');
  publish('s0/x');
  expect(seen.map(({ address }) => address)).toEqual(['s0/x', 's1/x', 's2/x', 's3/x', 's4/x', 's5/x']);
  expect(countersOf(core, 'step-5').dropped.loop).toBe(1);
  await core.close();
});

describe('circles that were allowed', () => {
  test('lead nothing back to where it was: two rules are one way for each side, and no error', async () => {
    const { core, publish, subscribe, drain } = await openRules();
    const there = {
      from: { match: 'left/{x}' },
      to: [{ endpoint: 'core', topic: 'right/{x}' }],
      loop: { circles: 'allow' },
    };
    await core.rules.put('there', there);
    const { rule } = core.rules.get('there')!;
    await core.rules.put('back', 'inverse' in rule ? rule.inverse : null);
    const seen = await subscribe('+/x');
    publish('left/x');
    publish('right/x');
    expect(seen.map(({ address }) => address)).toEqual(['left/x', 'right/x', 'right/x', 'left/x']);
    for (const name of ['there', 'back'])
      expect(countersOf(core, name)).toMatchObject({ in: 2, out: 1, filtered: 1, deadLettered: 0 });
    expect(core.counters).toMatchObject({ dropped: 0, deadLettered: 0 });
    expect(drain('$dlq/mappings')).toEqual([]);
    await core.close();
  });

  test('end at the rule that they came through, also where every address is another one', async () => {
    const { core, publish, subscribe, drain } = await openRules();
    await core.rules.put('deeper', {
      from: { match: 'in/{x...}' },
      to: [{ endpoint: 'core', topic: 'in/in/{x}' }],
      loop: { circles: 'allow' },
    });
    const seen = await subscribe('in/#');
    publish('in/x');
    expect(seen.map(({ address }) => address)).toEqual(['in/x', 'in/in/x']);
    expect(countersOf(core, 'deeper')).toMatchObject({ in: 2, out: 1, filtered: 1 });
    expect(drain('$dlq/mappings')).toEqual([]);
    await core.close();
  });

  test('lead back to where a message was where the rule says so', async () => {
    const { core, publish, subscribe, drain } = await openRules();
    await core.rules.put('mark', {
      from: { match: 'in/{x}', where: { header: { marked: { exists: false } } } },
      to: [{ endpoint: 'core', topic: 'in/{x}', headers: { set: { marked: 'yes' } } }],
      loop: { circles: 'again' },
    });
    const seen = await subscribe('in/#');
    publish('in/x');
    expect(seen.map((each) => header(each, 'marked'))).toEqual([undefined, { kind: 'string', value: 'yes' }]);
    expect(countersOf(core, 'mark')).toMatchObject({ in: 2, out: 1, filtered: 1 });
    expect(drain('$dlq/mappings')).toEqual([]);
    await core.close();
  });

  test('to an overflow topic where the message was end too', async () => {
    const { core, publish, subscribe } = await openRules();
    await core.rules.put('r', {
      from: { match: 'in/{x}' },
      to: [{ endpoint: 'core', topic: 'out/{payload}', maxTopics: 1, overflowTopic: 'in/other' }],
      loop: { circles: 'allow' },
    });
    const seen = await subscribe('in/#');
    publish('in/1', 'a');
    publish('in/other', 'b');
    expect(seen.map(({ address }) => address)).toEqual(['in/1', 'in/other']);
    expect(countersOf(core, 'r')).toMatchObject({ in: 2, out: 1, filtered: 1 });
    await core.close();
  });
});

test('one message never becomes more than the bound', async () => {
  const { core, publish, subscribe } = await openRules();
  for (let n = 0; n < 4; n++) {
    await core.rules.put(`fan-${n}`, {
      from: { match: `f${n}/{x...}` },
      to: Array.from({ length: 16 }, (_, i) => ({
        endpoint: 'core',
        topic: `f${n + 1}/${i}/{x}`,
        onError: 'drop',
      })),
    });
  }
  const seen = await subscribe('#');
  publish('f0/x');
  expect(seen).toHaveLength(1 + 1_024);
  const dropped = [0, 1, 2, 3].map((n) => countersOf(core, `fan-${n}`).dropped['fan-out']);
  expect(dropped.reduce((a, b) => a + b)).toBeGreaterThan(1_000);
  await core.close();
});

test('a durable message is acknowledged when what rules made of it is on the disk', async () => {
  const { core, storage } = await openRules();
  await core.rules.put('r', {
    from: { match: 'a/{x}' },
    to: [{ endpoint: 'core', topic: 'b/{x}' }],
  });
  await core.rules.put('s', { from: { match: 'b/{x}' }, to: [{ endpoint: 'queue:q' }] });
  await new Promise((resolve) => setTimeout(resolve, 5));
  const publisher = core.openPublisher({ principal: ANONYMOUS, congested: () => undefined });
  const message = new Message({ address: 'a/1', body: Buffer.from('x'), reliability: 1 });
  const stored = new Promise<void>((resolve, reject) => {
    const sink = { stored: () => resolve(), refused: (_token: number, error: Error) => reject(error) };
    expect(publisher.publish(message, sink, 7)).toBe(PENDING);
  });
  await stored;
  const after = await openRules({ storage: storage.afterCrash() });
  expect(after.core.queues.get('q')?.readyCount).toBe(1);
  expect([...after.core.rules.list()].map(([name]) => name)).toEqual(['r', 's']);
  await core.close();
  await after.core.close();
});

test('what rules made of a message that another destination then refuses is not left for the next one', async () => {
  const { core, publish, subscribe } = await openRules();
  await core.rules.put('r', {
    from: { match: 'a/{x}' },
    to: [{ endpoint: 'core', topic: 'b/{x}' }],
  });
  await core.rules.put('z', { match: 'a/{x}', stream: 's' });
  const seen = await subscribe('b/#');
  const stream = core.streams.get('s') as unknown as { accept: () => never };
  stream.accept = () => {
    throw new CoreError('storage-failed', 'no room');
  };
  expect(() => publish('a/1')).toThrow(/no room/);
  expect(countersOf(core, 'r')).toMatchObject({ in: 1, out: 1, inFlight: 0 });
  expect(seen.map(({ address }) => address)).toEqual(['b/1']);
  await core.close();
});

test('a dead letter ends its circle, whatever the rule that leads it back does to headers', async () => {
  for (const change of [
    { headers: { copy: [] } },
    { headers: { drop: 'x-*', rename: { 'x-death': 'other' } } },
    { transform: ['envelope-json', 'unwrap'] },
    { transform: ['envelope-json', 'unwrap'], headers: { copy: [] } },
    { transform: ['cloudevents(structured)', 'cloudevents(binary)'] },
  ]) {
    const { core, publish, clock } = await openRules();
    core.queues.declare(queueSpec({ name: 'q', messagesMax: 1, deadLetter: { exchange: 'dead', key: 'x' } }));
    await core.rules.put('again', { from: { match: 'dead/{x}' }, to: [{ endpoint: 'queue:q', ...change }] });
    for (const body of ['a', 'b']) publish('$queue/q', body);
    for (let turn = 0; turn < 20; turn++) await clock.turn();
    const { out } = countersOf(core, 'again');
    for (let turn = 0; turn < 20; turn++) await clock.turn();
    expect([change, countersOf(core, 'again').out]).toEqual([change, out]);
    expect(out).toBeLessThan(5);
    await core.close();
  }
});

test('the history of deaths is not what an envelope says', async () => {
  const { core, publish, drain } = await openRules();
  await core.rules.put('u', {
    from: { match: 'in/{x}' },
    to: [{ endpoint: 'queue:q', transform: 'unwrap' }],
  });
  publish(
    'in/1',
    '{"headers": [{"name": "x-first-death-queue", "value": "payments"}, {"name": "h", "value": 1}]}',
  );
  expect(drain('q').map(({ properties }) => properties.headers.map(({ name }) => name))).toEqual([['h']]);
  await core.close();
});

test('no target makes an address that is the gateway’s own, or none: dead letters would be published there', async () => {
  const { core, publish, drain, clock } = await openRules();
  core.queues.declare(queueSpec({ name: 'payments' }));
  core.queues.declare(queueSpec({ name: 'jobs', messagesMax: 1, deadLetter: { exchange: '', key: null } }));
  await core.rules.put('r', {
    from: { match: 'in/{x}' },
    to: [{ endpoint: 'queue:jobs', topic: '{payload.t}', onError: 'drop' }],
  });
  for (const t of ['$queue/payments', '', '$SYS/x', 'fine', 'fine too'])
    publish('in/1', JSON.stringify({ t }));
  for (let turn = 0; turn < 5; turn++) await clock.turn();
  expect(drain('payments')).toEqual([]);
  expect(drain('jobs').map(({ address }) => address)).toEqual(['fine too']);
  expect(countersOf(core, 'r')).toMatchObject({ out: 2, dropped: { address: 3 } });
  await core.close();
});

test('a fault while a made message is routed leaves no trace for the next message', async () => {
  const { core, publish, storage, subscribe } = await openRules();
  await core.rules.put('r', {
    from: { match: 'in/{x}' },
    to: [{ endpoint: 'core', topic: 'out/{x}', set: { retain: true } }],
  });
  const log = storage.createRowLog('retained');
  const { append } = log;
  log.append = () => {
    throw new TypeError('a fault');
  };
  expect(() => publish('in/1')).toThrow('a fault');
  log.append = append;
  const seen = await subscribe('out/#');
  publish('in/2');
  expect(seen.map(({ address }) => address)).toEqual(['out/2']);
  await core.close();
});

test('the dead letter of a rule does not take over a history that a client claims', async () => {
  const { core, publish, drain } = await openRules();
  await core.rules.put('r', {
    from: { match: 'in/{x}' },
    to: [{ endpoint: 'queue:q', transform: 'unwrap' }],
  });
  const value = { kind: 'string' as const, value: 'payments' };
  const codec = { name: 'test', decode: () => ({ headers: [{ name: 'x-first-death-queue', value }] }) };
  publish('in/1', 'no envelope', { codec, native: new Uint8Array(1) });
  const [dead] = drain('$dlq/mappings');
  expect(dead!.properties.headers.map(({ name }) => name)).toEqual(['x-death']);
  await core.close();
});
