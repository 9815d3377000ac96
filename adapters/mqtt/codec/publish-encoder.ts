/**
 * PUBLISH to clients, written straight into the transport's buffer. When one message goes to several subscribers,
 * its bytes are put together once for each form they take (version, QoS, retain flag) from the second subscriber
 * on, and copied; only packet id and DUP are patched. A QoS 0 message that would look as it came leaves as the bytes that
 * it came in; so does a small one of QoS 1 or 2 to the first subscriber, but for its identifier and flags. One encoder
 * serves all connections. Layout: `publish.ts`. Source: MQTT 5.0 section 3.3.
 */

import { mqtt5Codec, mqttPropertiesFromMessage, topicFromAddress } from '../../../mappings/mqtt.ts';
import {
  type Clock,
  EMPTY_PROPERTIES,
  type Message,
  type Reliability,
  type Replies,
  viewSlot,
} from '../../../src/core/index.ts';
import type { Transport } from '../../../src/host.ts';
import { arrived } from './arrived.ts';
import { asksForReply, propertiesOfDelivery } from './delivery-properties.ts';
import { PacketType, varintBytes, writeVarint } from './wire.ts';

const EMPTY = new Uint8Array(0);
const TOPICS_REMEMBERED_MAX = 4_096;
/** Longer topics are made anew for each message, so that those remembered take no more than 2 MiB. */
const TOPIC_REMEMBERED_BYTES_MAX = 512;
/** Longer names do not exist in MQTT; escapes can make one of an address that is near the bound. */
const TOPIC_BYTES_MAX = 65_535;
/** Bodies from this size on are handed to the transport as they are, not copied. */
const BODY_COPIED_BYTES_MAX = 8_192;
/** Below this many bytes a loop is faster than a call. */
const LOOP_BYTES_MAX = 24;
/** Up to this size a whole packet is faster copied byte by byte than put together. */
const PACKET_COPIED_BYTES_MAX = 128;
const FORMS = 16;
const DUPLICATE = 0x08;
const PROPERTIES_SLOT = viewSlot();

const EXPIRY = 0x02;
const SUBSCRIPTION_ID = 0x0b;
const TOPIC_ALIAS = 0x23;

/** How one copy differs from others of the same message. */
export interface CopyOptions {
  readonly subscriptionIds: readonly number[];
  /** 0: none. */
  readonly topicAlias: number;
  /** The alias is known to the client: the topic is left out. */
  readonly aliasKnown: boolean;
}

/** Counts what is written. */
export interface PublishTraffic {
  sentPublish(bytes: number): void;
}

export class PublishEncoder {
  readonly #clock: Clock;
  readonly #traffic: PublishTraffic;
  readonly #replies: Replies;
  readonly #topics = new Map<string, Uint8Array>();
  #lastAddress = '';
  #lastTopic: Uint8Array = EMPTY;
  #lastMessage: Message | null = null;
  /** What the images were made with: seconds left of the last message. */
  #lastExpiry = -1;
  readonly #images: (Buffer | null)[] = new Array(FORMS).fill(null);
  readonly #idsAt = new Uint32Array(FORMS);
  #imaged = false;

  constructor(clock: Clock, traffic: PublishTraffic, replies: Replies) {
    this.#clock = clock;
    this.#traffic = traffic;
    this.#replies = replies;
  }

  /** Returns whether it was written: not when it would pass `packetBytesMax` or its topic has no name here. `[MQTT-3.1.2-24]` */
  write(
    transport: Transport,
    message: Message,
    version5: boolean,
    qos: Reliability,
    retain: boolean,
    duplicate: boolean,
    packetId: number,
    packetBytesMax: number,
  ): boolean {
    if (
      message === arrived.message &&
      version5 === arrived.version5 &&
      qos === 0 &&
      arrived.qos === 0 &&
      retain === arrived.retain &&
      arrived.bytes <= packetBytesMax
    ) {
      // In the same turn, so all of the expiry is left; properties stand in the publisher's order.
      transport.pass(arrived.chunk, arrived.end - arrived.bytes, arrived.end);
      this.#traffic.sentPublish(arrived.bytes);
      return true;
    }
    const expiry = version5 && message.expiresAtMs !== 0 ? this.#secondsLeft(message) : -1;
    if (message === this.#lastMessage && expiry === this.#lastExpiry) {
      if (
        message.body.length <= BODY_COPIED_BYTES_MAX &&
        this.#topicOf(message.address).length <= TOPIC_BYTES_MAX
      ) {
        return this.#writeImage(
          transport,
          message,
          version5,
          qos,
          retain,
          duplicate,
          packetId,
          packetBytesMax,
        );
      }
    } else {
      this.#lastMessage = message;
      this.#lastExpiry = expiry;
      if (this.#imaged) {
        this.#images.fill(null);
        this.#imaged = false;
      }
      if (
        message === arrived.message &&
        version5 === arrived.version5 &&
        qos !== 0 &&
        arrived.qos !== 0 &&
        arrived.bytes <= Math.min(packetBytesMax, PACKET_COPIED_BYTES_MAX)
      ) {
        this.#copyArrived(transport, firstByte(qos, retain, duplicate), packetId);
        return true;
      }
    }
    const { body } = message;
    const native = version5 ? nativeOf(message, this.#replies) : EMPTY;
    const topic = this.#topicOf(message.address);
    const propertyBytes = native.length + (expiry < 0 ? 0 : 5);
    const length = lengthOf(topic, version5, qos, propertyBytes, body);
    const total = 1 + varintBytes(length) + length;
    if (total > packetBytesMax || topic.length > TOPIC_BYTES_MAX) return false;
    const copied = body.length <= BODY_COPIED_BYTES_MAX;
    let at = transport.reserve(copied ? total : total - body.length);
    const { buffer } = transport;
    buffer[at++] = firstByte(qos, retain, duplicate);
    at = writeVarint(buffer, at, length);
    at = writeTopic(buffer, at, topic);
    if (qos !== 0) {
      buffer[at++] = packetId >> 8;
      buffer[at++] = packetId & 0xff;
    }
    if (version5) {
      at = writeVarint(buffer, at, propertyBytes);
      if (expiry >= 0) at = writeExpiry(buffer, at, expiry);
      if (native.length !== 0) {
        buffer.set(native, at);
        at += native.length;
      }
    }
    if (copied) copyBytes(buffer, at, body);
    else transport.write(body);
    this.#traffic.sentPublish(total);
    return true;
  }

  /** All but the first byte and the packet identifier stays as it came. */
  #copyArrived(transport: Transport, first: number, packetId: number): void {
    const { chunk, bytes } = arrived;
    const start = arrived.end - bytes;
    const at = transport.reserve(bytes);
    const { buffer } = transport;
    buffer[at] = first;
    for (let i = 1; i < bytes; i++) buffer[at + i] = chunk[start + i] as number;
    const idAt = at + arrived.idAt - start;
    buffer[idAt] = packetId >> 8;
    buffer[idAt + 1] = packetId & 0xff;
    this.#traffic.sentPublish(bytes);
  }

  /** As `write`, for a copy that has subscription identifiers or a topic alias of its own. Version 5 only. */
  writeCopy(
    transport: Transport,
    message: Message,
    qos: Reliability,
    retain: boolean,
    duplicate: boolean,
    packetId: number,
    packetBytesMax: number,
    options: CopyOptions,
  ): boolean {
    const expiry = message.expiresAtMs === 0 ? -1 : this.#secondsLeft(message);
    const topic = options.aliasKnown ? EMPTY : this.#topicOf(message.address);
    const native = nativeOf(message, this.#replies);
    let propertyBytes = native.length + (expiry < 0 ? 0 : 5) + (options.topicAlias === 0 ? 0 : 3);
    for (const id of options.subscriptionIds) propertyBytes += 1 + varintBytes(id);
    const length = lengthOf(topic, true, qos, propertyBytes, message.body);
    const total = 1 + varintBytes(length) + length;
    if (total > packetBytesMax || topic.length > TOPIC_BYTES_MAX) return false;
    let at = transport.reserve(total - message.body.length);
    const { buffer } = transport;
    buffer[at++] = firstByte(qos, retain, duplicate);
    at = writeVarint(buffer, at, length);
    at = writeTopic(buffer, at, topic);
    if (qos !== 0) {
      buffer[at++] = packetId >> 8;
      buffer[at++] = packetId & 0xff;
    }
    at = writeVarint(buffer, at, propertyBytes);
    if (expiry >= 0) at = writeExpiry(buffer, at, expiry);
    if (options.topicAlias !== 0) {
      buffer[at++] = TOPIC_ALIAS;
      buffer[at++] = options.topicAlias >> 8;
      buffer[at++] = options.topicAlias & 0xff;
    }
    // [MQTT-3.3.4-3] to [MQTT-3.3.4-5]: the identifiers of all matching subscriptions.
    for (const id of options.subscriptionIds) {
      buffer[at++] = SUBSCRIPTION_ID;
      at = writeVarint(buffer, at, id);
    }
    buffer.set(native, at);
    transport.write(message.body);
    this.#traffic.sentPublish(total);
    return true;
  }

  #writeImage(
    transport: Transport,
    message: Message,
    version5: boolean,
    qos: Reliability,
    retain: boolean,
    duplicate: boolean,
    packetId: number,
    packetBytesMax: number,
  ): boolean {
    const form = (version5 ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
    const image = this.#images[form] ?? this.#makeImage(form, message, version5, qos, retain);
    if (image.length > packetBytesMax) return false;
    const at = transport.reserve(image.length);
    const { buffer } = transport;
    buffer.set(image, at);
    this.#traffic.sentPublish(image.length);
    if (qos !== 0) {
      const idAt = at + (this.#idsAt[form] as number);
      buffer[idAt] = packetId >> 8;
      buffer[idAt + 1] = packetId & 0xff;
      if (duplicate) buffer[at] = (buffer[at] as number) | DUPLICATE;
    }
    return true;
  }

  #makeImage(form: number, message: Message, version5: boolean, qos: Reliability, retain: boolean): Buffer {
    const topic = this.#topicOf(message.address);
    const native = version5 ? nativeOf(message, this.#replies) : EMPTY;
    const expiry = this.#lastExpiry;
    const propertyBytes = native.length + (expiry < 0 ? 0 : 5);
    const length = lengthOf(topic, version5, qos, propertyBytes, message.body);
    const image = Buffer.allocUnsafe(1 + varintBytes(length) + length);
    image[0] = firstByte(qos, retain, false);
    let at = writeVarint(image, 1, length);
    at = writeTopic(image, at, topic);
    this.#idsAt[form] = at;
    if (qos !== 0) at += 2;
    if (version5) {
      at = writeVarint(image, at, propertyBytes);
      if (expiry >= 0) at = writeExpiry(image, at, expiry);
      image.set(native, at);
      at += native.length;
    }
    image.set(message.body, at);
    this.#images[form] = image;
    this.#imaged = true;
    return image;
  }

  /** `[MQTT-3.3.2-6]`: what is left of the interval; never 0 for a message that is still sent. */
  #secondsLeft(message: Message): number {
    return Math.min(0xffff_ffff, Math.max(1, Math.ceil((message.expiresAtMs - this.#clock.nowMs()) / 1000)));
  }

  #topicOf(address: string): Uint8Array {
    if (address === this.#lastAddress) return this.#lastTopic;
    let topic = this.#topics.get(address);
    if (topic === undefined) {
      topic = new Uint8Array(Buffer.from(topicFromAddress(address), 'utf8'));
      if (topic.length <= TOPIC_REMEMBERED_BYTES_MAX) {
        if (this.#topics.size >= TOPICS_REMEMBERED_MAX) this.#topics.clear();
        this.#topics.set(address, topic);
      }
    }
    this.#lastAddress = address;
    this.#lastTopic = topic;
    return topic;
  }
}

/** What stands behind the fixed header, in bytes. */
function lengthOf(
  topic: Uint8Array,
  version5: boolean,
  qos: Reliability,
  propertyBytes: number,
  body: Uint8Array,
): number {
  const properties = version5 ? varintBytes(propertyBytes) + propertyBytes : 0;
  return 2 + topic.length + (qos === 0 ? 0 : 2) + properties + body.length;
}

function firstByte(qos: Reliability, retain: boolean, duplicate: boolean): number {
  return (PacketType.PUBLISH << 4) | (duplicate ? DUPLICATE : 0) | (qos << 1) | (retain ? 1 : 0);
}

/**
 * The message's properties as MQTT 5 bytes; those of other protocols are translated once and kept. A request's are made
 * for each delivery, because the address for its answer does not live as long as the message may.
 */
function nativeOf(message: Message, replies: Replies): Uint8Array {
  if (message.codec === mqtt5Codec) return message.native ?? EMPTY;
  const view = message.view(PROPERTIES_SLOT) as Uint8Array | undefined;
  if (view !== undefined) return view;
  const plain = message.codec === null && message.key === null && message.priority === 0 && !message.nullBody;
  if (plain && message.properties === EMPTY_PROPERTIES) return EMPTY;
  if (asksForReply(message)) return propertiesOfDelivery(message, replies);
  const native = mqttPropertiesFromMessage(message);
  message.setView(PROPERTIES_SLOT, native);
  return native;
}

function writeTopic(buffer: Buffer, at: number, topic: Uint8Array): number {
  const { length } = topic;
  buffer[at] = length >> 8;
  buffer[at + 1] = length & 0xff;
  copyBytes(buffer, at + 2, topic);
  return at + 2 + length;
}

function writeExpiry(buffer: Buffer, at: number, seconds: number): number {
  buffer[at] = EXPIRY;
  return buffer.writeUInt32BE(seconds, at + 1);
}

function copyBytes(buffer: Buffer, at: number, bytes: Uint8Array): void {
  const { length } = bytes;
  if (length > LOOP_BYTES_MAX) buffer.set(bytes, at);
  else for (let i = 0; i < length; i++) buffer[at + i] = bytes[i] as number;
}
