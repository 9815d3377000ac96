/** Settings of client certificates, section `auth.certificate` of the configuration file. Read by `certificate.ts`. */

import { type Static, Type } from '../host.ts';

export const certificateSettings = Type.Object(
  {
    enabled: Type.Boolean({
      default: false,
      description:
        'Take the client’s TLS certificate for who it is, on listeners that ask for one and have checked it against ' +
        'their authorities.',
    }),
    listeners: Type.Array(Type.String({ minLength: 1, maxLength: 255 }), {
      default: [],
      maxItems: 100,
      description: 'Listeners that do so, by name; all where the list is empty.',
    }),
    userFrom: Type.Union(
      [
        Type.Literal('commonName'),
        Type.Literal('dns'),
        Type.Literal('email'),
        Type.Literal('uri'),
        Type.Literal('fingerprint'),
      ],
      {
        default: 'commonName',
        description:
          'What is the user name: the subject’s common name; the subject alternative name that is a DNS name, an email ' +
          'address or a URI; or the SHA-256 of the certificate in lower-case hexadecimal digits. Of several ' +
          'alternative names the first counts, unless the client asks to be another one of them.',
      },
    ),
    userName: Type.Union([Type.Literal('equal'), Type.Literal('ignored')], {
      default: 'equal',
      description:
        'The user name that the client sends beside its certificate: equal (empty, or the same as in the certificate) ' +
        'or ignored. Its password is not looked at.',
    }),
    groups: Type.Array(Type.String({ pattern: '^[^=]+=.+$', maxLength: 512 }), {
      default: [],
      maxItems: 10_000,
      description:
        'Groups, each as GROUP=USER with * for any characters: sensors=sensor-*, or everybody=*. A user is in every ' +
        'group that fits its name.',
    }),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'TLS client certificates (X.509) as proof of who a client is.',
  },
);

export type CertificateSettings = Static<typeof certificateSettings>;
