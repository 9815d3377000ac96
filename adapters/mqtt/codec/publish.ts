/**
 * PUBLISH from a client, read in place: the frame is one object for each connection whose fields are overwritten by
 * the next packet. The topic of the last packet is remembered with its bytes, so that a publisher who stays on one
 * topic costs no string, no validation and no map; and so are the properties, which most publishers repeat. Source:
 * MQTT 5.0 and 3.1.1 section 3.3.
 *
 * | field       | bytes                                                            |
 * |-------------|------------------------------------------------------------------|
 * | first byte  | 0x30, 3 DUP, 2-1 QoS, 0 RETAIN                                   |
 * | topic       | text; empty only with a topic alias                              |
 * | packet id   | u16, only with QoS 1 and 2                                       |
 * | properties  | block, version 5                                                 |
 * | payload     | the rest                                                         |
 */

import { addressFromTopic, type MqttApplicationMessage, PropertyPlace } from '../../../mappings/mqtt.ts';
import type { Reliability } from '../../../src/core/index.ts';
import { malformed } from '../errors.ts';
import { arrived } from './arrived.ts';
import { partOf, RememberedBytes } from './chunk.ts';
import {
  addressAt,
  KNOWN_BYTES_MAX,
  placeOfTopic,
  plainLevelsAt,
  readTopic,
  topicAt,
} from './known-topics.ts';
import { MessageProperties } from './properties.ts';
import { type ProtocolVersion, Reader, varintBytes } from './wire.ts';

/** Blocks up to this length have it in one byte. */
const SHORT_BLOCK_BYTES_MAX = 127;
const EXPIRY_BYTES = 5;
const NOTHING = Buffer.alloc(0);
/** One of each for all connections: reading a packet is never interrupted by another. */
const PROPERTIES = new MessageProperties();
const READER = new Reader(NOTHING, 0, 0);

export class PublishFrame implements MqttApplicationMessage {
  qos: Reliability = 0;
  duplicate = false;
  retain = false;
  packetId = 0;
  /** Empty where only a topic alias was sent. */
  topic = '';
  /** The address of `topic`. */
  address = '';
  /** How many levels `topic` has; 0 where it begins with `$` or nobody has counted. */
  plainLevels = 0;
  native: Uint8Array | null = null;
  expirySeconds = -1;
  priority = 0;
  /** -1 when absent. */
  topicAlias = -1;
  /** The payload is said to be UTF-8 text. */
  isText = false;
  hasResponseTopic = false;
  described = false;
  /** How long it is to be held back, which its topic said; 0: not at all. Set by the handler. */
  delaySeconds = 0;
  /** Its properties leave otherwise than they came: some are taken out, or it expires at once, which is never sent. */
  #isChanged = false;
  #bodyAt = 0;
  /** Of the last packet that had a topic. */
  #lastTopic = '';
  #lastAddress = '';
  #lastPlainLevels = 0;
  /** Where the table of known topics had the last one that it has places for. */
  #lastPlace = 0;
  /** The last property block, its length included, which the fields still say. */
  readonly #lastBlock = new RememberedBytes();
  /** The last QoS 0 packet of version 5 up to its body, if topic and properties were those before: compared in one go. */
  readonly #front = new RememberedBytes();

  /** A view, made anew each time; only until the next packet is read, by whichever connection. */
  get body(): Uint8Array {
    return partOf(arrived.chunk, this.#bodyAt, arrived.end);
  }

  /** Reads the packet in `buffer[start, end)`, whose first byte was `first`. Throws MqttError. */
  read(version: ProtocolVersion, first: number, buffer: Buffer, start: number, end: number): void {
    // QoS 3 and DUP with QoS 0 are refused with the first byte already.
    this.qos = ((first >> 1) & 0x03) as Reliability;
    this.duplicate = (first & 0x08) !== 0;
    this.retain = (first & 0x01) !== 0;
    if (version === 5 && this.qos === 0 && this.#front.standAt(buffer, start, end)) {
      this.#takeLast();
      this.#finish(version, buffer, start, start + this.#front.length, end);
      return;
    }
    let at = start + 2;
    if (at > end) throw malformed('PUBLISH ends inside its topic');
    const topicEnd = at + (((buffer[start] as number) << 8) | (buffer[start + 1] as number));
    if (topicEnd > end) throw malformed('PUBLISH ends inside its topic');
    const isLastTopic = this.#readTopic(version, buffer, at, topicEnd);
    at = topicEnd;
    if (this.qos !== 0) {
      if (at + 2 > end) throw malformed('PUBLISH ends inside its packet identifier');
      arrived.idAt = at;
      this.packetId = ((buffer[at] as number) << 8) | (buffer[at + 1] as number);
      if (this.packetId === 0) throw malformed('the packet identifier is 0'); // [MQTT-2.2.1-3]
      at += 2;
    }
    if (version === 5) {
      if (at < end && buffer[at] === 0) {
        at++;
        this.#front.forget();
        this.#lastBlock.forget();
        this.native = null;
        this.expirySeconds = -1;
        this.priority = 0;
        this.topicAlias = -1;
        this.isText = false;
        this.hasResponseTopic = false;
        this.described = false;
        this.#isChanged = false;
      } else if (!this.#lastBlock.standAt(buffer, at, end)) at = this.#readProperties(buffer, at, end);
      else {
        at += this.#lastBlock.length;
        if (isLastTopic && this.qos === 0) this.#front.remember(buffer, start, at);
      }
    }
    this.#finish(version, buffer, start, at, end);
  }

  #finish(version: ProtocolVersion, buffer: Buffer, start: number, bodyAt: number, end: number): void {
    this.#bodyAt = bodyAt;
    arrived.isWhole = !this.#isChanged;
    if (arrived.chunk !== buffer) arrived.chunk = buffer;
    arrived.end = end;
    arrived.bytes = 1 + varintBytes(end - start) + end - start;
    arrived.version5 = version === 5;
    arrived.qos = this.qos;
    arrived.retain = this.retain;
  }

  /** Returns whether it is the last one. */
  #readTopic(version: ProtocolVersion, buffer: Buffer, start: number, end: number): boolean {
    const length = end - start;
    if (length === 0 && version === 5) {
      this.topic = '';
      this.address = '';
      this.plainLevels = 0;
      return false;
    }
    if (length === 0 || length > KNOWN_BYTES_MAX) {
      this.#lastTopic = readTopic(buffer, start, end);
      this.#lastAddress = addressFromTopic(this.#lastTopic);
      this.#lastPlainLevels = 0;
    } else {
      const place = placeOfTopic(buffer, start, end, this.#lastPlace);
      const topic = topicAt(place);
      // The same topic may have got another place since.
      if (place === this.#lastPlace && topic === this.#lastTopic) {
        this.#takeLast();
        return true;
      }
      this.#lastPlace = place;
      this.#lastTopic = topic;
      this.#lastAddress = addressAt(place);
      this.#lastPlainLevels = plainLevelsAt(place);
    }
    this.#front.forget();
    this.#takeLast();
    return false;
  }

  #takeLast(): void {
    this.topic = this.#lastTopic;
    this.address = this.#lastAddress;
    this.plainLevels = this.#lastPlainLevels;
  }

  #readProperties(buffer: Buffer, at: number, end: number): number {
    const reader = READER;
    const properties = PROPERTIES;
    this.#front.forget();
    reader.buffer = buffer;
    reader.at = at;
    reader.end = end;
    properties.read(reader, PropertyPlace.PUBLISH);
    reader.buffer = NOTHING;
    this.native = properties.native;
    this.expirySeconds = properties.expirySeconds;
    this.priority = properties.priority;
    this.topicAlias = properties.topicAlias;
    this.isText = properties.isText;
    this.hasResponseTopic = properties.hasResponseTopic;
    this.described = properties.described;
    const ownBytes = (this.native?.length ?? 0) + (this.expirySeconds < 0 ? 0 : EXPIRY_BYTES);
    this.#isChanged = ownBytes + varintBytes(ownBytes) !== reader.at - at || this.expirySeconds === 0;
    if (reader.at - at > SHORT_BLOCK_BYTES_MAX) this.#lastBlock.forget();
    else {
      this.#lastBlock.remember(buffer, at, reader.at);
      // It stays longer than the chunk that it came in.
      if (this.native !== null) this.native = new Uint8Array(this.native);
    }
    return reader.at;
  }
}
