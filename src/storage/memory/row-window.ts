/**
 * Rows in memory, by offset: the whole of a row log that is not durable, and the newest rows of one that is. A list
 * with a first offset; places of removed rows are empty, and empty places at the front are given back. Appending,
 * removing and finding cost the same whatever the number of rows.
 */

import type { Row } from '../../core/storage.ts';

/** Empty places at the front before the list is cut. */
const EMPTY_PLACES_MAX = 256;

export class RowWindow {
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
    return this.#base + this.#first;
  }

  append(row: Uint8Array): number {
    const offset = this.endOffset;
    this.#rows.push(row);
    this.count++;
    this.bytes += row.length;
    return offset;
  }

  get(offset: number): Uint8Array | undefined {
    const place = offset - this.#base;
    // A place outside the list would be looked up as a property of that name, which is slow.
    return place >= this.#first && place < this.#rows.length ? this.#rows[place] : undefined;
  }

  /** Returns whether the row was there. */
  remove(offset: number): boolean {
    const place = offset - this.#base;
    const row = this.get(offset);
    if (row === undefined) return false;
    this.#rows[place] = undefined;
    this.count--;
    this.bytes -= row.length;
    if (place === this.#first) this.#trim();
    return true;
  }

  /** Empties every place before `offset`. */
  removeBefore(offset: number): void {
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
    if (this.count === 0) {
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

  /** Adds rows from `offset` on to `into`, until it holds `rowsMax` rows or `bytesMax` bytes. Returns the bytes. */
  collect(into: Row[], offset: number, rowsMax: number, bytesMax: number, bytesBefore: number): number {
    let bytes = bytesBefore;
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
