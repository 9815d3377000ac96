/**
 * Answers the core's question who may do what, from the rules of all sources together. A rule that denies comes
 * before every rule that allows, whatever their order; where no rule speaks, the default decides. What was decided
 * is remembered for each client and address, at most so many, until the rules change. Called on every publish and
 * delivery through `LastAnswer`, and by the adapters for everything else.
 */

import type { Access, Action, Pattern, Principal, Token } from '../core/index.ts';
import { MANY, ONE, OPERATOR } from '../core/index.ts';
import { type AclRule, ALL_BITS, BIT } from './acl-rule.ts';
import { AclTrie, type Findings } from './acl-trie.ts';

/** Longer addresses are judged each time: what is remembered of one client is bounded in bytes too. */
const REMEMBERED_CHARS_MAX = 512;

/** `auto`: allow while there is no rule at all, deny as soon as there is one. */
export type AclDefault = 'auto' | 'allow' | 'deny';

/** What is remembered of one client. */
interface Remembered {
  readonly generation: number;
  /** The tries that speak of it. */
  readonly tries: readonly AclTrie[];
  /** Allowed actions as bits, by address. */
  readonly answers: Map<string, number>;
}

/** The tries of all rules, by whom they speak of. */
interface Index {
  readonly everybody: AclTrie;
  readonly user: Map<string, AclTrie>;
  readonly client: Map<string, AclTrie>;
  readonly group: Map<string, AclTrie>;
}

export class Acl implements Access {
  readonly #default: AclDefault;
  readonly #answersMax: number;
  readonly #sources = new Map<string, readonly AclRule[]>();
  #index: Index | null = null;
  readonly #remembered = new WeakMap<Principal, Remembered>();
  #generation = 1;
  #ruleCount = 0;
  #unrestricted: boolean;

  constructor(initial: AclDefault, answersMax: number) {
    this.#default = initial;
    this.#answersMax = answersMax;
    this.#unrestricted = initial !== 'deny';
  }

  get unrestricted(): boolean {
    return this.#unrestricted;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Replaces the rules of one source; they apply from the next question on. */
  replace(source: string, rules: readonly AclRule[]): void {
    this.#sources.set(source, rules);
    this.#ruleCount = 0;
    for (const each of this.#sources.values()) this.#ruleCount += each.length;
    this.#unrestricted = this.#ruleCount === 0 && this.#default !== 'deny';
    // Built with the next question: several changes in a row cost one.
    this.#index = null;
    this.#generation++;
  }

  may(principal: Principal, action: Action, target: string): boolean {
    if (this.#unrestricted || principal === OPERATOR) return true;
    const bit = BIT[action];
    const remembered = this.#rememberedOf(principal);
    if (action === 'subscribe') {
      const tokens = target.split('/').map((level) => (level === '+' ? ONE : level === '#' ? MANY : level));
      return (this.#judge(tokens, principal, remembered) & bit) !== 0;
    }
    const { answers } = remembered;
    let allowed = answers.get(target);
    if (allowed === undefined) {
      allowed = this.#judge(target.split('/'), principal, remembered);
      if (target.length <= REMEMBERED_CHARS_MAX) {
        if (answers.size >= this.#answersMax) answers.clear();
        answers.set(target, allowed);
      }
    }
    return (allowed & bit) !== 0;
  }

  mayAll(principal: Principal, action: Action, pattern: Pattern): boolean {
    if (this.#unrestricted || principal === OPERATOR) return true;
    const bit = BIT[action];
    const remembered = this.#rememberedOf(principal);
    if ((this.#judge(pattern.tokens, principal, remembered) & bit) === 0) return false;
    return remembered.tries.every((trie) => (trie.findDeniedWithin(pattern.tokens, principal) & bit) === 0);
  }

  #judge(tokens: readonly Token[], principal: Principal, { tries }: Remembered): number {
    const findings: Findings = { allowed: 0, denied: 0 };
    for (const trie of tries) trie.find(tokens, principal, findings);
    const isOpen = this.#default === 'allow' || (this.#default === 'auto' && this.#ruleCount === 0);
    return (isOpen ? ALL_BITS : findings.allowed) & ~findings.denied;
  }

  #rememberedOf(principal: Principal): Remembered {
    const known = this.#remembered.get(principal);
    if (known !== undefined && known.generation === this.#generation) return known;
    this.#index ??= indexOf(this.#sources.values());
    const { everybody, user, client, group } = this.#index;
    const tries = [everybody];
    const add = (trie: AclTrie | undefined): void => {
      if (trie !== undefined) tries.push(trie);
    };
    add(user.get(principal.user));
    if (principal.clientId !== '') add(client.get(principal.clientId));
    for (const name of principal.groups) add(group.get(name));
    const remembered = { generation: this.#generation, tries, answers: new Map<string, number>() };
    this.#remembered.set(principal, remembered);
    return remembered;
  }
}

function indexOf(sources: Iterable<readonly AclRule[]>): Index {
  const index: Index = { everybody: new AclTrie(), user: new Map(), client: new Map(), group: new Map() };
  for (const rules of sources) {
    for (const rule of rules) {
      const { who } = rule;
      if (who.kind === 'everybody') {
        index.everybody.add(rule);
        continue;
      }
      let trie = index[who.kind].get(who.name);
      if (trie === undefined) {
        trie = new AclTrie();
        index[who.kind].set(who.name, trie);
      }
      trie.add(rule);
    }
  }
  return index;
}
