/**
 * A publish to `$queue/<queue>/$ack`, `$nack` or `$reject`: settles what its properties name, whoever holds it. Any
 * connection may that may read from the queue. Called by the handler of PUBLISH. Rules: docs/queues.md.
 */

import { type Settlement, settledFromProperties } from '../../../mappings/mqtt-queues.ts';
import { type Core, type Principal, queueAddress } from '../../../src/core/index.ts';
import { MqttError, Reason } from '../errors.ts';

/** `native`: the MQTT 5 properties of the publish. Returns why not, or null. */
export function settleDelivery(
  core: Core,
  principal: Principal,
  settlement: Settlement,
  native: Uint8Array | null,
): MqttError | null {
  const { queue: name, outcome } = settlement;
  if (native === null) {
    return new MqttError(
      Reason.implementationSpecific,
      'message-id and group-id are needed, as user properties',
    );
  }
  const settled = settledFromProperties(native, name);
  if (typeof settled === 'string') return new MqttError(Reason.implementationSpecific, settled);
  if (!core.access.may(principal, 'read', queueAddress(name))) {
    return new MqttError(Reason.notAuthorized, 'not allowed');
  }
  const { group, offset, note } = settled;
  const isSettled = core.queues.get(name)?.settle(group, offset, outcome, note) ?? false;
  return isSettled ? null : new MqttError(Reason.implementationSpecific, 'not pending');
}
