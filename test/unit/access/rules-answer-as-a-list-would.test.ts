/** The indexed rules against a plain list of them, read one by one as the documentation says. */

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Acl } from '../../../src/auth/acl.ts';
import { ACCESS_WORDS, type AclRuleDefinition, ruleFromDefinition } from '../../../src/auth/acl-rule.ts';
import { type Action, MANY, ONE, Pattern, type Principal } from '../../../src/core/index.ts';

const ACTIONS: readonly Action[] = ['publish', 'subscribe', 'read', 'configure'];
const WORDS: Record<string, readonly Action[]> = {
  read: ['read', 'subscribe'],
  write: ['publish'],
  subscribe: ['subscribe'],
  configure: ['configure'],
  readwrite: ['publish', 'read', 'subscribe'],
  all: ACTIONS,
};

/** What an MQTT filter matches, one level after the other, by the text of section 4.7. */
function matches(filter: readonly string[], levels: readonly string[], isFirst = true): boolean {
  const [head, ...rest] = filter;
  if (head === '#') return !(isFirst && levels[0]?.startsWith('$') === true);
  if (head === undefined) return levels.length === 0;
  const [level, ...others] = levels;
  if (level === undefined) return false;
  if (head === '+') return !(isFirst && level.startsWith('$')) && matches(rest, others, false);
  return unquote(head) === level && matches(rest, others, false);
}

const QUOTED = '\u0001';
const unquote = (text: string): string => text.replaceAll(QUOTED, '');

/** The filter with names put in; a name that is a wildcard is kept as text by a mark. Null: it does not apply. */
function substituted({ pattern, effect }: AclRuleDefinition, { user, clientId }: Principal): string[] | null {
  const names: [string, string][] = [
    ['%u', user],
    ['%c', clientId],
  ];
  let text = pattern;
  for (const [placeholder, name] of names) {
    if (!pattern.includes(placeholder)) continue;
    if (name === '' || (effect === 'allow' && /[/+#]/.test(name))) return null;
    text = text.split(placeholder).join(name.replace(/[+#]/g, `${QUOTED}$&`));
  }
  if (effect === 'allow' && text.startsWith('$') && !pattern.startsWith('$')) return null;
  return text.split('/');
}

function isAbout({ user, client, group }: AclRuleDefinition, who: Principal): boolean {
  if (user !== undefined) return user === who.user;
  if (client !== undefined) return client === who.clientId;
  return group === undefined || who.groups.includes(group);
}

function mayByList(
  rules: readonly AclRuleDefinition[],
  who: Principal,
  action: Action,
  address: string,
): boolean {
  if (rules.length === 0) return true;
  const speaking = rules.filter((rule) => {
    const filter = substituted(rule, who);
    const isOfAction = rule.actions.some((word) => WORDS[word]?.includes(action));
    return isOfAction && isAbout(rule, who) && filter !== null && matches(filter, address.split('/'));
  });
  return speaking.length > 0 && speaking.every(({ effect }) => effect === 'allow');
}

const level = fc.constantFrom('a', 'b', '', '$q', '%u', '%c', 'x%u', '%u%c', '+');
const pattern = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, many]) => (many ? [...levels, '#'] : levels).join('/'))
  .filter((text) => text !== '');
const name = fc.constantFrom('a', 'b', 'a/b', '+', '#', '$q', 'ann');
const who = fc.oneof(
  fc.constant({}),
  fc.record({ user: fc.oneof(name, fc.constant('')) }),
  fc.record({ client: name }),
  fc.record({ group: name }),
);
const rule: fc.Arbitrary<AclRuleDefinition> = fc
  .tuple(
    who,
    fc.constantFrom('allow' as const, 'deny' as const),
    fc.array(fc.constantFrom(...ACCESS_WORDS), { minLength: 1, maxLength: 2 }),
    pattern,
  )
  .map(([about, effect, actions, text]) => ({ ...about, effect, actions, pattern: text }));
const principal: fc.Arbitrary<Principal> = fc.record({
  user: fc.oneof(name, fc.constant('')),
  groups: fc.array(name, { maxLength: 2 }),
  clientId: fc.oneof(name, fc.constant('')),
});
const address = fc
  .array(fc.constantFrom('a', 'b', '', '$q', '$SYS', 'xa', 'xann', 'ann', 'aa', '+', '#'), {
    minLength: 1,
    maxLength: 4,
  })
  .map((levels) => levels.join('/'));

function aclOf(rules: readonly AclRuleDefinition[]): Acl {
  const acl = new Acl('auto', 2);
  acl.replace('test', rules.map(ruleFromDefinition));
  return acl;
}

it('answers about addresses as the list does', () => {
  fc.assert(
    fc.property(
      fc.array(rule, { maxLength: 8 }),
      principal,
      fc.array(address, { minLength: 1 }),
      (rules, by, all) => {
        const acl = aclOf(rules);
        for (const action of ['publish', 'read', 'configure'] as const) {
          for (const one of all) expect(acl.may(by, action, one)).toBe(mayByList(rules, by, action, one));
        }
      },
    ),
    { numRuns: 3_000 },
  );
});

/** Addresses enough to tell filters of these levels apart: names that stand in no rule are among them. */
const WITNESSES = ['a', 'b', 'other', '$q', '+', '#', ''];

it('allows a filter only where every address that it matches may be read and asked for', () => {
  const filter = fc
    .tuple(fc.array(fc.constantFrom('a', 'b', '+', '$q'), { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, many]) => (many ? [...levels, '#'] : levels));
  const allowing = rule.map((one) => ({ ...one, effect: 'allow' as const }));
  fc.assert(
    fc.property(
      fc.array(allowing, { minLength: 1, maxLength: 5 }),
      principal,
      filter,
      (rules, by, levels) => {
        const acl = aclOf(rules);
        const typed = new Pattern(levels.map((one) => (one === '+' ? ONE : one === '#' ? MANY : one)));
        const asText = acl.may(by, 'subscribe', levels.join('/'));
        expect(acl.mayAll(by, 'subscribe', typed)).toBe(asText);
        if (!asText) return;
        for (const one of addressesOf(levels)) {
          if (matches(levels, one.split('/'))) {
            expect(mayByList(rules, by, 'subscribe', one), `${levels.join('/')} ${one}`).toBe(true);
          }
        }
      },
    ),
    { numRuns: 2_000 },
  );
});

it('allows everything of a pattern only where nothing of it is denied, and refuses no other for that', () => {
  const filter = fc
    .tuple(fc.array(fc.constantFrom('a', 'b', '+', '$q'), { maxLength: 2 }), fc.boolean())
    .filter(([levels, many]) => levels.length === 2 || many)
    .map(([levels, many]) => (many ? [...levels.slice(0, 1), '#'] : levels));
  const open: AclRuleDefinition[] = ['#', '$q/#'].map((text) => ({
    effect: 'allow',
    actions: ['read'],
    pattern: text,
  }));
  const short = fc
    .tuple(
      fc.array(fc.constantFrom('a', 'b', '$q', '%u', '%c', '+'), { minLength: 1, maxLength: 2 }),
      fc.boolean(),
    )
    .map(([levels, many]) => (many ? [...levels, '#'] : levels).join('/'));
  const denying = fc.tuple(rule, short).map(([one, text]) => ({
    ...one,
    effect: 'deny' as const,
    pattern: text,
  }));
  const plain = principal.filter(({ user, clientId }) => !`${user}${clientId}`.includes('/'));
  fc.assert(
    fc.property(fc.array(denying, { maxLength: 3 }), plain, filter, (rules, by, levels) => {
      const all = [...open, ...rules];
      const typed = new Pattern(levels.map((one) => (one === '+' ? ONE : one === '#' ? MANY : one)));
      const within = ADDRESSES.filter((one) => matches(levels, one.split('/')));
      const allowed = within.every((one) => mayByList(all, by, 'read', one));
      expect(aclOf(all).mayAll(by, 'read', typed)).toBe(allowed);
    }),
    { numRuns: 1_000 },
  );
});

/** Everything of one to three levels. */
const TEXTS = ['a', 'b', '$q', '+', '#', '', 'ann', 'other'];
const ADDRESSES = TEXTS.flatMap((first) => [
  first,
  ...TEXTS.flatMap((second) => [
    `${first}/${second}`,
    ...TEXTS.map((third) => `${first}/${second}/${third}`),
  ]),
]).filter((text) => text !== '');

function addressesOf(levels: readonly string[]): string[] {
  let found = [''];
  for (const [index, one] of levels.entries()) {
    const next = one === '+' || one === '#' ? WITNESSES : [one];
    found = found.flatMap((before) => next.map((text) => (index === 0 ? text : `${before}/${text}`)));
  }
  if (levels.at(-1) === '#') found.push(levels.slice(0, -1).join('/'));
  return found.filter((text) => text !== '');
}
