/**
 * What the storage tests share: a folder of their own, record batches, commits as promises, and a file system that
 * can be made full or broken.
 */

import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { BatchLog, Storage } from '../../../src/core/storage.ts';
import { type FileSystem, NODE_FILE_SYSTEM } from '../../../src/storage/file-system.ts';
import { openStorage, type StorageEvent, type StorageOptions } from '../../../src/storage/index.ts';

export { type BatchShape, buildBatch, KEEP_ALL } from './batches.ts';

const open = new Set<Storage>();

/** A new empty folder that goes after the test. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'rosettamq-storage-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The folder as a killed process would leave it: a copy of what the system has, without closing anything. */
export function copyFolder(folder: string): string {
  const copy = makeFolder();
  cpSync(folder, copy, { recursive: true });
  rmSync(join(copy, 'lock'), { force: true });
  // LMDB writes on a thread of its own: what it had at one time is what two looks agree on.
  const database = join(folder, 'state.mdb');
  for (let seen: Buffer | null = null; existsSync(database); ) {
    const content = readFileSync(database);
    if (seen?.equals(content)) {
      writeFileSync(join(copy, 'state.mdb'), content);
      break;
    }
    seen = content;
  }
  return copy;
}

export interface Opened {
  readonly storage: Storage;
  readonly events: StorageEvent[];
}

export async function openForTest(folder: string, options: Partial<StorageOptions> = {}): Promise<Opened> {
  const events: StorageEvent[] = [];
  const report = (event: StorageEvent): void => {
    events.push(event);
  };
  const storage = await openStorage({ folder, durability: 'os', report, ...options });
  open.add(storage);
  // Before its folder goes, which was made before it. A hook of this module would be one of the first file alone.
  onTestFinished(async () => {
    if (open.delete(storage)) await storage.close();
  });
  return { storage, events };
}

export async function closeForTest(storage: Storage): Promise<void> {
  open.delete(storage);
  await storage.close();
}

export function commit(storage: Storage): Promise<void> {
  return new Promise((resolve, reject) => {
    storage.commit((error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

/** Again and again until a commit succeeds: what had failed is written anew first. */
export async function untilCommitted(storage: Storage): Promise<void> {
  const succeeds = (): Promise<boolean> =>
    commit(storage).then(
      () => true,
      () => false,
    );
  await expect.poll(succeeds, { interval: 1 }).toBe(true);
}

/** Base offsets of the batches in `bytes`, which have to be whole. */
export function baseOffsets(bytes: Buffer): number[] {
  const offsets: number[] = [];
  for (let at = 0; at < bytes.length; at += 12 + bytes.readInt32BE(at + 8)) {
    offsets.push(Number(bytes.readBigInt64BE(at)));
  }
  return offsets;
}

/** Everything from `offset` to the end, in reads of `bytesMax`. */
export async function readAllBatches(log: BatchLog, offset: number, bytesMax = 1 << 20): Promise<Buffer> {
  const parts: Buffer[] = [];
  let next = offset;
  while (next < log.endOffset) {
    const bytes = await log.read(next, bytesMax);
    if (bytes.length === 0) break;
    parts.push(bytes);
    for (let at = 0; at < bytes.length; at += 12 + bytes.readInt32BE(at + 8)) {
      next = Number(bytes.readBigInt64BE(at)) + bytes.readInt32BE(at + 23) + 1;
    }
  }
  return Buffer.concat(parts);
}

/** The files of the only batch log in a data folder with this suffix, in order. */
export function filesOf(folder: string, suffix: string): string[] {
  const streams = join(folder, 'streams');
  const log = join(streams, readdirSync(streams)[0] as string);
  return readdirSync(log)
    .filter((file) => file.endsWith(suffix))
    .sort()
    .map((file) => join(log, file));
}

/** What `FaultyFileSystem.isFailing` is asked for; `begin` is a write at the beginning of a file. */
export type FaultyCall = 'open' | 'begin' | 'rename' | 'remove' | 'sync' | 'sync folder';

/**
 * A file system that writes only as many bytes as it has left, the last write in part, and fails other calls on demand.
 */
export class FaultyFileSystem implements FileSystem {
  roomBytes = Number.POSITIVE_INFINITY;
  isSyncFailing = false;
  isTruncateFailing = false;
  /** True: this call fails, before it did anything. */
  isFailing: (call: FaultyCall, path: string) => boolean = () => false;
  syncs = 0;
  /** Of the descriptors that are open. */
  readonly paths = new Map<number, string>();

  #ask(call: FaultyCall, path: string): void {
    if (this.isFailing(call, path)) throw systemError('EIO');
  }

  open(path: string, flags: string): number {
    this.#ask('open', path);
    const fd = NODE_FILE_SYSTEM.open(path, flags);
    this.paths.set(fd, path);
    return fd;
  }

  close(fd: number): void {
    this.#forget(fd);
    NODE_FILE_SYSTEM.close(fd);
  }

  closeLater(fd: number): void {
    this.#forget(fd);
    NODE_FILE_SYSTEM.closeLater(fd);
  }

  /** A number that is closed twice may by then be another file's. */
  #forget(fd: number): void {
    if (!this.paths.delete(fd)) throw new Error(`descriptor ${fd} is closed twice`);
  }

  writev(fd: number, buffers: readonly Uint8Array[], position: number): number {
    if (position === 0) this.#ask('begin', this.paths.get(fd) as string);
    let bytes = 0;
    for (const buffer of buffers) bytes += buffer.length;
    if (bytes > 0 && this.roomBytes <= 0) throw systemError('ENOSPC');
    const fitting = Math.min(bytes, this.roomBytes);
    this.roomBytes -= fitting;
    return NODE_FILE_SYSTEM.writev(fd, [Buffer.concat(buffers).subarray(0, fitting)], position);
  }

  truncate(fd: number, bytes: number): void {
    if (this.isTruncateFailing) throw systemError('EIO');
    NODE_FILE_SYSTEM.truncate(fd, bytes);
  }

  sync(fd: number, done: (error: Error | null) => void): void {
    this.syncs++;
    if (this.isSyncFailing || this.isFailing('sync', this.paths.get(fd) as string)) {
      setImmediate(done, systemError('EIO'));
    } else NODE_FILE_SYSTEM.sync(fd, done);
  }

  syncSync(fd: number): void {
    this.#ask('sync folder', this.paths.get(fd) as string);
    NODE_FILE_SYSTEM.syncSync(fd);
  }

  rename(from: string, to: string): void {
    this.#ask('rename', from);
    NODE_FILE_SYSTEM.rename(from, to);
    for (const [fd, path] of this.paths) if (path === from) this.paths.set(fd, to);
  }

  remove(path: string): void {
    this.#ask('remove', path);
    NODE_FILE_SYSTEM.remove(path);
  }

  size = NODE_FILE_SYSTEM.size;
  readSync = NODE_FILE_SYSTEM.readSync;
  read = NODE_FILE_SYSTEM.read;
  makeFolder = NODE_FILE_SYSTEM.makeFolder;
  list = NODE_FILE_SYSTEM.list;
  exists = NODE_FILE_SYSTEM.exists;
  removeFolder = NODE_FILE_SYSTEM.removeFolder;
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: made by the test`), { code });
}

/** Changes bits of one byte; a negative place counts from the end. */
export function flipBits(bytes: Buffer, place: number, bits: number): void {
  const at = place < 0 ? bytes.length + place : place;
  bytes[at] = (bytes[at] as number) ^ bits;
}
