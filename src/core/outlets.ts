/**
 * Ways out of the gateway. Each bridge that leads out has one: a durable queue that no client sees (`$bridge/NAME`),
 * in which messages wait until the other side has them, and a family of routing rules that lead into it. Opened by
 * `src/bridges`; rules put into it what they make (`mapping-runner.ts`), the operator's as well as its own.
 *
 * At any time `taken` is what waits in the queue, what its consumer holds, what its consumer settled, and what left for
 * the reasons that are counted here.
 */

import { bridgeOfBuffer, bufferName } from './address.ts';
import { type Consumer, PLAIN_DELIVERY, type Subscription } from './delivery.ts';
import type { CoreCounters } from './index.ts';
import type { MappingCounters, RoutingRule } from './mapping-rule.ts';
import type { MappingRunner, RuleOutlet } from './mapping-runner.ts';
import type { Message } from './message.ts';
import type { Pattern } from './pattern.ts';
import type { StoredQueue } from './queue.ts';
import type { QueueSpec } from './queueing.ts';
import type { QueueRegistry } from './queues.ts';
import { type Acceptance, type Binding, FULL, type Route, type Router, TAKEN, WRITTEN } from './router.ts';

/** A mapping of a bridge, compiled outside (`mappings/rules-bridge.ts`). */
export interface BridgeMapping {
  readonly rule: RoutingRule;
  /** What to receive from, in the other side's words; null where the mapping does not say, and for what leads out. */
  readonly source: string | null;
  /** The addresses that it may make: of the other side where it leads out, here where it leads in. */
  readonly reach: Pattern;
}

export interface OutletBounds {
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** `block`: publishers are refused until there is room. */
  readonly overflow: 'block' | 'drop-oldest' | 'drop-new';
  /** Everything is kept on disk, whatever its publisher asked. */
  readonly keepsAll: boolean;
}

export interface OutletCounters {
  /** With what had waited at the start. */
  taken: number;
  overflow: number;
  expired: number;
}

export interface Outlet {
  readonly name: string;
  readonly counters: OutletCounters;
  /** It was not there before, so its offsets begin anew. */
  readonly isNew: boolean;
  /** The first offset that none had who was here when it was opened. */
  readonly firstNew: number;
  /** Waiting, or with its consumer. */
  readonly messageCount: number;
  /** Of the bodies of what waits. */
  readonly waitingBytes: number;
  /** Some of what waits is in memory alone: it was not kept when it came. */
  readonly hasUnkept: boolean;
  /** When the oldest that waits was published, milliseconds since 1970; null where nothing waits or it is not at hand. */
  readonly oldestMs: number | null;
  consume(consumer: Consumer): Subscription;
  change(bounds: OutletBounds): void;
  /** These rules take the place of those before, between two messages. They are asked in this order. */
  lead(rules: readonly { readonly rule: RoutingRule; readonly counters: MappingCounters }[]): void;
  /** Removes what waits; returns how many. Not counted: `taken` is then what the consumer holds. */
  purge(): number;
  /** No rule leads here any more. `forget`: with all that waits; otherwise it waits for the next who opens it. */
  close(forget: boolean): void;
}

export interface Outlets {
  /** By name; there is one for each bridge. */
  open(name: string, bounds: OutletBounds): Outlet;
  /** Bridges that rules may lead to; until somebody says, none. Asked when rules are put, not when they are read back. */
  knowBy(isKnown: (name: string) => boolean): void;
  has(name: string): boolean;
  /** Puts back a message that was a dead letter; false where there is no room, whatever the policy, or no such outlet. */
  offer(name: string, message: Message): boolean;
  /** Names of buffers that nobody has opened: what waits in them waits on. */
  unopened(): Iterable<string>;
}

export class OutletTable implements Outlets {
  readonly #queues: QueueRegistry;
  readonly #router: Router;
  readonly #runner: MappingRunner;
  readonly #counters: CoreCounters;
  readonly #outlets = new Map<string, StoredOutlet>();
  #isKnown: (name: string) => boolean = () => false;

  constructor(parts: {
    readonly queues: QueueRegistry;
    readonly router: Router;
    readonly runner: MappingRunner;
    readonly counters: CoreCounters;
  }) {
    this.#queues = parts.queues;
    this.#router = parts.router;
    this.#runner = parts.runner;
    this.#counters = parts.counters;
  }

  open(name: string, bounds: OutletBounds): Outlet {
    const counters: OutletCounters = { taken: 0, overflow: 0, expired: 0 };
    const { queue, isNew } = this.#queues.openBuffer(specOf(name, bounds), (reason) => {
      if (reason === 'overflow') counters.overflow++;
      else if (reason === 'expired') counters.expired++;
    });
    counters.taken = queue.readyCount + queue.unsettledCount;
    const outlet = new StoredOutlet({
      name,
      queue,
      isNew,
      counters,
      bounds,
      core: this.#counters,
      queues: this.#queues,
      router: this.#router,
      runner: this.#runner,
      closed: () => {
        if (this.#outlets.get(name) === outlet) this.#outlets.delete(name);
      },
    });
    this.#outlets.set(name, outlet);
    return outlet;
  }

  has(name: string): boolean {
    return this.#outlets.has(name);
  }

  offer(name: string, message: Message): boolean {
    const outlet = this.#outlets.get(name);
    return outlet?.offer(message) ?? false;
  }

  knowBy(isKnown: (name: string) => boolean): void {
    this.#isKnown = isKnown;
  }

  *unopened(): Iterable<string> {
    for (const name of this.#queues.bufferNames()) {
      const bridge = bridgeOfBuffer(name);
      if (bridge !== null && !this.#outlets.has(bridge)) yield bridge;
    }
  }

  isKnown(name: string): boolean {
    return this.#isKnown(name);
  }

  get(name: string): RuleOutlet | undefined {
    return this.#outlets.get(name);
  }
}

interface StoredOutletParts {
  readonly name: string;
  readonly queue: StoredQueue;
  readonly isNew: boolean;
  readonly counters: OutletCounters;
  readonly bounds: OutletBounds;
  readonly core: CoreCounters;
  readonly queues: QueueRegistry;
  readonly router: Router;
  readonly runner: MappingRunner;
  closed(): void;
}

class StoredOutlet implements Outlet, RuleOutlet {
  readonly name: string;
  readonly isNew: boolean;
  readonly firstNew: number;
  readonly counters: OutletCounters;
  readonly #parts: StoredOutletParts;
  readonly #queue: StoredQueue;
  readonly #route: Route;
  #bindings: readonly Binding[] = [];
  #bounds: OutletBounds;

  constructor(parts: StoredOutletParts) {
    this.name = parts.name;
    this.isNew = parts.isNew;
    this.firstNew = parts.queue.log?.endOffset ?? 0;
    this.counters = parts.counters;
    this.#parts = parts;
    this.#queue = parts.queue;
    this.#route = { destination: parts.queue, bindings: [], options: PLAIN_DELIVERY, guarded: false };
    this.#bounds = parts.bounds;
  }

  get messageCount(): number {
    return this.#queue.readyCount + this.#queue.unsettledCount;
  }

  get waitingBytes(): number {
    return this.#queue.waitingBytes;
  }

  get hasUnkept(): boolean {
    return this.#queue.hasUnkept;
  }

  get oldestMs(): number | null {
    return this.#queue.oldest?.timestampMs ?? null;
  }

  take(message: Message): Acceptance {
    const { counters } = this;
    const said = this.#queue.accept(message, this.#route);
    if (said === FULL) {
      if (this.#bounds.overflow !== 'drop-new') return FULL;
      counters.overflow++;
      this.#parts.core.dropped++;
    }
    counters.taken++;
    return said === WRITTEN ? WRITTEN : TAKEN;
  }

  missed(): void {
    this.counters.taken++;
    this.counters.overflow++;
  }

  /** No policy applies: whoever asks keeps it where there is no room. */
  offer(message: Message): boolean {
    const { messagesMax, bytesMax } = this.#bounds;
    const isFull =
      this.#queue.readyCount >= messagesMax || this.waitingBytes + message.body.length > bytesMax;
    if (isFull || this.#queue.accept(message, this.#route) === FULL) return false;
    this.counters.taken++;
    return true;
  }

  consume(consumer: Consumer): Subscription {
    return this.#queue.consume(consumer, { settled: false, exclusive: false, priority: 0 });
  }

  change(bounds: OutletBounds): void {
    this.#bounds = bounds;
    const { messagesMax, bytesMax, overflow, keepsAll } = specOf(this.name, bounds);
    this.#parts.queues.changeBuffer(this.#queue.name, {
      messagesMax,
      bytesMax,
      overflow,
      keepsAll: keepsAll === true,
    });
  }

  lead(rules: readonly { readonly rule: RoutingRule; readonly counters: MappingCounters }[]): void {
    const { router, runner } = this.#parts;
    for (const binding of this.#bindings) router.remove(binding);
    this.#bindings = rules.map(({ rule, counters }, order) => ({
      pattern: rule.pattern,
      destination: runner,
      options: null,
      via: null,
      match: null,
      rule: { ...rule, order },
      counters,
      name: this.name,
      family: this.name,
    }));
    for (const binding of this.#bindings) router.add(binding);
  }

  purge(): number {
    const count = this.#queue.purge();
    this.counters.taken = this.messageCount;
    return count;
  }

  close(forget: boolean): void {
    this.lead([]);
    this.#parts.closed();
    if (forget) this.#parts.queues.deleteBuffer(this.#queue.name);
  }
}

function specOf(name: string, bounds: OutletBounds): QueueSpec {
  return {
    name: bufferName(name),
    durable: true,
    autoDelete: false,
    owner: null,
    messagesMax: bounds.messagesMax,
    bytesMax: bounds.bytesMax,
    overflow: bounds.overflow === 'drop-oldest' ? 'drop-oldest' : 'reject',
    messageTtlMs: -1,
    expiresMs: -1,
    deadLetter: null,
    arguments: [],
    keepsAll: bounds.keepsAll,
  };
}
