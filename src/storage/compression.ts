/**
 * Undoes the compression of record batches. Always bounded: no result is larger than `bytesMax`, and the bound is
 * enforced before memory is taken. Bad input gives a `CompressionError`, never a crash. gzip and zstd are done by
 * node:zlib; snappy and lz4 by the WebAssembly of @platformatic/wasm-utils, in an instance of our own that is thrown
 * away whenever it fails, because a trap leaves its memory in an unknown state.
 *
 * Codec numbers are those of the batch's attributes: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd. Snappy comes in two
 * forms: one raw block, or the Java library's frame:
 *
 * | at | size | field                                                     |
 * |----|------|-----------------------------------------------------------|
 * |  0 |    8 | 0x82 "SNAPPY" 0x00                                        |
 * |  8 |    8 | version and lowest compatible version, 4 bytes each       |
 * | 16 |      | blocks: length (4, big-endian), then a raw block          |
 */

import * as zlib from 'node:zlib';
import { lz4FrameBytes } from './lz4-frame.ts';
import { callWasm } from './wasm-codec.ts';

export type CodecNumber = 0 | 1 | 2 | 3 | 4;

export class CompressionError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CompressionError';
  }
}

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;
const XERIAL_BLOCK_BYTES = 32 * 1024;

/** Throws CompressionError on an unknown codec, on bad data and when the result is larger than `bytesMax`. */
export function decompress(codec: number, bytes: Uint8Array, bytesMax: number): Buffer {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    switch (codec) {
      case 0:
        return checkSize(input, bytesMax);
      case 1:
        return checkSize(zlib.gunzipSync(input, { maxOutputLength: Math.max(bytesMax, 1) }), bytesMax);
      case 2:
        return decompressSnappy(input, bytesMax);
      case 3:
        return decompressLz4(input, bytesMax);
      case 4:
        return checkSize(
          zlib.zstdDecompressSync(input, { maxOutputLength: Math.max(bytesMax, 1) }),
          bytesMax,
        );
      default:
        throw new CompressionError(`compression codec ${codec} is unknown`);
    }
  } catch (error) {
    if (error instanceof CompressionError) throw error;
    throw new CompressionError(`the compressed data is bad: ${(error as Error).message}`, { cause: error });
  }
}

/** The same codecs the other way; snappy as one raw block unless `framed`. */
export function compress(codec: CodecNumber, bytes: Uint8Array, framed = false): Buffer {
  switch (codec) {
    case 0:
      return Buffer.from(bytes);
    case 1:
      return zlib.gzipSync(bytes);
    case 2:
      return framed ? compressXerial(bytes) : callWasm('snappy_compress', bytes);
    case 3:
      return callWasm('lz4_compress', bytes);
    case 4:
      return zlib.zstdCompressSync(bytes);
  }
}

function checkSize(output: Buffer, bytesMax: number): Buffer {
  if (output.length > bytesMax) throw tooLarge(bytesMax);
  return output;
}

function tooLarge(bytesMax: number): CompressionError {
  return new CompressionError(`the data unfolds to more than ${bytesMax} bytes`);
}

function decompressLz4(input: Buffer, bytesMax: number): Buffer {
  const size = lz4FrameBytes(input, bytesMax);
  if (size === null) throw new CompressionError('the lz4 frame is malformed');
  if (size > bytesMax) throw tooLarge(bytesMax);
  return size === 0 ? Buffer.alloc(0) : checkSize(callWasm('lz4_decompress', input), bytesMax);
}

function decompressSnappy(input: Buffer, bytesMax: number): Buffer {
  if (input.length < XERIAL_HEADER_BYTES || !input.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) {
    return decompressSnappyBlock(input, bytesMax);
  }
  const blocks: Buffer[] = [];
  let total = 0;
  let at = XERIAL_HEADER_BYTES;
  while (at < input.length) {
    if (input.length - at < 4) throw new CompressionError('the snappy frame ends early');
    const length = input.readUInt32BE(at);
    at += 4;
    if (length > input.length - at) throw new CompressionError('a snappy block is longer than its frame');
    const block = decompressSnappyBlock(input.subarray(at, at + length), bytesMax - total);
    blocks.push(block);
    total += block.length;
    at += length;
  }
  return Buffer.concat(blocks, total);
}

/** A raw block begins with its uncompressed length, so the bound is checked before anything is decoded. */
function decompressSnappyBlock(block: Buffer, bytesMax: number): Buffer {
  let size = 0;
  let at = 0;
  for (let shift = 1; ; shift *= 0x80) {
    const byte = block[at++];
    if (byte === undefined || at > 5) throw new CompressionError('the snappy length is malformed');
    size += (byte & 0x7f) * shift;
    if (byte < 0x80) break;
  }
  if (size > bytesMax) throw tooLarge(bytesMax);
  if (size === 0) {
    if (at < block.length) throw new CompressionError('an empty snappy block has content');
    return Buffer.alloc(0);
  }
  const output = callWasm('snappy_decompress', block);
  if (output.length !== size) throw new CompressionError('the snappy block has another length than it says');
  return output;
}

function compressXerial(bytes: Uint8Array): Buffer {
  const versions = Buffer.from([0, 0, 0, 1, 0, 0, 0, 1]);
  const parts: Buffer[] = [XERIAL_MAGIC, versions];
  for (let at = 0; at < bytes.length; at += XERIAL_BLOCK_BYTES) {
    const block = callWasm('snappy_compress', bytes.subarray(at, at + XERIAL_BLOCK_BYTES));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(block.length);
    parts.push(length, block);
  }
  return Buffer.concat(parts);
}
