/**
 * Turns that walks through whole logs take, so that a thousand of them that are wanted at once read one page at a time.
 * Sessions have one for what they move (`log-moves.ts`), the groups of a core one for what they weigh (`waiting.ts`).
 * Whoever walks looks at `closed` before each page: behind the end of the core nothing may be read.
 */

export class LogTurns {
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  get closed(): boolean {
    return this.#closed;
  }

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Those that run end at their next page, and nobody waits for the rest. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
  }
}
