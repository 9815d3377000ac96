/**
 * Hashes that no password fits, for names that nobody has, so that the time of a refusal does not tell who is a user.
 * Kept by `users.ts`, asked by `user-verifier.ts`. Where users have hashes of several costs, an unknown name gets one of
 * those, always the same for the same name, and each as often as users have it.
 */

import { createHmac, randomBytes } from 'node:crypto';
import type { PasswordHash } from './password-hash.ts';

interface Cost {
  readonly decoy: PasswordHash;
  users: number;
}

export class DecoyHashes {
  readonly #key: Uint8Array;
  readonly #costs = new Map<string, Cost>();
  #users = 0;

  /** `key` is secret, and the same after a restart. */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  add(hash: PasswordHash): void {
    const name = costOf(hash);
    const cost = this.#costs.get(name);
    if (cost === undefined) this.#costs.set(name, { decoy: decoyOf(hash), users: 1 });
    else cost.users++;
    this.#users++;
  }

  drop(hash: PasswordHash): void {
    const name = costOf(hash);
    const cost = this.#costs.get(name);
    if (cost === undefined) return;
    this.#users--;
    if (--cost.users === 0) this.#costs.delete(name);
  }

  /** Undefined while there is no user. */
  find(name: string): PasswordHash | undefined {
    const digest = createHmac('sha256', this.#key).update(name).digest();
    // A part of the whole, not a remainder: a further user must not give every name another cost.
    let left = (digest.readUIntBE(0, 6) / 2 ** 48) * this.#users;
    for (const { decoy, users } of this.#costs.values()) {
      left -= users;
      if (left < 0) return decoy;
    }
    return undefined;
  }
}

/** Equal for hashes that take the same computation. */
function costOf({ salt, digest, ...cost }: PasswordHash): string {
  return JSON.stringify([cost, salt.length, digest.length]);
}

function decoyOf(hash: PasswordHash): PasswordHash {
  return { ...hash, salt: randomBytes(hash.salt.length), digest: randomBytes(hash.digest.length) };
}
