/**
 * Ids for idempotent producers, never handed out twice. They are taken from blocks: the end of a block stands on
 * the disk before the first id of it is used, so a restart goes on behind it. The first block of a data folder
 * begins at a random place, so that a client which still holds an id of an earlier folder does not meet a new one.
 */

import { Buffer } from 'node:buffer';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import type { Table } from './storage.ts';

const BLOCK_IDS = 10_000;
const TABLE_KEY = 'producer-ids';
/** Bytes of the random beginning: far from the end of 63 bits, and from any other folder's. */
const RANDOM_BYTES = 5;

export class ProducerIds {
  readonly #table: Table;
  readonly #durability: Durability;
  #next = 0n;
  /** Ids below it are covered by what is on the disk. */
  #storedEnd = 0n;
  #requestedEnd = 0n;

  constructor(table: Table, durability: Durability) {
    this.#table = table;
    this.#durability = durability;
  }

  async load(randomBytes: (count: number) => Uint8Array): Promise<void> {
    const stored = await this.#table.get(TABLE_KEY);
    this.#next =
      stored === undefined
        ? BigInt(Buffer.from(randomBytes(RANDOM_BYTES)).readUIntBE(0, RANDOM_BYTES))
        : Buffer.from(stored).readBigInt64BE(0);
    this.#storedEnd = this.#next;
    await new Promise<void>((resolve, reject) => {
      this.#request((error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** Throws CoreError `storage-failed` where the disk has refused the next block for so long that this one is used up. */
  take(): bigint {
    if (this.#next >= this.#storedEnd) {
      if (this.#requestedEnd <= this.#storedEnd) this.#request(() => undefined);
      throw new CoreError('storage-failed', 'no producer id is left until the disk takes the next block');
    }
    const id = this.#next++;
    // The next block is asked for when half of this one is used, so that nobody has to wait for it.
    if (this.#requestedEnd === this.#storedEnd && this.#storedEnd - this.#next <= BLOCK_IDS / 2)
      this.#request(() => undefined);
    return id;
  }

  #request(done: (error: CoreError | null) => void): void {
    const end = this.#storedEnd + BigInt(BLOCK_IDS);
    this.#requestedEnd = end;
    const value = Buffer.alloc(8);
    value.writeBigInt64BE(end);
    this.#table.put(TABLE_KEY, value);
    this.#durability.written();
    this.#durability.whenStored((error) => {
      if (error === null) this.#storedEnd = end;
      else this.#requestedEnd = this.#storedEnd;
      done(error);
    });
  }
}
