/**
 * What happens to connections when a turn of the event loop is over: everything that was written leaves, one write for
 * each connection, and those that ended are told so. One list each, however many connections there are; owned by
 * `network.ts`, filled by `buffered-transport.ts`.
 *
 * While turns bring one chunk each, nothing else will be written that could share a write, so output leaves as soon as
 * the chunk is dealt with and not only when the turn is over: a message on a quiet gateway waits for less. The first
 * turn with several chunks goes back to one write a turn, but for those whose output is worth a write of its
 * own by then: who reads it has something to do while the next chunks are dealt with. So has who gets what the first
 * half of a chunk caused, but only where its own connection is answered, and for a few writes in a turn. Where all this
 * makes too many small writes for a client that only listens, its output waits a millisecond for more
 * (`write-gathering.ts`).
 */

import type { Clock } from '../core/index.ts';
import type { BufferedTransport } from './buffered-transport.ts';

const GATHER_MS = 1;
/** Writes of one turn in the middle of a chunk. */
const EARLY_WRITES_MAX = 4;

/** The host's clock, which also knows when a turn has nothing left to do but send. */
export interface TurnClock extends Clock {
  lastInTurn(task: () => void): void;
}

export class TurnOutput {
  readonly #clock: TurnClock;
  #dirty: BufferedTransport[] = [];
  #spare: BufferedTransport[] = [];
  #ended: BufferedTransport[] = [];
  #gathering: BufferedTransport[] = [];
  /** Those that may have much to send when the chunk is dealt with. */
  #growing: BufferedTransport[] = [];
  #spareGrowing: BufferedTransport[] = [];
  /** Chunks that this turn has brought so far, and whether the one before brought at most one. */
  #chunks = 0;
  #isCalm = false;
  #earlyWrites = 0;
  #isFlushing = false;

  constructor(clock: TurnClock) {
    this.#clock = clock;
  }

  /** `transport` has something to send and was not in the list. */
  add(transport: BufferedTransport): void {
    if (this.#dirty.push(transport) === 1) this.#clock.lastInTurn(this.#flush);
  }

  /** A chunk of input was dealt with. */
  chunkDone(): void {
    if (++this.#chunks === 1) {
      this.#clock.lastInTurn(this.#turnOver);
      if (this.#isCalm) this.#flush();
    }
    if (this.#growing.length > 0) this.#flushLarge();
  }

  /**
   * What there is to send leaves in the middle of a chunk. Clients that have a bounded number of messages under way, and
   * the gateway, would otherwise wait for each other by turns: all that they may send comes in one chunk, and all answers
   * leave in one write. For many connections it would cost more than it gives, and so it would for a client whose own
   * answers have to wait, as for the disk.
   */
  flushEarly(): void {
    const writes = this.#earlyWrites + this.#dirty.length;
    if (writes > EARLY_WRITES_MAX || this.#isFlushing) return;
    this.#earlyWrites = writes;
    this.#flush();
  }

  /** `transport` may have gathered much when this chunk is dealt with. */
  addGrowing(transport: BufferedTransport): void {
    if (transport.isGrowing) return;
    transport.isGrowing = true;
    this.#growing.push(transport);
  }

  /** Once each: who goes on writing because there is room again waits for the end of the turn, or it would never come. */
  #flushLarge(): void {
    const growing = this.#growing;
    this.#growing = this.#spareGrowing;
    for (let i = 0; i < growing.length; i++) {
      const transport = growing[i] as BufferedTransport;
      transport.isGrowing = false;
      transport.flushLarge();
    }
    growing.length = 0;
    this.#spareGrowing = growing;
  }

  /** `transport` waits for more to send: it is told when that is over. */
  gather(transport: BufferedTransport): void {
    // Not a timer of the clock, whose ticks are far longer.
    if (this.#gathering.push(transport) === 1) setTimeout(this.#gathered, GATHER_MS);
  }

  /** `transport` ended in this turn; its handler hears of it when the turn is over. */
  addEnded(transport: BufferedTransport): void {
    if (this.#ended.push(transport) === 1) this.#clock.afterTurn(this.#tellEnded);
  }

  readonly #flush = (): void => {
    const dirty = this.#dirty;
    this.#dirty = this.#spare;
    this.#isFlushing = true;
    for (let i = 0; i < dirty.length; i++) (dirty[i] as BufferedTransport).flush();
    this.#isFlushing = false;
    dirty.length = 0;
    this.#spare = dirty;
    const growing = this.#growing;
    for (let i = 0; i < growing.length; i++) (growing[i] as BufferedTransport).isGrowing = false;
    growing.length = 0;
  };

  readonly #gathered = (): void => {
    const gathering = this.#gathering;
    this.#gathering = [];
    for (const transport of gathering) transport.gathered();
  };

  readonly #turnOver = (): void => {
    this.#isCalm = this.#chunks <= 1;
    this.#chunks = 0;
    this.#earlyWrites = 0;
  };

  readonly #tellEnded = (): void => {
    const ended = this.#ended;
    this.#ended = [];
    for (const transport of ended) transport.tellEnded();
  };
}
