/**
 * Rows in memory, by offset: the whole of a row log that is not durable, and the newest rows of one that is. A list
 * with a first offset; places of removed rows are empty, and empty places at the front are given back. Where a few
 * old rows stay and all behind them go, those few move to a map, so that the list does not grow for ever. Appending,
 * removing and finding cost the same whatever the number of rows.
 */

import type { Row } from '../../core/storage.ts';

/** Empty places at the front before the list is cut. */
const EMPTY_PLACES_MAX = 256;

/** A list of this length, of which at most one place in eight is in use, is given back. */
const SPARSE_PLACES = 4096;
const SPARSE_SHARE = 8;

export class RowWindow {
  /** Rows before the list, in the order of their offsets. */
  readonly #sparse = new Map<number, Uint8Array>();
  #rows: (Uint8Array | undefined)[] = [];
  /** Places before this one are empty. */
  #first = 0;
  /** Offset of place 0. */
  #base: number;
  count = 0;
  bytes = 0;

  constructor(offset: number) {
    this.#base = offset;
  }

  /** The offset that the next row gets. */
  get endOffset(): number {
    return this.#base + this.#rows.length;
  }

  /** No row is before this offset. */
  get firstOffset(): number {
    const oldest = this.#sparse.size === 0 ? undefined : this.#sparse.keys().next().value;
    return oldest ?? this.#base + this.#first;
  }

  append(row: Uint8Array): number {
    const places = this.#rows.length;
    if (places >= SPARSE_PLACES && (this.count - this.#sparse.size) * SPARSE_SHARE < places) this.#thin();
    const offset = this.endOffset;
    this.#rows.push(row);
    this.count++;
    this.bytes += row.length;
    return offset;
  }

  get(offset: number): Uint8Array | undefined {
    const place = offset - this.#base;
    if (place < 0) return this.#sparse.get(offset);
    // A place outside the list would be looked up as a property of that name, which is slow.
    return place >= this.#first && place < this.#rows.length ? this.#rows[place] : undefined;
  }

  /** Returns whether the row was there. */
  remove(offset: number): boolean {
    const place = offset - this.#base;
    const row = this.get(offset);
    if (row === undefined) return false;
    this.count--;
    this.bytes -= row.length;
    if (place < 0) {
      this.#sparse.delete(offset);
      return true;
    }
    this.#rows[place] = undefined;
    if (place === this.#first) this.#trim();
    return true;
  }

  /** Empties every place before `offset`. */
  removeBefore(offset: number): void {
    for (const [at, row] of this.#sparse) {
      if (at >= offset) break;
      this.#sparse.delete(at);
      this.count--;
      this.bytes -= row.length;
    }
    const end = Math.min(offset - this.#base, this.#rows.length);
    for (let place = this.#first; place < end; place++) {
      const row = this.#rows[place];
      if (row === undefined) continue;
      this.#rows[place] = undefined;
      this.count--;
      this.bytes -= row.length;
    }
    this.#trim();
  }

  #trim(): void {
    if (this.count === this.#sparse.size) {
      this.#base = this.endOffset;
      this.#rows = [];
      this.#first = 0;
      return;
    }
    while (this.#first < this.#rows.length && this.#rows[this.#first] === undefined) this.#first++;
    if (this.#first >= EMPTY_PLACES_MAX && this.#first * 2 >= this.#rows.length) {
      this.#rows = this.#rows.slice(this.#first);
      this.#base += this.#first;
      this.#first = 0;
    }
  }

  /** Moves the few rows of the list to the map. */
  #thin(): void {
    for (let place = this.#first; place < this.#rows.length; place++) {
      const row = this.#rows[place];
      if (row !== undefined) this.#sparse.set(this.#base + place, row);
    }
    this.#base = this.endOffset;
    this.#rows = [];
    this.#first = 0;
  }

  /** The rows in [`from`, `end`), in order; others may go meanwhile. */
  *range(from: number, end: number): Iterable<Row> {
    // What stands in the list now is found by its offset even if it moves to the map meanwhile.
    const base = this.#base;
    for (const offset of [...this.#sparse.keys()]) {
      const bytes = offset >= from && offset < end ? this.#sparse.get(offset) : undefined;
      if (bytes !== undefined) yield { offset, bytes };
    }
    for (let offset = Math.max(from, base); offset < end; offset++) {
      offset = Math.max(offset, this.firstOffset);
      const bytes = offset < end ? this.get(offset) : undefined;
      if (bytes !== undefined) yield { offset, bytes };
    }
  }

  /** Adds rows from `offset` on to `into`, until it holds `rowsMax` rows or `bytesMax` bytes. Returns the bytes. */
  collect(into: Row[], offset: number, rowsMax: number, bytesMax: number, bytesBefore: number): number {
    let bytes = bytesBefore;
    for (const [at, row] of offset < this.#base ? this.#sparse : []) {
      if (at < offset) continue;
      if (into.length > 0 && (into.length >= rowsMax || bytes + row.length > bytesMax)) return bytes;
      into.push({ offset: at, bytes: row });
      bytes += row.length;
    }
    for (let place = Math.max(offset - this.#base, this.#first); place < this.#rows.length; place++) {
      const row = this.#rows[place];
      if (row === undefined) continue;
      if (into.length > 0 && (into.length >= rowsMax || bytes + row.length > bytesMax)) return bytes;
      into.push({ offset: this.#base + place, bytes: row });
      bytes += row.length;
    }
    return bytes;
  }
}
