/**
 * The password file: read at the start, looked at every second, and read again when it has changed or the operator asks.
 * Made by `index.ts`. Where it cannot be read or holds a mistake, the users that were read before stay, and the log says
 * so once.
 */

import { readFile, stat } from 'node:fs/promises';
import type { Clock, Timer } from '../core/index.ts';
import type { Logger } from '../host.ts';
import { usersFromPasswordFile } from './mosquitto-passwd.ts';
import type { UserStore } from './users.ts';

const LOOK_EVERY_MS = 1_000;
const FILE_BYTES_MAX = 256 * 1024 * 1024;

export class UserFile {
  readonly #path: string;
  readonly #usersMax: number;
  readonly #users: UserStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #mark = '';
  #timer: Timer | null = null;
  #isClosed = false;
  /** One reading after the other, or an earlier state of the file could come last. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(path: string, usersMax: number, users: UserStore, clock: Clock, logger: Logger) {
    this.#path = path;
    this.#usersMax = usersMax;
    this.#users = users;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Throws where it cannot be read, or holds a mistake. */
  async open(): Promise<void> {
    await this.reload();
    this.#lookLater();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  reload(): Promise<void> {
    return this.#inTurn(async () => {
      try {
        this.#mark = await this.#markNow();
        await this.#read();
      } catch (error) {
        throw new Error(`auth.passwordFile: ${(error as Error).message}`);
      }
    });
  }

  #lookLater(): void {
    if (this.#isClosed) return;
    this.#timer = this.#clock.after(LOOK_EVERY_MS, () => {
      void this.#inTurn(() => this.#look());
    });
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    const done = this.#reading.then(task);
    this.#reading = done.catch(() => {});
    return done;
  }

  async #look(): Promise<void> {
    const before = this.#mark;
    try {
      this.#mark = await this.#markNow().catch((error: NodeJS.ErrnoException) => error.code ?? 'unreadable');
      if (this.#mark !== before) {
        const users = await this.#read();
        this.#logger.info({ file: this.#path, users }, 'the password file was read again');
      }
    } catch (error) {
      this.#logger.error(
        { file: this.#path, error: (error as Error).message },
        'the password file could not be read, the earlier users stay',
      );
    }
    this.#lookLater();
  }

  async #markNow(): Promise<string> {
    const { mtimeMs, ctimeMs, size, ino } = await stat(this.#path);
    if (size > FILE_BYTES_MAX) throw new Error(`${this.#path} is larger than ${FILE_BYTES_MAX} bytes`);
    // The last change of its state is in it, so that a file that may be read now is read.
    return `${mtimeMs} ${ctimeMs} ${size} ${ino}`;
  }

  async #read(): Promise<number> {
    const users = usersFromPasswordFile(await readFile(this.#path, 'utf8'), this.#path, this.#usersMax);
    if (!this.#isClosed) {
      this.#users.setFixed(
        'file',
        users.map((user) => ({ ...user, groups: [] })),
      );
    }
    return users.length;
  }
}
