/**
 * One way to prove who a client is: users with passwords, signed tokens, certificates, an outside service. The
 * authenticator of `index.ts` asks them one after the other until one knows.
 */

import type { Principal } from '../core/index.ts';
import type { ConnectionOrigin, Credentials } from '../host.ts';

/** Null: refused, and nobody else is asked. `unknown`: this is for others to say. */
export type Verdict = Principal | null | 'unknown';

export interface Verifier {
  /** Throws only when it could not be decided, and then nobody else is asked either. */
  verify(credentials: Credentials, origin: ConnectionOrigin): Verdict | Promise<Verdict>;
  /** False where a principal that it let in would not be let in any more. */
  isCurrent(principal: Principal): boolean;
}
