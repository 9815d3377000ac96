/**
 * How many bytes of messages wait in memory over all queues and sessions, and what follows from it. Groups with a
 * log keep messages only there once half of the bound is used; at the bound itself publishers are told to stop
 * until a fifth of it is free again, so that memory stays bounded whatever waits.
 */

/** Told when the core runs short of room and when it has room again. */
export interface CongestionListener {
  congested(yes: boolean): void;
}

export class Congestion {
  readonly #bytesMax: number;
  readonly #listeners = new Set<CongestionListener>();
  #heldBytes = 0;
  #congested = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Groups that can should keep new messages on disk only. */
  get pressing(): boolean {
    return this.#heldBytes > this.#bytesMax / 2;
  }

  hold(bytes: number): void {
    this.#heldBytes += bytes;
    if (!this.#congested && this.#heldBytes > this.#bytesMax) this.#tell(true);
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
    if (this.#congested && this.#heldBytes < 0.8 * this.#bytesMax) this.#tell(false);
  }

  listen(listener: CongestionListener): void {
    this.#listeners.add(listener);
    if (this.#congested) listener.congested(true);
  }

  forget(listener: CongestionListener): void {
    this.#listeners.delete(listener);
  }

  #tell(yes: boolean): void {
    this.#congested = yes;
    for (const listener of this.#listeners) listener.congested(yes);
  }
}
