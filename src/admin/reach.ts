/**
 * Whether the HTTP API would be open to other machines: it listens beyond loopback, and neither a key nor a group says who
 * may call. Asked before it listens (`access.ts`), and by `rosettamq validate`, so that both say the same.
 */

import { lookup } from 'node:dns/promises';
import { isLoopbackAddress } from '../net/loopback.ts';
import { ROLES } from './roles.ts';
import type { HttpSettings } from './settings.ts';

/** Neither key nor group: whoever reaches it may call. */
export function isUnguarded({ apiKeys, roles }: HttpSettings): boolean {
  return ROLES.every((role) => {
    const keys = role === 'admin' ? apiKeys : roles[role].apiKeys;
    return keys.length === 0 && roles[role].groups.length === 0;
  });
}

/** What the operator has to mend, where it would be open; null where it is not. `boundTo` is an IP address. */
export function findOpening(settings: HttpSettings, boundTo: string): string | null {
  if (isLoopbackAddress(boundTo) || !isUnguarded(settings)) return null;
  return (
    `http.host ${boundTo} is reachable from other machines: set at least one key in http.apiKeys or a group in ` +
    'http.roles, or listen on 127.0.0.1'
  );
}

/** The same before a start. A name that means nothing on this machine may mean something where it will run. */
export async function findOpeningOfSettings(settings: HttpSettings): Promise<string | null> {
  if (!settings.enabled) return null;
  try {
    return findOpening(settings, (await lookup(settings.host)).address);
  } catch {
    return null;
  }
}
