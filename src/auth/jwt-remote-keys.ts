/**
 * The keys for tokens that stand behind an address (`auth.jwt.jwksUrl`). Asking and choosing is `jose`'s work; here is what
 * bounds it: how large an answer may be, and a pause after a failure, for `jose` waits between two questions that were
 * answered only. Made by `jwt-keys.ts`. Invariant: `ids` are those of the last answer that was good.
 */

import { createRemoteJWKSet, customFetch, type FetchImplementation, type JSONWebKeySet } from 'jose';
import type { Clock } from '../core/index.ts';
import type { Logger } from '../host.ts';
import { readBounded } from './bounded-body.ts';
import { idsFromKeySet, type KeySet } from './jwt-key-ids.ts';
import type { JwtSettings } from './jwt-settings.ts';

export class RemoteKeys {
  readonly set: KeySet;
  ids: ReadonlySet<string> = new Set();
  readonly #settings: JwtSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #changed: () => void;
  readonly #asking: ReturnType<typeof createRemoteJWKSet>;
  #failedAtMs = Number.NEGATIVE_INFINITY;
  #isFailing = false;
  /** Null: nobody has needed it yet. */
  #answeredAtMs: number | null = null;
  #refreshing = false;

  /** `changed` is called when the keys may be others. */
  constructor(settings: JwtSettings, clock: Clock, logger: Logger, changed: () => void) {
    this.#settings = settings;
    this.#clock = clock;
    this.#logger = logger;
    this.#changed = changed;
    this.#asking = createRemoteJWKSet(new URL(settings.jwksUrl), {
      timeoutDuration: settings.jwksTimeoutMs,
      cooldownDuration: settings.jwksCooldownMs,
      cacheMaxAge: settings.jwksMaxAgeMs,
      [customFetch]: this.#ask,
    });
    this.set = this.#asking;
  }

  /** Asks again where the answer is too old, so that a key that is gone is noticed without a further token. */
  async refresh(): Promise<void> {
    const { jwksMaxAgeMs } = this.#settings;
    if (this.#refreshing || this.#answeredAtMs === null) return;
    if (this.#clock.nowMs() - this.#answeredAtMs < jwksMaxAgeMs || this.#isPausing()) return;
    this.#refreshing = true;
    // What went wrong is in the log, and tried again.
    await this.#asking.reload().catch(() => {});
    this.#refreshing = false;
  }

  #isPausing(): boolean {
    const { jwksCooldownMs, jwksTimeoutMs } = this.#settings;
    return this.#clock.nowMs() - this.#failedAtMs < Math.min(jwksCooldownMs, jwksTimeoutMs);
  }

  readonly #ask: FetchImplementation = async (url, options) => {
    if (this.#isPausing()) throw new Error('auth.jwt.jwksUrl did not answer a moment ago');
    try {
      const response = await fetch(url, options);
      const body = await readBounded(response, this.#settings.jwksBytesMax);
      if (response.status !== 200) throw new Error(`auth.jwt.jwksUrl answered ${response.status}`);
      this.#take(body.toString());
      return new Response(new Uint8Array(body), { status: 200 });
    } catch (error) {
      this.#failedAtMs = this.#clock.nowMs();
      if (!this.#isFailing)
        this.#logger.warn({ err: error }, 'the keys of auth.jwt.jwksUrl are not to be had');
      this.#isFailing = true;
      throw error;
    }
  };

  #take(text: string): void {
    const ids = idsFromKeySet(JSON.parse(text) as JSONWebKeySet);
    this.#answeredAtMs = this.#clock.nowMs();
    if (this.#isFailing) this.#logger.info({}, 'the keys of auth.jwt.jwksUrl are to be had again');
    this.#isFailing = false;
    const hasLost = [...this.ids].some((id) => !ids.has(id));
    this.ids = ids;
    if (hasLost) this.#changed();
  }
}
