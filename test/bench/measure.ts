/**
 * Measuring for the load generators and the benchmark: latency in a histogram of fixed size, sequence numbers that show
 * loss and disorder, and what a broker cost, read from /proc. Nothing here allocates for a message. Linux only, like
 * the pinning of processes to cores.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Microseconds since an arbitrary start, the same for all clients of one process. */
export const nowUs = (): number => performance.now() * 1000;

const STEPS_PER_OCTAVE = 64;

/** Latencies in microseconds with a relative error below 1.6 percent: 64 linear steps for each power of two. */
export class Histogram {
  readonly #counts = new Float64Array(STEPS_PER_OCTAVE * 40);
  #total = 0;
  maxUs = 0;

  add(us: number): void {
    if (us > this.maxUs) this.maxUs = us;
    const value = us < 1 ? 0 : us * 8; // eighths of a microsecond, so that short latencies keep their digits
    const octave = value < STEPS_PER_OCTAVE ? 0 : Math.floor(Math.log2(value)) - 5;
    const step =
      octave === 0 ? Math.floor(value) : octave * STEPS_PER_OCTAVE + Math.floor(value / 2 ** octave);
    this.#counts[Math.min(step, this.#counts.length - 1)]! += 1;
    this.#total++;
  }

  quantile(share: number): number {
    const wanted = share * this.#total;
    let seen = 0;
    for (let step = 0; step < this.#counts.length; step++) {
      seen += this.#counts[step]!;
      if (seen <= wanted) continue;
      const octave = Math.floor(step / STEPS_PER_OCTAVE);
      return (octave < 1 ? step : (step - octave * STEPS_PER_OCTAVE) * 2 ** octave) / 8;
    }
    return this.maxUs;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
    this.maxUs = 0;
  }
}

/** What one receiver expects next from each publisher. A gap is known at the end; what comes twice or late, at once. */
export class SequenceCheck {
  readonly #next: Float64Array;
  received = 0;
  disorder = 0;

  constructor(publishers: number) {
    this.#next = new Float64Array(publishers);
  }

  take(publisher: number, sequence: number): void {
    this.received++;
    const expected = this.#next[publisher]!;
    if (sequence < expected) this.disorder++;
    else this.#next[publisher] = sequence + 1;
  }
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** Fields of /proc/PID/stat behind the command's name: [0] state, [1] parent, [11] user ticks, [12] system ticks. */
function readStat(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** The process and everything it started, so that a runtime of several processes is counted whole. */
export function listProcessTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = Number(readStat(pid)?.[1]);
    children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (let at = 0; at < tree.length; at++) tree.push(...(children.get(tree[at]!) ?? []));
  return tree;
}

/** User and system time of these processes, all threads, in seconds. The kernel counts in hundredths. */
export function readCpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readStat(pid);
    if (stat !== null) ticks += Number(stat[11]) + Number(stat[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/** All that is in memory, also pages of files, which the kernel takes back when it needs room. */
export const readResidentBytes = (pids: readonly number[]): number => readStatusBytes(pids, 'VmRSS');

/** What is in memory and in no file: heap, buffers, stacks. */
export const readAnonymousBytes = (pids: readonly number[]): number => readStatusBytes(pids, 'RssAnon');

function readStatusBytes(pids: readonly number[], field: 'VmRSS' | 'RssAnon'): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm');
  let bytes = 0;
  for (const pid of pids) {
    try {
      const kilobytes = line.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      bytes += Number(kilobytes ?? 0) * 1024;
    } catch {
      // The process has gone since it was listed.
    }
  }
  return bytes;
}

/** CPU seconds of this process, for the generator's own share. */
export function readOwnCpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

export function findMedian(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
