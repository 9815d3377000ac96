/** Addresses under `$reply`: where they lead, who may use them, how long they are, when they end. */

import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HeaderValue, Limits, Message, Principal } from '../../../src/core/index.ts';
import { CoreError, MANY, NO_ROUTE, Pattern, STORED } from '../../../src/core/index.ts';
import { MessageFormat } from '../../../src/core/message-format.ts';
import { TOKEN_CHARS_MAX } from '../../../src/core/replies.ts';
import { messageTo, openTestCore, queueSpec, type TestCore } from '../../support/core.ts';
import { accessOf } from '../../support/doors.ts';

const RESPONDER: Principal = { user: 'responder', groups: [], clientId: '' };
const LIFETIME_MS = 60_000;
const PREFIX = '$reply/';

const binary = (...values: number[]): HeaderValue => ({ kind: 'bytes', value: Buffer.from(values) });
const text = (value: string): HeaderValue => ({ kind: 'string', value });

interface World extends TestCore {
  /** What came to addresses under `answers`. */
  readonly answers: readonly Message[];
  /** The address that a request is shown with. */
  ask(replyTo: string, correlation?: HeaderValue, isLent?: boolean): string | null;
  /** Publishes as a responder does; the result, or the code of the refusal. */
  answer(address: string | null, correlation?: HeaderValue): number | string;
}

async function openWorld(
  options: {
    readonly limits?: Partial<Limits>;
    readonly mayPublish?: (address: string) => boolean;
    readonly isSealed?: boolean;
  } = {},
): Promise<World> {
  const { mayPublish, isSealed = true } = options;
  const world = await openTestCore({
    nowMs: 1_000_000,
    limits: { replyLifetimeMs: LIFETIME_MS, ...options.limits },
    core: {
      randomBytes,
      ...(mayPublish === undefined
        ? {}
        : { access: accessOf((_who, _action, target) => mayPublish(target)) }),
      ...(isSealed ? {} : { sealReply: undefined as never }),
    },
  });
  const { core } = world;
  const answers: Message[] = [];
  const { session } = await core.sessions.open('requester', { clean: true, durable: false });
  session.subscribe(new Pattern(['answers', MANY]), {
    reliability: 0,
    noLocal: false,
    keepRetain: false,
    id: 0,
  });
  session.attach({ deliver: (message) => void answers.push(message), cancelled() {} }).grant(1000);
  const publisher = core.openPublisher({ principal: RESPONDER, congested() {} });
  const propertiesOf = (correlation: HeaderValue | undefined) => ({
    headers: [],
    ...(correlation === undefined ? {} : { correlation }),
  });
  return {
    ...world,
    answers,
    ask: (replyTo, correlation, replyLent = true) =>
      core.replies.addressFor(
        messageTo('requests', '?', { replyLent, properties: { ...propertiesOf(correlation), replyTo } }),
      ),
    answer(address, correlation) {
      const properties = propertiesOf(correlation);
      try {
        return publisher.publish(messageTo(address as string, 'answer', { properties }), null, 0);
      } catch (error) {
        if (error instanceof CoreError) return error.code;
        throw error;
      }
    },
  };
}

describe('an answer to a reply address', () => {
  it('comes out at the address of the request with its correlation, exactly', async () => {
    const world = await openWorld();
    const correlations: (HeaderValue | undefined)[] = [
      text('call-7'),
      binary(0, 255, 128),
      binary(),
      { kind: 'u64', value: 2n ** 64n - 1n },
      { kind: 'uuid', value: '0e9f0c9e-2a6c-4a0e-9f1e-000000000000' },
    ];
    for (const correlation of correlations) {
      expect(world.answer(world.ask('answers/7', correlation), text('of the responder'))).toBe(STORED);
      const answer = world.answers.at(-1) as Message;
      expect(answer.address).toBe('answers/7');
      expect(answer.properties.correlation).toEqual(correlation);
      expect(Buffer.from(answer.body).toString()).toBe('answer');
    }
    expect(world.core.counters.repliesPassed).toBe(correlations.length);
  });

  it('keeps its own correlation where the request had none', async () => {
    const world = await openWorld();
    world.answer(world.ask('answers/7'), text('mine'));
    expect(world.answers[0]?.properties.correlation).toEqual(text('mine'));
  });

  it('may come more than once', async () => {
    const world = await openWorld();
    const address = world.ask('answers/7', text('c'));
    for (let i = 0; i < 3; i++) expect(world.answer(address)).toBe(STORED);
    expect(world.answers).toHaveLength(3);
  });

  it('is not wanted any more where the queue of the requester is gone, and makes none', async () => {
    const world = await openWorld();
    await world.core.queues.declare(queueSpec({ name: 'mine' }));
    const address = world.ask('$queue/mine', text('c'));
    expect(world.answer(address)).toBe(STORED);
    world.core.queues.delete('mine', { ifUnused: false, ifEmpty: false });
    const publisher = world.core.openPublisher({
      principal: RESPONDER,
      providesQueues: true,
      congested() {},
    });
    expect(publisher.publish(messageTo(address as string, 'late'), null, 0)).toBe(NO_ROUTE);
    expect(world.core.queues.get('mine')).toBeUndefined();
  });

  it('cannot be held back', async () => {
    const { core, ask } = await openWorld();
    const address = ask('answers/7') as string;
    expect(() => core.schedule.add(messageTo(address, 'x'), 2_000_000, RESPONDER, null, 0)).toThrow(
      'an answer cannot be held back',
    );
  });
});

describe('a reply address', () => {
  it('is a name of AMQP with its prefix, whatever it stands for, and leads back', async () => {
    const world = await openWorld({ limits: { repliesKeptMax: 100_000 } });
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string({ unit: 'grapheme', maxLength: 300 }), fc.string({ maxLength: 5000 })),
        fc.option(fc.uint8Array({ maxLength: 400, size: 'max' }), { nil: undefined }),
        async (tail, correlation) => {
          const replyTo = `answers/${tail.replaceAll('/', '_').replaceAll('\u0000', '').toWellFormed()}`;
          const value: HeaderValue | undefined =
            correlation === undefined ? undefined : { kind: 'bytes', value: correlation };
          const address = world.ask(replyTo, value) as string;
          expect(address.length - PREFIX.length).toBeLessThanOrEqual(TOKEN_CHARS_MAX);
          expect(`amq.gw.reply.${address.slice(PREFIX.length)}`.length).toBeLessThanOrEqual(255);
          expect(address).toMatch(/^\$reply\/[\w-]+$/);
          expect(world.answer(address)).toBe(STORED);
          const answer = world.answers.at(-1) as Message;
          expect(answer.address).toBe(replyTo);
          const restored = answer.properties.correlation as { readonly value: Uint8Array } | undefined;
          expect(restored && Buffer.from(restored.value)).toEqual(correlation && Buffer.from(correlation));
        },
      ),
      { numRuns: 200 },
    );
  });

  it('is the same for every showing of one message, until half its time is over', async () => {
    const { core, clock } = await openWorld();
    const request = messageTo('requests', '?', { properties: { replyTo: 'answers/7', headers: [] } });
    const first = core.replies.addressFor(request);
    clock.advance(LIFETIME_MS / 2 - 1000);
    expect(core.replies.addressFor(request)).toBe(first);
    clock.advance(2000);
    expect(core.replies.addressFor(request)).not.toBe(first);
  });

  it.each([['$SYS/x'], ['$share/g/x'], ['$delayed/1/x'], ['$dlq/q'], ['$queue/'], ['$reply/x'], ['']])(
    'is not given for %j',
    async (replyTo) => {
      expect((await openWorld()).ask(replyTo)).toBeNull();
    },
  );

  it('is not given where none are wanted, nor without a key', async () => {
    expect((await openWorld({ limits: { replyLifetimeMs: 0 } })).ask('answers/7')).toBeNull();
    expect((await openWorld({ isSealed: false })).ask('answers/7')).toBeNull();
  });

  it('no core without a key takes an answer', async () => {
    const address = (await openWorld()).ask('answers/7');
    expect((await openWorld({ isSealed: false })).answer(address)).toBe('access-refused');
  });
});

describe('expiry', () => {
  it.each([
    ['what stands in the address', 'c'],
    ['what is kept', 'c'.repeat(1000)],
  ])('%s comes too late then, and is counted', async (_what, correlation) => {
    const world = await openWorld();
    const address = world.ask('answers/7', text(correlation));
    world.clock.advance(LIFETIME_MS - 1000);
    expect(world.answer(address)).toBe(STORED);
    world.clock.advance(2000);
    expect(world.answer(address)).toBe(NO_ROUTE);
    expect(world.answers).toHaveLength(1);
    expect(world.core.counters).toMatchObject({ repliesPassed: 1, repliesLate: 1, noRoute: 1 });
  });

  it('what stands in the address outlives the process, what was kept does not', async () => {
    const before = await openWorld();
    const short = before.ask('answers/7', text('c'));
    const long = before.ask('answers/7', text('c'.repeat(1000)));
    const after = await openWorld();
    expect(after.answer(short)).toBe(STORED);
    expect(after.answers[0]?.properties.correlation).toEqual(text('c'));
    expect(after.answer(long)).toBe(NO_ROUTE);
    expect(after.core.counters.repliesLate).toBe(1);
  });
});

describe('forgery', () => {
  it('every changed character is refused and counted, and nothing arrives', async () => {
    const world = await openWorld();
    const address = world.ask('answers/7', text('call-7')) as string;
    let tried = 0;
    for (let at = PREFIX.length; at < address.length; at++) {
      for (const other of ['A', 'z', '_', '=', '/', '.']) {
        if (address[at] === other) continue;
        expect(world.answer(address.slice(0, at) + other + address.slice(at + 1))).toBe('access-refused');
        tried++;
      }
    }
    // Text that decodes to the same bytes is another text all the same.
    for (const more of ['=', '.', ' ', '\n']) {
      expect(world.answer(address + more)).toBe('access-refused');
      tried++;
    }
    expect(world.answers).toHaveLength(0);
    expect(world.core.counters.repliesRefused).toBe(tried);
  });

  it('any other text is refused', async () => {
    const world = await openWorld();
    fc.assert(
      fc.property(fc.string({ maxLength: 600 }), (token) => {
        expect(world.answer(PREFIX + token)).toBe('access-refused');
      }),
    );
    expect(world.answer(PREFIX + randomBytes(40).toString('base64url'))).toBe('access-refused');
  });
});

describe('rights', () => {
  it('a lent right is the responder’s: it needs none of its own for the answer, and gets no other', async () => {
    const world = await openWorld({ mayPublish: () => false });
    expect(world.answer(world.ask('answers/7', text('c')))).toBe(STORED);
    expect(world.answer('answers/7')).toBe('access-refused');
    expect(world.answers).toHaveLength(1);
  });

  it('where nothing is lent, the responder must have the right itself', async () => {
    const refused = await openWorld({ mayPublish: () => false });
    expect(refused.answer(refused.ask('answers/7', text('c'), false))).toBe('access-refused');
    expect(refused.core.counters.repliesRefused).toBe(1);
    const allowed = await openWorld({ mayPublish: (address) => address === 'answers/7' });
    expect(allowed.answer(allowed.ask('answers/7', text('c'), false))).toBe(STORED);
  });

  it.each([
    ['a lent right leaves nothing that the address remembers', false, 0],
    ['a responder with the right itself may have its answer remembered', true, 1],
  ])('%s', async (_what, isAllowed, count) => {
    const { core, answers, ask } = await openWorld({ mayPublish: () => isAllowed });
    const publisher = core.openPublisher({ principal: RESPONDER, congested() {} });
    const answer = messageTo(ask('answers/7') as string, 'x', { retain: true });
    expect(publisher.publish(answer, null, 0)).toBe(STORED);
    expect(answers).toHaveLength(1);
    expect(core.retained.count).toBe(count);
  });

  it('a requester lends only what it has', async () => {
    const { core } = await openWorld({ mayPublish: (address) => address === 'answers/7' });
    expect(core.replies.mayLend(RESPONDER, 'answers/7')).toBe(true);
    expect(core.replies.mayLend(RESPONDER, 'answers/8')).toBe(false);
  });

  it('a stored request remembers whether it lends', () => {
    const format = new MessageFormat([]);
    const plain = {
      reliability: 1,
      retained: false,
      keepRetain: false,
      subscriptionIds: [],
      via: null,
    } as const;
    for (const replyLent of [true, false]) {
      const row = format.encode(messageTo('a', 'b', { replyLent }), plain, 0);
      expect(format.decode(row).message.replyLent).toBe(replyLent);
    }
  });
});

describe('what is kept', () => {
  it('is bounded in number and in bytes; then the request is shown as it is, and counted', async () => {
    const few = await openWorld({ limits: { repliesKeptMax: 2 } });
    const long = text('c'.repeat(1000));
    const given = [1, 2, 3].map((n) => few.ask(`answers/${n}`, long));
    expect(given.map((address) => address !== null)).toEqual([true, true, false]);
    // What needs no room is not concerned.
    expect(few.ask('answers/4', text('c'))).not.toBeNull();
    expect(few.core.counters.repliesUnnamed).toBe(1);
    const small = await openWorld({ limits: { repliesKeptBytesMax: 4000 } });
    expect(small.ask('answers/1', text('c'.repeat(2000)))).not.toBeNull();
    expect(small.ask('answers/2', text('c'.repeat(2000)))).toBeNull();
  });

  it('gives its room back when it has expired', async () => {
    const world = await openWorld({ limits: { repliesKeptMax: 1, repliesKeptBytesMax: 2000 } });
    const long = text('c'.repeat(1000));
    const first = world.ask('answers/1', long);
    expect(world.ask('answers/2', long)).toBeNull();
    world.clock.advance(LIFETIME_MS + 1000);
    expect(world.ask('answers/2', long)).not.toBeNull();
    expect(world.answer(first)).toBe(NO_ROUTE);
  });
});
