/**
 * Rules by the levels of their patterns: one walk finds all that cover an address or a filter, without looking at the
 * others. A rule covers what is asked where everything that the question matches is matched by the rule's pattern
 * too. Used by `acl.ts`, one trie for each user, client, group and for everybody.
 */

import { MANY, ONE, type Principal, type Token } from '../core/index.ts';
import { type AclRule, LevelTemplate } from './acl-rule.ts';

/** What the rules that were found say, as bits of `acl-rule.ts`. */
export interface Findings {
  allowed: number;
  denied: number;
}

class Node {
  literals: Map<string, Node> | null = null;
  one: Node | null = null;
  templates: Map<string, { readonly template: LevelTemplate; readonly node: Node }> | null = null;
  /** Of rules that end here. */
  allowed = 0;
  denied = 0;
  /** Of rules that end with `#` below here; they match this place as well. */
  allowedBelow = 0;
  deniedBelow = 0;
}

export class AclTrie {
  readonly #root = new Node();

  add({ levels, effect, bits }: AclRule): void {
    let node = this.#root;
    for (const level of levels) {
      if (level === MANY) {
        if (effect === 'allow') node.allowedBelow |= bits;
        else node.deniedBelow |= bits;
        return;
      }
      node = childOf(node, level);
    }
    if (effect === 'allow') node.allowed |= bits;
    else node.denied |= bits;
  }

  /** Adds to `findings` what covers `tokens`. */
  find(tokens: readonly Token[], principal: Principal, findings: Findings): void {
    const first = tokens[0];
    const isReserved = typeof first === 'string' && first.startsWith('$');
    visit(this.#root, tokens, 0, principal, true, isReserved, findings);
  }

  /** The bits of all rules that deny something which `tokens` match too. */
  findDeniedWithin(tokens: readonly Token[], principal: Principal): number {
    return deniedWithin(this.#root, tokens, 0, principal, true);
  }
}

function childOf(node: Node, level: string | typeof ONE | LevelTemplate): Node {
  if (level === ONE) {
    node.one ??= new Node();
    return node.one;
  }
  if (level instanceof LevelTemplate) {
    node.templates ??= new Map();
    let known = node.templates.get(level.text);
    if (known === undefined) {
      known = { template: level, node: new Node() };
      node.templates.set(level.text, known);
    }
    return known.node;
  }
  node.literals ??= new Map();
  let child = node.literals.get(level);
  if (child === undefined) {
    child = new Node();
    node.literals.set(level, child);
  }
  return child;
}

/**
 * `isSafe`: no name on the way here could have made the pattern match more than was meant; else only what it denies
 * counts. `noWildcard`: wildcards do not match here, for the question begins with `$`.
 */
function visit(
  node: Node,
  tokens: readonly Token[],
  at: number,
  principal: Principal,
  isSafe: boolean,
  noWildcard: boolean,
  findings: Findings,
): void {
  if (!noWildcard) {
    if (isSafe) findings.allowed |= node.allowedBelow;
    findings.denied |= node.deniedBelow;
  }
  if (at === tokens.length) {
    if (isSafe) findings.allowed |= node.allowed;
    findings.denied |= node.denied;
    return;
  }
  const token = tokens[at] as Token;
  // Only rules that end with `#` cover many levels.
  if (token === MANY) return;
  if (node.one !== null && !noWildcard) {
    visit(node.one, tokens, at + 1, principal, isSafe, false, findings);
  }
  if (token === ONE) return;
  const literal = node.literals?.get(token);
  if (literal !== undefined) visit(literal, tokens, at + 1, principal, isSafe, false, findings);
  if (node.templates === null) return;
  for (const { template, node: child } of node.templates.values()) {
    const levels = levelsMatched(template, tokens, at, principal);
    if (levels === 0) continue;
    const isStillSafe = isSafe && template.isSafe(principal, at === 0);
    visit(child, tokens, at + levels, principal, isStillSafe, false, findings);
  }
}

/** How many levels the template takes up for this client, where they are the ones asked for; else 0. */
function levelsMatched(
  template: LevelTemplate,
  tokens: readonly Token[],
  at: number,
  principal: Principal,
): number {
  const text = template.expand(principal);
  if (text === null) return 0;
  if (!text.includes('/')) return text === tokens[at] ? 1 : 0;
  const levels = text.split('/');
  for (let i = 0; i < levels.length; i++) if (levels[i] !== tokens[at + i]) return 0;
  return levels.length;
}

/**
 * A question with a wildcard for many levels that is not its end counts as one whose rest is anything: it may be
 * refused without need, and is never allowed too much.
 */
function deniedWithin(
  node: Node,
  tokens: readonly Token[],
  at: number,
  principal: Principal,
  isFirst: boolean,
): number {
  const token = tokens[at];
  const noWildcard = isFirst && typeof token === 'string' && token.startsWith('$');
  let denied = noWildcard ? 0 : node.deniedBelow;
  if (token === undefined || token === MANY) denied |= node.denied;
  if (token === undefined) return denied;
  // From there on any level may follow, so the question stays at that place.
  const many = tokens.indexOf(MANY, at);
  const placeOf = (levels: number): number => (many < 0 ? at + levels : Math.min(at + levels, many));
  const visitChild = (child: Node, levels: number): void => {
    denied |= deniedWithin(child, tokens, placeOf(levels), principal, false);
  };
  const isAsked = (text: string, place: number): boolean => {
    const asked = tokens[placeOf(place)];
    if (asked === ONE || asked === MANY) return !(isFirst && place === 0 && text.startsWith('$'));
    return asked === text;
  };
  if (node.one !== null && !noWildcard) visitChild(node.one, 1);
  if (typeof token === 'string') {
    const literal = node.literals?.get(token);
    if (literal !== undefined) visitChild(literal, 1);
  } else if (node.literals !== null) {
    for (const [text, child] of node.literals) if (isAsked(text, 0)) visitChild(child, 1);
  }
  if (node.templates === null) return denied;
  for (const { template, node: child } of node.templates.values()) {
    const levels = template.expand(principal)?.split('/');
    if (levels?.every(isAsked) === true) visitChild(child, levels.length);
  }
  return denied;
}
