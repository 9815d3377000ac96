/**
 * One folder for everything that a run of the tests writes: data folders, and what Node.js compiled for the gateways and
 * commands that tests start as processes, which else takes most of their start. It is in memory where there is room, so
 * that syncs of hundreds of data folders wait for no disk, and it goes at the end with whatever a test left in it. What a
 * disk does is the storage's own tests' to play, and the benchmark's to meet. Named as `globalSetup` in vitest.config.ts;
 * each project calls it, and the first one's folder is that of all.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

const MEMORY = '/dev/shm';
const PREFIX = 'rosettamq-run-';
/** A run takes about a tenth of it at any time. */
const MEMORY_BYTES_LEAST = 1024 ** 3;

export default function useRunFolder(): (() => void) | undefined {
  if (basename(tmpdir()).startsWith(PREFIX)) return undefined;
  const { TMPDIR, NODE_COMPILE_CACHE } = process.env;
  const parent = hasRoomInMemory() ? MEMORY : tmpdir();
  removeAbandoned(parent);
  const folder = mkdtempSync(join(parent, `${PREFIX}${process.pid}-`));
  process.env.TMPDIR = folder;
  process.env.NODE_COMPILE_CACHE = NODE_COMPILE_CACHE ?? join(folder, 'compiled');
  return () => {
    for (const [name, before] of Object.entries({ TMPDIR, NODE_COMPILE_CACHE })) {
      if (before === undefined) delete process.env[name];
      else process.env[name] = before;
    }
    rmSync(folder, { recursive: true, force: true });
  };
}

/** Those of runs that were killed. Somebody else's stay. */
function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    try {
      process.kill(Number(name.slice(PREFIX.length).split('-', 1)[0]), 0);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') removeIfAllowed(join(parent, name));
    }
  }
}

function removeIfAllowed(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {
    // Another user's.
  }
}

function hasRoomInMemory(): boolean {
  if (process.platform !== 'linux' || !existsSync(MEMORY)) return false;
  const { bavail, bsize } = statfsSync(MEMORY);
  return bavail * bsize >= MEMORY_BYTES_LEAST;
}
