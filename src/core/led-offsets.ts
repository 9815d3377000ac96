/**
 * Of one partition: which batches of idempotent producers were led to where else they belong. It is put into a table in
 * the same turn as the rows that they were led to, so a crash leaves both or neither; streams are written before tables,
 * so what was led into another stream is there as well. A batch that stands in the log after a crash, and not in here, is
 * led on when its producer sends it again. Kept by `partition.ts`.
 *
 * Ranges of offsets, disjoint and in order. Forgetting one is safe: what is in it may be led on a second time. Stored,
 * big-endian: layout version 1 (1 byte), then for each range its first offset (8) and the offset after its last (8).
 */

import { Buffer } from 'node:buffer';

/** A crash adds one, and so does each batch that is sent again out of the middle of what it left. */
const RANGES_MAX = 32;
const VERSION = 1;
const RANGE_BYTES = 16;

interface Range {
  from: number;
  end: number;
}

export class LedOffsets {
  #ranges: Range[] = [];

  /** The offset after the last one that is remembered. */
  get end(): number {
    return this.#ranges.at(-1)?.end ?? 0;
  }

  has(offset: number): boolean {
    return this.#ranges.some(({ from, end }) => offset >= from && offset < end);
  }

  /** From now on all of [`from`, `end`) is remembered. */
  add(from: number, end: number): void {
    if (from >= end) return;
    const last = this.#ranges.at(-1);
    // What is appended comes one after the other.
    if (last !== undefined && from >= last.from && from <= last.end) {
      if (end > last.end) last.end = end;
      return;
    }
    const added = { from, end };
    const apart: Range[] = [];
    for (const range of this.#ranges) {
      if (range.end < from || range.from > end) {
        apart.push(range);
        continue;
      }
      added.from = Math.min(added.from, range.from);
      added.end = Math.max(added.end, range.end);
    }
    apart.push(added);
    this.#ranges = apart.sort((one, other) => one.from - other.from);
    if (apart.length > RANGES_MAX) this.#forgetShortest();
  }

  /** Neither the first, in which nearly all is that was ever led, nor the last, which grows. */
  #forgetShortest(): void {
    let shortest = 1;
    for (let at = 2; at < this.#ranges.length - 1; at++)
      if (lengthOf(this.#ranges[at] as Range) < lengthOf(this.#ranges[shortest] as Range)) shortest = at;
    this.#ranges.splice(shortest, 1);
  }

  /** Forgets what is not before `end`. */
  cut(end: number): void {
    this.#ranges = this.#ranges.filter(({ from }) => from < end);
    const last = this.#ranges.at(-1);
    if (last !== undefined && last.end > end) last.end = end;
  }

  /** Remembers the gaps before `end` in which nothing begins that can be sent again: `offsets` are where that does. */
  closeGaps(offsets: Iterable<number>, end: number): void {
    const open = [...offsets].filter((offset) => offset < end && !this.has(offset));
    let from = 0;
    for (const next of [...this.#ranges, { from: end, end }]) {
      if (!open.some((offset) => offset >= from && offset < next.from)) this.add(from, next.from);
      from = next.end;
    }
  }

  encode(): Uint8Array {
    const bytes = Buffer.allocUnsafe(1 + this.#ranges.length * RANGE_BYTES);
    let at = bytes.writeUInt8(VERSION, 0);
    for (const { from, end } of this.#ranges) {
      at = bytes.writeBigInt64BE(BigInt(from), at);
      at = bytes.writeBigInt64BE(BigInt(end), at);
    }
    return bytes;
  }

  /** Takes over what was stored. What cannot be read is forgotten. */
  restore(stored: Uint8Array | undefined): void {
    this.#ranges = [];
    if (stored === undefined || stored[0] !== VERSION || stored.length % RANGE_BYTES !== 1) return;
    const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
    for (let at = 1; at < bytes.length; at += RANGE_BYTES) {
      this.add(Number(bytes.readBigInt64BE(at)), Number(bytes.readBigInt64BE(at + 8)));
    }
  }
}

const lengthOf = ({ from, end }: Range): number => end - from;
