/**
 * What callers of the HTTP API may do, by their role; the table of it is in docs/api.md. Asked by `server.ts` for each
 * request, with the route that was matched and never with the path as it came, which can be written in many ways.
 */

export const ROLES = ['admin', 'operator', 'viewer', 'publisher'] as const;
export type Role = (typeof ROLES)[number];

/**
 * look: see everything, and try what changes nothing. publish: send messages. operate: change everything but who may do
 * what, and which outside brokers the gateway calls with which secrets. administer: that too. describe: read what the API is.
 */
export type Ability = 'describe' | 'look' | 'publish' | 'operate' | 'administer';

const ABILITIES = {
  admin: new Set(['describe', 'look', 'publish', 'operate', 'administer']),
  operator: new Set(['describe', 'look', 'publish', 'operate']),
  viewer: new Set(['describe', 'look']),
  publisher: new Set(['describe', 'publish']),
} as const satisfies Record<Role, ReadonlySet<Ability>>;

/** Whose changes are for administrators. */
const ADMINISTERED = /^\/v1\/(users|acl|import|connections)(\/|$)/;
/** Connects to an outside broker as the gateway is set up to do anyway, and changes nothing. */
const PROBE = /:probe$/;

/** Somebody who may call. */
export interface Caller {
  /** For the log: `user:ann`, `key:3f0a377b` (the first digits of a key's SHA-256), or `local`. */
  readonly name: string;
  readonly role: Role;
}

export function isProbe(route: string | undefined): boolean {
  return route !== undefined && PROBE.test(route);
}

/** What a request needs. `route` is the matched route's pattern; undefined where there is none. */
export function abilityFor(method: string, route: string | undefined): Ability {
  if (route === undefined || route === '/openapi.json') return 'describe';
  if (method === 'GET' || method === 'HEAD' || route.endsWith(':test')) return 'look';
  if (route === '/v1/messages/*') return 'publish';
  return ADMINISTERED.test(route) && !PROBE.test(route) ? 'administer' : 'operate';
}

export function may({ role }: Caller, ability: Ability): boolean {
  return (ABILITIES[role] as ReadonlySet<Ability>).has(ability);
}

/** Those who may, for people. */
export function rolesWith(ability: Ability): readonly Role[] {
  return ROLES.filter((role) => (ABILITIES[role] as ReadonlySet<Ability>).has(ability));
}
