/**
 * What an operator says about an outside broker of AMQP 0-9-1 and about the bridges to it, with every default and bound. The
 * driver of this folder reads them; nothing here loads the client library.
 */

import { OPEN_MS_MAX, outsideTlsSettings, type Static, secretSetting, Type } from '../../src/outside.ts';
import { host, inFlightBytesMax, messageBytesMax, port, type WithSecrets } from '../bridge-amqp/settings.ts';

/** The exchange that takes whole addresses as keys. */
const WHOLE_ADDRESS_EXCHANGE = 'amq.topic';
/** In place of an exchange's name: each address says by its first level which one it is. */
export const EXCHANGE_FROM_ADDRESS = 'from-address';
/** Bytes of a short string: names of exchanges and queues, keys. */
export const NAME_BYTES_MAX = 255;

const name = (description: string, options: { readonly default?: string } = {}) =>
  Type.String({ maxLength: NAME_BYTES_MAX, description, ...options });

/** `host`, `host:port`, `[::1]:port`. */
const ADDRESS = '^(\\[[0-9A-Fa-f:.]+\\]|[^\\s:/\\[\\]]+)(:[0-9]{1,5})?$';

export const connectionSettings = Type.Object(
  {
    host,
    port,
    addresses: Type.Array(Type.String({ pattern: ADDRESS, maxLength: 270 }), {
      maxItems: 16,
      default: [],
      description: 'More brokers of the same cluster as HOST:PORT, tried in turn when one cannot be reached.',
    }),
    virtualHost: Type.String({
      minLength: 1,
      maxLength: NAME_BYTES_MAX,
      default: '/',
      description: 'Virtual host.',
    }),
    user: name('User name.', { default: 'guest' }),
    password: Type.Optional(
      secretSetting('Password; `guest` unless given, which brokers take from their own machine alone.'),
    ),
    mechanism: Type.Union([Type.Literal('PLAIN'), Type.Literal('EXTERNAL')], {
      default: 'PLAIN',
      description: 'PLAIN: user and password. EXTERNAL: the certificate of the connection says who it is.',
    }),
    tls: outsideTlsSettings,
    heartbeatSeconds: Type.Integer({
      minimum: 0,
      maximum: 3600,
      default: 30,
      description:
        'How often each side shows that it is there; after two missed ones the link is lost. 0: never.',
    }),
    connectTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: OPEN_MS_MAX,
      default: 10_000,
      description:
        'How long each address may take until the connection is open, and the broker until queues and links are.',
    }),
    frameBytesMax: Type.Integer({
      minimum: 8192,
      maximum: 16_777_216,
      default: 131_072,
      description: 'The largest frame to agree on; headers and properties of a message have to fit one.',
    }),
    connectionName: Type.String({
      maxLength: 255,
      default: '',
      description: 'What the broker shows for the connection; `rosettamq: BRIDGE` unless given.',
    }),
  },
  { additionalProperties: false, description: 'A broker of AMQP 0-9-1, such as RabbitMQ or LavinMQ.' },
);

export type OutsideAmqp091 = WithSecrets<typeof connectionSettings>;

const tableSettings = Type.Record(
  Type.String({ maxLength: 128 }),
  Type.Union([Type.String(), Type.Number(), Type.Boolean()]),
  { default: {}, description: 'Arguments, such as `x-queue-type: quorum`.' },
);

const bindingSettings = Type.Object(
  {
    exchange: name('The exchange.'),
    key: name('The binding key.', { default: '' }),
    arguments: tableSettings,
  },
  { additionalProperties: false },
);

/** Objects that are declared each time the bridge connects; what exists already has to be as it is written. */
const declareSettings = Type.Object(
  {
    exchanges: Type.Array(
      Type.Object(
        {
          name: Type.String({ minLength: 1, maxLength: NAME_BYTES_MAX }),
          type: Type.String({
            minLength: 1,
            maxLength: NAME_BYTES_MAX,
            default: 'topic',
            description: '`topic`, `direct`, `fanout`, `headers`, or what the broker has beside them.',
          }),
          durable: Type.Boolean({ default: true }),
          autoDelete: Type.Boolean({ default: false }),
          arguments: tableSettings,
        },
        { additionalProperties: false },
      ),
      { maxItems: 64, default: [], description: 'Exchanges.' },
    ),
    queues: Type.Array(
      Type.Object(
        {
          name: Type.String({ minLength: 1, maxLength: NAME_BYTES_MAX }),
          durable: Type.Boolean({ default: true }),
          autoDelete: Type.Boolean({ default: false }),
          arguments: tableSettings,
          bind: Type.Array(bindingSettings, { maxItems: 256, default: [], description: 'What it gets.' }),
        },
        { additionalProperties: false },
      ),
      { maxItems: 64, default: [], description: 'Queues and their bindings.' },
    ),
  },
  { additionalProperties: false, default: {}, description: 'Declared when the bridge connects.' },
);

export type Declarations = Static<typeof declareSettings>;

export const outSettings = Type.Object(
  {
    exchange: name(
      'Where to publish. `amq.topic`: the key is the whole address. The empty name, the default exchange: the address is ' +
        'the name of a queue. `from-address`: the first level is the exchange, the rest the key. Any other: ' +
        'that exchange, and the key is the whole address. In keys and names of queues `/` is `.`, and `.` is `/`.',
      { default: WHOLE_ADDRESS_EXCHANGE },
    ),
    unroutable: Type.Union([Type.Literal('wait'), Type.Literal('dead-letter'), Type.Literal('drop')], {
      default: 'drop',
      description:
        'What becomes of a message that no queue there takes. drop: the broker drops it, as it does for others. wait: ' +
        'it is sent again until one does. dead-letter: it goes to the dead letters of the bridge.',
    }),
    userId: Type.Union([Type.Literal('drop'), Type.Literal('keep')], {
      default: 'drop',
      description:
        'The property user-id of a message that another user published here. A broker refuses it unless the ' +
        'login may speak for others (in RabbitMQ the tag `impersonator`).',
    }),
    confirmTimeoutMs: Type.Integer({
      minimum: 1000,
      maximum: 600_000,
      default: 30_000,
      description: 'After so long without a confirm the link is closed, and what had none is sent again.',
    }),
    declare: declareSettings,
  },
  { additionalProperties: false, default: {}, description: 'Out to a broker of AMQP 0-9-1.' },
);

export type OutOptions = Static<typeof outSettings>;

export const inSettings = Type.Object(
  {
    prefetch: Type.Integer({
      minimum: 1,
      maximum: 65_535,
      default: 1000,
      description:
        'Messages that the broker may have given without having them acknowledged; at most inFlightMax.',
    }),
    addressFrom: Type.Union([Type.Literal('key'), Type.Literal('queue')], {
      default: 'key',
      description:
        'key: exchange and routing key are the address, as for clients of this gateway. queue: the name of the queue is, ' +
        'with `.` for `/`.',
    }),
    messageBytesMax: messageBytesMax(
      'The largest body of a message; a larger one is rejected without requeue, and is not kept in memory.',
    ),
    inFlightBytesMax: inFlightBytesMax(
      'Beyond it nothing is read from the connection; the last message may go beyond by its size.',
    ),
    exclusive: Type.Boolean({
      default: false,
      description: 'Whether nobody else may consume these queues meanwhile.',
    }),
    declare: declareSettings,
  },
  { additionalProperties: false, default: {}, description: 'In from queues of a broker of AMQP 0-9-1.' },
);

export type InOptions = Static<typeof inSettings>;
