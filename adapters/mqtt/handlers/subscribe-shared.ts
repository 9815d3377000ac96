/**
 * `$share/<group>/<filter>`: SUBSCRIBE and UNSUBSCRIBE of a shared subscription, the same in every version of the
 * protocol. Asked by `reserved-roots.ts`. Source: MQTT 5.0 section 4.8.2.
 */

import { MqttError, protocolError, Reason } from '../errors.ts';
import type { ReservedRoot } from './reserved-roots.ts';

export const SHARED_ROOT: ReservedRoot = {
  subscribe(_context, entry) {
    // [MQTT-3.8.3-4]
    if (entry.noLocal) throw protocolError('a shared subscription with No Local');
    return new MqttError(Reason.sharedSubscriptionsNotSupported, 'shared subscriptions are not supported');
  },
  unsubscribe: () => Reason.noSubscriptionExisted,
};
