/**
 * How often who may guess: failed logins are counted by the client's address and by the user's name, over a window that
 * slides. Asked by `index.ts` before anybody is asked about credentials, and told how that ended. A user that somebody
 * guesses at from elsewhere still comes in from the addresses where its password was right before. Invariants: all maps
 * are bounded, and so are their keys; each address and user is logged once a window at most; guesses that come at once
 * do not get further than those that come one after the other.
 */

import { createHash } from 'node:crypto';
import type { Clock } from '../core/index.ts';
import { clientNetworkOf, type Logger } from '../host.ts';
import { AttemptGate } from './attempt-gate.ts';
import type { LoginLimitSettings } from './login-limit-settings.ts';

interface Failures {
  windowStartMs: number;
  count: number;
  countBefore: number;
  isTold: boolean;
}

export interface LoginCounters {
  accepted: number;
  refused: number;
  /** Refused unasked, by what was guessed with too often. */
  readonly limited: { address: number; user: number };
}

/** One look at credentials. `end` is called once, whatever came of it. */
export interface Attempt {
  end(): void;
}

/** Longer names are known by their digest: a client chooses them, and they are kept. */
const NAME_CHARS_MAX = 255;

export class LoginLimits {
  readonly counters: LoginCounters = { accepted: 0, refused: 0, limited: { address: 0, user: 0 } };
  readonly #settings: LoginLimitSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** In the order of the last failure. */
  readonly #byAddress = new Map<string, Failures>();
  readonly #byUser = new Map<string, Failures>();
  /** Addresses where a user came in, in the order of the last time. */
  readonly #familiar = new Set<string>();
  readonly #gate: AttemptGate;

  /** `waiting` bounds the attempts that wait until others have ended. */
  constructor(
    settings: LoginLimitSettings,
    waiting: { readonly waitingMax: number; readonly waitMsMax: number },
    clock: Clock,
    logger: Logger,
  ) {
    this.#settings = settings;
    this.#clock = clock;
    this.#logger = logger;
    const { waitingMax, waitMsMax } = waiting;
    this.#gate = new AttemptGate(clock, { waitingMax, waitMsMax, roomFor: (key) => this.#roomFor(key) });
  }

  /**
   * Null: refused unasked. A promise where as many attempts are under way as there are guesses left. `user` is empty for
   * nobody, for whom only the address counts. Throws where too many wait, or for too long.
   */
  begin(remoteAddress: string, user: string): Attempt | null | Promise<Attempt | null> {
    const address = clientNetworkOf(remoteAddress);
    const name = shortened(user);
    if (this.#isLimited(address, name)) return null;
    const keys = this.#keysOf(address, name);
    return this.#gate.fullOf(keys) === undefined ? this.#begin(keys) : this.#beginLater(address, name);
  }

  failed(remoteAddress: string, user: string): void {
    this.counters.refused++;
    this.#count(this.#byAddress, clientNetworkOf(remoteAddress));
    if (user !== '') this.#count(this.#byUser, shortened(user));
  }

  succeeded(remoteAddress: string, user: string): void {
    this.counters.accepted++;
    if (user === '') return;
    const key = `${clientNetworkOf(remoteAddress)} ${shortened(user)}`;
    this.#familiar.delete(key);
    this.#familiar.add(key);
    if (this.#familiar.size > this.#settings.entriesMax) dropOldest(this.#familiar);
  }

  #begin(keys: readonly string[]): Attempt {
    this.#gate.begin(keys);
    return { end: () => this.#gate.end(keys) };
  }

  async #beginLater(address: string, user: string): Promise<Attempt | null> {
    let woken: string | undefined;
    for (;;) {
      const isRefused = this.#isLimited(address, user);
      const keys = isRefused ? [] : this.#keysOf(address, user);
      const full = this.#gate.fullOf(keys);
      const begun = isRefused || full !== undefined ? null : this.#begin(keys);
      // What woke this one is not among what it will wake itself, so the turn is the next one's.
      const isPassedOn = begun === null ? woken === full : keys.includes(woken ?? '');
      if (woken !== undefined && !isPassedOn) this.#gate.wake(woken);
      if (full === undefined) return begun;
      await this.#gate.waitFor(full);
      woken = full;
    }
  }

  #isLimited(address: string, user: string): boolean {
    const { perAddressMax, perUserMax } = this.#settings;
    if (this.#failuresOf(this.#byAddress, address) >= perAddressMax) {
      this.#tell(this.#byAddress, 'address', address);
      return true;
    }
    if (this.#isFamiliar(address, user) || this.#failuresOf(this.#byUser, user) < perUserMax) return false;
    this.#tell(this.#byUser, 'user', user);
    return true;
  }

  /** Nobody is nobody's guess. */
  #isFamiliar(address: string, user: string): boolean {
    return user === '' || this.#familiar.has(`${address} ${user}`);
  }

  #keysOf(address: string, user: string): readonly string[] {
    return this.#isFamiliar(address, user) ? [`a${address}`] : [`a${address}`, `u${user}`];
  }

  #roomFor(key: string): number {
    const { perAddressMax, perUserMax } = this.#settings;
    const name = key.slice(1);
    const left = key.startsWith('a')
      ? perAddressMax - this.#failuresOf(this.#byAddress, name)
      : perUserMax - this.#failuresOf(this.#byUser, name);
    return Math.max(1, Math.ceil(left));
  }

  #count(all: Map<string, Failures>, key: string): void {
    const failures = this.#current(all, key) ?? {
      windowStartMs: this.#clock.nowMs(),
      count: 0,
      countBefore: 0,
      isTold: false,
    };
    failures.count++;
    all.delete(key);
    all.set(key, failures);
    if (all.size > this.#settings.entriesMax) dropOldest(all);
  }

  /** Failures of the window before this one count by the part of it that the sliding window still covers. */
  #failuresOf(all: Map<string, Failures>, key: string): number {
    const failures = this.#current(all, key);
    if (failures === undefined) return 0;
    const { windowMs } = this.#settings;
    const passed = Math.max(0, this.#clock.nowMs() - failures.windowStartMs) / windowMs;
    return failures.count + failures.countBefore * (1 - passed);
  }

  #current(all: Map<string, Failures>, key: string): Failures | undefined {
    const failures = all.get(key);
    if (failures === undefined) return undefined;
    const { windowMs } = this.#settings;
    const windows = Math.floor((this.#clock.nowMs() - failures.windowStartMs) / windowMs);
    if (windows <= 0) return failures;
    if (windows > 1) {
      all.delete(key);
      return undefined;
    }
    failures.countBefore = failures.count;
    failures.count = 0;
    failures.windowStartMs += windowMs;
    failures.isTold = false;
    return failures;
  }

  #tell(all: Map<string, Failures>, what: 'address' | 'user', key: string): void {
    this.counters.limited[what]++;
    const failures = all.get(key);
    if (failures === undefined || failures.isTold) return;
    failures.isTold = true;
    this.#logger.warn(
      { [what]: key, windowMs: this.#settings.windowMs },
      `too many failed logins by this ${what}, further ones are refused unasked`,
    );
  }
}

function shortened(user: string): string {
  if (user.length <= NAME_CHARS_MAX) return user;
  return `sha256:${createHash('sha256').update(user).digest('base64')}`;
}

function dropOldest(all: { keys(): Iterable<string>; delete(key: string): boolean }): void {
  for (const oldest of all.keys()) {
    all.delete(oldest);
    return;
  }
}
