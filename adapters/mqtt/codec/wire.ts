/**
 * The data types of MQTT on the wire and the bounds-checked reader over them that every packet but the hot ones is
 * parsed with. All refusals are `MqttError` with the reason code of MQTT 5. Source: MQTT 5.0 section 1.5.
 *
 * | type   | bytes                                                                   |
 * |--------|-------------------------------------------------------------------------|
 * | varint | 1 to 4: 7 bits each, low first, 0x80 says that more follow; minimal     |
 * | text   | u16 length, UTF-8 without surrogates, overlong forms and U+0000         |
 * | bytes  | u16 length, anything                                                    |
 */

import { isUtf8 } from 'node:buffer';
import { malformed } from '../errors.ts';

export const VARINT_MAX = 268_435_455;
const SCAN_BYTES_MAX = 128;

export const PacketType = {
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

/** 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0: the protocol level on the wire. */
export type ProtocolVersion = 3 | 4 | 5;

/** How many bytes `value` takes as a varint. */
export function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

/** Writes `value` as a varint and returns the position after it. */
export function writeVarint(buffer: Buffer, at: number, value: number): number {
  let left = value;
  let to = at;
  while (left >= 0x80) {
    buffer[to++] = (left & 0x7f) | 0x80;
    left >>>= 7;
  }
  buffer[to++] = left;
  return to;
}

/**
 * The text in `buffer[start, end)`. `[MQTT-1.5.4-1]`: no surrogates, no overlong forms; `[MQTT-1.5.4-2]`: no U+0000;
 * `[MQTT-1.5.4-3]`: U+FEFF stays where it is.
 */
export function textFromBytes(buffer: Buffer, start: number, end: number): string {
  if (end - start <= SCAN_BYTES_MAX) {
    let bits = 0;
    for (let at = start; at < end; at++) {
      const byte = buffer[at] as number;
      if (byte === 0) throw malformed('a string holds U+0000');
      bits |= byte;
    }
    if (bits < 0x80) return buffer.toString('latin1', start, end);
  }
  const bytes = buffer.subarray(start, end);
  if (!isUtf8(bytes)) throw malformed('a string is not valid UTF-8');
  if (bytes.includes(0)) throw malformed('a string holds U+0000');
  return buffer.toString('utf8', start, end);
}

/** As `textFromBytes`, where only validity counts: makes no string. */
export function checkText(buffer: Buffer, start: number, end: number): void {
  if (end - start <= SCAN_BYTES_MAX) {
    let bits = 0;
    let at = start;
    for (; at < end; at++) {
      const byte = buffer[at] as number;
      if (byte === 0) break;
      bits |= byte;
    }
    if (at === end && bits < 0x80) return;
  }
  textFromBytes(buffer, start, end);
}

/** Reads the fields of one packet, in order, never past its end. */
export class Reader {
  buffer: Buffer;
  at: number;
  end: number;

  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer;
    this.at = start;
    this.end = end;
  }

  get done(): boolean {
    return this.at === this.end;
  }

  u8(): number {
    this.#need(1);
    return this.buffer[this.at++] as number;
  }

  u16(): number {
    this.#need(2);
    const value = ((this.buffer[this.at] as number) << 8) | (this.buffer[this.at + 1] as number);
    this.at += 2;
    return value;
  }

  u32(): number {
    this.#need(4);
    const value = this.buffer.readUInt32BE(this.at);
    this.at += 4;
    return value;
  }

  /** `[MQTT-1.5.5-1]`: in as few bytes as it can be. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.u8();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed('a variable byte integer is longer than needed');
        return value;
      }
    }
    throw malformed('a variable byte integer takes more than four bytes');
  }

  text(): string {
    const length = this.u16();
    this.#need(length);
    const text = textFromBytes(this.buffer, this.at, this.at + length);
    this.at += length;
    return text;
  }

  /** Checks a text and passes over it; returns where it began. */
  passText(): number {
    const length = this.u16();
    this.#need(length);
    const start = this.at;
    checkText(this.buffer, start, start + length);
    this.at = start + length;
    return start;
  }

  /** Passes over binary data. */
  passBytes(): void {
    const length = this.u16();
    this.#need(length);
    this.at += length;
  }

  /** A view, not a copy. */
  bytes(): Buffer {
    const length = this.u16();
    this.#need(length);
    const bytes = this.buffer.subarray(this.at, this.at + length);
    this.at += length;
    return bytes;
  }

  /** `[MQTT-2.2.1-3]`: a packet identifier is never 0. */
  packetId(): number {
    const id = this.u16();
    if (id === 0) throw malformed('a packet identifier is 0');
    return id;
  }

  /** Nothing may be left. */
  finish(): void {
    if (this.at !== this.end) throw malformed('bytes are left over at the end of the packet');
  }

  #need(count: number): void {
    if (this.at + count > this.end) throw malformed('the packet ends inside a field');
  }
}
