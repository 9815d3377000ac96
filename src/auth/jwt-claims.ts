/**
 * What a verified token says about its bearer: user, groups, client id. Pure; called by `jwt.ts` after the signature and
 * the times were found good. A claim's name is looked for as it is first, because names may be addresses with points in
 * them, and then as a path of names inside of each other.
 */

import type { JWTPayload } from 'jose';
import { isName } from './identity-name.ts';
import type { JwtSettings } from './jwt-settings.ts';

export interface TokenIdentity {
  readonly user: string;
  readonly groups: readonly string[];
  /** What the client must call itself; null: the token does not say. */
  readonly clientId: string | null;
}

/** Null where the token does not say who its bearer is, or says it in a form that is none. */
export function identityFromClaims(payload: JWTPayload, settings: JwtSettings): TokenIdentity | null {
  const user = findClaim(payload, settings.userClaim);
  if (typeof user !== 'string' || !isName(user)) return null;
  const groups = groupsFromClaim(findClaim(payload, settings.groupsClaim));
  if (groups === null) return null;
  const clientId = findClaim(payload, settings.clientIdClaim) ?? null;
  // A restriction that cannot be understood must not become none.
  if (clientId !== null && typeof clientId !== 'string') return null;
  return { user, groups, clientId };
}

function findClaim(payload: JWTPayload, name: string): unknown {
  if (name === '') return undefined;
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const key of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

function groupsFromClaim(value: unknown): string[] | null {
  if (value === undefined || value === null) return [];
  const names = typeof value === 'string' ? value.split(' ').filter((name) => name !== '') : value;
  if (!Array.isArray(names)) return null;
  return names.every((name): name is string => typeof name === 'string' && isName(name)) ? names : null;
}
