/**
 * What is said of an MQTT broker and of a bridge to it: the schemas of `connection` and `options`, their types, and the
 * checks that a schema cannot say. Read by `index.ts` and by whoever lists or checks definitions, so it loads no client
 * library.
 */

import { explainInvalidFilter } from '../../mappings/mqtt-topics.ts';
import {
  OPEN_MS_MAX,
  type OutsideTls,
  outsideTlsSettings,
  type Static,
  secretSetting,
  Type,
} from '../../src/outside.ts';

const PACKET_BYTES_MAX = 268_435_460;
const closed = { additionalProperties: false } as const;

/** No user or password: those are settings of their own, which are never shown. */
const URL_PATTERN =
  '^(mqtt|tcp|mqtts|tls|ssl|ws|wss)://(\\[[0-9A-Fa-f:.]+\\]|[^\\s/:@?#]+)(:\\d{1,5})?(/[^\\s?#]*)?$';

export const mqttConnectionSettings = Type.Object(
  {
    urls: Type.Array(
      Type.String({
        pattern: URL_PATTERN,
        maxLength: 1_024,
        description: 'SCHEME://HOST:PORT, without user and password.',
      }),
      {
        minItems: 1,
        maxItems: 16,
        description:
          'Where the broker is, such as mqtt://host:1883, mqtts://host:8883, ws://host:8083/mqtt or wss://; tried in turn, the one that worked last first.',
      },
    ),
    version: Type.Union([Type.Literal('5'), Type.Literal('3.1.1')], {
      default: '5',
      description: 'Version of MQTT. 3.1.1 has no headers, so nothing tells where a message has been.',
    }),
    user: Type.Optional(Type.String({ maxLength: 65_535, description: 'User name.' })),
    password: Type.Optional(secretSetting('Password.')),
    tls: outsideTlsSettings,
    keepAliveSeconds: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 60,
      description: 'Seconds of silence after which either side asks whether the other is there; 0: never.',
    }),
    connectTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: OPEN_MS_MAX,
      default: 10_000,
      description: 'Milliseconds that each address has to connect, and the broker to take the subscriptions.',
    }),
    bridgeMode: Type.Boolean({
      default: true,
      description:
        'Version 3.1.1: tells the broker that this is a bridge, as Mosquitto does, so that it keeps retain flags and sends ' +
        'nothing back. Where the broker refuses, it is connected to without.',
    }),
  },
  { ...closed, description: 'An MQTT broker.' },
);

const clientIdSetting = Type.String({
  maxLength: 1_024,
  default: '',
  description:
    "Client identifier; empty: one made of the gateway's id and the name of the bridge, the same each time.",
});

export const mqttOutSettings = Type.Object(
  {
    clientId: clientIdSetting,
    qos: Type.Union([Type.Literal('keep'), Type.Literal(0), Type.Literal(1), Type.Literal(2)], {
      default: 'keep',
      description: 'keep: the quality of service that the publisher chose; a number: that at most.',
    }),
    retain: Type.Union([Type.Literal('keep'), Type.Literal('off')], {
      default: 'keep',
      description: 'keep: retained where the publisher said so; off: never.',
    }),
    topicAliases: Type.Integer({
      minimum: 0,
      maximum: 65_535,
      default: 0,
      description:
        'Version 5: how many topics are sent once and named by number from then on, as far as the broker allows.',
    }),
    packetBytesMax: Type.Integer({
      minimum: 64,
      maximum: PACKET_BYTES_MAX,
      default: PACKET_BYTES_MAX,
      description:
        'Bytes of a packet that the broker takes, where it does not say itself. What is larger is not sent.',
    }),
    inFlightMax: Type.Integer({
      minimum: 1,
      maximum: 65_535,
      default: 1_000,
      description: 'Messages that wait for their acknowledgement, where the broker does not ask for fewer.',
    }),
    answerTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 3_600_000,
      default: 30_000,
      description: 'Milliseconds without any acknowledgement after which the connection is given up.',
    }),
  },
  { ...closed, default: {}, description: 'How messages are published to the broker.' },
);

export const mqttInSettings = Type.Object(
  {
    clientId: clientIdSetting,
    qos: Type.Union([Type.Literal(0), Type.Literal(1), Type.Literal(2)], {
      default: 1,
      description: 'Quality of service of the subscriptions.',
    }),
    sessionExpirySeconds: Type.Integer({
      minimum: 0,
      maximum: 0xffff_ffff,
      default: 86_400,
      description:
        'Seconds that the broker keeps messages while the bridge is away; 4294967295: for ever, 0: not at all. ' +
        'Before version 5 the broker decides how long.',
    }),
    noLocal: Type.Boolean({
      default: true,
      description: 'Version 5: the broker does not send back what this very client published.',
    }),
    retainAsPublished: Type.Boolean({
      default: true,
      description: 'Version 5: messages keep their retain flag, so they are retained here as well.',
    }),
    retainHandling: Type.Union([Type.Literal('always'), Type.Literal('new'), Type.Literal('never')], {
      default: 'new',
      description:
        'Version 5: when the broker sends what it has retained: each time the bridge connects, only to a new subscription, or never.',
    }),
    packetBytesMax: Type.Integer({
      minimum: 64,
      maximum: PACKET_BYTES_MAX,
      default: 16_777_216,
      description:
        'Bytes of a packet that is taken. A broker of version 5 is told, and sends nothing larger; before, it ends the connection.',
    }),
  },
  { ...closed, default: {}, description: 'How messages are received from the broker.' },
);

/** As the driver gets it, secrets as text. */
export interface MqttConnection extends Omit<Static<typeof mqttConnectionSettings>, 'password' | 'tls'> {
  readonly password?: string;
  readonly tls: OutsideTls;
}
export type MqttOutOptions = Static<typeof mqttOutSettings>;
export type MqttInOptions = Static<typeof mqttInSettings>;

const SHARED = '$share/';

/** A topic filter, or `$share/GROUP/FILTER`. Throws Error. */
export function checkSource(source: string): void {
  const filter = filterOf(source);
  if (filter === null)
    throw new Error('a shared subscription is $share/GROUP/FILTER, its group without + and #');
  const invalid = explainInvalidFilter(filter);
  if (invalid !== null) throw new Error(invalid);
  if (Buffer.byteLength(source) > 65_535) throw new Error('a topic filter has at most 65535 bytes');
}

export function isShared(source: string): boolean {
  return source.startsWith(SHARED);
}

/** What a shared subscription is of; null where it says no group or nothing of one. */
function filterOf(source: string): string | null {
  if (!isShared(source)) return source;
  const [group = '', ...levels] = source.slice(SHARED.length).split('/');
  return group === '' || /[+#]/.test(group) || levels.length === 0 ? null : levels.join('/');
}

/**
 * The subscriptions to make: without those that another one covers, because a broker may send a message once for each
 * subscription that it matches.
 */
export function subscriptionsFrom(sources: readonly string[]): string[] {
  const different = [...new Set(sources)];
  return different.filter(
    (source) =>
      isShared(source) ||
      !different.some((other) => other !== source && !isShared(other) && covers(other, source)),
  );
}

/** Every topic that `narrow` matches is matched by `wide` as well. MQTT 5.0 section 4.7. */
function covers(wide: string, narrow: string): boolean {
  const ours = wide.split('/');
  const theirs = narrow.split('/');
  // Wildcards at the beginning match no topics that begin with $.
  if (theirs[0]?.startsWith('$') === true && ours[0] !== theirs[0]) return false;
  for (const [at, level] of ours.entries()) {
    if (level === '#') return true;
    const their = theirs[at];
    if (their === undefined || their === '#') return false;
    if (level !== '+' && level !== their) return false;
  }
  return ours.length === theirs.length;
}
