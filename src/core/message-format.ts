/**
 * A message and how it is to be delivered as the bytes of one row: what queues, sessions and the retained store
 * write. Numbers are big-endian.
 *
 * | at | size | field                                                                                       |
 * |----|------|---------------------------------------------------------------------------------------------|
 * |  0 |    1 | format, 1                                                                                   |
 * |  1 |    1 | delivery: bits 0-1 reliability, 2 retained, 3 keep retain flag, 4 has exchange, 5 has deadline, 6 shared |
 * |  2 |    1 | message: bits 0-1 reliability, 2 retain, 3 null body, 4 has key, 5 has native, 6 has JSON, 7 reply lent |
 * |  3 |    1 | priority                                                                                    |
 * |  4 |    8 | expires at, ms since 1970 (double), 0 never                                                 |
 * | 12 |    8 | timestamp, ms since 1970 (double)                                                           |
 * | 20 |    2 | count of subscription numbers, then 4 bytes each                                            |
 * |    |    8 | [deadline: where it is not the message's own expiry, ms since 1970 (double)]                |
 * |    |      | [exchange] [key of the shared subscription] address, publisher id, [key], [codec name, native | JSON properties], body:      |
 * |    |      | each 4 bytes of length and the bytes                                                        |
 */

import { strict as assert } from 'node:assert';
import { Buffer } from 'node:buffer';
import { decodeDefinition, encodeDefinition } from './definition.ts';
import type { DeliveryOptions } from './delivery.ts';
import { CoreError } from './errors.ts';
import { KeptBytes } from './kept-bytes.ts';
import {
  Message,
  type MessageFields,
  type NativeCodec,
  type Properties,
  type Reliability,
} from './message.ts';

const FORMAT = 1;
const FIXED_BYTES = 22;
const EXPIRY_AT = 4;
/** From here on a row says where it goes and who it is from. */
const VARIABLE_AT = 20;
/** Of the row that was read last: what begins with more is read anew. */
const REMEMBERED_BYTES_MAX = 4096;
/** Up to this length a text is written faster by a loop than by a call. */
const SHORT_TEXT_CHARS = 64;

export interface StoredMessage {
  readonly message: Message;
  readonly options: DeliveryOptions;
  /** Milliseconds since 1970 after which it leaves where it waits; 0 never. */
  readonly deadlineMs: number;
}

/** What a row says up to the publisher id, and where that ends. Most publishers repeat it. */
export interface RowFront {
  readonly options: DeliveryOptions;
  readonly address: string;
  readonly publisherId: string;
  /** Null: the message's own. */
  readonly deadlineMs: number | null;
  readonly end: number;
}

export class MessageFormat {
  readonly #codecs: ReadonlyMap<string, NativeCodec>;
  /** Rows wait in memory until a checkpoint. */
  readonly #rows = new KeptBytes();
  /** Of the last row whose front was counted. */
  #last: RowFront | null = null;
  #lastFrontBytes = 0;
  /** Of the last row that was read, and the same decoded. */
  readonly #readBytes = Buffer.alloc(REMEMBERED_BYTES_MAX);
  #readFront: RowFront | null = null;

  constructor(codecs: readonly NativeCodec[]) {
    this.#codecs = new Map(codecs.map((codec) => [codec.name, codec]));
  }

  /**
   * `deadlineMs`: where it waits it does so until then, 0 for ever. `knownFrontBytes`: `lastFrontBytes` after an
   * earlier row with the same address, publisher and options whose deadline was the message's own; 0: unknown. Throws
   * CoreError `invalid-argument` for a message whose fields do not fit the row: written all the same it could not be
   * read, or would be another one.
   */
  encode(message: Message, options: DeliveryOptions, deadlineMs: number, knownFrontBytes = 0): Buffer {
    checkFits(message, options);
    const ownDeadline = deadlineMs !== message.expiresAtMs;
    const { codec, key, body } = message;
    const native = codec === null ? null : (message.native ?? new Uint8Array(0));
    const json =
      codec === null && message.properties.headers !== undefined && hasProperties(message.properties)
        ? encodeDefinition(message.properties)
        : null;
    const codecName = codec === null ? '' : codec.name;
    const frontBytes = ownDeadline
      ? countFront(message, options, true)
      : knownFrontBytes || this.#countOwnFront(message, options);
    const size =
      frontBytes +
      (key === null ? 0 : 4 + key.length) +
      (native === null ? 0 : 8 + codecName.length + native.length) +
      (json === null ? 0 : 4 + json.length) +
      (4 + body.length);
    const row = this.#rows.allocate(size);
    let at = writeFront(row, message, options, ownDeadline, deadlineMs);
    assert.equal(at, frontBytes);
    row[2] =
      message.reliability |
      (message.retain ? 4 : 0) |
      (message.nullBody ? 8 : 0) |
      (key === null ? 0 : 16) |
      (native === null ? 0 : 32) |
      (json === null ? 0 : 64) |
      (message.replyLent ? 128 : 0);
    row[3] = message.priority;
    row.writeDoubleBE(message.expiresAtMs, EXPIRY_AT);
    row.writeDoubleBE(message.timestampMs, 12);
    this.#lastFrontBytes = frontBytes;
    if (key !== null) at = writeBytes(row, at, key);
    if (native !== null) {
      at = writeText(row, at, codecName);
      at = writeBytes(row, at, native);
    }
    if (json !== null) at = writeBytes(row, at, json);
    at = writeBytes(row, at, body);
    assert.equal(at, size);
    return row;
  }

  /** Of the row that was encoded last: all that stands before what is the message's own. */
  get lastFrontBytes(): number {
    return this.#lastFrontBytes;
  }

  /** Rows that follow one another mostly begin alike. */
  #countOwnFront(message: Message, options: DeliveryOptions): number {
    const last = this.#last;
    if (last !== null && isFrontOf(last, message, options)) return last.end;
    const end = countFront(message, options, false);
    this.#last = frontOf(message, options, end);
    return end;
  }

  /**
   * The result refers to the row's bytes. `written`: what it begins with, for whoever knows. Throws CoreError
   * `storage-failed` on a row that this never wrote.
   */
  decode(bytes: Uint8Array, written: RowFront | null = null): StoredMessage {
    const row = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    try {
      return this.#decode(row, written);
    } catch (cause) {
      if (cause instanceof CoreError) throw cause;
      throw new CoreError('storage-failed', 'a stored message cannot be read', { cause });
    }
  }

  #decode(row: Buffer, written: RowFront | null): StoredMessage {
    if (row[0] !== FORMAT)
      throw new CoreError('storage-failed', `a stored message has the unknown format ${row[0]}`);
    const front = written ?? this.#frontOf(row);
    const flags = row[2] as number;
    const reader = new Reader(row, front.end);
    const key = (flags & 16) === 0 ? null : reader.bytes();
    const hasNative = (flags & 32) !== 0;
    const codec = hasNative ? this.#codecNamed(reader.text()) : null;
    const native = hasNative ? reader.bytes() : null;
    const properties = (flags & 64) === 0 ? null : (decodeDefinition(reader.bytes()) as Properties);
    const expiresAtMs = row.readDoubleBE(EXPIRY_AT);
    const fields: MessageFields = {
      address: front.address,
      publisherId: front.publisherId,
      body: reader.bytes(),
      reliability: (flags & 3) as Reliability,
      retain: (flags & 4) !== 0,
      nullBody: (flags & 8) !== 0,
      replyLent: (flags & 128) !== 0,
      priority: row[3] as number,
      expiresAtMs,
      timestampMs: row.readDoubleBE(12),
      key,
      codec,
      native,
    };
    return {
      message: new Message(properties === null ? fields : { ...fields, properties }),
      options: front.options,
      deadlineMs: front.deadlineMs ?? expiresAtMs,
    };
  }

  #codecNamed(name: string): NativeCodec {
    const codec = this.#codecs.get(name);
    if (codec === undefined)
      throw new CoreError('storage-failed', `no codec "${name}" to read a stored message`);
    return codec;
  }

  #frontOf(row: Buffer): RowFront {
    const front = this.#readFront;
    return front !== null && this.#isFrontRead(row, front.end) ? front : this.#decodeFront(row);
  }

  /** Whether the row begins as the last one that was read, but for what is the message's own. */
  #isFrontRead(row: Buffer, end: number): boolean {
    const bytes = this.#readBytes;
    if (row.length < end || row[1] !== bytes[1]) return false;
    for (let at = VARIABLE_AT; at < end; at++) if (row[at] !== bytes[at]) return false;
    return true;
  }

  #decodeFront(row: Buffer): RowFront {
    const delivery = row[1] as number;
    const reader = new Reader(row, FIXED_BYTES);
    const subscriptionIds: number[] = [];
    for (let left = row.readUInt16BE(VARIABLE_AT); left > 0; left--) subscriptionIds.push(reader.number());
    const deadlineMs = (delivery & 32) === 0 ? null : reader.double();
    const via = (delivery & 16) === 0 ? null : reader.text();
    const sharedBy = (delivery & 64) === 0 ? null : reader.text();
    const front: RowFront = {
      options: {
        reliability: (delivery & 3) as Reliability,
        retained: (delivery & 4) !== 0,
        keepRetain: (delivery & 8) !== 0,
        subscriptionIds,
        via,
        ...(sharedBy === null ? {} : { sharedBy }),
      },
      address: reader.text(),
      publisherId: reader.text(),
      deadlineMs,
      end: reader.at,
    };
    if (front.end > REMEMBERED_BYTES_MAX) return front;
    row.copy(this.#readBytes, 0, 0, front.end);
    this.#readFront = front;
    return front;
  }
}

function frontOf({ address, publisherId }: Message, options: DeliveryOptions, end: number): RowFront {
  return { options, address, publisherId, deadlineMs: null, end };
}

function isFrontOf(front: RowFront, { address, publisherId }: Message, options: DeliveryOptions): boolean {
  return options === front.options && address === front.address && publisherId === front.publisherId;
}

/** Up to the publisher id. */
function countFront(message: Message, options: DeliveryOptions, ownDeadline: boolean): number {
  const { via, sharedBy } = options;
  return (
    FIXED_BYTES +
    4 * options.subscriptionIds.length +
    (ownDeadline ? 8 : 0) +
    (via === null ? 0 : 4 + Buffer.byteLength(via)) +
    (sharedBy === undefined ? 0 : 4 + Buffer.byteLength(sharedBy)) +
    (4 + Buffer.byteLength(message.address)) +
    (4 + Buffer.byteLength(message.publisherId))
  );
}

/** What `countFront` counts, but for the fixed fields that say something of the message; returns where it ends. */
function writeFront(
  row: Buffer,
  message: Message,
  options: DeliveryOptions,
  ownDeadline: boolean,
  deadlineMs: number,
): number {
  const { via, sharedBy } = options;
  row[0] = FORMAT;
  row[1] =
    options.reliability |
    (options.retained ? 4 : 0) |
    (options.keepRetain ? 8 : 0) |
    (via === null ? 0 : 16) |
    (ownDeadline ? 32 : 0) |
    (sharedBy === undefined ? 0 : 64);
  let at = row.writeUInt16BE(options.subscriptionIds.length, VARIABLE_AT);
  for (const id of options.subscriptionIds) at = row.writeUInt32BE(id, at);
  if (ownDeadline) at = row.writeDoubleBE(deadlineMs, at);
  if (via !== null) at = writeText(row, at, via);
  if (sharedBy !== undefined) at = writeText(row, at, sharedBy);
  at = writeText(row, at, message.address);
  return writeText(row, at, message.publisherId);
}

/** When the message of a row expires, ms since 1970, 0 never: found without reading the message. */
export function expiryOf(row: Buffer): number {
  return row.readDoubleBE(EXPIRY_AT);
}

/**
 * Bytes of the body in a row, found without reading the message, which costs many times as much; 0 where that cannot be
 * told.
 */
export function bodyBytesOf(bytes: Uint8Array): number {
  if (bytes.length < FIXED_BYTES || bytes[0] !== FORMAT) return 0;
  const row = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const delivery = row.getUint8(1);
  const flags = row.getUint8(2);
  const hasOne = (byte: number, bit: number): number => ((byte & bit) === 0 ? 0 : 1);
  // Of those before the body, each of which says how long it is: address and publisher are always there.
  const fields =
    2 +
    hasOne(delivery, 16) +
    hasOne(delivery, 64) +
    hasOne(flags, 16) +
    2 * hasOne(flags, 32) +
    hasOne(flags, 64);
  let at = FIXED_BYTES + 4 * row.getUint16(20) + 8 * hasOne(delivery, 32);
  for (let left = fields; left > 0 && at + 4 <= bytes.length; left--) at += 4 + row.getUint32(at);
  return at + 4 <= bytes.length ? row.getUint32(at) : 0;
}

class Reader {
  readonly #row: Buffer;
  #at: number;

  constructor(row: Buffer, at: number) {
    this.#row = row;
    this.#at = at;
  }

  number(): number {
    const value = this.#row.readUInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  double(): number {
    const value = this.#row.readDoubleBE(this.#at);
    this.#at += 8;
    return value;
  }

  get at(): number {
    return this.#at;
  }

  bytes(): Buffer {
    const length = this.number();
    const end = this.#at + length;
    if (end > this.#row.length) throw new CoreError('storage-failed', 'a stored message is cut short');
    const bytes = this.#row.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  text(): string {
    return this.bytes().toString('utf8');
  }
}

function checkFits(message: Message, options: DeliveryOptions): void {
  const { priority } = message;
  if (
    !isReliability(message.reliability) ||
    !isReliability(options.reliability) ||
    !(priority >= 0 && priority <= 255 && priority === (priority | 0)) ||
    Number.isNaN(message.expiresAtMs + message.timestampMs)
  ) {
    throw new CoreError(
      'invalid-argument',
      'a message says a reliability, priority or time that none can have',
    );
  }
}

function isReliability(value: number): boolean {
  return value === 0 || value === 1 || value === 2;
}

function hasProperties(properties: Properties): boolean {
  return properties.headers.length > 0 || Object.keys(properties).length > 1;
}

/** Short ASCII is written without a call. */
function writeText(row: Buffer, at: number, text: string): number {
  const { length } = text;
  const begin = at + 4;
  let bytes = length;
  let bits = 0;
  if (length <= SHORT_TEXT_CHARS) {
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      row[begin + i] = code;
      bits |= code;
    }
  }
  if (length > SHORT_TEXT_CHARS || bits > 0x7f) bytes = row.write(text, begin, 'utf8');
  writeLength(row, at, bytes);
  return begin + bytes;
}

function writeLength(row: Buffer, at: number, length: number): void {
  row[at] = length >>> 24;
  row[at + 1] = length >>> 16;
  row[at + 2] = length >>> 8;
  row[at + 3] = length;
}

function writeBytes(row: Buffer, at: number, bytes: Uint8Array): number {
  const begin = at + 4;
  writeLength(row, at, bytes.length);
  row.set(bytes, begin);
  return begin + bytes.length;
}
