/**
 * The content header's properties (AMQP 0-9-1 4.2.6.1): flags and then the present fields in this order. The
 * adapter scans them once when a message arrives (`scanContent`), decoding is left until another protocol asks;
 * encoding serves messages that came another way. Bytes that were scanned decode without an error.
 *
 * | flag | field            | type         | flag | field          | type                       |
 * |------|------------------|--------------|------|----------------|----------------------------|
 * |   15 | content-type     | short string |    8 | expiration     | short string, milliseconds |
 * |   14 | content-encoding | short string |    7 | message-id     | short string               |
 * |   13 | headers          | field table  |    6 | timestamp      | 8 bytes, seconds           |
 * |   12 | delivery-mode    | 1 byte       |    5 | type           | short string               |
 * |   11 | priority         | 1 byte       |    4 | user-id        | short string               |
 * |   10 | correlation-id   | short string |    3 | app-id         | short string               |
 * |    9 | reply-to         | short string |    2 | cluster-id     | short string               |
 */

import { Buffer, isUtf8 } from 'node:buffer';
import type { Header } from '../src/core/index.ts';
import { decodeTable, encodeTable, MalformedTableError, scanTable } from './amqp091-table.ts';

/** The fields as they are on the wire; a short string that is no UTF-8 stays bytes. */
export interface Amqp091Content {
  contentType?: string;
  contentEncoding?: string;
  headers?: readonly Header[];
  deliveryMode?: number;
  priority?: number;
  correlationId?: string | Uint8Array;
  replyTo?: string;
  expiration?: string;
  messageId?: string | Uint8Array;
  timestampSeconds?: bigint;
  type?: string;
  userId?: string;
  appId?: string;
  clusterId?: string;
}

const HEADERS = 13;
const DELIVERY_MODE = 12;
const PRIORITY = 11;
const CORRELATION_ID = 10;
const EXPIRATION = 8;
const MESSAGE_ID = 7;
const TIMESTAMP = 6;
const USER_ID = 4;
const REPLY_TO = 9;

type TextField =
  | 'contentType'
  | 'contentEncoding'
  | 'replyTo'
  | 'expiration'
  | 'type'
  | 'userId'
  | 'appId'
  | 'clusterId';

const TEXT_FIELDS: Readonly<Record<number, TextField>> = {
  15: 'contentType',
  14: 'contentEncoding',
  9: 'replyTo',
  8: 'expiration',
  5: 'type',
  4: 'userId',
  3: 'appId',
  2: 'clusterId',
};

/** What the adapter must know of a message's properties before it is published. One is reused for all. */
export class ContentFacts {
  /** 1 is transient, 2 persistent, 0 not said. */
  deliveryMode = 0;
  priority = 0;
  /** Where the text of each is in the scanned bytes; length -1: absent. */
  expirationAt = 0;
  expirationLength = -1;
  userIdAt = 0;
  userIdLength = -1;
  replyToAt = 0;
  replyToLength = -1;
  /** Headers that mean something to the gateway are among them: look closer. */
  special = false;

  clear(): void {
    this.deliveryMode = 0;
    this.priority = 0;
    this.expirationLength = -1;
    this.userIdLength = -1;
    this.replyToLength = -1;
    this.special = false;
  }
}

/**
 * Goes over the flags and fields between `start` and `end` and checks that they are well formed. Throws
 * `MalformedTableError`.
 */
export function scanContent(bytes: Buffer, start: number, end: number, facts: ContentFacts): void {
  facts.clear();
  if (end - start < 2) throw new MalformedTableError('content header is cut short');
  const flags = bytes.readUInt16BE(start);
  // Bit 0 would announce more flags; this protocol version has no property for them.
  if ((flags & 3) !== 0) throw new MalformedTableError('unknown property flags');
  let at = start + 2;
  for (let bit = 15; bit >= 2; bit--) {
    if ((flags & (1 << bit)) === 0) continue;
    let bytesOfField: number;
    if (bit === HEADERS) {
      if (end - at < 4) throw new MalformedTableError('content header is cut short');
      bytesOfField = 4 + bytes.readUInt32BE(at);
    } else if (bit === DELIVERY_MODE || bit === PRIORITY) {
      bytesOfField = 1;
    } else if (bit === TIMESTAMP) {
      bytesOfField = 8;
    } else {
      if (at >= end) throw new MalformedTableError('content header is cut short');
      bytesOfField = 1 + (bytes[at] as number);
    }
    if (bytesOfField > end - at) throw new MalformedTableError('content header is cut short');
    if (bit === HEADERS) {
      scanned = facts;
      scanTable(bytes, at + 4, at + bytesOfField, noteSpecialName);
    } else if (bit === DELIVERY_MODE) facts.deliveryMode = bytes[at] as number;
    else if (bit === PRIORITY) facts.priority = bytes[at] as number;
    else if (bit === EXPIRATION) {
      facts.expirationAt = at + 1;
      facts.expirationLength = bytesOfField - 1;
    } else if (bit === USER_ID) {
      facts.userIdAt = at + 1;
      facts.userIdLength = bytesOfField - 1;
    } else if (bit === REPLY_TO) {
      facts.replyToAt = at + 1;
      facts.replyToLength = bytesOfField - 1;
    }
    at += bytesOfField;
  }
  if (at !== end) throw new MalformedTableError('content header has bytes left over');
}

/** Whose table is being scanned: `scanTable` takes a plain function so that no closure is made for a message. */
let scanned = new ContentFacts();

/** `x-gw-…` and `x-mqtt-…` concern the gateway itself; a few others that look like them are looked at in vain. */
function noteSpecialName(bytes: Buffer, start: number, end: number): void {
  const length = end - start;
  const first = bytes[start];
  if (length > 4 && (first === 0x78 || first === 0x58)) {
    const next = (bytes[start + 2] as number) | 0x20;
    if (next === 0x67 || next === 0x6d) scanned.special = true;
  }
}

/** Decodes flags and fields; the bytes end where the last field does. */
export function decodeContent(bytes: Buffer): Amqp091Content {
  const content: Amqp091Content = {};
  if (bytes.length < 2) return content;
  const flags = bytes.readUInt16BE(0);
  let at = 2;
  for (let bit = 15; bit >= 2; bit--) {
    if ((flags & (1 << bit)) === 0) continue;
    if (bit === HEADERS) {
      const end = at + 4 + bytes.readUInt32BE(at);
      content.headers = decodeTable(bytes, at + 4, end);
      at = end;
    } else if (bit === DELIVERY_MODE) {
      content.deliveryMode = bytes.readUInt8(at++);
    } else if (bit === PRIORITY) {
      content.priority = bytes.readUInt8(at++);
    } else if (bit === TIMESTAMP) {
      content.timestampSeconds = bytes.readBigUInt64BE(at);
      at += 8;
    } else {
      const start = at + 1;
      at = start + bytes.readUInt8(at);
      if (at > bytes.length) throw new MalformedTableError('content header is cut short');
      if (bit === CORRELATION_ID) content.correlationId = textOrBytes(bytes.subarray(start, at));
      else if (bit === MESSAGE_ID) content.messageId = textOrBytes(bytes.subarray(start, at));
      else content[TEXT_FIELDS[bit] as TextField] = bytes.toString('utf8', start, at);
    }
  }
  return content;
}

function textOrBytes(bytes: Buffer): string | Uint8Array {
  return isUtf8(bytes) ? bytes.toString() : Buffer.from(bytes);
}

/** Flags and fields. Short strings must have at most 255 bytes. */
export function encodeContent(content: Amqp091Content): Buffer {
  const pieces: Buffer[] = [Buffer.alloc(2)];
  let flags = 0;
  for (let bit = 15; bit >= 2; bit--) {
    const piece = encodeField(content, bit);
    if (piece === undefined) continue;
    flags |= 1 << bit;
    pieces.push(piece);
  }
  const bytes = Buffer.concat(pieces);
  bytes.writeUInt16BE(flags, 0);
  return bytes;
}

function encodeField(content: Amqp091Content, bit: number): Buffer | undefined {
  if (bit === HEADERS) return content.headers === undefined ? undefined : encodeTable(content.headers);
  if (bit === DELIVERY_MODE) return oneByte(content.deliveryMode);
  if (bit === PRIORITY) return oneByte(content.priority);
  if (bit === TIMESTAMP) {
    if (content.timestampSeconds === undefined) return undefined;
    const piece = Buffer.alloc(8);
    piece.writeBigUInt64BE(content.timestampSeconds);
    return piece;
  }
  if (bit === CORRELATION_ID) return shortString(content.correlationId);
  if (bit === MESSAGE_ID) return shortString(content.messageId);
  return shortString(content[TEXT_FIELDS[bit] as TextField]);
}

function oneByte(value: number | undefined): Buffer | undefined {
  return value === undefined ? undefined : Buffer.of(value);
}

function shortString(value: string | Uint8Array | undefined): Buffer | undefined {
  if (value === undefined) return undefined;
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}
