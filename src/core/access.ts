/**
 * Who may do what, asked by the core at its doors. The rules live in `src/auth`; the core only knows the question.
 */

import type { Pattern } from './pattern.ts';

/** An authenticated identity. */
export interface Principal {
  readonly user: string;
  readonly groups: readonly string[];
  /** What the client calls itself; empty where its protocol has no such name. Never proof of anything. */
  readonly clientId: string;
  /** Milliseconds since 1970 after which its proof is none any more; absent: it has no such end. */
  readonly expiresAtMs?: number;
}

/**
 * publish: send to an address. subscribe: ask for what a pattern matches. read: be handed a message of an address.
 * configure: create, change and delete what is named.
 */
export type Action = 'publish' | 'subscribe' | 'read' | 'configure';

export interface Access {
  /** Every question would be answered yes: need not be asked. */
  readonly unrestricted: boolean;
  /** Another number whenever an answer may have changed: what was decided under another one is asked again. */
  readonly generation: number;
  /** `target` is an address; for `subscribe` a filter's text, with `+` and `#`. */
  may(principal: Principal, action: Action, target: string): boolean;
  /** Whether it may with every address that the pattern matches. */
  mayAll(principal: Principal, action: Action, pattern: Pattern): boolean;
}

export const ALLOW_ALL: Access = { unrestricted: true, generation: 0, may: () => true, mayAll: () => true };
export const ANONYMOUS: Principal = { user: '', groups: [], clientId: '' };
/** Whoever manages the gateway: may do everything, and no rule is asked. Compared by identity. */
export const OPERATOR: Principal = Object.freeze({ user: '', groups: Object.freeze([]), clientId: '' });

/** The root of what the gateway tells about itself: no publisher has it, whatever the rules say. */
export const SYSTEM_ROOT = '$SYS';

export function isSystemAddress(address: string): boolean {
  return address === SYSTEM_ROOT || address.startsWith(`${SYSTEM_ROOT}/`);
}

/**
 * Remembers the last answer about one action: whoever asks about the same address again and again, as a publisher
 * with one topic does, pays one comparison. Changed rules are asked anew.
 */
export class LastAnswer {
  readonly #access: Access;
  readonly #action: Action;
  #principal: Principal = ANONYMOUS;
  #address = '';
  #generation = -1;
  #answer = false;

  constructor(access: Access, action: Action) {
    this.#access = access;
    this.#action = action;
  }

  may(principal: Principal, address: string): boolean {
    const access = this.#access;
    if (access.unrestricted) return true;
    return address === this.#address &&
      principal === this.#principal &&
      access.generation === this.#generation
      ? this.#answer
      : this.#ask(principal, address);
  }

  #ask(principal: Principal, address: string): boolean {
    const access = this.#access;
    this.#answer = principal === OPERATOR || access.may(principal, this.#action, address);
    this.#principal = principal;
    this.#address = address;
    this.#generation = access.generation;
    return this.#answer;
  }
}
