/**
 * Method frames ⇔ arguments, driven by the table of `methods.ts`. For everything but the hot path: publish, ack
 * and deliver are read and written in place by `content-frames.ts` and the handlers. Malformed arguments throw
 * `Amqp091Error` 501.
 *
 * | at | size | field of a frame (AMQP 0-9-1 4.2.3)                  |
 * |----|------|-------------------------------------------------------|
 * |  0 |    1 | type: 1 method, 2 content header, 3 body, 8 heartbeat |
 * |  1 |    2 | channel                                               |
 * |  3 |    4 | payload bytes                                         |
 * |  7 |      | payload; of a method: class 2, method 2, arguments    |
 * |  - |    1 | end octet 206                                         |
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { decodeTable, encodeTable, MalformedTableError } from '../../../mappings/amqp091.ts';
import type { Header } from '../../../src/core/index.ts';
import { connectionError } from '../errors.ts';
import { METHODS, type MethodArguments, type MethodDefinition, type MethodName } from './methods.ts';

export const FRAME_METHOD = 1;
export const FRAME_HEADER = 2;
export const FRAME_BODY = 3;
export const FRAME_HEARTBEAT = 8;
export const FRAME_END = 206;
export const FRAME_HEADER_BYTES = 7;
/** Bytes of a frame that are not payload. */
export const FRAME_OVERHEAD_BYTES = 8;

/** The arguments between `start` (after class and method) and `end`. */
export function decodeArguments<Name extends MethodName>(
  name: Name,
  bytes: Buffer,
  start: number,
  end: number,
): MethodArguments<Name> {
  const { fields } = METHODS[name] as MethodDefinition;
  const values: Record<string, unknown> = {};
  let at = start;
  let bitAt = -1;
  let bit = 0;
  for (const field in fields) {
    const type = fields[field];
    if (type === 'bit') {
      if (bitAt < 0 || bit === 8) {
        bitAt = need(name, at, 1, end);
        at++;
        bit = 0;
      }
      values[field] = ((bytes[bitAt] as number) & (1 << bit++)) !== 0;
      continue;
    }
    bitAt = -1;
    switch (type) {
      case 'octet':
        values[field] = bytes[need(name, at, 1, end)];
        at += 1;
        break;
      case 'short':
        values[field] = bytes.readUInt16BE(need(name, at, 2, end));
        at += 2;
        break;
      case 'long':
        values[field] = bytes.readUInt32BE(need(name, at, 4, end));
        at += 4;
        break;
      case 'longlong':
        need(name, at, 8, end);
        values[field] = readLongLong(bytes, at);
        at += 8;
        break;
      case 'shortstr': {
        const length = bytes[need(name, at, 1, end)] as number;
        need(name, at + 1, length, end);
        values[field] = readText(name, bytes, at + 1, at + 1 + length);
        at += 1 + length;
        break;
      }
      default: {
        const length = bytes.readUInt32BE(need(name, at, 4, end));
        need(name, at + 4, length, end);
        const valueEnd = at + 4 + length;
        values[field] =
          type === 'table'
            ? readTable(name, bytes, at + 4, valueEnd)
            : Buffer.from(bytes.subarray(at + 4, valueEnd));
        at = valueEnd;
      }
    }
  }
  return values as MethodArguments<Name>;
}

function need(name: string, at: number, count: number, end: number): number {
  if (count > end - at) throw connectionError('frame-error', `arguments of ${name} are cut short`);
  return at;
}

/** Names are text in every other protocol, so they have to be text here. */
function readText(name: string, bytes: Buffer, start: number, end: number): string {
  if (!isUtf8(bytes.subarray(start, end))) {
    throw connectionError('frame-error', `a name in ${name} is not UTF-8`);
  }
  return bytes.toString('utf8', start, end);
}

function readTable(name: string, bytes: Buffer, start: number, end: number): Header[] {
  try {
    return decodeTable(bytes, start, end);
  } catch (error) {
    if (error instanceof MalformedTableError) {
      throw connectionError('frame-error', `arguments of ${name}: ${error.message}`);
    }
    throw error;
  }
}

export function readLongLong(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
}

/** A whole method frame. */
export function encodeMethod<Name extends MethodName>(
  channel: number,
  name: Name,
  values: MethodArguments<Name>,
): Buffer {
  const { classId, methodId, fields } = METHODS[name] as MethodDefinition;
  const head = Buffer.alloc(FRAME_HEADER_BYTES + 4);
  const pieces: Buffer[] = [head];
  let bits: Buffer | null = null;
  let bit = 0;
  for (const field in fields) {
    const type = fields[field] as MethodDefinition['fields'][string];
    const value = (values as Readonly<Record<string, unknown>>)[field];
    if (type === 'bit') {
      if (bits === null || bit === 8) {
        bits = Buffer.alloc(1);
        bit = 0;
        pieces.push(bits);
      }
      if (value === true) bits[0] = (bits[0] as number) | (1 << bit);
      bit++;
    } else {
      bits = null;
      putField(pieces, type, value);
    }
  }
  pieces.push(Buffer.of(FRAME_END));
  const frame = Buffer.concat(pieces);
  frame[0] = FRAME_METHOD;
  frame.writeUInt16BE(channel, 1);
  frame.writeUInt32BE(frame.length - FRAME_OVERHEAD_BYTES, 3);
  frame.writeUInt16BE(classId, 7);
  frame.writeUInt16BE(methodId, 9);
  return frame;
}

function putField(pieces: Buffer[], fieldType: MethodDefinition['fields'][string], value: unknown): void {
  switch (fieldType) {
    case 'octet':
      pieces.push(Buffer.of(value as number));
      return;
    case 'short': {
      const piece = Buffer.alloc(2);
      piece.writeUInt16BE(value as number);
      pieces.push(piece);
      return;
    }
    case 'long': {
      const piece = Buffer.alloc(4);
      piece.writeUInt32BE(value as number);
      pieces.push(piece);
      return;
    }
    case 'longlong': {
      const piece = Buffer.alloc(8);
      piece.writeBigUInt64BE(BigInt(value as number));
      pieces.push(piece);
      return;
    }
    case 'shortstr': {
      const bytes = Buffer.from(value as string);
      pieces.push(Buffer.of(bytes.length), bytes);
      return;
    }
    case 'table':
      pieces.push(encodeTable(value as readonly Header[]));
      return;
    case 'longstr': {
      const bytes = value as Uint8Array;
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      pieces.push(length, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
      return;
    }
    case 'bit':
      return;
    default: {
      fieldType satisfies never;
    }
  }
}
