/**
 * Lines in the log for callers of the HTTP API whose credentials were refused. A caller chooses how often that is, so
 * lines are few: one for each address and minute, and no more than some for all of them; the next line tells how many
 * were kept back. No credential is in it, nor a name, which could be one that was typed in the wrong place. Called by
 * `server.ts`.
 */

import type { IncomingHttpHeaders } from 'node:http';
import type { Clock } from '../core/index.ts';
import { clientNetworkOf, type Logger } from '../host.ts';

const WINDOW_MS = 60_000;
const LINES_PER_WINDOW_MAX = 100;

const SHOWN_BY_SCHEME = new Map([
  ['bearer', 'key or token'],
  ['basic', 'password'],
]);

/** What kind of credentials a caller shows; null: none that this API knows. */
export function credentialsShown(headers: IncomingHttpHeaders): string | null {
  if (headers['x-api-key'] !== undefined) return 'key';
  const [scheme = ''] = (headers.authorization ?? '').split(' ', 1);
  return SHOWN_BY_SCHEME.get(scheme.toLowerCase()) ?? null;
}

export class RefusedLogins {
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** Addresses that have their line. */
  readonly #told = new Set<string>();
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #untold = 0;

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** `shown`: the kind of credentials. */
  tell(remoteAddress: string, shown: string, reason: string): void {
    const nowMs = this.#clock.nowMs();
    if (Math.abs(nowMs - this.#windowStartMs) >= WINDOW_MS) {
      this.#windowStartMs = nowMs;
      this.#told.clear();
    }
    const address = clientNetworkOf(remoteAddress);
    if (this.#told.has(address) || this.#told.size >= LINES_PER_WINDOW_MAX) {
      this.#untold++;
      return;
    }
    this.#told.add(address);
    const details = { remoteAddress, shown, reason, alsoRefused: this.#untold };
    this.#untold = 0;
    this.#logger.warn(details, 'a login at the HTTP API was refused');
  }
}
