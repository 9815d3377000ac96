/**
 * Checks a set of mapping rules as a whole, when rules are put: a rule that no message could reach, rules that lead
 * messages round in a circle, and rules that compete for addresses. Called by `mapping-rules.ts` before anything is
 * changed. A check of ten thousand rules takes longer than messages may wait, so it is a generator that stops after
 * every slice. What it says about circles is on the safe side: conditions are taken to hold.
 */

import { CoreError } from './errors.ts';
import { type AnyRule, isRouting, type RoutingRule, type RuleWarning } from './mapping-rule.ts';
import { MANY, ONE, Pattern, type Token } from './pattern.ts';

export interface NamedRule {
  readonly name: string;
  readonly rule: RoutingRule;
}

export type SlicedCheck<Result> = Generator<void, Result, void>;

/** Rules looked at in one slice. */
const SLICE_RULES = 50;
/** Pairs of rules of which one may lead to the other; more are refused rather than followed. */
const LINKS_MAX = 1_000_000;
/** Rules named for one rule that competes with them, and for a whole set. */
const OVERLAPS_TOLD_MAX = 5;
const WARNINGS_MAX = 100;

type Refuse = (name: string, pointer: string, text: string) => never;

/** The routing rules of a set, so that what one of them meets is found without looking at all. */
export class RuleGraph {
  readonly #rules = new Map<string, NamedRule>();
  readonly #all = new RulesByPattern();
  /** Those that leave nothing of what they match to later ones. */
  readonly #stopping = new RulesByPattern();

  /** Puts a rule in the place of the one of that name; null, or a rule of the other form: it goes. Returns that one. */
  put(name: string, rule: AnyRule | null): RoutingRule | null {
    const before = this.#rules.get(name);
    if (before !== undefined) {
      this.#rules.delete(name);
      this.#all.remove(before);
      if (isStopping(before)) this.#stopping.remove(before);
    }
    if (rule !== null && isRouting(rule)) {
      const named = { name, rule };
      this.#rules.set(name, named);
      this.#all.add(named);
      if (isStopping(named)) this.#stopping.add(named);
    }
    return before?.rule ?? null;
  }

  /**
   * `changed`: the rules that are being put, one of which any error is about. `named`: pointers begin with the rule's
   * name. Throws CoreError `invalid-argument`.
   */
  *check(changed: ReadonlySet<string>, named = false): SlicedCheck<RuleWarning[]> {
    const refuse: Refuse = (name, pointer, text) => {
      const prefix = named ? `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}` : '';
      throw new CoreError('invalid-argument', text, { field: prefix + pointer });
    };
    const rules = [...changed].flatMap((name) => this.#rules.get(name) ?? []);
    let count = 0;
    for (const each of rules) {
      this.#checkReach(each, changed, refuse);
      if (++count % SLICE_RULES === 0) yield;
    }
    yield* checkCircles(rules, this.#all, changed, refuse);
    const warnings: RuleWarning[] = [];
    for (const each of rules) {
      if (warnings.length === WARNINGS_MAX) break;
      for (const detail of this.#overlapsOf(each))
        if (warnings.length < WARNINGS_MAX)
          warnings.push({ mapping: each.name, pointer: '/from/match', detail });
      if (++count % SLICE_RULES === 0) yield;
    }
    return warnings;
  }

  /** That it gets messages, and leaves some to the rules that stay as they are. */
  #checkReach(each: NamedRule, changed: ReadonlySet<string>, refuse: Refuse): void {
    for (const first of this.#stopping.covering(each.rule.pattern)) {
      if (first.name !== each.name && isBefore(first, each))
        refuse(
          each.name,
          '/from/match',
          `it would never get a message: mapping ${first.name} takes all of them first`,
        );
    }
    if (!isStopping(each) || changed.size >= this.#rules.size) return;
    const alone = new RulesByPattern();
    alone.add(each);
    for (const later of this.#all.overlapping(each.rule.pattern, LINKS_MAX)) {
      if (
        changed.has(later.name) ||
        !isBefore(each, later) ||
        alone.covering(later.rule.pattern).length === 0
      )
        continue;
      refuse(
        each.name,
        '/from/match',
        `mapping ${later.name}, which comes later, would get no message any more`,
      );
    }
  }

  #overlapsOf(each: NamedRule): string[] {
    return this.#all
      .overlapping(each.rule.pattern, OVERLAPS_TOLD_MAX + 1)
      .filter(({ name }) => name !== each.name)
      .slice(0, OVERLAPS_TOLD_MAX)
      .map((other) => {
        const first = isBefore(other, each) ? other : each;
        const then = first.rule.continues ? 'both may take a message' : `${first.name} is asked first`;
        return `mapping ${other.name} matches some of the same addresses (${other.rule.pattern}); ${then}`;
      });
  }
}

/** Walks from every changed rule along what it may publish to; a way back to a rule on the walk is a circle. */
function* checkCircles(
  rules: readonly NamedRule[],
  all: RulesByPattern,
  changed: ReadonlySet<string>,
  refuse: Refuse,
): SlicedCheck<void> {
  let links = 0;
  const nextOf = (from: NamedRule): NamedRule[] => {
    const next = new Set<NamedRule>();
    for (const { kind, reach, overflowTopic } of from.rule.targets) {
      if (kind !== 'core' || reach === null) continue;
      for (const each of all.overlapping(reach, LINKS_MAX)) next.add(each);
      if (overflowTopic === null) continue;
      for (const each of all.overlapping(Pattern.of(overflowTopic), LINKS_MAX)) next.add(each);
    }
    links += next.size;
    if (links > LINKS_MAX)
      refuse(from.name, '/to', `more than ${LINKS_MAX} ways lead from one mapping to another`);
    return [...next].filter(({ rule }) => rule.targets.some((target) => target.kind === 'core'));
  };
  const finished = new Set<NamedRule>();
  let count = 0;
  for (const start of rules) {
    if (finished.has(start)) continue;
    const path = [{ node: start, next: nextOf(start), at: 0 }];
    const onPath = new Set([start]);
    while (path.length > 0) {
      const place = path.at(-1) as (typeof path)[number];
      const next = place.next[place.at++];
      if (next === undefined) {
        finished.add(place.node);
        onPath.delete(place.node);
        path.pop();
      } else if (onPath.has(next)) {
        const nodes = path.map(({ node }) => node);
        const circle = nodes.slice(nodes.indexOf(next));
        const guilty = circle.find(({ name }) => changed.has(name));
        // A circle of rules that are as they were has been there before.
        if (guilty === undefined || circle.some(({ rule }) => rule.circlesAllowed === true)) continue;
        const names = [...circle, next].map(({ name }) => name).join(' → ');
        refuse(guilty.name, '/to', `messages would go round: ${names}; conditions are taken to hold`);
      } else if (!finished.has(next)) {
        path.push({ node: next, next: nextOf(next), at: 0 });
        onPath.add(next);
        if (++count % SLICE_RULES === 0) yield;
      }
    }
    if (++count % SLICE_RULES === 0) yield;
  }
}

function isStopping({ rule }: NamedRule): boolean {
  return !rule.continues && !rule.conditional;
}

function isBefore(a: NamedRule, b: NamedRule): boolean {
  return a.rule.order === b.rule.order ? a.name < b.name : a.rule.order < b.rule.order;
}

interface Node {
  readonly levels: Map<string, Node>;
  one: Node | null;
  many: Node | null;
  readonly rules: NamedRule[];
}

/** Rules in a trie of their patterns' tokens, asked by pattern instead of by address. */
class RulesByPattern {
  readonly #root = newNode();

  add(rule: NamedRule): void {
    let node = this.#root;
    for (const token of rule.rule.pattern.tokens) {
      if (token === ONE) {
        node.one ??= newNode();
        node = node.one;
      } else if (token === MANY) {
        node.many ??= newNode();
        node = node.many;
      } else {
        let child = node.levels.get(token);
        if (child === undefined) {
          child = newNode();
          node.levels.set(token, child);
        }
        node = child;
      }
    }
    node.rules.push(rule);
  }

  remove(rule: NamedRule): void {
    const path: { node: Node; token: Token }[] = [];
    let node: Node | null | undefined = this.#root;
    for (const token of rule.rule.pattern.tokens) {
      if (node === null || node === undefined) return;
      path.push({ node, token });
      node = token === ONE ? node.one : token === MANY ? node.many : node.levels.get(token);
    }
    const at = node?.rules.indexOf(rule) ?? -1;
    if (at < 0) return;
    node?.rules.splice(at, 1);
    for (const { node: parent, token } of path.reverse()) {
      const child =
        token === ONE ? parent.one : token === MANY ? parent.many : parent.levels.get(token as string);
      if (child === null || child === undefined || !isEmpty(child)) return;
      if (token === ONE) parent.one = null;
      else if (token === MANY) parent.many = null;
      else parent.levels.delete(token as string);
    }
  }

  /** Rules whose pattern surely matches everything that `pattern` matches. */
  covering(pattern: Pattern): NamedRule[] {
    const found = new Set<NamedRule>();
    const { tokens } = pattern;
    const seen = new Map<Node, Set<number>>();
    const walk = (node: Node, at: number): void => {
      if (wasSeen(seen, node, at)) return;
      if (at === tokens.length) for (const rule of node.rules) found.add(rule);
      const first = tokens[0];
      const wild = at > 0 || typeof first !== 'string' || !first.startsWith('$');
      if (node.many !== null && wild) for (let to = at; to <= tokens.length; to++) walk(node.many, to);
      const token = tokens[at];
      if (token === undefined || token === MANY) return;
      if (typeof token === 'string') {
        const child = node.levels.get(token);
        if (child !== undefined) walk(child, at + 1);
      }
      if (node.one !== null && wild) walk(node.one, at + 1);
    };
    walk(this.#root, 0);
    return [...found];
  }

  /** Rules that some address could match as well as `pattern`, at most `max` of them. */
  overlapping(pattern: Pattern, max: number): NamedRule[] {
    const found = new Set<NamedRule>();
    const { tokens } = pattern;
    const seen = new Map<Node, Set<number>>();
    const walk = (node: Node, at: number): void => {
      if (found.size >= max || wasSeen(seen, node, at)) return;
      if (at === tokens.length) for (const rule of node.rules) if (found.size < max) found.add(rule);
      const token = tokens[at];
      if (node.many !== null) {
        walk(node.many, at);
        for (let to = at + 1; to <= tokens.length; to++) walk(node.many, to);
      }
      if (token === undefined) return;
      if (token === MANY) {
        walk(node, at + 1);
        for (const child of node.levels.values()) walk(child, at);
        if (node.one !== null) walk(node.one, at);
      } else {
        if (typeof token === 'string') {
          const child = node.levels.get(token);
          if (child !== undefined) walk(child, at + 1);
        } else for (const child of node.levels.values()) walk(child, at + 1);
        if (node.one !== null) walk(node.one, at + 1);
      }
    };
    walk(this.#root, 0);
    // Wildcards do not match a first level that begins with `$`, which the walk does not look at.
    return [...found].filter(({ rule }) => rule.pattern.overlaps(pattern));
  }
}

function isEmpty(node: Node): boolean {
  return node.rules.length === 0 && node.levels.size === 0 && node.one === null && node.many === null;
}

function newNode(): Node {
  return { levels: new Map(), one: null, many: null, rules: [] };
}

function wasSeen(seen: Map<Node, Set<number>>, node: Node, at: number): boolean {
  const places = seen.get(node);
  if (places === undefined) {
    seen.set(node, new Set([at]));
    return false;
  }
  if (places.has(at)) return true;
  places.add(at);
  return false;
}
