/**
 * All queues by name. Durable ones are written to the table `queues` under a number that also names their log, so
 * that no name is too long for a key and a queue declared again never meets the rows of the old one. Every queue
 * is bound to the address of its own name.
 */

import { escapeLevel, QUEUE_ROOT } from './address.ts';
import { deadLetterOf } from './dead-letter.ts';
import { decodeDefinition, encodeDefinition } from './definition.ts';
import { CoreError } from './errors.ts';
import type { GroupContext } from './group.ts';
import type { Queue, QueueSpec, Queues } from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import { Pattern } from './pattern.ts';
import { type QueueHome, StoredQueue } from './queue.ts';
import type { Binding, Router } from './router.ts';
import type { Storage, Table } from './storage.ts';

export interface QueuesOptions {
  readonly context: GroupContext;
  readonly router: Router;
  readonly storage: Storage;
  readonly limits: Limits;
  /** Publishes what nobody consumed, before the next commit. */
  readonly publishLater: (message: Message) => void;
}

export class QueueRegistry implements Queues, QueueHome {
  readonly context: GroupContext;
  readonly memoryBytesMax: number;
  readonly #options: QueuesOptions;
  readonly #table: Table;
  readonly #queues = new Map<string, { readonly queue: StoredQueue; readonly binding: Binding }>();
  readonly #opening = new Map<string, Promise<StoredQueue>>();
  readonly #owned = new Map<object, Set<string>>();
  /** Told before a queue goes, so that what is bound to it goes first. */
  #leaving: (name: string) => void = () => {};
  #nextNumber = 1;

  private constructor(options: QueuesOptions, table: Table) {
    this.context = options.context;
    this.memoryBytesMax = options.limits.queueMemoryBytesMax;
    this.#options = options;
    this.#table = table;
  }

  static async load(options: QueuesOptions): Promise<QueueRegistry> {
    const registry = new QueueRegistry(options, await options.storage.openTable('queues'));
    for await (const [key, bytes] of registry.#table.scan('')) {
      const number = Number(key);
      const spec = { ...(decodeDefinition(bytes) as QueueSpec), owner: null };
      await registry.#open(spec, number);
      registry.#nextNumber = Math.max(registry.#nextNumber, number + 1);
    }
    return registry;
  }

  onLeaving(leaving: (name: string) => void): void {
    this.#leaving = leaving;
  }

  async declare(spec: QueueSpec): Promise<StoredQueue> {
    const existing = this.#queues.get(spec.name);
    if (existing !== undefined) return existing.queue;
    const opening = this.#opening.get(spec.name);
    if (opening !== undefined) return opening;
    if (this.#queues.size >= this.#options.limits.queuesMax) {
      throw new CoreError('limit-reached', `there are ${this.#queues.size} queues already (queuesMax)`);
    }
    const number = this.#nextNumber++;
    const opened = this.#open(spec, number).finally(() => this.#opening.delete(spec.name));
    this.#opening.set(spec.name, opened);
    const queue = await opened;
    if (isStored(spec)) {
      const { owner: _, ...stored } = spec;
      this.#table.put(String(number), encodeDefinition(stored));
      this.context.durability.written();
    }
    return queue;
  }

  get(name: string): StoredQueue | undefined {
    return this.#queues.get(name)?.queue;
  }

  *list(): Iterable<Queue> {
    for (const { queue } of this.#queues.values()) yield queue;
  }

  get count(): number {
    return this.#queues.size;
  }

  delete(name: string, options: { readonly ifUnused: boolean; readonly ifEmpty: boolean }): number {
    const queue = this.get(name);
    if (queue === undefined) throw new CoreError('not-found', `no queue '${name}'`);
    if (options.ifUnused && queue.consumerCount > 0) throw new CoreError('in-use', `queue '${name}' in use`);
    if (options.ifEmpty && queue.readyCount > 0)
      throw new CoreError('not-empty', `queue '${name}' not empty`);
    const count = queue.readyCount;
    this.#remove(queue, 'deleted');
    return count;
  }

  deleteOwned(owner: object): void {
    const names = this.#owned.get(owner);
    if (names === undefined) return;
    for (const name of [...names]) {
      const queue = this.get(name);
      if (queue !== undefined) this.#remove(queue, 'deleted');
    }
    this.#owned.delete(owner);
  }

  outlived(queue: StoredQueue): void {
    if (this.get(queue.name) === queue) this.#remove(queue, 'expired');
  }

  deadLetter(
    message: Message,
    via: string | null,
    spec: QueueSpec,
    reason: 'rejected' | 'expired' | 'overflow',
  ): void {
    const dead = deadLetterOf(message, via, spec, reason, this.context.clock.nowMs());
    if (dead === null) return;
    this.context.counters.deadLettered++;
    this.#options.publishLater(dead);
  }

  async #open(spec: QueueSpec, number: number): Promise<StoredQueue> {
    const log = isStored(spec)
      ? await this.#options.storage.openRowLog(`queue-${number}`, { durable: true })
      : null;
    const queue = new StoredQueue(this, spec, number, log);
    const binding: Binding = {
      pattern: new Pattern([QUEUE_ROOT, escapeLevel(spec.name)]),
      destination: queue,
      options: null,
      via: '',
      match: null,
      rule: null,
    };
    this.#queues.set(spec.name, { queue, binding });
    this.#options.router.add(binding);
    if (spec.owner !== null) {
      const names = this.#owned.get(spec.owner);
      if (names === undefined) this.#owned.set(spec.owner, new Set([spec.name]));
      else names.add(spec.name);
    }
    return queue;
  }

  #remove(queue: StoredQueue, reason: 'deleted' | 'expired'): void {
    const { name, spec } = queue;
    const known = this.#queues.get(name);
    if (known === undefined) return;
    this.#leaving(name);
    this.#options.router.remove(known.binding);
    this.#queues.delete(name);
    if (spec.owner !== null) this.#owned.get(spec.owner)?.delete(name);
    queue.close(reason);
    if (isStored(spec)) this.#table.remove(String(queue.number));
    if (queue.log !== null) {
      queue.log.delete().catch((error: unknown) => this.context.readFailed(error));
      this.context.durability.written();
    }
  }
}

/** A queue of one connection goes with it, so it is never worth a row. */
function isStored(spec: QueueSpec): boolean {
  return spec.durable && spec.owner === null;
}
