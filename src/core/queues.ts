/**
 * All queues by name. Durable ones are written to the table `queues` under a number that also names their log, so
 * that no name is too long for a key and a queue declared again never meets the rows of the old one. Every queue
 * is bound to the address of its own name, and to what is below it unless it belongs to one connection. Named groups
 * stand in the table `queue-groups`, under the numbers of their queue and their own, and how often they failed with a
 * message in `queue-attempts`.
 *
 * Buffers of bridges are queues too, stored like the others, but apart: they are bound to no address and found by nobody
 * but `outlets.ts`.
 */

import {
  BUFFER_ROOT,
  bridgeOfBuffer,
  DEAD_LETTER_ROOT,
  originOf,
  queueAddress,
  queueLevels,
  queueNameFromAddress,
} from './address.ts';
import { Attempts } from './attempts.ts';
import { deadLetterOf } from './dead-letter.ts';
import { decodeDefinition, encodeDefinition } from './definition.ts';
import { CoreError } from './errors.ts';
import type { DiscardReason, GroupContext } from './group-context.ts';
import type { DeliveryOptions, Queue, QueueChanges, QueueSpec, Queues } from './index.ts';
import type { Limits } from './limits.ts';
import type { Message } from './message.ts';
import { MANY, Pattern, type Token } from './pattern.ts';
import { type QueueDeath, type QueueHome, StoredQueue } from './queue.ts';
import type { NamedGroup } from './queue-group.ts';
import type { GroupRecord } from './queue-groups.ts';
import type { Binding, Router } from './router.ts';
import type { RowLog, Storage, Table } from './storage.ts';

export interface QueuesOptions {
  readonly context: GroupContext;
  readonly router: Router;
  readonly storage: Storage;
  readonly limits: Limits;
  /** Publishes what nobody consumed, before the next commit. */
  readonly publishLater: (message: Message) => void;
}

interface KnownQueue {
  readonly queue: StoredQueue;
  readonly bindings: readonly Binding[];
}

/** A queue that only a bridge knows. */
interface KnownBuffer {
  readonly queue: StoredQueue;
  /** Told what left without being sent. */
  discarded(reason: DiscardReason): void;
}

/** What stands in the table: a queue that nobody claimed says so. */
type QueueRecord = Omit<QueueSpec, 'owner'> & { readonly unclaimed?: true };

/** Names that are never made only because somebody sends to them: queues of one connection have such, and they go. */
const NEVER_PROVIDED = /^(amq\.|\$)/;

export class QueueRegistry implements Queues, QueueHome {
  readonly context: GroupContext;
  readonly limits: Limits;
  readonly #options: QueuesOptions;
  readonly #table: Table;
  readonly #groupTable: Table;
  readonly #attempts: (queue: number, group: number) => Attempts;
  readonly #queues = new Map<string, KnownQueue>();
  readonly #buffers = new Map<string, KnownBuffer>();
  readonly #owned = new Map<object, Set<string>>();
  /** Told before a queue goes, so that what is bound to it goes first. */
  #leaving: (name: string) => void = () => {};
  #nextNumber = 1;

  private constructor(
    options: QueuesOptions,
    table: Table,
    groupTable: Table,
    attempts: (queue: number, group: number) => Attempts,
  ) {
    this.context = options.context;
    this.limits = options.limits;
    this.#options = options;
    this.#table = table;
    this.#groupTable = groupTable;
    this.#attempts = attempts;
  }

  static async load(options: QueuesOptions): Promise<QueueRegistry> {
    const { storage } = options;
    const registry = new QueueRegistry(
      options,
      await storage.openTable('queues'),
      await storage.openTable('queue-groups'),
      await Attempts.load(await storage.openTable('queue-attempts'), options.context.durability),
    );
    const byNumber = new Map<number, StoredQueue>();
    for await (const [key, bytes] of registry.#table.scan('')) {
      const number = Number(key);
      const { unclaimed, ...stored } = decodeDefinition(bytes) as QueueRecord;
      const log = await storage.openRowLog(queueLogName(number), { durable: true });
      registry.#nextNumber = Math.max(registry.#nextNumber, number + 1);
      if (isBufferName(stored.name)) {
        const queue = new StoredQueue(registry, { ...stored, owner: null }, number, log, true);
        registry.#buffers.set(stored.name, { queue, discarded: () => {} });
        continue;
      }
      byNumber.set(number, registry.#add({ ...stored, owner: null }, number, log, unclaimed !== true));
    }
    for await (const [key, bytes] of registry.#groupTable.scan('')) {
      const [queue, group] = key.split('/').map(Number) as [number, number];
      const log = await storage.openRowLog(groupLogName(queue, group), { durable: true });
      byNumber.get(queue)?.restoreGroup(group, decodeDefinition(bytes) as GroupRecord, log);
    }
    for (const queue of byNumber.values()) queue.restored();
    return registry;
  }

  onLeaving(leaving: (name: string) => void): void {
    this.#leaving = leaving;
  }

  async declare(spec: QueueSpec): Promise<StoredQueue> {
    const queue = this.#declare(spec, true);
    queue.claim();
    return queue;
  }

  provide(name: string): StoredQueue {
    return this.#declare(
      {
        name,
        durable: true,
        autoDelete: false,
        owner: null,
        messagesMax: -1,
        bytesMax: -1,
        overflow: 'drop-oldest',
        messageTtlMs: -1,
        expiresMs: -1,
        deadLetter: null,
        arguments: [],
      },
      false,
    );
  }

  missingAt(address: string): string | null {
    const name = queueNameFromAddress(address);
    return name === null || NEVER_PROVIDED.test(name) || this.#queues.has(name) ? null : name;
  }

  get(name: string): StoredQueue | undefined {
    return this.#queues.get(name)?.queue;
  }

  *list(): Iterable<Queue> {
    for (const { queue } of this.#queues.values()) yield queue;
  }

  change(name: string, changes: QueueChanges): StoredQueue {
    const queue = this.get(name);
    if (queue === undefined) throw new CoreError('not-found', `no queue '${name}'`);
    queue.change(changes);
    if (isStored(queue.spec)) {
      this.#save(queue);
      this.context.durability.written();
    }
    return queue;
  }

  get count(): number {
    return this.#queues.size;
  }

  delete(name: string, options: { readonly ifUnused: boolean; readonly ifEmpty: boolean }): number {
    const queue = this.get(name);
    if (queue === undefined) throw new CoreError('not-found', `no queue '${name}'`);
    if (options.ifUnused && queue.consumerCount > 0) throw new CoreError('in-use', `queue '${name}' in use`);
    if (options.ifEmpty && !queue.isEmpty) throw new CoreError('not-empty', `queue '${name}' not empty`);
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

  /**
   * The buffer of that name, as it was left, or made. What is read back from the disk is not sent before somebody
   * consumes it. `isNew`: its offsets begin anew.
   */
  openBuffer(
    spec: QueueSpec,
    discarded: (reason: DiscardReason) => void,
  ): { readonly queue: StoredQueue; readonly isNew: boolean } {
    const known = this.#buffers.get(spec.name);
    if (known !== undefined) {
      this.#buffers.set(spec.name, { queue: known.queue, discarded });
      this.#changeBuffer(known.queue, spec);
      return { queue: known.queue, isNew: false };
    }
    const number = this.#nextNumber++;
    const log = this.#options.storage.createRowLog(queueLogName(number));
    const queue = new StoredQueue(this, spec, number, log, true);
    this.#buffers.set(spec.name, { queue, discarded });
    this.#save(queue);
    this.context.durability.written();
    return { queue, isNew: true };
  }

  bufferNames(): Iterable<string> {
    return this.#buffers.keys();
  }

  changeBuffer(name: string, changes: QueueChanges & Pick<QueueSpec, 'keepsAll'>): void {
    const known = this.#buffers.get(name);
    if (known !== undefined) this.#changeBuffer(known.queue, changes);
  }

  deleteBuffer(name: string): void {
    const known = this.#buffers.get(name);
    if (known === undefined) return;
    const { queue } = known;
    this.#buffers.delete(name);
    queue.close('deleted');
    this.#table.remove(String(queue.number));
    queue.log?.delete().catch((error: unknown) => this.context.readFailed(error));
    this.context.durability.written();
  }

  #changeBuffer(queue: StoredQueue, changes: QueueChanges & Pick<QueueSpec, 'keepsAll'>): void {
    queue.change(changes);
    this.#save(queue);
    this.context.durability.written();
  }

  deadLetter(message: Message, options: DeliveryOptions, spec: QueueSpec, death: QueueDeath): void {
    const buffer = this.#buffers.get(spec.name);
    if (buffer !== undefined) {
      buffer.discarded(death.reason);
      return;
    }
    const address = this.#deadAddress(message, options, spec, death);
    const nowMs = this.context.clock.nowMs();
    const dead = deadLetterOf(message, options.via, spec, { ...death, address }, nowMs);
    if (dead === null) return;
    this.context.counters.deadLettered++;
    this.#options.publishLater(dead);
  }

  claimed(queue: StoredQueue): void {
    if (!isStored(queue.spec)) return;
    this.#save(queue);
    this.context.durability.written();
  }

  createGroupLog(queue: StoredQueue, group: number): RowLog {
    return this.#options.storage.createRowLog(groupLogName(queue.number, group));
  }

  attemptsOf(queue: StoredQueue, group: number): Attempts {
    return this.#attempts(queue.number, group);
  }

  saveGroup(queue: StoredQueue, group: number, record: GroupRecord): void {
    if (queue.log === null) return;
    this.#groupTable.put(`${queue.number}/${group}`, encodeDefinition(record));
    this.context.durability.written();
  }

  forgetGroup(queue: StoredQueue, group: NamedGroup): void {
    if (group.log === null) return;
    this.#groupTable.remove(`${queue.number}/${group.number}`);
    group.clearAttempts();
    group.log.delete().catch((error: unknown) => this.context.readFailed(error));
    this.context.durability.written();
  }

  /** Where a named group's dead letters go whose queue names no exchange: to the queue of that root, which is made. */
  #deadAddress(
    message: Message,
    options: DeliveryOptions,
    spec: QueueSpec,
    { reason, grouped }: QueueDeath,
  ): string | null {
    if (!grouped || spec.deadLetter !== null || (reason !== 'rejected' && reason !== 'failed')) return null;
    if (spec.name.startsWith(`${DEAD_LETTER_ROOT}/`)) return null;
    const name = `${DEAD_LETTER_ROOT}/${spec.name}`;
    try {
      this.provide(name);
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      this.context.counters.dropped++;
      return null;
    }
    const own = queueAddress(spec.name);
    const { address } = message;
    if (address === own || address.startsWith(`${own}/`))
      return queueAddress(name) + address.slice(own.length);
    const { key } = originOf(address, options.via);
    return key === '' ? queueAddress(name) : `${queueAddress(name)}/${key}`;
  }

  #declare(spec: QueueSpec, isClaimed: boolean): StoredQueue {
    const existing = this.#queues.get(spec.name);
    if (existing !== undefined) return existing.queue;
    if (isBufferName(spec.name))
      throw new CoreError('invalid-name', `names that begin with ${BUFFER_ROOT}/ belong to bridges`);
    if (this.#queues.size >= this.limits.queuesMax) {
      throw new CoreError('limit-reached', `there are ${this.#queues.size} queues already (queuesMax)`);
    }
    const number = this.#nextNumber++;
    const log = isStored(spec) ? this.#options.storage.createRowLog(queueLogName(number)) : null;
    const queue = this.#add(spec, number, log, isClaimed);
    if (log !== null) {
      this.#save(queue);
      this.context.durability.written();
    }
    return queue;
  }

  #save(queue: StoredQueue): void {
    const { owner: _, ...stored } = queue.spec;
    const record: QueueRecord = queue.isClaimed ? stored : { ...stored, unclaimed: true };
    this.#table.put(String(queue.number), encodeDefinition(record));
  }

  #add(spec: QueueSpec, number: number, log: RowLog | null, isClaimed: boolean): StoredQueue {
    const queue = new StoredQueue(this, spec, number, log, isClaimed);
    const levels = queueLevels(spec.name);
    const bindings = [bindingOf(queue, levels)];
    // Queues of one connection come and go, and nobody sends below them.
    if (spec.owner === null) bindings.push(bindingOf(queue, [...levels, MANY]));
    this.#queues.set(spec.name, { queue, bindings });
    for (const binding of bindings) this.#options.router.add(binding);
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
    for (const binding of known.bindings) this.#options.router.remove(binding);
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

function bindingOf(queue: StoredQueue, tokens: readonly Token[]): Binding {
  return {
    pattern: new Pattern(tokens),
    destination: queue,
    options: null,
    via: '',
    match: null,
    rule: null,
  };
}

function isBufferName(name: string): boolean {
  return bridgeOfBuffer(name) !== null;
}

function queueLogName(queue: number): string {
  return `queue-${queue}`;
}

function groupLogName(queue: number, group: number): string {
  return `queue-${queue}-group-${group}`;
}

/** A queue of one connection goes with it, so it is never worth a row. */
function isStored(spec: QueueSpec): boolean {
  return spec.durable && spec.owner === null;
}
