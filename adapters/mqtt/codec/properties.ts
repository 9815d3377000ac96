/**
 * Property blocks of MQTT 5, read and written by the one table in `mappings/mqtt-properties.ts`. Packets other than
 * PUBLISH get their values in an object; the properties of a message are only validated and kept as bytes, without
 * those that belong to one hop. Source: MQTT 5.0 section 2.2.2.
 *
 * A block is a varint of its length in bytes, then properties: a varint identifier (all below 0x80, so one byte) and
 * a value whose form the identifier gives.
 */

import {
  MessageProperty,
  PROPERTIES,
  PROPERTY_BY_ID,
  type PropertyDefinition,
  PropertyPlace,
  priorityFromText,
  type UserProperty,
  userPropertyStanding,
} from '../../../mappings/mqtt.ts';
import { malformed, protocolError } from '../errors.ts';
import { type Reader, varintBytes, writeVarint } from './wire.ts';

type ValueOf<Type extends PropertyDefinition['type']> = Type extends 'text'
  ? string
  : Type extends 'bytes'
    ? Uint8Array
    : Type extends 'pair'
      ? readonly UserProperty[]
      : number;

/** Values by property name; absent where the packet did not say. */
export type PropertyValues = {
  readonly [Property in (typeof PROPERTIES)[number] as Property['name']]?: ValueOf<Property['type']>;
};

export const NO_PROPERTIES: PropertyValues = Object.freeze({});

/** Below this many bytes a loop is faster than a call. */
const LOOP_BYTES_MAX = 32;
const X = 0x78;
const P = 0x70;

/** Moves `reader` behind one property block and returns where it ends; `reader.at` is then its first property. */
function enterBlock(reader: Reader): number {
  const length = reader.varint();
  const end = reader.at + length;
  if (end > reader.end) throw malformed('the properties are longer than the packet');
  return end;
}

/** The definition of the property that begins here, checked against its place and against repetition. */
function readDefinition(reader: Reader, place: number, seen: Set<number> | null): PropertyDefinition {
  const id = reader.u8();
  const definition = PROPERTY_BY_ID[id];
  if (definition === undefined) throw malformed(`there is no property 0x${id.toString(16)}`);
  if ((definition.places & place) === 0)
    throw protocolError(`property ${definition.name} is not allowed here`);
  if (seen?.has(id) === true && !definition.repeats) {
    throw protocolError(`property ${definition.name} stands twice`);
  }
  return definition;
}

function checkNumber(definition: PropertyDefinition, value: number): number {
  if (definition.refuses === 'zero' && value === 0) throw protocolError(`property ${definition.name} is 0`);
  if (definition.refuses === 'not-boolean' && value > 1) {
    throw protocolError(`property ${definition.name} is neither 0 nor 1`);
  }
  return value;
}

function readNumber(reader: Reader, definition: PropertyDefinition): number {
  switch (definition.type) {
    case 'byte':
      return checkNumber(definition, reader.u8());
    case 'u16':
      return checkNumber(definition, reader.u16());
    case 'u32':
      return checkNumber(definition, reader.u32());
    default:
      return checkNumber(definition, reader.varint());
  }
}

/** Reads a whole block: its length and its properties. `place` is a bit of `PropertyPlace`. */
export function readProperties(reader: Reader, place: number): PropertyValues {
  const packetEnd = reader.end;
  const end = enterBlock(reader);
  if (reader.at === end) return NO_PROPERTIES;
  reader.end = end;
  const seen = new Set<number>();
  const values: Record<string, unknown> = {};
  while (!reader.done) {
    const definition = readDefinition(reader, place, seen);
    seen.add(definition.id);
    if (definition.type === 'text') values[definition.name] = reader.text();
    else if (definition.type === 'bytes') values[definition.name] = reader.bytes();
    else if (definition.type === 'pair') {
      const name = reader.text();
      const pair = { name, value: reader.text() };
      const pairs = values[definition.name] as UserProperty[] | undefined;
      if (pairs === undefined) values[definition.name] = [pair];
      else pairs.push(pair);
    } else values[definition.name] = readNumber(reader, definition);
  }
  reader.end = packetEnd;
  return values as PropertyValues;
}

/** What a block of message properties says to this hop, and the rest as bytes. Reused between packets. */
export class MessageProperties {
  /** What travels with the message, in order; null when there is none of it. */
  native: Uint8Array | null = null;
  /** Seconds; -1 when absent. */
  expirySeconds = -1;
  willDelaySeconds = 0;
  /** -1 when absent, for 0 is an error that the caller answers. */
  topicAlias = -1;
  priority = 0;
  /** The payload is said to be UTF-8 text. */
  isText = false;
  /** It is a request: there is a response topic. */
  hasResponseTopic = false;
  /** Some user property describes the message in the gateway's words. */
  described = false;

  clear(): void {
    this.native = null;
    this.expirySeconds = -1;
    this.willDelaySeconds = 0;
    this.topicAlias = -1;
    this.priority = 0;
    this.isText = false;
    this.hasResponseTopic = false;
    this.described = false;
  }

  /**
   * Reads a whole block of PUBLISH or of a will. `native` is a view of the packet where nothing had to be taken
   * out, else a copy. `[MQTT-3.3.4-6]`: a client sends no subscription identifier.
   */
  read(reader: Reader, place: number): void {
    this.clear();
    const packetEnd = reader.end;
    const end = enterBlock(reader);
    if (reader.at === end) return;
    reader.end = end;
    const start = reader.at;
    let seenLow = 0;
    let seenHigh = 0;
    /** Begin and end of what is taken out, in turn. */
    let cuts: number[] | null = null;
    while (!reader.done) {
      const from = reader.at;
      const definition = readDefinition(reader, place, null);
      const { id } = definition;
      const bit = 1 << (id & 31);
      if (!definition.repeats && ((id < 32 ? seenLow : seenHigh) & bit) !== 0) {
        throw protocolError(`property ${definition.name} stands twice`);
      }
      if (id < 32) seenLow |= bit;
      else seenHigh |= bit;
      if (!this.#readOne(reader, definition)) {
        cuts ??= [];
        cuts.push(from, reader.at);
      }
    }
    reader.end = packetEnd;
    this.native =
      cuts === null ? reader.buffer.subarray(start, end) : withoutCuts(reader.buffer, start, end, cuts);
  }

  /** Returns whether the property travels with the message. */
  #readOne(reader: Reader, definition: PropertyDefinition): boolean {
    switch (definition.id) {
      case MessageProperty.messageExpiryInterval:
        this.expirySeconds = reader.u32();
        return false;
      case MessageProperty.topicAlias:
        this.topicAlias = reader.u16();
        return false;
      case MessageProperty.willDelayInterval:
        this.willDelaySeconds = reader.u32();
        return false;
      case MessageProperty.subscriptionIdentifier:
        throw protocolError('a client sends no subscription identifier in PUBLISH');
      case MessageProperty.responseTopic: {
        const from = reader.passText();
        // [MQTT-3.3.2-14], and a topic name has at least one character: [MQTT-4.7.3-1].
        if (from === reader.at || hasWildcard(reader.buffer, from, reader.at)) {
          throw protocolError('the response topic is no topic name');
        }
        this.hasResponseTopic = true;
        return true;
      }
      case MessageProperty.correlationData:
        reader.passBytes();
        return true;
      case MessageProperty.userProperty:
        return this.#readUserProperty(reader);
      case MessageProperty.contentType:
        reader.passText();
        return true;
      case MessageProperty.payloadFormatIndicator:
        this.isText = readNumber(reader, definition) === 1;
        return true;
      default:
        readNumber(reader, definition);
        return true;
    }
  }

  /** Only names that begin with `x` or `p` can mean something here; others become no string. */
  #readUserProperty(reader: Reader): boolean {
    const { buffer } = reader;
    const nameFrom = reader.passText();
    const nameTo = reader.at;
    const valueFrom = reader.passText();
    const first = nameFrom === nameTo ? 0 : (buffer[nameFrom] as number) | 0x20;
    if (first === X) {
      const standing = userPropertyStanding(buffer.toString('utf8', nameFrom, nameTo));
      if (standing === 'described') this.described = true;
      return standing !== 'taken';
    }
    if (first === P && buffer.toString('utf8', nameFrom, nameTo) === 'priority') {
      this.priority = priorityFromText(buffer.toString('utf8', valueFrom, reader.at));
    }
    return true;
  }
}

function hasWildcard(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (buffer[at] === 0x2b || buffer[at] === 0x23) return true;
  return false;
}

function withoutCuts(buffer: Buffer, start: number, end: number, cuts: readonly number[]): Uint8Array | null {
  let left = end - start;
  for (let i = 0; i < cuts.length; i += 2) left -= (cuts[i + 1] as number) - (cuts[i] as number);
  if (left === 0) return null;
  const kept = Buffer.allocUnsafe(left);
  let from = start;
  let to = 0;
  for (let i = 0; i <= cuts.length; i += 2) {
    const until = i === cuts.length ? end : (cuts[i] as number);
    if (until - from <= LOOP_BYTES_MAX) while (from < until) kept[to++] = buffer[from++] as number;
    else to += buffer.copy(kept, to, from, until);
    from = cuts[i + 1] as number;
  }
  return kept;
}

// ------------------------------------------------------------------------------------------------- writing

/** A whole block, its length included, in the table's order. Values are ours: text fits its two bytes of length. */
export function propertyBlock(values: PropertyValues): Buffer {
  const pieces: Uint8Array[] = [];
  let size = 0;
  const push = (piece: Uint8Array): void => {
    pieces.push(piece);
    size += piece.length;
  };
  for (const definition of PROPERTIES) {
    const value = values[definition.name];
    if (value === undefined) continue;
    if (typeof value === 'number') push(numberPiece(definition, value));
    else if (typeof value === 'string') push(textPiece(definition.id, value));
    else if (value instanceof Uint8Array) push(bytesPiece(definition.id, value));
    else {
      for (const pair of value) {
        push(textPiece(definition.id, pair.name));
        push(textPiece(-1, pair.value));
      }
    }
  }
  const head = Buffer.allocUnsafe(varintBytes(size));
  writeVarint(head, 0, size);
  return Buffer.concat([head, ...pieces], head.length + size);
}

function numberPiece(definition: PropertyDefinition, value: number): Buffer {
  const piece = Buffer.alloc(5);
  piece[0] = definition.id;
  switch (definition.type) {
    case 'byte':
      return piece.subarray(0, piece.writeUInt8(value, 1));
    case 'u16':
      return piece.subarray(0, piece.writeUInt16BE(value, 1));
    case 'u32':
      return piece.subarray(0, piece.writeUInt32BE(value, 1));
    default:
      return piece.subarray(0, writeVarint(piece, 1, value));
  }
}

/** Identifier -1 writes none: the second string of a pair. */
function textPiece(id: number, text: string): Buffer {
  return bytesPiece(id, Buffer.from(text, 'utf8'));
}

function bytesPiece(id: number, bytes: Uint8Array): Buffer {
  const head = id < 0 ? 0 : 1;
  const piece = Buffer.allocUnsafe(head + 2 + bytes.length);
  if (id >= 0) piece[0] = id;
  piece.writeUInt16BE(bytes.length, head);
  piece.set(bytes, head + 2);
  return piece;
}

export { PropertyPlace };
