/**
 * A subset of regular expressions whose worst case is known, for those that people write and the event loop runs: no way of
 * trying may be taken more often than a fixed number, whatever the text. What may vary in length is counted when an
 * expression is read; what repeats a group, looks around or refers back is refused. Pure; used for captures of
 * mapping rules and for names of topics of outside brokers.
 */

const CLASS_ESCAPES = 'dDwWsS';
const PLAIN_ESCAPES = '^$\\.*+?()[]{}|/-';

export interface RegexUse {
  /** Characters of the longest text. */
  readonly textCharsMax: number;
  /** It is compared with the whole text; otherwise it may begin anywhere, unless `^` and `$` say where. */
  readonly isWhole: boolean;
}

/** How many ways there may be to match one text: the product of all choices. `refuse` is called with what is not taken at all. */
export function waysOf(
  source: string,
  { textCharsMax, isWhole }: RegexUse,
  refuse: (reason: string) => never,
): number {
  let ways = 1;
  let isAnchored = isWhole;
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
      else if (char !== '{' || (range !== undefined && high === '')) {
        if (!endsAtOneSign(source, at, text.length)) ways *= textCharsMax + 1;
      } else if (range !== undefined) ways *= Math.max(1, Number(high) - Number(low) + 1);
      at += text.length - 1;
      quantifiable = false;
      afterGroup = false;
      if (source[at + 1] === '?') refuse('only whether it matches counts, so lazy repeats mean nothing');
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
      if (isWhole) refuse('an expression is compared with the whole level; leave out ^ and $');
      if (at !== (char === '^' ? 0 : source.length - 1))
        refuse('^ stands at the beginning and $ at the end of the whole expression');
      isAnchored ||= char === '^';
      quantifiable = false;
    }
  }
  if (groups.length > 1) refuse('a ( without its )');
  const alternatives = groups[0]!;
  return ways * alternatives * (isAnchored && (isWhole || alternatives === 1) ? 1 : textCharsMax + 1);
}

/** `[^x]*x` and `[^x]+x`: whatever the text, there is one place where it can end. */
function endsAtOneSign(source: string, at: number, length: number): boolean {
  const [, sign] = /\[\^(\\?[^\\\]])\]$/.exec(source.slice(0, at)) ?? [];
  if (sign === undefined) return false;
  const plain = sign.at(-1) as string;
  if (sign.length === 2 && !PLAIN_ESCAPES.includes(plain)) return false;
  const rest = source.slice(at + length);
  const next = PLAIN_ESCAPES.includes(plain) ? `\\${plain}` : plain;
  return rest.startsWith(next) && !/^[*?{]/.test(rest.slice(next.length));
}

function endOfClass(source: string, from: number, refuse: (reason: string) => never): number {
  for (let at = from + 1; at < source.length; at++) {
    if (source[at] === '\\') at++;
    else if (source[at] === ']') return at;
  }
  return refuse('a [ without its ]');
}
