/**
 * Users with passwords, from three places: the configuration file, a password file, and those made while the gateway
 * runs, which are kept in a table of the data folder. Opened by `index.ts`; the HTTP API makes, changes and removes users
 * through `Users`. A user is an object that never changes: who came in as it is current for as long as the same object
 * is found under its name, so that a changed password or group ends what was let in before, and nothing else does.
 * Passwords and hashes are never shown and never in the text of an error.
 */

import assert from 'node:assert';
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { CoreError } from '../core/index.ts';
import type { Table } from '../core/storage.ts';
import { DecoyHashes } from './decoy-hash.ts';
import { isName } from './identity-name.ts';
import {
  PASSWORD_BYTES_MAX,
  type PasswordHash,
  passwordHashFromText,
  passwordHashOf,
} from './password-hash.ts';
import type { PasswordSettings } from './password-settings.ts';
import { SCRAM_MECHANISMS, type ScramKeys, type ScramMechanism, scramKeysOf } from './scram.ts';

export type UserSource = 'configuration' | 'file' | 'api';

export interface UserInfo {
  readonly name: string;
  readonly source: UserSource;
  readonly groups: readonly string[];
  /** Whether SCRAM can let it in: its password was given in clear here. */
  readonly scram: boolean;
}

export interface UserChange {
  /** In clear; kept as hashes only. A new user needs it, or `passwordHash`. */
  readonly password?: string;
  /** As in a password file; such a user cannot come in by SCRAM. */
  readonly passwordHash?: string;
  /** Absent: as before, for a new user none. */
  readonly groups?: readonly string[];
}

export interface Users {
  /**
   * Makes or changes a user; applies at once, and resolves when it is stored. Throws CoreError `invalid-argument` with
   * the reason, also for a user that stands in a file, or `limit-reached`.
   */
  put(name: string, change: UserChange): Promise<void>;
  /** False: there was none. Throws CoreError `invalid-argument` for a user that stands in a file. */
  remove(name: string): Promise<boolean>;
  get(name: string): UserInfo | undefined;
  list(): Iterable<UserInfo>;
}

export interface User {
  readonly name: string;
  readonly source: UserSource;
  readonly groups: readonly string[];
  readonly text: string;
  readonly hash: PasswordHash;
  readonly scram: Partial<Record<ScramMechanism, ScramKeys>>;
}

interface StoredUser {
  readonly hash: string;
  readonly groups: readonly string[];
  readonly scram: Partial<Record<ScramMechanism, StoredKeys>>;
}

interface StoredKeys {
  readonly salt: string;
  readonly iterations: number;
  readonly storedKey: string;
  readonly serverKey: string;
}

const NAME_CHARS_MAX = 255;
const GROUPS_MAX = 100;
const USER_PREFIX = 'user/';
const DECOY_KEY = 'decoy-key';
/** There from the first user on, and when the last one has gone. */
const HAD_USERS_KEY = 'had-users';
const FROM_FILES = ['configuration', 'file'] as const;

export class UserStore implements Users {
  readonly #table: Table;
  readonly #whenStored: () => Promise<void>;
  readonly #settings: PasswordSettings;
  readonly #users: Readonly<Record<UserSource, Map<string, User>>> = {
    configuration: new Map(),
    file: new Map(),
    api: new Map(),
  };
  readonly #listeners: (() => void)[] = [];
  /** Changes one after the other, or of two the one whose hash took longer would win. */
  #changing: Promise<unknown> = Promise.resolve();
  readonly #decoyKey: Buffer;
  readonly #decoys: DecoyHashes;
  #hasHadUsers = false;

  private constructor(
    table: Table,
    whenStored: () => Promise<void>,
    settings: PasswordSettings,
    decoyKey: Buffer,
  ) {
    this.#table = table;
    this.#whenStored = whenStored;
    this.#settings = settings;
    this.#decoyKey = decoyKey;
    this.#decoys = new DecoyHashes(decoyKey);
  }

  /** Throws where what is stored is no user. */
  static async load(
    table: Table,
    whenStored: () => Promise<void>,
    settings: PasswordSettings,
  ): Promise<UserStore> {
    const kept = await table.get(DECOY_KEY);
    const decoyKey = kept === undefined ? randomBytes(32) : Buffer.from(kept);
    if (kept === undefined) table.put(DECOY_KEY, decoyKey);
    const store = new UserStore(table, whenStored, settings, decoyKey);
    store.#hasHadUsers = (await table.get(HAD_USERS_KEY)) !== undefined;
    for await (const [key, bytes] of table.scan(USER_PREFIX)) {
      const name = key.slice(USER_PREFIX.length);
      const user = userFromStored(name, JSON.parse(Buffer.from(bytes).toString()));
      store.#users.api.set(name, user);
      store.#decoys.add(user.hash);
      store.#noteUsers();
    }
    return store;
  }

  get decoyKey(): Buffer {
    return this.#decoyKey;
  }

  /** Nobody is defined anywhere. */
  get isEmpty(): boolean {
    const { configuration, file, api } = this.#users;
    return configuration.size + file.size + api.size === 0;
  }

  /** Users were made here once, be they still there or not. */
  get hasHadUsers(): boolean {
    return this.#hasHadUsers;
  }

  /** What no password fits, at the cost of what some user's password is kept as. Asked only where there is a user. */
  decoyFor(name: string): PasswordHash {
    const decoy = this.#decoys.find(name);
    assert(decoy !== undefined, 'there is a user whose cost a decoy has');
    return decoy;
  }

  /** Of several of one name that of the configuration counts, then that of the file. */
  find(name: string): User | undefined {
    const { configuration, file, api } = this.#users;
    return configuration.get(name) ?? file.get(name) ?? api.get(name);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Users that stand in a file; those that are as before stay the same objects. */
  setFixed(
    source: 'configuration' | 'file',
    users: readonly { name: string; text: string; hash: PasswordHash; groups: readonly string[] }[],
  ): void {
    const known = this.#users[source];
    const before = new Map(known);
    known.clear();
    for (const { name, text, hash, groups } of users) {
      const old = before.get(name);
      const isSame = old !== undefined && old.text === text && isSameList(old.groups, groups);
      known.set(name, isSame ? old : { name, source, groups, text, hash, scram: {} });
      this.#decoys.add(hash);
    }
    for (const { hash } of before.values()) this.#decoys.drop(hash);
    this.#tell();
  }

  put(name: string, change: UserChange): Promise<void> {
    return this.#inTurn(() => this.#put(name, change));
  }

  remove(name: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const user = this.#users.api.get(name);
      if (user === undefined) {
        this.#refuseFixed(name);
        return false;
      }
      this.#users.api.delete(name);
      this.#decoys.drop(user.hash);
      this.#table.remove(USER_PREFIX + name);
      this.#tell();
      await this.#whenStored();
      return true;
    });
  }

  get(name: string): UserInfo | undefined {
    const user = this.find(name);
    return user === undefined ? undefined : infoOf(user);
  }

  *list(): Iterable<UserInfo> {
    for (const users of Object.values(this.#users)) {
      for (const user of users.values()) if (this.find(user.name) === user) yield infoOf(user);
    }
  }

  async #put(name: string, change: UserChange): Promise<void> {
    checkName(name, 'a user’s name', NAME_CHARS_MAX);
    this.#refuseFixed(name);
    const { password, passwordHash } = change;
    const before = this.#users.api.get(name);
    const groups = groupsFrom(change.groups ?? before?.groups ?? []);
    if (password !== undefined && passwordHash !== undefined) {
      throw new CoreError('invalid-argument', 'either password or passwordHash, not both', {
        field: '/passwordHash',
      });
    }
    if (before === undefined && this.#users.api.size >= this.#settings.usersMax) {
      throw new CoreError(
        'limit-reached',
        `there are ${this.#settings.usersMax} users (auth.passwords.usersMax)`,
      );
    }
    const secrets =
      password !== undefined
        ? await this.#secretsFrom(password)
        : passwordHash !== undefined
          ? { text: passwordHash, hash: hashFrom(passwordHash), scram: {} }
          : before;
    if (secrets === undefined) {
      throw new CoreError('invalid-argument', 'a new user needs a password', { field: '/password' });
    }
    if (secrets === before && isSameList(before.groups, groups)) return;
    const { text, hash, scram } = secrets;
    const user: User = { name, source: 'api', groups, text, hash, scram };
    this.#users.api.set(name, user);
    this.#decoys.add(hash);
    if (before !== undefined) this.#decoys.drop(before.hash);
    this.#noteUsers();
    this.#table.put(USER_PREFIX + name, Buffer.from(JSON.stringify(storedFrom(user))));
    this.#tell();
    await this.#whenStored();
  }

  async #secretsFrom(password: string): Promise<Pick<User, 'text' | 'hash' | 'scram'>> {
    const bytes = Buffer.from(password);
    if (!password.isWellFormed() || bytes.length === 0 || bytes.length > PASSWORD_BYTES_MAX) {
      throw new CoreError('invalid-argument', `a password has 1 to ${PASSWORD_BYTES_MAX} bytes of text`, {
        field: '/password',
      });
    }
    // One at a time, as all changes are; a flood of logins must not keep the operator from changing a password.
    const text = await passwordHashOf(bytes, this.#settings.scryptCostLog2);
    const scram: Partial<Record<ScramMechanism, ScramKeys>> = {};
    for (const mechanism of SCRAM_MECHANISMS) {
      const keys = await scramKeysOf(mechanism, password);
      if (keys !== null) scram[mechanism] = keys;
    }
    return { text, hash: passwordHashFromText(text), scram };
  }

  #noteUsers(): void {
    if (this.#hasHadUsers) return;
    this.#hasHadUsers = true;
    this.#table.put(HAD_USERS_KEY, Buffer.from('yes'));
  }

  #refuseFixed(name: string): void {
    const source = FROM_FILES.find((one) => this.#users[one].has(name));
    if (source === undefined) return;
    const where = source === 'file' ? 'the password file' : 'the configuration (auth.users)';
    throw new CoreError('invalid-argument', `the user stands in ${where}, and can only be changed there`);
  }

  #inTurn<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#changing.then(task);
    this.#changing = result.catch(() => {});
    return result;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** `field` is a JSON pointer into the change; absent for what is not in it. */
function checkName(name: string, what: string, charsMax: number, field?: string): void {
  if (typeof name === 'string' && name.length <= charsMax && isName(name)) return;
  throw new CoreError(
    'invalid-argument',
    `${what} is 1 to ${charsMax} characters without control characters`,
    field === undefined ? {} : { field },
  );
}

function groupsFrom(groups: readonly string[]): readonly string[] {
  if (groups.length > GROUPS_MAX) {
    throw new CoreError('limit-reached', `more than ${GROUPS_MAX} groups`, { field: '/groups' });
  }
  for (const group of groups) checkName(group, 'a group’s name', NAME_CHARS_MAX, '/groups');
  return Object.freeze([...new Set(groups)]);
}

function hashFrom(text: string): PasswordHash {
  try {
    return passwordHashFromText(text);
  } catch (error) {
    throw new CoreError('invalid-argument', `passwordHash ${(error as Error).message}`, {
      field: '/passwordHash',
    });
  }
}

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((entry, index) => entry === other[index]);
}

function infoOf({ name, source, groups, scram }: User): UserInfo {
  return { name, source, groups, scram: Object.keys(scram).length > 0 };
}

function storedFrom({ text, groups, scram }: User): StoredUser {
  const stored: StoredUser['scram'] = {};
  for (const mechanism of SCRAM_MECHANISMS) {
    const keys = scram[mechanism];
    if (keys === undefined) continue;
    stored[mechanism] = {
      salt: keys.salt.toString('base64'),
      iterations: keys.iterations,
      storedKey: keys.storedKey.toString('base64'),
      serverKey: keys.serverKey.toString('base64'),
    };
  }
  return { hash: text, groups, scram: stored };
}

function userFromStored(name: string, stored: StoredUser): User {
  const scram: Partial<Record<ScramMechanism, ScramKeys>> = {};
  for (const mechanism of SCRAM_MECHANISMS) {
    const keys = stored.scram[mechanism];
    if (keys === undefined) continue;
    scram[mechanism] = {
      salt: Buffer.from(keys.salt, 'base64'),
      iterations: keys.iterations,
      storedKey: Buffer.from(keys.storedKey, 'base64'),
      serverKey: Buffer.from(keys.serverKey, 'base64'),
    };
  }
  const { hash: text, groups } = stored;
  try {
    return { name, source: 'api', groups, text, hash: passwordHashFromText(text), scram };
  } catch (error) {
    throw new Error(`the stored password of user ${name} ${(error as Error).message}`);
  }
}
