/**
 * The subscriptions of one connection to queues and streams: judges and joins them, keeps them with the session so that they are there
 * again when the client is, and ends them with the connection, so that others get what was not settled. A client's
 * second subscription to the same filter replaces the first. Called by the handlers of SUBSCRIBE and UNSUBSCRIBE and,
 * as a guest, by the outbound side. Rules: docs/queues.md.
 */

import {
  isQueueTopic,
  type QueueFilter,
  queueFilterFromFilter,
  type StreamFilter,
  streamFilterFromFilter,
  streamStartFromText,
} from '../../../mappings/mqtt-queues.ts';
import {
  type Core,
  CoreError,
  MANY,
  type Queue,
  queueAddress,
  type Reliability,
  type Session,
} from '../../../src/core/index.ts';
import type { Logger } from '../../../src/host.ts';
import type { SubscribeEntry, SubscribePacket } from '../codec/subscribe.ts';
import { MqttError, protocolError, REASON_BY_CORE_ERROR, Reason } from '../errors.ts';
import type { MqttLimits } from '../settings.ts';
import type { Client, ConnectionEvents } from '../state/client.ts';
import type { Guests, Outbound } from '../state/outbound.ts';
import { QueueFeed } from './feed.ts';
import { StreamFeed } from './stream-feed.ts';

export interface QueueFeedsOptions {
  readonly core: Core;
  readonly client: Client;
  readonly session: Session;
  readonly outbound: Outbound;
  readonly limits: MqttLimits;
  readonly logger: Logger;
  readonly events: ConnectionEvents;
}

/** What is kept in the session's state, as JSON, under `q` and a number. */
interface FeedRecord {
  readonly filter: string;
  readonly qos: Reliability;
  readonly subscriptionId: number;
  /** Empty: none. */
  readonly group: string;
  readonly explicit: boolean;
  /** Of a stream: by partition, where to go on. */
  readonly positions?: readonly number[];
}

interface Kept {
  readonly key: string;
  readonly record: FeedRecord;
  feed: QueueFeed | StreamFeed | null;
}

const GROUP_PROPERTY = 'consumer-group';
const SETTLING_PROPERTY = 'ack';
const OFFSET_PROPERTY = 'offset';
const STATE_PREFIX = 'q';

export class QueueFeeds implements Guests {
  readonly #options: QueueFeedsOptions;
  /** By filter. */
  readonly #kept = new Map<string, Kept>();
  #nextKey = 1;

  constructor(options: QueueFeedsOptions) {
    this.#options = options;
    for (const [key, value] of options.session.state) {
      if (!key.startsWith(STATE_PREFIX)) continue;
      const record = JSON.parse(Buffer.from(value).toString('utf8')) as FeedRecord;
      this.#kept.set(record.filter, { key, record, feed: null });
      this.#nextKey = Math.max(this.#nextKey, Number(key.slice(STATE_PREFIX.length)) + 1);
    }
    options.outbound.receive(this);
  }

  get heldCount(): number {
    let count = 0;
    for (const { feed } of this.#kept.values()) if (feed instanceof QueueFeed) count += feed.heldCount;
    return count;
  }

  /** Those that an earlier connection left in the session; null for the many that never had one. */
  static resumed(options: QueueFeedsOptions): QueueFeeds | null {
    for (const key of options.session.state.keys()) {
      if (key.startsWith(STATE_PREFIX)) return new QueueFeeds(options);
    }
    return null;
  }

  /** Returns why not, or null. */
  subscribe(entry: SubscribeEntry, packet: SubscribePacket): MqttError | null {
    // A queue is shared by nature. [MQTT-3.8.3-4]
    if (entry.noLocal) throw protocolError('a queue subscription with No Local');
    const found = queueFilterFromFilter(entry.filter);
    if (typeof found === 'string') return new MqttError(Reason.topicFilterInvalid, found);
    const { core, limits } = this.#options;
    if (found.tokens.length + 2 > limits.topicLevelsMax) {
      return new MqttError(Reason.topicFilterInvalid, `more than ${limits.topicLevelsMax} levels`);
    }
    const record = this.#recordOf(entry, packet, found);
    if (record.qos === 0 && !record.explicit) {
      return new MqttError(
        Reason.implementationSpecific,
        'QoS 0 has no acknowledgement that settles a message',
      );
    }
    const before = this.#kept.get(found.filter);
    if (before === undefined && this.#kept.size >= core.limits.subscriptionsPerSessionMax) {
      return new MqttError(Reason.quotaExceeded, `${this.#kept.size} queue subscriptions already`);
    }
    let feed: QueueFeed;
    try {
      this.#checkRights(record, found);
      // Many clients subscribe again whenever they connect: what they have of it stays theirs.
      if (before?.feed instanceof QueueFeed && before.feed.isOpen && isSame(before.record, record))
        return null;
      feed = this.#join(record, found);
    } catch (error) {
      return refusalFrom(error);
    }
    this.#keep(record, feed, before);
    return null;
  }

  /** Returns why not, or null. */
  subscribeStream(entry: SubscribeEntry, packet: SubscribePacket): MqttError | null {
    const found = streamFilterFromFilter(entry.filter);
    if (typeof found === 'string') return new MqttError(Reason.topicFilterInvalid, found);
    const { core } = this.#options;
    const start = streamStartFromText(textOf(packet, OFFSET_PROPERTY));
    if (start === null) {
      return new MqttError(Reason.implementationSpecific, 'offset is earliest, latest, a number or ts=<ms>');
    }
    const before = this.#kept.get(found.filter);
    if (before === undefined && this.#kept.size >= core.limits.subscriptionsPerSessionMax) {
      return new MqttError(Reason.quotaExceeded, `${this.#kept.size} subscriptions of this kind already`);
    }
    const record: FeedRecord = {
      filter: found.filter,
      qos: entry.qos,
      subscriptionId: packet.subscriptionId,
      group: '',
      explicit: false,
      positions: [],
    };
    let feed: StreamFeed;
    try {
      feed = this.#joinStream(record, found);
    } catch (error) {
      return refusalFrom(error);
    }
    this.#keep(record, feed, before);
    // A place that is known at once is kept at once: what comes after the answer is not missed by the session.
    void feed.begin(start, []).then(() => this.#savePositions(found.filter));
    return null;
  }

  #keep(record: FeedRecord, feed: QueueFeed | StreamFeed, before: Kept | undefined): void {
    before?.feed?.close();
    const key = before?.key ?? `${STATE_PREFIX}${this.#nextKey++}`;
    this.#kept.set(record.filter, { key, record, feed });
    this.#options.session.putState(key, Buffer.from(JSON.stringify(record)));
  }

  #savePositions(filter: string): void {
    const kept = this.#kept.get(filter);
    if (kept === undefined || !(kept.feed instanceof StreamFeed)) return;
    const { positions } = kept.feed;
    if (positions.length === 0) return;
    const record = { ...kept.record, positions };
    this.#kept.set(filter, { ...kept, record });
    this.#options.session.putState(kept.key, Buffer.from(JSON.stringify(record)));
  }

  /** Returns whether there was such a subscription. */
  unsubscribe(text: string): boolean {
    const found = isQueueTopic(text) ? queueFilterFromFilter(text) : streamFilterFromFilter(text);
    const kept = typeof found === 'string' ? undefined : this.#kept.get(found.filter);
    if (kept === undefined) return false;
    kept.feed?.close();
    this.#forget(kept);
    return true;
  }

  opened(): void {
    for (const kept of this.#kept.values()) {
      try {
        kept.feed = this.#resume(kept.record);
      } catch (error) {
        const { message } = refusalFrom(error);
        const { filter } = kept.record;
        this.#options.logger.warn({ filter, error: message }, 'a queue subscription could not be resumed');
        this.#forget(kept);
      }
    }
  }

  roomed(): void {
    for (const { feed } of this.#kept.values()) feed?.sendParked();
  }

  closed(): void {
    for (const kept of [...this.#kept.values()]) this.#savePositions(kept.record.filter);
    for (const kept of this.#kept.values()) {
      kept.feed?.close();
      kept.feed = null;
    }
  }

  #resume(record: FeedRecord): QueueFeed | StreamFeed | null {
    if (record.positions === undefined) {
      const found = queueFilterFromFilter(record.filter);
      if (typeof found === 'string') return null;
      this.#checkRights(record, found);
      return this.#join(record, found);
    }
    const found = streamFilterFromFilter(record.filter);
    if (typeof found === 'string') return null;
    const feed = this.#joinStream(record, found);
    void feed.begin('latest', record.positions);
    return feed;
  }

  #forget(kept: Kept): void {
    this.#kept.delete(kept.record.filter);
    this.#options.session.removeState(kept.key);
  }

  #recordOf(entry: SubscribeEntry, packet: SubscribePacket, found: QueueFilter): FeedRecord {
    const { client } = this.#options;
    const named = textOf(packet, GROUP_PROPERTY);
    const explicit =
      textOf(packet, SETTLING_PROPERTY) === 'manual' ||
      (named !== '' && textOf(packet, SETTLING_PROPERTY) !== 'puback');
    // Who names no group and wants everything is one of those who consume the queue under its own name.
    const needsGroup =
      explicit || client.version !== 5 || found.tokens.length > 1 || found.tokens[0] !== MANY;
    return {
      filter: found.filter,
      qos: entry.qos,
      subscriptionId: packet.subscriptionId,
      group: named !== '' || !needsGroup ? named : groupFromClientId(client.clientId),
      explicit,
    };
  }

  #checkRights(record: FeedRecord, found: QueueFilter): void {
    const { core, client } = this.#options;
    const { principal } = client;
    if (
      !core.access.may(principal, 'subscribe', record.filter) ||
      !core.access.may(principal, 'read', queueAddress(found.queue))
    ) {
      throw new MqttError(Reason.notAuthorized, 'not allowed');
    }
  }

  #join(record: FeedRecord, found: QueueFilter): QueueFeed {
    const { core, client, outbound, limits } = this.#options;
    const queue = this.#findQueue(found.queue);
    if (queue.spec.owner !== null)
      throw new MqttError(Reason.notAuthorized, 'the queue is of another connection');
    const group = record.group === '' ? null : queue.group(record.group, found.tokens);
    const feed = new QueueFeed({
      core,
      outbound,
      client,
      queue: found.queue,
      group: group?.id ?? '',
      qos: record.qos,
      explicit: record.explicit,
      unsettledMax: limits.queueUnsettledMax,
      subscriptionId: record.subscriptionId,
      holdsLess: () => this.#options.events.holdsLess(),
      gone: () => this.#end(`queue '${found.queue}', or the group in it, was deleted`),
    });
    const subscription =
      group === null
        ? queue.consume(feed, { settled: false, exclusive: false, priority: 0 })
        : group.consume(feed, { settled: false, priority: 0, timely: record.explicit });
    feed.begin(subscription);
    return feed;
  }

  #joinStream(record: FeedRecord, found: StreamFilter): StreamFeed {
    const { core, client, outbound } = this.#options;
    if (!core.access.may(client.principal, 'subscribe', record.filter)) {
      throw new MqttError(Reason.notAuthorized, 'not allowed');
    }
    const stream = core.streams.get(found.stream);
    if (stream === undefined) {
      throw new MqttError(Reason.implementationSpecific, `there is no stream '${found.stream}'`);
    }
    return new StreamFeed({
      core,
      outbound,
      client,
      stream,
      pattern: found.pattern,
      qos: record.qos,
      subscriptionId: record.subscriptionId,
      failed: (error) => this.#end(`stream '${found.stream}' cannot be read on: ${messageOf(error)}`),
    });
  }

  /** A client cannot be told that one of its subscriptions is over; it subscribes again with its next connection. */
  #end(text: string): void {
    if (this.#options.events.isOpen())
      this.#options.events.fail(new MqttError(Reason.administrativeAction, text));
  }

  #findQueue(name: string): Queue {
    const { core, client } = this.#options;
    const queue = core.queues.get(name);
    if (queue !== undefined) return queue;
    if (!core.access.may(client.principal, 'configure', queueAddress(name))) {
      throw new MqttError(Reason.notAuthorized, `there is no queue '${name}', and it may not be made`);
    }
    return core.queues.provide(name);
  }
}

function isSame(one: FeedRecord, other: FeedRecord): boolean {
  return (
    one.qos === other.qos &&
    one.subscriptionId === other.subscriptionId &&
    one.group === other.group &&
    one.explicit === other.explicit
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function textOf({ userProperties }: SubscribePacket, name: string): string {
  return userProperties.find((property) => property.name === name)?.value ?? '';
}

/** What stands before the first `-` of the client identifier: `worker-1` and `worker-2` share the work. */
function groupFromClientId(clientId: string): string {
  const dash = clientId.indexOf('-');
  const prefix = (dash <= 0 ? clientId : clientId.slice(0, dash)).replaceAll('@', '_');
  return prefix.slice(0, 512);
}

function refusalFrom(error: unknown): MqttError {
  if (error instanceof MqttError) return error;
  if (!(error instanceof CoreError)) throw error;
  const reason = error.code === 'invalid-name' ? Reason.topicFilterInvalid : REASON_BY_CORE_ERROR[error.code];
  return new MqttError(reason, error.message);
}
