/**
 * Who may call the HTTP API, and in which role: holders of a key, users and holders of a token whose group has a role, and
 * on loopback everybody on the machine where neither is set. On loopback the Host header must name this machine, or a web
 * page could call through a name that it points here (DNS rebinding). Keys are compared as hashes, each with all, in
 * constant time. Asked by a hook in `server.ts` before anything of a request is read.
 */

import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Principal } from '../core/index.ts';
import type { Authenticator } from '../host.ts';
import { isLoopbackAddress, isLoopbackHost } from '../net/loopback.ts';
import { type Problem, problem } from './problems.ts';
import { findOpening, isUnguarded } from './reach.ts';
import { type Caller, ROLES, type Role } from './roles.ts';
import type { HttpSettings } from './settings.ts';

const HASH_PREFIX = 'sha256:';
/** Digits of a key's hash by which the log calls it. */
const KEY_NAME_DIGITS = 8;
/** Three parts, as every signed token has: a wrong key is not taken for one, and shown to nobody. */
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** What the check needs of whoever knows users and tokens. */
export type CallerAuthenticator = Pick<Authenticator, 'authenticate' | 'trusting' | 'isCurrent' | 'onChange'>;

/** A caller, and what its proof is where it can end. */
export interface KnownCaller extends Caller {
  readonly principal: Principal | null;
}

export interface CallOrigin {
  readonly remoteAddress: string;
  readonly localAddress: string;
}

const LOCAL: KnownCaller = { name: 'local', role: 'admin', principal: null };

export class AccessCheck {
  readonly #keys: readonly { readonly hash: Buffer; readonly caller: KnownCaller }[];
  /** The first one that a user is in counts, the one that may most. */
  readonly #roleGroups: readonly (readonly [Role, ReadonlySet<string>])[];
  readonly #authenticator: CallerAuthenticator;
  readonly #hosts: ReadonlySet<string> | null;
  readonly #isOpen: boolean;

  /** `boundTo` is the address that is listened on. Throws where it would be open to other machines. */
  constructor(settings: HttpSettings, boundTo: string, authenticator: CallerAuthenticator) {
    const { apiKeys, roles } = settings;
    this.#authenticator = authenticator;
    this.#isOpen = isUnguarded(settings);
    const keysOf = (role: Role): readonly string[] => (role === 'admin' ? apiKeys : roles[role].apiKeys);
    this.#keys = ROLES.flatMap((role) => keysOf(role).map((key) => keyOf(key, role)));
    this.#roleGroups = ROLES.filter((role) => roles[role].groups.length > 0).map((role) => [
      role,
      new Set(roles[role].groups),
    ]);
    this.#hosts = isLoopbackAddress(boundTo)
      ? new Set(settings.allowedHosts.map((host) => host.toLowerCase()))
      : null;
    const opening = findOpening(settings, boundTo);
    if (opening !== null) throw new Error(opening);
  }

  /** Whether the Host header is one that may be used here; null where it is. */
  checkHost(headers: IncomingHttpHeaders): Problem | null {
    if (this.#hosts === null || this.#isOwnHost(headers.host)) return null;
    const detail =
      'on loopback the Host header must be a loopback address, localhost or one of http.allowedHosts';
    return problem('host-not-allowed', 'header', '/host', detail);
  }

  /** Who calls. Throws a problem where that is nobody who may. */
  async identify(headers: IncomingHttpHeaders, origin: CallOrigin): Promise<KnownCaller> {
    if (this.#isOpen) return LOCAL;
    const key = headers['x-api-key'];
    if (typeof key === 'string')
      return this.#callerOfKey(key) ?? this.#refuse('/x-api-key', 'this key is not known');
    const [, scheme = '', credentials = ''] =
      /^([A-Za-z]+) +(\S+) *$/.exec(headers.authorization ?? '') ?? [];
    switch (scheme.toLowerCase()) {
      case 'bearer': {
        const caller =
          this.#callerOfKey(credentials) ??
          (TOKEN.test(credentials) ? await this.#callerOfUser('', credentials, origin) : null);
        return caller ?? this.#refuse('/authorization', 'this key or token is not known');
      }
      case 'basic': {
        const [user, password] = splitBasic(credentials);
        const caller = user === '' ? null : await this.#callerOfUser(user, password, origin);
        return caller ?? this.#refuse('/authorization', 'this user is not known, or the password is another');
      }
      default:
        return this.#refuse('/authorization', `send ${this.#ways}`);
    }
  }

  get #ways(): string {
    const users =
      this.#roleGroups.length === 0 ? '' : ', a token, or Authorization: Basic with user and password';
    return `Authorization: Bearer KEY, or X-API-Key: KEY${users}`;
  }

  #refuse(pointer: string, detail: string): never {
    const schemes =
      this.#roleGroups.length === 0 ? 'Bearer' : 'Bearer, Basic realm="RosettaMQ", charset="UTF-8"';
    throw problem('unauthorized', 'header', pointer, detail, { 'www-authenticate': schemes });
  }

  #isOwnHost(header: string | undefined): boolean {
    const host = hostFromHeader(header ?? '');
    return isLoopbackHost(host) || this.#hosts!.has(host);
  }

  /** Looks at every hash whether or not one fits, so that time tells nothing. */
  #callerOfKey(key: string): KnownCaller | null {
    const hash = hashKey(key);
    let caller: KnownCaller | null = null;
    for (const each of this.#keys) if (timingSafeEqual(each.hash, hash)) caller ??= each.caller;
    return caller;
  }

  /** Null where nobody is proven, also while there is no user and anybody would be believed. */
  async #callerOfUser(user: string, password: string, origin: CallOrigin): Promise<KnownCaller | null> {
    const authenticator = this.#authenticator;
    if (this.#roleGroups.length === 0 || authenticator.trusting === true) return null;
    let principal: Principal | null;
    try {
      principal = await authenticator.authenticate(
        { kind: 'password', user, password: Buffer.from(password) },
        { listener: 'http', ...origin, certificate: null, clientId: '' },
      );
    } catch {
      throw problem(
        'unavailable',
        'header',
        '/authorization',
        'who this is cannot be found out now, try again',
        {
          'retry-after': '1',
        },
      );
    }
    if (principal === null || principal.user === '') return null;
    const { groups } = principal;
    const role = this.#roleGroups.find(([, members]) => groups.some((group) => members.has(group)))?.[0];
    if (role === undefined) {
      const detail = 'none of the user’s groups has a role here (http.roles)';
      throw problem('access-refused', 'header', '/authorization', detail);
    }
    return { name: `user:${principal.user}`, role, principal };
  }
}

function keyOf(key: string, role: Role): { readonly hash: Buffer; readonly caller: KnownCaller } {
  const hash = key.startsWith(HASH_PREFIX) ? Buffer.from(key.slice(HASH_PREFIX.length), 'hex') : hashKey(key);
  const name = `key:${hash.toString('hex').slice(0, KEY_NAME_DIGITS)}`;
  return { hash, caller: { name, role, principal: null } };
}

function hashKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** User and password, RFC 7617: the first colon parts them. */
function splitBasic(credentials: string): readonly [user: string, password: string] {
  const text = Buffer.from(credentials, 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? ['', ''] : [text.slice(0, colon), text.slice(colon + 1)];
}

/** The name in a Host header, without port and brackets. */
function hostFromHeader(header: string): string {
  const parts = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(header);
  return (parts?.[1] ?? parts?.[2] ?? '').toLowerCase();
}
