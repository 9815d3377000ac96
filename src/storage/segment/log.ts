/**
 * A batch log in a folder of segment files; implements `BatchLog` of the core. Appends are gathered and written by
 * the group commit in one call, or earlier when many bytes wait. Reads see an append at once, from memory. When the
 * disk refuses, the gathered batches stay in memory and are tried again by the next commit; meanwhile further
 * appends are refused, so what waits stays bounded.
 *
 * Folder: `<base offset>.log` and `<base offset>.index` for each segment, `start` (see `start-file.ts`).
 */

import assert from 'node:assert';
import { join } from 'node:path';
import { CoreError } from '../../core/errors.ts';
import { BATCH_HEADER_BYTES, BatchField, batchBytes } from '../../core/record-batch.ts';
import type { BatchLog, BatchLogOptions } from '../../core/storage.ts';
import type { CommitPart, GroupCommit, SyncTarget } from '../commit.ts';
import { type FileSystem, syncFolderSync } from '../file-system.ts';
import type { Report } from '../report.ts';
import { nextOffsetOf, readOffset, writeOffset } from './batch-check.ts';
import { SEGMENT_SUFFIX } from './folder-name.ts';
import { timeInBatch } from './record-times.ts';
import { Segment } from './segment.ts';
import { readStart, writeStart } from './start-file.ts';
import { Tail, type TailBudget } from './tail-cache.ts';

/** Gathered bytes above which an append writes at once instead of waiting for the commit. */
export const PENDING_BYTES_MAX = 4 * 1024 * 1024;
/** Bytes that a walk over headers reads at a time. */
const SCAN_BYTES = 64 * 1024;
/** Written into the leader epoch field: one node, never another leader. */
const LEADER_EPOCH = 0;

export interface SegmentLogContext {
  readonly files: FileSystem;
  readonly commit: GroupCommit;
  readonly budget: TailBudget;
  readonly report: Report;
}

export class SegmentLog implements BatchLog, CommitPart {
  readonly name: string;
  readonly #context: SegmentLogContext;
  readonly #folder: string;
  readonly #tail: Tail;
  readonly #onDeleted: () => void;
  #options: BatchLogOptions;
  #segments: Segment[] = [];
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #writtenBytes = 0;
  #startOffset = 0;
  #endOffset = 0;
  #failed = false;
  #startChanged = false;
  #folderChanged = true;
  #closed = false;

  constructor(
    name: string,
    folder: string,
    options: BatchLogOptions,
    context: SegmentLogContext,
    onDeleted: () => void,
  ) {
    this.name = name;
    this.#folder = folder;
    this.#options = options;
    this.#context = context;
    this.#onDeleted = onDeleted;
    this.#tail = new Tail(context.budget);
    this.#open();
  }

  get startOffset(): number {
    return this.#startOffset;
  }

  get endOffset(): number {
    return this.#endOffset;
  }

  get sizeBytes(): number {
    return this.#writtenBytes + this.#pendingBytes;
  }

  get #active(): Segment {
    return this.#segments.at(-1) as Segment;
  }

  #open(): void {
    const { files, report } = this.#context;
    const bases = files
      .list(this.#folder)
      .filter((file) => file.endsWith(SEGMENT_SUFFIX))
      .map((file) => Number(file.slice(0, -SEGMENT_SUFFIX.length)))
      .filter((base) => Number.isSafeInteger(base) && base >= 0)
      .sort((one, other) => one - other);
    const lastBase = bases.pop();
    this.#startOffset = readStart(files, this.#folder, this.name, report);
    if (lastBase === undefined) {
      this.#segments.push(Segment.create(files, this.#folder, this.#startOffset));
    } else {
      for (let i = 0; i < bases.length; i++) {
        const next = bases[i + 1] ?? lastBase;
        this.#segments.push(Segment.adopt(files, this.#folder, bases[i] as number, next));
      }
      this.#recover(lastBase);
    }
    for (const segment of this.#segments) this.#writtenBytes += segment.bytes;
    this.#endOffset = this.#active.nextOffset;
    this.#tail.writtenOffset = this.#endOffset;
    const first = this.#segments[0] as Segment;
    this.#startOffset = Math.min(Math.max(this.#startOffset, first.baseOffset), this.#endOffset);
    this.#dropSegments(this.#startOffset);
    this.#context.commit.dirty(this);
  }

  #recover(baseOffset: number): void {
    const { files, report } = this.#context;
    const [segment, recovery] = Segment.recover(files, this.#folder, baseOffset);
    this.#segments.push(segment);
    const details = { log: this.name, segment: baseOffset, endOffset: segment.nextOffset };
    if (recovery.cutBytes > 0) {
      const text = 'cut an incomplete end of a stream log: a write there had not finished';
      report({ level: 'warn', text, details: { ...details, cutBytes: recovery.cutBytes } });
    }
    for (const damage of recovery.damages) {
      const text = 'a stream log is damaged in the middle; it is readable before and after that place';
      report({ level: 'error', text, details: { ...details, at: damage.position, bytes: damage.bytes } });
    }
  }

  /** Whether everything that was appended is where a commit puts it. */
  get isCommitted(): boolean {
    const isDurable = this.#context.commit.level === 'os' || !this.#active.needsSync;
    return this.#closed || (this.#pending.length === 0 && isDurable);
  }

  append(batch: Buffer): number {
    if (this.#closed) throw new CoreError('storage-failed', `the log ${this.name} is closed`);
    if (batch.length < BATCH_HEADER_BYTES || batchBytes(batch) !== batch.length) {
      throw new CoreError('corrupt-batch', 'the length of the record batch is not the length that it says');
    }
    const waits = this.#pendingBytes + batch.length > PENDING_BYTES_MAX;
    if (this.#failed || (waits && this.#pending.length > 0)) this.#writePending();
    const offset = this.#endOffset;
    writeOffset(batch, offset, BatchField.baseOffset);
    batch.writeInt32BE(LEADER_EPOCH, BatchField.leaderEpoch);
    this.#endOffset = nextOffsetOf(batch, 0);
    assert(this.#endOffset > offset);
    this.#pending.push(batch);
    this.#pendingBytes += batch.length;
    this.#tail.add(batch);
    this.#context.commit.dirty(this);
    return offset;
  }

  flush(targets: SyncTarget[]): void {
    if (this.#closed) return;
    const durable = this.#context.commit.level === 'fsync';
    this.#writePending();
    try {
      if (this.#startChanged) {
        writeStart(this.#context.files, this.#folder, this.#startOffset, durable);
        this.#startChanged = false;
        this.#folderChanged = true;
      }
      if (this.#folderChanged && durable) syncFolderSync(this.#context.files, this.#folder);
      this.#folderChanged = false;
    } catch (error) {
      throw this.#refusal(error as Error);
    }
    if (this.#active.needsSync) targets.push(this.#active);
  }

  #writePending(): void {
    try {
      while (this.#pending.length > 0) {
        const room = this.#options.segmentBytes - this.#active.bytes;
        let count = 0;
        let bytes = 0;
        for (; count < this.#pending.length; count++) {
          const length = (this.#pending[count] as Buffer).length;
          if (bytes + length > room) break;
          bytes += length;
        }
        if (count === 0 && this.#active.bytes > 0) {
          this.#roll(readOffset(this.#pending[0] as Buffer, 0));
          continue;
        }
        // A batch larger than a segment has one of its own.
        this.#writeFirst(Math.max(count, 1));
      }
      this.#failed = false;
    } catch (error) {
      this.#failed = true;
      throw this.#refusal(error as Error);
    }
  }

  #writeFirst(count: number): void {
    const all = count === this.#pending.length;
    const batches = all ? this.#pending : this.#pending.slice(0, count);
    const before = this.#active.bytes;
    this.#active.write(batches);
    const bytes = this.#active.bytes - before;
    this.#pending = all ? [] : this.#pending.slice(count);
    this.#pendingBytes -= bytes;
    this.#writtenBytes += bytes;
    this.#tail.writtenOffset = this.#active.nextOffset;
  }

  #roll(baseOffset: number): void {
    const { files, commit } = this.#context;
    const full = this.#active;
    if (commit.level === 'fsync') full.syncNow();
    this.#segments.push(Segment.create(files, this.#folder, baseOffset));
    full.seal();
    this.#folderChanged = true;
  }

  #refusal(cause: Error): CoreError {
    return new CoreError('storage-failed', `the disk refused to write ${this.name}: ${cause.message}`, {
      cause,
    });
  }

  async read(offset: number, bytesMax: number): Promise<Buffer> {
    if (!(offset >= this.#startOffset && offset <= this.#endOffset)) {
      throw new CoreError(
        'offset-out-of-range',
        `${this.name} has offsets ${this.#startOffset} to ${this.#endOffset}`,
      );
    }
    if (offset === this.#endOffset) return Buffer.alloc(0);
    const hot = this.#tail.read(offset, bytesMax);
    if (hot !== null) return hot;
    const segment = this.#segmentOf(offset);
    const position = await this.#locate(segment, offset);
    const bytes = await this.#readBytes(segment, position, Math.max(bytesMax, BATCH_HEADER_BYTES));
    const length = this.#wholeBatches(segment, bytes, position, bytesMax);
    if (length === 0) throw this.#damaged(offset);
    if (length <= bytes.length) return bytes.subarray(0, length);
    const first = await this.#readBytes(segment, position, length);
    if (first.length < length) throw this.#damaged(offset);
    return first;
  }

  /** Bytes of whole batches in `bytes` up to `bytesMax`; if not even the first fits, the bytes of that one. */
  #wholeBatches(segment: Segment, bytes: Buffer, position: number, bytesMax: number): number {
    let at = 0;
    let offsetMin = segment.baseOffset;
    while (bytes.length - at >= BATCH_HEADER_BYTES && !segment.isDamagedAt(position + at)) {
      const length = segment.checkAt(bytes, at, position + at, offsetMin);
      if (length === 0) break;
      if (at + length > bytesMax || at + length > bytes.length) return at === 0 ? length : at;
      offsetMin = nextOffsetOf(bytes, at);
      at += length;
    }
    return at;
  }

  #segmentOf(offset: number): Segment {
    let at = this.#segments.length - 1;
    while (at > 0 && (this.#segments[at] as Segment).baseOffset > offset) at--;
    return this.#segments[at] as Segment;
  }

  async #locate(segment: Segment, offset: number): Promise<number> {
    const position = await this.#guardRead(segment.find(offset));
    if (position < 0) throw this.#damaged(offset);
    return position;
  }

  #readBytes(segment: Segment, position: number, bytes: number): Promise<Buffer> {
    return this.#guardRead(segment.readAt(position, bytes));
  }

  async #guardRead<T>(read: Promise<T>): Promise<T> {
    try {
      return await read;
    } catch (error) {
      if (this.#closed)
        throw new CoreError('storage-failed', `the log ${this.name} was closed during a read`);
      const cause = error as Error;
      throw new CoreError('storage-failed', `the disk failed to read ${this.name}: ${cause.message}`, {
        cause,
      });
    }
  }

  #damaged(offset: number): CoreError {
    const text = `the log ${this.name} is damaged at offset ${offset}`;
    if (offset < this.#startOffset) return new CoreError('offset-out-of-range', `${text}, which was dropped`);
    this.#context.report({ level: 'error', text, details: { log: this.name, offset } });
    return new CoreError('corrupt-batch', text);
  }

  async offsetAt(timeMs: number): Promise<{ readonly offset: number; readonly timeMs: number } | null> {
    for (const segment of [...this.#segments]) {
      if (segment.maxTimeMs < timeMs) continue;
      for await (const header of this.#headersOf(segment, segment.positionOfTime(timeMs))) {
        if (
          nextOffsetOf(header, 0) <= this.#startOffset ||
          readOffset(header, BatchField.maxTimestamp) < timeMs
        ) {
          continue;
        }
        const found = await this.#timeIn(readOffset(header, 0), timeMs);
        if (found !== null) return found;
      }
    }
    for (const batch of this.#pending) {
      if (readOffset(batch, BatchField.maxTimestamp) < timeMs) continue;
      const found = timeInBatch(batch, timeMs, this.#startOffset);
      if (found !== null) return found;
    }
    return null;
  }

  async #timeIn(offset: number, timeMs: number): Promise<{ offset: number; timeMs: number } | null> {
    const batch = await this.read(Math.max(offset, this.#startOffset), 1);
    return batch.length === 0 ? null : timeInBatch(batch, timeMs, this.#startOffset);
  }

  async *scanHeaders(offset: number): AsyncIterable<Buffer> {
    let next = Math.max(offset, this.#startOffset);
    for (const segment of [...this.#segments]) {
      if (segment.nextOffset <= next || segment.bytes === 0) continue;
      const from = await this.#guardRead(segment.find(Math.max(next, segment.baseOffset)));
      if (from < 0) continue;
      for await (const header of this.#headersOf(segment, from)) {
        next = nextOffsetOf(header, 0);
        yield header;
      }
    }
    for (const batch of [...this.#pending]) {
      if (nextOffsetOf(batch, 0) > next) yield Buffer.from(batch.subarray(0, BATCH_HEADER_BYTES));
    }
  }

  /** Headers from `position` to the end of the segment or to its first damage. */
  async *#headersOf(segment: Segment, from: number): AsyncIterable<Buffer> {
    let position = from;
    let offsetMin = segment.baseOffset;
    while (position < segment.bytes) {
      const window = await this.#readBytes(segment, position, SCAN_BYTES);
      let at = 0;
      while (window.length - at >= BATCH_HEADER_BYTES) {
        const length = segment.checkAt(window, at, position + at, offsetMin);
        if (length === 0 || segment.isDamagedAt(position + at)) return;
        offsetMin = nextOffsetOf(window, at);
        yield window.subarray(at, at + BATCH_HEADER_BYTES);
        at += length;
      }
      if (at === 0) return;
      position += at;
    }
  }

  truncateBefore(offset: number): void {
    const target = Math.min(offset, this.#endOffset);
    if (this.#closed || target <= this.#startOffset) return;
    this.#startOffset = target;
    this.#startChanged = true;
    this.#context.commit.dirty(this);
    this.#dropSegments(target);
  }

  /** Removes segments that hold nothing from `offset` on. The last one stays: its name keeps the end offset. */
  #dropSegments(offset: number): void {
    while (this.#segments.length > 1 && (this.#segments[1] as Segment).baseOffset <= offset)
      this.#dropFirst();
  }

  #dropFirst(): void {
    const segment = this.#segments.shift() as Segment;
    this.#writtenBytes -= segment.bytes;
    this.#startOffset = Math.max(this.#startOffset, segment.nextOffset);
    try {
      segment.delete();
    } catch (error) {
      const details = { log: this.name, segment: segment.baseOffset, cause: (error as Error).message };
      this.#context.report({ level: 'warn', text: 'an expired segment could not be removed', details });
    }
  }

  configure(options: BatchLogOptions): void {
    this.#options = options;
  }

  expire(nowMs: number): void {
    if (this.#closed) return;
    const { retentionMs, retentionBytes } = this.#options;
    if (retentionMs >= 0) {
      while (this.#isOlderThan(nowMs - retentionMs)) {
        // The last one is replaced by an empty one when all of it is too old.
        if (this.#segments.length === 1 && !this.#rollEmpty()) break;
        this.#dropFirst();
      }
    }
    if (retentionBytes < 0) return;
    while (
      this.#segments.length > 1 &&
      this.#writtenBytes - (this.#segments[0] as Segment).bytes >= retentionBytes
    ) {
      this.#dropFirst();
    }
  }

  #isOlderThan(timeMs: number): boolean {
    const first = this.#segments[0] as Segment;
    return first.bytes > 0 && first.maxTimeMs < timeMs;
  }

  #rollEmpty(): boolean {
    if (this.#pending.length > 0) return false;
    try {
      this.#roll(this.#endOffset);
    } catch {
      return false;
    }
    this.#context.commit.dirty(this);
    return true;
  }

  async delete(): Promise<void> {
    this.close();
    this.#tail.clear();
    // The name goes first, so that a crash in between leaves rubbish that opening removes, never half a log.
    const { files, commit } = this.#context;
    const doomed = `${this.#folder}~deleted`;
    try {
      files.removeFolder(doomed);
      files.rename(this.#folder, doomed);
      this.#onDeleted();
      if (commit.level === 'fsync') syncFolderSync(files, join(this.#folder, '..'));
      files.removeFolder(doomed);
    } catch (error) {
      throw this.#refusal(error as Error);
    }
  }

  /** What was appended and not committed is lost; the storage commits before it closes. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#context.commit.forget(this);
    for (const segment of this.#segments) segment.close();
  }
}
