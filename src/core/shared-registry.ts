/**
 * All shared subscriptions by group name and pattern. Those with a durable member have a row in the table `shared` and
 * a log named by its number, so that what waits for absent members outlives the process. Belongs to the sessions, which
 * restore their own memberships; what has no member after that is removed.
 */

import { decodeDefinition, encodeDefinition } from './definition.ts';
import type { GroupBounds, GroupContext } from './group-context.ts';
import type { Limits } from './limits.ts';
import { Pattern } from './pattern.ts';
import type { Router } from './router.ts';
import { type SharedHome, SharedSubscription, sharedKey } from './shared.ts';
import type { SharingStrategy } from './sharing.ts';
import type { RowLog, Storage, Table } from './storage.ts';

export interface SharedRegistryOptions {
  readonly context: GroupContext;
  readonly router: Router;
  readonly storage: Storage;
  readonly limits: Limits;
  readonly bounds: GroupBounds;
}

interface SharedRecord {
  readonly name: string;
  /** `Pattern.key`. */
  readonly pattern: string;
}

export class SharedRegistry implements SharedHome {
  strategy: SharingStrategy = 'round-robin';
  readonly context: GroupContext;
  readonly limits: Limits;
  readonly bounds: GroupBounds;
  readonly #router: Router;
  readonly #storage: Storage;
  readonly #table: Table;
  readonly #shared = new Map<string, SharedSubscription>();
  /** Of those with a row, by key. */
  readonly #numbers = new Map<string, number>();
  #nextNumber = 1;

  private constructor(options: SharedRegistryOptions, table: Table) {
    this.context = options.context;
    this.limits = options.limits;
    this.bounds = options.bounds;
    this.#router = options.router;
    this.#storage = options.storage;
    this.#table = table;
  }

  /** Those of the table, without members yet. */
  static async load(options: SharedRegistryOptions): Promise<SharedRegistry> {
    const { storage } = options;
    const registry = new SharedRegistry(options, await storage.openTable('shared'));
    for await (const [key, bytes] of registry.#table.scan('')) {
      const number = Number(key);
      const { name, pattern } = decodeDefinition(bytes) as SharedRecord;
      const log = await storage.openRowLog(`shared-${number}`, { durable: true });
      registry.#nextNumber = Math.max(registry.#nextNumber, number + 1);
      const shared = registry.#add(name, Pattern.parse(pattern), log);
      registry.#numbers.set(shared.key, number);
    }
    return registry;
  }

  get count(): number {
    return this.#shared.size;
  }

  get(key: string): SharedSubscription | undefined {
    return this.#shared.get(key);
  }

  /** The one of this name and pattern, made where there is none: somebody joins it at once. */
  open(name: string, pattern: Pattern): SharedSubscription {
    return this.#shared.get(sharedKey(name, pattern)) ?? this.#add(name, pattern, null);
  }

  createLog(shared: SharedSubscription): RowLog {
    const number = this.#nextNumber++;
    const record: SharedRecord = { name: shared.name, pattern: shared.pattern.key };
    this.#numbers.set(shared.key, number);
    this.#table.put(String(number), encodeDefinition(record));
    this.context.durability.written();
    return this.#storage.createRowLog(`shared-${number}`);
  }

  ended(shared: SharedSubscription): void {
    this.#shared.delete(shared.key);
    this.#router.remove(shared.binding);
    shared.close();
    const number = this.#numbers.get(shared.key);
    if (number === undefined) return;
    this.#numbers.delete(shared.key);
    this.#table.remove(String(number));
    shared.log?.delete().catch((error: unknown) => this.context.readFailed(error));
    this.context.durability.written();
  }

  /** Every session has joined what it was a member of. */
  restored(): void {
    for (const shared of [...this.#shared.values()]) if (shared.memberCount === 0) this.ended(shared);
  }

  #add(name: string, pattern: Pattern, log: RowLog | null): SharedSubscription {
    const shared = new SharedSubscription(this, name, pattern, log);
    this.#shared.set(shared.key, shared);
    this.#router.add(shared.binding);
    return shared;
  }
}
