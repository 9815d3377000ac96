/**
 * Whether a client's certificate, believed when its connection was made, would be believed by the authorities and
 * revocation lists of now. OpenSSL decides about new connections; it cannot be asked about those that are there, so here
 * is as much of it as tells that a certificate must go: its authority is gone, or it stands on a list. Filled by
 * `tls-stage.ts`, told of new files by `certificates.ts`, asked through the gateway by `src/auth`. A list that is missing or
 * out of date ends nothing, or a late list would end everybody.
 *
 * | RFC 5280 | bytes that are read, all in DER                                                                   |
 * |----------|---------------------------------------------------------------------------------------------------|
 * | 4.1      | certificate: SEQUENCE { tbs SEQUENCE { [0] version?, INTEGER serial, SEQUENCE, issuer SEQUENCE, …  |
 * | 5.1      | list: SEQUENCE { tbs SEQUENCE { INTEGER version?, SEQUENCE, issuer SEQUENCE, time, time?, entries? |
 * | 5.1      | entries: SEQUENCE of SEQUENCE { INTEGER serial, … }                                               |
 */

import { createHash, X509Certificate } from 'node:crypto';
import type { ClientCertificate } from '../host.ts';

const PATH_LENGTH_MAX = 10;
const INTEGER = 0x02;
const SEQUENCE = 0x30;
const VERSION = 0xa0;
const TIMES: ReadonlySet<number> = new Set([0x17, 0x18]);

/** From one state of the files. */
export interface Trusted {
  readonly authorities: readonly X509Certificate[];
  /** Name and key of each. */
  readonly authorityIds: ReadonlySet<string>;
  /** Issuer and serial number of each certificate on a list. */
  readonly revoked: ReadonlySet<string>;
}

/** A certificate on the way from the client's to an authority. */
interface Step {
  readonly name: string;
  /** Name and key of who signed it; only the same key can vouch for it later. */
  readonly issuer: string;
}

/** Throws where a list cannot be understood. Both are PEM; absent where there is none. */
export function trustedFrom(authoritiesPem: Buffer | undefined, listsPem: Buffer | undefined): Trusted {
  const revoked = new Set<string>();
  for (const list of blocksOf(listsPem, /X509 CRL/)) for (const name of revokedBy(list)) revoked.add(name);
  const authorities = blocksOf(authoritiesPem, /(?:X509 )?CERTIFICATE/).map(
    (der) => new X509Certificate(der),
  );
  return { authorities, authorityIds: new Set(authorities.map(idOf)), revoked };
}

export class ClientTrust {
  #trusted: Trusted = { authorities: [], authorityIds: new Set(), revoked: new Set() };
  readonly #paths = new WeakMap<ClientCertificate, readonly Step[]>();
  readonly #listeners: (() => void)[] = [];

  /** `proof` is what OpenSSL has just verified. Signatures are looked at here, once, so that a change costs little. */
  remember(certificate: ClientCertificate, proof: X509Certificate): void {
    const steps: Step[] = [];
    let one: X509Certificate | undefined = proof;
    while (one !== undefined && steps.length < PATH_LENGTH_MAX) {
      const subject: X509Certificate = one;
      const sent: X509Certificate | undefined =
        subject.issuerCertificate?.fingerprint256 === subject.fingerprint256
          ? undefined
          : subject.issuerCertificate;
      const issuer = sent ?? this.#trusted.authorities.find((authority) => isIssuer(authority, subject));
      if (issuer === undefined || !isIssuer(issuer, subject)) break;
      steps.push({ name: nameOf(subject), issuer: idOf(issuer) });
      one = sent;
    }
    this.#paths.set(certificate, steps);
  }

  isTrusted(certificate: ClientCertificate): boolean {
    const steps = this.#paths.get(certificate);
    // A proxy verified it, by authorities of its own.
    if (steps === undefined) return true;
    const { authorityIds, revoked } = this.#trusted;
    for (const { name, issuer } of steps) {
      if (revoked.has(name)) return false;
      if (authorityIds.has(issuer)) return true;
    }
    return false;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  use(trusted: Trusted): void {
    this.#trusted = trusted;
    for (const listener of this.#listeners) listener();
  }
}

function idOf(certificate: X509Certificate): string {
  const key = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return `${createHash('sha256').update(key).digest('base64')} ${certificate.subject}`;
}

function isIssuer(issuer: X509Certificate, of: X509Certificate): boolean {
  return of.checkIssued(issuer) && of.verify(issuer.publicKey);
}

function blocksOf(pem: Buffer | undefined, label: RegExp): Buffer[] {
  const pattern = new RegExp(`-----BEGIN (${label.source})-----([^-]+)-----END \\1-----`, 'g');
  return [...(pem?.toString('latin1') ?? '').matchAll(pattern)].map(([, , text = '']) =>
    Buffer.from(text, 'base64'),
  );
}

/** How a list names a certificate: a serial number is its issuer's alone. */
function nameOf(certificate: X509Certificate): string {
  // OpenSSL has read and verified it, so it is well-formed.
  const [serial, , issuer] = fieldsOf(inner(inner(certificate.raw))).filter(({ tag }) => tag !== VERSION);
  return keyFrom(issuer?.content, serial?.content);
}

function revokedBy(list: Buffer): string[] {
  const fields = fieldsOf(inner(inner(list))).filter(({ tag }) => tag !== INTEGER && !TIMES.has(tag));
  // Behind the algorithm and the issuer; where nothing is revoked the entries are left out.
  const [, issuer, entries] = fields;
  if (entries?.tag !== SEQUENCE) return [];
  return fieldsOf(entries.content).map(({ content }) =>
    keyFrom(issuer?.content, fieldsOf(content)[0]?.content),
  );
}

function keyFrom(issuer: Buffer | undefined, serial: Buffer | undefined): string {
  if (issuer === undefined || serial === undefined) throw new Error('issuer or serial number is missing');
  return `${issuer.toString('base64')} ${serial.toString('hex')}`;
}

interface Field {
  readonly tag: number;
  readonly content: Buffer;
}

/** The content of the first field. */
function inner(der: Buffer): Buffer {
  return readField(der, 0).content;
}

function fieldsOf(der: Buffer): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < der.length; ) {
    const { end, ...field } = readField(der, at);
    fields.push(field);
    at = end;
  }
  return fields;
}

function readField(der: Buffer, at: number): Field & { readonly end: number } {
  const tag = der[at];
  const short = der[at + 1];
  if (tag === undefined || short === undefined) throw new Error('it ends too early');
  const lengthBytes = short < 0x80 ? 0 : short & 0x7f;
  if (lengthBytes > 4 || (short >= 0x80 && lengthBytes === 0)) throw new Error('it is not DER');
  if (at + 2 + lengthBytes > der.length) throw new Error('it ends too early');
  const length = lengthBytes === 0 ? short : der.readUIntBE(at + 2, lengthBytes);
  const start = at + 2 + lengthBytes;
  const end = start + length;
  if (end > der.length) throw new Error('it ends too early');
  return { tag, content: der.subarray(start, end), end };
}
