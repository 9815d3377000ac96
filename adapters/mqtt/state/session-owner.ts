/**
 * Whose session it is: kept in the core's small state beside it, under `u`, as the user's name. The client identifier
 * alone is no proof, so a session is resumed, taken over and discarded only by the user that began it. A session of
 * a client that gave no user name is nobody's. Called when a session is looked for and found. Source: MQTT 5.0
 * section 5.4.2.
 */

import type { Principal, Session } from '../../../src/core/index.ts';

const KEY = 'u';

export function isOfAnother(session: Session, { user }: Principal): boolean {
  const owner = session.state.get(KEY);
  return owner !== undefined && Buffer.from(owner).toString() !== user;
}

export function keepOwner(session: Session, principal: Principal): void {
  const { user } = principal;
  if (session.state.has(KEY) && !isOfAnother(session, principal)) return;
  if (user !== '') session.putState(KEY, Buffer.from(user));
  else if (session.state.has(KEY)) session.removeState(KEY);
}
