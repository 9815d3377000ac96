/**
 * Appends of one connection that wait for the disk: each has a number, under which the core tells what became of it.
 * Made once for a connection, so that a Produce request needs no closure.
 */

import type { CoreError, ReceiptSink } from '../../../src/core/index.ts';

/** Something that waits for one or several appends. */
export interface Awaiting {
  /** `place` is what was given to `expect`. */
  appendStored(place: number): void;
  appendRefused(place: number, error: CoreError): void;
}

export class Receipts implements ReceiptSink {
  readonly #awaiting = new Map<number, { readonly by: Awaiting; readonly place: number }>();
  #next = 0;

  /** The number to append under. */
  expect(by: Awaiting, place: number): number {
    const token = this.#next++;
    this.#awaiting.set(token, { by, place });
    return token;
  }

  /** The append was refused at once, so nothing will be told. */
  forget(token: number): void {
    this.#awaiting.delete(token);
  }

  stored(token: number): void {
    const awaiting = this.#take(token);
    awaiting?.by.appendStored(awaiting.place);
  }

  refused(token: number, error: CoreError): void {
    const awaiting = this.#take(token);
    awaiting?.by.appendRefused(awaiting.place, error);
  }

  clear(): void {
    this.#awaiting.clear();
  }

  #take(token: number): { readonly by: Awaiting; readonly place: number } | undefined {
    const awaiting = this.#awaiting.get(token);
    this.#awaiting.delete(token);
    return awaiting;
  }
}
