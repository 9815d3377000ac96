/** Sessions: what waits for an absent client, resumption, expiry, restarts; and what addresses remember. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Core,
  MANY,
  type MessageFields,
  ONE,
  Pattern,
  type SubscriptionOptions,
  type Token,
} from '../../../src/core/index.ts';
import { bodyOf, collect, messageTo, openTestCore } from '../../support/core.ts';

const WISH: SubscriptionOptions = { reliability: 2, noLocal: false, keepRetain: false, id: 0 };

function publish(core: Core, address: string, body: string, fields: Partial<MessageFields> = {}): void {
  const publisher = core.openPublisher({
    principal: { user: '', groups: [], clientId: '' },
    congested: () => {},
  });
  publisher.publish(messageTo(address, body, { reliability: 1, ...fields }), null, 0);
}

describe('session', () => {
  it('keeps what must not be lost while nobody is attached, and nothing else', async () => {
    const { core } = await openTestCore();
    const { session } = await core.sessions.open('s', { clean: false, durable: true });
    session.subscribe(new Pattern(['a', MANY]), WISH);
    publish(core, 'a/1', 'kept');
    publish(core, 'a/1', 'lost', { reliability: 0 });
    const consumer = collect();
    session.attach(consumer).grant(10);
    publish(core, 'a/1', 'live', { reliability: 0 });
    expect(consumer.bodies).toEqual(['kept', 'live']);
    expect(consumer.deliveries).toHaveLength(1);
  });

  it('gives a new connection what the old one had not settled, first and marked', async () => {
    const { core } = await openTestCore();
    const { session } = await core.sessions.open('s', { clean: false, durable: true });
    session.subscribe(new Pattern(['a']), WISH);
    const first = collect();
    session.attach(first).grant(2);
    publish(core, 'a', '1');
    publish(core, 'a', '2');
    publish(core, 'a', '3');
    first.deliveries[0]?.settle('accepted');
    const { present } = await core.sessions.open('s', { clean: false, durable: true });
    expect(present).toBe(true);
    const second = collect();
    session.attach(second).grant(10);
    expect(first.cancellations).toEqual(['displaced']);
    expect(second.bodies).toEqual(['2', '3']);
    expect(second.deliveries.map((d) => d.redelivered)).toEqual([true, false]);
  });

  it('takes everything with it when it begins to survive restarts', async () => {
    const first = await openTestCore();
    const { sessions } = first.core;
    const volatile = (await sessions.open('s', { clean: false, durable: false })).session;
    volatile.subscribe(new Pattern(['a', MANY]), WISH);
    volatile.putState('k', Buffer.from('v'));
    const old = collect();
    volatile.attach(old).grant(2);
    for (const body of ['1', '2', '3', '4']) publish(first.core, 'a/1', body);
    old.deliveries[0]?.settle('accepted');
    const { session, present } = await sessions.open('s', { clean: false, durable: true });
    expect(present).toBe(true);
    expect(session.durable).toBe(true);
    expect(sessions.get('s')).toBe(session);
    expect(old.cancellations).toEqual(['displaced']);
    old.deliveries[1]?.settle('accepted');
    publish(first.core, 'a/1', '5');
    const consumer = collect();
    const subscription = session.attach(consumer);
    subscription.grant(2);
    expect(consumer.bodies).toEqual(['2', '3']);
    expect(consumer.deliveries.map((d) => d.redelivered)).toEqual([true, false]);
    await first.clock.turn();
    const second = await openTestCore({ storage: first.storage.afterCrash() });
    const restored = second.core.sessions.get('s');
    expect(restored?.state.get('k')?.toString()).toBe('v');
    publish(second.core, 'a/1', '6');
    const later = collect();
    restored?.attach(later).grant(10);
    await second.clock.turn();
    expect(later.bodies).toEqual(['2', '3', '4', '5', '6']);
  });

  it('is found again by a connection that does not ask it to survive', async () => {
    const { core } = await openTestCore();
    const { session } = await core.sessions.open('s', { clean: false, durable: true });
    session.subscribe(new Pattern(['a']), WISH);
    session.attach(collect());
    session.detach(1_000);
    publish(core, 'a', 'kept');
    const again = await core.sessions.open('s', { clean: false, durable: false, expiryMs: 0 });
    expect(again.present).toBe(true);
    const consumer = collect();
    again.session.attach(consumer).grant(10);
    expect(consumer.bodies).toEqual(['kept']);
    again.session.detach(0);
    expect(core.sessions.get('s')).toBeUndefined();
  });

  it('expires by the last detach alone', async () => {
    const { core, clock } = await openTestCore();
    const { session } = await core.sessions.open('s', { clean: false, durable: true });
    session.attach(collect());
    session.detach(1_000);
    session.detach(Number.POSITIVE_INFINITY);
    clock.advance(2_000);
    expect(core.sessions.get('s')).toBe(session);
    session.detach(1_000);
    session.detach(5_000);
    session.attach(collect());
    clock.advance(10_000);
    expect(core.sessions.get('s')).toBe(session);
  });

  it('does not hear itself where it asked not to', async () => {
    const { core } = await openTestCore();
    const { session } = await core.sessions.open('s', { clean: true, durable: false });
    session.subscribe(new Pattern(['a']), { ...WISH, noLocal: true });
    const consumer = collect();
    session.attach(consumer).grant(10);
    publish(core, 'a', 'own', { publisherId: 's' });
    publish(core, 'a', 'other', { publisherId: 't' });
    session.subscribe(new Pattern([ONE]), { ...WISH, id: 4 });
    publish(core, 'a', 'own through the other', { publisherId: 's' });
    expect(consumer.bodies).toEqual(['other', 'own through the other']);
  });

  it('ends when its time is over, unless somebody attaches before', async () => {
    const { core, clock } = await openTestCore();
    const { session } = await core.sessions.open('s', { clean: false, durable: true });
    session.attach(collect());
    session.detach(10_000);
    clock.advance(9_000);
    session.attach(collect());
    clock.advance(60_000);
    expect(core.sessions.get('s')).toBe(session);
    session.detach(10_000);
    clock.advance(11_000);
    expect(core.sessions.get('s')).toBeUndefined();
    const next = await core.sessions.open('t', { clean: true, durable: false });
    next.session.detach(0);
    expect(core.sessions.get('t')).toBeUndefined();
  });

  it('starts afresh when a clean one is asked for', async () => {
    const { core } = await openTestCore();
    const { session } = await core.sessions.open('s', { clean: false, durable: true });
    session.subscribe(new Pattern(['a']), WISH);
    publish(core, 'a', '1');
    const again = await core.sessions.open('s', { clean: true, durable: true });
    expect(again.present).toBe(false);
    expect(again.session.subscriptions.size).toBe(0);
    expect(again.session.queuedCount).toBe(0);
  });

  it('survives the end of the process with subscriptions, state and messages, and then expires', async () => {
    const first = await openTestCore();
    const { session } = await first.core.sessions.open('s', {
      clean: false,
      durable: true,
      expiryMs: 30_000,
    });
    session.subscribe(new Pattern(['a', ONE]), { ...WISH, id: 5 });
    session.subscribe(new Pattern(['b']), WISH);
    session.unsubscribe(new Pattern(['b']));
    session.putState('k/1', Buffer.from('v'));
    session.putState('k/2', Buffer.from('gone'));
    session.removeState('k/2');
    session.attach(collect());
    publish(first.core, 'a/1', '1');
    publish(first.core, 'b', 'not wanted');
    await first.clock.turn();
    const second = await openTestCore({ storage: first.storage.afterCrash() });
    publish(second.core, 'a/2', '2');
    const opened = await second.core.sessions.open('s', { clean: false, durable: true });
    expect(opened.present).toBe(true);
    expect([...opened.session.state].map(([k, v]) => [k, Buffer.from(v).toString()])).toEqual([['k/1', 'v']]);
    const consumer = collect();
    opened.session.attach(consumer).grant(10);
    await second.clock.turn();
    expect(consumer.bodies).toEqual(['1', '2']);
    expect(consumer.deliveries[0]?.options.subscriptionIds).toEqual([5]);
    await second.clock.turn();
    const third = await openTestCore({ storage: second.storage.afterCrash() });
    third.clock.advance(31_000);
    expect(third.core.sessions.get('s')).toBeUndefined();
  });

  it('drops the oldest beyond its bound, and counts it', async () => {
    const { core } = await openTestCore({ limits: { sessionQueueMessagesMax: 2 } });
    const { session } = await core.sessions.open('s', { clean: false, durable: true });
    session.subscribe(new Pattern(['a']), WISH);
    for (const body of ['1', '2', '3']) publish(core, 'a', body);
    const consumer = collect();
    session.attach(consumer).grant(10);
    expect(consumer.bodies).toEqual(['2', '3']);
    expect(core.counters.dropped).toBe(1);
  });

  it('tells the log of drops: of the first at once, of the others once a minute', async () => {
    const { core, clock, events } = await openTestCore({ limits: { sessionQueueMessagesMax: 1 } });
    for (const id of ['s', 't']) {
      const { session } = await core.sessions.open(id, { clean: false, durable: true });
      session.subscribe(new Pattern(['a']), WISH);
    }
    for (const body of ['1', '2', '3']) publish(core, 'a', body);
    const told = (details: object) => ({
      level: 'warn',
      text: 'messages that wait for clients were dropped: there was no room for more',
      details,
    });
    const first = told({ dropped: 1, clients: 1, example: 's' });
    expect(events).toEqual([first]);
    clock.advance(60_000);
    expect(events).toEqual([first, told({ dropped: 3, clients: 2, example: 't' })]);
    clock.advance(120_000);
    expect(events).toHaveLength(2);
    publish(core, 'a', '4');
    expect(events).toHaveLength(3);
  });
});

describe('retained messages', () => {
  it('remember the last of each address, forget on an empty body, and survive', async () => {
    const first = await openTestCore();
    publish(first.core, 'a/1', 'old', { retain: true });
    publish(first.core, 'a/1', 'new', { retain: true, reliability: 0 });
    publish(first.core, 'a/2', 'gone', { retain: true });
    publish(first.core, 'a/2', '', { retain: true });
    publish(first.core, 'a/3', 'not retained');
    const texts = (core: Core) => [...core.retained.match(new Pattern(['a', ONE]))].map(bodyOf);
    expect(texts(first.core)).toEqual(['new']);
    await first.clock.turn();
    const second = await openTestCore({ storage: first.storage.afterCrash() });
    expect(texts(second.core)).toEqual(['new']);
    expect(second.core.retained.count).toBe(1);
  });

  it('do not outlive their expiry', async () => {
    const { core, clock } = await openTestCore();
    publish(core, 'a', 'x', { retain: true, expiresAtMs: clock.nowMs() + 1_000 });
    expect([...core.retained.match(new Pattern(['a']))]).toHaveLength(1);
    clock.advance(2_000);
    expect([...core.retained.match(new Pattern(['a']))]).toHaveLength(0);
  });

  it('are found by exactly the patterns that match their addresses, once', async () => {
    const level = fc.constantFrom('a', 'b', '', '$s');
    const address = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'));
    const token = fc.oneof<fc.Arbitrary<Token>[]>(
      level,
      fc.constant(ONE as Token),
      fc.constant(MANY as Token),
    );
    const pattern = fc.array(token, { minLength: 1, maxLength: 4 }).map((tokens) => new Pattern(tokens));
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(address, { maxLength: 20 }), pattern, async (addresses, wanted) => {
        const { core } = await openTestCore();
        for (const text of addresses) publish(core, text, text === '' ? 'empty' : text, { retain: true });
        const found = [...core.retained.match(wanted)].map((message) => message.address);
        expect(found.sort()).toEqual(addresses.filter((text) => wanted.matches(text)).sort());
      }),
      { numRuns: 200 },
    );
  });
});
