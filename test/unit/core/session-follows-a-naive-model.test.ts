/**
 * A durable session against a naive model under random use: publish, come, grant, settle, go, and restart from what the
 * last commit left, with little and with much memory for those who are away. Nothing is lost, nothing that was settled comes
 * again, and what comes for the first time does so in the order of publishing.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Core,
  MANY,
  Pattern,
  type Session,
  type Subscription,
  type SubscriptionOptions,
} from '../../../src/core/index.ts';
import { bodyOf, type Collector, collect, messageTo, openTestCore } from '../../support/core.ts';
import type { MemoryStorage } from '../../support/memory-storage.ts';

const WISH: SubscriptionOptions = { reliability: 2, noLocal: false, keepRetain: false, id: 0 };
const AWAY_MS = 3_600_000;

type Step =
  | { readonly kind: 'attach' | 'detach' | 'turn' | 'restart' }
  | { readonly kind: 'publish' | 'grant' | 'settle'; readonly count: number };

const count = fc.integer({ min: 1, max: 12 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('publish', 'grant', 'settle'), count }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom('attach', 'detach', 'turn') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart') }) },
) as fc.Arbitrary<Step>;

interface Life {
  readonly core: Core;
  readonly storage: MemoryStorage;
  readonly session: Session;
  turn(): Promise<void>;
}

async function begin(queueMemoryBytesMax: number, storage?: MemoryStorage): Promise<Life> {
  const limits = { queueMemoryBytesMax, sessionQueueMessagesMax: 1_000 };
  const world = await openTestCore(storage === undefined ? { limits } : { limits, storage });
  const { session } = await world.core.sessions.open('s', { clean: false, durable: true });
  if (storage === undefined) session.subscribe(new Pattern(['a', MANY]), WISH);
  return { core: world.core, storage: world.storage, session, turn: () => world.clock.turn() };
}

class Walk {
  readonly #memoryBytesMax: number;
  #life!: Life;
  #collector: Collector | null = null;
  #subscription: Subscription | null = null;
  #taken = 0;
  #newest = -1;
  #published = 0;
  readonly #settled = new Set<number>();

  constructor(memoryBytesMax: number) {
    this.#memoryBytesMax = memoryBytesMax;
  }

  async run(steps: readonly Step[]): Promise<void> {
    this.#life = await begin(this.#memoryBytesMax);
    for (const step of steps) {
      if (step.kind === 'publish') this.#publish(step.count);
      else if (step.kind === 'grant') this.#subscription?.grant(step.count);
      else if (step.kind === 'settle') this.#settle(step.count);
      else if (step.kind === 'attach') this.#attach();
      else if (step.kind === 'detach') this.#detach();
      else await this.#life.turn();
      this.#look();
      if (step.kind === 'restart') await this.#restart();
    }
    await this.#finish();
  }

  #publish(count: number): void {
    const principal = { user: '', groups: [], clientId: '' };
    const publisher = this.#life.core.openPublisher({ principal, congested: () => {} });
    for (let left = count; left > 0; left--) {
      const number = this.#published++;
      const fields = { reliability: 1, publisherId: `p${number % 3}` } as const;
      publisher.publish(messageTo(`a/${number % 2}`, String(number), fields), null, 0);
    }
  }

  #attach(): void {
    this.#detach();
    this.#collector = collect();
    this.#taken = 0;
    this.#subscription = this.#life.session.attach(this.#collector);
  }

  #detach(): void {
    if (this.#collector === null) return;
    this.#look();
    this.#collector = null;
    this.#subscription = null;
    this.#life.session.detach(AWAY_MS);
  }

  #settle(count: number): void {
    const open = this.#collector?.deliveries.filter(
      ({ message }) => !this.#settled.has(Number(bodyOf(message))),
    );
    for (const delivery of open?.slice(0, count) ?? []) {
      this.#settled.add(Number(bodyOf(delivery.message)));
      delivery.settle('accepted');
    }
  }

  #look(): void {
    const deliveries = this.#collector?.deliveries ?? [];
    for (; this.#taken < deliveries.length; this.#taken++) {
      const { message, redelivered } = deliveries[this.#taken]!;
      const number = Number(bodyOf(message));
      expect(this.#settled.has(number), `${number} comes again`).toBe(false);
      expect(message.address).toBe(`a/${number % 2}`);
      expect(message.publisherId).toBe(`p${number % 3}`);
      if (!redelivered) expect(number).toBeGreaterThan(this.#newest);
      this.#newest = Math.max(this.#newest, number);
    }
  }

  async #restart(): Promise<void> {
    await this.#life.turn();
    this.#look();
    this.#collector = null;
    this.#subscription = null;
    this.#life = await begin(this.#memoryBytesMax, this.#life.storage.afterCrash());
  }

  /** What is left comes to one who takes everything. */
  async #finish(): Promise<void> {
    this.#attach();
    this.#subscription?.grant(10_000);
    for (let turn = 0; turn < 3; turn++) await this.#life.turn();
    this.#look();
    const came = new Set(this.#collector?.bodies.map(Number));
    const all = Array.from({ length: this.#published }, (_, number) => number);
    expect(all.filter((number) => !came.has(number) && !this.#settled.has(number))).toEqual([]);
  }
}

describe('a durable session', () => {
  it('does what a naive one does', { timeout: 30_000 }, async () => {
    const steps = fc.array(step, { minLength: 10, maxLength: 60, size: 'max' });
    // Of which a sixty-fourth is for who is away: nothing, two messages, all.
    const memory = fc.constantFrom(1, 64 * 600, 64_000_000);
    await fc.assert(fc.asyncProperty(steps, memory, (taken, bytesMax) => new Walk(bytesMax).run(taken)));
  });

  describe('of a client that is away', () => {
    const limits = { queueMemoryBytesMax: 64 * 10_000, sessionQueueMessagesMax: 500 };
    const texts = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, at) => String(from + at));

    async function openAbsent() {
      const { core, clock } = await openTestCore({ limits });
      const { session } = await core.sessions.open('s', { clean: false, durable: true });
      session.subscribe(new Pattern(['a']), WISH);
      const principal = { user: '', groups: [], clientId: '' };
      const publisher = core.openPublisher({ principal, congested: () => {} });
      const publish = (text: string) => publisher.publish(messageTo('a', text, { reliability: 1 }), null, 0);
      return { core, clock, session, publish };
    }

    it('holds little in memory, and reads the rest when it comes', async () => {
      const { clock, session, publish } = await openAbsent();
      for (const text of texts(0, 400)) publish(text);
      const consumer = collect();
      session.attach(consumer).grant(1_000);
      expect(consumer.bodies.length).toBeGreaterThan(10);
      expect(consumer.bodies.length).toBeLessThan(40);
      await clock.turn();
      expect(consumer.bodies).toEqual(texts(0, 400));
    });

    it('drops the oldest beyond its bound, from the disk too', async () => {
      const { core, clock, session, publish } = await openAbsent();
      for (const [number, text] of texts(0, 2_000).entries()) {
        publish(text);
        if (number % 50 === 0) await clock.turn();
      }
      await clock.turn();
      expect(session.queuedCount).toBe(500);
      expect(core.counters.dropped).toBe(1_500);
      const consumer = collect();
      session.attach(consumer).grant(1_000);
      await clock.turn();
      expect(consumer.bodies).toEqual(texts(1_500, 2_000));
    });
  });
});
