/**
 * Settings of TLS, section `tls` of the configuration file: the same certificates and authorities for every listener
 * that speaks it. Which listeners do, and whether they ask clients for certificates, stands in each protocol's section.
 */

import { type Static, Type } from '../host.ts';

const file = (description: string) => Type.String({ minLength: 1, maxLength: 4096, description });

const certificate = Type.Object(
  {
    certificateFile: file('PEM file with the certificate, then those between it and its authority.'),
    keyFile: file('PEM file with its private key.'),
    passphraseFile: Type.Optional(file('File with the passphrase of the key, where it has one.')),
    serverNames: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
        maxItems: 1_000,
        description: 'Names that clients ask for and get this certificate; left out: those that it is for.',
      }),
    ),
  },
  { additionalProperties: false },
);

export const tlsSettings = Type.Object(
  {
    certificates: Type.Array(certificate, {
      default: [],
      maxItems: 1_000,
      description:
        'Certificates of this server: {certificateFile, keyFile, passphraseFile, serverNames}, the last two where ' +
        'needed. The name that a client asks for (SNI) picks one, "*.example.com" stands for one more level; else the ' +
        'first is shown. Listeners with TLS open as soon as there is one. Changed files are read again without a restart.',
    }),
    minVersion: Type.Union([Type.Literal('TLSv1.2'), Type.Literal('TLSv1.3')], {
      default: 'TLSv1.2',
      description: 'The oldest version that is spoken.',
    }),
    ciphers: Type.String({
      default: '',
      maxLength: 4096,
      description: 'Cipher suites in the format of OpenSSL, the best first; empty: those of Node.js.',
    }),
    clientAuthoritiesFile: Type.String({
      default: '',
      maxLength: 4096,
      description: 'PEM file with the authorities whose client certificates are believed; empty: nobody.',
    }),
    revocationListFile: Type.String({
      default: '',
      maxLength: 4096,
      description:
        'PEM file with a revocation list (CRL) of every authority in clientAuthoritiesFile; empty: nothing is revoked.',
    }),
    reloadCheckMs: Type.Integer({
      default: 1_000,
      minimum: 50,
      maximum: 3_600_000,
      description: 'Time between two looks at whether the files have changed, milliseconds.',
    }),
    handshakesPerSecondMax: Type.Integer({
      default: 500,
      minimum: 1,
      maximum: 1_000_000,
      description:
        'Handshakes that each listener begins in a second; more wait, so that a crowd that connects at once leaves time ' +
        'for the clients that are there.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'TLS: certificates, and whose are believed.' },
);

export type TlsSettings = Static<typeof tlsSettings>;
export type CertificateSettings = Static<typeof certificate>;
