/**
 * What a connection to an outside Kafka says, and the options of a bridge to or from one: schemas with defaults, and the
 * types that they have when the link is opened, secrets as plain text. Cheap to import: no client library.
 */

import {
  OPEN_MS_MAX,
  type OutsideTls,
  outsideTlsSettings,
  type Static,
  secretSetting,
  Type,
} from '../../src/outside.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** `host`, `host:port` or `[address]:port`. */
const BROKER = '^(\\[[0-9A-Fa-f:.]+\\]|[^\\s:/\\[\\]]+)(:\\d{1,5})?$';
export const DEFAULT_PORT = 9092;

const milliseconds = (minimum: number, maximum: number, value: number, description: string) =>
  Type.Integer({ minimum, maximum, default: value, description });

const SASL_MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;

export const connectionSettings = Type.Object(
  {
    brokers: Type.Array(Type.String({ pattern: BROKER, maxLength: 300 }), {
      minItems: 1,
      maxItems: 64,
      description: `Brokers to ask first, as host:port (bootstrap.servers); port ${DEFAULT_PORT} unless given.`,
    }),
    clientId: Type.String({
      default: 'rosettamq',
      minLength: 1,
      maxLength: 255,
      description: 'Who the brokers are told this is, for their logs and quotas (client.id).',
    }),
    tls: outsideTlsSettings,
    sasl: Type.Optional(
      Type.Object(
        {
          mechanism: Type.Union(
            SASL_MECHANISMS.map((name) => Type.Literal(name)),
            { description: 'How this side proves who it is (sasl.mechanism).' },
          ),
          username: Type.String({ minLength: 1, description: 'Who this is.' }),
          password: secretSetting('The password that belongs to it.'),
        },
        { additionalProperties: false, description: 'Credentials; none unless given.' },
      ),
    ),
    connectTimeoutMs: milliseconds(
      100,
      OPEN_MS_MAX,
      10_000,
      'How long a broker may take to accept a connection and its credentials.',
    ),
    requestTimeoutMs: milliseconds(
      1_000,
      300_000,
      30_000,
      'How long a broker may take to answer a request (request.timeout.ms); then the connection is given up.',
    ),
  },
  { additionalProperties: false },
);

export interface ConnectionSettings extends Omit<Static<typeof connectionSettings>, 'tls' | 'sasl'> {
  readonly tls: OutsideTls;
  readonly sasl?: {
    readonly mechanism: (typeof SASL_MECHANISMS)[number];
    readonly username: string;
    readonly password: string;
  };
}

const literals = <T extends string>(...names: readonly T[]) => names.map((name) => Type.Literal(name));

export const outSettings = Type.Object(
  {
    acks: Type.Union(literals('all', 'leader', 'none'), {
      default: 'all',
      description:
        'Who has to have a record before it counts as sent (acks): every replica in sync, the leader, or nobody, which goes ' +
        'with delivery at-most-once only. With all the producer is idempotent.',
    }),
    compression: Type.Union(literals('none', 'gzip', 'snappy', 'lz4', 'zstd'), {
      default: 'none',
      description: 'How batches are compressed (compression.type).',
    }),
    createTopics: Type.Boolean({
      default: false,
      description:
        'Whether a topic that is missing is created. Otherwise what is for it waits, and goes when the topic is there.',
    }),
    partitions: Type.Integer({
      minimum: -1,
      maximum: 10_000,
      default: -1,
      description: 'Partitions of a topic that is created; -1: as many as the broker gives by default.',
    }),
    replicationFactor: Type.Integer({
      minimum: -1,
      maximum: 100,
      default: -1,
      description: 'Replicas of a topic that is created; -1: as many as the broker gives by default.',
    }),
    keyless: Type.Union(literals('address', 'spread'), {
      default: 'address',
      description:
        'Which partition a message without a key goes to: always the same for its address, so that its order is kept, or ' +
        'one after the other for each batch.',
    }),
    batchBytesMax: Type.Integer({
      minimum: KIB,
      maximum: 64 * MIB,
      default: 1_000_000,
      description:
        'Bytes of one record batch before compression (batch.size). A single message may be larger: the broker decides.',
    }),
    deliveryTimeoutMs: milliseconds(
      1_000,
      600_000,
      15_000,
      'How long a batch is tried again over failures that pass, such as a change of leaders, before the link is opened anew.',
    ),
    transactionTimeoutMs: milliseconds(
      1_000,
      900_000,
      60_000,
      'Delivery exactly-once: after how long the broker ends a transaction of a producer that is gone ' +
        '(transaction.timeout.ms).',
    ),
  },
  { additionalProperties: false, default: {} },
);

export type OutSettings = Readonly<Static<typeof outSettings>>;

export const inSettings = Type.Object(
  {
    groupId: Type.String({
      default: '',
      maxLength: 249,
      description:
        'Consumer group that keeps how far was read (group.id); empty: made from the ids of the gateway and the bridge. Bridges ' +
        'of several gateways with the same group share the partitions.',
    }),
    from: Type.Union(literals('earliest', 'latest'), {
      default: 'latest',
      description:
        'Where a group begins that has not read before (auto.offset.reset). Topics and partitions that appear later are ' +
        'always read from their beginning.',
    }),
    sessionTimeoutMs: milliseconds(
      6_000,
      300_000,
      45_000,
      'After how long without a sign of life the group gives the partitions to others (session.timeout.ms).',
    ),
    fetchBytesMax: Type.Integer({
      minimum: 4 * KIB,
      maximum: 64 * MIB,
      default: 4 * MIB,
      description:
        'Bytes of one answer of a broker (fetch.max.bytes). Two may be held for each broker; a larger single batch comes alone.',
    }),
    fetchWaitMs: milliseconds(
      1,
      30_000,
      500,
      'How long a broker waits for something new before it answers (fetch.max.wait.ms).',
    ),
    lookAgainMs: milliseconds(
      500,
      600_000,
      30_000,
      'How often it is looked for new topics and partitions (metadata.max.age.ms).',
    ),
  },
  { additionalProperties: false, default: {} },
);

export type InSettings = Readonly<Static<typeof inSettings>>;
