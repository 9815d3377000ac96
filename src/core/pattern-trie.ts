/**
 * Bindings by pattern, in a trie of levels: what an address matches is found without looking at the patterns that it
 * does not match. Only for patterns with wildcards; literal ones stand in the router's map. The depth of the trie, and
 * so of the recursion here, is bounded by `addressLevelsMax`.
 */

import { MANY, ONE, type Pattern } from './pattern.ts';
import type { Binding } from './router.ts';

interface TrieNode {
  readonly number: number;
  readonly levels: Map<string, TrieNode>;
  one: TrieNode | null;
  many: TrieNode | null;
  bindings: Binding[];
}

export class PatternTrie {
  readonly #root: TrieNode;
  #nodeCount = 0;

  constructor() {
    this.#root = this.#newNode();
  }

  get isEmpty(): boolean {
    return isEmpty(this.#root);
  }

  add(binding: Binding): void {
    this.#nodeOf(binding.pattern).bindings.push(binding);
  }

  /** Returns whether it was there. */
  remove(binding: Binding): boolean {
    return this.#remove(this.#root, 0, binding);
  }

  /** Adds every binding whose pattern matches these levels to `result`. */
  collect(levels: readonly string[], result: Set<Binding>): void {
    this.#walk(this.#root, levels, 0, new Set(), result);
  }

  /** Whether some binding satisfies `test`. */
  some(test: (binding: Binding) => boolean): boolean {
    return someBelow(this.#root, test);
  }

  #walk(
    node: TrieNode,
    levels: readonly string[],
    at: number,
    visited: Set<number>,
    result: Set<Binding>,
  ): void {
    if (at === levels.length) for (const binding of node.bindings) result.add(binding);
    const many = node.many;
    const wildcards = at !== 0 || !(levels[0] as string).startsWith('$');
    if (many !== null && wildcards) {
      for (let skip = at; skip <= levels.length; skip++) {
        // Two ways through several `MANY` lead to the same place: each is walked once, so the cost stays bounded.
        const place = many.number * (levels.length + 1) + skip;
        if (visited.has(place)) continue;
        visited.add(place);
        this.#walk(many, levels, skip, visited, result);
      }
    }
    if (at === levels.length) return;
    const child = node.levels.get(levels[at] as string);
    if (child !== undefined) this.#walk(child, levels, at + 1, visited, result);
    if (node.one !== null && wildcards) this.#walk(node.one, levels, at + 1, visited, result);
  }

  #newNode(): TrieNode {
    return { number: this.#nodeCount++, levels: new Map(), one: null, many: null, bindings: [] };
  }

  #nodeOf(pattern: Pattern): TrieNode {
    let node = this.#root;
    for (const token of pattern.tokens) {
      if (token === ONE) {
        node.one ??= this.#newNode();
        node = node.one;
      } else if (token === MANY) {
        node.many ??= this.#newNode();
        node = node.many;
      } else {
        let child = node.levels.get(token);
        if (child === undefined) {
          child = this.#newNode();
          node.levels.set(token, child);
        }
        node = child;
      }
    }
    return node;
  }

  #remove(node: TrieNode, at: number, binding: Binding): boolean {
    const { tokens } = binding.pattern;
    if (at === tokens.length) return removeFrom(node.bindings, binding);
    const token = tokens[at];
    const child = token === ONE ? node.one : token === MANY ? node.many : node.levels.get(token as string);
    if (child === null || child === undefined) return false;
    const removed = this.#remove(child, at + 1, binding);
    if (removed && isEmpty(child)) {
      if (token === ONE) node.one = null;
      else if (token === MANY) node.many = null;
      else node.levels.delete(token as string);
    }
    return removed;
  }
}

function isEmpty(node: TrieNode): boolean {
  return node.bindings.length === 0 && node.levels.size === 0 && node.one === null && node.many === null;
}

/** Removes exactly this object; returns whether it was there. */
export function removeFrom(bindings: Binding[], binding: Binding): boolean {
  const at = bindings.indexOf(binding);
  if (at < 0) return false;
  bindings.splice(at, 1);
  return true;
}

function someBelow(node: TrieNode, test: (binding: Binding) => boolean): boolean {
  if (node.bindings.some(test)) return true;
  if (node.one !== null && someBelow(node.one, test)) return true;
  if (node.many !== null && someBelow(node.many, test)) return true;
  for (const child of node.levels.values()) if (someBelow(child, test)) return true;
  return false;
}
