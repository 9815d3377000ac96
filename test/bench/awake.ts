/// <reference lib="esnext.sharedmemory" />

/**
 * Keeps the core that it runs on from falling asleep, until whoever started it ends. Started by `tools.ts` with the lowest
 * priority that there is, so that everybody else on that core has it at once.
 */
const parent = process.ppid;
/** Some ten milliseconds. */
const PAUSES = 200_000;

while (process.ppid === parent) for (let left = PAUSES; left > 0; left--) Atomics.pause();
