/**
 * The queue subscriptions of one connection: judges and joins them, keeps them with the session so that they are there
 * again when the client is, and ends them with the connection, so that others get what was not settled. A client's
 * second subscription to the same filter replaces the first. Called by the handlers of SUBSCRIBE and UNSUBSCRIBE and,
 * as a guest, by the outbound side. Rules: docs/queues.md.
 */

import { type QueueFilter, queueFilterFromFilter } from '../../../mappings/mqtt-queues.ts';
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
import type { Client } from '../state/client.ts';
import type { Guests, Outbound } from '../state/outbound.ts';
import { QueueFeed } from './feed.ts';

export interface QueueFeedsOptions {
  readonly core: Core;
  readonly client: Client;
  readonly session: Session;
  readonly outbound: Outbound;
  readonly limits: MqttLimits;
  readonly logger: Logger;
}

/** What is kept in the session's state, as JSON, under `q` and a number. */
interface FeedRecord {
  readonly filter: string;
  readonly qos: Reliability;
  readonly subscriptionId: number;
  /** Empty: none. */
  readonly group: string;
  readonly explicit: boolean;
}

interface Kept {
  readonly key: string;
  readonly record: FeedRecord;
  feed: QueueFeed | null;
}

const GROUP_PROPERTY = 'consumer-group';
const SETTLING_PROPERTY = 'ack';
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
    const { core, session, limits } = this.#options;
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
      feed = this.#join(record, found);
    } catch (error) {
      return refusalFrom(error);
    }
    before?.feed?.close();
    const key = before?.key ?? `${STATE_PREFIX}${this.#nextKey++}`;
    this.#kept.set(found.filter, { key, record, feed });
    session.putState(key, Buffer.from(JSON.stringify(record)));
    return null;
  }

  /** Returns whether there was such a subscription. */
  unsubscribe(text: string): boolean {
    const found = queueFilterFromFilter(text);
    const kept = typeof found === 'string' ? undefined : this.#kept.get(found.filter);
    if (kept === undefined) return false;
    kept.feed?.close();
    this.#forget(kept);
    return true;
  }

  opened(): void {
    for (const kept of this.#kept.values()) {
      const found = queueFilterFromFilter(kept.record.filter);
      if (typeof found === 'string') continue;
      try {
        kept.feed = this.#join(kept.record, found);
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
    for (const kept of this.#kept.values()) {
      kept.feed?.close();
      kept.feed = null;
    }
  }

  #forget(kept: Kept): void {
    this.#kept.delete(kept.record.filter);
    this.#options.session.removeState(kept.key);
  }

  #recordOf(entry: SubscribeEntry, packet: SubscribePacket, found: QueueFilter): FeedRecord {
    const { client } = this.#options;
    const textOf = (name: string): string =>
      packet.userProperties.find((property) => property.name === name)?.value ?? '';
    const named = textOf(GROUP_PROPERTY);
    const explicit =
      textOf(SETTLING_PROPERTY) === 'manual' || (named !== '' && textOf(SETTLING_PROPERTY) !== 'puback');
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

  #join(record: FeedRecord, found: QueueFilter): QueueFeed {
    const { core, client, outbound, limits } = this.#options;
    const { principal } = client;
    if (
      !core.access.may(principal, 'subscribe', record.filter) ||
      !core.access.may(principal, 'read', queueAddress(found.queue))
    ) {
      throw new MqttError(Reason.notAuthorized, 'not allowed');
    }
    const queue = this.#findQueue(found.queue);
    if (queue.spec.owner !== null)
      throw new MqttError(Reason.notAuthorized, 'the queue is of another connection');
    const group = record.group === '' ? null : queue.group(record.group, found.tokens);
    const feed = new QueueFeed({
      core,
      outbound,
      version: client.version,
      queue: found.queue,
      group: group?.id ?? '',
      qos: record.qos,
      explicit: record.explicit,
      unsettledMax: limits.queueUnsettledMax,
      subscriptionId: record.subscriptionId,
      principal,
    });
    const subscription =
      group === null
        ? queue.consume(feed, { settled: false, exclusive: false, priority: 0 })
        : group.consume(feed, { settled: false, priority: 0, timely: record.explicit });
    feed.begin(subscription);
    return feed;
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
