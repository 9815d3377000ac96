/**
 * The settings of the broker as Kafka's tools know them: a table of names, kinds and values, for DescribeConfigs.
 * Tools read a few to adapt themselves and people read all; none can be changed through this protocol.
 */

import type { KafkaSettings } from '../settings.ts';
import type { ConfigType } from './topic-settings.ts';

export interface BrokerSetting {
  readonly name: string;
  readonly type: keyof typeof ConfigType;
  readonly value: string;
}

const LONG_MAX = '9223372036854775807';

/** Where clients come in: as the gateway is bound, and as this client should dial it. */
export interface Endpoint {
  readonly protocol: 'PLAINTEXT' | 'SSL';
  readonly bound: string;
  readonly advertised: string;
}

export function brokerSettings(
  settings: KafkaSettings,
  endpoints: readonly Endpoint[],
  mechanisms: readonly string[],
): BrokerSetting[] {
  const listed = (which: 'bound' | 'advertised'): string =>
    endpoints.map((endpoint) => `${endpoint.protocol}://${endpoint[which]}`).join(',');
  const rows: readonly (readonly [
    name: string,
    type: keyof typeof ConfigType,
    value: string | number | boolean,
  ])[] = [
    ['advertised.listeners', 'string', listed('advertised')],
    ['auto.create.topics.enable', 'boolean', settings.autoCreate],
    ['broker.id', 'int', settings.nodeId],
    ['broker.rack', 'string', ''],
    ['compression.type', 'string', 'producer'],
    ['connections.max.idle.ms', 'long', settings.idleTimeoutMs],
    ['default.replication.factor', 'int', 1],
    ['delete.topic.enable', 'boolean', true],
    ['fetch.max.bytes', 'int', settings.fetchBytesMax],
    ['group.coordinator.rebalance.protocols', 'list', 'classic'],
    ['group.initial.rebalance.delay.ms', 'int', settings.groupInitialDelayMs],
    ['group.max.session.timeout.ms', 'int', settings.groupSessionTimeoutMaxMs],
    ['group.max.size', 'int', settings.groupMembersMax],
    ['group.min.session.timeout.ms', 'int', settings.groupSessionTimeoutMinMs],
    ['inter.broker.protocol.version', 'string', '4.0-IV3'],
    ['listeners', 'string', listed('bound')],
    ['log.cleaner.enable', 'boolean', false],
    ['log.cleanup.policy', 'list', 'delete'],
    ['log.flush.interval.messages', 'long', LONG_MAX],
    ['log.message.timestamp.type', 'string', 'CreateTime'],
    ['log.retention.bytes', 'long', settings.retentionBytes],
    ['log.retention.ms', 'long', settings.retentionMs],
    ['log.segment.bytes', 'int', settings.segmentBytes],
    ['max.connections', 'int', settings.connectionsMax],
    ['max.incremental.fetch.session.cache.slots', 'int', settings.connectionsMax],
    ['message.max.bytes', 'int', 1_048_588],
    ['min.insync.replicas', 'int', 1],
    ['node.id', 'int', settings.nodeId],
    ['num.partitions', 'int', settings.defaultPartitions],
    ['offset.metadata.max.bytes', 'int', settings.offsetMetadataBytesMax],
    ['offsets.retention.minutes', 'int', 0x7fff_ffff],
    ['process.roles', 'list', 'broker'],
    ['sasl.enabled.mechanisms', 'list', mechanisms.join(',')],
    ['socket.request.max.bytes', 'int', settings.produceBytesMax],
    ['transaction.state.log.replication.factor', 'int', 1],
    ['unclean.leader.election.enable', 'boolean', false],
  ];
  return rows.map(([name, type, value]) => ({ name, type, value: String(value) }));
}
