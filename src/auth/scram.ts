/**
 * SCRAM, the challenge-response mechanism in which neither side ever shows the password (RFC 5802, RFC 7677). Here are
 * the keys that are kept for a user, and one exchange seen from the server. Used by `index.ts`. Nobody learns from an
 * exchange whether a user exists: an unknown one gets a salt that stays the same, and is refused where a wrong password
 * would be.
 *
 * | message             | text                                                        |
 * |---------------------|-------------------------------------------------------------|
 * | client-first        | `n,` or `y,`, `a=<user>` or nothing, `,n=<user>,r=<nonce>`  |
 * | server-first        | `r=<nonce of both>,s=<salt>,i=<iterations>`                 |
 * | client-final        | `c=<base64 of what stands before n=>,r=<nonce of both>,p=<proof>` |
 * | server-final        | `v=<signature>`                                             |
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Principal } from '../core/index.ts';
import type { SaslExchange, SaslStep } from '../host.ts';
import type { Attempt } from './login-limits.ts';
import { preparedText } from './saslprep.ts';

/** Strongest first. */
export const SCRAM_MECHANISMS = ['SCRAM-SHA-512', 'SCRAM-SHA-256'] as const;
export type ScramMechanism = (typeof SCRAM_MECHANISMS)[number];

export interface ScramKeys {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

const DIGESTS: Readonly<Record<ScramMechanism, 'sha256' | 'sha512'>> = {
  'SCRAM-SHA-256': 'sha256',
  'SCRAM-SHA-512': 'sha512',
};
const DIGEST_BYTES = { sha256: 32, sha512: 64 } as const;
/** RFC 7677 4 asks for 4096 at least; the client pays for each login, the server only for each new password. */
export const SCRAM_ITERATIONS = 8_192;
const SALT_BYTES = 16;
const NONCE_BYTES = 18;
const MESSAGE_BYTES_MAX = 8_192;
const NOTHING = new Uint8Array(0);
const REFUSED: SaslStep = { outcome: 'refused' };

/** Null where the password holds what SCRAM does not take, such as control characters. */
export async function scramKeysOf(
  mechanism: ScramMechanism,
  password: string,
  salt: Buffer = randomBytes(SALT_BYTES),
  iterations: number = SCRAM_ITERATIONS,
): Promise<ScramKeys | null> {
  const prepared = preparedText(password);
  if (prepared === null) return null;
  const digest = DIGESTS[mechanism];
  const salted = await new Promise<Buffer>((resolve, reject) => {
    pbkdf2(prepared, salt, iterations, DIGEST_BYTES[digest], digest, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
  const clientKey = createHmac(digest, salted).update('Client Key').digest();
  return {
    salt,
    iterations,
    storedKey: createHash(digest).update(clientKey).digest(),
    serverKey: createHmac(digest, salted).update('Server Key').digest(),
  };
}

/** Keys of nobody: `decoyKey` is secret, and the same after a restart, so that the salt does not tell. */
export function decoyKeysOf(mechanism: ScramMechanism, user: string, decoyKey: Buffer): ScramKeys {
  const bytes = DIGEST_BYTES[DIGESTS[mechanism]];
  const salt = createHmac('sha256', decoyKey)
    .update(`${mechanism}\0${user}`)
    .digest()
    .subarray(0, SALT_BYTES);
  return {
    salt,
    iterations: SCRAM_ITERATIONS,
    storedKey: randomBytes(bytes),
    serverKey: randomBytes(bytes),
  };
}

/** What an exchange asks of whoever knows the users. */
export interface ScramHost {
  /** Keys of that user, or of nobody. */
  keysOf(user: string): ScramKeys;
  /** Before a proof is looked at. Null: it is not looked at. */
  begin(user: string): Attempt | null | Promise<Attempt | null>;
  /** The proof is right. Null where the user may not come in after all. */
  accept(user: string, keys: ScramKeys): Principal | null;
  /** The proof is wrong. */
  refuse(user: string): void;
}

export class ScramExchange implements SaslExchange {
  readonly #digest: 'sha256' | 'sha512';
  readonly #host: ScramHost;
  readonly #nonceMade: string;
  #stage: 'asked' | 'first' | 'final' | 'over' = 'asked';
  #user = '';
  #keys: ScramKeys | null = null;
  #header = '';
  #firstMessages = '';

  /** `nonce` is for tests with the vectors of the RFCs. */
  constructor(
    mechanism: ScramMechanism,
    host: ScramHost,
    nonce = randomBytes(NONCE_BYTES).toString('base64'),
  ) {
    this.#digest = DIGESTS[mechanism];
    this.#host = host;
    this.#nonceMade = nonce;
  }

  step(message: Uint8Array): SaslStep | Promise<SaslStep> {
    const { length } = message;
    const stage = this.#stage;
    if (stage === 'asked' && length === 0) {
      // The client begins (RFC 5802 5): where the carrier let the server begin, that is an empty challenge. Just one, or
      // who proves nothing could go on for ever.
      this.#stage = 'first';
      return { outcome: 'continue', message: NOTHING };
    }
    this.#stage = 'over';
    if (stage === 'over' || length > MESSAGE_BYTES_MAX || !isUtf8(message)) return REFUSED;
    const text = Buffer.from(message.buffer, message.byteOffset, length).toString();
    if (stage !== 'final') return this.#takeFirst(text);
    const attempt = this.#host.begin(this.#user);
    return attempt instanceof Promise
      ? attempt.then((begun) => this.#decide(begun, text))
      : this.#decide(attempt, text);
  }

  #decide(attempt: Attempt | null, text: string): SaslStep {
    if (attempt === null) return REFUSED;
    try {
      return this.#takeFinal(text);
    } finally {
      attempt.end();
    }
  }

  #takeFirst(text: string): SaslStep {
    // `p=` asks for a binding to the TLS channel, which is not offered. `m=` would be an extension that must be known.
    const match = /^((?:n|y),(?:a=([^,]*))?,)(n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/su.exec(text);
    if (match === null) return REFUSED;
    const [, header, authorizedAs, bare, name, nonce] = match;
    const user = nameFrom(name as string);
    if (user === null) return REFUSED;
    if (authorizedAs !== undefined && authorizedAs !== '' && nameFrom(authorizedAs) !== user) return REFUSED;
    const keys = this.#host.keysOf(user);
    this.#user = user;
    this.#keys = keys;
    this.#header = header as string;
    const answer = `r=${nonce}${this.#nonceMade},s=${keys.salt.toString('base64')},i=${keys.iterations}`;
    this.#firstMessages = `${bare},${answer}`;
    this.#stage = 'final';
    return { outcome: 'continue', message: Buffer.from(answer) };
  }

  #takeFinal(text: string): SaslStep {
    const match = /^(c=([^,]*),r=([^,]*)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/su.exec(text);
    const keys = this.#keys;
    if (match === null || keys === null) return this.#refuse();
    const [, withoutProof, header, nonce, proofText] = match;
    // As lenient as other servers: widespread older clients put their own part before both again. What they send is
    // proved with the rest of the message, and our part ties it to this exchange.
    const isOurs = nonce?.endsWith(this.#nonceMade) === true;
    if (header !== Buffer.from(this.#header).toString('base64') || !isOurs) return this.#refuse();
    const proof = Buffer.from(proofText as string, 'base64');
    if (proof.length !== DIGEST_BYTES[this.#digest]) return this.#refuse();
    const signed = `${this.#firstMessages},${withoutProof}`;
    const signature = createHmac(this.#digest, keys.storedKey).update(signed).digest();
    const clientKey = Buffer.alloc(proof.length);
    for (let i = 0; i < proof.length; i++) clientKey[i] = (proof[i] as number) ^ (signature[i] as number);
    const storedKey = createHash(this.#digest).update(clientKey).digest();
    if (!timingSafeEqual(storedKey, keys.storedKey)) return this.#refuse();
    const principal = this.#host.accept(this.#user, keys);
    if (principal === null) return REFUSED;
    const verifier = createHmac(this.#digest, keys.serverKey).update(signed).digest('base64');
    return { outcome: 'accepted', message: Buffer.from(`v=${verifier}`), principal };
  }

  #refuse(): SaslStep {
    this.#host.refuse(this.#user);
    return REFUSED;
  }
}

/** RFC 5802 5.1: `=2C` stands for a comma and `=3D` for an equals sign, and no other `=` may be there. */
function nameFrom(text: string): string | null {
  if (/=(?!2C|3D)/.test(text)) return null;
  return preparedText(text.replaceAll('=2C', ',').replaceAll('=3D', '='));
}
