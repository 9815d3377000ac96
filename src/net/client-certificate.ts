/**
 * What a client proved with its certificate, read from the one that Node.js verified. Called once for a connection, by
 * `tls-stage.ts`. A name that two readers could read differently is no name: a common name that stands there twice or
 * holds a control character is left out, and so is every alternative name of another kind or with one.
 */

import type { X509Certificate } from 'node:crypto';
import type { ClientCertificate } from '../host.ts';

type AlternativeName = ClientCertificate['alternativeNames'][number];

const KINDS: Readonly<Record<string, AlternativeName['kind']>> = {
  DNS: 'dns',
  email: 'email',
  URI: 'uri',
  'IP Address': 'ip',
};

export function readClientCertificate(certificate: X509Certificate): ClientCertificate {
  const { subject } = certificate.toLegacyObject();
  const commonName: unknown = subject?.CN;
  return {
    commonName: typeof commonName === 'string' && isPlain(commonName) ? commonName : '',
    alternativeNames: readAlternativeNames(certificate.subjectAltName ?? ''),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    expiresAtMs: certificate.validToDate.getTime(),
  };
}

/**
 * The text that Node.js makes of the extension: `DNS:a.example, URI:"with, comma"`. A value with anything special in it
 * is a JSON string, so a comma outside of one ends the entry.
 */
export function readAlternativeNames(text: string): AlternativeName[] {
  const names: AlternativeName[] = [];
  for (const [, kind = '', quoted, plain] of text.matchAll(
    /([^:,]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))(?:, |$)/gy,
  )) {
    const known = KINDS[kind];
    const value = quoted === undefined ? (plain ?? '') : unquote(quoted);
    if (known !== undefined && value !== '' && isPlain(value)) names.push({ kind: known, value });
  }
  return names;
}

function unquote(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return '';
  }
}

/** Control characters, NUL above all, are how one name is made to look like another. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return false;
  }
  return true;
}
