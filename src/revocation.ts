/**
 * Ends connections whose client would not be let in any more: its user is gone or changed, its proof has expired. Made by
 * `src/gateway.ts`. After a change all connections are looked at once the turn is over, and every second for a while, for
 * a client that was let in just before may not be known to its connection yet; otherwise only the time is looked at.
 */

import type { Clock, Timer } from './core/index.ts';
import type { Authenticator } from './host.ts';
import type { Network } from './net/network.ts';

const LOOK_EVERY_MS = 1_000;
/** Longer than any adapter takes from the proof to the open connection. */
const LOOK_AGAIN_MS = 60_000;

export class Revocation {
  readonly #authenticator: Authenticator;
  readonly #network: Pick<Network, 'connections' | 'disconnect'>;
  readonly #clock: Clock;
  #lookAllUntilMs = 0;
  #isDue = false;
  #isClosed = false;
  #timer: Timer;

  constructor(
    authenticator: Authenticator,
    network: Pick<Network, 'connections' | 'disconnect'>,
    clock: Clock,
  ) {
    this.#authenticator = authenticator;
    this.#network = network;
    this.#clock = clock;
    authenticator.onChange(() => this.#changed());
    this.#timer = clock.after(LOOK_EVERY_MS, this.#look);
  }

  close(): void {
    this.#isClosed = true;
    this.#timer.cancel();
  }

  /** However many users change in one turn, connections are looked at once. */
  #changed(): void {
    this.#lookAllUntilMs = this.#clock.nowMs() + LOOK_AGAIN_MS;
    if (this.#isDue || this.#isClosed) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      if (!this.#isClosed) this.#end(true);
    });
  }

  readonly #look = (): void => {
    this.#timer = this.#clock.after(LOOK_EVERY_MS, this.#look);
    this.#end(this.#clock.nowMs() < this.#lookAllUntilMs);
  };

  #end(all: boolean): void {
    const nowMs = this.#clock.nowMs();
    const gone: number[] = [];
    for (const { id, handler } of this.#network.connections.values()) {
      const principal = handler?.identity;
      if (principal === null || principal === undefined) continue;
      const isExpired = principal.expiresAtMs !== undefined && principal.expiresAtMs <= nowMs;
      if (isExpired || (all && !this.#authenticator.isCurrent(principal))) gone.push(id);
    }
    for (const id of gone) this.#network.disconnect(id, 'not-authorized');
  }
}
