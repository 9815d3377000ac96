/**
 * Who a client is: the one door that every adapter asks before it lets a client in. Opened once by `src/gateway.ts`.
 *
 * While nobody was ever defined (no user, no token, certificate or service to go by) clients from trusted networks are who
 * they say they are, with any password, and clients from elsewhere are refused. From the first user on, and when the last
 * one has gone, nobody is let in unproven, except as nobody where `auth.anonymous` says so. Certificates are asked first, then tokens, users and the
 * outside service, until one of them knows. Invariant: a principal is current only while what let it in would do so again.
 */

import { ANONYMOUS, type Clock, type Principal } from '../core/index.ts';
import type { Storage } from '../core/storage.ts';
import type { Authenticator, ConnectionOrigin, Credentials, Logger, SaslExchange } from '../host.ts';
import { type CertificateTrust, CertificateVerifier, TRUSTS_FOR_EVER } from './certificate.ts';
import { HttpCalloutVerifier } from './http-callout.ts';
import type { JwtVerifier } from './jwt.ts';
import { type LoginCounters, LoginLimits } from './login-limits.ts';
import { passwordHashFromText } from './password-hash.ts';
import { decoyKeysOf, SCRAM_MECHANISMS, ScramExchange, type ScramMechanism } from './scram.ts';
import type { AuthSettings } from './settings.ts';
import { TrustedNetworks } from './trusted-networks.ts';
import { Turns } from './turns.ts';
import { UserVerifier } from './user-verifier.ts';
import { UserStore, type Users } from './users.ts';
import type { Verifier } from './verifier.ts';

export type { LoginCounters } from './login-limits.ts';
export type { UserChange, UserInfo, Users } from './users.ts';

import { usersFromPasswordFile } from './mosquitto-passwd.ts';
import { WatchedFile } from './watched-file.ts';

const TABLE = 'users';
/** However many logins cannot be decided, the log says so no more often. */
const TELL_UNDECIDED_MS = 10_000;

export interface OpenAuthentication {
  readonly authenticator: Authenticator;
  readonly users: Users;
  readonly counters: LoginCounters;
  /** Reads the password file and the keys of tokens again now. Throws Error with what is wrong; the earlier ones stay then. */
  reload(): Promise<void>;
  /** Stops looking at files and addresses. */
  close(): void;
}

/** Throws Error that tells the operator which setting or user is wrong. */
export async function openAuthentication(
  settings: AuthSettings,
  storage: Pick<Storage, 'openTable' | 'commit'>,
  clock: Clock,
  logger: Logger,
  trust: CertificateTrust = TRUSTS_FOR_EVER,
): Promise<OpenAuthentication> {
  const { passwords, passwordFile } = settings;
  const { concurrencyMax, waitingMax, waitMsMax } = passwords;
  const turns = new Turns(clock, { runningMax: concurrencyMax, waitingMax, waitMsMax });
  const whenStored = (): Promise<void> =>
    new Promise((resolve, reject) => storage.commit((error) => (error === null ? resolve() : reject(error))));
  const users = await UserStore.load(await storage.openTable(TABLE), whenStored, passwords);
  users.setFixed('configuration', configuredUsers(settings.users));
  let file: WatchedFile | null = null;
  if (passwordFile !== '') {
    file = new WatchedFile({
      path: passwordFile,
      setting: 'auth.passwordFile',
      clock,
      logger,
      take(text) {
        const read = usersFromPasswordFile(text, passwordFile, passwords.usersMax);
        users.setFixed(
          'file',
          read.map((user) => ({ ...user, groups: [] })),
        );
        return read.length;
      },
    });
    await file.open();
  }
  const tokens = settings.jwt.enabled ? await openTokens(settings.jwt, clock, logger) : null;
  const proofs = { users, tokens, trust };
  const authenticator = new ComposedAuthenticator(settings, proofs, turns, clock, logger);
  return {
    authenticator,
    users,
    counters: authenticator.limits.counters,
    reload: async () => {
      await Promise.all([file?.reload(), tokens?.reload()]);
    },
    close: () => {
      file?.close();
      tokens?.close();
    },
  };
}

/** The library for tokens is loaded only where they are used: it takes a good part of a small gateway's start. */
async function openTokens(settings: AuthSettings['jwt'], clock: Clock, logger: Logger): Promise<JwtVerifier> {
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

interface Proofs {
  readonly users: UserStore;
  readonly tokens: JwtVerifier | null;
  readonly trust: CertificateTrust;
}

class ComposedAuthenticator implements Authenticator {
  readonly limits: LoginLimits;
  readonly #isAnonymousLetIn: boolean;
  readonly #trusted: TrustedNetworks;
  readonly #users: UserStore;
  readonly #userVerifier: UserVerifier;
  readonly #verifiers: readonly Verifier[];
  readonly #tokens: JwtVerifier | null;
  readonly #trust: CertificateTrust;
  /** There is something to go by besides users made while the gateway runs. */
  readonly #isGuarded: boolean;
  readonly #staysClosed: boolean;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #toldUndecidedMs = Number.NEGATIVE_INFINITY;
  /** Who, or which rule, let each one in. */
  readonly #sponsors = new WeakMap<Principal, Verifier | 'anonymous' | 'trusted'>();

  constructor(
    settings: AuthSettings,
    { users, tokens, trust }: Proofs,
    turns: Turns,
    clock: Clock,
    logger: Logger,
  ) {
    const { certificate, http } = settings;
    this.#tokens = tokens;
    this.#trust = trust;
    this.#clock = clock;
    this.#logger = logger;
    this.#isAnonymousLetIn = settings.anonymous;
    this.#trusted = new TrustedNetworks(settings.trustedNetworks);
    this.#users = users;
    this.limits = new LoginLimits(settings.attempts, settings.passwords, clock, logger);
    this.#userVerifier = new UserVerifier({
      settings: settings.passwords,
      users,
      turns,
      clock,
      isLast: !http.enabled,
    });
    this.#verifiers = [
      ...(certificate.enabled ? [new CertificateVerifier(certificate, trust)] : []),
      ...(tokens === null ? [] : [tokens]),
      this.#userVerifier,
      ...(http.enabled ? [new HttpCalloutVerifier(http, clock, logger)] : []),
    ];
    this.#isGuarded = this.#verifiers.length > 1 || settings.passwordFile !== '';
    this.#staysClosed = !settings.trustAfterLastUser;
    users.onChange(() => this.#tellClosed());
    this.#tellClosed();
  }

  /** Whoever removed the last user may not have meant to lock everybody out. */
  #tellClosed(): void {
    if (this.#isGuarded || !this.#users.isEmpty || this.trusting) return;
    this.#logger.warn(
      {},
      'there is no user any more, and nobody is let in with credentials (auth.trustAfterLastUser)',
    );
  }

  /** A gateway that had users does not open itself again because somebody removed the last of them. */
  get trusting(): boolean {
    if (this.#isGuarded || !this.#users.isEmpty) return false;
    return !(this.#staysClosed && this.#users.hasHadUsers);
  }

  get mechanisms(): readonly string[] {
    return this.#users.isEmpty ? [] : SCRAM_MECHANISMS;
  }

  authenticate(
    credentials: Credentials,
    origin: ConnectionOrigin,
  ): Principal | null | Promise<Principal | null> {
    return this.trusting ? this.#believe(credentials, origin) : this.#prove(credentials, origin);
  }

  begin(mechanism: string, origin: ConnectionOrigin): SaslExchange | null {
    if (!this.mechanisms.includes(mechanism)) return null;
    const name = mechanism as ScramMechanism;
    const { remoteAddress } = origin;
    return new ScramExchange(name, {
      keysOf: (user) => {
        // Made in either case: it takes a time that tells.
        const decoy = decoyKeysOf(name, user, this.#users.decoyKey);
        return this.#users.find(user)?.scram[name] ?? decoy;
      },
      begin: (user) => this.limits.begin(remoteAddress, user),
      accept: (user, keys) => {
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
    if (sponsor === 'trusted') return this.trusting;
    return sponsor?.isCurrent(principal) ?? false;
  }

  onChange(listener: () => void): void {
    this.#users.onChange(listener);
    this.#tokens?.onChange(listener);
    this.#trust.onChange(listener);
  }

  #believe(credentials: Credentials, { remoteAddress, clientId }: ConnectionOrigin): Principal | null {
    const isAnonymous = credentials.kind === 'anonymous';
    // Nobody stays nobody when users come, where the setting lets nobody in.
    if (isAnonymous && this.#isAnonymousLetIn) return this.#nobody(clientId);
    if (!this.#trusted.has(remoteAddress)) return null;
    const user = isAnonymous ? '' : credentials.user;
    return this.#admit({ ...ANONYMOUS, user, clientId }, 'trusted');
  }

  #nobody(clientId: string): Principal | null {
    return this.#isAnonymousLetIn ? this.#admit({ ...ANONYMOUS, clientId }, 'anonymous') : null;
  }

  async #prove(credentials: Credentials, origin: ConnectionOrigin): Promise<Principal | null> {
    try {
      if (credentials.kind === 'anonymous') return await this.#ask(credentials, origin, '');
      const attempt = await this.limits.begin(origin.remoteAddress, credentials.user);
      if (attempt === null) return null;
      try {
        return await this.#ask(credentials, origin, credentials.user);
      } finally {
        attempt.end();
      }
    } catch (error) {
      this.#tellUndecided(error);
      throw error;
    }
  }

  async #ask(credentials: Credentials, origin: ConnectionOrigin, user: string): Promise<Principal | null> {
    const { remoteAddress, clientId } = origin;
    for (const verifier of this.#verifiers) {
      const verdict = await verifier.verify(credentials, origin);
      if (verdict === 'unknown') continue;
      if (verdict === null) {
        // Who shows nothing guesses at nothing.
        if (credentials.kind !== 'anonymous') this.limits.failed(remoteAddress, user);
        return null;
      }
      this.limits.succeeded(remoteAddress, user);
      return this.#admit(verdict, verifier);
    }
    if (credentials.kind === 'anonymous') return this.#nobody(clientId);
    this.limits.failed(remoteAddress, user);
    return null;
  }

  #tellUndecided(error: unknown): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#toldUndecidedMs < TELL_UNDECIDED_MS) return;
    this.#toldUndecidedMs = nowMs;
    this.#logger.warn({ err: error }, 'logins cannot be decided now; these clients are not let in');
  }

  #admit(principal: Principal, sponsor: Verifier | 'anonymous' | 'trusted'): Principal {
    this.#sponsors.set(principal, sponsor);
    return principal;
  }
}
