/**
 * One segment of a batch log: the file `<base offset, 20 digits>.log`, which is nothing but record batches one after
 * another, with its sparse index. Only the last segment of a log is written; it keeps its file open. Complete
 * segments are opened while somebody reads them. After a failed write the file is cut back to the last whole batch
 * before anything else may be written, so half a batch never stands in front of a later one. Used by `log.ts` only.
 */

import { basename, join } from 'node:path';
import { BATCH_HEADER_BYTES } from '../../core/record-batch.ts';
import type { SyncTarget } from '../commit.ts';
import { type Done, type FileSystem, readAll, readWholeFile, replaceFile, writeAll } from '../file-system.ts';
import { checkHeader, maxTimeOf, nextOffsetOf, readOffset } from './batch-check.ts';
import type { Extent } from './extent.ts';
import { fileNameFromOffset, INDEX_SUFFIX, SEGMENT_SUFFIX } from './folder-name.ts';
import { type Damage, scanHeaders, scanWhole } from './segment-scan.ts';
import { INDEX_INTERVAL_BYTES, SparseIndex } from './sparse-index.ts';

/** What opening found out about a segment, to report. */
export interface Recovery {
  readonly cutBytes: number;
  readonly damages: readonly Damage[];
}

export class Segment implements SyncTarget {
  readonly baseOffset: number;
  readonly #files: FileSystem;
  readonly #folder: string;
  readonly #path: string;
  #index: SparseIndex | null = new SparseIndex();
  #damages: readonly Damage[] = [];
  /** Every batch was checked when it was opened, or was written by this process. */
  #isChecked = true;
  #nextOffset: number;
  #bytes = 0;
  #syncedBytes = 0;
  /** Behind all damage that opening found. */
  #soundFrom = 0;
  /** After a failed sync the system may have forgotten that pages are dirty: they are written again first. */
  #rewrite = false;
  /** Bytes beyond `#bytes` may be in the file: cut before the next write. */
  #ragged = false;
  #fd = -1;
  #users = 0;
  #isActive = false;
  #isDeleted = false;
  #isClosed = false;

  private constructor(files: FileSystem, folder: string, baseOffset: number) {
    this.#files = files;
    this.#folder = folder;
    this.baseOffset = baseOffset;
    this.#nextOffset = baseOffset;
    this.#path = join(folder, fileNameFromOffset(baseOffset, SEGMENT_SUFFIX));
  }

  static create(files: FileSystem, folder: string, baseOffset: number): Segment {
    const segment = new Segment(files, folder, baseOffset);
    // A file of that name can only be what a failed creation left behind, without one acknowledged batch.
    segment.#fd = files.open(segment.#path, 'w+');
    segment.#isActive = true;
    return segment;
  }

  /** Opens the segment that will be written on: everything in it is checked and a torn tail is cut. */
  static recover(files: FileSystem, folder: string, baseOffset: number): [Segment, Recovery] {
    const segment = new Segment(files, folder, baseOffset);
    segment.#fd = files.open(segment.#path, 'r+');
    segment.#isActive = true;
    const found = scanWhole(files, segment.#fd, baseOffset);
    const cutBytes = files.size(segment.#fd) - found.goodBytes;
    segment.#index = found.index;
    segment.#damages = found.damages;
    for (const { position, bytes } of found.damages) segment.#soundFrom = position + bytes;
    segment.#nextOffset = found.nextOffset;
    segment.#bytes = found.goodBytes;
    segment.#ragged = cutBytes > 0;
    segment.#cutRaggedEnd();
    return [segment, { cutBytes, damages: found.damages }];
  }

  /** Takes a complete segment as it is; `nextOffset` is where the following one begins. */
  static adopt(files: FileSystem, folder: string, baseOffset: number, nextOffset: number): Segment {
    const segment = new Segment(files, folder, baseOffset);
    segment.#nextOffset = nextOffset;
    segment.#index = null;
    segment.#isChecked = false;
    segment.#acquire();
    try {
      segment.#bytes = files.size(segment.#fd);
    } finally {
      segment.#release();
    }
    segment.#syncedBytes = segment.#bytes;
    return segment;
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get needsSync(): boolean {
    return this.#syncedBytes < this.#bytes;
  }

  get syncedBytes(): number {
    return this.#isDeleted || this.#isClosed ? Number.POSITIVE_INFINITY : this.#syncedBytes;
  }

  /** What the next sync has to put on the device. */
  get extent(): Extent {
    return {
      folder: basename(this.#folder),
      baseOffset: this.baseOffset,
      from: Math.max(this.#syncedBytes, this.#soundFrom),
      end: this.#bytes,
      endOffset: this.#nextOffset,
    };
  }

  /** Greatest timestamp in it, -1 when it is empty. */
  get maxTimeMs(): number {
    return this.#loadIndex().maxTimeMs;
  }

  /** Throws the system's error; then nothing of `batches` is in the segment. */
  write(batches: readonly Buffer[]): void {
    this.#cutRaggedEnd();
    this.#ragged = true;
    let written: number;
    try {
      written = writeAll(this.#files, this.#fd, batches, this.#bytes);
    } catch (error) {
      try {
        this.#cutRaggedEnd();
      } catch {
        // It stays ragged, and the next write begins with cutting it.
      }
      throw error;
    }
    this.#ragged = false;
    const index = this.#loadIndex();
    let position = this.#bytes;
    for (const batch of batches) {
      index.add(position, readOffset(batch, 0), maxTimeOf(batch, 0));
      position += batch.length;
      this.#nextOffset = nextOffsetOf(batch, 0);
    }
    this.#bytes += written;
  }

  #cutRaggedEnd(): void {
    if (!this.#ragged) return;
    this.#files.truncate(this.#fd, this.#bytes);
    this.#ragged = false;
  }

  sync(done: Done): void {
    if (this.#isDeleted) {
      process.nextTick(done, null);
      return;
    }
    const bytes = this.#bytes;
    try {
      this.#acquire();
      if (this.#rewrite) this.#writeAgain();
    } catch (error) {
      process.nextTick(done, error as Error);
      return;
    }
    this.#files.sync(this.#fd, (error) => {
      if (error === null) this.#syncedBytes = Math.max(this.#syncedBytes, bytes);
      else this.#rewrite = true;
      this.#release();
      done(error);
    });
  }

  #writeAgain(): void {
    const bytes = Buffer.allocUnsafe(this.#bytes - this.#syncedBytes);
    const read = this.#files.readSync(this.#fd, bytes, 0, bytes.length, this.#syncedBytes);
    writeAll(this.#files, this.#fd, [bytes.subarray(0, read)], this.#syncedBytes);
    this.#rewrite = false;
  }

  /** Waits for the device; before a new segment begins, so that only the last one can have a torn end. */
  syncNow(): void {
    if (!this.needsSync) return;
    if (this.#rewrite) this.#writeAgain();
    this.#files.syncSync(this.#fd);
    this.#syncedBytes = this.#bytes;
  }

  /** No more will be written. */
  seal(): void {
    this.#isActive = false;
    this.#closeIfIdle();
    this.#saveIndex(this.#loadIndex());
  }

  close(): void {
    this.#isActive = false;
    this.#isClosed = true;
    this.#closeIfIdle();
  }

  delete(): void {
    this.#isDeleted = true;
    // Kept open while the name goes, so that the room is given back on another thread.
    this.#acquire();
    this.#files.remove(this.#path);
    this.#files.remove(join(this.#folder, fileNameFromOffset(this.baseOffset, INDEX_SUFFIX)));
    this.#isActive = false;
    this.#release();
  }

  /** The batches of [`from`, `from` + `bytes`) of the file; not checked. */
  async readAt(position: number, bytes: number): Promise<Buffer> {
    const wanted = Math.min(bytes, this.#bytes - position);
    const into = Buffer.allocUnsafeSlow(Math.max(wanted, 0));
    if (wanted <= 0) return into;
    this.#acquire();
    try {
      return into.subarray(0, await readAll(this.#files, this.#fd, into, wanted, position));
    } finally {
      this.#release();
    }
  }

  /**
   * The position of the batch that holds `offset`; -1 when no whole batch here holds it. A position that the index
   * gives is believed only if a fitting batch is there.
   */
  async find(offset: number): Promise<number> {
    let position = this.#loadIndex().positionOf(offset);
    let offsetMin = this.baseOffset;
    while (position < this.#bytes) {
      const window = await this.readAt(position, INDEX_INTERVAL_BYTES);
      let at = 0;
      while (window.length - at >= BATCH_HEADER_BYTES) {
        const length = this.isDamagedAt(position + at)
          ? 0
          : this.checkAt(window, at, position + at, offsetMin);
        if (length === 0) break;
        if (readOffset(window, at) > offset) return -1;
        offsetMin = nextOffsetOf(window, at);
        if (offsetMin > offset) return position + at;
        at += length;
      }
      if (at > 0) {
        position += at;
        continue;
      }
      const good = this.#skipDamage(position);
      if (good < 0) return -1;
      position = good;
    }
    return -1;
  }

  /** Bytes of the batch whose header is in `window` at `at`, which is `position` in the file; 0 when it is none. */
  checkAt(window: Buffer, at: number, position: number, offsetMin: number): number {
    return checkHeader(window, at, offsetMin, this.#bytes - position);
  }

  /** Where good batches go on after the bad place at `position`, -1 when they do not. */
  #skipDamage(position: number): number {
    if (!this.#isChecked) this.#checkWhole();
    const damage = this.#damages.find(
      (one) => position >= one.position && position < one.position + one.bytes,
    );
    return damage === undefined ? -1 : damage.position + damage.bytes;
  }

  /** A complete segment is checked when something in it looked wrong; so is its index. */
  #checkWhole(): void {
    this.#acquire();
    try {
      const found = scanWhole(this.#files, this.#fd, this.baseOffset);
      this.#damages = found.damages;
      this.#index = found.index;
      this.#isChecked = true;
      if (!this.#isActive) this.#saveIndex(found.index);
    } finally {
      this.#release();
    }
  }

  positionOfTime(timeMs: number): number {
    return this.#loadIndex().positionOfTime(timeMs);
  }

  /** Whether recovery found that `position` is where readable bytes end. */
  isDamagedAt(position: number): boolean {
    return this.#damages.some((damage) => damage.position === position);
  }

  #loadIndex(): SparseIndex {
    if (this.#index !== null) return this.#index;
    const bytes = readWholeFile(
      this.#files,
      join(this.#folder, fileNameFromOffset(this.baseOffset, INDEX_SUFFIX)),
    );
    const index = bytes === null ? null : SparseIndex.decode(bytes, this.#bytes, this.#nextOffset);
    if (index === null) return this.#rebuildIndex();
    this.#index = index;
    return index;
  }

  #rebuildIndex(): SparseIndex {
    this.#acquire();
    try {
      const { index } = scanHeaders(this.#files, this.#fd, this.baseOffset);
      this.#index = index;
      if (!this.#isActive) this.#saveIndex(index);
      return index;
    } finally {
      this.#release();
    }
  }

  /** An index that could not be written will be rebuilt; so a full disk is no error here. */
  #saveIndex(index: SparseIndex): void {
    const bytes = index.encode(this.#bytes, this.#nextOffset);
    try {
      replaceFile(
        this.#files,
        join(this.#folder, fileNameFromOffset(this.baseOffset, INDEX_SUFFIX)),
        bytes,
        false,
      );
    } catch {
      // Nothing depends on it.
    }
  }

  #acquire(): void {
    if (this.#fd < 0) this.#fd = this.#files.open(this.#path, 'r+');
    this.#users++;
  }

  #release(): void {
    this.#users--;
    this.#closeIfIdle();
  }

  #closeIfIdle(): void {
    if (this.#isActive || this.#users > 0 || this.#fd < 0) return;
    if (this.#isDeleted) this.#files.closeLater(this.#fd);
    else this.#files.close(this.#fd);
    this.#fd = -1;
  }
}
