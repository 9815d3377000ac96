/**
 * The server's certificates, the authorities of its clients and their revocation list, as OpenSSL contexts: read from
 * files at the start, and again when one of the files has changed. Whoever listens with TLS asks for the contexts when
 * a connection arrives, so new connections get the new ones and those that are there stay as they are. Files that cannot
 * be used change nothing: the contexts before them stay, and the log says why, once for each state of the files.
 *
 * One object for the process, made by `network.ts`. Files are looked at by their time, size and inode; watching them
 * would miss what container platforms do, which is to swap a symbolic link above them.
 */

import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { Clock, Timer } from '../core/index.ts';
import type { Logger } from '../host.ts';
import { readAlternativeNames } from './client-certificate.ts';
import { ClientTrust, type Trusted, trustedFrom } from './client-trust.ts';
import { ServerNames } from './server-names.ts';
import type { CertificateSettings, TlsSettings } from './tls-settings.ts';

/** Everything that was read from one state of the files. */
export interface LoadedCertificates {
  /** For the context of each listener's own: its session tickets are valid there only. */
  readonly options: SecureContextOptions;
  readonly byName: ServerNames<SecureContext>;
  /** When the certificates end, by file, for the log and metrics. */
  readonly expiry: ReadonlyMap<string, Date>;
  readonly trusted: Trusted;
}

/** The operator can mend it: told without a stack. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
}

export class Certificates {
  /** For connections that are there. */
  readonly clientTrust = new ClientTrust();
  readonly #settings: TlsSettings;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #listeners = new Set<(loaded: LoadedCertificates) => void>();
  #loaded: LoadedCertificates | null = null;
  /** Of the files as they were last read, usable or not. */
  #state = '';
  #timer: Timer | null = null;
  #reloading: Promise<boolean> | null = null;
  #isClosed = false;

  constructor(settings: TlsSettings, clock: Clock, logger: Logger) {
    this.#settings = settings;
    this.#clock = clock;
    this.#logger = logger;
  }

  get isConfigured(): boolean {
    return this.#settings.certificates.length > 0;
  }

  get handshakesPerSecondMax(): number {
    return this.#settings.handshakesPerSecondMax;
  }

  get trustsClients(): boolean {
    return this.#settings.clientAuthoritiesFile !== '';
  }

  get picksByName(): boolean {
    return this.#settings.certificates.length > 1;
  }

  /** Calls `listener` with what is there now and after every change; returns what ends that. */
  follow(listener: (loaded: LoadedCertificates) => void): () => void {
    if (this.#loaded !== null) listener(this.#loaded);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** For `node:tls`: without a match it takes the first certificate. */
  readonly pick = (serverName: string, done: (error: Error | null, context?: SecureContext) => void): void =>
    done(null, this.#loaded?.byName.find(serverName));

  /** The first reading, once. Throws CertificateError. */
  async open(): Promise<void> {
    if (this.#loaded !== null) return;
    this.#state = await this.#readState();
    this.#loaded = await loadCertificates(this.#settings);
    this.clientTrust.use(this.#loaded.trusted);
    this.#warnOfExpiry(this.#loaded);
    this.#watch();
  }

  /** Reads the files now. False where they cannot be used, which the log explains. */
  reload(): Promise<boolean> {
    this.#reloading ??= this.#reload().finally(() => {
      this.#reloading = null;
    });
    return this.#reloading;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  async #reload(): Promise<boolean> {
    this.#state = await this.#readState();
    try {
      const loaded = await loadCertificates(this.#settings);
      if (this.#isClosed) return false;
      this.#loaded = loaded;
      for (const listener of this.#listeners) listener(loaded);
      this.clientTrust.use(loaded.trusted);
    } catch (error) {
      this.#logger.error(
        { detail: (error as Error).message },
        'the changed TLS files cannot be used; those before them stay in use',
      );
      return false;
    }
    this.#logger.info({ certificates: this.#settings.certificates.length }, 'TLS files read again');
    this.#warnOfExpiry(this.#loaded);
    return true;
  }

  #watch(): void {
    if (this.#isClosed) return;
    this.#timer = this.#clock.after(this.#settings.reloadCheckMs, () => {
      this.#check()
        .catch((error: unknown) => this.#logger.error({ err: error }, 'TLS files cannot be watched'))
        .finally(() => this.#watch());
    });
  }

  async #check(): Promise<void> {
    if ((await this.#readState()) !== this.#state) await this.reload();
  }

  #warnOfExpiry(loaded: LoadedCertificates): void {
    const now = this.#clock.nowMs();
    for (const [file, until] of loaded.expiry) {
      if (until.getTime() < now) this.#logger.warn({ file, until }, 'a TLS certificate has expired');
    }
  }

  /** Changes whenever a file does; a file that is not there is a state too. */
  async #readState(): Promise<string> {
    const states = listFiles(this.#settings).map(async (path) => {
      try {
        const { mtimeMs, ctimeMs, size, ino } = await stat(path);
        return `${mtimeMs} ${ctimeMs} ${size} ${ino}`;
      } catch (error) {
        return String((error as NodeJS.ErrnoException).code);
      }
    });
    return (await Promise.all(states)).join('\n');
  }
}

function listFiles(settings: TlsSettings): string[] {
  const { certificates, clientAuthoritiesFile, revocationListFile } = settings;
  const files = certificates.flatMap(({ certificateFile, keyFile, passphraseFile }) => [
    certificateFile,
    keyFile,
    passphraseFile ?? '',
  ]);
  return [...files, clientAuthoritiesFile, revocationListFile].filter((path) => path !== '');
}

/** Reads and checks everything; nothing of it is used where one part is broken. Throws CertificateError. */
async function loadCertificates(settings: TlsSettings): Promise<LoadedCertificates> {
  const { certificates, minVersion, ciphers, clientAuthoritiesFile, revocationListFile } = settings;
  const authorities =
    clientAuthoritiesFile === ''
      ? undefined
      : await readPem(clientAuthoritiesFile, 'tls.clientAuthoritiesFile');
  const lists =
    revocationListFile === '' ? undefined : await readPem(revocationListFile, 'tls.revocationListFile');
  const shared: SecureContextOptions = {
    minVersion,
    honorCipherOrder: true,
    ...(ciphers === '' ? {} : { ciphers }),
    // Without authorities of ours, those of the system would be believed.
    ca: authorities === undefined ? [] : [authorities],
    // Node.js reads the first list of each text only.
    ...(lists === undefined ? {} : { crl: splitLists(lists) }),
  };
  const byName = new ServerNames<SecureContext>();
  const expiry = new Map<string, Date>();
  let first: SecureContextOptions | null = null;
  for (const [index, certificate] of certificates.entries()) {
    const setting = `tls.certificates, entry ${index + 1}`;
    const pem = await readPem(certificate.certificateFile, setting);
    const options = { ...shared, cert: pem, ...(await readKey(certificate, setting)) };
    const context = buildContext(options, setting);
    const leaf = new X509Certificate(pem);
    expiry.set(certificate.certificateFile, new Date(leaf.validTo));
    for (const name of certificate.serverNames ?? namesOf(leaf)) byName.add(name, context);
    first ??= options;
  }
  if (first === null) throw new CertificateError('tls.certificates is empty');
  return { options: first, byName, expiry, trusted: readTrusted(authorities, lists) };
}

function splitLists(pem: Buffer): string[] {
  const lists = pem.toString('latin1').match(/-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/g);
  if (lists === null) throw new CertificateError('tls.revocationListFile: there is no revocation list in it');
  return lists;
}

function readTrusted(authorities: Buffer | undefined, lists: Buffer | undefined): Trusted {
  try {
    return trustedFrom(authorities, lists);
  } catch (error) {
    const setting = 'tls.clientAuthoritiesFile and tls.revocationListFile';
    throw new CertificateError(`${setting}: ${(error as Error).message}`, { cause: error });
  }
}

async function readKey(certificate: CertificateSettings, setting: string): Promise<SecureContextOptions> {
  const key = await readPem(certificate.keyFile, setting);
  if (certificate.passphraseFile === undefined) return { key };
  return { key, passphrase: (await readPem(certificate.passphraseFile, setting)).toString().trim() };
}

async function readPem(path: string, setting: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new CertificateError(`${setting}: ${(error as Error).message}`, { cause: error });
  }
}

/** OpenSSL looks at every part, also whether the key belongs to the certificate. */
function buildContext(options: SecureContextOptions, setting: string): SecureContext {
  try {
    return createSecureContext(options);
  } catch (error) {
    throw new CertificateError(`${setting}: ${(error as Error).message}`, { cause: error });
  }
}

function namesOf(leaf: X509Certificate): string[] {
  return readAlternativeNames(leaf.subjectAltName ?? '')
    .filter(({ kind }) => kind === 'dns')
    .map(({ value }) => value);
}
