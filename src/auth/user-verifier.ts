/**
 * Lets users in by their password. Called through `index.ts`. The slow computation of a hash is bounded (`turns.ts`),
 * done once for clients that show the same password at the same time, and spared for a while where it was right: a
 * digest under a key of this process alone is remembered then. A name that nobody has costs as much time as one that
 * somebody has, unless an outside service is to be asked about it next: that takes a time of its own, which tells.
 */

import { createHmac, randomBytes } from 'node:crypto';
import type { Clock, Principal } from '../core/index.ts';
import type { ConnectionOrigin, Credentials } from '../host.ts';
import { AnswerCache } from './answer-cache.ts';
import { isPassword, PASSWORD_BYTES_MAX } from './password-hash.ts';
import type { PasswordSettings } from './password-settings.ts';
import type { Turns } from './turns.ts';
import type { User, UserStore } from './users.ts';
import type { Verdict, Verifier } from './verifier.ts';

export interface UserVerifierOptions {
  readonly settings: PasswordSettings;
  readonly users: UserStore;
  readonly turns: Turns;
  readonly clock: Clock;
  /** Somebody else is asked about names that are not here: then they are not made to cost time. */
  readonly isLast: boolean;
}

export class UserVerifier implements Verifier {
  readonly #options: UserVerifierOptions;
  readonly #known: AnswerCache<User>;
  readonly #key = randomBytes(32);
  readonly #checking = new Map<string, Promise<boolean>>();
  readonly #userOf = new WeakMap<Principal, User>();

  constructor(options: UserVerifierOptions) {
    this.#options = options;
    this.#known = new AnswerCache(options.clock, options.settings.cacheEntriesMax);
  }

  verify(credentials: Credentials, origin: ConnectionOrigin): Verdict | Promise<Verdict> {
    if (credentials.kind !== 'password') return 'unknown';
    const { users, isLast } = this.#options;
    const { user: name, password } = credentials;
    const user = users.find(name);
    if (user === undefined && (!isLast || users.isEmpty)) return 'unknown';
    // Nobody has one that long, and many of them would wait for their turn at once.
    if (password.length > PASSWORD_BYTES_MAX) return null;
    const digest = createHmac('sha256', this.#key)
      .update(name)
      .update('\0')
      .update(password)
      .digest('base64');
    // The user is an object that never changes: a changed one is another, and its old password not known any more.
    if (user !== undefined && this.#known.get(digest) === user) return this.principalOf(user, origin);
    return this.#compute(user, name, password, digest, origin);
  }

  isCurrent(principal: Principal): boolean {
    const user = this.#userOf.get(principal);
    return user !== undefined && this.#options.users.find(user.name) === user;
  }

  principalOf(user: User, { clientId }: ConnectionOrigin): Principal {
    const principal: Principal = { user: user.name, groups: user.groups, clientId };
    this.#userOf.set(principal, user);
    return principal;
  }

  async #compute(
    user: User | undefined,
    name: string,
    password: Uint8Array,
    digest: string,
    origin: ConnectionOrigin,
  ): Promise<Verdict> {
    const { turns, users, settings } = this.#options;
    // The adapter's buffer may be used again while this waits.
    const copy = new Uint8Array(password);
    const hash = user?.hash ?? users.decoyFor(name);
    const isSure = await this.#once(`${digest} ${user?.text ?? ''}`, () =>
      turns.run(() => isPassword(hash, copy)),
    );
    if (user === undefined || !isSure || users.find(name) !== user) return null;
    this.#known.put(digest, user, settings.cacheMs);
    return this.principalOf(user, origin);
  }

  #once(key: string, check: () => Promise<boolean>): Promise<boolean> {
    let checking = this.#checking.get(key);
    if (checking === undefined) {
      checking = check().finally(() => this.#checking.delete(key));
      this.#checking.set(key, checking);
    }
    return checking;
  }
}
