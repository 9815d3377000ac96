/**
 * The properties of MQTT 5 as one table: identifier, name, type, the packets that may carry it, whether it may
 * repeat and which values are refused. The codec's parser and writer, the mapping of messages and the tests are
 * all driven by it. Source: MQTT 5.0 section 2.2.2.2, table 2-4.
 *
 * | type    | bytes on the wire                                   |
 * |---------|-----------------------------------------------------|
 * | byte    | 1                                                   |
 * | u16     | 2, big-endian                                       |
 * | u32     | 4, big-endian                                       |
 * | varint  | 1 to 4, 7 bits each, least significant first        |
 * | text    | 2 bytes of length, then UTF-8                       |
 * | bytes   | 2 bytes of length, then anything                    |
 * | pair    | text (the name), then text (the value)              |
 */

export type PropertyType = 'byte' | 'u16' | 'u32' | 'varint' | 'text' | 'bytes' | 'pair';

/** Where a property may stand, as bits. `WILL` is the will's property block inside CONNECT. */
export const PropertyPlace = {
  CONNECT: 1 << 1,
  CONNACK: 1 << 2,
  PUBLISH: 1 << 3,
  PUBACK: 1 << 4,
  PUBREC: 1 << 5,
  PUBREL: 1 << 6,
  PUBCOMP: 1 << 7,
  SUBSCRIBE: 1 << 8,
  SUBACK: 1 << 9,
  UNSUBSCRIBE: 1 << 10,
  UNSUBACK: 1 << 11,
  DISCONNECT: 1 << 14,
  AUTH: 1 << 15,
  WILL: 1 << 16,
} as const;

export interface PropertyDefinition {
  readonly id: number;
  readonly name: string;
  readonly type: PropertyType;
  /** Bits of `PropertyPlace`. */
  readonly places: number;
  /** May stand more than once in a packet from a client. */
  readonly repeats: boolean;
  /** Which values are a protocol error: anything but 0 and 1, or 0. */
  readonly refuses: 'nothing' | 'not-boolean' | 'zero';
}

const P = PropertyPlace;
const ACKS = P.PUBACK | P.PUBREC | P.PUBREL | P.PUBCOMP | P.SUBACK | P.UNSUBACK;
const EVERYWHERE = P.CONNECT | P.CONNACK | P.PUBLISH | ACKS | P.SUBSCRIBE | P.UNSUBSCRIBE | P.DISCONNECT;

/** The types keep the name and type of each property literal: values are typed by this table. */
function define<const Name extends string, const Type extends PropertyType>(
  id: number,
  name: Name,
  type: Type,
  places: number,
  refuses: PropertyDefinition['refuses'] = 'nothing',
  repeats = false,
): PropertyDefinition & { readonly name: Name; readonly type: Type } {
  return { id, name, type, places, repeats, refuses };
}

/** In the order of their identifiers. */
export const PROPERTIES = [
  define(0x01, 'payloadFormatIndicator', 'byte', P.PUBLISH | P.WILL, 'not-boolean'),
  define(0x02, 'messageExpiryInterval', 'u32', P.PUBLISH | P.WILL),
  define(0x03, 'contentType', 'text', P.PUBLISH | P.WILL),
  define(0x08, 'responseTopic', 'text', P.PUBLISH | P.WILL),
  define(0x09, 'correlationData', 'bytes', P.PUBLISH | P.WILL),
  define(0x0b, 'subscriptionIdentifier', 'varint', P.PUBLISH | P.SUBSCRIBE, 'zero'),
  define(0x11, 'sessionExpiryInterval', 'u32', P.CONNECT | P.CONNACK | P.DISCONNECT),
  define(0x12, 'assignedClientIdentifier', 'text', P.CONNACK),
  define(0x13, 'serverKeepAlive', 'u16', P.CONNACK),
  define(0x15, 'authenticationMethod', 'text', P.CONNECT | P.CONNACK | P.AUTH),
  define(0x16, 'authenticationData', 'bytes', P.CONNECT | P.CONNACK | P.AUTH),
  define(0x17, 'requestProblemInformation', 'byte', P.CONNECT, 'not-boolean'),
  define(0x18, 'willDelayInterval', 'u32', P.WILL),
  define(0x19, 'requestResponseInformation', 'byte', P.CONNECT, 'not-boolean'),
  define(0x1a, 'responseInformation', 'text', P.CONNACK),
  define(0x1c, 'serverReference', 'text', P.CONNACK | P.DISCONNECT),
  define(0x1f, 'reasonString', 'text', P.CONNACK | ACKS | P.DISCONNECT | P.AUTH),
  define(0x21, 'receiveMaximum', 'u16', P.CONNECT | P.CONNACK, 'zero'),
  define(0x22, 'topicAliasMaximum', 'u16', P.CONNECT | P.CONNACK),
  define(0x23, 'topicAlias', 'u16', P.PUBLISH),
  define(0x24, 'maximumQoS', 'byte', P.CONNACK, 'not-boolean'),
  define(0x25, 'retainAvailable', 'byte', P.CONNACK, 'not-boolean'),
  define(0x26, 'userProperties', 'pair', EVERYWHERE | P.AUTH | P.WILL, 'nothing', true),
  define(0x27, 'maximumPacketSize', 'u32', P.CONNECT | P.CONNACK, 'zero'),
  define(0x28, 'wildcardSubscriptionAvailable', 'byte', P.CONNACK, 'not-boolean'),
  define(0x29, 'subscriptionIdentifiersAvailable', 'byte', P.CONNACK, 'not-boolean'),
  define(0x2a, 'sharedSubscriptionAvailable', 'byte', P.CONNACK, 'not-boolean'),
] as const satisfies readonly PropertyDefinition[];

/** By identifier; undefined where MQTT defines none. Identifiers above 0x7f do not exist. */
export const PROPERTY_BY_ID: readonly (PropertyDefinition | undefined)[] = Array.from(
  { length: 128 },
  (_, id) => PROPERTIES.find((property) => property.id === id),
);

/** The properties of a message, which travel with it; the others belong to one hop. */
export const MessageProperty = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  willDelayInterval: 0x18,
  topicAlias: 0x23,
  userProperty: 0x26,
} as const;

/** A user property: names may repeat, order is kept. */
export interface UserProperty {
  readonly name: string;
  readonly value: string;
}
