/**
 * Who a client is: the one door that every adapter asks before it lets a client in. Opened once by `src/gateway.ts`.
 *
 * While nobody is defined (no user, no token, certificate or service to go by) clients from trusted networks are who they
 * say they are, with any password, and clients from elsewhere are refused. From the first user on nobody is let in
 * unproven, except as nobody where `auth.anonymous` says so. Certificates are asked first, then tokens, users and the
 * outside service, until one of them knows. Invariant: a principal is current only while what let it in would do so again.
 */

import { ANONYMOUS, type Clock, type Principal } from '../core/index.ts';
import type { Storage } from '../core/storage.ts';
import type { Authenticator, ConnectionOrigin, Credentials, Logger, SaslExchange } from '../host.ts';
import { CertificateVerifier } from './certificate.ts';
import { HttpCalloutVerifier } from './http-callout.ts';
import { type LoginCounters, LoginLimits } from './login-limits.ts';
import { passwordHashFromText } from './password-hash.ts';
import { decoyKeysOf, SCRAM_MECHANISMS, ScramExchange, type ScramMechanism } from './scram.ts';
import type { AuthSettings } from './settings.ts';
import { TrustedNetworks } from './trusted-networks.ts';
import { Turns } from './turns.ts';
import { UserFile } from './user-file.ts';
import { UserVerifier } from './user-verifier.ts';
import { UserStore, type Users } from './users.ts';
import type { Verifier } from './verifier.ts';

export type { LoginCounters } from './login-limits.ts';
export type { UserChange, UserInfo, Users } from './users.ts';

const TABLE = 'users';

export interface OpenAuthentication {
  readonly authenticator: Authenticator;
  readonly users: Users;
  readonly counters: LoginCounters;
  /** Stops looking at the password file. */
  close(): void;
}

/** Throws Error that tells the operator which setting or user is wrong. */
export async function openAuthentication(
  settings: AuthSettings,
  storage: Pick<Storage, 'openTable' | 'commit'>,
  clock: Clock,
  logger: Logger,
): Promise<OpenAuthentication> {
  const { passwords, passwordFile } = settings;
  const { concurrencyMax, waitingMax, waitMsMax } = passwords;
  const turns = new Turns(clock, { runningMax: concurrencyMax, waitingMax, waitMsMax });
  const whenStored = (): Promise<void> =>
    new Promise((resolve, reject) => storage.commit((error) => (error === null ? resolve() : reject(error))));
  const users = await UserStore.load(await storage.openTable(TABLE), whenStored, passwords, turns);
  users.setFixed('configuration', configuredUsers(settings.users));
  let file: UserFile | null = null;
  if (passwordFile !== '') {
    file = new UserFile(passwordFile, passwords.usersMax, users, clock, logger);
    await file.open();
    const opened = file;
    users.reloadBy(() => opened.reload());
  }
  const tokens = settings.jwt.enabled ? await openTokens(settings.jwt, clock, logger) : null;
  const authenticator = new ComposedAuthenticator(settings, users, tokens, turns, clock, logger);
  return {
    authenticator,
    users,
    counters: authenticator.limits.counters,
    close: () => file?.close(),
  };
}

/** The library for tokens is loaded only where they are used: it takes a good part of a small gateway's start. */
async function openTokens(settings: AuthSettings['jwt'], clock: Clock, logger: Logger): Promise<Verifier> {
  const { JwtVerifier } = await import('./jwt.ts');
  return new JwtVerifier(settings, clock, logger);
}

function configuredUsers(users: AuthSettings['users']): Parameters<UserStore['setFixed']>[1] {
  const names = new Set<string>();
  return users.map(({ name, password, groups = [] }, index) => {
    try {
      if (names.has(name)) throw new Error('is there twice');
      names.add(name);
      return { name, text: password, hash: passwordHashFromText(password), groups };
    } catch (error) {
      throw new Error(`auth.users[${index}]: ${name} ${(error as Error).message}`);
    }
  });
}

class ComposedAuthenticator implements Authenticator {
  readonly limits: LoginLimits;
  readonly #isAnonymousLetIn: boolean;
  readonly #trusted: TrustedNetworks;
  readonly #users: UserStore;
  readonly #userVerifier: UserVerifier;
  readonly #verifiers: readonly Verifier[];
  /** There is something to go by besides users made while the gateway runs. */
  readonly #isGuarded: boolean;
  /** Who, or which rule, let each one in. */
  readonly #sponsors = new WeakMap<Principal, Verifier | 'anonymous' | 'trusted'>();

  constructor(
    settings: AuthSettings,
    users: UserStore,
    tokens: Verifier | null,
    turns: Turns,
    clock: Clock,
    logger: Logger,
  ) {
    const { certificate, http } = settings;
    this.#isAnonymousLetIn = settings.anonymous;
    this.#trusted = new TrustedNetworks(settings.trustedNetworks);
    this.#users = users;
    this.limits = new LoginLimits(settings.attempts, clock, logger);
    this.#userVerifier = new UserVerifier({
      settings: settings.passwords,
      users,
      turns,
      clock,
      isLast: !http.enabled,
      isLimited: (remoteAddress, user) => this.limits.isLimited(remoteAddress, user),
    });
    this.#verifiers = [
      ...(certificate.enabled ? [new CertificateVerifier(certificate)] : []),
      ...(tokens === null ? [] : [tokens]),
      this.#userVerifier,
      ...(http.enabled ? [new HttpCalloutVerifier(http, clock, logger)] : []),
    ];
    this.#isGuarded = this.#verifiers.length > 1 || settings.passwordFile !== '';
  }

  get trusting(): boolean {
    return !this.#isGuarded && this.#users.isEmpty;
  }

  get mechanisms(): readonly string[] {
    return this.#users.isEmpty ? [] : SCRAM_MECHANISMS;
  }

  authenticate(
    credentials: Credentials,
    origin: ConnectionOrigin,
  ): Principal | null | Promise<Principal | null> {
    if (!this.#isGuarded && this.#users.isEmpty) return this.#trust(credentials, origin);
    return this.#prove(credentials, origin);
  }

  begin(mechanism: string, origin: ConnectionOrigin): SaslExchange | null {
    if (!this.mechanisms.includes(mechanism)) return null;
    const name = mechanism as ScramMechanism;
    const { remoteAddress } = origin;
    return new ScramExchange(name, {
      keysOf: (user) => this.#users.find(user)?.scram[name] ?? decoyKeysOf(name, user, this.#users.decoyKey),
      accept: (user, keys) => {
        if (this.limits.isLimited(remoteAddress, user)) return null;
        const found = this.#users.find(user);
        // Its password may have changed since the exchange began.
        if (found === undefined || found.scram[name] !== keys) return null;
        this.limits.succeeded(remoteAddress, user);
        return this.#admit(this.#userVerifier.principalOf(found, origin), this.#userVerifier);
      },
      refuse: (user) => this.limits.failed(remoteAddress, user),
    });
  }

  isCurrent(principal: Principal): boolean {
    const sponsor = this.#sponsors.get(principal);
    if (sponsor === 'anonymous') return true;
    if (sponsor === 'trusted') return !this.#isGuarded && this.#users.isEmpty;
    return sponsor?.isCurrent(principal) ?? false;
  }

  onChange(listener: () => void): void {
    this.#users.onChange(listener);
  }

  #trust(credentials: Credentials, { remoteAddress, clientId }: ConnectionOrigin): Principal | null {
    const isAnonymous = credentials.kind === 'anonymous';
    if (this.#trusted.has(remoteAddress)) {
      const user = isAnonymous ? '' : credentials.user;
      return this.#admit({ ...ANONYMOUS, user, clientId }, 'trusted');
    }
    return isAnonymous ? this.#nobody(clientId) : null;
  }

  #nobody(clientId: string): Principal | null {
    return this.#isAnonymousLetIn ? this.#admit({ ...ANONYMOUS, clientId }, 'anonymous') : null;
  }

  async #prove(credentials: Credentials, origin: ConnectionOrigin): Promise<Principal | null> {
    const { remoteAddress, clientId } = origin;
    const isAnonymous = credentials.kind === 'anonymous';
    const user = isAnonymous ? '' : credentials.user;
    if (!isAnonymous && this.limits.isLimited(remoteAddress, user)) return null;
    for (const verifier of this.#verifiers) {
      const verdict = await verifier.verify(credentials, origin);
      if (verdict === 'unknown') continue;
      if (verdict === null) {
        this.limits.failed(remoteAddress, user);
        return null;
      }
      this.limits.succeeded(remoteAddress, user);
      return this.#admit(verdict, verifier);
    }
    if (isAnonymous) return this.#nobody(clientId);
    this.limits.failed(remoteAddress, user);
    return null;
  }

  #admit(principal: Principal, sponsor: Verifier | 'anonymous' | 'trusted'): Principal {
    this.#sponsors.set(principal, sponsor);
    return principal;
  }
}
