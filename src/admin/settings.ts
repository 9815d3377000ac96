/**
 * Settings of the HTTP API, as the configuration file's section `http` holds them. Checked by `src/config`, read by
 * `index.ts`. Keys may stand here in clear for a laptop; elsewhere their SHA-256 is enough to check them.
 */

import Type, { type Static } from 'typebox';

export const httpSettings = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'Serve the HTTP API, health checks and metrics.' }),
    host: Type.String({
      default: '127.0.0.1',
      minLength: 1,
      description:
        'Address to listen on. Beyond loopback at least one API key must be set, or the gateway refuses to start.',
    }),
    port: Type.Integer({
      default: 8080,
      minimum: 0,
      maximum: 65_535,
      description: 'Port to listen on; 0 lets the system choose.',
    }),
    apiKeys: Type.Array(
      Type.String({ pattern: '^(sha256:[0-9a-f]{64}|(?!sha256:)[\\x21-\\x7e]{16,256})$' }),
      {
        default: [],
        maxItems: 100,
        writeOnly: true,
        description:
          'Keys that callers show as "Authorization: Bearer KEY" or "X-API-Key: KEY": 16 to 256 printable ASCII ' +
          'characters, or "sha256:" and the 64 hexadecimal digits of the key\'s SHA-256. With none, only a ' +
          'loopback address may be used, and everybody on the machine may call.',
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
