/**
 * Regular expressions of captures, `{x:regex}`, in a subset whose worst case is known: no way of trying may be taken
 * more often than a fixed number, whatever the text. Called by `rules-syntax.ts`. What may vary in length is counted
 * when the rule is compiled; what repeats a group, looks around or refers back is refused.
 */

/** Characters of an expression, and of the level that it is tried on; a longer level does not match. */
const SOURCE_CHARS_MAX = 128;
const LEVEL_CHARS_MAX = 255;
/** Ways to match one level that may have to be tried: two repeats without an end, and something beside. */
const WAYS_MAX = 4 * (LEVEL_CHARS_MAX + 1) ** 2;

const CLASS_ESCAPES = 'dDwWsS';
const PLAIN_ESCAPES = '^$\\.*+?()[]{}|/-';

/** Whether a level's text matches as a whole. `refuse` is called with the reason where the expression may not be. */
export function compileLevelRegex(
  source: string,
  refuse: (reason: string) => never,
): (level: string) => boolean {
  if (source === '') refuse('an expression is missing after the colon');
  if (source.length > SOURCE_CHARS_MAX) refuse(`an expression has at most ${SOURCE_CHARS_MAX} characters`);
  if (waysOf(source, refuse) > WAYS_MAX)
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

/** How many ways there may be to match one text: the product of all choices. */
function waysOf(source: string, refuse: (reason: string) => never): number {
  let ways = 1;
  let afterGroup = false;
  let quantifiable = false;
  // Alternatives of the groups that are open, the whole expression first.
  const groups: number[] = [1];
  for (let at = 0; at < source.length; at++) {
    const char = source[at]!;
    if (char === '*' || char === '+' || char === '?' || char === '{') {
      const quantifier = /^(?:[*+?]|\{(\d{1,3})(,(\d{0,3}))?\})/.exec(source.slice(at));
      if (quantifier === null) refuse('a { here begins a count, such as {2} or {1,8}');
      if (!quantifiable) refuse(`nothing stands before \`${quantifier[0]}\``);
      if (afterGroup && char !== '?') refuse('a group may be repeated by ? only');
      const [text, low, range, high] = quantifier;
      if (char === '?') ways *= 2;
      else if (char !== '{' || (range !== undefined && high === '')) ways *= LEVEL_CHARS_MAX + 1;
      else if (range !== undefined) ways *= Math.max(1, Number(high) - Number(low) + 1);
      at += text.length - 1;
      quantifiable = false;
      afterGroup = false;
      if (source[at + 1] === '?') refuse('a capture is the whole level, so lazy repeats mean nothing');
      continue;
    }
    quantifiable = true;
    afterGroup = false;
    if (char === '\\') {
      const next = source[++at] ?? '';
      if (next === '' || !(CLASS_ESCAPES + PLAIN_ESCAPES).includes(next))
        refuse(
          `\`\\${next}\` is not taken; escapes are ${[...CLASS_ESCAPES].map((c) => `\\${c}`).join(' ')} and signs`,
        );
    } else if (char === '[') {
      at = endOfClass(source, at, refuse);
    } else if (char === '(') {
      if (source[at + 1] === '?' && source[at + 2] !== ':')
        refuse('a group is ( ) or (?: ), without looking around');
      if (source[at + 1] === '?') at += 2;
      groups.push(1);
      quantifiable = false;
    } else if (char === ')') {
      if (groups.length === 1) refuse('a ) without its (');
      ways *= groups.pop()!;
      afterGroup = true;
    } else if (char === '|') {
      groups[groups.length - 1]!++;
      quantifiable = false;
    } else if (char === '^' || char === '$') {
      refuse('an expression is compared with the whole level; leave out ^ and $');
    }
  }
  if (groups.length > 1) refuse('a ( without its )');
  return ways * groups[0]!;
}

function endOfClass(source: string, from: number, refuse: (reason: string) => never): number {
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === '\\') at++;
    else if (source[at] === ']') return at;
  }
  return refuse('a [ without its ]');
}
