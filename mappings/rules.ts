/**
 * An operator's mapping rule, compiled. Built by the core when a rule is put or read back from the disk. A definition
 * has one of two forms: the short one leads addresses into one stream and back (`rules-capture.ts`), the full one has
 * conditions and targets (`rules-routing.ts`). Format, table of checks and examples: docs/mapping-rules.md.
 */

import type { AnyRule } from '../src/core/index.ts';
import { compileCapture } from './rules-capture.ts';
import { compileRouting } from './rules-routing.ts';

/**
 * Checks and compiles a rule's definition. Throws CoreError `invalid-argument` whose `field` is a JSON pointer to
 * what is wrong in it.
 */
export function compileRule(definition: unknown): AnyRule {
  const isFull =
    typeof definition === 'object' && definition !== null && ('from' in definition || 'to' in definition);
  return isFull ? compileRouting(definition) : compileCapture(definition);
}
