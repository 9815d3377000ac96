/**
 * What happens to connections when a turn of the event loop is over: everything that was written leaves, one write for
 * each connection, and those that ended are told so. One list each, however many connections there are; owned by
 * `network.ts`, filled by `buffered-transport.ts`.
 */

import type { Clock } from '../core/index.ts';
import type { BufferedTransport } from './buffered-transport.ts';

/** The host's clock, which also knows when a turn has nothing left to do but send. */
export interface TurnClock extends Clock {
  lastInTurn(task: () => void): void;
}

export class TurnOutput {
  readonly #clock: TurnClock;
  #dirty: BufferedTransport[] = [];
  #spare: BufferedTransport[] = [];
  #ended: BufferedTransport[] = [];

  constructor(clock: TurnClock) {
    this.#clock = clock;
  }

  /** `transport` has something to send and was not in the list. */
  add(transport: BufferedTransport): void {
    if (this.#dirty.push(transport) === 1) this.#clock.lastInTurn(this.#flush);
  }

  /** `transport` ended in this turn; its handler hears of it when the turn is over. */
  addEnded(transport: BufferedTransport): void {
    if (this.#ended.push(transport) === 1) this.#clock.afterTurn(this.#tellEnded);
  }

  readonly #flush = (): void => {
    const dirty = this.#dirty;
    this.#dirty = this.#spare;
    for (let i = 0; i < dirty.length; i++) (dirty[i] as BufferedTransport).flush();
    dirty.length = 0;
    this.#spare = dirty;
  };

  readonly #tellEnded = (): void => {
    const ended = this.#ended;
    this.#ended = [];
    for (const transport of ended) transport.tellEnded();
  };
}
