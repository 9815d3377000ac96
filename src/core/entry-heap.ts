/**
 * Entries that came back, oldest first: a binary heap by the order of arrival. A client may give back a hundred
 * thousand messages one by one in any order, so each must cost little whatever is there already. Used by
 * `waiting.ts`.
 */

import type { Entry } from './entry.ts';

export class EntryHeap {
  readonly #entries: Entry[] = [];

  get length(): number {
    return this.#entries.length;
  }

  /** The oldest, or undefined. */
  first(): Entry | undefined {
    return this.#entries[0];
  }

  /** A copy, oldest first. */
  sorted(): Entry[] {
    return [...this.#entries].sort((one, other) => one.sequence - other.sequence);
  }

  push(entry: Entry): void {
    const entries = this.#entries;
    let at = entries.length;
    entries.push(entry);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = entries[above] as Entry;
      if (parent.sequence <= entry.sequence) break;
      entries[at] = parent;
      at = above;
    }
    entries[at] = entry;
  }

  /** Removes the oldest. */
  shift(): Entry | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (first === undefined || last === undefined || entries.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= entries.length) break;
      const right = entries[below + 1];
      if (right !== undefined && right.sequence < (entries[below] as Entry).sequence) below++;
      const child = entries[below] as Entry;
      if (child.sequence >= last.sequence) break;
      entries[at] = child;
      at = below;
    }
    entries[at] = last;
    return first;
  }
}
