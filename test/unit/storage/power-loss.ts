/**
 * A disk that knows what a loss of power leaves of the journal: which sectors were synced, and which names. Whatever
 * was not may be there or not, sector by sector; names come in the order in which they were made, up to some point.
 * After a failed sync the system takes what it could not write for written, as Linux does.
 */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { copyFolder, FaultyFileSystem } from './storage-fixture.ts';

const SECTOR_BYTES = 512;

class File {
  content: Buffer = Buffer.alloc(0);
  durable: Buffer = Buffer.alloc(0);
  readonly dirty = new Set<number>();
  /** The least length that it was given since it was synced. */
  #cutTo = Number.POSITIVE_INFINITY;

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length;
    if (end > this.content.length) this.content = Buffer.concat([this.content], end);
    this.content.set(bytes, position);
    this.#changed(position, end);
  }

  #changed(from: number, end: number): void {
    for (let sector = Math.floor(from / SECTOR_BYTES); sector * SECTOR_BYTES < end; sector++) {
      this.dirty.add(sector);
    }
  }

  truncate(bytes: number): void {
    this.#changed(bytes, this.content.length);
    this.content = this.content.subarray(0, bytes);
    this.#cutTo = Math.min(this.#cutTo, bytes);
  }

  /** What is on the device when the sectors that `takes` were written, besides those that are there already. */
  afterWriting(takes: () => boolean): Buffer {
    const isCut = this.#cutTo < this.durable.length && takes();
    const durable = isCut ? this.durable.subarray(0, this.#cutTo) : this.durable;
    const after = Buffer.concat([durable], Math.max(durable.length, this.content.length));
    for (const sector of this.dirty) {
      const at = sector * SECTOR_BYTES;
      if (takes() && at < this.content.length) this.content.copy(after, at, at, at + SECTOR_BYTES);
    }
    return after;
  }

  /** Ends in what was written when the sync began; `takes`: of which sectors the device says that it has them. */
  sync(takes: () => boolean): void {
    this.durable = this.afterWriting(takes);
    if (this.durable.length > this.content.length)
      this.durable = this.durable.subarray(0, this.content.length);
    this.dirty.clear();
    this.#cutTo = Number.POSITIVE_INFINITY;
  }
}

type Names = Map<string, File>;

export class PowerlessFileSystem extends FaultyFileSystem {
  readonly #random: () => number;
  readonly #opened = new Map<number, File>();
  #names: Names = new Map();
  #durableNames: Names = new Map();
  #changes: ((names: Names) => void)[] = [];

  constructor(random: () => number) {
    super();
    this.#random = random;
  }

  #change(change: (names: Names) => void): void {
    change(this.#names);
    this.#changes.push(change);
  }

  /** The data folder as the next start finds it when the power goes now. */
  powerLost(folder: string): string {
    const copy = copyFolder(folder);
    const names = new Map(this.#durableNames);
    for (const change of this.#changes.slice(0, Math.floor(this.#random() * (this.#changes.length + 1)))) {
      change(names);
    }
    rmSync(join(copy, 'journal'), { recursive: true });
    mkdirSync(join(copy, 'journal'));
    for (const [name, file] of names) {
      writeFileSync(
        join(copy, 'journal', name),
        file.afterWriting(() => this.#random() < 0.5),
      );
    }
    return copy;
  }

  override open(path: string, flags: string): number {
    const fd = super.open(path, flags);
    if (basename(join(path, '..')) !== 'journal' || !flags.startsWith('w')) return fd;
    const file = this.#names.get(basename(path)) ?? new File();
    file.truncate(0);
    this.#opened.set(fd, file);
    this.#change((names) => names.set(basename(path), file));
    return fd;
  }

  override writev(fd: number, buffers: readonly Uint8Array[], position: number): number {
    const count = super.writev(fd, buffers, position);
    this.#opened.get(fd)?.write(Buffer.concat(buffers).subarray(0, count), position);
    return count;
  }

  override truncate(fd: number, bytes: number): void {
    super.truncate(fd, bytes);
    this.#opened.get(fd)?.truncate(bytes);
  }

  override sync(fd: number, done: (error: Error | null) => void): void {
    const file = this.#opened.get(fd);
    super.sync(fd, (error) => {
      file?.sync(error === null ? () => true : () => this.#random() < 0.5);
      done(error);
    });
  }

  override syncSync(fd: number): void {
    super.syncSync(fd);
    if (!this.paths.get(fd)?.endsWith('journal')) return;
    this.#durableNames = new Map(this.#names);
    this.#changes = [];
  }

  override rename(from: string, to: string): void {
    super.rename(from, to);
    this.#change((names) => {
      const file = names.get(basename(from));
      names.delete(basename(from));
      if (file !== undefined) names.set(basename(to), file);
    });
  }

  override remove(path: string): void {
    super.remove(path);
    this.#change((names) => names.delete(basename(path)));
  }

  override closeLater(fd: number): void {
    this.#opened.delete(fd);
    super.closeLater(fd);
  }
}
