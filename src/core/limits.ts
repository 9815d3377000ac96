/**
 * Every bound of the core, with its default. The configuration may change them; nothing grows without one.
 */
export interface Limits {
  /** Bytes of one message body. */
  readonly messageBytesMax: number;
  /** Bytes of an address in UTF-8. */
  readonly addressBytesMax: number;
  readonly addressLevelsMax: number;
  readonly queuesMax: number;
  readonly exchangesMax: number;
  readonly streamsMax: number;
  readonly partitionsPerStreamMax: number;
  readonly sessionsMax: number;
  readonly subscriptionsPerSessionMax: number;
  readonly bindingsPerQueueMax: number;
  readonly retainedMessagesMax: number;
  readonly retainedBytesMax: number;
  /** Messages that a session keeps for an absent or slow client before `sessionOverflow` applies. */
  readonly sessionQueueMessagesMax: number;
  readonly sessionQueueBytesMax: number;
  /** Bytes of message bodies that one queue or session holds in memory before it keeps them only in its log. */
  readonly queueMemoryBytesMax: number;
  /** Named groups of one queue. */
  readonly groupsPerQueueMax: number;
  /** Milliseconds that a member of a named group has for a message before another one gets it. */
  readonly visibilityTimeoutMs: number;
  /** How often a named group hands out one message that fails before it becomes a dead letter; 0 is without end. */
  readonly deliveryAttemptsMax: number;
  /** Milliseconds without a member after which a named group goes, with what it gathered; 0 is never. */
  readonly groupIdleMs: number;
  /** Messages that wait to be published later, and their bytes in memory. */
  readonly scheduledMessagesMax: number;
  readonly scheduledBytesMax: number;
  /** Bytes of messages that wait in memory over all queues and sessions, above which publishers are held back. */
  readonly heldBytesMax: number;
  /** Addresses whose route is remembered. */
  readonly routeCacheEntriesMax: number;
  /** Bytes that all streams together gather during a turn before they write them, though it is not over. */
  readonly uncommittedBytesMax: number;
  /** Idempotent producers remembered for each partition. */
  readonly producersPerPartitionMax: number;
  /** Bytes that one record batch may hold once its compression is undone. */
  readonly decompressedBytesMax: number;
  /** Committed reading positions of all groups together. */
  readonly cursorsMax: number;
  /** Mapping rules. */
  readonly rulesMax: number;
  /** Bridges to outside brokers, and connections that they may use. */
  readonly bridgesMax: number;
  readonly outsideConnectionsMax: number;
  /** Milliseconds that the answer to a request of another protocol may take; 0 gives no reply addresses. */
  readonly replyLifetimeMs: number;
  /** Reply addresses whose request does not fit into them, and the bytes that are kept for those. */
  readonly repliesKeptMax: number;
  readonly repliesKeptBytesMax: number;
}

export const DEFAULT_LIMITS: Limits = {
  messageBytesMax: 16 * 1024 * 1024,
  addressBytesMax: 65_535,
  addressLevelsMax: 128,
  queuesMax: 100_000,
  exchangesMax: 10_000,
  streamsMax: 10_000,
  partitionsPerStreamMax: 1_024,
  sessionsMax: 1_000_000,
  subscriptionsPerSessionMax: 1_000,
  bindingsPerQueueMax: 100_000,
  retainedMessagesMax: 1_000_000,
  retainedBytesMax: 1024 * 1024 * 1024,
  sessionQueueMessagesMax: 100_000,
  sessionQueueBytesMax: 256 * 1024 * 1024,
  queueMemoryBytesMax: 64 * 1024 * 1024,
  groupsPerQueueMax: 100,
  visibilityTimeoutMs: 30_000,
  deliveryAttemptsMax: 20,
  groupIdleMs: 30 * 86_400_000,
  scheduledMessagesMax: 100_000,
  scheduledBytesMax: 128 * 1024 * 1024,
  heldBytesMax: 512 * 1024 * 1024,
  routeCacheEntriesMax: 65_536,
  uncommittedBytesMax: 64 * 1024 * 1024,
  producersPerPartitionMax: 10_000,
  decompressedBytesMax: 128 * 1024 * 1024,
  cursorsMax: 1_000_000,
  rulesMax: 10_000,
  bridgesMax: 1_000,
  outsideConnectionsMax: 1_000,
  replyLifetimeMs: 300_000,
  repliesKeptMax: 10_000,
  repliesKeptBytesMax: 16 * 1024 * 1024,
};
