/**
 * The newest batches of all logs, kept in memory so that a fetch right after an append does not touch the disk. One
 * budget of bytes for all logs together; the oldest batch of all goes first. What is not yet written to its file is
 * never dropped. The logs of one storage share one `TailBudget`; each has its own `Tail`.
 */

import { KeptBytes } from '../../core/kept-bytes.ts';
import { nextOffsetOf, readOffset } from './batch-check.ts';

/** Emptied places at the front of a list before it is cut. */
const EMPTY_PLACES_MAX = 1024;

/** A batch may hold so many times its bytes. */
const SLACK_FACTOR_MAX = 2;

export class TailBudget {
  readonly bytesMax: number;
  readonly #kept = new KeptBytes();
  #owners: Tail[] = [];
  #first = 0;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** The batch, copied where it holds on to more memory than the budget knows of. */
  keep(batch: Buffer): Buffer {
    return batch.buffer.byteLength > SLACK_FACTOR_MAX * batch.length ? this.#kept.copy(batch) : batch;
  }

  added(owner: Tail, bytes: number): void {
    this.#owners.push(owner);
    this.#bytes += bytes;
    while (this.#bytes > this.bytesMax && this.#first < this.#owners.length) {
      const oldest = this.#owners[this.#first] as Tail;
      const freed = oldest.dropOldest();
      if (freed < 0) break;
      this.#bytes -= freed;
      this.#first++;
      if (this.#first >= EMPTY_PLACES_MAX && this.#first * 2 > this.#owners.length) {
        this.#owners = this.#owners.slice(this.#first);
        this.#first = 0;
      }
    }
  }
}

export class Tail {
  readonly #budget: TailBudget;
  #batches: Buffer[] = [];
  #first = 0;
  /** Batches dropped out of turn whose place in the budget's order is still to come. */
  #owed: number[] = [];
  /** Batches before this offset are in their file. */
  writtenOffset = 0;

  constructor(budget: TailBudget) {
    this.#budget = budget;
  }

  add(batch: Buffer): void {
    const kept = this.#budget.keep(batch);
    this.#batches.push(kept);
    this.#budget.added(this, kept.length);
  }

  /** Called by the budget, once for each `add`. Returns the bytes freed, -1 when the batch is not yet written. */
  dropOldest(): number {
    const owed = this.#owed.shift();
    if (owed !== undefined) return owed;
    const oldest = this.#batches[this.#first];
    if (oldest === undefined) return 0;
    if (nextOffsetOf(oldest, 0) > this.writtenOffset) return -1;
    (this.#batches as (Buffer | undefined)[])[this.#first++] = undefined;
    if (this.#first >= EMPTY_PLACES_MAX || this.#first === this.#batches.length) {
      this.#batches = this.#batches.slice(this.#first);
      this.#first = 0;
    }
    return oldest.length;
  }

  /** Forgets everything, when the log is deleted. */
  clear(): void {
    for (let i = this.#first; i < this.#batches.length; i++)
      this.#owed.push((this.#batches[i] as Buffer).length);
    this.#batches = [];
    this.#first = 0;
  }

  /** Whole batches from the one that holds `offset` on, or null when that one is not here. */
  read(offset: number, bytesMax: number): Buffer | null {
    const batches = this.#batches;
    let low = this.#first;
    let high = batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (readOffset(batches[middle] as Buffer, 0) <= offset) low = middle + 1;
      else high = middle;
    }
    const at = low - 1;
    if (at < this.#first) return null;
    const found = batches[at] as Buffer;
    if (nextOffsetOf(found, 0) <= offset) return null;
    let end = at + 1;
    let bytes = found.length;
    for (; end < batches.length; end++) {
      const length = (batches[end] as Buffer).length;
      if (bytes + length > bytesMax) break;
      bytes += length;
    }
    return end === at + 1 ? found : Buffer.concat(batches.slice(at, end), bytes);
  }
}
