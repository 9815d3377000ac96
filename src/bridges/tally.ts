/** What became of messages of one bridge since the start, as `BridgeCounters` tells it; written by its pumps. */

import type { BridgeDropReason } from './index.ts';

export interface Tally {
  /** Of a bridge that leads in; what leads out is counted by its outlet. */
  taken: number;
  done: number;
  doneBytes: number;
  repeated: number;
  deadLettered: number;
  refused: number;
  readonly dropped: Record<BridgeDropReason, number>;
}

export function newTally(): Tally {
  const dropped = { overflow: 0, expired: 0, loop: 0, unmapped: 0, mapping: 0, lost: 0 };
  return { taken: 0, done: 0, doneBytes: 0, repeated: 0, deadLettered: 0, refused: 0, dropped };
}
