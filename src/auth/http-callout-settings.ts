/** Settings of the outside service that is asked who a client is, section `auth.http`. Read by `http-callout.ts`. */

import { type Static, Type } from '../host.ts';

export const httpCalloutSettings = Type.Object(
  {
    enabled: Type.Boolean({
      default: false,
      description: 'Ask a service of your own whether a client may come in.',
    }),
    url: Type.String({
      default: '',
      pattern: '^(https?://[^/?#@\\s]+([/?#]\\S*)?)?$',
      maxLength: 2_048,
      description:
        'Where to POST the question to, http or https, without user and password in it. It carries the passwords ' +
        'of clients: use https beyond networks that you trust.',
    }),
    headers: Type.Array(
      Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\\x20-\\x7e]*$", maxLength: 8_192 }),
      {
        default: [],
        maxItems: 20,
        writeOnly: true,
        description:
          'Headers of each question, each as "Name: value"; for example "Authorization: Bearer …", by which the service ' +
          'knows the gateway.',
      },
    ),
    timeoutMs: Type.Integer({
      default: 5_000,
      minimum: 50,
      maximum: 60_000,
      description: 'Time for the whole answer. A client is not let in where there is none.',
    }),
    concurrencyMax: Type.Integer({
      default: 32,
      minimum: 1,
      maximum: 1_024,
      description: 'Questions under way at once; more wait for their turn.',
    }),
    waitingMax: Type.Integer({
      default: 1_000,
      minimum: 0,
      maximum: 100_000,
      description:
        'Questions that may wait for their turn. Clients beyond are not let in, and may try again.',
    }),
    allowCacheMs: Type.Integer({
      default: 60_000,
      minimum: 0,
      maximum: 86_400_000,
      description:
        'How long "allow" and "ignore" are remembered for the same credentials from the same address, where the answer ' +
        'has no Cache-Control of its own. 0: not at all.',
    }),
    denyCacheMs: Type.Integer({
      default: 5_000,
      minimum: 0,
      maximum: 3_600_000,
      description: 'The longest that "deny" is remembered, whatever the answer says. 0: not at all.',
    }),
    cacheMsMax: Type.Integer({
      default: 3_600_000,
      minimum: 0,
      maximum: 86_400_000,
      description: 'The longest that any answer is remembered, whatever its Cache-Control says.',
    }),
    cacheEntriesMax: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Answers remembered; the one that was used longest ago goes first.',
    }),
    answerBytesMax: Type.Integer({
      default: 65_536,
      minimum: 256,
      maximum: 1_048_576,
      description: 'Largest answer.',
    }),
  },
  {
    additionalProperties: false,
    default: {},
    description:
      'A service of your own that decides who is let in. It gets {"user", "password", "clientId", "listener", ' +
      '"remoteAddress", "certificate"} and answers 200 with {"result": "allow", "deny" or "ignore"}, with "user", ' +
      '"groups" and "expiresAt" where it likes. Any other answer, or none, lets nobody in.',
  },
);

export type HttpCalloutSettings = Static<typeof httpCalloutSettings>;
