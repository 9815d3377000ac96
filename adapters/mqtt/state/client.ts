/**
 * What CONNECT and its answer settled about one client, read by everything that serves the connection; and how the parts of a connection speak to it.
 */

import type { Principal, PublisherInfo } from '../../../src/core/index.ts';
import type { ProtocolVersion } from '../codec/wire.ts';

/** Implemented by the connection: one object, no closure for each of its parts. */
export interface ConnectionEvents extends PublisherInfo {
  /** Late answers are written only to a connection that is open. */
  isOpen(): boolean;
  /** Ends the connection with this error. */
  fail(error: Error): void;
  /** The client publishes too fast: what it sends is looked at again after so many milliseconds. */
  rest(waitMs: number): void;
  /** What the client holds of a queue may be less than before. */
  holdsLess(): void;
  /** Somebody took or deleted its session. */
  sessionGone(reason: 'deleted' | 'expired' | 'displaced'): void;
}

export interface Client {
  readonly version: ProtocolVersion;
  readonly clientId: string;
  readonly user: string;
  /** Another one of the same user after a re-authentication. */
  principal: Principal;
  /** The authentication method that CONNECT named; null for none. */
  readonly method: string | null;
  readonly keepAliveSeconds: number;
  /** A bridge of another server, before version 5: hears no echo and sees retain flags as published. */
  readonly bridge: boolean;
  /** What the client takes at most; Infinity where it set no bound. */
  readonly packetBytesMax: number;
  /** Unacknowledged messages to the client at most. */
  readonly inflightMax: number;
  /** Aliases that may be used towards the client. */
  readonly topicAliasMaximumOut: number;
  /** The client wants reason strings on other packets than CONNACK and DISCONNECT. `[MQTT-3.1.2-29]` */
  readonly wantsProblemInformation: boolean;
}
