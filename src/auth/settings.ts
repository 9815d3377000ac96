/** Settings of who may connect, section `auth` of the configuration file. Read by `index.ts`. */

import Type, { type Static } from 'typebox';
import { aclSettings } from './acl-settings.ts';

export const authSettings = Type.Object(
  {
    trustedNetworks: Type.Array(Type.String({ pattern: '^[0-9a-fA-F.:]+(/[0-9]{1,3})?$', maxLength: 49 }), {
      default: ['127.0.0.0/8', '::1/128'],
      maxItems: 1_000,
      description:
        'Networks whose clients are let in with any credentials, or none, while no user is defined. Clients from ' +
        'elsewhere are refused. In a container the network of its host has to be added.',
    }),
    acl: aclSettings,
  },
  { additionalProperties: false, default: {}, description: 'Who may connect, and who may do what.' },
);

export type AuthSettings = Static<typeof authSettings>;
