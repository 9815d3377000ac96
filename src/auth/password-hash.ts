/**
 * Passwords as they are kept: hashes in the forms that `mosquitto_passwd` writes, Argon2id, and scrypt, which is what
 * this gateway makes. Called by `users.ts` (reading, making) and `user-verifier.ts` (comparing). The slow
 * computations run on threads of the process, never on the event loop; their number is bounded by who asks for them.
 * Costs are bounded when a hash is read, or a line in a file could take all memory or time.
 *
 * | text                                                | computation                                            |
 * |-----------------------------------------------------|--------------------------------------------------------|
 * | `$6$<salt>$<digest>`                                | SHA-512 of password and salt; Mosquitto before 2.0     |
 * | `$7$<iterations>$<salt>$<digest>`                   | PBKDF2 with HMAC-SHA-512; Mosquitto 2.0                |
 * | `$salted-sha256$<salt>$<digest>`, `-sha512`           | SHA-2 of salt and password; imported                   |
 * | `$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<digest>` | RFC 9106; Mosquitto 2.1                      |
 * | `$scrypt$ln=<log2 N>,r=<r>,p=<p>$<salt>$<digest>`   | RFC 7914                                               |
 *
 * Salts and digests are base64, with padding or without.
 */

import { Buffer } from 'node:buffer';
import { argon2, createHash, pbkdf2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

export type PasswordHash = {
  readonly salt: Buffer;
  readonly digest: Buffer;
} & (
  | { readonly kind: 'sha512' }
  | { readonly kind: 'salted-sha256' | 'salted-sha512' }
  | { readonly kind: 'pbkdf2'; readonly iterations: number }
  | { readonly kind: 'argon2id'; readonly memoryKib: number; readonly passes: number; readonly lanes: number }
  | { readonly kind: 'scrypt'; readonly costLog2: number; readonly blockSize: number; readonly lanes: number }
);

/** Longer ones are nobody's. */
export const PASSWORD_BYTES_MAX = 1_024;

const SALT_BYTES = 16;
const DIGEST_BYTES = 32;
const SHA256_BYTES = 32;
const SHA512_BYTES = 64;
const BLOCK_SIZE = 8;
const ITERATIONS_MAX = 10_000_000;
const MEMORY_BYTES_MAX = 256 * 1024 * 1024;
const PASSES_MAX = 64;
const LANES_MAX = 16;
const DIGEST_BYTES_MIN = 16;
const DIGEST_BYTES_MAX = 128;

/** Throws Error that says what is wrong; the hash is not in its text. */
export function passwordHashFromText(text: string): PasswordHash {
  const parts = text.split('$');
  const [before, scheme, ...fields] = parts;
  if (before === '' && scheme === '6' && fields.length === 2) {
    const [salt, digest] = fields as [string, string];
    return { kind: 'sha512', salt: saltFrom(salt), digest: digestFrom(digest, SHA512_BYTES) };
  }
  if (before === '' && scheme === '7' && fields.length === 3) {
    const [iterations, salt, digest] = fields as [string, string, string];
    return {
      kind: 'pbkdf2',
      iterations: numberFrom(iterations, 1, ITERATIONS_MAX, 'iterations'),
      salt: saltFrom(salt),
      digest: digestFrom(digest, SHA512_BYTES),
    };
  }
  if (before === '' && (scheme === 'salted-sha256' || scheme === 'salted-sha512') && fields.length === 2) {
    const [salt, digest] = fields as [string, string];
    const bytes = scheme === 'salted-sha256' ? SHA256_BYTES : SHA512_BYTES;
    return { kind: scheme, salt: saltFrom(salt), digest: digestFrom(digest, bytes) };
  }
  if (before === '' && scheme === 'argon2id' && fields.length === 4) return argon2idFrom(fields);
  if (before === '' && scheme === 'scrypt' && fields.length === 3) return scryptFrom(fields);
  throw new Error('is no password hash that begins with $6$, $7$, $argon2id$ or $scrypt$');
}

function argon2idFrom(fields: readonly string[]): PasswordHash {
  const [version, costs, salt, digest] = fields as [string, string, string, string];
  const match = /^m=(\d+),t=(\d+),p=(\d+)$/.exec(costs);
  if (version !== 'v=19' || match === null) throw new Error('is no Argon2id hash of version 19');
  // Came with Node.js 24.7.
  if (argon2 === undefined) throw new Error('is an Argon2id hash, for which Node.js 24.7 is needed');
  const lanes = numberFrom(match[3] as string, 1, LANES_MAX, 'lanes');
  return {
    kind: 'argon2id',
    lanes,
    memoryKib: numberFrom(match[1] as string, 8 * lanes, MEMORY_BYTES_MAX / 1024, 'memory'),
    passes: numberFrom(match[2] as string, 1, PASSES_MAX, 'passes'),
    salt: saltFrom(salt, 8),
    digest: digestFrom(digest),
  };
}

function scryptFrom(fields: readonly string[]): PasswordHash {
  const [costs, salt, digest] = fields as [string, string, string];
  const match = /^ln=(\d+),r=(\d+),p=(\d+)$/.exec(costs);
  if (match === null) throw new Error('is no scrypt hash: its costs are ln=…,r=…,p=…');
  const costLog2 = numberFrom(match[1] as string, 1, 24, 'cost');
  const blockSize = numberFrom(match[2] as string, 1, 64, 'block size');
  const lanes = numberFrom(match[3] as string, 1, LANES_MAX, 'lanes');
  if (128 * 2 ** costLog2 * blockSize > MEMORY_BYTES_MAX) throw new Error('would take too much memory');
  return { kind: 'scrypt', costLog2, blockSize, lanes, salt: saltFrom(salt), digest: digestFrom(digest) };
}

function numberFrom(text: string, min: number, max: number, what: string): number {
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= min && value <= max) return value;
  throw new Error(`has ${what} outside of ${min} to ${max}`);
}

function bytesFrom(text: string): Buffer {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw new Error('is not in base64');
  return Buffer.from(text, 'base64');
}

function saltFrom(text: string, bytesMin = 1): Buffer {
  const salt = bytesFrom(text);
  if (salt.length < bytesMin || salt.length > 128) throw new Error('has a salt of a length that cannot be');
  return salt;
}

function digestFrom(text: string, bytes?: number): Buffer {
  const digest = bytesFrom(text);
  const fits =
    bytes === undefined
      ? digest.length >= DIGEST_BYTES_MIN && digest.length <= DIGEST_BYTES_MAX
      : digest.length === bytes;
  if (!fits) throw new Error('has a digest of a length that cannot be');
  return digest;
}

/** Compares in a time that does not depend on where they differ. */
export async function isPassword(hash: PasswordHash, password: Uint8Array): Promise<boolean> {
  return timingSafeEqual(await digestOf(hash, password), hash.digest);
}

function digestOf(hash: PasswordHash, password: Uint8Array): Promise<Buffer> | Buffer {
  const { salt, digest } = hash;
  switch (hash.kind) {
    case 'sha512':
      return createHash('sha512').update(password).update(salt).digest();
    case 'salted-sha256':
      return createHash('sha256').update(salt).update(password).digest();
    case 'salted-sha512':
      return createHash('sha512').update(salt).update(password).digest();
    case 'pbkdf2':
      return derive((done) => pbkdf2(password, salt, hash.iterations, digest.length, 'sha512', done));
    case 'argon2id':
      return derive((done) =>
        argon2(
          'argon2id',
          {
            message: password,
            nonce: salt,
            parallelism: hash.lanes,
            tagLength: digest.length,
            memory: hash.memoryKib,
            passes: hash.passes,
          },
          done,
        ),
      );
    case 'scrypt': {
      const N = 2 ** hash.costLog2;
      const { blockSize: r, lanes: p } = hash;
      // OpenSSL counts a little more than the table itself.
      const maxmem = 128 * r * (N + p + 2) + 1024 * 1024;
      return derive((done) => scrypt(password, salt, digest.length, { N, r, p, maxmem }, done));
    }
  }
}

function derive(start: (done: (error: Error | null, key: Buffer) => void) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    start((error, key) => (error === null ? resolve(key) : reject(error)));
  });
}

/** A new scrypt hash; its memory is 1024 bytes times 2 to the power of `costLog2`. */
export async function passwordHashOf(password: Uint8Array, costLog2: number): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const empty: PasswordHash = {
    kind: 'scrypt',
    costLog2,
    blockSize: BLOCK_SIZE,
    lanes: 1,
    salt,
    digest: Buffer.alloc(DIGEST_BYTES),
  };
  const digest = await digestOf(empty, password);
  return `$scrypt$ln=${costLog2},r=${BLOCK_SIZE},p=1$${unpadded(salt)}$${unpadded(digest)}`;
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
