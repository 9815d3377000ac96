/**
 * A disk that knows what a loss of power leaves of the journal and of streams: which sectors were synced, and which names.
 * Whatever was not may be there or not, sector by sector or all of a file; in each folder names come in the order in which
 * they were made, up to some point. A log's folder is there as soon as it was made. After a failed sync the system takes
 * what it could not write for written, as Linux does.
 */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
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

/** The files of one folder, by name. */
class Folder {
  readonly names: Names = new Map();
  #durable: Names = new Map();
  #changes: ((names: Names) => void)[] = [];

  change(change: (names: Names) => void): void {
    change(this.names);
    this.#changes.push(change);
  }

  sync(): void {
    this.#durable = new Map(this.names);
    this.#changes = [];
  }

  /** After the first of the changes that were not synced. */
  after(share: number): Names {
    const names = new Map(this.#durable);
    for (const change of this.#changes.slice(0, Math.floor(share * (this.#changes.length + 1))))
      change(names);
    return names;
  }
}

const isWatched = (folder: string): boolean =>
  basename(folder) === 'journal' || basename(dirname(folder)) === 'streams';

export class PowerlessFileSystem extends FaultyFileSystem {
  readonly #random: () => number;
  readonly #opened = new Map<number, File>();
  readonly #folders = new Map<string, Folder>();
  /** When the device has a file, and before anybody hears of it. */
  onSynced: (path: string) => void = () => {};

  constructor(random: () => number) {
    super();
    this.#random = random;
  }

  #folderOf(path: string): Folder | null {
    const at = dirname(path);
    if (!isWatched(at)) return null;
    let folder = this.#folders.get(at);
    if (folder === undefined) {
      folder = new Folder();
      this.#folders.set(at, folder);
    }
    return folder;
  }

  /** The data folder as the next start finds it when the power goes now. */
  powerLost(folder: string): string {
    const copy = copyFolder(folder);
    for (const [path, files] of this.#folders) {
      const at = join(copy, relative(folder, path));
      rmSync(at, { recursive: true });
      mkdirSync(at);
      for (const [name, file] of files.after(this.#random())) {
        const mood = this.#random();
        const takes = mood > 0.7 ? () => false : mood < 0.3 ? () => true : () => this.#random() < 0.5;
        writeFileSync(join(at, name), file.afterWriting(takes));
      }
    }
    return copy;
  }

  override open(path: string, flags: string): number {
    const fd = super.open(path, flags);
    const folder = this.#folderOf(path);
    if (folder === null) return fd;
    const name = basename(path);
    const known = folder.names.get(name);
    if (flags.startsWith('w')) {
      const file = known ?? new File();
      file.truncate(0);
      this.#opened.set(fd, file);
      folder.change((names) => names.set(name, file));
    } else if (flags === 'r+' && known !== undefined) this.#opened.set(fd, known);
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
    const path = this.paths.get(fd) as string;
    super.sync(fd, (error) => {
      file?.sync(error === null ? () => true : () => this.#random() < 0.5);
      if (error === null) this.onSynced(path);
      done(error);
    });
  }

  override syncSync(fd: number): void {
    super.syncSync(fd);
    this.#opened.get(fd)?.sync(() => true);
    this.#folders.get(this.paths.get(fd) as string)?.sync();
  }

  override rename(from: string, to: string): void {
    super.rename(from, to);
    // A log that is deleted: its folder is gone at once.
    if (this.#folders.delete(from)) return;
    this.#folderOf(from)?.change((names) => {
      const file = names.get(basename(from));
      names.delete(basename(from));
      if (file !== undefined) names.set(basename(to), file);
    });
  }

  override remove(path: string): void {
    super.remove(path);
    this.#folderOf(path)?.change((names) => names.delete(basename(path)));
  }

  override close(fd: number): void {
    this.#opened.delete(fd);
    super.close(fd);
  }

  override closeLater(fd: number): void {
    this.#opened.delete(fd);
    super.closeLater(fd);
  }
}
