/**
 * The settings of a topic as Kafka's tools know them: every name that Kafka 4 has, its kind and default, and what it
 * does here. Tools read all, change one and may write all back, so that each must be answered and taken; a value that
 * would promise what this server does not do is refused, with the reason. Kept with the stream as they were given.
 */

import type { BatchLogOptions } from '../../../src/core/index.ts';
import { KafkaError } from '../errors.ts';
import type { KafkaSettings } from '../settings.ts';

/** DescribeConfigs' numbers for kinds of values. */
export const ConfigType = { boolean: 1, string: 2, int: 3, long: 5, double: 6, list: 7 } as const;

export interface SettingDefinition {
  readonly name: string;
  readonly type: keyof typeof ConfigType;
  readonly initial: string;
  readonly text: string;
  /** Values that are taken, where not all of the kind are. */
  readonly only?: readonly string[];
  readonly min?: number;
}

const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
/** Kafka's own default is 1048588. */
const MESSAGE_BYTES_DEFAULT = 1_048_588;
const LONG_MAX = '9223372036854775807';

const define = (
  name: string,
  type: keyof typeof ConfigType,
  initial: string,
  text: string,
  rest: { readonly only?: readonly string[]; readonly min?: number } = {},
): SettingDefinition => ({ name, type, initial, text, ...rest });

export const TOPIC_SETTINGS: readonly SettingDefinition[] = [
  define(
    'cleanup.policy',
    'list',
    'delete',
    'With "compact" every record is kept: nothing is compacted yet.',
    {
      only: ['delete', 'compact', 'compact,delete', 'delete,compact', ''],
    },
  ),
  define('compression.gzip.level', 'int', '-1', 'No effect: batches are kept as producers compressed them.'),
  define('compression.lz4.level', 'int', '9', 'No effect: batches are kept as producers compressed them.'),
  define('compression.type', 'string', 'producer', 'Batches are kept as producers compressed them.', {
    only: ['producer', 'gzip', 'snappy', 'lz4', 'zstd', 'uncompressed'],
  }),
  define('compression.zstd.level', 'int', '3', 'No effect: batches are kept as producers compressed them.'),
  define('delete.retention.ms', 'long', '86400000', 'No effect: nothing is compacted yet.', { min: 0 }),
  define('file.delete.delay.ms', 'long', '60000', 'No effect: files go at once.', { min: 0 }),
  define('flush.messages', 'long', LONG_MAX, 'No effect: durability is a setting of the gateway.', {
    min: 1,
  }),
  define('flush.ms', 'long', LONG_MAX, 'No effect: durability is a setting of the gateway.', { min: 0 }),
  define('follower.replication.throttled.replicas', 'list', '', 'No effect: there is one broker.'),
  define('index.interval.bytes', 'int', '4096', 'No effect.', { min: 0 }),
  define('leader.replication.throttled.replicas', 'list', '', 'No effect: there is one broker.'),
  define('local.retention.bytes', 'long', '-2', 'No effect: there is no tiered storage.'),
  define('local.retention.ms', 'long', '-2', 'No effect: there is no tiered storage.'),
  define('max.compaction.lag.ms', 'long', LONG_MAX, 'No effect: nothing is compacted yet.', { min: 1 }),
  define('max.message.bytes', 'int', String(MESSAGE_BYTES_DEFAULT), 'Largest batch that is taken.', {
    min: 0,
  }),
  define('message.timestamp.after.max.ms', 'long', '3600000', 'No effect: any timestamp is taken.', {
    min: 0,
  }),
  define('message.timestamp.before.max.ms', 'long', LONG_MAX, 'No effect: any timestamp is taken.', {
    min: 0,
  }),
  define('message.timestamp.type', 'string', 'CreateTime', 'Timestamps are the producers’.', {
    only: ['CreateTime'],
  }),
  define('min.cleanable.dirty.ratio', 'double', '0.5', 'No effect: nothing is compacted yet.', { min: 0 }),
  define('min.compaction.lag.ms', 'long', '0', 'No effect: nothing is compacted yet.', { min: 0 }),
  define('min.insync.replicas', 'int', '1', 'There is one broker.', { min: 1 }),
  define('preallocate', 'boolean', 'false', 'No effect.'),
  define('remote.copy.disable', 'boolean', 'false', 'No effect: there is no tiered storage.'),
  define('remote.log.delete.on.disable', 'boolean', 'false', 'No effect: there is no tiered storage.'),
  define('remote.storage.enable', 'boolean', 'false', 'There is no tiered storage.', { only: ['false'] }),
  define('retention.bytes', 'long', '-1', 'Bytes that each partition keeps; -1 all.', { min: -1 }),
  define('retention.ms', 'long', '604800000', 'Milliseconds that records are kept; -1 for ever.', {
    min: -1,
  }),
  define('segment.bytes', 'int', '1073741824', 'Bytes after which a partition begins a new file.', {
    min: 14,
  }),
  define('segment.index.bytes', 'int', '10485760', 'No effect.', { min: 4 }),
  define('segment.jitter.ms', 'long', '0', 'No effect.', { min: 0 }),
  define('segment.ms', 'long', '604800000', 'No effect: files are cut by size.', { min: 1 }),
  define('unclean.leader.election.enable', 'boolean', 'false', 'No effect: there is one broker.'),
];

const BY_NAME: ReadonlyMap<string, SettingDefinition> = new Map(
  TOPIC_SETTINGS.map((each) => [each.name, each]),
);

/** Smaller files than this cost more than they are worth; a smaller wish is raised to it. */
const SEGMENT_BYTES_MIN = 64 * 1024;

/** A topic's settings: as given, and what they mean for the log. */
export interface TopicSettings {
  readonly given: Readonly<Record<string, string>>;
  readonly log: BatchLogOptions;
}

/** Throws KafkaError `INVALID_CONFIG`. A name that Kafka does not have is refused as well, as Kafka does. */
export function topicSettingsFrom(
  given: Readonly<Record<string, string | null>>,
  server: KafkaSettings,
): TopicSettings {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    const definition = BY_NAME.get(name);
    if (definition === undefined)
      throw new KafkaError('INVALID_CONFIG', `Unknown topic config name: ${name}`);
    if (value !== null) kept[name] = checkedValue(definition, value);
  }
  const compacted = (kept['cleanup.policy'] ?? 'delete') !== 'delete';
  const number = (name: string, otherwise: number): number =>
    kept[name] === undefined ? otherwise : Number(kept[name]);
  return {
    given: kept,
    log: {
      segmentBytes: Math.max(SEGMENT_BYTES_MIN, number('segment.bytes', server.segmentBytes)),
      // Without compaction, what a compacted topic promises to keep can only be kept by keeping everything.
      retentionBytes: compacted ? -1 : number('retention.bytes', server.retentionBytes),
      retentionMs: compacted ? -1 : number('retention.ms', server.retentionMs),
    },
  };
}

function checkedValue(definition: SettingDefinition, value: string): string {
  const { name, type, only, min } = definition;
  const refuse = (why: string): never => {
    throw new KafkaError('INVALID_CONFIG', `Invalid value ${value} for configuration ${name}: ${why}`);
  };
  if (value.length > 1_024) refuse('it is too long');
  if (only !== undefined && !only.includes(value))
    refuse(`this server takes ${only.join(', ')}. ${definition.text}`);
  if (type === 'boolean' && value !== 'true' && value !== 'false') refuse('it is true or false');
  if (type === 'int' || type === 'long' || type === 'double') {
    if (!(type === 'double' ? /^-?\d+(\.\d+)?$/ : /^-?\d{1,19}$/).test(value)) refuse('it is no number');
    if (min !== undefined && Number(value) < min) refuse(`it is at least ${min}`);
    if (type === 'int' && Math.abs(Number(value)) > 0x7fff_ffff) refuse('it is too large');
  }
  return value;
}

/** The value that a topic which gives none was made with. */
export function heldValue(definition: SettingDefinition, log: BatchLogOptions): string {
  if (definition.name === 'retention.ms') return String(log.retentionMs);
  if (definition.name === 'retention.bytes') return String(log.retentionBytes);
  if (definition.name === 'segment.bytes') return String(log.segmentBytes);
  return definition.initial;
}

/** The value that a new topic gets where it gives none. */
export function defaultOf(definition: SettingDefinition, server: KafkaSettings): string {
  if (definition.name === 'retention.ms') return String(server.retentionMs);
  if (definition.name === 'retention.bytes') return String(server.retentionBytes);
  if (definition.name === 'segment.bytes') return String(server.segmentBytes);
  return definition.initial;
}

export function messageBytesMaxOf(given: Readonly<Record<string, string>>): number {
  const value = given['max.message.bytes'];
  return value === undefined ? MESSAGE_BYTES_DEFAULT : Math.min(Number(value), MESSAGE_BYTES_MAX);
}

/** Topics that Kafka's own clients keep for themselves and tools hide. */
export function isInternalTopic(name: string): boolean {
  return name === '__consumer_offsets' || name === '__transaction_state';
}

/** What is asked of the list-valued settings by AlterConfigs' append and subtract. */
export function isListSetting(name: string): boolean {
  return BY_NAME.get(name)?.type === 'list';
}
