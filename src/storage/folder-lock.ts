/**
 * One process owns a data folder. The file `lock` names its owner (process id, the start time of that process where
 * the system tells it, host name); it is created exclusively. A lock whose process no longer exists is taken over.
 * The start time guards against another process that got the same id later. Of an owner on another host, or in
 * another container, the process id says nothing: there the owner touches the file every `HEARTBEAT_MS`, and one that
 * has not for `SILENT_MS` is gone.
 *
 * `lock` is JSON in one line: {"pid":1234,"started":"567890","host":"name"}
 */

import * as fs from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { FILE_MODE } from './file-system.ts';

const ATTEMPTS_MAX = 5;
const HEARTBEAT_MS = 2_000;
const SILENT_MS = 10_000;

interface Owner {
  readonly pid: number;
  readonly started: string;
  readonly host: string;
}

/** Folders owned by this very process, which must not be opened twice either. */
const held = new Set<string>();

/** Takes the lock and returns what gives it back. Throws with a message that names the holder. */
export function lockFolder(folder: string): () => void {
  const real = fs.realpathSync(folder);
  const path = join(real, 'lock');
  if (held.has(real)) throw new Error(`the data folder ${folder} is already open in this process`);
  const own: Owner = { pid: process.pid, started: startedOf(process.pid), host: hostname() };
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (createLock(path, own)) {
      held.add(real);
      const heartbeat = setInterval(() => touch(path), HEARTBEAT_MS).unref();
      return () => {
        clearInterval(heartbeat);
        held.delete(real);
        fs.rmSync(path, { force: true });
      };
    }
    const owner = readOwner(path);
    if (owner !== null && isAlive(owner, path)) {
      throw new Error(
        `the data folder ${folder} belongs to process ${owner.pid} on ${owner.host}; ` +
          'stop that process, or give this one a folder of its own',
      );
    }
    removeStale(path);
  }
  throw new Error(`the lock of the data folder ${folder} could not be taken; other processes are trying too`);
}

/** The lock appears with its content or not at all, so nobody ever reads half of it. */
function createLock(path: string, own: Owner): boolean {
  const draft = `${path}.${own.pid}`;
  fs.writeFileSync(draft, `${JSON.stringify(own)}\n`, { mode: FILE_MODE });
  try {
    fs.linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

function readOwner(path: string): Owner | null {
  try {
    const owner = JSON.parse(fs.readFileSync(path, 'utf8')) as Partial<Owner>;
    if (typeof owner.pid !== 'number' || !Number.isInteger(owner.pid) || owner.pid <= 0) return null;
    return { pid: owner.pid, started: String(owner.started ?? ''), host: String(owner.host ?? '') };
  } catch {
    return null;
  }
}

/**
 * Moves the dead owner's lock away. Of two processes that try at once the slower may have moved the quicker one's
 * new lock: then it is put back.
 */
function removeStale(path: string): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    fs.renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const owner = readOwner(aside);
  if (owner !== null && isAlive(owner, aside) && !fs.existsSync(path)) fs.renameSync(aside, path);
  else fs.rmSync(aside, { force: true });
}

function touch(path: string): void {
  const now = new Date();
  // A disk that refuses this refuses commits too, and says so there.
  fs.utimes(path, now, now, () => {});
}

function isAlive(owner: Owner, path: string): boolean {
  if (owner.host !== hostname()) return Date.now() - fs.statSync(path).mtimeMs < SILENT_MS;
  if (owner.pid === process.pid && owner.started === startedOf(process.pid)) return false;
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  const stat = statOf(owner.pid);
  if (stat === null) return true;
  // Killed, but its parent has not looked yet: it holds no file any more.
  if (stat.state === 'Z' || stat.state === 'X') return false;
  return owner.started === '' || stat.started === owner.started;
}

function startedOf(pid: number): string {
  return statOf(pid)?.started ?? '';
}

/** Fields 3 and 22 of /proc/<pid>/stat; null where the system has no such file. */
function statOf(pid: number): { readonly state: string; readonly started: string } | null {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', started: fields[19] ?? '' };
  } catch {
    return null;
  }
}
