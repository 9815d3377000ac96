/** Settings of who may connect, section `auth` of the configuration file. Read by `index.ts`. */

import { type Static, Type } from '../host.ts';
import { aclSettings } from './acl-settings.ts';
import { certificateSettings } from './certificate-settings.ts';
import { httpCalloutSettings } from './http-callout-settings.ts';
import { jwtSettings } from './jwt-settings.ts';
import { loginLimitSettings } from './login-limit-settings.ts';
import { passwordSettings } from './password-settings.ts';

export const authSettings = Type.Object(
  {
    trustedNetworks: Type.Array(Type.String({ pattern: '^[0-9a-fA-F.:]+(/[0-9]{1,3})?$', maxLength: 49 }), {
      default: ['127.0.0.0/8', '::1/128'],
      maxItems: 1_000,
      description:
        'Networks whose clients are let in with any credentials, or none, while no user was ever defined. Clients from ' +
        'elsewhere are refused. In a container the network of its host has to be added.',
    }),
    trustAfterLastUser: Type.Boolean({
      default: false,
      description:
        'Let clients from trusted networks in unproven again where all users have been removed. Otherwise a gateway ' +
        'that had users stays closed without them.',
    }),
    anonymous: Type.Boolean({
      default: false,
      description:
        'Let clients without credentials in, from anywhere, as nobody: a user without name and groups, to whom the access ' +
        'rules apply as well.',
    }),
    users: Type.Array(
      Type.Object(
        {
          name: Type.String({
            minLength: 1,
            maxLength: 255,
            pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]+$',
            description: 'Its name, without control characters.',
          }),
          password: Type.String({
            minLength: 1,
            maxLength: 1_024,
            description: 'The hash of its password.',
          }),
          groups: Type.Optional(
            Type.Array(Type.String({ minLength: 1, maxLength: 255 }), {
              maxItems: 100,
              description: 'Groups that it is in.',
            }),
          ),
        },
        { additionalProperties: false },
      ),
      {
        default: [],
        maxItems: 10_000,
        writeOnly: true,
        description:
          'Users, each with name, password and groups. The password is a hash as mosquitto_passwd writes it ($6$, $7$, ' +
          '$argon2id$) or scrypt ($scrypt$). As soon as there is one user, here, in the password file or made over the ' +
          'HTTP API, nobody is let in with any credentials any more, also not from trusted networks.',
      },
    ),
    passwordFile: Type.String({
      default: '',
      maxLength: 4_096,
      description:
        'File with users as mosquitto_passwd writes it; none where empty. Read again when it changes. Users whose line ' +
        'changed or went are disconnected.',
    }),
    passwords: passwordSettings,
    attempts: loginLimitSettings,
    certificate: certificateSettings,
    jwt: jwtSettings,
    http: httpCalloutSettings,
    acl: aclSettings,
  },
  { additionalProperties: false, default: {}, description: 'Who may connect, and who may do what.' },
);

export type AuthSettings = Static<typeof authSettings>;
