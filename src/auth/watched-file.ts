/**
 * A file that an operator may change while the gateway runs: read at the start, looked at every second, and read again
 * when it has changed or the operator asks. Where it cannot be read or holds a mistake, what was read before stays, and
 * the log says so once. Used for the password file and the file of access rules.
 */

import { readFile, stat } from 'node:fs/promises';
import type { Clock, Timer } from '../core/index.ts';
import type { Logger } from '../host.ts';

const LOOK_EVERY_MS = 1_000;
const FILE_BYTES_MAX = 256 * 1024 * 1024;

export interface WatchedFileOptions {
  readonly path: string;
  /** The setting that names it, for messages. */
  readonly setting: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Takes the text over and returns how much there is of what it holds. Throws what is wrong with it. */
  take(text: string): number;
}

export class WatchedFile {
  readonly #options: WatchedFileOptions;
  /** What the system said of the file when it was read last. */
  #mark = '';
  #timer: Timer | null = null;
  #isClosed = false;
  /** One reading after the other, or an earlier state of the file could come last. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(options: WatchedFileOptions) {
    this.#options = options;
  }

  /** Throws where it cannot be read, or holds a mistake. */
  async open(): Promise<void> {
    await this.reload();
    this.#lookLater();
  }

  /** As `open`. */
  reload(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        this.#mark = await this.#markNow();
        await this.#read();
      } catch (error) {
        throw new Error(`${this.#options.setting}: ${(error as Error).message}`);
      }
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  #lookLater(): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.clock.after(LOOK_EVERY_MS, () => {
      void this.#inTurn(() => this.#look());
    });
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    const done = this.#reading.then(task);
    this.#reading = done.catch(() => {});
    return done;
  }

  async #look(): Promise<void> {
    const { path: file, setting, logger } = this.#options;
    const before = this.#mark;
    try {
      // What cannot be read is told once, not every second.
      this.#mark = await this.#markNow().catch((error: NodeJS.ErrnoException) => error.code ?? 'unreadable');
      if (this.#mark !== before) {
        const count = await this.#read();
        logger.info({ setting, file, count }, 'a changed file was read again');
      }
    } catch (error) {
      const details = { setting, file, error: (error as Error).message };
      logger.error(details, 'a changed file could not be read, what it held before stays');
    }
    this.#lookLater();
  }

  async #markNow(): Promise<string> {
    const { path } = this.#options;
    const { mtimeMs, ctimeMs, size, ino } = await stat(path);
    if (size > FILE_BYTES_MAX) throw new Error(`${path} is larger than ${FILE_BYTES_MAX} bytes`);
    // The last change of its state is in it, so that a file that may be read now is read.
    return `${mtimeMs} ${ctimeMs} ${size} ${ino}`;
  }

  async #read(): Promise<number> {
    const text = await readFile(this.#options.path, 'utf8');
    return this.#isClosed ? 0 : this.#options.take(text);
  }
}
