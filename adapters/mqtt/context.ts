/** What all connections of the adapter share. Made once by `index.ts`; handlers and states get only what they name. */

import type { Core } from '../../src/core/index.ts';
import type { Authenticator, Logger } from '../../src/host.ts';
import type { PublishEncoder } from './codec/publish-encoder.ts';
import type { MqttSettings } from './settings.ts';
import type { ConnectRates } from './state/connect-rates.ts';
import type { Traffic } from './state/traffic.ts';
import type { Wills } from './state/wills.ts';
import type { SysTopics } from './sys/topics.ts';

/** A connection as another one sees it that comes with the same client identifier. */
export interface Displaceable {
  /** `[MQTT-3.1.4-3]`: tells the client that its session is taken over, and ends. Resolves when nothing is left. */
  displace(): Promise<void> | null;
}

export interface MqttContext {
  readonly core: Core;
  readonly logger: Logger;
  readonly authenticator: Authenticator;
  readonly settings: MqttSettings;
  /** Who this gateway is, for bridges of others: 32 hexadecimal digits. */
  readonly gatewayId: string;
  readonly encoder: PublishEncoder;
  readonly wills: Wills;
  readonly traffic: Traffic;
  readonly sys: SysTopics;
  readonly connectRates: ConnectRates;
  /** The gateway is about to stop. */
  isDraining(): boolean;
  /** By client identifier, from CONNECT on. */
  readonly clients: Map<string, Displaceable>;
}
