/**
 * How much V8 puts together of a hot function and those that it calls. A message goes through more small functions than V8's
 * own bounds allow for, and each one that is left out is a call that costs more than what it does. Called by `serve.ts`.
 */

import { setFlagsFromString } from 'node:v8';

/** Where this was measured; another one may not know the flags, and would say so on standard error. */
const V8_MAJOR = '13';

/** In bytes of bytecode; V8's own are 460 and 920. */
const FLAGS = ['--max-inlined-bytecode-size=1000', '--max-inlined-bytecode-size-cumulative=2500'];

/**
 * After the start: V8 takes no part of itself that Node.js has compiled under other flags. What is hot has not been compiled
 * to the end by then.
 */
export function inlineMore(): void {
  if (process.versions.v8.split('.')[0] !== V8_MAJOR) return;
  for (const flag of FLAGS) setFlagsFromString(flag);
}
