/**
 * Settings of everything between the operating system and the adapters, section `network` of the configuration file.
 * Where each protocol listens stands in that protocol's own section.
 */

import { type Static, Type } from '../host.ts';

export const networkSettings = Type.Object(
  {
    backlog: Type.Integer({
      default: 1_024,
      minimum: 1,
      maximum: 65_535,
      description: 'Connections that the system may hold until the gateway takes them, for each listener.',
    }),
    outputPoolBytesMax: Type.Integer({
      default: 67_108_864,
      minimum: 1_048_576,
      description: 'Bytes of output buffers kept for reuse; connections without output hold none.',
    }),
    closeLingerMs: Type.Integer({
      default: 2_000,
      minimum: 0,
      maximum: 60_000,
      description:
        'Time in which a client whose connection is closed must take some of what is left for it, and end too, milliseconds.',
    }),
    keepAliveMs: Type.Integer({
      default: 60_000,
      minimum: 0,
      maximum: 86_400_000,
      description:
        'Idle time after which TCP asks whether the peer is still there, milliseconds; 0 never asks.',
    }),
    handshakeTimeoutMs: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 600_000,
      description:
        'Time in which a connection must have gone through what comes before its protocol: PROXY header, TLS handshake, ' +
        'WebSocket upgrade; milliseconds.',
    }),
    connectionsPerSecondMax: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 1_000_000,
      description:
        'Connections that each listener takes in a second, and at once; more are closed. 0 for no bound.',
    }),
    connectionsPerAddressMax: Type.Integer({
      default: 0,
      minimum: 0,
      maximum: 10_000_000,
      description:
        'Connections that each listener takes from one address, or one /64 of IPv6, at a time; more are closed. 0 for no bound.',
    }),
    trustedProxies: Type.Array(Type.String({ pattern: '^[0-9a-fA-F.:]+(/[0-9]{1,3})?$', maxLength: 49 }), {
      default: [],
      maxItems: 1_000,
      description:
        'Networks of the proxies that listeners with proxyProtocol believe when they say whose a connection is; ' +
        'connections from elsewhere are refused there.',
    }),
    trustProxyCertificate: Type.Boolean({
      default: false,
      description:
        'Whether the name of a client certificate that such a proxy says it has verified counts as verified here.',
    }),
    websocketMessageBytesMax: Type.Integer({
      default: 16_777_216,
      minimum: 1_024,
      maximum: 1_073_741_824,
      description: 'Largest WebSocket message from a client, bytes.',
    }),
    allowedOrigins: Type.Array(Type.String({ minLength: 1, maxLength: 300 }), {
      default: [],
      maxItems: 1_000,
      description:
        'Origins, as "https://app.example.com", of web pages that may connect over WebSocket, besides those served ' +
        'from this machine; "*" lets every page in.',
    }),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'Sockets, the same for every protocol.',
  },
);

export type NetworkSettings = Static<typeof networkSettings>;
