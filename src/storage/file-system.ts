/**
 * The only file of the storage that touches the operating system's files, as an interface, so that tests can make
 * a disk full or broken at a chosen moment. Writes are synchronous because a small write into the page cache costs
 * less than handing it to another thread; syncs and reads, which may wait for the device, are asynchronous.
 * Everything throws or hands over the system's own error; callers turn it into a CoreError where the core sees it.
 */

import * as fs from 'node:fs';

/** Owner only: what people send each other is nobody else's business on this machine. */
export const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;

export type Done = (error: Error | null) => void;

export interface FileSystem {
  open(path: string, flags: string): number;
  close(fd: number): void;
  /** Closes on another thread: giving back the room of a large removed file takes milliseconds. */
  closeLater(fd: number): void;
  /** Returns how many bytes were written, which may be fewer than given. */
  writev(fd: number, buffers: readonly Uint8Array[], position: number): number;
  truncate(fd: number, bytes: number): void;
  size(fd: number): number;
  readSync(fd: number, into: Uint8Array, at: number, bytes: number, position: number): number;
  read(fd: number, into: Buffer, at: number, bytes: number, position: number): Promise<number>;
  /** Contents, and the length if it changed, are on the device when `done` is called without an error. */
  sync(fd: number, done: Done): void;
  syncSync(fd: number): void;
  makeFolder(path: string): void;
  list(folder: string): string[];
  exists(path: string): boolean;
  rename(from: string, to: string): void;
  remove(path: string): void;
  removeFolder(path: string): void;
}

export const NODE_FILE_SYSTEM: FileSystem = {
  open: (path, flags) => fs.openSync(path, flags, FILE_MODE),
  close: (fd) => fs.closeSync(fd),
  closeLater: (fd) => fs.close(fd, () => {}),
  writev: (fd, buffers, position) => fs.writevSync(fd, buffers as Uint8Array[], position),
  truncate: (fd, bytes) => fs.ftruncateSync(fd, bytes),
  size: (fd) => fs.fstatSync(fd).size,
  readSync: (fd, into, at, bytes, position) => fs.readSync(fd, into, at, bytes, position),
  read: (fd, into, at, bytes, position) =>
    new Promise((resolve, reject) => {
      fs.read(fd, into, at, bytes, position, (error, count) => {
        if (error === null) resolve(count);
        else reject(error);
      });
    }),
  sync: (fd, done) => fs.fdatasync(fd, done),
  syncSync: (fd) => fs.fsyncSync(fd),
  makeFolder: (path) => {
    fs.mkdirSync(path, { recursive: true, mode: FOLDER_MODE });
  },
  list: (folder) => fs.readdirSync(folder),
  exists: (path) => fs.existsSync(path),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (path) => fs.rmSync(path, { force: true }),
  removeFolder: (path) => fs.rmSync(path, { recursive: true, force: true }),
};

/** Writes all of `buffers` at `position`, going on after short writes. Throws with nothing promised about the file. */
export function writeAll(
  files: FileSystem,
  fd: number,
  buffers: readonly Uint8Array[],
  position: number,
): number {
  let total = 0;
  for (const buffer of buffers) total += buffer.length;
  let written = files.writev(fd, buffers, position);
  if (written === total) return total;
  const rest = Buffer.concat(buffers as Uint8Array[]);
  while (written < total) {
    const count = files.writev(fd, [rest.subarray(written)], position + written);
    if (count === 0) throw new Error('the file takes no more bytes');
    written += count;
  }
  return total;
}

/** Reads as much as there is, up to `bytes`; fewer only at the end of the file. */
export function readAllSync(
  files: FileSystem,
  fd: number,
  into: Uint8Array,
  bytes: number,
  position: number,
): number {
  let read = 0;
  while (read < bytes) {
    const count = files.readSync(fd, into, read, bytes - read, position + read);
    if (count === 0) break;
    read += count;
  }
  return read;
}

export async function readAll(
  files: FileSystem,
  fd: number,
  into: Buffer,
  bytes: number,
  position: number,
): Promise<number> {
  let read = 0;
  while (read < bytes) {
    const count = await files.read(fd, into, read, bytes - read, position + read);
    if (count === 0) break;
    read += count;
  }
  return read;
}

/** The whole file, or null where there is none. */
export function readWholeFile(files: FileSystem, path: string): Buffer | null {
  let fd: number;
  try {
    fd = files.open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const bytes = Buffer.alloc(files.size(fd));
    return bytes.subarray(0, readAllSync(files, fd, bytes, bytes.length, 0));
  } finally {
    files.close(fd);
  }
}

/** Replaces a small file as a whole: afterwards there is the old one or the new one, never a mixture. */
export function replaceFile(files: FileSystem, path: string, bytes: Uint8Array, durable: boolean): void {
  const draft = `${path}.new`;
  const fd = files.open(draft, 'w');
  try {
    writeAll(files, fd, [bytes], 0);
    if (durable) files.syncSync(fd);
  } finally {
    files.close(fd);
  }
  files.rename(draft, path);
}

/** Makes new, renamed and removed names in `folder` survive a loss of power. */
export function syncFolderSync(files: FileSystem, folder: string): void {
  const fd = files.open(folder, 'r');
  try {
    files.syncSync(fd);
  } finally {
    files.close(fd);
  }
}
