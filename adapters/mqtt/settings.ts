/**
 * What an operator may set for MQTT: where to listen and every bound of the adapter, each with its default. The
 * configuration composes this schema with the others; `config/rosettamq.yaml` shows it with comments.
 */

import {
  proxyProtocolSetting,
  type Static,
  socketFileSettings,
  Type,
  tlsListenerSettings,
} from '../../src/host.ts';

const port = (value: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 65_535, default: value, description });

const count = (value: number, maximum: number, description: string, minimum = 1) =>
  Type.Integer({ minimum, maximum, default: value, description });

const limits = Type.Object(
  {
    connectTimeoutMs: count(10_000, 600_000, 'Milliseconds that a client has for its CONNECT.'),
    connectPacketBytesMax: count(65_536, 268_435_460, 'Bytes of a packet before CONNECT is accepted.', 64),
    packetBytesMax: count(
      1_048_576,
      268_435_460,
      'Bytes of a packet from a client, told as Maximum Packet Size.',
      64,
    ),
    receiveMaximum: count(
      100,
      65_535,
      'Unacknowledged QoS 1 and 2 messages from one MQTT 5 client, told as Receive Maximum.',
    ),
    pendingReceiptsMax: count(
      4_096,
      65_535,
      'Unacknowledged messages from one MQTT 3.1 or 3.1.1 client above which its socket is not read.',
    ),
    inflightMax: count(
      1_000,
      65_535,
      'Unacknowledged QoS 1 and 2 messages to one client; the lower of this and its own Receive Maximum counts.',
    ),
    inflightBytesMax: count(
      16_777_216,
      1_073_741_824,
      'Bytes of unacknowledged QoS 1 and 2 messages to one client above which further ones wait.',
      4_096,
    ),
    queueUnsettledMax: count(
      100,
      65_535,
      'Messages that one queue subscription has and has not settled; others of its group get what is beyond.',
    ),
    topicAliasMaximum: count(100, 65_535, 'Topic aliases that an MQTT 5 client may use.', 0),
    topicAliasMaximumOut: count(
      100,
      65_535,
      'Topic aliases used towards an MQTT 5 client that allows them.',
      0,
    ),
    topicLevelsMax: count(128, 65_535, 'Levels of a topic name or filter.'),
    delaySecondsMax: count(
      2_592_000,
      315_360_000,
      'Seconds for which $delayed/<seconds>/<topic> may hold a message back; 0 offers no delays.',
      0,
    ),
    clientIdBytesMax: count(65_535, 65_535, 'Bytes of a client identifier.', 23),
    messagesPerSecondMax: count(0, 10_000_000, 'Messages a second from one client; 0 for no bound.', 0),
    bytesPerSecondMax: count(
      0,
      10_000_000_000,
      'Bytes of PUBLISH packets a second from one client; 0 for no bound.',
      0,
    ),
    connectsPerMinuteMax: count(
      0,
      100_000,
      'Times that one client identifier of one user may connect in a minute before it is refused for a while; 0 for no bound.',
      0,
    ),
    connectRefusedSeconds: count(
      60,
      86_400,
      'Seconds for which a client is refused that connects too often.',
    ),
    subscriptionsPerPacketMax: count(10_000, 1_000_000, 'Topic filters in one SUBSCRIBE or UNSUBSCRIBE.'),
    sessionExpirySecondsMax: count(
      604_800,
      4_294_967_295,
      'Seconds that a session outlives its connection at most; 4294967295 is for ever.',
      0,
    ),
    keepAliveSecondsMax: count(
      65_535,
      65_535,
      'Longest keep alive; a longer one, or none, is replaced (MQTT 5 clients are told). 65535 replaces nothing.',
    ),
    outputBytesSoft: count(
      2_097_152,
      1_073_741_824,
      'Bytes waiting for one client above which QoS 0 messages to it are dropped and QoS 1 and 2 ones wait.',
      4_096,
    ),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'Bounds, for each connection unless said otherwise.',
  },
);

const websocket = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'Whether to listen for MQTT over WebSocket.' }),
    port: port(8083, 'Port; 0 lets the system choose.'),
    path: Type.String({ default: '/mqtt', pattern: '^/', description: 'Path of the WebSocket endpoint.' }),
    proxyProtocol: proxyProtocolSetting,
    tls: tlsListenerSettings(8084, 'MQTT over WebSocket'),
  },
  { additionalProperties: false, default: {}, description: 'MQTT over WebSocket.' },
);

const sharedSubscriptions = Type.Object(
  {
    strategy: Type.Union(
      [
        Type.Literal('round-robin'),
        Type.Literal('random'),
        Type.Literal('sticky'),
        Type.Literal('least-loaded'),
        Type.Literal('hash-client'),
        Type.Literal('hash-address'),
      ],
      {
        default: 'round-robin',
        description:
          'Which connected member that can take a message gets it: each in turn, any, the same one while it can, ' +
          'one with few unacknowledged messages, or one that follows from the publisher or from the topic.',
      },
    ),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'Shared subscriptions ($share/<group>/<filter>).',
  },
);

export const mqttSettings = Type.Object(
  {
    enabled: Type.Boolean({ default: true, description: 'Whether to serve MQTT at all.' }),
    host: Type.String({
      default: '127.0.0.1',
      description: 'Address to listen on, for TCP, TLS and WebSocket.',
    }),
    port: port(1883, 'Port for MQTT over TCP; 0 lets the system choose.'),
    proxyProtocol: proxyProtocolSetting,
    tls: tlsListenerSettings(8883, 'MQTT'),
    websocket,
    unix: socketFileSettings,
    connectionsMax: count(100_000, 10_000_000, 'Connections of each listener.'),
    refusedPublish: Type.Union([Type.Literal('close'), Type.Literal('acknowledge')], {
      default: 'close',
      description:
        'What an MQTT 3.1 or 3.1.1 publisher sees when it may not publish, for these versions have no code for it: ' +
        'its connection closes, or the message is acknowledged and dropped.',
    }),
    overRate: Type.Union([Type.Literal('pause'), Type.Literal('disconnect')], {
      default: 'pause',
      description:
        'What a client meets that publishes faster than the limits say: it is not read for a while, or it is ' +
        'disconnected (MQTT 5 clients with reason 0x96).',
    }),
    checkPayloadFormat: Type.Boolean({
      default: false,
      description: 'Whether payloads that MQTT 5 publishers call text must be UTF-8; others are refused.',
    }),
    responseInformation: Type.String({
      default: '',
      maxLength: 1024,
      description:
        'What an MQTT 5 client is told that asks for response information: the beginning of topics for its ' +
        'replies, such as replies/%c/ where %c is its client identifier. Empty: nothing.',
    }),
    serverReference: Type.String({
      default: '',
      maxLength: 1024,
      description: 'Other servers for clients that are redirected, such as host1:1883 host2. Empty: none.',
    }),
    redirect: Type.Union([Type.Literal('off'), Type.Literal('draining'), Type.Literal('always')], {
      default: 'draining',
      description:
        'When clients are sent to the servers of serverReference: never, while the gateway stops, or all of them ' +
        'for good.',
    }),
    sysIntervalSeconds: Type.Integer({
      default: 10,
      minimum: 0,
      maximum: 86_400,
      description:
        'Seconds between the values that subscribers to $SYS/broker/# are told; 0 offers no such topics.',
    }),
    sharedSubscriptions,
    limits,
  },
  { additionalProperties: false, default: {}, description: 'MQTT 3.1, 3.1.1 and 5.' },
);

export type MqttSettings = Static<typeof mqttSettings>;
export type MqttLimits = MqttSettings['limits'];
