/**
 * The settings of the Kafka listener, with defaults and descriptions: the configuration is checked against this
 * schema and its commented file is written from it. Names of Kafka's own settings are named where there is one.
 */

import { proxyProtocolSetting, type Static, Type, tlsListenerProperties } from '../../src/host.ts';

const MIB = 1024 * 1024;

const advertised = (description: string) =>
  Type.Union([Type.String({ pattern: '^.+:\\d{1,5}$' }), Type.Null()], { default: null, description });

export const kafkaSettings = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'Whether Kafka clients are served.' }),
    host: Type.String({ default: '127.0.0.1', description: 'Address to listen on.' }),
    port: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 9092,
      description: 'Port to listen on; 0 lets the system choose.',
    }),
    advertised: advertised(
      'host:port that clients are told to connect to (advertised.listeners); null: what each dialled.',
    ),
    proxyProtocol: proxyProtocolSetting,
    tls: Type.Object(
      {
        ...tlsListenerProperties(9093, 'Kafka'),
        advertised: advertised(
          'host:port that clients over TLS are told to connect to; null: what each dialled.',
        ),
      },
      { additionalProperties: false, default: {}, description: 'Kafka over TLS (SSL).' },
    ),
    nodeId: Type.Integer({
      minimum: 0,
      maximum: 0x7fff_ffff,
      default: 1,
      description: 'The only broker (node.id).',
    }),
    autoCreate: Type.Boolean({
      default: true,
      description:
        'Naming an unknown topic creates the stream that captures its address (auto.create.topics.enable).',
    }),
    autoCreateUnasked: Type.Boolean({
      default: true,
      description:
        'Also for clients that ask for no creation, as consumers of librdkafka do: the address may be published to by ' +
        'others, so `kcat -C` can wait for it. false: they get an unknown topic, as from Apache Kafka.',
    }),
    defaultPartitions: Type.Integer({
      minimum: 1,
      maximum: 1024,
      default: 1,
      description: 'Partitions of topics that do not say how many they want (num.partitions).',
    }),
    retentionMs: Type.Integer({
      minimum: -1,
      default: 604_800_000,
      description: 'Milliseconds that records of a new topic are kept; -1 for ever (log.retention.ms).',
    }),
    retentionBytes: Type.Integer({
      minimum: -1,
      default: -1,
      description: 'Bytes that each partition of a new topic keeps; -1 all (log.retention.bytes).',
    }),
    segmentBytes: Type.Integer({
      minimum: 64 * 1024,
      maximum: 0x7fff_ffff,
      default: 256 * MIB,
      description: 'Bytes after which a partition begins a new file (log.segment.bytes).',
    }),
    connectionsMax: Type.Integer({
      minimum: 1,
      default: 10_000,
      description: 'Connections at a time (max.connections).',
    }),
    idleTimeoutMs: Type.Integer({
      minimum: 1_000,
      default: 600_000,
      description: 'A connection without a request for so long is closed (connections.max.idle.ms).',
    }),
    highWaterBytes: Type.Integer({
      minimum: 1024,
      default: 4 * MIB,
      description: 'Bytes that wait for a slow client before its further requests wait too.',
    }),
    produceBytesMax: Type.Integer({
      minimum: 1024,
      maximum: 0x7fff_ffff,
      default: 100 * MIB,
      description: 'Bytes of one Produce request (socket.request.max.bytes).',
    }),
    requestBytesMax: Type.Integer({
      minimum: 1024,
      maximum: 0x7fff_ffff,
      default: 8 * MIB,
      description: 'Bytes of any other request.',
    }),
    requestElementsMax: Type.Integer({
      minimum: 100,
      default: 250_000,
      description: 'Topics, partitions and other elements in one request.',
    }),
    unfinishedBytesMax: Type.Integer({
      minimum: 1024,
      default: 1024 * MIB,
      description:
        'Bytes of requests that are arriving or wait for earlier ones, over all connections (queued.max.request.bytes).',
    }),
    producesInFlightMax: Type.Integer({
      minimum: 1,
      default: 64,
      description: 'Produce requests of one connection that wait for the disk before it is read no further.',
    }),
    fetchBytesMax: Type.Integer({
      minimum: 1024,
      default: 55 * MIB,
      description: 'Bytes of records in one answer, whatever the client asks for (fetch.max.bytes).',
    }),
    fetchWaitMsMax: Type.Integer({
      minimum: 0,
      default: 300_000,
      description: 'Milliseconds that a fetch waits for records, whatever the client asks for.',
    }),
    fetchSessionPartitionsMax: Type.Integer({
      minimum: 0,
      default: 10_000,
      description: 'Partitions that a fetch session remembers; a fetch of more gets no session.',
    }),
    groupsMax: Type.Integer({
      minimum: 1,
      default: 10_000,
      description: 'Consumer groups that have members.',
    }),
    groupMembersMax: Type.Integer({
      minimum: 1,
      default: 1_000,
      description: 'Members of one consumer group (group.max.size).',
    }),
    groupBytesMax: Type.Integer({
      minimum: 1024,
      default: 16 * MIB,
      description: 'Bytes of the subscriptions and assignments that one consumer group keeps in memory.',
    }),
    groupSessionTimeoutMinMs: Type.Integer({
      minimum: 1,
      default: 6_000,
      description: 'Shortest session timeout of a member (group.min.session.timeout.ms).',
    }),
    groupSessionTimeoutMaxMs: Type.Integer({
      minimum: 1,
      default: 1_800_000,
      description: 'Longest session timeout of a member (group.max.session.timeout.ms).',
    }),
    groupInitialDelayMs: Type.Integer({
      minimum: 0,
      maximum: 3_000,
      default: 100,
      description: 'How long a new group waits for more members (group.initial.rebalance.delay.ms).',
    }),
    offsetMetadataBytesMax: Type.Integer({
      minimum: 0,
      default: 4_096,
      description: 'Bytes of text kept with a committed offset (offset.metadata.max.bytes).',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Kafka.' },
);

export type KafkaSettings = Static<typeof kafkaSettings>;
