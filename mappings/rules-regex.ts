/**
 * Regular expressions of captures, `{x:regex}`, in a subset whose worst case is known (`bounded-regex.ts`). Called by
 * `rules-syntax.ts` when a rule is compiled.
 */

import { waysOf } from './bounded-regex.ts';

/** Characters of an expression, and of the level that it is tried on; a longer level does not match. */
const SOURCE_CHARS_MAX = 128;
const LEVEL_CHARS_MAX = 255;
/** Ways to match one level that may have to be tried: two repeats without an end, and something beside. */
const WAYS_MAX = 4 * (LEVEL_CHARS_MAX + 1) ** 2;

/** Whether a level's text matches as a whole. `refuse` is called with the reason where the expression may not be. */
export function compileLevelRegex(
  source: string,
  refuse: (reason: string) => never,
): (level: string) => boolean {
  if (source === '') refuse('an expression is missing after the colon');
  if (source.length > SOURCE_CHARS_MAX) refuse(`an expression has at most ${SOURCE_CHARS_MAX} characters`);
  if (waysOf(source, { textCharsMax: LEVEL_CHARS_MAX, isWhole: true }, refuse) > WAYS_MAX)
    refuse(
      `\`${source}\` could take too long: at most two repeats without an end, and few alternatives beside them`,
    );
  let regex: RegExp;
  try {
    regex = new RegExp(`^(?:${source})$`, 'u');
  } catch {
    return refuse(`\`${source}\` is no regular expression`);
  }
  return (level) => level.length <= LEVEL_CHARS_MAX && regex.test(level);
}
