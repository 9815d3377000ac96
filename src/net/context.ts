/**
 * What every connection shares, so that none carries it: the clock, the pool, the lists of the turn and the way to
 * the log. One object for the process, made by `network.ts`.
 */

import type { CloseReason, Logger } from '../host.ts';
import type { BufferedTransport } from './buffered-transport.ts';
import type { NetworkSettings } from './settings.ts';
import type { SlabPool } from './slab-pool.ts';
import type { TurnClock, TurnOutput } from './turn-output.ts';

export interface NetContext {
  readonly clock: TurnClock;
  readonly output: TurnOutput;
  readonly pool: SlabPool;
  readonly settings: NetworkSettings;
  readonly logger: Logger;
  nextId(): number;
  add(transport: BufferedTransport): void;
  remove(transport: BufferedTransport): void;
  /** A connection was turned away before it became one. */
  countRefused(listener: string): void;
  logClose(transport: BufferedTransport, reason: CloseReason, detail: string | undefined): void;
  /** Fields that name a connection in the log. */
  describe(transport: BufferedTransport): object;
}
