/**
 * Queues and their groups as adapters see them: part of the door (`index.ts`), which exports all of it. Implemented by
 * `queues.ts`, `queue.ts` and `queue-group.ts`. No interface here has more than a handful of methods.
 */

import type { Consumer, Delivery, DeliveryOptions, Outcome, Subscription } from './delivery.ts';
import type { Header, Message } from './message.ts';
import type { Token } from './pattern.ts';

export interface QueueSpec {
  readonly name: string;
  readonly durable: boolean;
  /** Goes with its last consumer. */
  readonly autoDelete: boolean;
  /** The connection that alone may use it, and with which it goes; null for everybody. */
  readonly owner: object | null;
  /** Drop or refuse beyond these; -1 is no bound. */
  readonly messagesMax: number;
  readonly bytesMax: number;
  readonly overflow: 'drop-oldest' | 'reject';
  /** Milliseconds that a message may wait; -1 for ever. */
  readonly messageTtlMs: number;
  /** Milliseconds without use after which the queue goes; -1 never. */
  readonly expiresMs: number;
  /** Where rejected, expired and overflowing messages go; null: nowhere. */
  readonly deadLetter: { readonly exchange: string; readonly key: string | null } | null;
  /** As the declaring client gave them; only compared and shown. */
  readonly arguments: readonly Header[];
  /** Everything is kept on disk, whatever its publisher asked. Absent: what is durable. */
  readonly keepsAll?: boolean;
}

/** What can be changed of a queue that is there: what waits keeps the deadline that it was given. */
export type QueueChanges = Partial<
  Pick<
    QueueSpec,
    'messagesMax' | 'bytesMax' | 'overflow' | 'messageTtlMs' | 'expiresMs' | 'deadLetter' | 'arguments'
  >
>;

/** A message that waits, looked at where it is. */
export interface WaitingMessage {
  /** As of its delivery. */
  readonly offset: number;
  /** Order of arrival as far as memory tells: what stands only in the log has that of the newest in memory. */
  readonly sequence: number;
  readonly message: Message;
  readonly options: DeliveryOptions;
  readonly redelivered: boolean;
}

/** Where a look at what waits goes on: behind this message. */
export type WaitingPlace = Pick<WaitingMessage, 'offset' | 'sequence'>;

/** Members who share what reaches a queue and matches the group's filter. Every group gets its own copy. */
export interface QueueGroup {
  readonly name: string;
  /** `name`, or `name@filter` where the filter is not everything. */
  readonly id: string;
  readonly readyCount: number;
  readonly unsettledCount: number;
  readonly consumerCount: number;
  /** As of a queue. `timely`: what is not settled in `visibilityTimeoutMs` goes to another member. */
  consume(
    consumer: Consumer,
    options: { readonly settled: boolean; readonly priority: number; readonly timely: boolean },
  ): Subscription;
}

export interface Queue {
  readonly spec: QueueSpec;
  /** Waiting for a consumer. */
  readonly readyCount: number;
  readonly unsettledCount: number;
  readonly consumerCount: number;
  /**
   * `settled`: every delivery is forgotten as it leaves. Throws CoreError `exclusive` where one consumer has it
   * alone, or wants to and cannot. Higher priority consumers are served first while they have credit.
   */
  consume(
    consumer: Consumer,
    options: { readonly settled: boolean; readonly exclusive: boolean; readonly priority: number },
  ): Subscription;
  /** The oldest waiting message, unsettled unless `settled`, or null. */
  take(settled: boolean): Promise<Delivery | null>;
  /** Removes what is waiting; returns how many. */
  purge(): number;
  /**
   * What waits for consumers who name no group, oldest first, only what is behind `after`, at most `countMax` messages and
   * about `bytesMax` bytes of bodies, but at least one; nothing is taken. Of a queue with named groups that nobody claimed: what no group wanted.
   */
  browse(after: WaitingPlace | null, countMax: number, bytesMax: number): Promise<WaitingMessage[]>;
  /** As `take` with `settled` false, of the message that waits at this offset; null where none does. */
  takeAt(offset: number): Promise<Delivery | null>;
  /** Gives this queue alone a message as if it had just been routed to it. Returns false where it is full. */
  offer(message: Message, options: DeliveryOptions): boolean;
  readonly groups: Iterable<QueueGroup>;
  /**
   * The named group with this filter, relative to the queue; made, and kept like the queue, where there is none.
   * Throws CoreError `limit-reached` or `invalid-name`.
   */
  group(name: string, filter: readonly Token[]): QueueGroup;
  /** Ends a group with what it gathered; returns false where there is none of this id. */
  removeGroup(id: string): boolean;
  /**
   * Settles for whoever holds it the delivery at `offset` in the group of this id, or of this name where that says
   * enough. `note` goes into the history of a dead letter. Returns false where nothing of the kind is held.
   */
  settle(group: string, offset: number, outcome: Outcome, note: string): boolean;
}

export interface Queues {
  /** Returns the existing queue of that name, whatever its spec: the caller compares. */
  declare(spec: QueueSpec): Promise<Queue>;
  /**
   * The queue of that name, made durable and without bounds where there is none. It is nobody's yet: until somebody
   * declares or consumes it under its own name, it keeps only what no named group wants.
   */
  provide(name: string): Queue;
  /** The queue that a message at `address` would wait in if it were there; null where it is, or where none belongs. */
  missingAt(address: string): string | null;
  get(name: string): Queue | undefined;
  list(): Iterable<Queue>;
  /** Throws CoreError `not-found`. */
  change(name: string, changes: QueueChanges): Queue;
  /** Returns how many messages were waiting. Throws CoreError `in-use` or `not-empty`. */
  delete(name: string, options: { readonly ifUnused: boolean; readonly ifEmpty: boolean }): number;
  /** Deletes every queue of this connection. */
  deleteOwned(owner: object): void;
}
