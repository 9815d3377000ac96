/**
 * What the router has resolved, by address, in two generations: when the younger is full it becomes the older one,
 * and that one is dropped at once. So the cost of making room is nothing for each address, whatever their number,
 * and what is used again stays. Whether an entry is still true is the router's business.
 */

export class RouteCache<T> {
  readonly #generationMax: number;
  #young = new Map<string, T>();
  #old = new Map<string, T>();
  /** The one that was asked for last: most messages follow one to the same address. */
  #lastKey = '';
  #last: T | undefined = undefined;

  constructor(entriesMax: number) {
    this.#generationMax = Math.max(1, Math.floor(entriesMax / 2));
  }

  get(key: string): T | undefined {
    if (key === this.#lastKey) return this.#last;
    const found = this.#find(key);
    if (found !== undefined) this.#remember(key, found);
    return found;
  }

  #find(key: string): T | undefined {
    const young = this.#young.get(key);
    if (young !== undefined || this.#old.size === 0) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: T): void {
    if (this.#young.size >= this.#generationMax && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
    this.#remember(key, value);
  }

  #remember(key: string, value: T): void {
    this.#lastKey = key;
    this.#last = value;
  }
}
