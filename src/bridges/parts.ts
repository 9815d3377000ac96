/** What bridges are given by `src/gateway.ts`, and what of it each of them gets. */

import type { BridgeMapping, Clock, Core } from '../core/index.ts';
import type { Storage } from '../core/storage.ts';
import type { Logger } from '../host.ts';
import type { BridgeDirection, BridgeDriver } from '../outside.ts';

/** A protocol's client of outside brokers, loaded when a connection of its type is defined. */
export interface DriverPart {
  readonly type: string;
  load(): Promise<BridgeDriver>;
}

export interface BridgesParts {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 32 hexadecimal digits, random and stable. */
  readonly gatewayId: string;
  readonly drivers: readonly DriverPart[];
  /** Throws CoreError `invalid-argument` with a pointer into the mapping as `field`. */
  compileMapping(definition: unknown, direction: BridgeDirection, bridge: string): BridgeMapping;
  /** As the configuration defines them, by name. */
  readonly configured: {
    readonly connections: Readonly<Record<string, unknown>>;
    readonly bridges: Readonly<Record<string, unknown>>;
  };
  readonly limits: { readonly bridgesMax: number; readonly outsideConnectionsMax: number };
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** From 0 to 1. */
  random(): number;
  newId(): string;
}

/** What every bridge has of it, and the core. */
export interface BridgeSurroundings
  extends Pick<BridgesParts, 'clock' | 'logger' | 'gatewayId' | 'environment' | 'random' | 'newId'> {
  readonly core: Core;
  /** Which connection a bridge uses now; undefined where there is no such bridge. */
  connectionOf(bridge: string): string | undefined;
}
