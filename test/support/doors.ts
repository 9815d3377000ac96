/** Small stand-ins for what the host and the core ask: who a client is, and what it may do. */

import type { Access } from '../../src/core/access.ts';
import type { Replies } from '../../src/core/index.ts';
import type { Authenticator } from '../../src/host.ts';

/** Knows no challenge-response mechanism, and nobody it let in is ever to go. */
export function authenticatorOf(authenticate: Authenticator['authenticate']): Authenticator {
  return { authenticate, mechanisms: [], begin: () => null, isCurrent: () => true, onChange: () => {} };
}

export function accessOf(may: Access['may']): Access {
  return {
    unrestricted: false,
    generation: 0,
    may,
    mayAll: (principal, action, pattern) => may(principal, action, pattern.toString()),
  };
}

/** Every request is shown with its own reply address. */
export const NO_REPLIES: Replies = { addressFor: () => null, targetOf: () => null, mayLend: () => true };
