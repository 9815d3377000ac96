/**
 * Mosquitto's access control files. Called at the start and again whenever the file has changed (`access.ts`).
 *
 * | line                                             | meaning                                                      |
 * |--------------------------------------------------|--------------------------------------------------------------|
 * | `# …`, empty                                     | nothing                                                      |
 * | `user <name>`                                    | the `topic` lines that follow are about this user            |
 * | `topic [read\|write\|readwrite\|deny] <filter>`  | about that user; before the first `user`: about clients that |
 * |                                                  | gave no user name. Without a word it is `readwrite`          |
 * | `pattern [read\|write\|readwrite\|deny] <filter>`| about everybody, with `%u` and `%c`                          |
 *
 * A filter is the rest of its line and may hold spaces. Source: mosquitto.conf(5), option acl_file.
 */

import { CoreError } from '../core/index.ts';
import { type AclRule, bitsFromWord, didYouMean, levelsFromPattern, type Who } from './acl-rule.ts';

export interface FileRule {
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
  readonly rule: AclRule;
}

const LINE_WORDS = ['user', 'topic', 'pattern'];
const ACCESS = ['read', 'write', 'readwrite', 'deny'];

/** Throws Error with file, line and what is wrong. */
export function rulesFromAclFile(text: string, file: string, rulesMax: number): FileRule[] {
  const rules: FileRule[] = [];
  let user = '';
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trimEnd();
    if (line === '' || line.startsWith('#')) continue;
    try {
      const [word, rest] = splitWord(line);
      if (word === 'user') {
        if (rest === '') throw new CoreError('invalid-argument', "'user' without a name");
        user = rest;
        continue;
      }
      if (word !== 'topic' && word !== 'pattern') {
        throw new CoreError('invalid-argument', `'${word}' is no keyword${didYouMean(word, LINE_WORDS)}`);
      }
      if (rules.length >= rulesMax) {
        throw new CoreError('limit-reached', `more than ${rulesMax} rules (auth.acl.rulesMax)`);
      }
      const who: Who = word === 'pattern' ? { kind: 'everybody' } : { kind: 'user', name: user };
      rules.push({ line: index + 1, text: line, rule: ruleFrom(who, rest) });
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      throw new Error(`${file}:${index + 1}: ${error.message}`);
    }
  }
  return rules;
}

function ruleFrom(who: Who, rest: string): AclRule {
  if (rest === '') throw new CoreError('invalid-argument', 'no topic');
  const [first, after] = splitWord(rest);
  let access = 'readwrite';
  let filter = rest;
  // One word alone is the topic, whatever it is.
  if (after !== '') {
    if (!ACCESS.includes(first)) {
      throw new CoreError('invalid-argument', `'${first}' is no access${didYouMean(first, ACCESS)}`);
    }
    access = first;
    filter = after;
  }
  return {
    who,
    effect: access === 'deny' ? 'deny' : 'allow',
    bits: bitsFromWord(access === 'deny' ? 'all' : access),
    levels: levelsFromPattern(filter, who.kind === 'everybody'),
  };
}

/** Spaces and tabs stand between words. */
function splitWord(line: string): [word: string, rest: string] {
  const match = /^([^ \t]+)[ \t]*(.*)$/.exec(line.trimStart()) as RegExpExecArray;
  return [match[1] as string, match[2] as string];
}
