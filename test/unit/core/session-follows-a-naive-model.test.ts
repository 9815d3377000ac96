/**
 * A durable session against a naive model under random use: publish, come, grant, settle, go, and restart from what the
 * last commit left, with little and with much memory for those who are away, and a log whose reads take long, fail, and
 * bring a few rows. Nothing is lost, nothing that was settled comes again or too late, and what comes for the first time does
 * so in the order of publishing.
 */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  type Core,
  type Limits,
  MANY,
  Pattern,
  type Session,
  type Subscription,
  type SubscriptionOptions,
} from '../../../src/core/index.ts';
import {
  bodyOf,
  type Collector,
  collect,
  messageTo,
  openTestCore,
  type TestClock,
} from '../../support/core.ts';
import { MemoryRowLog, type MemoryStorage } from '../../support/memory-storage.ts';

const WISH: SubscriptionOptions = { reliability: 2, noLocal: false, keepRetain: false, id: 0 };
const AWAY_MS = 3_600_000;
const PAGE_ROWS = 5;
const { read } = MemoryRowLog.prototype;

type Step =
  | { readonly kind: 'attach' | 'detach' | 'turn' | 'restart' | 'read' | 'fail' | 'pass' }
  | { readonly kind: 'publish' | 'grant' | 'settle'; readonly count: number };

const count = fc.integer({ min: 1, max: 12 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('publish', 'grant', 'settle'), count }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom('attach', 'detach', 'turn') }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('read', 'fail', 'pass') }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart') }) },
) as fc.Arbitrary<Step>;

interface Life {
  readonly core: Core;
  readonly storage: MemoryStorage;
  readonly session: Session;
  readonly clock: TestClock;
}

async function begin(queueMemoryBytesMax: number, storage?: MemoryStorage): Promise<Life> {
  const limits = { queueMemoryBytesMax, sessionQueueMessagesMax: 1_000 };
  const world = await openTestCore(storage === undefined ? { limits } : { limits, storage });
  const { session } = await world.core.sessions.open('s', { clean: false, durable: true });
  if (storage === undefined) session.subscribe(new Pattern(['a', MANY]), WISH);
  return { core: world.core, storage: world.storage, session, clock: world.clock };
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
  readonly #expiries = new Map<number, number>();
  /** Reads that have not been answered; null where they are at once. */
  #reads: ((isFailing: boolean) => void)[] | null = null;

  constructor(memoryBytesMax: number) {
    this.#memoryBytesMax = memoryBytesMax;
  }

  async run(steps: readonly Step[]): Promise<void> {
    this.#life = await begin(this.#memoryBytesMax);
    this.#reads = [];
    const isFailing = () => new Promise<boolean>((resolve) => this.#reads?.push(resolve) ?? resolve(false));
    vi.spyOn(MemoryRowLog.prototype, 'read').mockImplementation(async function (
      this: MemoryRowLog,
      offset,
      rowsMax,
      bytesMax,
    ) {
      if (await isFailing()) throw new Error('a read that fails');
      return read.call(this, offset, Math.min(PAGE_ROWS, rowsMax), bytesMax);
    });
    for (const step of steps) {
      if (step.kind === 'publish') this.#publish(step.count);
      else if (step.kind === 'grant') this.#subscription?.grant(step.count);
      else if (step.kind === 'settle') this.#settle(step.count);
      else if (step.kind === 'attach') this.#attach();
      else if (step.kind === 'detach') this.#detach();
      else if (step.kind === 'pass') this.#life.clock.advance(1_500);
      else if (step.kind === 'read' || step.kind === 'fail') this.#reads?.shift()?.(step.kind === 'fail');
      else await this.#life.clock.turn();
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
      const expiresAtMs = number % 4 === 0 ? this.#life.clock.nowMs() + 1_000 * (1 + (number % 5)) : 0;
      const fields = { reliability: 1, publisherId: `p${number % 3}`, expiresAtMs } as const;
      this.#expiries.set(number, expiresAtMs);
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
      expect(message.expiresAtMs).toBe(this.#expiries.get(number));
      expect(this.#isOver(number), `${number} is over`).toBe(false);
      expect(message.address).toBe(`a/${number % 2}`);
      expect(message.publisherId).toBe(`p${number % 3}`);
      if (!redelivered) expect(number).toBeGreaterThan(this.#newest);
      this.#newest = Math.max(this.#newest, number);
    }
  }

  #isOver(number: number): boolean {
    const expiresAtMs = this.#expiries.get(number) ?? 0;
    return expiresAtMs !== 0 && expiresAtMs <= this.#life.clock.nowMs();
  }

  /** Reads are answered at once from here on. */
  async #readOn(): Promise<void> {
    const reads = this.#reads ?? [];
    this.#reads = null;
    for (const answer of reads) answer(false);
    await this.#life.clock.turn();
  }

  async #restart(): Promise<void> {
    await this.#life.clock.turn();
    this.#look();
    this.#collector = null;
    this.#subscription = null;
    await this.#readOn();
    const before = this.#life.clock.nowMs();
    this.#life = await begin(this.#memoryBytesMax, this.#life.storage.afterCrash());
    this.#life.clock.advance(before - this.#life.clock.nowMs());
    this.#reads = [];
  }

  /** What is left comes to one who takes everything. */
  async #finish(): Promise<void> {
    await this.#readOn();
    this.#attach();
    this.#subscription?.grant(10_000);
    for (let turn = 0; turn < 20; turn++) await this.#life.clock.turn();
    this.#look();
    const came = new Set(this.#collector?.bodies.map(Number));
    const all = Array.from({ length: this.#published }, (_, number) => number);
    const isMissing = (number: number) =>
      !came.has(number) && !this.#settled.has(number) && !this.#isOver(number);
    expect(all.filter(isMissing)).toEqual([]);
    expect(this.#life.session.queuedCount).toBe(0);
  }
}

afterEach(() => void vi.restoreAllMocks());

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

    async function openAbsent(changes: Partial<Limits> = {}) {
      const { core, clock, storage } = await openTestCore({ limits: { ...limits, ...changes } });
      const { session } = await core.sessions.open('s', { clean: false, durable: true });
      session.subscribe(new Pattern(['a']), WISH);
      const principal = { user: '', groups: [], clientId: '' };
      const publisher = core.openPublisher({ principal, congested: () => {} });
      const publish = (text: string, expiresAtMs = 0) =>
        publisher.publish(messageTo('a', text, { reliability: 1, expiresAtMs }), null, 0);
      return { core, clock, storage, session, publish };
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

    it('lets go what expires, in time and as that', async () => {
      const { core, clock, session, storage, publish } = await openAbsent();
      for (const text of texts(0, 400)) publish(text, clock.nowMs() + 1_000);
      await clock.turn();
      clock.advance(60_000);
      await clock.turn();
      expect(session.queuedCount).toBe(0);
      expect([...storage.rowLogs.values()].map(({ rowCount }) => rowCount)).not.toContain(400);
      expect(core.counters).toMatchObject({ expired: 400, dropped: 0 });
    });

    it('counts what expired behind others as expired, not as dropped', async () => {
      const { core, clock, publish } = await openAbsent();
      for (const text of texts(0, 300)) publish(text);
      for (const text of texts(300, 500)) publish(text, clock.nowMs() + 1_000);
      clock.advance(60_000);
      for (const text of texts(500, 1_000)) {
        publish(text);
        await clock.turn();
      }
      expect(core.counters).toMatchObject({ expired: 200, dropped: 300 });
    });

    it('gets what could not be read as soon as it can be', async () => {
      for (const isPublished of [true, false]) {
        const { clock, session, publish } = await openAbsent();
        for (const text of texts(0, 400)) publish(text);
        const reading = vi.spyOn(MemoryRowLog.prototype, 'read').mockRejectedValueOnce(new Error('no disk'));
        // Nothing is settled: that would ask as well.
        const consumer = collect();
        session.attach(consumer).grant(1_000);
        await clock.turn();
        expect(reading).toHaveBeenCalledOnce();
        expect(consumer.bodies.length).toBeLessThan(40);
        if (isPublished) publish('400');
        else clock.advance(10_000);
        await clock.turn();
        expect(consumer.bodies).toEqual(texts(0, isPublished ? 401 : 400));
        reading.mockRestore();
      }
    });

    it('is asked for each page once, though both bound and client want it', { timeout: 10_000 }, async () => {
      const first = await openAbsent({ sessionQueueMessagesMax: 100_000 });
      for (const text of texts(0, 40_000)) first.publish(text);
      await first.clock.turn();
      const { core, clock } = await openTestCore({
        storage: first.storage.afterCrash(),
        limits: { sessionQueueMessagesMax: 10 },
      });
      const reading = vi.spyOn(MemoryRowLog.prototype, 'read');
      const consumer = collect();
      (await core.sessions.open('s', { clean: false, durable: true })).session.attach(consumer).grant(100);
      for (let turn = 0; turn < 20; turn++) await clock.turn();
      expect(consumer.bodies).toEqual(texts(39_990, 40_000));
      expect(reading.mock.calls.length).toBeLessThan(60);
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
