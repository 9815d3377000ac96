/**
 * Settings of the HTTP API, as the configuration file's section `http` holds them. Checked by `src/config`, read by
 * `index.ts`. Keys may stand here in clear for a laptop; elsewhere their SHA-256 is enough to check them.
 */

import { type Static, Type } from '../schema-types.ts';

const apiKeys = (description: string) =>
  Type.Array(Type.String({ pattern: '^(sha256:[0-9a-f]{64}|(?!sha256:)[\\x21-\\x7e]{16,256})$' }), {
    default: [],
    maxItems: 100,
    writeOnly: true,
    description,
  });

const groups = (description: string) =>
  Type.Array(Type.String({ minLength: 1, maxLength: 255 }), { default: [], maxItems: 100, description });

const role = (name: string, ability: string) =>
  Type.Object(
    {
      apiKeys: apiKeys(`Keys of this role, written as http.apiKeys.`),
      groups: groups('Groups of users and of holders of tokens who have this role.'),
    },
    { additionalProperties: false, default: {}, description: `Role ${name}: ${ability}.` },
  );

export const httpSettings = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'Serve the HTTP API, health checks and metrics.' }),
    host: Type.String({
      default: '127.0.0.1',
      minLength: 1,
      description:
        'Address to listen on. Beyond loopback an API key or a group with a role must be set, or the gateway refuses to start.',
    }),
    port: Type.Integer({
      default: 8080,
      minimum: 0,
      maximum: 65_535,
      description: 'Port to listen on; 0 lets the system choose.',
    }),
    apiKeys: apiKeys(
      'Keys that callers show as "Authorization: Bearer KEY" or "X-API-Key: KEY", with role admin: 16 to 256 printable ' +
        'ASCII characters, or "sha256:" and the 64 hexadecimal digits of the key\'s SHA-256. With no key and no group ' +
        'in http.roles, only a loopback address may be used, and everybody on the machine may call.',
    ),
    roles: Type.Object(
      {
        admin: Type.Object(
          { groups: groups('Groups of users and of holders of tokens who have this role.') },
          { additionalProperties: false, default: {}, description: 'Role admin: may do everything.' },
        ),
        operator: role(
          'operator',
          'may do everything but change users, access rules and connections, and import',
        ),
        viewer: role('viewer', 'may see everything, messages too, and change nothing'),
        publisher: role('publisher', 'may publish messages and nothing else'),
      },
      {
        additionalProperties: false,
        default: {},
        description:
          'Who may call in which role besides http.apiKeys. Users of a group come in with "Authorization: Basic", holders of ' +
          'tokens (auth.jwt) with "Authorization: Bearer". Of several roles the one that may most counts.',
      },
    ),
    allowedHosts: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
      default: [],
      maxItems: 100,
      description:
        'Further names, without port, that the Host header may hold when listening on loopback; loopback ' +
        'addresses and "localhost" always may. This is what keeps web pages from calling through DNS rebinding.',
    }),
    bodyBytesMax: Type.Integer({
      default: 1_048_576,
      minimum: 1_024,
      maximum: 67_108_864,
      description: 'Largest request body, bytes.',
    }),
    requestTimeoutMs: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 600_000,
      description: 'Time in which a whole request must have arrived, milliseconds.',
    }),
    connectionsMax: Type.Integer({
      default: 256,
      minimum: 1,
      maximum: 65_535,
      description: 'HTTP connections open at once.',
    }),
    subscribersMax: Type.Integer({
      default: 100,
      minimum: 0,
      maximum: 65_535,
      description: 'Subscribers over HTTP at once; each holds one of the connections.',
    }),
    loopDelayMsMax: Type.Integer({
      default: 5_000,
      minimum: 100,
      maximum: 600_000,
      description: '/livez fails while the event loop is delayed by more than this, milliseconds.',
    }),
    metricsObjectsMax: Type.Integer({
      default: 100,
      minimum: 0,
      maximum: 10_000,
      description:
        'Queues, and likewise streams, that /metrics shows one by one; totals always count all of them.',
    }),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'The HTTP API: management, explanations, health and metrics.',
  },
);

export type HttpSettings = Static<typeof httpSettings>;
