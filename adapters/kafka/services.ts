/**
 * What the handlers of requests may touch: the core, the settings and the state that all connections share; and what
 * they may know and do of the connection that a request came on. Put together by `index.ts`.
 */

import type { Clock, Core, Principal } from '../../src/core/index.ts';
import type { Authenticator, ConnectionOrigin, Host, Logger, SaslExchange } from '../../src/host.ts';
import type { KafkaSettings } from './settings.ts';
import type { FetchSession } from './state/fetch-session.ts';
import type { GroupCoordinator } from './state/group-coordinator.ts';
import type { Receipts } from './state/receipts.ts';
import type { Topics } from './state/topics.ts';

export const PLAIN_LISTENER = 'kafka';
export const TLS_LISTENER = 'kafka-tls';

export interface KafkaServices {
  readonly core: Core;
  readonly clock: Clock;
  readonly settings: KafkaSettings;
  readonly logger: Logger;
  readonly authenticator: Authenticator;
  readonly topics: Topics;
  readonly groups: GroupCoordinator;
  /** As clients see it: 22 characters. */
  readonly clusterId: string;
  /** Where a listener is bound, by its name; undefined where it is not open. */
  readonly listening: Host['listening'];
  /** Bytes of requests that are arriving or wait for earlier ones, over all connections. */
  unfinishedBytes: number;
}

export interface SaslRun {
  /** Null: PLAIN, which has but one token. */
  readonly exchange: SaslExchange | null;
  readonly hasBegun: boolean;
}

/** The connection, as a handler sees it. */
export interface Client {
  readonly origin: ConnectionOrigin;
  /** Where the client dialled to. */
  readonly localAddress: string;
  readonly localPort: number;
  readonly principal: Principal;
  readonly isAuthenticated: boolean;
  /** The connection has ended: nobody needs an answer. */
  readonly isGone: boolean;
  /** The gateway stops: nothing is taken any more. */
  readonly isLeaving: boolean;
  /** What a handshake agreed on and is not done yet. */
  sasl: SaslRun | null;
  authenticated(principal: Principal): void;
  /** Its credentials were refused: the connection ends when it has been told. */
  rejected(): void;
  /** The software that ApiVersions told of. */
  software: string;
  /** At most one for each connection, so that their number is bounded. */
  fetchSession: FetchSession | null;
  /** Tells who waits for the disk. */
  readonly receipts: Receipts;
  /** `task` runs when the connection ends, unless it was taken back by what this returns. */
  onClosed(task: () => void): () => void;
}
