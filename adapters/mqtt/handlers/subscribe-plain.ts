/**
 * A plain filter of SUBSCRIBE and UNSUBSCRIBE: a subscription of the session, and what addresses remember for it. What
 * other roots need to judge the filter inside theirs is here too. Called by `subscribe.ts`. Source: MQTT 5.0
 * sections 3.8.4 and 3.10.4.
 */

import { explainInvalidFilter, patternFromFilter } from '../../../mappings/mqtt.ts';
import {
  CoreError,
  type DeliveryOptions,
  type Pattern,
  type SubscriptionOptions,
} from '../../../src/core/index.ts';
import type { SubscribeEntry } from '../codec/subscribe.ts';
import { MqttError, REASON_BY_CORE_ERROR, Reason, type ReasonCode } from '../errors.ts';
import type { SubscribeContext } from './subscribe.ts';

export interface Replayed {
  readonly pattern: Pattern;
  readonly options: DeliveryOptions;
}

/** Returns why not, or null. What is to be replayed once the answer has left goes into `replayed`. */
export function subscribePlain(
  context: SubscribeContext,
  entry: SubscribeEntry,
  id: number,
  replayed: Replayed[],
): MqttError | null {
  const { client, session } = context;
  const { filter } = entry;
  const pattern = patternFor(context, filter);
  if (pattern instanceof MqttError) return pattern;
  const options: SubscriptionOptions = {
    reliability: entry.qos,
    noLocal: entry.noLocal || client.bridge,
    keepRetain: entry.retainAsPublished || client.bridge,
    id,
  };
  let isNew: boolean;
  try {
    isNew = session.subscribe(pattern, options);
  } catch (error) {
    return refusalFrom(error);
  }
  // [MQTT-3.3.1-9] to [MQTT-3.3.1-11]
  if (entry.retainHandling === 0 || (entry.retainHandling === 1 && isNew)) {
    replayed.push({
      pattern,
      options: {
        reliability: entry.qos,
        subscriptionIds: id === 0 ? [] : [id],
        retained: true,
        keepRetain: options.keepRetain,
        via: null,
      },
    });
  }
  return null;
}

export function unsubscribePlain({ session, replay }: SubscribeContext, filter: string): ReasonCode {
  const pattern = patternFromFilter(filter);
  if (pattern === null) return Reason.topicFilterInvalid;
  replay.remove(pattern);
  return session.unsubscribe(pattern) ? Reason.success : Reason.noSubscriptionExisted;
}

/** What a filter stands for, or why the client may not have it. */
export function patternFor({ core, client, limits }: SubscribeContext, filter: string): Pattern | MqttError {
  const pattern = patternFromFilter(filter);
  if (pattern === null)
    return new MqttError(Reason.topicFilterInvalid, explainInvalidFilter(filter) ?? 'not a topic filter');
  if (pattern.tokens.length > limits.topicLevelsMax)
    return new MqttError(Reason.topicFilterInvalid, `more than ${limits.topicLevelsMax} levels`);
  if (!core.access.may(client.principal, 'subscribe', filter))
    return new MqttError(Reason.notAuthorized, 'not allowed');
  return pattern;
}

/** Table 3-8: what the core calls a name is a filter here. */
export function refusalFrom(error: unknown): MqttError {
  if (!(error instanceof CoreError)) throw error;
  const reason = error.code === 'invalid-name' ? Reason.topicFilterInvalid : REASON_BY_CORE_ERROR[error.code];
  return new MqttError(reason, error.message);
}
