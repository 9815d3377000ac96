/**
 * Makes certificate authorities, certificates and revocation lists while a test runs, so that no key is ever kept: X.509
 * version 3 (RFC 5280), ECDSA on P-256 with SHA-256. As much of DER (X.690) as that takes.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Issued {
  readonly certificate: string;
  readonly key: string;
  readonly serial: Buffer;
}

export interface Subject {
  readonly commonName: string;
  /** `dns:`, `email:`, `uri:` or `ip:` and the value; IPv4 only. */
  readonly names?: readonly string[];
  readonly validToMs?: number;
}

export interface Authority {
  readonly certificate: string;
  issue(subject: Subject): Issued;
  revocationList(revoked: readonly Issued[]): string;
}

const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...head]), content]);
};
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const octets = (content: Uint8Array): Buffer => der(0x04, content);
const bits = (content: Uint8Array): Buffer => der(0x03, Buffer.from([0]), content);
const integer = (value: Uint8Array): Buffer => der(0x02, value);
const flag = (): Buffer => der(0x01, Buffer.from([0xff]));

function identifier(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

/** GeneralizedTime, which is right for every year from 2050 on and understood for those before. */
function time(ms: number): Buffer {
  const text = `${new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')}`;
  return new Date(ms).getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(text.slice(2)))
    : der(0x18, Buffer.from(text));
}

const ALGORITHM = sequence(identifier('1.2.840.10045.4.3.2'));
const DAY_MS = 86_400_000;

const nameOf = (commonName: string): Buffer =>
  sequence(der(0x31, sequence(identifier('2.5.4.3'), der(0x0c, Buffer.from(commonName)))));

const pem = (label: string, content: Buffer): string =>
  `-----BEGIN ${label}-----\n${content.toString('base64').replace(/.{1,64}/g, '$&\n')}-----END ${label}-----\n`;

const signed = (content: Buffer, key: KeyObject): Buffer =>
  sequence(content, ALGORITHM, bits(sign('sha256', content, key)));

const extension = (id: string, value: Buffer, critical = false): Buffer =>
  sequence(identifier(id), ...(critical ? [flag()] : []), octets(value));

function alternativeName(text: string): Buffer {
  const value = text.slice(text.indexOf(':') + 1);
  if (text.startsWith('ip:') && isIPv4(value)) return der(0x87, Buffer.from(value.split('.').map(Number)));
  const tag = text.startsWith('email:') ? 0x81 : text.startsWith('uri:') ? 0x86 : 0x82;
  return der(tag, Buffer.from(value));
}

const keyIdOf = (spki: Buffer): Buffer => createHash('sha1').update(spki).digest();

/** Positive, and never with a leading zero byte. */
const newSerial = (): Buffer => Buffer.concat([Buffer.from([0x01]), randomBytes(8)]);

export function createAuthority(commonName: string): Authority {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuer = nameOf(commonName);
  const issuerKey = keyIdOf(pair.publicKey.export({ type: 'spki', format: 'der' }));

  const certify = (subject: Subject, publicKey: KeyObject, isAuthority: boolean, serial: Buffer): string => {
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const extensions = [
      extension('2.5.29.19', isAuthority ? sequence(flag()) : sequence(), true),
      // keyCertSign and cRLSign, or digitalSignature.
      extension('2.5.29.15', der(0x03, Buffer.from(isAuthority ? [1, 0x06] : [7, 0x80])), true),
      extension('2.5.29.14', octets(keyIdOf(spki))),
      extension('2.5.29.35', sequence(der(0x80, issuerKey))),
    ];
    const names = (subject.names ?? []).map(alternativeName);
    if (names.length > 0) extensions.push(extension('2.5.29.17', sequence(...names)));
    const validity = sequence(time(Date.now() - DAY_MS), time(subject.validToMs ?? Date.now() + 30 * DAY_MS));
    const content = sequence(
      der(0xa0, integer(Buffer.from([2]))),
      integer(serial),
      ALGORITHM,
      issuer,
      validity,
      nameOf(subject.commonName),
      spki,
      der(0xa3, sequence(...extensions)),
    );
    return pem('CERTIFICATE', signed(content, pair.privateKey));
  };

  return {
    certificate: certify({ commonName }, pair.publicKey, true, newSerial()),
    issue(subject) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const serial = newSerial();
      return {
        certificate: certify(subject, publicKey, false, serial),
        key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
        serial,
      };
    },
    revocationList(revoked) {
      const entries = revoked.map(({ serial }) => sequence(integer(serial), time(Date.now() - 60_000)));
      const content = sequence(
        integer(Buffer.from([1])),
        ALGORITHM,
        issuer,
        time(Date.now() - 60_000),
        time(Date.now() + DAY_MS),
        ...(entries.length > 0 ? [sequence(...entries)] : []),
        der(0xa0, sequence(extension('2.5.29.20', integer(newSerial())))),
      );
      return pem('X509 CRL', signed(content, pair.privateKey));
    },
  };
}

/** A new folder with these files in it; whoever asks removes it. */
export function writeFolder(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'rosettamq-tls-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 });
  return folder;
}
