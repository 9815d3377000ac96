/**
 * Clients that connect again and again: counted by user and client identifier within a minute, and refused for a while
 * above a bound. Only who is authenticated counts, and by the user's name that was proved, or anybody could have a
 * client refused by using its name. One for the adapter; it remembers a bounded number of clients, those that came
 * first go first. MQTT 5.0 section 4.13, 0x9F.
 */

import { createHash } from 'node:crypto';
import type { Clock } from '../../../src/core/index.ts';

const CLIENTS_MAX = 10_000;
const WINDOW_MS = 60_000;
/** Longer names are remembered by their hash. */
const NAME_CHARS_MAX = 128;

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

  isRefused(user: string, clientId: string): boolean {
    if (this.#perMinuteMax === 0) return false;
    const recent = this.#recent.get(keyOf(user, clientId));
    return recent !== undefined && recent.refusedUntilMs > this.#clock.nowMs();
  }

  count(user: string, clientId: string): void {
    if (this.#perMinuteMax === 0) return;
    const nowMs = this.#clock.nowMs();
    const key = keyOf(user, clientId);
    const known = this.#recent.get(key);
    const isSame = known !== undefined && nowMs - known.sinceMs < WINDOW_MS;
    const count = isSame ? known.count + 1 : 1;
    this.#recent.delete(key);
    this.#recent.set(key, {
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

/** A client identifier holds no control characters, so no two pairs have one key. */
function keyOf(user: string, clientId: string): string {
  const key = `${clientId}\n${user}`;
  return key.length <= NAME_CHARS_MAX ? key : createHash('sha256').update(key).digest('base64');
}
