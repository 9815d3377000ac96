/**
 * `$share/<group>/<filter>`: SUBSCRIBE and UNSUBSCRIBE of a shared subscription, the same in every version of the
 * protocol. Rights are asked for the filter inside. What addresses remember is not sent to a shared subscription.
 * Asked by `reserved-roots.ts`. Source: MQTT 5.0 section 4.8.2.
 */

import { patternFromFilter } from '../../../mappings/mqtt.ts';
import { MqttError, protocolError, Reason } from '../errors.ts';
import type { ReservedRoot } from './reserved-roots.ts';
import { patternFor, refusalFrom } from './subscribe-plain.ts';

/** [MQTT-4.8.2-1], [MQTT-4.8.2-2]: a name of one character or more without wildcards, then a filter. */
const SHARED_FILTER = /^\$share\/([^/+#]+)\/(.+)$/s;
/** What cannot be shared, because it is no topic. */
const RESERVED_INSIDE = /^\$(share|queue|q|stream|s|delayed|dlq)(\/|$)/;

export const SHARED_ROOT: ReservedRoot = {
  subscribe(context, entry, packet) {
    const { client, session } = context;
    // [MQTT-3.8.3-4]
    if (entry.noLocal) throw protocolError('a shared subscription with No Local');
    const parts = SHARED_FILTER.exec(entry.filter);
    if (parts === null) {
      return new MqttError(
        Reason.topicFilterInvalid,
        'not $share/, a name without wildcards, / and a filter',
      );
    }
    if (RESERVED_INSIDE.test(parts[2] as string))
      return new MqttError(Reason.topicFilterInvalid, 'this root cannot be shared');
    const pattern = patternFor(context, parts[2] as string);
    if (pattern instanceof MqttError) return pattern;
    try {
      session.subscribe(pattern, {
        reliability: entry.qos,
        noLocal: false,
        keepRetain: entry.retainAsPublished || client.bridge,
        id: packet.subscriptionId,
        group: parts[1] as string,
      });
    } catch (error) {
      return refusalFrom(error);
    }
    return null;
  },

  unsubscribe({ session }, filter) {
    const parts = SHARED_FILTER.exec(filter);
    const pattern = parts === null ? null : patternFromFilter(parts[2] as string);
    if (parts === null || pattern === null) return Reason.topicFilterInvalid;
    return session.unsubscribe(pattern, parts[1] as string) ? Reason.success : Reason.noSubscriptionExisted;
  },
};
