/**
 * The keys that tokens are verified with: shared secrets, PEM files, a key set in a file and one behind an address.
 * Called by `jwt.ts`. A key is only ever handed out for signatures of its own kind, so that a public key can never pass
 * for a shared secret (RFC 8725 3.1). Files are looked at again at most every few seconds, when a token comes; a file
 * that cannot be read any more is reported and its old keys stay, for a half-written file must not lock everybody out.
 */

import { Buffer } from 'node:buffer';
import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import {
  type CryptoKey,
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  type FetchImplementation,
  type JSONWebKeySet,
} from 'jose';
import type { Clock } from '../core/index.ts';
import type { Logger } from '../host.ts';
import { readBounded } from './bounded-body.ts';
import type { JwtAlgorithm, JwtSettings } from './jwt-settings.ts';

/** Files are looked at again when a token comes this long after the last look. */
const LOOK_AGAIN_MS = 2_000;
/** RFC 7518 3.2: a secret is at least as long as the hash. */
const SECRET_BYTES_MIN = { HS256: 32, HS384: 48, HS512: 64 } as const;
const BASE64_PREFIX = 'base64:';

/** Gives the one key that fits the header, or throws as jose does where none or several fit. */
export type KeySet = (...header: Parameters<ReturnType<typeof createLocalJWKSet>>) => Promise<CryptoKey>;
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
}

export class JwtKeys {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #secrets: readonly Buffer[];
  readonly #remote: KeySet | null;
  #files: readonly FileKeys[];
  #lookedAtMs: number;
  #looking: Promise<void> | null = null;

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
    this.#remote = settings.jwksUrl === '' ? null : createRemote(settings, clock);
    this.#checkAlgorithms(settings);
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
    if (this.#remote !== null) sources.push({ kind: 'remote', set: this.#remote });
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

  #lookAgain(): Promise<void> {
    if (this.#looking !== null) return this.#looking;
    if (this.#files.length === 0 || this.#clock.nowMs() - this.#lookedAtMs < LOOK_AGAIN_MS) {
      return Promise.resolve();
    }
    this.#lookedAtMs = this.#clock.nowMs();
    this.#looking = this.#readChanged().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #readChanged(): Promise<void> {
    this.#files = await Promise.all(
      this.#files.map(async (file) => {
        let { mark } = file;
        try {
          mark = markOf(await stat(file.path));
          if (mark === file.mark) return file;
          const text = await readFile(file.path, 'utf8');
          const read = file.set === null ? keysFromPem(text) : keysFromKeySetText(text);
          this.#logger.info({ file: file.path }, 'keys for tokens were read again');
          return { path: file.path, mark, ...read };
        } catch (error) {
          this.#logger.warn(
            { file: file.path, err: error },
            'keys for tokens cannot be read; the old ones stay',
          );
          return { ...file, mark };
        }
      }),
    );
  }
}

function bytesFromSecret(text: string): Buffer {
  if (!text.startsWith(BASE64_PREFIX)) return Buffer.from(text);
  const digits = text.slice(BASE64_PREFIX.length);
  // Node.js passes over what is no base64, which would leave another secret than the operator meant.
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(digits)) throw new Error('auth.jwt.secrets: one is not valid base64');
  return Buffer.from(digits, 'base64');
}

type Read = Pick<FileKeys, 'keys' | 'set'>;

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
  return { keys: blocks.map((block) => createPublicKey(block)), set: null };
}

function keysFromKeySetText(text: string): Read {
  return { keys: [], set: createLocalJWKSet(JSON.parse(text) as JSONWebKeySet) };
}

function markOf({ mtimeMs, size, ino }: { mtimeMs: number; size: number; ino: number }): string {
  return `${mtimeMs} ${size} ${ino}`;
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

/**
 * jose waits between two questions that were answered; one that failed must not be asked again for each client either,
 * so after a failure there is a pause as well, in which the failure is the answer.
 */
function createRemote(settings: JwtSettings, clock: Clock): KeySet {
  let failedAtMs = Number.NEGATIVE_INFINITY;
  const ask: FetchImplementation = async (url, options) => {
    if (clock.nowMs() - failedAtMs < Math.min(settings.jwksCooldownMs, settings.jwksTimeoutMs)) {
      throw new Error('auth.jwt.jwksUrl did not answer a moment ago');
    }
    try {
      const response = await fetch(url, options);
      const body = await readBounded(response, settings.jwksBytesMax);
      if (response.status !== 200) throw new Error(`auth.jwt.jwksUrl answered ${response.status}`);
      return new Response(new Uint8Array(body), { status: 200 });
    } catch (error) {
      failedAtMs = clock.nowMs();
      throw error;
    }
  };
  return createRemoteJWKSet(new URL(settings.jwksUrl), {
    timeoutDuration: settings.jwksTimeoutMs,
    cooldownDuration: settings.jwksCooldownMs,
    cacheMaxAge: settings.jwksMaxAgeMs,
    [customFetch]: ask,
  });
}
