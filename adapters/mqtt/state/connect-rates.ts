/**
 * Clients that connect again and again: counted by client identifier within a minute, and refused for a while above a
 * bound. Only who is authenticated counts, or anybody could have a client refused by using its name. One for the
 * adapter; it remembers a bounded number of clients, those that came first go first. MQTT 5.0 section 4.13, 0x9F.
 */

import type { Clock } from '../../../src/core/index.ts';

const CLIENTS_MAX = 10_000;
const WINDOW_MS = 60_000;

interface Recent {
  readonly sinceMs: number;
  readonly count: number;
  readonly refusedUntilMs: number;
}

export class ConnectRates {
  readonly #clock: Clock;
  readonly #perMinuteMax: number;
  readonly #refusedMs: number;
  readonly #recent = new Map<string, Recent>();

  /** 0 a minute: no bound. */
  constructor(clock: Clock, perMinuteMax: number, refusedMs: number) {
    this.#clock = clock;
    this.#perMinuteMax = perMinuteMax;
    this.#refusedMs = refusedMs;
  }

  isRefused(clientId: string): boolean {
    if (this.#perMinuteMax === 0) return false;
    const recent = this.#recent.get(clientId);
    return recent !== undefined && recent.refusedUntilMs > this.#clock.nowMs();
  }

  count(clientId: string): void {
    if (this.#perMinuteMax === 0) return;
    const nowMs = this.#clock.nowMs();
    const known = this.#recent.get(clientId);
    const isSame = known !== undefined && nowMs - known.sinceMs < WINDOW_MS;
    const count = isSame ? known.count + 1 : 1;
    this.#recent.delete(clientId);
    this.#recent.set(clientId, {
      sinceMs: isSame ? known.sinceMs : nowMs,
      count,
      refusedUntilMs: count > this.#perMinuteMax ? nowMs + this.#refusedMs : 0,
    });
    if (this.#recent.size <= CLIENTS_MAX) return;
    for (const oldest of this.#recent.keys()) {
      this.#recent.delete(oldest);
      break;
    }
  }
}
