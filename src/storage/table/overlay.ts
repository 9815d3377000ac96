/**
 * The changes of one table that are not yet in LMDB: key → bytes, or null for a removal. Keys are also kept sorted,
 * so that a prefix scan need not look at all of them.
 */

import { SortedKeys } from './sorted-keys.ts';

export class Overlay {
  readonly #values = new Map<string, Uint8Array | null>();
  readonly #keys = new SortedKeys();

  get size(): number {
    return this.#values.size;
  }

  /** Undefined: nothing is known here. Null: removed. */
  get(key: string): Uint8Array | null | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: Uint8Array | null): void {
    if (!this.#values.has(key)) this.#keys.add(key);
    this.#values.set(key, value);
  }

  entries(): Iterable<[key: string, value: Uint8Array | null]> {
    return this.#values.entries();
  }

  keysWithPrefix(prefix: string): string[] {
    return this.#keys.withPrefix(prefix);
  }
}
