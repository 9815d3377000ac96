/**
 * Streams of the core in Kafka's words. For the HTTP API, which makes and changes streams that Kafka's tools look at: a
 * topic's name, the address that it stands for, and the settings that say how its log is kept.
 */

import { type BatchLogOptions, CoreError, Pattern, type StreamSpec } from '../src/core/index.ts';
import { addressFromKafka, isDigestName, isTopicName, TOPIC_NAME_CHARS_MAX } from './kafka-topics.ts';

/** What a new stream of this name captures: the address that it stands for. Throws CoreError `invalid-name`. */
export function capturesOfStream(name: string): readonly Pattern[] {
  if (!isTopicName(name)) {
    throw new CoreError(
      'invalid-name',
      `a stream’s name has 1 to ${TOPIC_NAME_CHARS_MAX} letters, digits, dots, _ and -`,
    );
  }
  if (isDigestName(name)) {
    throw new CoreError('invalid-name', 'the address of a shortened name is not known from it');
  }
  const address = addressFromKafka(name);
  if (address.startsWith('$')) throw new CoreError('invalid-name', `${address} belongs to the gateway`);
  if (address.includes('\0')) throw new CoreError('invalid-name', 'an address has no NUL character');
  return [Pattern.of(address)];
}

/** The settings with what the log says in place of what they said of it; what was not said stays unsaid. */
export function settingsOfStream(
  settings: StreamSpec['settings'],
  log: BatchLogOptions,
): StreamSpec['settings'] {
  const values: Readonly<Record<string, number>> = {
    'retention.ms': log.retentionMs,
    'retention.bytes': log.retentionBytes,
    'segment.bytes': log.segmentBytes,
  };
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [name, String(values[name] ?? value)]),
  );
}
