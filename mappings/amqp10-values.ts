/**
 * Values of AMQP 1.0's type system ⇔ typed header values. Used for annotations, properties and bodies of messages by
 * `amqp10-sections.ts`; pure. Nothing is read outside the given bounds or deeper than `DEPTH_MAX`; malformed bytes throw
 * `MalformedAmqp10Error`. Values are written in their shortest form. Source: AMQP 1.0 part 1, sections 1.2 and 1.6.
 *
 * | constructor     | type      | kind | constructor         | type      | kind              |
 * |-----------------|-----------|------|---------------------|-----------|-------------------|
 * | 40              | null      | null | 72                  | float     | f32               |
 * | 41 42 56        | boolean   | bool | 82                  | double    | f64               |
 * | 50              | ubyte     | u8   | 74 84 94            | decimal   | decimal           |
 * | 60              | ushort    | u16  | 73                  | char      | char              |
 * | 43 52 70        | uint      | u32  | 83                  | timestamp | timestamp         |
 * | 44 53 80        | ulong     | u64  | 98                  | uuid      | uuid              |
 * | 51              | byte      | i8   | a0 b0               | binary    | bytes             |
 * | 61              | short     | i16  | a1 b1               | string    | string            |
 * | 54 71           | int       | i32  | a3 b3               | symbol    | symbol            |
 * | 55 81           | long      | i64  | 45 c0 d0, e0 f0     | list, array | list            |
 * | 00              | described | map  | c1 d1               | map       | map               |
 *
 * A decimal that is no number is text; a described value is a map of `descriptor` and `value`; keys of maps are text.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import type { Header, HeaderValue } from '../src/core/index.ts';
import { decimalBytes, decimalFromBytes } from './amqp10-decimals.ts';
import { textFromValue } from './header-values-text.ts';

/** The bytes are no AMQP 1.0. */
export class MalformedAmqp10Error extends Error {}

const DEPTH_MAX = 32;
/** Elements of an array that take no bytes of their own; nothing else bounds them. */
const EMPTY_ELEMENTS_MAX = 4_096;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: symbols are ASCII, all of it.
const ASCII = /^[\x00-\x7f]*$/;

const I64_MIN = -(1n << 63n);
const I64_MAX = (1n << 63n) - 1n;

// ------------------------------------------------------------------------------------------------- reading

export class Amqp10Reader {
  at: number;
  readonly bytes: Buffer;
  readonly end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Steps over `count` bytes; returns where they begin. */
  take(count: number): number {
    const start = this.at;
    if (count > this.end - start) throw new MalformedAmqp10Error('a value is cut short');
    this.at = start + count;
    return start;
  }

  read(depth = 0): HeaderValue {
    return this.#readAs(this.bytes[this.take(1)] as number, depth);
  }

  /** The pairs of a map, with their keys as values; what else stands there is malformed. */
  readMap(): readonly (readonly [key: HeaderValue, value: HeaderValue])[] {
    return this.#readPairs(this.bytes[this.take(1)] as number, 0);
  }

  #readPairs(code: number, depth: number): [HeaderValue, HeaderValue][] {
    if (code === 0x40) return [];
    if (code !== 0xc1 && code !== 0xd1) throw new MalformedAmqp10Error('a map is expected');
    const { count, reader } = this.#open(code === 0xd1, depth);
    if (count % 2 !== 0) throw new MalformedAmqp10Error('a map has a key without a value');
    const pairs: [HeaderValue, HeaderValue][] = [];
    for (let left = count; left > 0; left -= 2) pairs.push([reader.read(depth + 1), reader.read(depth + 1)]);
    reader.#close();
    return pairs;
  }

  /** Size and count of a compound value, and a reader of what is inside. */
  #open(wide: boolean, depth: number): { readonly count: number; readonly reader: Amqp10Reader } {
    if (depth >= DEPTH_MAX) throw new MalformedAmqp10Error('a value is nested too deeply');
    const size = this.#size(wide);
    const start = this.take(size);
    const reader = new Amqp10Reader(this.bytes, start, start + size);
    return { count: reader.#size(wide), reader };
  }

  #close(): void {
    if (this.at !== this.end) throw new MalformedAmqp10Error('a value has bytes left over');
  }

  #size(wide: boolean): number {
    return wide ? this.bytes.readUInt32BE(this.take(4)) : (this.bytes[this.take(1)] as number);
  }

  #slice(wide: boolean): Buffer {
    const length = this.#size(wide);
    const start = this.take(length);
    return this.bytes.subarray(start, start + length);
  }

  #readAs(code: number, depth: number): HeaderValue {
    const { bytes } = this;
    switch (code) {
      case 0x00:
        if (depth >= DEPTH_MAX) throw new MalformedAmqp10Error('a value is nested too deeply');
        return {
          kind: 'map',
          value: [
            { name: 'descriptor', value: this.read(depth + 1) },
            { name: 'value', value: this.read(depth + 1) },
          ],
        };
      case 0x40:
        return { kind: 'null' };
      case 0x41:
      case 0x42:
        return { kind: 'bool', value: code === 0x41 };
      case 0x56:
        return { kind: 'bool', value: bytes[this.take(1)] !== 0 };
      case 0x50:
        return { kind: 'u8', value: bytes.readUInt8(this.take(1)) };
      case 0x60:
        return { kind: 'u16', value: bytes.readUInt16BE(this.take(2)) };
      case 0x43:
        return { kind: 'u32', value: 0 };
      case 0x52:
        return { kind: 'u32', value: bytes.readUInt8(this.take(1)) };
      case 0x70:
        return { kind: 'u32', value: bytes.readUInt32BE(this.take(4)) };
      case 0x44:
        return { kind: 'u64', value: 0n };
      case 0x53:
        return { kind: 'u64', value: BigInt(bytes.readUInt8(this.take(1))) };
      case 0x80:
        return { kind: 'u64', value: bytes.readBigUInt64BE(this.take(8)) };
      case 0x51:
        return { kind: 'i8', value: bytes.readInt8(this.take(1)) };
      case 0x61:
        return { kind: 'i16', value: bytes.readInt16BE(this.take(2)) };
      case 0x54:
        return { kind: 'i32', value: bytes.readInt8(this.take(1)) };
      case 0x71:
        return { kind: 'i32', value: bytes.readInt32BE(this.take(4)) };
      case 0x55:
        return { kind: 'i64', value: BigInt(bytes.readInt8(this.take(1))) };
      case 0x81:
        return { kind: 'i64', value: bytes.readBigInt64BE(this.take(8)) };
      case 0x72:
        return { kind: 'f32', value: bytes.readFloatBE(this.take(4)) };
      case 0x82:
        return { kind: 'f64', value: bytes.readDoubleBE(this.take(8)) };
      case 0x74:
        return decimalFromBytes(bytes, this.take(4), 4);
      case 0x84:
        return decimalFromBytes(bytes, this.take(8), 8);
      case 0x94:
        return decimalFromBytes(bytes, this.take(16), 16);
      case 0x73:
        return charFromCode(bytes.readUInt32BE(this.take(4)));
      case 0x83:
        return timestampFromMs(bytes.readBigInt64BE(this.take(8)));
      case 0x98: {
        const start = this.take(16);
        const hex = bytes.toString('hex', start, start + 16);
        return { kind: 'uuid', value: hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') };
      }
      case 0xa0:
      case 0xb0:
        return { kind: 'bytes', value: Buffer.from(this.#slice(code === 0xb0)) };
      case 0xa1:
      case 0xb1: {
        const slice = this.#slice(code === 0xb1);
        if (!isUtf8(slice)) throw new MalformedAmqp10Error('a string is not UTF-8');
        return { kind: 'string', value: slice.toString() };
      }
      case 0xa3:
      case 0xb3:
        return { kind: 'symbol', value: this.#slice(code === 0xb3).toString('latin1') };
      case 0x45:
        return { kind: 'list', value: [] };
      case 0xc0:
      case 0xd0: {
        const { count, reader } = this.#open(code === 0xd0, depth);
        const values: HeaderValue[] = [];
        for (let left = count; left > 0; left--) values.push(reader.read(depth + 1));
        reader.#close();
        return { kind: 'list', value: values };
      }
      case 0xc1:
      case 0xd1:
        return {
          kind: 'map',
          value: this.#readPairs(code, depth).map(([key, value]) => ({ name: textFromKey(key), value })),
        };
      case 0xe0:
      case 0xf0:
        return this.#readArray(code === 0xf0, depth);
      default:
        throw new MalformedAmqp10Error(`unknown constructor 0x${code.toString(16)}`);
    }
  }

  #readArray(wide: boolean, depth: number): HeaderValue {
    const { count, reader } = this.#open(wide, depth);
    let code = reader.bytes[reader.take(1)] as number;
    // What an array's elements are described as is the same for all and no part of their values.
    while (code === 0x00) {
      reader.read(depth + 1);
      code = reader.bytes[reader.take(1)] as number;
    }
    if (code >> 4 === 4 && count > EMPTY_ELEMENTS_MAX) throw new MalformedAmqp10Error('an array is too long');
    const values: HeaderValue[] = [];
    for (let left = count; left > 0; left--) values.push(reader.#readAs(code, depth + 1));
    reader.#close();
    return { kind: 'list', value: values };
  }
}

/** A key of a map as a header's name. */
export function textFromKey(key: HeaderValue): string {
  return key.kind === 'string' || key.kind === 'symbol' ? key.value : textFromValue(key);
}

function charFromCode(code: number): HeaderValue {
  if (code > 0x10_ffff || (code >= 0xd800 && code < 0xe000)) {
    throw new MalformedAmqp10Error('a char is no Unicode character');
  }
  return { kind: 'char', value: String.fromCodePoint(code) };
}

/** A time that no clock shows is kept as the number that it is. */
function timestampFromMs(ms: bigint): HeaderValue {
  const value = Number(ms);
  return Number.isSafeInteger(value) ? { kind: 'timestamp', value } : { kind: 'i64', value: ms };
}

// ------------------------------------------------------------------------------------------------- writing

/**
 * Whether reading what is written of it gives the same value. `room`: how many lists and maps may be within each other,
 * so that with what is around them they stay below what decoders take.
 */
export function isExact(value: HeaderValue, room = DEPTH_MAX - 6): boolean {
  switch (value.kind) {
    case 'symbol':
      return ASCII.test(value.value);
    case 'uuid':
      return UUID.test(value.value);
    case 'char':
      return isOneCharacter(value.value);
    case 'decimal':
      return decimalBytes(value.value, value.scale) !== null;
    case 'timestamp':
      return Number.isSafeInteger(value.value);
    case 'list':
      return room > 0 && value.value.every((each) => isExact(each, room - 1));
    case 'map':
      return room > 0 && value.value.every((entry) => isExact(entry.value, room - 1));
    default:
      return true;
  }
}

function isOneCharacter(text: string): boolean {
  const code = text.codePointAt(0);
  return code !== undefined && String.fromCodePoint(code) === text && !(code >= 0xd800 && code < 0xe000);
}

/** The value in its shortest form; text where AMQP cannot say it. */
export function encodeAmqp10Value(value: HeaderValue): Buffer {
  switch (value.kind) {
    case 'null':
      return Buffer.of(0x40);
    case 'bool':
      return Buffer.of(value.value ? 0x41 : 0x42);
    case 'u8':
      return Buffer.of(0x50, value.value);
    case 'u16':
      return fixed(0x60, 2, (piece) => piece.writeUInt16BE(value.value, 1));
    case 'u32':
      if (value.value === 0) return Buffer.of(0x43);
      if (value.value < 256) return Buffer.of(0x52, value.value);
      return fixed(0x70, 4, (piece) => piece.writeUInt32BE(value.value, 1));
    case 'u64':
      if (value.value === 0n) return Buffer.of(0x44);
      if (value.value < 256n) return Buffer.of(0x53, Number(value.value));
      return fixed(0x80, 8, (piece) => piece.writeBigUInt64BE(value.value, 1));
    case 'i8':
      return fixed(0x51, 1, (piece) => piece.writeInt8(value.value, 1));
    case 'i16':
      return fixed(0x61, 2, (piece) => piece.writeInt16BE(value.value, 1));
    case 'i32':
      if (value.value >= -128 && value.value < 128) return Buffer.of(0x54, value.value & 0xff);
      return fixed(0x71, 4, (piece) => piece.writeInt32BE(value.value, 1));
    case 'i64':
      if (value.value >= -128n && value.value < 128n) return Buffer.of(0x55, Number(value.value) & 0xff);
      if (value.value < I64_MIN || value.value > I64_MAX) return text(String(value.value));
      return fixed(0x81, 8, (piece) => piece.writeBigInt64BE(value.value, 1));
    case 'f32':
      return fixed(0x72, 4, (piece) => piece.writeFloatBE(value.value, 1));
    case 'f64':
      return fixed(0x82, 8, (piece) => piece.writeDoubleBE(value.value, 1));
    case 'decimal':
      return decimalBytes(value.value, value.scale) ?? text(textFromValue(value));
    case 'timestamp':
      if (!Number.isSafeInteger(value.value)) return text(textFromValue(value));
      return fixed(0x83, 8, (piece) => piece.writeBigInt64BE(BigInt(value.value), 1));
    case 'char':
      if (!isOneCharacter(value.value)) return text(value.value);
      return fixed(0x73, 4, (piece) => piece.writeUInt32BE(value.value.codePointAt(0) as number, 1));
    case 'uuid':
      if (!UUID.test(value.value)) return text(value.value);
      return Buffer.concat([Buffer.of(0x98), Buffer.from(value.value.replaceAll('-', ''), 'hex')]);
    case 'bytes':
      return block(0xa0, value.value);
    case 'string':
      return text(value.value);
    case 'symbol':
      return symbol(value.value);
    case 'list':
      return encodeAmqp10List(value.value);
    case 'map':
      return encodeAmqp10Map(value.value, text);
    default:
      return value satisfies never;
  }
}

export function encodeAmqp10List(values: readonly HeaderValue[]): Buffer {
  if (values.length === 0) return Buffer.of(0x45);
  return compound(0xc0, values.length, values.map(encodeAmqp10Value));
}

export function encodeAmqp10Map(entries: readonly Header[], key: (name: string) => Buffer): Buffer {
  return compound(
    0xc1,
    entries.length * 2,
    entries.flatMap((entry) => [key(entry.name), encodeAmqp10Value(entry.value)]),
  );
}

/** A symbol; a string where it is not ASCII. */
export function symbol(value: string): Buffer {
  return ASCII.test(value) ? block(0xa3, Buffer.from(value, 'latin1')) : text(value);
}

export function text(value: string): Buffer {
  return block(0xa1, Buffer.from(value));
}

function fixed(code: number, bytes: number, write: (piece: Buffer) => void): Buffer {
  const piece = Buffer.alloc(1 + bytes);
  piece[0] = code;
  write(piece);
  return piece;
}

/** The wide form of a constructor is 16 above the short one. */
function block(short: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([blockHead(short, bytes.length), bytes]);
}

/** Constructor and length of binary, string or symbol. */
export function blockHead(short: number, length: number): Buffer {
  if (length < 256) return Buffer.of(short, length);
  return fixed(short + 0x10, 4, (piece) => piece.writeUInt32BE(length, 1));
}

function compound(short: number, count: number, pieces: readonly Buffer[]): Buffer {
  const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (bytes < 255 && count < 256) return Buffer.concat([Buffer.of(short, bytes + 1, count), ...pieces]);
  const head = Buffer.alloc(9);
  head[0] = short + 0x10;
  head.writeUInt32BE(bytes + 4, 1);
  head.writeUInt32BE(count, 5);
  return Buffer.concat([head, ...pieces]);
}
