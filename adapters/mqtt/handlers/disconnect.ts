/** DISCONNECT of a client: whether its will is taken back and how long its session lives on. MQTT 5.0 section 3.14. */

import { readDisconnect } from '../codec/control.ts';
import type { ProtocolVersion, Reader } from '../codec/wire.ts';
import { protocolError, Reason } from '../errors.ts';
import type { MqttLimits } from '../settings.ts';
import { expiryMsFromSeconds } from './connect.ts';

export interface Farewell {
  /** `[MQTT-3.14.4-3]`: only a normal disconnection takes the will back. */
  readonly keepsWill: boolean;
  readonly sessionExpiryMs: number;
  readonly reason: number;
}

/** `sessionExpiryMs` is what was agreed until now. */
export function handleDisconnect(
  reader: Reader,
  version: ProtocolVersion,
  sessionExpiryMs: number,
  limits: MqttLimits,
): Farewell {
  const { reason, properties } = readDisconnect(reader, version);
  const asked = properties.sessionExpiryInterval;
  // MQTT 5.0 3.14.2.2.2: a session that was to end with its connection cannot be kept at the last moment.
  if (asked !== undefined && asked > 0 && sessionExpiryMs === 0) {
    throw protocolError('DISCONNECT gives a session expiry to a session that had none');
  }
  return {
    keepsWill: reason !== Reason.success,
    sessionExpiryMs:
      asked === undefined
        ? sessionExpiryMs
        : expiryMsFromSeconds(Math.min(asked, limits.sessionExpirySecondsMax)),
    reason,
  };
}
