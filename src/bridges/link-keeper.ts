/**
 * Keeps a link open: opens it within a time, opens it again after a pause when it fails or is lost, and never waits for
 * long for a driver that does not answer. Belongs to one bridge, which it tells of each step.
 *
 * Every try has a number; what an earlier one still has to say is ignored, and a link that it still opens is closed.
 */

import type { Clock, Timer } from '../core/index.ts';
import { type BridgeLink, LinkError, type LinkEvents, OPEN_MS_MAX } from '../outside.ts';
import type { Backoff } from './backoff.ts';
import { settledWithin } from './deadline.ts';

/** To disconnect; then it is left to itself. */
export const CLOSE_MS_MAX = 5_000;
/** A link that was open for so long was good: pauses begin anew. */
const STABLE_MS = 10_000;

export interface LinkKeeperParts {
  readonly clock: Clock;
  readonly backoff: Backoff;
  open(signal: AbortSignal, events: Pick<LinkEvents, 'waiting' | 'lost'>): Promise<BridgeLink>;
  /** The link is there: begins to work on it, and not any more when `isCurrent` says so. */
  opened(link: BridgeLink, isCurrent: () => boolean): Promise<void>;
  /** Nothing more is to be sent. Resolves when what is on its way has its answers; null where nothing is. */
  finish(): Promise<void> | null;
  /** The link is of no use any more: nothing is sent or taken from here on. Called once for each `opened`. */
  released(): void;
  connecting(): void;
  connected(): void;
  failed(error: unknown, retryAtMs: number): void;
}

export class LinkKeeper {
  readonly #parts: LinkKeeperParts;
  #isRunning = false;
  #try = 0;
  #abort: AbortController | null = null;
  #link: BridgeLink | null = null;
  #deadline: Timer | null = null;
  #retry: Timer | null = null;
  #closing: Promise<void> = Promise.resolve();
  /** Ends the time that a link was given to finish. */
  #cutShort: (() => void) | null = null;
  #connectedAtMs = -1;

  constructor(parts: LinkKeeperParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#parts.backoff.reset();
    this.#connect();
  }

  /**
   * Resolves when the link is closed, or was given its time to. `graceMs`: it may finish what is on its way before; 0 is not
   * at all, and ends such a time that was given earlier. The link is not watched meanwhile: where it is lost, what is on
   * its way ends.
   */
  stop(graceMs: number): Promise<void> {
    this.#isRunning = false;
    this.#retry?.cancel();
    this.#retry = null;
    if (graceMs <= 0) this.#cutShort?.();
    const finishing = graceMs > 0 && this.#link !== null ? this.#parts.finish() : null;
    if (finishing === null) this.#drop();
    else this.#leave(finishing, graceMs);
    return this.#closing;
  }

  /** The open link is of no use: another one is opened after a pause. */
  fail(error: unknown): void {
    this.#failed(this.#try, error);
  }

  #connect(): void {
    const { clock, open, opened, connecting, connected } = this.#parts;
    const number = ++this.#try;
    const isCurrent = (): boolean => number === this.#try;
    const abort = new AbortController();
    this.#abort = abort;
    connecting();
    let waitsFor = '';
    this.#deadline = clock.after(OPEN_MS_MAX, () =>
      this.#failed(number, openedTooLate(OPEN_MS_MAX, waitsFor)),
    );
    const run = async (): Promise<void> => {
      await this.#closing;
      if (!isCurrent()) return;
      const link = await open(abort.signal, {
        waiting: (reason) => {
          waitsFor = reason;
        },
        lost: (error) => this.#failed(number, error),
      });
      if (!isCurrent()) {
        void closed(clock, link);
        return;
      }
      this.#link = link;
      await opened(link, isCurrent);
      if (!isCurrent()) return;
      this.#deadline?.cancel();
      this.#connectedAtMs = clock.nowMs();
      connected();
    };
    run().catch((error: unknown) => this.#failed(number, error));
  }

  #failed(number: number, error: unknown): void {
    if (number !== this.#try || !this.#isRunning || this.#retry !== null) return;
    const { clock, backoff, failed } = this.#parts;
    if (this.#connectedAtMs >= 0 && clock.nowMs() - this.#connectedAtMs >= STABLE_MS) backoff.reset();
    this.#drop();
    const pauseMs = backoff.next();
    this.#retry = clock.after(pauseMs, () => {
      this.#retry = null;
      this.#connect();
    });
    failed(error, clock.nowMs() + pauseMs);
  }

  #drop(): void {
    const { abort, link } = this.#letGo();
    abort?.abort();
    if (link === null) return;
    this.#parts.released();
    this.#closing = closed(this.#parts.clock, link);
  }

  /** As `drop`, a little later. Who begins to connect meanwhile waits for that. */
  #leave(finishing: Promise<void>, graceMs: number): void {
    const { clock, released } = this.#parts;
    const { abort, link } = this.#letGo();
    if (link === null) return;
    let closing: Promise<void> | null = null;
    const end = (): Promise<void> => {
      if (closing !== null) return closing;
      this.#cutShort = null;
      abort?.abort();
      released();
      closing = closed(clock, link);
      return closing;
    };
    this.#cutShort = end;
    this.#closing = settledWithin(clock, graceMs, finishing).then(end);
  }

  /** The try that it is at is over, whatever comes of it. */
  #letGo(): { readonly abort: AbortController | null; readonly link: BridgeLink | null } {
    const abort = this.#abort;
    const link = this.#link;
    this.#try++;
    this.#connectedAtMs = -1;
    this.#deadline?.cancel();
    this.#abort = null;
    this.#link = null;
    return { abort, link };
  }
}

/** `waitsFor`: what the driver said last; empty where it said nothing. */
export function openedTooLate(ms: number, waitsFor: string): LinkError {
  const text = `it did not connect within ${ms / 1_000} seconds`;
  return new LinkError('timeout', waitsFor === '' ? text : `${text}: ${waitsFor}`);
}

/** Closes a link and waits for that no longer than it may take. */
export function closed(clock: Pick<Clock, 'after'>, link: BridgeLink): Promise<void> {
  let closing: Promise<void>;
  try {
    closing = link.close();
  } catch {
    return Promise.resolve();
  }
  return settledWithin(clock, CLOSE_MS_MAX, closing);
}
