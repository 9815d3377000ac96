/**
 * The bindings of all exchanges, found by source, by target and by identity without looking at the others: a client
 * may have a hundred thousand of them, and take them away one by one. Used by `exchanges.ts`, which gives them their
 * meaning.
 */

import { areSameHeaders } from './header-match.ts';
import type { ExchangeBinding } from './index.ts';
import type { Binding } from './router.ts';

export interface BoundEntry {
  readonly definition: ExchangeBinding;
  /** Row in the table of bindings, or 0. */
  readonly number: number;
  /** What stands in the router for it. */
  readonly binding: Binding;
}

export class BindingTable {
  /** By source, then by target and key: several only where their arguments differ. */
  readonly #bySource = new Map<string, Map<string, BoundEntry[]>>();
  readonly #counts = new Map<string, number>();
  readonly #byTarget = new Map<string, Set<BoundEntry>>();

  add(entry: BoundEntry): void {
    const { exchange, target } = entry.definition;
    let ofSource = this.#bySource.get(exchange);
    if (ofSource === undefined) {
      ofSource = new Map();
      this.#bySource.set(exchange, ofSource);
    }
    const key = identityOf(entry.definition);
    const same = ofSource.get(key);
    if (same === undefined) ofSource.set(key, [entry]);
    else same.push(entry);
    this.#counts.set(exchange, this.countOf(exchange) + 1);
    const ofTarget = this.#byTarget.get(targetKey(target));
    if (ofTarget === undefined) this.#byTarget.set(targetKey(target), new Set([entry]));
    else ofTarget.add(entry);
  }

  remove(entry: BoundEntry): void {
    const { exchange, target } = entry.definition;
    const ofSource = this.#bySource.get(exchange);
    const key = identityOf(entry.definition);
    const left = ofSource?.get(key)?.filter((other) => other !== entry) ?? [];
    if (left.length > 0) ofSource?.set(key, left);
    else ofSource?.delete(key);
    const count = this.countOf(exchange) - 1;
    if (count > 0) this.#counts.set(exchange, count);
    else {
      this.#counts.delete(exchange);
      this.#bySource.delete(exchange);
    }
    const ofTarget = this.#byTarget.get(targetKey(target));
    ofTarget?.delete(entry);
    if (ofTarget?.size === 0) this.#byTarget.delete(targetKey(target));
  }

  /** The binding with the same source, target, key and arguments. */
  find(definition: ExchangeBinding): BoundEntry | undefined {
    return this.#bySource
      .get(definition.exchange)
      ?.get(identityOf(definition))
      ?.find((known) => areSameHeaders(known.definition.arguments, definition.arguments));
  }

  countOf(exchange: string): number {
    return this.#counts.get(exchange) ?? 0;
  }

  /** A copy, so that it may be changed meanwhile. */
  ofSource(exchange: string): BoundEntry[] {
    return [...(this.#bySource.get(exchange)?.values() ?? [])].flat();
  }

  ofTarget(target: ExchangeBinding['target']): BoundEntry[] {
    return [...(this.#byTarget.get(targetKey(target)) ?? [])];
  }

  *all(): Iterable<BoundEntry> {
    for (const ofSource of this.#bySource.values()) for (const same of ofSource.values()) yield* same;
  }
}

function targetKey(target: ExchangeBinding['target']): string {
  return `${target.kind}:${target.name}`;
}

/** Without the arguments, whose equality is not that of any text. */
function identityOf({ target, key }: ExchangeBinding): string {
  return `${target.kind}:${target.name.length}:${target.name}${key}`;
}
