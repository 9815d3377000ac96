/** Settings of how often who may guess, section `auth.attempts` of the configuration file. Read by `login-limits.ts`. */

import { type Static, Type } from '../host.ts';

export const loginLimitSettings = Type.Object(
  {
    perAddressMax: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 1_000_000,
      description:
        'Failed logins from one address (of IPv6: one /64) in a window, above which clients from there are refused ' +
        'unasked.',
    }),
    perUserMax: Type.Integer({
      default: 20,
      minimum: 1,
      maximum: 1_000_000,
      description:
        'Failed logins of one user in a window, above which that user is refused unasked, except from addresses ' +
        'where it came in before.',
    }),
    windowMs: Type.Integer({
      default: 60_000,
      minimum: 1_000,
      maximum: 86_400_000,
      description: 'The window, in milliseconds; it slides.',
    }),
    entriesMax: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 1_000_000,
      description: 'Addresses, and users, that are remembered; the one that failed longest ago goes first.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Guessing at passwords is slowed down.' },
);

export type LoginLimitSettings = Static<typeof loginLimitSettings>;
