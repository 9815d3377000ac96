/**
 * Door 1: the only path of the core that mappings and adapters import. Three verbs (`publish`, `subscribe` by
 * consuming a queue or a session, `read` from a stream) and the declarations around them. No interface here has
 * more than a handful of methods; what an adapter does not need is not exported.
 */

import type { Access, Principal } from './access.ts';
import type { Clock } from './clock.ts';
import type { Consumer, DeliveryOptions, Subscription } from './delivery.ts';
import type { CoreError } from './errors.ts';
import type { Limits } from './limits.ts';
import type { AnyRule, MappingRules } from './mapping-rule.ts';
import type { Header, Message, NativeCodec, Reliability } from './message.ts';
import type { Outlets } from './outlets.ts';
import type { Pattern } from './pattern.ts';
import type { Queues } from './queueing.ts';
import type { StreamRecord } from './record-batch.ts';
import type { SharingStrategy } from './sharing.ts';
import type { BatchLogOptions, Storage } from './storage.ts';

// ---------------------------------------------------------------------------------------------- publish (in)

/** What `publish` says at once. PENDING: the receipt comes through the sink, in the order of publishing. */
export const STORED = 0;
export const PENDING = 1;
/** Taken, but nobody and nothing wanted it. */
export const NO_ROUTE = 2;
export type PublishResult = typeof STORED | typeof PENDING | typeof NO_ROUTE;

/** Where receipts go. One object for each connection or channel: no closure for each message. */
export interface ReceiptSink {
  /** Everything durable that this message reached is on the disk. */
  stored(token: number): void;
  /** It is not: the publisher must be told, and may try again. */
  refused(token: number, error: CoreError): void;
}

export interface PublisherInfo {
  readonly principal: Principal;
  /** Sending to the address of a queue that is not there makes it, where the principal may. */
  readonly providesQueues?: boolean;
  /** A part of the gateway that publishes what its operator told it to: no rule is asked. */
  readonly isGateway?: boolean;
  /** Who publishes has gone, and keeps nothing that is refused: a bridge that has no room counts it as lost. */
  readonly isGone?: boolean;
  /** The core is short of room (`true`: stop reading the publisher's socket) or has it again (`false`). */
  congested(yes: boolean): void;
}

export interface Publisher {
  /**
   * Routes and appends without waiting: the order of calls is the order of messages everywhere. With a sink the
   * answer may be PENDING, and then the sink is called with `token` once, receipts of one publisher in order.
   * Throws CoreError when the message is refused outright; then nothing of it was kept.
   */
  publish(message: Message, sink: ReceiptSink | null, token: number): PublishResult;
  close(): void;
}

// ---------------------------------------------------------------------------------------------- exchanges

export type ExchangeType = 'direct' | 'fanout' | 'topic' | 'headers';

export interface ExchangeSpec {
  readonly name: string;
  readonly type: ExchangeType;
  readonly durable: boolean;
  /** Goes with its last binding. */
  readonly autoDelete: boolean;
  /** Takes no message from publishers, only from other exchanges. */
  readonly internal: boolean;
  /** Where messages go that no binding wanted, an exchange's name. */
  readonly alternate: string | null;
  readonly arguments: readonly Header[];
}

export interface HeaderMatch {
  readonly mode: 'all' | 'any' | 'all-with-x' | 'any-with-x';
  readonly headers: readonly Header[];
}

export interface ExchangeBinding {
  readonly exchange: string;
  readonly target: { readonly kind: 'queue' | 'exchange'; readonly name: string };
  /**
   * The key in address form (levels separated by `/`). For type topic a level that is exactly `*` is one level
   * and `#` is many; for direct it is literal; for fanout and headers it is ignored when routing.
   */
  readonly key: string;
  readonly match: HeaderMatch | null;
  /** As given, part of the binding's identity. */
  readonly arguments: readonly Header[];
}

export interface Exchanges {
  /** Another number whenever an exchange was made or deleted. */
  readonly generation: number;
  /** Returns the existing exchange of that name, whatever its spec: the caller compares. */
  declare(spec: ExchangeSpec): ExchangeSpec;
  get(name: string): ExchangeSpec | undefined;
  list(): Iterable<ExchangeSpec>;
  delete(name: string, options: { readonly ifUnused: boolean }): void;
  /** Idempotent. An exchange that nobody declared is bound all the same: it is the subtree of that name. */
  bind(binding: ExchangeBinding): void;
  /** Idempotent. */
  unbind(binding: ExchangeBinding): void;
  bindings(): Iterable<ExchangeBinding>;
}

// --------------------------------------------------------------------------------- sessions (subscribe: pushed)

export interface SubscriptionOptions {
  readonly reliability: Reliability;
  /** Do not deliver what a publisher with the session's own id published. */
  readonly noLocal: boolean;
  readonly keepRetain: boolean;
  /** The subscriber's own number for it; 0 is none. */
  readonly id: number;
  /**
   * Shared with all sessions that subscribe the same pattern under this name: each message goes to one of them. At
   * least one character, no `/`. Absent: the session gets everything.
   */
  readonly group?: string;
}

export interface Session {
  readonly id: string;
  /** Outlives its connection. */
  readonly durable: boolean;
  readonly attached: boolean;
  readonly queuedCount: number;
  readonly unsettledCount: number;
  /** By the pattern's key; shared ones by `group/` and that key. */
  readonly subscriptions: ReadonlyMap<
    string,
    { readonly pattern: Pattern; readonly options: SubscriptionOptions }
  >;
  /** Small protocol state kept with the session, on disk for a durable one. */
  readonly state: ReadonlyMap<string, Uint8Array>;
  putState(key: string, value: Uint8Array): void;
  removeState(key: string): void;
  /**
   * Returns whether it is new; an existing one gets the new options. Throws CoreError `limit-reached`, or
   * `invalid-name` for a pattern with too many levels.
   */
  subscribe(pattern: Pattern, options: SubscriptionOptions): boolean;
  /** `group`: of a shared one. */
  unsubscribe(pattern: Pattern, group?: string): boolean;
  /** Gives the session one message as if it had just been routed to it: what an address remembered. */
  offer(message: Message, options: DeliveryOptions): void;
  /**
   * Begins delivery to `consumer` under credit; what was unsettled comes first, `redelivered`. An earlier
   * consumer is told `cancelled('displaced')`.
   */
  attach(consumer: Consumer): Subscription;
  /** Ends delivery and starts the expiry clock: 0 ends the session now, Infinity never. */
  detach(expiryMs: number): void;
}

export interface Sessions {
  /**
   * `clean` discards an existing session of that id. `durable` is whether it must be written to disk: one that was
   * not moves there with all that it holds, and whoever was attached to it is displaced; one that was stays there.
   * `present`: state of an earlier connection was found.
   */
  open(
    id: string,
    options: {
      readonly clean: boolean;
      readonly durable: boolean;
      /** How long it outlives its connection should the process end without a `detach`; default for ever. */
      readonly expiryMs?: number;
    },
  ): Promise<{ readonly session: Session; readonly present: boolean }>;
  get(id: string): Session | undefined;
  list(): Iterable<Session>;
  /** Discards it with everything it kept. */
  end(id: string): void;
  /** How shared subscriptions choose among their members, from now on. Each in turn at first. */
  shareBy(strategy: SharingStrategy): void;
}

export interface Retained {
  readonly count: number;
  /** What the addresses under `pattern` remember, without the expired. */
  match(pattern: Pattern): Iterable<Message>;
  /** Forgets it, and tells no subscriber. Returns whether there was something. */
  forget(address: string): boolean;
}

/** Messages that are published later, also after a restart. */
export interface Schedule {
  /** How many wait. */
  readonly count: number;
  /**
   * As `Publisher.publish`, for a message that is published at `dueMs`, milliseconds since 1970: the receipt says that
   * it is kept until then. Throws CoreError, `limit-reached` where no more can wait.
   */
  add(
    message: Message,
    dueMs: number,
    principal: Principal,
    sink: ReceiptSink | null,
    token: number,
  ): PublishResult;
}

// ----------------------------------------------------------------------------------- streams (read: pulled)

export interface StreamSpec {
  readonly name: string;
  readonly partitions: number;
  /** What it captures without a mapping rule: usually the one address that its name stands for. */
  readonly captures: readonly Pattern[];
  readonly log: BatchLogOptions;
  /** The declaring protocol's own settings; stored and shown, not read by the core. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface Stream {
  readonly spec: StreamSpec;
  /** 16 random bytes, given at creation and never changed: a stream created again is another one. */
  readonly id: Uint8Array;
  readonly partitions: readonly Partition[];
  /**
   * What stands in a partition from `offset` on as messages at their addresses, of about `bytesMax` stored bytes; none
   * at the end. Throws CoreError `offset-out-of-range` or `not-found`.
   */
  readMessages(partition: number, offset: number, bytesMax: number): Promise<StreamMessages>;
}

export interface StreamMessages {
  readonly messages: readonly {
    readonly offset: number;
    readonly timestampMs: number;
    readonly message: Message;
  }[];
  /** Where to go on. */
  readonly nextOffset: number;
}

export interface BatchAppended {
  readonly baseOffset: number;
  /** This batch had been appended before by the same producer; `baseOffset` is the old one. */
  readonly duplicate: boolean;
}

export interface Partition {
  readonly index: number;
  readonly startOffset: number;
  readonly endOffset: number;
  readonly sizeBytes: number;
  /**
   * Validates the batch (checksum, counts, sequence), stamps its offset and appends it as it is, then publishes
   * its records to their addresses; one that it has is not appended again, and published only where a crash may have come
   * between the two. The batch must not be changed afterwards. `sink` gets `stored(token)` when it
   * is on disk, in order with everything else of this publisher; null asks for none. Throws CoreError
   * `corrupt-batch`, `out-of-order-sequence`, `stale-producer`, `message-too-large`, `storage-failed`.
   */
  appendBatch(batch: Buffer, sink: ReceiptSink | null, token: number): BatchAppended;
  /** Stored bytes of whole batches, verbatim, from the batch that holds `offset`; empty at the end. */
  read(offset: number, bytesMax: number): Promise<Buffer>;
  offsetAt(timeMs: number): Promise<{ readonly offset: number; readonly timeMs: number } | null>;
  /** Calls `listener` once at the next append, then forgets it; returns a way to take it back. */
  onAppend(listener: () => void): () => void;
  truncateBefore(offset: number): void;
}

export interface Streams {
  /** Returns the existing stream of that name, whatever its spec: the caller compares. */
  declare(spec: StreamSpec): Promise<Stream>;
  get(name: string): Stream | undefined;
  list(): Iterable<Stream>;
  delete(name: string): Promise<void>;
  /** Changes log settings and adds partitions; fewer partitions are refused. */
  change(
    name: string,
    changes: Partial<Pick<StreamSpec, 'partitions' | 'log' | 'settings'>>,
  ): Promise<Stream>;
  /** A producer id that was never handed out before, also not before a restart, with epoch 0. */
  newProducerId(): bigint;
}

export interface Cursor {
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
  readonly committedAtMs: number;
}

/** One reader of a group, for people. */
export interface GroupMember {
  readonly id: string;
  readonly clientId: string;
  readonly address: string;
}

/** Who knows which readers are in a group now: the core only keeps where groups are. */
export interface GroupMembership {
  groups(): Iterable<string>;
  members(group: string): Iterable<GroupMember>;
}

/** Committed reading positions: group → stream → partition. Durable once `whenStored` says so. */
export interface Cursors {
  commit(group: string, stream: string, partition: number, cursor: Cursor): void;
  get(group: string, stream: string, partition: number): Cursor | undefined;
  list(group: string): Iterable<readonly [stream: string, partition: number, cursor: Cursor]>;
  groups(): Iterable<string>;
  remove(group: string, stream: string | null, partition: number | null): void;
  /** Asked by `memberships` from now on; returns a way to take it back. */
  follow(membership: GroupMembership): () => void;
  memberships(): Iterable<GroupMembership>;
}

// ------------------------------------------------------------------------------------------------- replies

/** Answers to requests of another protocol: docs/request-response.md. */
export interface Replies {
  /**
   * The address under `$reply` that a request is shown with instead of its reply address: what is published there
   * within `replyLifetimeMs` comes out at the reply address, with the request's own correlation. The same for every
   * showing of this message, until half its time is over. Null where it asks for no answer or cannot be given one.
   */
  addressFor(message: Message): string | null;
  /** Where an answer published to such an address would go now; null where it is none, or too late. */
  targetOf(address: string): string | null;
  /** Whether a requester's right to publish at its reply address goes with the request: `replyLent` of its message. */
  mayLend(principal: Principal, address: string): boolean;
}

// ------------------------------------------------------------------------------------------------- the core

/** One thing that an address reaches, for people. */
export interface Match {
  readonly kind: 'session' | 'shared' | 'queue' | 'stream' | 'retained' | 'mapping' | 'bridge';
  readonly name: string;
  /** The patterns that matched, readable. */
  readonly patterns: readonly string[];
}

export interface Core {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly access: Access;
  readonly queues: Queues;
  readonly exchanges: Exchanges;
  readonly sessions: Sessions;
  readonly retained: Retained;
  readonly streams: Streams;
  readonly cursors: Cursors;
  readonly rules: MappingRules;
  readonly schedule: Schedule;
  readonly replies: Replies;
  readonly outlets: Outlets;
  readonly counters: CoreCounters;
  /** Why the disk took nothing when it was last asked; null while it does. */
  storageRefusal(): CoreError | null;
  openPublisher(info: PublisherInfo): Publisher;
  /**
   * Publishes what the gateway itself has to say, or publishes again: nobody's rights are asked for, and it is not
   * counted. `refused`: not everybody who wants it has it. Throws CoreError where the disk refuses.
   */
  announce(message: Message): 'taken' | 'unwanted' | 'refused';
  /** Calls `done` when everything that was changed so far is durable, or cannot be made so. */
  whenStored(done: (error: CoreError | null) => void): void;
  explain(address: string): Match[];
  close(): Promise<void>;
}

/** Plain numbers that grow; read when metrics are scraped. */
export interface CoreCounters {
  published: number;
  publishedBytes: number;
  delivered: number;
  noRoute: number;
  refused: number;
  dropped: number;
  expired: number;
  deadLettered: number;
  repliesPassed: number;
  repliesLate: number;
  repliesRefused: number;
  /** Requests that were shown without a reply address, because no more could be kept. */
  repliesUnnamed: number;
  commits: number;
}

/** Translates between messages and records of a stream; written beside the protocol that owns the record shape. */
export interface RecordCodec {
  recordFromMessage(message: Message, stream: string, key: Uint8Array | null): StreamRecord;
  /** `address` is where the record belongs: its stream's address, or the one its mapping rule says. */
  messageFromRecord(record: StreamRecord, address: string): Message;
  /**
   * Text that stands in every record whose message asks to be retained. Batches that nobody subscribed to are
   * searched for it, compressed ones at the cost of their decompression; absent, such batches are not looked into and records are retained only where others want them.
   */
  readonly retainMarker?: string;
}

/** What the core is given at start; everything of the outside world comes through here. */
export interface CoreOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly access: Access;
  readonly records: RecordCodec;
  /** Every codec whose name may stand beside a stored message. */
  readonly codecs: readonly NativeCodec[];
  /** The address that a stream's name stands for. */
  readonly addressFromStream: (stream: string) => string;
  readonly compileRule: (definition: unknown) => AnyRule;
  /** How streams are kept that a mapping rule creates; the core's own default where absent. */
  readonly streamLog?: BatchLogOptions;
  readonly crc32c: (bytes: Uint8Array) => number;
  /** Undoes a record batch's compression; `codec` is the attribute's number. Throws on bad data or above the bound. */
  readonly decompress: (codec: number, bytes: Uint8Array, bytesMax: number) => Uint8Array;
  readonly randomBytes: (count: number) => Uint8Array;
  /** Seals reply addresses: at least 16 bytes that only this data folder computes. Absent: there are none. */
  readonly sealReply?: (bytes: Uint8Array) => Uint8Array;
  /** Something for the operator's log: what recovery cut, what was dropped. */
  readonly report: (event: CoreEvent) => void;
}

export interface CoreEvent {
  readonly level: 'info' | 'warn' | 'error';
  readonly text: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export * from './access.ts';
export * from './address.ts';
export type { Clock, Timer } from './clock.ts';
export {
  believedHeaders,
  type DeathOrigin,
  isHistory,
  originOfDeath,
  type PastDeath,
  pastDeathsOf,
  undeliverable,
} from './dead-letter.ts';
export * from './delivery.ts';
export * from './errors.ts';
export { DEFAULT_LIMITS, type Limits } from './limits.ts';
export { hopsOf, type RuleStep, repeatOf, returnOf } from './mapping-path.ts';
export * from './mapping-rule.ts';
export { BoundedTopics, takes, tooManyTopics } from './mapping-runner.ts';
export * from './message.ts';
export type { BridgeMapping, Outlet, OutletBounds, OutletCounters, Outlets } from './outlets.ts';
export * from './pattern.ts';
export * from './queueing.ts';
export * from './record-batch.ts';
export * from './reply-address.ts';
export type { SharingStrategy } from './sharing.ts';
export type { BatchLogOptions } from './storage.ts';
