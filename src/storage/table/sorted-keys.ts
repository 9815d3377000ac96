/**
 * A set of strings in the order of their UTF-8 bytes (which is the order of LMDB), for prefix scans over what is not
 * yet in LMDB. A list of sorted lists of bounded length: adding and removing cost a binary search and a small move.
 */

const CHUNK_KEYS_MAX = 512;

/** Order of UTF-8 bytes: code units, save that surrogates come after all other units. */
export function compareUtf8(one: string, other: string): number {
  const length = Math.min(one.length, other.length);
  for (let i = 0; i < length; i++) {
    const a = one.charCodeAt(i);
    const b = other.charCodeAt(i);
    if (a === b) continue;
    return (a >= 0xd800 && b >= 0xd800 ? rankHighUnit(a) - rankHighUnit(b) : a - b) < 0 ? -1 : 1;
  }
  return Math.sign(one.length - other.length);
}

function rankHighUnit(unit: number): number {
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

export class SortedKeys {
  #chunks: string[][] = [];

  add(key: string): void {
    const place = this.#chunkOf(key);
    const chunk = this.#chunks[place];
    if (chunk === undefined) {
      this.#chunks.push([key]);
      return;
    }
    const at = firstNotBefore(chunk, key);
    if (chunk[at] === key) return;
    chunk.splice(at, 0, key);
    if (chunk.length > CHUNK_KEYS_MAX) this.#chunks.splice(place + 1, 0, chunk.splice(CHUNK_KEYS_MAX / 2));
  }

  /** The last chunk whose first key is not after `key`, or the first chunk. */
  #chunkOf(key: string): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareUtf8((this.#chunks[middle] as string[])[0] as string, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, 0);
  }

  /** All keys that begin with `prefix`, in order. */
  withPrefix(prefix: string): string[] {
    const found: string[] = [];
    const place = this.#chunkOf(prefix);
    for (let i = place; i < this.#chunks.length; i++) {
      const chunk = this.#chunks[i] as string[];
      for (let at = i === place ? firstNotBefore(chunk, prefix) : 0; at < chunk.length; at++) {
        const key = chunk[at] as string;
        if (!key.startsWith(prefix)) return found;
        found.push(key);
      }
    }
    return found;
  }
}

function firstNotBefore(chunk: readonly string[], key: string): number {
  let low = 0;
  let high = chunk.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(chunk[middle] as string, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
