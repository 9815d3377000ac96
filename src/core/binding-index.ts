/**
 * Bindings by what they match: literal patterns in a map, patterns with wildcards in a trie of levels. The router has
 * one for everything that subscribes and one for mapping rules, which is built beside the messages that flow and takes
 * the place of the old one in one step.
 */

import { PatternTrie, removeFrom } from './pattern-trie.ts';
import type { Binding } from './router.ts';

export class BindingIndex {
  readonly #literals = new Map<string, Binding[]>();
  readonly #trie = new PatternTrie();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Whether `collect` needs the address's levels. */
  get hasPatterns(): boolean {
    return !this.#trie.isEmpty;
  }

  add(binding: Binding): void {
    const { literal } = binding.pattern;
    if (literal === null) this.#trie.add(binding);
    else {
      const bindings = this.#literals.get(literal);
      if (bindings === undefined) this.#literals.set(literal, [binding]);
      else bindings.push(binding);
    }
    this.#count++;
  }

  /** Returns whether exactly this object was there. */
  remove(binding: Binding): boolean {
    const { literal } = binding.pattern;
    if (literal === null) {
      if (!this.#trie.remove(binding)) return false;
    } else {
      const bindings = this.#literals.get(literal);
      if (bindings === undefined || !removeFrom(bindings, binding)) return false;
      if (bindings.length === 0) this.#literals.delete(literal);
    }
    this.#count--;
    return true;
  }

  /** Adds every binding that matches to `result`. */
  collect(address: string, levels: readonly string[], result: Set<Binding>): void {
    const literal = this.#literals.get(address);
    if (literal !== undefined) for (const binding of literal) result.add(binding);
    if (!this.#trie.isEmpty) this.#trie.collect(levels, result);
  }

  /** Whether some binding satisfies `test`. */
  some(test: (binding: Binding) => boolean): boolean {
    for (const bindings of this.#literals.values()) if (bindings.some(test)) return true;
    return this.#trie.some(test);
  }
}
