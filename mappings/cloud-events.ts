/**
 * CloudEvents in binary mode: the same event under the names that each protocol's binding of the specification asks
 * for. The core holds an event's attributes under AMQP's names, `cloudEvents:` and the attribute; MQTT has them bare,
 * Kafka with `ce_`. An event is what has the attribute `specversion`. W3C's `traceparent` and `tracestate` have one
 * name everywhere. Called by the mappings of MQTT and Kafka with names and values of any form; pure. Source:
 * CloudEvents 1.0.2, bindings for AMQP (3.1), MQTT (3.1), Kafka (3.2).
 *
 * In MQTT every bare name of lower-case letters and digits is an attribute of the event. Other headers that have such
 * a name are `x-gw-plain-` and the name while they are in MQTT.
 */

import type { Header } from '../src/core/index.ts';

const PREFIX = 'cloudEvents:';
/** AMQP's binding allows both. */
const OTHER_PREFIX = 'cloudEvents_';
const VERSION = 'specversion';
const KAFKA_PREFIX = 'ce_';
export const PLAIN_PREFIX = 'x-gw-plain-';
const ATTRIBUTE = /^[a-z0-9]+$/;
/** Bare names that mean the same with and without an event. */
const SHARED_NAMES: ReadonlySet<string> = new Set(['traceparent', 'tracestate', 'priority']);

interface Named {
  readonly name: string;
}

function holds(list: readonly Named[], name: string): boolean {
  for (const each of list) if (each.name === name) return true;
  return false;
}

/** The same list where it is no event. Attributes get the core's prefix where they have AMQP's other one. */
export function eventHeaders(headers: readonly Header[]): readonly Header[] | null {
  if (holds(headers, PREFIX + VERSION)) return headers;
  if (!holds(headers, OTHER_PREFIX + VERSION)) return null;
  return headers.map((header) =>
    header.name.startsWith(OTHER_PREFIX)
      ? { ...header, name: PREFIX + header.name.slice(OTHER_PREFIX.length) }
      : header,
  );
}

function isAttributeName(name: string): boolean {
  return ATTRIBUTE.test(name) && !SHARED_NAMES.has(name);
}

/** An event's headers as MQTT's user properties are named. */
export function bareEventNames<Each extends Named>(list: readonly Each[]): Each[] {
  return list.map((each) => {
    const { name } = each;
    if (name.startsWith(PREFIX)) {
      const attribute = name.slice(PREFIX.length);
      return isAttributeName(attribute) ? { ...each, name: attribute } : each;
    }
    return isAttributeName(name) ? { ...each, name: PLAIN_PREFIX + name } : each;
  });
}

/** Undoes `bareEventNames`; the list itself where it holds no event. */
export function eventFromBareNames<Each extends Named>(list: readonly Each[]): readonly Each[] {
  if (!holds(list, VERSION)) return list;
  return list.map((each) => {
    const { name } = each;
    if (name.startsWith(PLAIN_PREFIX)) return { ...each, name: name.slice(PLAIN_PREFIX.length) };
    return isAttributeName(name) ? { ...each, name: PREFIX + name } : each;
  });
}

/** An event's headers as record headers are named. */
export function kafkaEventNames<Each extends Named>(list: readonly Each[]): Each[] {
  return list.map((each) =>
    each.name.startsWith(PREFIX) ? { ...each, name: KAFKA_PREFIX + each.name.slice(PREFIX.length) } : each,
  );
}

/** Undoes `kafkaEventNames`; the list itself where it holds no event. */
export function eventFromKafkaNames<Each extends Named>(list: readonly Each[]): readonly Each[] {
  if (!holds(list, KAFKA_PREFIX + VERSION)) return list;
  return list.map((each) =>
    each.name.startsWith(KAFKA_PREFIX)
      ? { ...each, name: PREFIX + each.name.slice(KAFKA_PREFIX.length) }
      : each,
  );
}
