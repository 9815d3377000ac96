/**
 * The keys that tokens are verified with: shared secrets, PEM files, a key set in a file and one behind an address.
 * Called by `jwt.ts`. A key is only ever handed out for signatures of its own kind, so that a public key can never pass
 * for a shared secret (RFC 8725 3.1). Files are looked at every few seconds, and so is the address when what it said is too
 * old: who was let in by a key that is gone must go. A file that cannot be read any more is reported and its old keys stay,
 * for a half-written file must not lock everybody out; the same holds for an address that does not answer.
 */

import { Buffer } from 'node:buffer';
import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import type { Clock, Timer } from '../core/index.ts';
import type { Logger } from '../host.ts';
import { idOfKey, idsFromKeySet, type KeySet } from './jwt-key-ids.ts';
import { RemoteKeys } from './jwt-remote-keys.ts';
import type { JwtAlgorithm, JwtSettings } from './jwt-settings.ts';

/** Between two looks at the files. */
const LOOK_AGAIN_MS = 2_000;
/** RFC 7518 3.2: a secret is at least as long as the hash. */
const SECRET_BYTES_MIN = { HS256: 32, HS384: 48, HS512: 64 } as const;
const BASE64_PREFIX = 'base64:';

/** A key, or where to look for one. */
export type KeySource =
  | { readonly kind: 'key'; readonly key: KeyObject }
  | { readonly kind: 'set'; readonly set: KeySet }
  | { readonly kind: 'remote'; readonly set: KeySet };

interface FileKeys {
  readonly path: string;
  /** Differs whenever the file does. */
  readonly mark: string;
  readonly keys: readonly KeyObject[];
  readonly set: KeySet | null;
  readonly ids: ReadonlySet<string>;
}

export class JwtKeys {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #secrets: readonly Buffer[];
  readonly #remote: RemoteKeys | null;
  readonly #listeners: (() => void)[] = [];
  #files: readonly FileKeys[];
  #lookedAtMs: number;
  #looking: Promise<void> | null = null;
  #timer: Timer | null = null;
  #isClosed = false;

  /** Throws where a setting or file is none that tokens can be verified with. */
  constructor(settings: JwtSettings, clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
    this.#secrets = settings.secrets.map(bytesFromSecret);
    this.#files = [
      ...settings.publicKeyFiles.map((path) => readKeysAtStart('publicKeyFiles', path, keysFromPem)),
      ...(settings.jwksFile === ''
        ? []
        : [readKeysAtStart('jwksFile', settings.jwksFile, keysFromKeySetText)]),
    ];
    this.#lookedAtMs = clock.nowMs();
    this.#remote =
      settings.jwksUrl === '' ? null : new RemoteKeys(settings, clock, logger, () => this.#tell());
    this.#checkAlgorithms(settings);
    if (this.#files.length > 0 || this.#remote !== null) this.#lookLater();
  }

  /** False where the key with this id has gone; secrets stay until the process ends. */
  has(id: string): boolean {
    return this.#files.some(({ ids }) => ids.has(id)) || this.#remote?.ids.has(id) === true;
  }

  /** Calls `listener` whenever a key may have gone. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Looks at the files now. Throws Error for those that cannot be read; their old keys stay. */
  async reload(): Promise<void> {
    await this.#looking;
    const failures = await this.#lookNow();
    if (failures.length > 0) throw new Error(failures.join('; '));
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** What a token with this algorithm may be signed with, the nearest first. */
  async sourcesFor(algorithm: JwtAlgorithm): Promise<KeySource[]> {
    if (algorithm.startsWith('HS')) {
      const bytesMin = SECRET_BYTES_MIN[algorithm as keyof typeof SECRET_BYTES_MIN];
      return this.#secrets
        .filter((secret) => secret.length >= bytesMin)
        .map((secret) => ({ kind: 'key', key: createSecretKey(secret) }));
    }
    await this.#lookAgain();
    const sources: KeySource[] = [];
    for (const { keys, set } of this.#files) {
      for (const key of keys) if (isKeyFor(algorithm, key)) sources.push({ kind: 'key', key });
      if (set !== null) sources.push({ kind: 'set', set });
    }
    if (this.#remote !== null) sources.push({ kind: 'remote', set: this.#remote.set });
    return sources;
  }

  /** An algorithm that nothing could ever verify is a mistake of the operator's, better told at start. */
  #checkAlgorithms({ algorithms }: JwtSettings): void {
    if (this.#secrets.length === 0 && this.#files.length === 0 && this.#remote === null) {
      throw new Error('auth.jwt needs a key: secrets, publicKeyFiles, jwksFile or jwksUrl');
    }
    if (this.#secrets.length === 0) return;
    const wanted = algorithms.filter((name) => name in SECRET_BYTES_MIN) as (keyof typeof SECRET_BYTES_MIN)[];
    if (wanted.length === 0) throw new Error('auth.jwt.secrets are for HS256, HS384 or HS512 in algorithms');
    const shortest = Math.min(...wanted.map((name) => SECRET_BYTES_MIN[name]));
    if (this.#secrets.some((secret) => secret.length < shortest)) {
      throw new Error(`auth.jwt.secrets: ${wanted.join(', ')} want at least ${shortest} bytes in each`);
    }
  }

  #lookLater(): void {
    if (this.#isClosed) return;
    this.#timer = this.#clock.after(LOOK_AGAIN_MS, () => {
      void this.#lookAgain();
      void this.#remote?.refresh();
      this.#lookLater();
    });
  }

  async #lookAgain(): Promise<void> {
    if (this.#looking !== null) return this.#looking;
    if (this.#files.length === 0 || this.#clock.nowMs() - this.#lookedAtMs < LOOK_AGAIN_MS) return;
    await this.#lookNow();
  }

  /** What was wrong, for each file that could not be read. */
  async #lookNow(): Promise<string[]> {
    this.#lookedAtMs = this.#clock.nowMs();
    const failures: string[] = [];
    const looking = this.#readChanged(failures);
    this.#looking = looking;
    await looking;
    if (this.#looking === looking) this.#looking = null;
    return failures;
  }

  async #readChanged(failures: string[]): Promise<void> {
    const before = this.#files;
    const files = await Promise.all(
      before.map(async (file) => {
        let { mark } = file;
        try {
          mark = markOf(await stat(file.path));
          if (mark === file.mark) return file;
          const text = await readFile(file.path, 'utf8');
          const read = file.set === null ? keysFromPem(text) : keysFromKeySetText(text);
          this.#logger.info({ file: file.path }, 'keys for tokens were read again');
          return { path: file.path, mark, ...read };
        } catch (error) {
          failures.push(`${file.path}: ${(error as Error).message}`);
          const reason = mark === file.mark ? 'unreadable' : mark;
          if (reason === file.mark) return file;
          this.#logger.warn(
            { file: file.path, err: error },
            'keys for tokens cannot be read; the old ones stay',
          );
          return { ...file, mark: reason };
        }
      }),
    );
    this.#files = files;
    const isSame = files.every((file, index) => file.ids === before[index]?.ids);
    if (!isSame) this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

function bytesFromSecret(text: string): Buffer {
  if (!text.startsWith(BASE64_PREFIX)) return Buffer.from(text);
  const digits = text.slice(BASE64_PREFIX.length);
  // Node.js passes over what is no base64, which would leave another secret than the operator meant.
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(digits)) throw new Error('auth.jwt.secrets: one is not valid base64');
  return Buffer.from(digits, 'base64');
}

type Read = Pick<FileKeys, 'keys' | 'set' | 'ids'>;

function readKeysAtStart(setting: string, path: string, read: (text: string) => Read): FileKeys {
  try {
    return { path, mark: markOf(statSync(path)), ...read(readFileSync(path, 'utf8')) };
  } catch (error) {
    throw new Error(`auth.jwt.${setting}: ${path}: ${(error as Error).message}`);
  }
}

function keysFromPem(text: string): Read {
  const blocks = text.match(/-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g) ?? [];
  if (blocks.length === 0) throw new Error('there is no PEM block in it');
  if (/BEGIN [A-Z0-9 ]*PRIVATE/.test(text)) {
    throw new Error('it holds a private key, which belongs to the issuer alone');
  }
  const keys = blocks.map((block) => createPublicKey(block));
  return { keys, set: null, ids: new Set(keys.map(idOfKey)) };
}

function keysFromKeySetText(text: string): Read {
  const value = JSON.parse(text) as JSONWebKeySet;
  return { keys: [], set: createLocalJWKSet(value), ids: idsFromKeySet(value) };
}

/** With the time of the last change of the file's state, so that a file that may be read now is read. */
function markOf(stats: { mtimeMs: number; ctimeMs: number; size: number; ino: number }): string {
  return `${stats.mtimeMs} ${stats.ctimeMs} ${stats.size} ${stats.ino}`;
}

/** RFC 7518 3.3 to 3.5 and RFC 8037 3.1: which keys an algorithm takes. */
function isKeyFor(algorithm: JwtAlgorithm, key: KeyObject): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  switch (algorithm) {
    case 'EdDSA':
      return type === 'ed25519';
    case 'ES256':
      return type === 'ec' && details?.namedCurve === 'prime256v1';
    case 'ES384':
      return type === 'ec' && details?.namedCurve === 'secp384r1';
    case 'ES512':
      return type === 'ec' && details?.namedCurve === 'secp521r1';
    default:
      return type === 'rsa' || (type === 'rsa-pss' && algorithm.startsWith('PS'));
  }
}
