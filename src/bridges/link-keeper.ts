/**
 * Keeps a link open: opens it within a time, opens it again after a pause when it fails or is lost, and never waits for
 * long for a driver that does not answer. Belongs to one bridge, which it tells of each step.
 *
 * Every try has a number; what an earlier one still has to say is ignored, and a link that it still opens is closed.
 */

import type { Clock, Timer } from '../core/index.ts';
import { type BridgeLink, LinkError } from '../outside.ts';
import type { Backoff } from './backoff.ts';
import { settledWithin } from './deadline.ts';

/** To connect, log in and begin to receive. */
export const OPEN_MS_MAX = 30_000;
/** To disconnect; then it is left to itself. */
export const CLOSE_MS_MAX = 5_000;
/** A link that was open for so long was good: pauses begin anew. */
const STABLE_MS = 10_000;

export interface LinkKeeperParts {
  readonly clock: Clock;
  readonly backoff: Backoff;
  open(signal: AbortSignal, lost: (error: Error) => void): Promise<BridgeLink>;
  /** The link is there: begins to work on it, and not any more when `isCurrent` says so. */
  opened(link: BridgeLink, isCurrent: () => boolean): Promise<void>;
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

  /** Resolves when the link is closed, or was given its time to. */
  stop(): Promise<void> {
    this.#isRunning = false;
    this.#retry?.cancel();
    this.#retry = null;
    this.#drop();
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
    this.#deadline = clock.after(OPEN_MS_MAX, () =>
      this.#failed(
        number,
        new LinkError('timeout', `it did not connect within ${OPEN_MS_MAX / 1_000} seconds`),
      ),
    );
    const run = async (): Promise<void> => {
      await this.#closing;
      if (!isCurrent()) return;
      const link = await open(abort.signal, (error) => this.#failed(number, error));
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
    this.#try++;
    this.#connectedAtMs = -1;
    this.#deadline?.cancel();
    this.#abort?.abort();
    this.#abort = null;
    const link = this.#link;
    this.#link = null;
    if (link === null) return;
    this.#parts.released();
    this.#closing = closed(this.#parts.clock, link);
  }
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
