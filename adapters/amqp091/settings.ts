/**
 * Settings of the AMQP 0-9-1 adapter, with defaults and what they mean. Composed into the configuration file by
 * `src/config`; the adapter gets the checked result.
 */

import { proxyProtocolSetting, type Static, Type, tlsListenerSettings } from '../../src/host.ts';

export const amqp091Settings = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'Listen for AMQP 0-9-1 at all.' }),
    host: Type.String({ default: '127.0.0.1', description: 'Address to listen on.' }),
    port: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 5672,
      description: 'TCP port; 0 lets the system choose.',
    }),
    proxyProtocol: proxyProtocolSetting,
    tls: tlsListenerSettings(5671, 'AMQP 0-9-1'),
    connectionsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000_000,
      default: 100_000,
      description: 'Connections at a time; more are closed at once.',
    }),
    highWaterBytes: Type.Integer({
      minimum: 4096,
      maximum: 1_073_741_824,
      default: 1_048_576,
      description: 'Unsent bytes of a connection above which it gets no more deliveries until half is sent.',
    }),
    channelMax: Type.Integer({
      minimum: 1,
      maximum: 65_535,
      default: 2047,
      description: 'Channels of a connection, and the greatest channel number.',
    }),
    frameBytesMax: Type.Integer({
      minimum: 4096,
      maximum: 16_777_216,
      default: 131_072,
      description: 'Largest frame in either direction, as RabbitMQ counts it: header and end octet included.',
    }),
    heartbeatSeconds: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 60,
      description: 'Heartbeat offered to clients; two missed ones end the connection; 0 is none.',
    }),
    handshakeTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 10_000,
      description: 'From connecting to connection.open, after which the connection is closed.',
    }),
    closeTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 5000,
      description: 'How long a client may take to answer a close.',
    }),
    consumersPerChannelMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 65_535,
      description: 'Consumers of one channel.',
    }),
    unsettledPerConsumerMax: Type.Integer({
      minimum: 1,
      maximum: 10_000_000,
      default: 262_144,
      description: 'Unacknowledged messages of a consumer that sets no prefetch.',
    }),
    unfinishedBytesMax: Type.Integer({
      minimum: 65_536,
      maximum: 1_073_741_824,
      default: 67_108_864,
      description: 'Bytes of messages that a connection has begun on all its channels and not finished.',
    }),
    undeclaredExchanges: Type.Union([Type.Literal('accept'), Type.Literal('refuse')], {
      default: 'accept',
      description:
        'accept: publishing or binding to an exchange that nobody declared uses the addresses under its name; ' +
        'refuse: it is answered 404 as RabbitMQ does.',
    }),
    product: Type.String({
      default: 'RosettaMQ',
      maxLength: 255,
      description:
        'Product name told to clients. Some clients behave differently towards "RabbitMQ"; see docs/protocols/amqp091.md.',
    }),
    productVersion: Type.String({
      default: '',
      maxLength: 255,
      description: 'Version told to clients; empty tells the version of the gateway.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'AMQP 0-9-1, the dialect of RabbitMQ.' },
);

export type Amqp091Settings = Static<typeof amqp091Settings>;
