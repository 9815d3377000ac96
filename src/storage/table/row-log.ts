/**
 * A durable row log; implements `RowLog` of the core. Its older rows are in LMDB, its newer ones in memory and in
 * the journal. Offsets divide it:
 *
 *   0 … storedEnd     in LMDB, except those in `#gone` and `#goneMoving` and everything before `#clearedBefore`
 *   storedEnd … movingEnd   on their way into LMDB; read from memory
 *   … agedEnd         in memory and in the older journal file: the next checkpoint moves what is left of them
 *   … journaledEnd    in memory and in the newer journal file
 *   … endOffset       in memory only; the next commit journals them, except those removed by then
 *
 * The end offset survives because a number above it is reserved in the log's registry entry, and journaled with the
 * rows: after a crash offsets go on from the reserved number, so none is ever used twice.
 */

import type { Row, RowLog } from '../../core/storage.ts';
import { RowWindow } from '../memory/row-window.ts';
import type { Change } from './database.ts';
import type { FrameWriter } from './journal-frame.ts';
import { rowKey } from './keys.ts';
import type { Part, RowLogHome } from './part.ts';

/** Offsets reserved at a time. */
const RESERVED_STEP = 4096;

/** What LMDB and the registry know of a log at opening. */
export interface FoundRows {
  readonly endOffset: number;
  readonly reservedEnd: number;
  readonly storedCount: number;
}

/** Most logs have nothing to remove: they share this one, which stays empty. */
const NONE: ReadonlySet<number> = new Set();

export class DurableRowLog implements RowLog, Part {
  readonly name: string;
  readonly id: number;
  readonly #home: RowLogHome;
  readonly #window: RowWindow;
  #storedEnd: number;
  #movingEnd: number;
  #agedEnd: number;
  #journaledEnd: number;
  #reservedEnd: number;
  #storedCount: number;
  /** Rows in LMDB, or on their way there, that the next checkpoint removes; and those that the running one does. */
  #gone: Set<number> | null = null;
  #goneMoving: ReadonlySet<number> = NONE;
  #clearedBefore = 0;
  /** Of what the next frame must say. */
  #removals: number[] = [];
  #clearToJournal = 0;
  #clearToStore = 0;
  #clearMoving = 0;
  #inFrame = false;
  #inCheckpoint = false;
  #deleted = false;

  constructor(home: RowLogHome, name: string, id: number, found: FoundRows) {
    this.#home = home;
    this.name = name;
    this.id = id;
    this.#window = new RowWindow(found.endOffset);
    this.#storedEnd = found.endOffset;
    this.#movingEnd = found.endOffset;
    this.#agedEnd = found.endOffset;
    this.#journaledEnd = found.endOffset;
    this.#reservedEnd = found.reservedEnd;
    this.#storedCount = found.storedCount;
  }

  get endOffset(): number {
    return this.#window.endOffset;
  }

  get rowCount(): number {
    return this.#storedCount + this.#window.count;
  }

  append(row: Uint8Array): number {
    this.#changed();
    return this.#window.append(row);
  }

  remove(offset: number): void {
    if (offset >= this.#storedEnd) {
      if (!this.#window.remove(offset)) return;
      if (offset < this.#movingEnd) this.#addGone(offset);
      if (offset >= this.#journaledEnd) return;
    } else {
      if (!this.#isStored(offset)) return;
      this.#addGone(offset);
      this.#storedCount--;
    }
    this.#removals.push(offset);
    this.#changed();
  }

  #addGone(offset: number): void {
    this.#gone ??= new Set();
    this.#gone.add(offset);
  }

  #isGone(offset: number): boolean {
    return this.#goneMoving.has(offset) || (this.#gone?.has(offset) ?? false);
  }

  #isStored(offset: number): boolean {
    return (
      Number.isSafeInteger(offset) &&
      offset >= this.#clearedBefore &&
      offset < this.#storedEnd &&
      !this.#isGone(offset) &&
      this.#home.database.has(rowKey(this.id, offset))
    );
  }

  async read(offset: number, rowsMax: number, bytesMax: number): Promise<Row[]> {
    const rows: Row[] = [];
    let bytes = 0;
    const from = Math.max(offset, this.#clearedBefore);
    if (this.#storedCount > 0 && from < this.#storedEnd) {
      this.#home.database.eachRow(this.id, from, this.#storedEnd, (at, row) => {
        if (this.#isGone(at)) return true;
        if (rows.length > 0 && (rows.length >= rowsMax || bytes + row.length > bytesMax)) {
          bytes = Number.POSITIVE_INFINITY;
          return false;
        }
        rows.push({ offset: at, bytes: row });
        bytes += row.length;
        return true;
      });
    }
    if (bytes <= bytesMax || rows.length === 0) this.#window.collect(rows, from, rowsMax, bytesMax, bytes);
    return rows;
  }

  clear(): void {
    if (this.rowCount === 0) return;
    const end = this.endOffset;
    this.#window.removeBefore(end);
    this.#storedCount = 0;
    this.#gone = null;
    this.#clearedBefore = end;
    this.#clearToJournal = end;
    this.#clearToStore = end;
    this.#removals = [];
    this.#changed();
  }

  async delete(): Promise<void> {
    if (this.#deleted) return;
    this.clear();
    this.#deleted = true;
    this.#home.forgetRowLog(this.name, this.id);
  }

  #changed(): void {
    if (this.#inFrame) return;
    this.#inFrame = true;
    this.#home.changed(this);
  }

  /** Writes what happened since the last frame. `framed` follows when the frame is in the journal. */
  writeChanges(frame: FrameWriter): void {
    if (this.#clearToJournal > 0) frame.rowsCleared(this.id, this.#clearToJournal);
    for (const offset of this.#removals) frame.rowRemoved(this.id, offset);
    const end = this.endOffset;
    if (end > this.#reservedEnd && !this.#deleted) {
      this.#reservedEnd = end + RESERVED_STEP;
      this.#home.registerRowLog(this.name, this.id, this.#reservedEnd);
    }
    for (let offset = Math.max(this.#journaledEnd, this.#window.firstOffset); offset < end; offset++) {
      const row = this.#window.get(offset);
      if (row !== undefined) frame.row(this.id, offset, row);
    }
  }

  framed(): void {
    this.#clearToJournal = 0;
    this.#removals = [];
    this.#journaledEnd = this.endOffset;
    this.#inFrame = false;
    this.#joinCheckpoint();
  }

  #joinCheckpoint(): void {
    if (this.#inCheckpoint) return;
    this.#inCheckpoint = true;
    this.#home.toMove(this);
  }

  beginMove(everything: boolean): void {
    this.#inCheckpoint = false;
    this.#movingEnd = everything ? this.endOffset : this.#agedEnd;
    this.#agedEnd = this.endOffset;
    if (this.#movingEnd < this.#agedEnd) this.#joinCheckpoint();
    this.#clearMoving = this.#clearToStore;
    this.#clearToStore = 0;
    this.#goneMoving = this.#gone ?? NONE;
    this.#gone = null;
  }

  *changesToMove(): Iterable<Change> {
    const clearBefore = this.#clearMoving;
    if (clearBefore > 0) {
      // A page at a time, because the transaction in between changes what is there.
      let from = 0;
      for (;;) {
        const offsets = this.#home.database.rowOffsets(this.id, from, clearBefore, 1000);
        for (const offset of offsets) yield { key: rowKey(this.id, offset), value: null };
        if (offsets.length === 0) break;
        from = (offsets.at(-1) as number) + 1;
      }
    }
    for (const offset of this.#goneMoving) yield { key: rowKey(this.id, offset), value: null };
    // Rows go while this runs.
    for (const { offset, bytes } of this.#window.range(this.#storedEnd, this.#movingEnd))
      yield { key: rowKey(this.id, offset), value: bytes };
  }

  endMove(): void {
    const before = this.#window.count;
    this.#window.removeBefore(this.#movingEnd);
    this.#storedCount += before - this.#window.count;
    this.#storedEnd = this.#movingEnd;
    this.#clearMoving = 0;
    this.#goneMoving = NONE;
  }

  cancelMove(): void {
    this.#agedEnd = this.#movingEnd;
    this.#movingEnd = this.#storedEnd;
    this.#clearToStore = Math.max(this.#clearToStore, this.#clearMoving);
    this.#clearMoving = 0;
    for (const offset of this.#goneMoving) this.#addGone(offset);
    this.#goneMoving = NONE;
    this.#joinCheckpoint();
  }

  /** The process ends in good order: offsets go on where they are, without a gap. */
  releaseReserved(): void {
    if (this.#deleted || this.#reservedEnd === this.endOffset) return;
    this.#reservedEnd = this.endOffset;
    this.#home.registerRowLog(this.name, this.id, this.#reservedEnd);
  }
}
