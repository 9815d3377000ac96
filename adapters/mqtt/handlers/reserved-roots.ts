/**
 * Filters whose first level is reserved and means something else than a topic: each such root answers SUBSCRIBE and
 * UNSUBSCRIBE in its own way. `subscribe.ts` looks a filter's first level up here and treats what it does not find as
 * a plain filter (`$SYS/…` is one). A root holds nothing itself: what a connection subscribed to is kept by its session
 * or by its context. Source: MQTT 5.0 sections 4.7.2 and 4.8.2.
 */

import { REPLY_ROOT } from '../../../src/core/index.ts';
import type { SubscribeEntry, SubscribePacket } from '../codec/subscribe.ts';
import { MqttError, Reason, type ReasonCode } from '../errors.ts';
import type { SubscribeContext } from './subscribe.ts';
import { QUEUE_FILTERS, STREAM_FILTERS } from './subscribe-queue.ts';
import { SHARED_ROOT } from './subscribe-shared.ts';

export interface ReservedRoot {
  /**
   * One filter of a SUBSCRIBE; `packet` has its subscription identifier and user properties. Returns why not, or null
   * where the asked QoS is granted. Throws MqttError for what ends the connection. The SUBACK leaves when all is stored
   * that was changed here.
   */
  subscribe(context: SubscribeContext, entry: SubscribeEntry, packet: SubscribePacket): MqttError | null;
  /** One filter of an UNSUBSCRIBE: its code in UNSUBACK. */
  unsubscribe(context: SubscribeContext, filter: string): ReasonCode;
}

/** Refuses every filter: the root is not for subscribers. */
const CLOSED_ROOT: ReservedRoot = {
  subscribe: () => new MqttError(Reason.implementationSpecific, 'this root is reserved'),
  unsubscribe: () => Reason.noSubscriptionExisted,
};

const ROOTS: ReadonlyMap<string, ReservedRoot> = new Map([
  ['$share', SHARED_ROOT],
  ['$queue', QUEUE_FILTERS],
  ['$q', QUEUE_FILTERS],
  ['$dlq', QUEUE_FILTERS],
  ['$stream', STREAM_FILTERS],
  ['$s', STREAM_FILTERS],
  ['$delayed', CLOSED_ROOT],
  [REPLY_ROOT, CLOSED_ROOT],
]);

/** The root that answers for a filter; undefined for a plain one. */
export function reservedRootOf(filter: string): ReservedRoot | undefined {
  if (!filter.startsWith('$')) return undefined;
  const slash = filter.indexOf('/');
  return ROOTS.get(slash < 0 ? filter : filter.slice(0, slash));
}
