/**
 * Settings that listeners of every protocol have alike: TLS, the PROXY protocol, socket files. Adapters put them into
 * their own sections, through door 2.
 */

import { type Static, Type } from './schema-types.ts';

export const proxyProtocolSetting = Type.Boolean({
  default: false,
  description:
    'Whether a proxy tells in front of each connection whose it is (PROXY protocol, version 1 or 2); see ' +
    'network.trustedProxies.',
});

const clientCertificate = Type.Union(
  [Type.Literal('none'), Type.Literal('request'), Type.Literal('require')],
  {
    default: 'none',
    description:
      'Whether clients show a certificate of an authority in tls.clientAuthoritiesFile: none is asked for, it may be ' +
      'shown, or a client without one is refused.',
  },
);

/** The settings of a listener with TLS, which is one more beside that without. */
export function tlsListenerProperties(port: number, what: string) {
  return {
    enabled: Type.Boolean({
      default: true,
      description: `Whether to listen for ${what} over TLS, once tls.certificates has a certificate.`,
    }),
    port: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: port,
      description: 'Port; 0 lets the system choose.',
    }),
    clientCertificate,
    proxyProtocol: proxyProtocolSetting,
  };
}

export function tlsListenerSettings(port: number, what: string) {
  return Type.Object(tlsListenerProperties(port, what), {
    additionalProperties: false,
    default: {},
    description: `${what} over TLS.`,
  });
}

export const socketFileSettings = Type.Object(
  {
    path: Type.String({
      default: '',
      maxLength: 100,
      description: 'Path of the file; empty: none.',
    }),
    mode: Type.String({
      default: '0660',
      pattern: '^0?[0-7]{3}$',
      description:
        'Mode of the file, octal: who may write to it may connect. Those who may are trusted as this machine is ' +
        '(auth.trustedNetworks), unless everybody may.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'A Unix domain socket.' },
);

export type TlsListenerSettings = Static<ReturnType<typeof tlsListenerSettings>>;
export type SocketFileSettings = Static<typeof socketFileSettings>;
