/**
 * Whether the output of one connection leaves now or waits a millisecond for more. A client that only listens and is
 * sent a few messages at a time, thousands of times a second, pays for each time with a segment, a wake-up and a read.
 * It falls behind, its receive buffer fills with segments that are mostly overhead, and its kernel then offers a window
 * smaller than one segment of the loopback interface: from there on the sender's kernel gets one through in each 200 ms.
 *
 * So once such a client is written to in many turns of one millisecond its output is gathered, for as long as there
 * is as much to gather. Whoever sends something meanwhile may be waiting for the answer and is never kept waiting. Where
 * little more comes in a wait, the client may be waiting for this very message before it asks, on another connection,
 * for the next: after some such waits in a row four times as many messages as before leave at once.
 *
 * One for each connection, asked by `buffered-transport.ts` at the end of each turn with output, and where output leaves
 * in the middle of a chunk: both count as a turn here.
 */

import type { Clock } from '../core/index.ts';
import type { BufferedTransport } from './buffered-transport.ts';
import type { TurnOutput } from './turn-output.ts';

/** Turns of one millisecond with output before it is gathered: fewer are no flood, and each message is worth its time. */
const TURNS_MIN = 12;
/** Turns with output while it was gathered, for which it is gathered again at once. */
const TURNS_BUSY_MIN = 6;
/** Turns with output since the client last sent something, or was kept waiting for nothing too often. */
const TURNS_UNANSWERED_MIN = 16;
const TURNS_UNANSWERED_MAX = 4_096;
const VAIN_WAITS_MAX = 4;
/** As much is worth a write of its own. */
const GATHERED_BYTES_MAX = 16_384;

export class WriteGathering {
  #turnsUnanswered = 0;
  #turnsUnansweredMin = TURNS_UNANSWERED_MIN;
  /** Turns with output in the millisecond `#sinceMs`, or since the output waits. */
  #turns = 0;
  #sinceMs = 0;
  #isBusy = false;
  /** In a row. */
  #vainWaits = 0;
  #isWaiting = false;

  /** The client sent something. */
  peerSpoke(): void {
    this.#turnsUnanswered = 0;
    this.#isBusy = false;
  }

  /** The turn is over and `pendingBytes` are to be sent. True: not yet, `gathered` of the transport is called for it. */
  waits(pendingBytes: number, clock: Clock, output: TurnOutput, transport: BufferedTransport): boolean {
    if (this.#turnsUnanswered < this.#turnsUnansweredMin) {
      this.#turnsUnanswered++;
      return false;
    }
    this.#turns++;
    if (pendingBytes >= GATHERED_BYTES_MAX) return false;
    if (this.#isWaiting) return true;
    if (!this.#isBusy) {
      const nowMs = clock.nowMs();
      if (nowMs !== this.#sinceMs) {
        this.#sinceMs = nowMs;
        this.#turns = 1;
      }
      if (this.#turns < TURNS_MIN) return false;
    }
    this.#isWaiting = true;
    this.#turns = 1;
    output.gather(transport);
    return true;
  }

  /** The wait is over. */
  over(): void {
    this.#isWaiting = false;
    this.#isBusy = this.#turns >= TURNS_BUSY_MIN;
    if (this.#isBusy) {
      this.#vainWaits = 0;
      this.#turnsUnansweredMin = TURNS_UNANSWERED_MIN;
    } else if (++this.#vainWaits === VAIN_WAITS_MAX) {
      this.#vainWaits = 0;
      this.#turnsUnanswered = 0;
      this.#turnsUnansweredMin = Math.min(4 * this.#turnsUnansweredMin, TURNS_UNANSWERED_MAX);
    }
  }
}
