/**
 * A random walk of members that come, go, end, unsubscribe, acknowledge and are killed with the process, beside a model
 * that says where each message is. After each step: nobody got what is another's or more than its credit; nothing older
 * waited when something was given out; nothing waits while somebody has room. At the end nothing is missing.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Delivery, Session, Subscription } from '../../../src/core/index.ts';
import { bodyOf, openTestCore, type TestCore } from '../../support/core.ts';
import { JOBS, openSession, publisherOf, sharedBy } from '../../support/shared-workers.ts';

/** Where a message is: with the member of that number, or in one of these places. */
const SHARED = -1;
const DONE = -2;
const WORKERS = 4;
const KEEPER = WORKERS;

interface Attached {
  readonly session: Session;
  readonly subscription: Subscription;
  readonly deliveries: Delivery[];
  credit: number;
}

interface Options {
  readonly durable: boolean;
  readonly queueMemoryBytesMax: number;
}

class Walk {
  readonly #options: Options;
  readonly #places: number[] = [];
  readonly #reliabilities: (1 | 2)[] = [];
  readonly #attached = new Map<number, Attached>();
  readonly #members = new Set<number>();
  #world!: TestCore;
  #publish!: ReturnType<typeof publisherOf>;
  /** What came back stands behind what waited when the process was killed. */
  #isOrdered = true;

  constructor(options: Options) {
    this.#options = options;
  }

  async begin(world: TestCore): Promise<void> {
    this.#world = world;
    this.#publish = publisherOf(world);
    const keeper = await openSession(world.core, `w${KEEPER}`, this.#options.durable);
    keeper.subscribe(JOBS, sharedBy());
  }

  publish(reliability: 1 | 2): void {
    const number = this.#places.push(SHARED) - 1;
    this.#reliabilities.push(reliability);
    this.#publish(`${number}`, reliability);
  }

  async attach(i: number): Promise<void> {
    const session = await openSession(this.#world.core, `w${i}`, this.#isDurable(i));
    this.#members.add(i);
    for (const other of this.#members) if (other !== i && !this.#attached.has(other)) this.#passOn(other);
    // One that is attached already may still get something, and is displaced then.
    session.subscribe(JOBS, sharedBy());
    this.#attached.delete(i);
    const deliveries: Delivery[] = [];
    const subscription = session.attach({
      cancelled() {},
      deliver: (message, _options, delivery) => {
        const one = this.#attached.get(i) as Attached;
        const number = Number(bodyOf(message));
        expect(--one.credit, 'credit').toBeGreaterThanOrEqual(0);
        expect([SHARED, i], `${number} is another's`).toContain(this.#places[number]);
        expect(
          deliveries.map((held) => Number(bodyOf(held.message))),
          'it has it already',
        ).not.toContain(number);
        if (this.#isOrdered && this.#places[number] === SHARED)
          expect(this.#places.indexOf(SHARED), 'the oldest first').toBe(number);
        this.#places[number] = i;
        deliveries.push(delivery as Delivery);
      },
    });
    this.#attached.set(i, { session, subscription, deliveries, credit: 0 });
  }

  grant(i: number, credit: number): void {
    const one = this.#attached.get(i);
    if (one === undefined) return;
    one.credit += credit;
    one.subscription.grant(credit);
  }

  settle(i: number, outcome: 'accepted' | 'rejected' | 'released'): void {
    const delivery = this.#attached.get(i)?.deliveries.shift();
    if (delivery === undefined) return;
    if (outcome !== 'released') this.#places[Number(bodyOf(delivery.message))] = DONE;
    delivery.settle(outcome);
  }

  detach(i: number): void {
    const one = this.#attached.get(i);
    if (one === undefined) return;
    this.#attached.delete(i);
    if (this.#members.has(i)) this.#allMayGo(i);
    one.session.detach(60_000);
  }

  end(i: number): void {
    this.#attached.delete(i);
    this.#members.delete(i);
    this.#passOn(i, true);
    this.#world.core.sessions.end(`w${i}`);
  }

  unsubscribe(i: number): void {
    this.#world.core.sessions.get(`w${i}`)?.unsubscribe(JOBS, 'g');
    this.#members.delete(i);
  }

  async kill(): Promise<void> {
    if (!this.#options.durable) return;
    await this.#world.clock.turn();
    this.#isOrdered = false;
    this.#attached.clear();
    for (let i = 0; i < WORKERS; i++) {
      if (this.#isDurable(i)) continue;
      this.#passOn(i, true);
      this.#members.delete(i);
    }
    const { queueMemoryBytesMax } = this.#options;
    const storage = this.#world.storage.afterCrash();
    await this.begin(await openTestCore({ storage, limits: { queueMemoryBytesMax } }));
  }

  async check(): Promise<void> {
    await this.#world.clock.turn();
    const hasRoom = [...this.#attached].some(([i, { credit }]) => credit > 0 && this.#members.has(i));
    if (hasRoom) expect(this.#places.indexOf(SHARED), 'waits though somebody has room').toBe(-1);
  }

  /** Everybody goes, and the last member gets all that is left. */
  async finish(): Promise<void> {
    for (let i = 0; i < WORKERS; i++) this.end(i);
    await this.attach(KEEPER);
    this.grant(KEEPER, 10_000);
    for (let i = 0; i < 3; i++) await this.#world.clock.turn();
    for (const place of this.#places) expect([DONE, KEEPER]).toContain(place);
    while ((this.#attached.get(KEEPER)?.deliveries.length ?? 0) > 0) this.settle(KEEPER, 'accepted');
    await this.#world.clock.turn();
    const left = [...this.#world.storage.rowLogs.values()].map(({ rowCount }) => rowCount);
    expect(
      left.filter((count) => count > 0),
      'rows that are left',
    ).toEqual([]);
  }

  #isDurable(i: number): boolean {
    return this.#options.durable && i % 2 === 0;
  }

  /** What a member holds that nobody is attached to any more goes to those that are there. */
  #allMayGo(i: number): void {
    if ([...this.#attached.keys()].some((other) => this.#members.has(other))) this.#passOn(i);
  }

  #passOn(i: number, ended = false): void {
    for (const [number, place] of this.#places.entries()) {
      if (place !== i) continue;
      if (this.#reliabilities[number] === 1) this.#places[number] = SHARED;
      else if (ended) this.#places[number] = DONE;
    }
  }
}

const worker = fc.nat(WORKERS - 1);
const STEP = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('publish' as const), qos: fc.constantFrom(1, 1, 1, 2) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      i: worker,
      outcome: fc.constantFrom('accepted', 'accepted', 'accepted', 'rejected', 'released'),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('grant' as const), i: worker }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('attach' as const), i: worker }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('detach' as const), i: worker }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('end' as const), i: worker }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unsubscribe' as const), i: worker }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('kill' as const) }) },
);

it('a shared subscription loses nothing and gives nothing twice', { timeout: 60_000 }, async () => {
  const steps = fc.array(STEP, { minLength: 20, maxLength: 60, size: 'max' });
  const options = fc.record({
    durable: fc.boolean(),
    queueMemoryBytesMax: fc.constantFrom(1_000, 1_000_000),
  });
  await fc.assert(
    fc.asyncProperty(steps, options, async (taken, chosen) => {
      const walk = new Walk(chosen);
      const { queueMemoryBytesMax } = chosen;
      await walk.begin(await openTestCore({ limits: { queueMemoryBytesMax } }));
      for (const step of taken) {
        if (step.kind === 'publish') walk.publish(step.qos as 1 | 2);
        else if (step.kind === 'settle') walk.settle(step.i, step.outcome as 'accepted');
        else if (step.kind === 'grant') walk.grant(step.i, 2);
        else if (step.kind === 'attach') await walk.attach(step.i);
        else if (step.kind === 'kill') await walk.kill();
        else walk[step.kind](step.i);
        await walk.check();
      }
      await walk.finish();
    }),
    { numRuns: 150 },
  );
});
