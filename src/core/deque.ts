/** A list that is cheap to extend at its end and to shorten at its front: a ring that doubles. Used by `waiting.ts`. */
export class Deque<T> {
  #items: (T | undefined)[] = [];
  #first = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** The oldest, or undefined. */
  first(): T | undefined {
    return this.#length === 0 ? undefined : this.#items[this.#first];
  }

  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#first + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  /** Oldest first. Must not be changed meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.#length; i++)
      yield this.#items[(this.#first + i) & (this.#items.length - 1)] as T;
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#first];
    this.#items[this.#first] = undefined;
    this.#first = (this.#first + 1) & (this.#items.length - 1);
    this.#length--;
    if (this.#length === 0 && this.#items.length > SHRINK_ABOVE) {
      this.#items = [];
      this.#first = 0;
    }
    return item;
  }

  #grow(): void {
    const wider = new Array<T | undefined>(Math.max(4, this.#items.length * 2));
    for (let i = 0; i < this.#length; i++)
      wider[i] = this.#items[(this.#first + i) & (this.#items.length - 1)];
    this.#items = wider;
    this.#first = 0;
  }
}

/** An emptied ring above this many places is given back. */
const SHRINK_ABOVE = 1024;
