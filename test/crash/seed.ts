/** How often the crash tests kill, and the sequence of moments: `ROSETTAMQ_CRASH_KILLS`, `ROSETTAMQ_CRASH_SEED`. */

export const KILLS = Number(process.env.ROSETTAMQ_CRASH_KILLS ?? 3);
export const SEED = Number(process.env.ROSETTAMQ_CRASH_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Mulberry32: small, and the same sequence for the same seed everywhere. */
export function makeRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
