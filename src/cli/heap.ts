/**
 * Bounds the JavaScript heap of a gateway that is to stay within some memory (`gateway.memoryMebibytes`). V8 takes its
 * bounds when the process begins, so the process puts itself in its own place, with the same arguments, environment and
 * process id: before anything is opened. Called by `serve.ts`, and by `command.ts` where a flag or an environment variable
 * says it already. Whoever gives V8 a bound of his own, in NODE_OPTIONS or on the command line, is left alone.
 */

import { MEBIBYTES_MIN, SIDECAR_MEBIBYTES } from '../config/sidecar-memory.ts';
import { API_COMMANDS } from './api-command-names.ts';

/** Says for how much memory the process that takes the place is bounded, so that it happens once. */
const BOUNDED_VARIABLE = 'ROSETTAMQ_HEAP_BOUNDED';

const OLD_SPACE_SHARE = 0.5;
/** A young generation consists of three of these. */
const SEMI_SPACE_SHARE = 1 / 128;
const SEMI_SPACE_MEBIBYTES_MAX = 16;
const FEW_THREADS_MEBIBYTES_MAX = 256;
/**
 * For glibc; elsewhere they mean nothing. It keeps free memory for each arena, and what is smaller than the threshold in one
 * piece that shrinks only at its end. By itself the threshold grows with the first large piece that is given back.
 */
const MALLOC = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '65536',
  MALLOC_TRIM_THRESHOLD_: '131072',
} as const;

/** What V8 is told. */
export function heapFlags(memoryMebibytes: number): readonly string[] {
  const semiSpace = Math.min(
    SEMI_SPACE_MEBIBYTES_MAX,
    Math.max(1, Math.floor(memoryMebibytes * SEMI_SPACE_SHARE)),
  );
  return [
    `--max-old-space-size=${Math.floor(memoryMebibytes * OLD_SPACE_SHARE)}`,
    `--max-semi-space-size=${semiSpace}`,
    // Each thread for compiling and collecting beside the event loop takes half a MiB.
    ...(memoryMebibytes <= FEW_THREADS_MEBIBYTES_MAX ? ['--v8-pool-size=1'] : []),
  ];
}

/** After a start, so that a gateway which has nothing to do does not keep what it began with. */
const COLLECT_AFTER_MS = 1_000;

/** Gives back what the start alone needed: 3 MiB, which V8 would keep until something happens. Only in a bounded process. */
export function collectAfterStart(): void {
  if (process.env[BOUNDED_VARIABLE] === undefined) return;
  setTimeout(async () => {
    const collect = await findCollector();
    await collect?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  }, COLLECT_AFTER_MS).unref();
}

/** Not by a flag of the process: V8 refuses what Node.js has compiled of itself where that flag is another. */
async function findCollector(): Promise<NodeJS.GCFunction | undefined> {
  const { setFlagsFromString } = await import('node:v8');
  const { runInNewContext } = await import('node:vm');
  setFlagsFromString('--expose-gc');
  const collect: NodeJS.GCFunction | undefined = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  return collect;
}

/** Does not return where the process has to begin anew. */
export function boundHeap(memoryMebibytes: number): void {
  const { env, execArgv, execve, platform } = process;
  const bounded = env[BOUNDED_VARIABLE];
  if (memoryMebibytes <= 0 || bounded === String(memoryMebibytes)) return;
  // What was asked for first may be less than the settings say: then those count.
  const own = bounded === undefined ? [] : heapFlags(Number(bounded));
  const others = execArgv.filter((flag) => !own.includes(flag));
  if (/--max[-_](old[-_]space|semi[-_]space|heap)/.test(`${others.join(' ')} ${env.NODE_OPTIONS ?? ''}`))
    return;
  if (execve === undefined || platform === 'win32') return;
  const flags = [...others, ...heapFlags(memoryMebibytes)];
  const argv = [process.execPath, ...flags, ...process.argv.slice(1)];
  const environment = { ...MALLOC, ...env, [BOUNDED_VARIABLE]: String(memoryMebibytes) };
  // Of the one function that says it is experimental.
  process.removeAllListeners('warning');
  execve.call(process, process.execPath, argv, environment as Record<string, string>);
}

/**
 * What arguments or environment say of the memory, without reading any settings. 0: the process stays as it is, because they
 * say nothing or what the settings will refuse, it only calls a gateway, or it has been bounded before. Then `serve` alone
 * says what holds: files and `--set` may say something else, and the two would take turns for ever.
 */
export function memoryAskedFor(argv: readonly string[], env: Readonly<NodeJS.ProcessEnv>): number {
  if (env[BOUNDED_VARIABLE] !== undefined || API_COMMANDS.has(argv[2] ?? '')) return 0;
  const at = argv.findIndex((argument) => argument === '--memory' || argument.startsWith('--memory='));
  const flag = at < 0 ? undefined : (argv[at]?.split('=')[1] ?? argv[at + 1]);
  const text = flag ?? env.ROSETTAMQ_GATEWAY__MEMORY_MEBIBYTES ?? env.ROSETTAMQ_MEMORY;
  if (text !== undefined) return /^\d{1,7}$/.test(text) && Number(text) >= MEBIBYTES_MIN ? Number(text) : 0;
  const isSidecar = argv.includes('--sidecar') || env.ROSETTAMQ_SIDECAR === 'true';
  return isSidecar ? SIDECAR_MEBIBYTES : 0;
}
