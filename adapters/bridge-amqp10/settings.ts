/**
 * What an operator says about an outside broker of AMQP 1.0 and about the bridges to it, with every default and bound. The
 * driver of this folder reads them; nothing here loads the client library.
 */

import { OPEN_MS_MAX, outsideTlsSettings, type Static, secretSetting, Type } from '../../src/outside.ts';
import { host, inFlightBytesMax, messageBytesMax, port, type WithSecrets } from '../bridge-amqp/settings.ts';

export const ADDRESS_CHARS_MAX = 2048;

export const connectionSettings = Type.Object(
  {
    host,
    port,
    mechanism: Type.Union(
      [Type.Literal('PLAIN'), Type.Literal('ANONYMOUS'), Type.Literal('EXTERNAL'), Type.Literal('NONE')],
      {
        default: 'PLAIN',
        description:
          'SASL mechanism. PLAIN: user and password. EXTERNAL: the certificate of the connection. NONE: no SASL at all.',
      },
    ),
    user: Type.String({ maxLength: 1024, default: '', description: 'User name, for PLAIN.' }),
    password: Type.Optional(secretSetting('Password, for PLAIN.')),
    tls: outsideTlsSettings,
    hostname: Type.String({
      maxLength: 255,
      default: '',
      description:
        'What the connection names as its host; the host unless given. RabbitMQ: `vhost:NAME` is a virtual host.',
    }),
    containerId: Type.String({
      maxLength: 255,
      default: '',
      description: 'Container identifier; `rosettamq-` with the bridge and the gateway unless given.',
    }),
    idleTimeoutMs: Type.Integer({
      minimum: 0,
      maximum: 3_600_000,
      default: 30_000,
      description: 'When nothing has come from the broker for twice as long, the link is lost. 0: never.',
    }),
    connectTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: OPEN_MS_MAX,
      default: 10_000,
      description: 'How long it may take until connection and link are open.',
    }),
    frameBytesMax: Type.Integer({
      minimum: 4096,
      maximum: 16_777_216,
      default: 131_072,
      description: 'The largest frame that the broker may send; messages may be larger.',
    }),
  },
  {
    additionalProperties: false,
    description: 'A broker of AMQP 1.0, such as Artemis, ActiveMQ, Azure Service Bus or RabbitMQ 4.',
  },
);

export type OutsideAmqp10 = WithSecrets<typeof connectionSettings>;

const capability = Type.Union([Type.Literal('none'), Type.Literal('queue'), Type.Literal('topic')], {
  default: 'none',
  description:
    'The capability of the node that is asked for; Artemis makes a missing address by it: `queue` anycast, `topic` multicast.',
});

export const outSettings = Type.Object(
  {
    target: Type.String({
      maxLength: ADDRESS_CHARS_MAX,
      default: '',
      description:
        'The node that everything goes to. Empty: the anonymous terminus, and each message says by `to` where it goes: ' +
        'its address.',
    }),
    capability,
    userId: Type.Union([Type.Literal('drop'), Type.Literal('keep')], {
      default: 'drop',
      description:
        'The property user-id of a message that another user published here; brokers that check it refuse it.',
    }),
    settleTimeoutMs: Type.Integer({
      minimum: 1000,
      maximum: 600_000,
      default: 30_000,
      description: 'After so long without an outcome the link is closed, and what had none is sent again.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Out to a broker of AMQP 1.0.' },
);

export type OutOptions = Static<typeof outSettings>;

export const inSettings = Type.Object(
  {
    credit: Type.Integer({
      minimum: 1,
      maximum: 65_535,
      default: 500,
      description: 'Messages that the broker may have sent without having them settled; at most inFlightMax.',
    }),
    capability,
    addressFrom: Type.Union([Type.Literal('to'), Type.Literal('source')], {
      default: 'to',
      description:
        'to: what a message says by `to` is its address, and the source where it says nothing. source: always the source.',
    }),
    messageBytesMax: messageBytesMax(
      'The largest message with all its sections; a larger one is rejected and is not kept in memory.',
    ),
    inFlightBytesMax: inFlightBytesMax(
      'Beyond it the broker may send no frames; one message of each source may go beyond by its size.',
    ),
    durable: Type.Boolean({
      default: false,
      description:
        'Whether the broker keeps a subscription of this bridge while it is away. It stays there when the bridge is removed.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'In from nodes of a broker of AMQP 1.0.' },
);

export type InOptions = Static<typeof inSettings>;
