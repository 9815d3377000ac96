/** Settings of how passwords are kept and checked, section `auth.passwords`. Read by `users.ts` and `user-verifier.ts`. */

import { type Static, Type } from '../host.ts';

export const passwordSettings = Type.Object(
  {
    usersMax: Type.Integer({
      default: 100_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Users that can be made over the HTTP API, and users of the password file.',
    }),
    scryptCostLog2: Type.Integer({
      default: 15,
      minimum: 10,
      maximum: 18,
      description:
        'Cost of a new password’s hash (scrypt): 15 takes 32 MiB and about a tenth of a second, each step up twice that.',
    }),
    concurrencyMax: Type.Integer({
      default: 2,
      minimum: 1,
      maximum: 64,
      description: 'Hashes computed at once, each on a thread of its own; more wait for their turn.',
    }),
    waitingMax: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Logins that may wait for their turn. Clients beyond are not let in, and may try again.',
    }),
    waitMsMax: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 600_000,
      description: 'Time that a login may wait for its turn.',
    }),
    cacheMs: Type.Integer({
      default: 300_000,
      minimum: 0,
      maximum: 86_400_000,
      description:
        'How long a right password is known without computing its hash again, so that clients that come and go cost ' +
        'little. A changed user is asked anew at once. 0: not at all.',
    }),
    cacheEntriesMax: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Right passwords that are known so; the one that was used longest ago goes first.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'How passwords of users are kept and checked.' },
);

export type PasswordSettings = Static<typeof passwordSettings>;
