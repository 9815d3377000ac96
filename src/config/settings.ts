/**
 * The settings of the host, section by section: every part brings its own schema, here are those of the core's limits
 * and of the storage. The sections of the protocols are added by `src/main.ts`.
 */

import { httpSettings } from '../admin/settings.ts';
import { authSettings } from '../auth/settings.ts';
import { bridgesSetting, connectionsSetting } from '../bridges/settings.ts';
import { DEFAULT_LIMITS, type Limits } from '../core/index.ts';
import { networkSettings } from '../net/settings.ts';
import { tlsSettings } from '../net/tls-settings.ts';
import { type Static, type TInteger, Type } from '../schema-types.ts';
import { logSettings } from '../telemetry/settings.ts';

export const storageSettings = Type.Object(
  {
    folder: Type.String({
      default: './data',
      minLength: 1,
      description: 'Folder for everything that is kept; made when it is not there. One process owns it.',
    }),
    durability: Type.Union([Type.Literal('fsync'), Type.Literal('os')], {
      default: 'fsync',
      description:
        'When a message counts as stored, and is acknowledged. fsync: when the device has it, so that a loss of ' +
        'power loses nothing acknowledged. os: when the operating system has it, which is faster; the end of the ' +
        'process still loses nothing, a loss of power may lose the last seconds.',
    }),
    tailBytesMax: Type.Integer({
      default: 64 * 1024 * 1024,
      minimum: 0,
      description: 'Bytes of the newest stream data kept in memory for readers at the end of a stream.',
    }),
    checkpointBytes: Type.Integer({
      default: 32 * 1024 * 1024,
      minimum: 1024 * 1024,
      maximum: 1024 * 1024 * 1024,
      description:
        'Bytes of the journal after which its changes are moved to the state database; until then they are in memory ' +
        'as well.',
    }),
    streamSegmentBytes: Type.Integer({
      default: 64 * 1024 * 1024,
      minimum: 65_536,
      maximum: 0x7fff_ffff,
      description: 'Bytes after which a stream that a mapping rule created begins a new file.',
    }),
    streamRetentionMs: Type.Integer({
      default: 604_800_000,
      minimum: -1,
      description: 'Milliseconds that a stream which a mapping rule created keeps its data; -1 for ever.',
    }),
    streamRetentionBytes: Type.Integer({
      default: -1,
      minimum: -1,
      description: 'Bytes that each partition of a stream which a mapping rule created keeps; -1 all.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'The data folder and what storing promises.' },
);

export type StorageSettings = Static<typeof storageSettings>;

function limit(name: keyof Limits, description: string): TInteger {
  return Type.Integer({ default: DEFAULT_LIMITS[name], minimum: 1, description });
}

export const limitsSettings = Type.Object(
  {
    messageBytesMax: limit('messageBytesMax', 'Bytes of one message body.'),
    addressBytesMax: limit('addressBytesMax', 'Bytes of an address in UTF-8.'),
    addressLevelsMax: limit('addressLevelsMax', 'Levels of an address.'),
    queuesMax: limit('queuesMax', 'Queues.'),
    exchangesMax: limit('exchangesMax', 'Exchanges.'),
    streamsMax: limit('streamsMax', 'Streams.'),
    partitionsPerStreamMax: limit('partitionsPerStreamMax', 'Partitions of one stream.'),
    sessionsMax: limit('sessionsMax', 'Sessions, connected or not.'),
    subscriptionsPerSessionMax: limit('subscriptionsPerSessionMax', 'Subscriptions of one session.'),
    bindingsPerQueueMax: limit('bindingsPerQueueMax', 'Bindings of one queue.'),
    retainedMessagesMax: limit('retainedMessagesMax', 'Addresses that remember their last message.'),
    retainedBytesMax: limit('retainedBytesMax', 'Bytes of the messages that addresses remember.'),
    sessionQueueMessagesMax: limit(
      'sessionQueueMessagesMax',
      'Messages that wait for an absent or slow client; the oldest go first.',
    ),
    sessionQueueBytesMax: limit(
      'sessionQueueBytesMax',
      'Bytes of messages that wait for an absent or slow client.',
    ),
    queueMemoryBytesMax: limit(
      'queueMemoryBytesMax',
      'Bytes of message bodies that one queue or session holds in memory, or about a 64th of it for a client that is away; beyond, they are read from the disk again.',
    ),
    groupsPerQueueMax: limit('groupsPerQueueMax', 'Named consumer groups of one queue.'),
    visibilityTimeoutMs: limit(
      'visibilityTimeoutMs',
      'Milliseconds that a member of a consumer group has to settle a message before another member gets it.',
    ),
    deliveryAttemptsMax: Type.Integer({
      default: DEFAULT_LIMITS.deliveryAttemptsMax,
      minimum: 0,
      description:
        'How often a consumer group hands out a message that fails before it becomes a dead letter; 0 is without end.',
    }),
    groupIdleMs: Type.Integer({
      default: DEFAULT_LIMITS.groupIdleMs,
      minimum: 0,
      description:
        'Milliseconds without a member after which a consumer group goes, with what it gathered; 0 is never.',
    }),
    scheduledMessagesMax: limit('scheduledMessagesMax', 'Messages that wait to be published later.'),
    scheduledBytesMax: limit('scheduledBytesMax', 'Bytes of the messages that wait to be published later.'),
    heldBytesMax: limit(
      'heldBytesMax',
      'Bytes of messages that wait in memory over all queues and sessions, above which publishers are held back.',
    ),
    routeCacheEntriesMax: limit('routeCacheEntriesMax', 'Addresses whose destinations are remembered.'),
    uncommittedBytesMax: limit(
      'uncommittedBytesMax',
      'Bytes that wait to be built into stream batches, above which publishers are held back.',
    ),
    producersPerPartitionMax: limit(
      'producersPerPartitionMax',
      'Idempotent producers remembered for a partition.',
    ),
    decompressedBytesMax: limit(
      'decompressedBytesMax',
      'Bytes of one record batch once its compression is undone.',
    ),
    cursorsMax: limit('cursorsMax', 'Committed reading positions of all groups together.'),
    rulesMax: limit('rulesMax', 'Mapping rules.'),
    bridgesMax: limit('bridgesMax', 'Bridges to outside brokers.'),
    outsideConnectionsMax: limit('outsideConnectionsMax', 'Connections that bridges may use.'),
    replyLifetimeMs: Type.Integer({
      default: DEFAULT_LIMITS.replyLifetimeMs,
      minimum: 0,
      maximum: 86_400_000,
      description:
        'Milliseconds that the answer to a request of another protocol may take, from the delivery of the request on; ' +
        '0 gives such requests no reply address of their own.',
    }),
    repliesKeptMax: limit(
      'repliesKeptMax',
      'Reply addresses kept in memory, because what they stand for is too long to stand in them.',
    ),
    repliesKeptBytesMax: limit('repliesKeptBytesMax', 'Bytes of what reply addresses in memory stand for.'),
  } satisfies Record<keyof Limits, TInteger>,
  {
    additionalProperties: false,
    default: {},
    description: 'Bounds of the core: nothing grows without one.',
  },
);

export const gatewaySettings = Type.Object(
  {
    sidecar: Type.Boolean({
      default: false,
      description:
        'Whether it runs beside one service: listens on loopback addresses and Unix domain sockets only, and refuses to ' +
        'start with any other; with 128 MiB of memory unless gateway.memoryMebibytes says otherwise.',
    }),
    memoryMebibytes: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 1_048_576,
      description:
        'Memory that the process is meant for, MiB, at least 96: bounds the JavaScript heap, and every bound of bytes, ' +
        'connections and sessions that is not set itself; it is no hard limit (docs/operations.md). 0: no bound.',
    }),
    settleMs: Type.Integer({
      default: 5_000,
      minimum: 0,
      maximum: 3_600_000,
      description:
        'Time that clients have to acknowledge what they were sent when the gateway stops, before they are told to go, ' +
        'milliseconds. They are sent nothing new meanwhile, so that nothing has to be sent again after the restart.',
    }),
    drainMs: Type.Integer({
      default: 10_000,
      minimum: 0,
      maximum: 3_600_000,
      description: 'Time that clients have to leave when the gateway stops, milliseconds.',
    }),
    unreadyMs: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 3_600_000,
      description:
        'Time between "not ready" on /readyz and the end of accepting connections, milliseconds: for load balancers ' +
        'to take notice.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Start and stop.' },
);

/** In the order of the file; the protocols come first in it. */
export const hostSections = {
  http: httpSettings,
  storage: storageSettings,
  auth: authSettings,
  network: networkSettings,
  tls: tlsSettings,
  connections: connectionsSetting,
  bridges: bridgesSetting,
  limits: limitsSettings,
  gateway: gatewaySettings,
  log: logSettings,
} as const;

export type HostSettings = {
  readonly [Name in keyof typeof hostSections]: Static<(typeof hostSections)[Name]>;
};
