/**
 * Field tables ⇔ typed headers, with the value tags of the RabbitMQ dialect. Used for the `headers` property of
 * messages and for the arguments of methods. What cannot be said with a tag becomes its text; nothing is decoded
 * outside the given bounds, no deeper than `TABLE_DEPTH_MAX`; malformed bytes throw `MalformedTableError`.
 *
 * | tag | value                   | kind      | tag | value                        | kind      |
 * |-----|-------------------------|-----------|-----|------------------------------|-----------|
 * | `t` | boolean, 1 byte         | bool      | `f` | float, 4                     | f32       |
 * | `b` | signed, 1               | i8        | `d` | double, 8                    | f64       |
 * | `B` | unsigned, 1             | u8        | `D` | decimal: scale 1, unsigned 4 | decimal   |
 * | `s` | signed, 2               | i16       | `S` | long string                  | string    |
 * | `u` | unsigned, 2             | u16       | `x` | byte array                   | bytes     |
 * | `I` | signed, 4               | i32       | `A` | array: length 4, values      | list      |
 * | `i` | unsigned, 4             | u32       | `F` | table: length 4, fields      | map       |
 * | `l` | signed, 8               | i64       | `T` | seconds since 1970, 8        | timestamp |
 * | `L` | signed, 8 (only read)   | i64       | `V` | void                         | null      |
 */

import { Buffer, isUtf8 } from 'node:buffer';
import type { Header, HeaderValue } from '../src/core/index.ts';
import { textFromValue } from './header-values-text.ts';

export const TABLE_DEPTH_MAX = 32;

/** The bytes are no field table. */
export class MalformedTableError extends Error {}

const TAG = {
  bool: 0x74,
  i8: 0x62,
  u8: 0x42,
  i16: 0x73,
  u16: 0x75,
  i32: 0x49,
  u32: 0x69,
  i64: 0x6c,
  i64Old: 0x4c,
  f32: 0x66,
  f64: 0x64,
  decimal: 0x44,
  string: 0x53,
  bytes: 0x78,
  list: 0x41,
  timestamp: 0x54,
  map: 0x46,
  null: 0x56,
} as const;

const I64_MIN = -(1n << 63n);
const I64_MAX = (1n << 63n) - 1n;
/** Milliseconds that still are a safe integer when they come from whole seconds. */
const SECONDS_MAX = BigInt(Math.floor(Number.MAX_SAFE_INTEGER / 1000));

// ------------------------------------------------------------------------------------------------- decoding

/** The fields between `start` and `end`, without the table's own length. */
export function decodeTable(bytes: Buffer, start: number, end: number): Header[] {
  return new TableReader(bytes, start, end).readFields(end, 0);
}

/** Goes over a table without decoding it: that it is well formed, and each name to `visit` with its place. */
export function scanTable(
  bytes: Buffer,
  start: number,
  end: number,
  visit: (bytes: Buffer, nameStart: number, nameEnd: number) => void,
): void {
  const reader = new TableReader(bytes, start, end);
  while (reader.at < end) {
    const length = bytes[reader.take(1, end)] as number;
    const nameStart = reader.take(length, end);
    visit(bytes, nameStart, nameStart + length);
    reader.skipValue(end, 0);
  }
}

class TableReader {
  at: number;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer, start: number, end: number) {
    if (start > end || end > bytes.length) throw new MalformedTableError('table is cut short');
    this.#bytes = bytes;
    this.at = start;
  }

  /** Steps over `count` bytes; returns where they begin. */
  take(count: number, end: number): number {
    const start = this.at;
    if (count > end - start) throw new MalformedTableError('table is cut short');
    this.at = start + count;
    return start;
  }

  readFields(end: number, depth: number): Header[] {
    const headers: Header[] = [];
    while (this.at < end) {
      const length = this.#bytes[this.take(1, end)] as number;
      const start = this.take(length, end);
      headers.push({
        name: this.#bytes.toString('utf8', start, start + length),
        value: this.#readValue(end, depth),
      });
    }
    return headers;
  }

  #readBlock(end: number): number {
    const length = this.#bytes.readUInt32BE(this.take(4, end));
    if (length > end - this.at) throw new MalformedTableError('value is longer than its table');
    return length;
  }

  #readValue(end: number, depth: number): HeaderValue {
    const bytes = this.#bytes;
    const tag = bytes[this.take(1, end)] as number;
    switch (tag) {
      case TAG.bool:
        return { kind: 'bool', value: bytes[this.take(1, end)] !== 0 };
      case TAG.i8:
        return { kind: 'i8', value: bytes.readInt8(this.take(1, end)) };
      case TAG.u8:
        return { kind: 'u8', value: bytes.readUInt8(this.take(1, end)) };
      case TAG.i16:
        return { kind: 'i16', value: bytes.readInt16BE(this.take(2, end)) };
      case TAG.u16:
        return { kind: 'u16', value: bytes.readUInt16BE(this.take(2, end)) };
      case TAG.i32:
        return { kind: 'i32', value: bytes.readInt32BE(this.take(4, end)) };
      case TAG.u32:
        return { kind: 'u32', value: bytes.readUInt32BE(this.take(4, end)) };
      case TAG.i64:
      case TAG.i64Old:
        return { kind: 'i64', value: bytes.readBigInt64BE(this.take(8, end)) };
      case TAG.f32:
        return { kind: 'f32', value: bytes.readFloatBE(this.take(4, end)) };
      case TAG.f64:
        return { kind: 'f64', value: bytes.readDoubleBE(this.take(8, end)) };
      case TAG.decimal: {
        const at = this.take(5, end);
        return { kind: 'decimal', scale: bytes[at] as number, value: BigInt(bytes.readUInt32BE(at + 1)) };
      }
      case TAG.timestamp: {
        const seconds = bytes.readBigUInt64BE(this.take(8, end));
        // A time that no clock shows is kept as the number that it is.
        if (seconds > SECONDS_MAX) return { kind: 'u64', value: seconds };
        return { kind: 'timestamp', value: Number(seconds) * 1000, seconds: true };
      }
      case TAG.string: {
        const length = this.#readBlock(end);
        const slice = bytes.subarray(this.at, this.at + length);
        this.at += length;
        return isUtf8(slice)
          ? { kind: 'string', value: slice.toString() }
          : { kind: 'bytes', value: Buffer.from(slice) };
      }
      case TAG.bytes: {
        const length = this.#readBlock(end);
        const start = this.take(length, end);
        return { kind: 'bytes', value: Buffer.from(bytes.subarray(start, start + length)) };
      }
      case TAG.list: {
        const length = this.#readBlock(end);
        const values: HeaderValue[] = [];
        const listEnd = this.at + length;
        if (depth >= TABLE_DEPTH_MAX) throw new MalformedTableError('table is nested too deeply');
        while (this.at < listEnd) values.push(this.#readValue(listEnd, depth + 1));
        return { kind: 'list', value: values };
      }
      case TAG.map: {
        const length = this.#readBlock(end);
        if (depth >= TABLE_DEPTH_MAX) throw new MalformedTableError('table is nested too deeply');
        return { kind: 'map', value: this.readFields(this.at + length, depth + 1) };
      }
      case TAG.null:
        return { kind: 'null' };
      default:
        throw new MalformedTableError(`unknown field type ${tag}`);
    }
  }

  skipValue(end: number, depth: number): void {
    const tag = this.#bytes[this.take(1, end)] as number;
    const fixed = FIXED_BYTES[tag] as number;
    if (fixed >= 0) {
      this.take(fixed, end);
      return;
    }
    if (tag !== TAG.string && tag !== TAG.bytes && tag !== TAG.list && tag !== TAG.map) {
      throw new MalformedTableError(`unknown field type ${tag}`);
    }
    const blockEnd = this.#readBlock(end) + this.at;
    if (tag === TAG.string || tag === TAG.bytes) {
      this.at = blockEnd;
      return;
    }
    if (depth >= TABLE_DEPTH_MAX) throw new MalformedTableError('table is nested too deeply');
    while (this.at < blockEnd) {
      if (tag === TAG.map) this.take(this.#bytes[this.take(1, blockEnd)] as number, blockEnd);
      this.skipValue(blockEnd, depth + 1);
    }
  }
}

/** Bytes of a value by its tag; -1 where it has a length of its own or there is no such tag. */
const FIXED_BYTES = new Int8Array(256).fill(-1);
for (const [tag, bytes] of [
  [TAG.bool, 1],
  [TAG.i8, 1],
  [TAG.u8, 1],
  [TAG.i16, 2],
  [TAG.u16, 2],
  [TAG.i32, 4],
  [TAG.u32, 4],
  [TAG.i64, 8],
  [TAG.i64Old, 8],
  [TAG.f32, 4],
  [TAG.f64, 8],
  [TAG.decimal, 5],
  [TAG.timestamp, 8],
  [TAG.null, 0],
] as const) {
  FIXED_BYTES[tag] = bytes;
}

// ------------------------------------------------------------------------------------------------- encoding

/** The table with its length. Names longer than 255 bytes must not come here. */
export function encodeTable(headers: readonly Header[]): Buffer {
  const pieces: Buffer[] = [Buffer.alloc(4)];
  putFields(pieces, headers);
  const table = Buffer.concat(pieces);
  table.writeUInt32BE(table.length - 4, 0);
  return table;
}

function putFields(pieces: Buffer[], headers: readonly Header[]): void {
  for (const header of headers) {
    const name = Buffer.from(header.name);
    pieces.push(Buffer.of(name.length), name);
    putValue(pieces, header.value);
  }
}

function putNumber(pieces: Buffer[], tag: number, bytes: number): Buffer {
  const piece = Buffer.alloc(bytes + 1);
  piece[0] = tag;
  pieces.push(piece);
  return piece;
}

function putBlock(pieces: Buffer[], tag: number, bytes: Uint8Array): void {
  putNumber(pieces, tag, 4).writeUInt32BE(bytes.length, 1);
  pieces.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

function putText(pieces: Buffer[], text: string): void {
  putBlock(pieces, TAG.string, Buffer.from(text));
}

function putNested(pieces: Buffer[], tag: number, fill: (inner: Buffer[]) => void): void {
  const inner: Buffer[] = [];
  fill(inner);
  putBlock(pieces, tag, Buffer.concat(inner));
}

function putValue(pieces: Buffer[], value: HeaderValue): void {
  switch (value.kind) {
    case 'string':
    case 'symbol':
    case 'uuid':
    case 'char':
      putText(pieces, value.value);
      return;
    case 'bytes':
      putBlock(pieces, TAG.bytes, value.value);
      return;
    case 'bool':
      putNumber(pieces, TAG.bool, 1)[1] = value.value ? 1 : 0;
      return;
    case 'i8':
    case 'u8':
      putNumber(pieces, TAG[value.kind], 1)[1] = value.value & 0xff;
      return;
    case 'i16':
    case 'u16':
      putNumber(pieces, TAG[value.kind], 2).writeUInt16BE(value.value & 0xffff, 1);
      return;
    case 'i32':
    case 'u32':
      putNumber(pieces, TAG[value.kind], 4).writeUInt32BE(value.value >>> 0, 1);
      return;
    case 'f32':
      putNumber(pieces, TAG.f32, 4).writeFloatBE(value.value, 1);
      return;
    case 'f64':
      putNumber(pieces, TAG.f64, 8).writeDoubleBE(value.value, 1);
      return;
    case 'i64':
    case 'u64':
      if (value.value < I64_MIN || value.value > I64_MAX) {
        putText(pieces, String(value.value));
        return;
      }
      putNumber(pieces, TAG.i64, 8).writeBigInt64BE(value.value, 1);
      return;
    case 'decimal':
      putDecimal(pieces, value.scale, value.value);
      return;
    case 'timestamp': {
      const seconds = Math.floor(value.value / 1000);
      if (!Number.isSafeInteger(seconds) || seconds < 0) {
        putText(pieces, String(value.value));
        return;
      }
      putNumber(pieces, TAG.timestamp, 8).writeBigUInt64BE(BigInt(seconds), 1);
      return;
    }
    case 'null':
      putNumber(pieces, TAG.null, 0);
      return;
    case 'list':
      putNested(pieces, TAG.list, (inner) => {
        for (const each of value.value) putValue(inner, each);
      });
      return;
    case 'map':
      putNested(pieces, TAG.map, (inner) => putFields(inner, value.value.filter(hasShortName)));
      return;
    default:
      value satisfies never;
  }
}

/** A name that a field can have. */
export function hasShortName(header: Header): boolean {
  return header.name.length <= 85 || Buffer.byteLength(header.name) <= 255;
}

function putDecimal(pieces: Buffer[], scale: number, value: bigint): void {
  if (scale >= 0 && scale <= 255 && value >= 0n && value <= 0xffff_ffffn) {
    const piece = putNumber(pieces, TAG.decimal, 5);
    piece[1] = scale;
    piece.writeUInt32BE(Number(value), 2);
    return;
  }
  // With an exponent where it has many places: a few bytes of another protocol must not become millions here.
  putText(pieces, textFromValue({ kind: 'decimal', scale, value }));
}
