/**
 * Who may do what, asked by the core at its doors. The rules live in `src/auth`; the core only knows the question.
 */

/** An authenticated identity. */
export interface Principal {
  readonly user: string;
  readonly groups: readonly string[];
}

export type Action = 'publish' | 'subscribe' | 'configure';

export interface Access {
  /** `target` is an address, or a pattern's text where a pattern is subscribed. */
  may(principal: Principal, action: Action, target: string): boolean;
}

export const ALLOW_ALL: Access = { may: () => true };
export const ANONYMOUS: Principal = { user: '', groups: [] };
