/**
 * MQTT packets for the conformance tests, made and read byte by byte from the specification's tables and from nothing
 * of the gateway: what it answers is held against this. The encoders write whatever they are told, also what no client
 * may send. `property` writes one property of MQTT 5; an empty list of them is the length zero, `null` leaves the
 * whole field out, as in versions before 5. Source: MQTT 5.0 chapters 2 and 3, MQTT 3.1.1 the same.
 */

export const Type = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const;

export type Version = 3 | 4 | 5;

/** Table 2-4: how the value of each property is written. */
const FORMATS: Readonly<Record<number, 'u8' | 'u16' | 'u32' | 'varint' | 'text' | 'binary' | 'pair'>> = {
  1: 'u8',
  2: 'u32',
  3: 'text',
  8: 'text',
  9: 'binary',
  11: 'varint',
  17: 'u32',
  18: 'text',
  19: 'u16',
  21: 'text',
  22: 'binary',
  23: 'u8',
  24: 'u32',
  25: 'u8',
  26: 'text',
  28: 'text',
  31: 'text',
  33: 'u16',
  34: 'u16',
  35: 'u16',
  36: 'u8',
  37: 'u8',
  38: 'pair',
  39: 'u32',
  40: 'u8',
  41: 'u8',
  42: 'u8',
};

export const Property = {
  payloadFormat: 1,
  messageExpiry: 2,
  contentType: 3,
  responseTopic: 8,
  correlationData: 9,
  subscriptionId: 11,
  sessionExpiry: 17,
  assignedClientId: 18,
  serverKeepAlive: 19,
  authenticationMethod: 21,
  authenticationData: 22,
  requestProblemInformation: 23,
  willDelay: 24,
  requestResponseInformation: 25,
  responseInformation: 26,
  serverReference: 28,
  reasonString: 31,
  receiveMaximum: 33,
  topicAliasMaximum: 34,
  topicAlias: 35,
  maximumQos: 36,
  retainAvailable: 37,
  userProperty: 38,
  maximumPacketSize: 39,
  wildcardAvailable: 40,
  subscriptionIdsAvailable: 41,
  sharedAvailable: 42,
} as const;

export type PropertyValue = number | string | Buffer | readonly [string, string];
/** Pairs of an identifier and its value, in the order in which they are written. */
export type Properties = readonly (readonly [id: number, value: PropertyValue])[];

export const u8 = (value: number): Buffer => Buffer.from([value & 0xff]);
export const u16 = (value: number): Buffer => Buffer.from([(value >> 8) & 0xff, value & 0xff]);
export const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
export const binary = (value: Buffer): Buffer => Buffer.concat([u16(value.length), value]);
export const text = (value: string | Buffer): Buffer =>
  binary(typeof value === 'string' ? Buffer.from(value) : value);

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low | 0x80 : low);
  } while (rest > 0);
  return Buffer.from(bytes);
}

export function property(id: number, value: PropertyValue): Buffer {
  switch (FORMATS[id]) {
    case 'u8':
      return Buffer.concat([u8(id), u8(value as number)]);
    case 'u16':
      return Buffer.concat([u8(id), u16(value as number)]);
    case 'u32':
      return Buffer.concat([u8(id), u32(value as number)]);
    case 'varint':
      return Buffer.concat([u8(id), varint(value as number)]);
    case 'pair': {
      const [name, content] = value as readonly [string, string];
      return Buffer.concat([u8(id), text(name), text(content)]);
    }
    default:
      return Buffer.concat([u8(id), text(value as string | Buffer)]);
  }
}

export function properties(list: Properties | null): Buffer {
  if (list === null) return Buffer.alloc(0);
  const all = Buffer.concat(list.map(([id, value]) => property(id, value)));
  return Buffer.concat([varint(all.length), all]);
}

/** A whole packet from its first byte and what follows the fixed header. */
export function packet(first: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([u8(first), varint(body.length), body]);
}

export interface Will {
  readonly topic: string | Buffer;
  readonly payload: string;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: Properties;
}

export interface ConnectOptions {
  readonly clientId?: string | Buffer;
  readonly clean?: boolean;
  readonly keepAlive?: number;
  readonly will?: Will;
  readonly user?: string | Buffer;
  readonly password?: string;
  readonly properties?: Properties;
  /** Instead of what follows from the rest. */
  readonly flags?: number;
  readonly protocolName?: string;
  readonly level?: number;
}

export function connect(version: Version, options: ConnectOptions = {}): Buffer {
  const { clientId = '', clean = true, keepAlive = 0, will, user, password } = options;
  const has5 = version === 5;
  let flags = clean ? 2 : 0;
  if (will !== undefined) flags |= 4 | ((will.qos ?? 0) << 3) | (will.retain === true ? 32 : 0);
  if (password !== undefined) flags |= 64;
  if (user !== undefined) flags |= 128;
  const name = options.protocolName ?? (version === 3 ? 'MQIsdp' : 'MQTT');
  return packet(
    0x10,
    text(name),
    u8(options.level ?? version),
    u8(options.flags ?? flags),
    u16(keepAlive),
    properties(has5 ? (options.properties ?? []) : null),
    text(clientId),
    ...(will === undefined
      ? []
      : [properties(has5 ? (will.properties ?? []) : null), text(will.topic), text(will.payload)]),
    ...(user === undefined ? [] : [text(user)]),
    ...(password === undefined ? [] : [text(password)]),
  );
}

export interface PublishOptions {
  readonly qos?: number;
  readonly id?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly properties?: Properties;
}

export function publish(
  version: Version,
  topic: string | Buffer,
  payload: string | Buffer,
  options: PublishOptions = {},
): Buffer {
  const { qos = 0, id = 1, retain = false, dup = false } = options;
  return packet(
    0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0),
    text(topic),
    ...(qos > 0 ? [u16(id)] : []),
    properties(version === 5 ? (options.properties ?? []) : null),
    Buffer.from(payload as string),
  );
}

/** A filter and its options byte (before version 5: the QoS). */
export type Filter = readonly [filter: string | Buffer, options: number];

export function subscribe(
  version: Version,
  id: number,
  filters: readonly Filter[],
  list: Properties = [],
): Buffer {
  return packet(
    0x82,
    u16(id),
    properties(version === 5 ? list : null),
    ...filters.map(([filter, options]) => Buffer.concat([text(filter), u8(options)])),
  );
}

export function unsubscribe(
  version: Version,
  id: number,
  filters: readonly (string | Buffer)[],
  list: Properties = [],
): Buffer {
  return packet(0xa2, u16(id), properties(version === 5 ? list : null), ...filters.map(text));
}

/** PUBACK, PUBREC, PUBREL, PUBCOMP; with a reason only in version 5. */
export function ack(type: number, id: number, reason?: number): Buffer {
  const first = (type << 4) | (type === Type.PUBREL ? 2 : 0);
  return packet(first, u16(id), ...(reason === undefined ? [] : [u8(reason)]));
}

export const pingreq = (): Buffer => packet(0xc0);

/** Without a reason: the short form, which all versions know. */
export function disconnect(reason?: number, list: Properties = []): Buffer {
  return reason === undefined ? packet(0xe0) : packet(0xe0, u8(reason), properties(list));
}

export function auth(reason: number, list: Properties = []): Buffer {
  return packet(0xf0, u8(reason), properties(list));
}

/** A packet of the server, read. Fields that its type does not have are empty. */
export interface Received {
  readonly type: number;
  readonly flags: number;
  /** The whole packet. */
  readonly bytes: Buffer;
  readonly id: number;
  /** The only one, or the first of several. */
  readonly reason: number;
  readonly reasons: readonly number[];
  readonly sessionPresent: number;
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly dup: boolean;
  readonly retain: boolean;
  readonly properties: Properties;
  /** Whether a length of properties was there at all. */
  readonly hasProperties: boolean;
}

/** Reads what a server may send and throws where a byte is out of place. `bytes` is one whole packet. */
export function read(version: Version, bytes: Buffer): Received {
  const cursor = new Cursor(bytes);
  const first = cursor.u8();
  const length = cursor.varint();
  if (length !== bytes.length - cursor.at) throw new Error('the remaining length is wrong');
  const type = first >> 4;
  const flags = first & 15;
  const empty = {
    type,
    flags,
    bytes,
    id: 0,
    reason: 0,
    reasons: [],
    sessionPresent: 0,
    topic: '',
    payload: '',
    qos: 0,
    dup: false,
    retain: false,
    properties: [],
    hasProperties: false,
  };
  const done = (fields: Partial<Received>): Received => {
    if (type !== Type.PUBLISH && flags !== (type === Type.PUBREL ? 2 : 0)) throw new Error('reserved flags');
    return { ...empty, ...fields };
  };
  const list = (): Pick<Received, 'properties' | 'hasProperties'> =>
    version === 5 && cursor.left > 0
      ? { properties: cursor.properties(), hasProperties: true }
      : { properties: [], hasProperties: false };
  const ended = (fields: Partial<Received>): Received => {
    if (cursor.left !== 0) throw new Error('bytes after the end of a packet');
    return done(fields);
  };
  switch (type) {
    case Type.CONNACK: {
      const sessionPresent = cursor.u8();
      const reason = cursor.u8();
      return ended({ sessionPresent, reason, reasons: [reason], ...list() });
    }
    case Type.PUBLISH: {
      const qos = (flags >> 1) & 3;
      const topic = cursor.text();
      const id = qos > 0 ? cursor.u16() : 0;
      const found = list();
      const payload = cursor.rest().toString();
      return done({ qos, topic, id, payload, dup: (flags & 8) !== 0, retain: (flags & 1) !== 0, ...found });
    }
    case Type.PUBACK:
    case Type.PUBREC:
    case Type.PUBREL:
    case Type.PUBCOMP: {
      const id = cursor.u16();
      const reason = version === 5 && cursor.left > 0 ? cursor.u8() : 0;
      return ended({ id, reason, reasons: [reason], ...list() });
    }
    case Type.SUBACK:
    case Type.UNSUBACK: {
      const id = cursor.u16();
      const found = list();
      const reasons = [...cursor.rest()];
      return done({ id, reasons, reason: reasons[0] ?? 0, ...found });
    }
    case Type.DISCONNECT:
    case Type.AUTH: {
      if (version < 5) throw new Error('a server of this version never sends such a packet');
      const reason = cursor.left > 0 ? cursor.u8() : 0;
      return ended({ reason, reasons: [reason], ...list() });
    }
    case Type.PINGRESP:
      return ended({});
    default:
      throw new Error(`a server never sends packets of type ${type}`);
  }
}

export function propertiesOf(packetRead: Received, id: number): PropertyValue[] {
  return packetRead.properties.filter(([each]) => each === id).map(([, value]) => value);
}

export function propertyOf(packetRead: Received, id: number): PropertyValue | undefined {
  return propertiesOf(packetRead, id)[0];
}

class Cursor {
  at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.at;
  }

  take(count: number): Buffer {
    if (count > this.left) throw new Error('a packet ends too early');
    this.at += count;
    return this.#bytes.subarray(this.at - count, this.at);
  }

  u8 = (): number => this.take(1)[0] as number;
  u16 = (): number => this.take(2).readUInt16BE();
  rest = (): Buffer => this.take(this.left);
  binary = (): Buffer => this.take(this.u16());

  varint(): number {
    let value = 0;
    for (let at = 0; at < 4; at++) {
      const byte = this.u8();
      value += (byte & 0x7f) * 128 ** at;
      if (byte < 0x80) {
        if (byte === 0 && at > 0) throw new Error('a length is longer than needed');
        return value;
      }
    }
    throw new Error('a length of more than four bytes');
  }

  text(): string {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.binary());
  }

  properties(): Properties {
    const end = this.varint() + this.at;
    const list: [number, PropertyValue][] = [];
    while (this.at < end) list.push(this.#property(this.varint()));
    if (this.at !== end) throw new Error('the length of the properties is wrong');
    return list;
  }

  #property(id: number): [number, PropertyValue] {
    switch (FORMATS[id]) {
      case 'u8':
        return [id, this.u8()];
      case 'u16':
        return [id, this.u16()];
      case 'u32':
        return [id, this.take(4).readUInt32BE()];
      case 'varint':
        return [id, this.varint()];
      case 'text':
        return [id, this.text()];
      case 'binary':
        return [id, this.binary()];
      case 'pair':
        return [id, [this.text(), this.text()]];
      default:
        throw new Error(`there is no property ${id}`);
    }
  }
}
