/**
 * Who may do what, asked by the core at its doors. The rules live in `src/auth`; the core only knows the question.
 */

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
  /** `target` is an address, or a pattern's text where a pattern is subscribed. */
  may(principal: Principal, action: Action, target: string): boolean;
}

export const ALLOW_ALL: Access = { unrestricted: true, generation: 0, may: () => true };
export const ANONYMOUS: Principal = { user: '', groups: [], clientId: '' };
/** Whoever manages the gateway: may do everything, and no rule is asked. Compared by identity. */
export const OPERATOR: Principal = Object.freeze({ user: '', groups: Object.freeze([]), clientId: '' });
