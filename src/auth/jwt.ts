/**
 * Lets clients in that show a signed token (JWT, RFC 7519) where the password would stand. Called through
 * `src/auth/index.ts` for password credentials. What does not look like a token is left to others; what does is let in
 * or refused here. Signature, algorithm and times are `jose`'s work; which keys an algorithm may use is decided in
 * `jwt-keys.ts`. A token whose keys could not be fetched is neither good nor bad: that throws. Who was let in is current
 * until the token expires or the key that signed it is gone.
 */

import {
  type CryptoKey,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import type { Clock, Principal } from '../core/index.ts';
import type { ConnectionOrigin, Credentials, Logger } from '../host.ts';
import { identityFromClaims } from './jwt-claims.ts';
import { idOfKey, type KeySet } from './jwt-key-ids.ts';
import { JwtKeys, type KeySource } from './jwt-keys.ts';
import type { JwtAlgorithm, JwtSettings } from './jwt-settings.ts';
import type { Verdict, Verifier } from './verifier.ts';

/** Three parts in base64url, the first of which is a JSON object: `{"` is `eyJ`. RFC 7515 7.1. */
const TOKEN = /^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;
/** Keys of one set that are tried for one token, where it names none of them. */
const KEYS_TRIED_MAX = 10;

interface Verified {
  readonly payload: JWTPayload;
  /** Null: by a secret, which stays. */
  readonly keyId: string | null;
}

export class JwtVerifier implements Verifier {
  readonly #settings: JwtSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #keys: JwtKeys;
  readonly #checks: JWTVerifyOptions;
  /** Of those who were let in by a key that may go. */
  readonly #keyOf = new WeakMap<Principal, string>();

  /** Throws where the settings name no key, or a file that holds none. */
  constructor(settings: JwtSettings, clock: Clock, logger: Logger) {
    this.#settings = settings;
    this.#clock = clock;
    this.#logger = logger;
    this.#keys = new JwtKeys(settings, clock, logger);
    const { issuers, audiences, clockToleranceMs, requireExpiry } = settings;
    this.#checks = {
      algorithms: [...settings.algorithms],
      clockTolerance: clockToleranceMs / 1_000,
      requiredClaims: requireExpiry ? ['exp'] : [],
      ...(issuers.length === 0 ? {} : { issuer: [...issuers] }),
      ...(audiences.length === 0 ? {} : { audience: [...audiences] }),
    };
  }

  verify(credentials: Credentials, origin: ConnectionOrigin): Verdict | Promise<Verdict> {
    if (credentials.kind !== 'password') return 'unknown';
    const { user, password } = credentials;
    if (password.length > this.#settings.tokenBytesMax) return 'unknown';
    const token = Buffer.from(password.buffer, password.byteOffset, password.length).toString('latin1');
    return TOKEN.test(token) ? this.#verifyToken(token, user, origin) : 'unknown';
  }

  isCurrent(principal: Principal): boolean {
    const { expiresAtMs } = principal;
    if (expiresAtMs !== undefined && this.#clock.nowMs() >= expiresAtMs) return false;
    const key = this.#keyOf.get(principal);
    return key === undefined || this.#keys.has(key);
  }

  onChange(listener: () => void): void {
    this.#keys.onChange(listener);
  }

  /** Reads the key files again now. Throws Error with what is wrong; the earlier keys stay then. */
  reload(): Promise<void> {
    return this.#keys.reload();
  }

  close(): void {
    this.#keys.close();
  }

  async #verifyToken(token: string, user: string, origin: ConnectionOrigin): Promise<Principal | null> {
    const verified = await this.#verified(token);
    if (typeof verified === 'string') return this.#refuse(verified, origin);
    const { payload, keyId } = verified;
    const identity = identityFromClaims(payload, this.#settings);
    if (identity === null) return this.#refuse('its claims do not say who its bearer is', origin);
    if (user !== '' && user !== identity.user && this.#settings.userName === 'equal') {
      return this.#refuse('it is of another user', origin);
    }
    if (identity.clientId !== null && identity.clientId !== origin.clientId) {
      return this.#refuse('it is for another client id', origin);
    }
    const { exp } = payload;
    const principal: Principal = {
      user: identity.user,
      groups: identity.groups,
      clientId: origin.clientId,
      ...(exp === undefined ? {} : { expiresAtMs: exp * 1_000 + this.#settings.clockToleranceMs }),
    };
    if (keyId !== null) this.#keyOf.set(principal, keyId);
    return principal;
  }

  #refuse(reason: string, { listener, remoteAddress }: ConnectionOrigin): null {
    this.#logger.debug({ listener, remoteAddress, reason }, 'a token was refused');
    return null;
  }

  /** What the token holds, or why it is refused. Throws where its keys cannot be had now. */
  async #verified(token: string): Promise<Verified | string> {
    const algorithm = algorithmOf(token);
    if (!this.#settings.algorithms.some((name) => name === algorithm)) {
      return 'its algorithm is not one of auth.jwt.algorithms';
    }
    const checks = { ...this.#checks, currentDate: new Date(this.#clock.nowMs()) };
    try {
      for (const source of await this.#keys.sourcesFor(algorithm as JwtAlgorithm)) {
        const verified = await verifyWith(token, source, checks);
        if (verified !== null) return verified;
      }
    } catch (error) {
      // Only what is wrong with the token itself: everything else could not be decided.
      if (error instanceof errors.JOSEError) return error.message;
      throw error;
    }
    return 'no key fits its signature';
  }
}

function algorithmOf(token: string): string {
  try {
    return decodeProtectedHeader(token).alg ?? '';
  } catch {
    return '';
  }
}

/** Null: another key may fit. Throws JOSEError where the token is wrong whatever the key, others where it is not known. */
async function verifyWith(
  token: string,
  source: KeySource,
  checks: JWTVerifyOptions,
): Promise<Verified | null> {
  try {
    if (source.kind === 'key') {
      const { payload } = await jwtVerify(token, source.key, checks);
      return { payload, keyId: source.key.type === 'secret' ? null : idOfKey(source.key) };
    }
    const { set, kind } = source;
    const ask = kind === 'remote' ? askRemote(set) : set;
    let found: CryptoKey | null = null;
    const { payload } = await jwtVerify(
      token,
      async (header, input) => {
        found = await ask(header, input);
        return found;
      },
      checks,
    );
    return { payload, keyId: found === null ? null : idOfKey(found) };
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) return null;
    if (error instanceof errors.JWKSNoMatchingKey) return null;
    if (error instanceof errors.JWKSMultipleMatchingKeys) return verifyWithEach(token, error, checks);
    // A key that this algorithm cannot use, such as one that is too short.
    if (error instanceof TypeError && source.kind === 'key') return null;
    throw error;
  }
}

async function verifyWithEach(
  token: string,
  keys: InstanceType<typeof errors.JWKSMultipleMatchingKeys>,
  checks: JWTVerifyOptions,
): Promise<Verified | null> {
  let tried = 0;
  for await (const key of keys) {
    if (++tried > KEYS_TRIED_MAX) break;
    try {
      const { payload } = await jwtVerify(token, key, checks);
      return { payload, keyId: idOfKey(key) };
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  return null;
}

/** Tells what is wrong with the answer of the address from what is wrong with the token: both are JOSEErrors. */
function askRemote(set: KeySet): KeySet {
  return async (...question: Parameters<KeySet>) => {
    try {
      return await set(...question);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) throw error;
      if (error instanceof errors.JWKSMultipleMatchingKeys) throw error;
      throw new Error('the keys of auth.jwt.jwksUrl are not to be had', { cause: error });
    }
  };
}
