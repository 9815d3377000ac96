/**
 * Lets clients in that show a signed token (JWT, RFC 7519) where the password would stand. Called through
 * `src/auth/index.ts` for password credentials. What does not look like a token is left to others; what does is let in
 * or refused here. Signature, algorithm and times are `jose`'s work; which keys an algorithm may use is decided in
 * `jwt-keys.ts`. A token whose keys could not be fetched is neither good nor bad: that throws.
 */

import { decodeProtectedHeader, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import type { Clock, Principal } from '../core/index.ts';
import type { ConnectionOrigin, Credentials, Logger } from '../host.ts';
import { identityFromClaims } from './jwt-claims.ts';
import { JwtKeys, type KeySet, type KeySource } from './jwt-keys.ts';
import type { JwtAlgorithm, JwtSettings } from './jwt-settings.ts';
import type { Verdict, Verifier } from './verifier.ts';

/** Three parts in base64url, the first of which is a JSON object: `{"` is `eyJ`. RFC 7515 7.1. */
const TOKEN = /^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;
/** Keys of one set that are tried for one token, where it names none of them. */
const KEYS_TRIED_MAX = 10;

export class JwtVerifier implements Verifier {
  readonly #settings: JwtSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #keys: JwtKeys;
  readonly #checks: JWTVerifyOptions;

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
    return principal.expiresAtMs === undefined || this.#clock.nowMs() < principal.expiresAtMs;
  }

  async #verifyToken(token: string, user: string, origin: ConnectionOrigin): Promise<Principal | null> {
    const payload = await this.#payloadOf(token);
    if (typeof payload === 'string') return this.#refuse(payload, origin);
    const identity = identityFromClaims(payload, this.#settings);
    if (identity === null) return this.#refuse('its claims do not say who its bearer is', origin);
    if (user !== '' && user !== identity.user && this.#settings.userName === 'equal') {
      return this.#refuse('it is of another user', origin);
    }
    if (identity.clientId !== null && identity.clientId !== origin.clientId) {
      return this.#refuse('it is for another client id', origin);
    }
    const { exp } = payload;
    return {
      user: identity.user,
      groups: identity.groups,
      clientId: origin.clientId,
      ...(exp === undefined ? {} : { expiresAtMs: exp * 1_000 + this.#settings.clockToleranceMs }),
    };
  }

  #refuse(reason: string, { listener, remoteAddress }: ConnectionOrigin): null {
    this.#logger.debug({ listener, remoteAddress, reason }, 'a token was refused');
    return null;
  }

  /** What the token holds, or why it is refused. Throws where its keys cannot be had now. */
  async #payloadOf(token: string): Promise<JWTPayload | string> {
    const algorithm = algorithmOf(token);
    if (!this.#settings.algorithms.some((name) => name === algorithm)) {
      return 'its algorithm is not one of auth.jwt.algorithms';
    }
    const checks = { ...this.#checks, currentDate: new Date(this.#clock.nowMs()) };
    try {
      for (const source of await this.#keys.sourcesFor(algorithm as JwtAlgorithm)) {
        const payload = await verifyWith(token, source, checks);
        if (payload !== null) return payload;
      }
    } catch (error) {
      // Only what is wrong with the token itself: everything else could not be decided.
      if (error instanceof errors.JOSEError) return error.message;
      this.#logger.warn({ err: error }, 'a token could not be checked');
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
): Promise<JWTPayload | null> {
  try {
    if (source.kind === 'key') return (await jwtVerify(token, source.key, checks)).payload;
    const { set, kind } = source;
    const ask = kind === 'remote' ? askRemote(set) : set;
    return (await jwtVerify(token, (header, input) => ask(header, input), checks)).payload;
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
): Promise<JWTPayload | null> {
  let tried = 0;
  for await (const key of keys) {
    if (++tried > KEYS_TRIED_MAX) break;
    try {
      return (await jwtVerify(token, key, checks)).payload;
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
